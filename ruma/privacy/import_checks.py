"""What a row of an export must be like before it is stored: as if a person had typed it here."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, get_args

from ruma.errors import InputError
from ruma.privacy.names import NAMES
from ruma.tenant.copying.contents import Row
from ruma.tenant.knowledge.sources import Kind
from ruma.tenant.knowledge.uploads import clean_upload_name
from ruma.tenant.language_codes import LANGUAGE_CODES
from ruma.tenant.origins import parse_origin
from ruma.tenant.people.members import check_member_name, check_role, fold_email
from ruma.tenant.profile import clean_email, clean_line

_LONGEST_NAME, _LONGEST_TITLE, _LONGEST_TEXT = 4_096, 500, 1_000_000
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,100}")
_MODE = re.compile(r"[a-z-]{0,20}")


def check_document(row: Row) -> Row:
    """Return a document of an export.

    Raises:
        InputError: It cannot be one.
    """
    row = _timed(row)
    name = _text(row, "name", _LONGEST_NAME)
    _text(row, "title", _LONGEST_TITLE)
    file = row.get("file")
    if not _MEDIA_TYPE.fullmatch(_text(row, "media_type", 200)):
        raise InputError(f"The document {name[:80]!r} has no media type.")
    if file != "" and not (isinstance(file, str) and file.startswith("originals/") and NAMES.fullmatch(file)):
        raise InputError(f"The document {name[:80]!r} names a file that no export has.")
    chunks = row.get("chunks")
    if not isinstance(chunks, list) or not all(isinstance(one, dict) for one in chunks):
        raise InputError(f"The document {name[:80]!r} has no chunks.")
    return row


def check_conversation(row: Row) -> Row:
    """Return a conversation of an export.

    Raises:
        InputError: It cannot be one.
    """
    row = _timed(row)
    if row.get("language") not in ("", *LANGUAGE_CODES):
        raise InputError("A conversation's language is none.")
    website = _text(row, "website", 300)
    messages = row.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict) or not _MODE.fullmatch(_text(message, "mode", 20)):
            raise InputError("A message in the export is none.")
        _text(message, "text", _LONGEST_TEXT)
        message["author"] = clean_line(_text(message, "author", 300), "author")
        _timed(message)
    return {
        **row,
        "website": parse_origin(website) if website else "",
        "visitor_name": clean_line(_text(row, "visitor_name", 300), "name"),
        "visitor_email": clean_email(_text(row, "visitor_email", 300)),
    }


def _member(row: Row) -> Row:
    return {
        **_timed(row),
        "email": fold_email(_text(row, "email", 300)),
        "name": check_member_name(_text(row, "name", 300)),
        "role": check_role(_text(row, "role", 20)),
        "is_disabled": 1,
    }


def _agent(row: Row) -> Row:
    lists = {}
    for name in ("questions", "websites"):
        try:
            found = json.loads(_text(row, name, 200_000))
        except (ValueError, RecursionError) as exc:
            raise InputError(f"The agent's {name} in the export cannot be read.") from exc
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise InputError(f"The agent's {name} in the export are no list.")
        lists[name] = tuple(found)
    # It is published when somebody here says so.
    switches = {"is_published": False, "offers_person": bool(row.get("offers_person"))}
    texts = {name: _text(row, name, 10_000) for name in row if name not in (*lists, *switches)}
    return {**texts, **lists, **switches}


def _source(row: Row) -> Row:
    if row.get("kind") not in get_args(Kind):
        raise InputError("A source in the export is of a kind that this Ruma does not know.")
    _text(row, "location", _LONGEST_NAME)
    return _timed(row)


def _upload(row: Row) -> Row:
    name = clean_upload_name(_text(row, "name", _LONGEST_NAME))
    return {**_timed(row), "name": name, "added_by": clean_line(_text(row, "added_by", 300), "name")}


def _terms(row: Row) -> Row:
    url = _text(row, "url", 2_000)
    if url and not url.startswith(("https://", "http://")):
        raise InputError("The address of the terms in the export is none.")
    return _plain(row)


def _plain(row: Row) -> Row:
    """Return a row whose texts are of a length that a person could have written, and whose times are times."""
    for name, value in row.items():
        if isinstance(value, str):
            _text(row, name, _LONGEST_TEXT)
    return _timed(row)


CHECKS: Mapping[str, Callable[[Row], Row]] = {
    "profile": _plain,
    "agent": _agent,
    "member": _member,
    "source": _source,
    "upload": _upload,
    "consent": _plain,
    "terms": _terms,
    "terms_acceptance": _plain,
    "rights_request": _plain,
    "rights_request_step": _plain,
    "hold": _plain,
}
"""By the table, what a row of it must be like."""


def _timed(row: Row) -> Row:
    """Return a row all times of which are times as Ruma writes them."""
    for name, value in row.items():
        if (name == "at" or name.endswith("_at")) and value is not None and not _is_time(value, "%Y-%m-%dT%H:%M:%SZ"):
            raise InputError(f"A time in the export is none: {name}.")
        if name.endswith("_on") and not _is_time(value, "%Y-%m-%d"):
            raise InputError(f"A date in the export is none: {name}.")
    return row


def _is_time(value: Any, form: str) -> bool:
    try:
        return isinstance(value, str) and datetime.strptime(value, form).strftime(form) == value
    except ValueError:
        return False


def _text(row: Row, name: str, longest: int) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise InputError(f"The export lacks the text {name!r} in a row.")
    if len(value) > longest:
        raise InputError(f"The text {name!r} in a row of the export is longer than {longest:,} characters.")
    return value
