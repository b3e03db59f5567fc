"""The business itself, as its members, its visitors and its mails know it."""

import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any
from urllib.parse import urlsplit

from ruma.errors import InputError
from ruma.tenant.audit import note
from ruma.tenant.tenant import Tenant

_LONGEST_LINE = 200
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}")
_HOST = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)*[^\W_](?:[\w-]{0,61}[^\W_])?")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Profile:
    """The business."""

    business_name: str = ""
    """What it is called; empty takes the tenant's name."""

    website: str = ""
    """Its own website, as https:// or http://."""

    contact_email: str = ""
    """The address that visitors may write to."""

    notify_email: str = ""
    """Where mail goes when a visitor asks for a person; empty takes the owners' addresses."""


def read_profile(tenant: Tenant) -> Profile:
    """Return the tenant's profile."""
    names = [field.name for field in fields(Profile)]
    with tenant.reading() as db:
        return Profile(*db.execute(f"select {', '.join(names)} from profile").fetchone())


def change_profile(tenant: Tenant, **changes: Any) -> Profile:
    """Change some of the profile and return it as it is then.

    Raises:
        InputError: There is no such entry, or it cannot have that value.
    """
    before = profile = read_profile(tenant)
    if unknown := changes.keys() - asdict(profile).keys():
        raise InputError(f"A profile has no {', '.join(sorted(unknown))}.")
    if not all(isinstance(value, str) for value in changes.values()):
        raise InputError("Everything in a profile is a text.")
    profile = replace(profile, **{name: clean_entry(name, value) for name, value in changes.items()})
    with tenant.writing() as db:
        db.table("profile").update(1, asdict(profile))
        changed = [one.name for one in fields(Profile) if getattr(profile, one.name) != getattr(before, one.name)]
        if changed:
            note(db, "profile.changed", entries=" ".join(changed))
    return profile


def clean_email(value: str) -> str:
    """Return an address without the space around it; none stays none.

    Raises:
        InputError: It cannot be one address of one mailbox.
    """
    value = value.strip()
    if value and (len(value) > 254 or not _EMAIL.fullmatch(value)):
        raise InputError("This is no mail address.", hint="An address looks like name@example.com.")
    return value


def clean_line(value: str, what: str) -> str:
    """Return a text as one line without the characters that show nothing.

    Raises:
        InputError: It is too long.
    """
    value = " ".join("".join(one if one.isprintable() else " " for one in value).split())
    if len(value) > _LONGEST_LINE:
        raise InputError(f"The {what} is longer than {_LONGEST_LINE} characters.")
    return value


def without_controls(text: str) -> str:
    """Return a text with one kind of line end and without the characters that command a terminal."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", text)


def clean_entry(name: str, value: str) -> str:
    """Return an entry of a profile as it is kept.

    Raises:
        InputError: It cannot have that value.
    """
    if name == "business_name":
        return clean_line(value, "name of the business")
    return _clean_website(value) if name == "website" else clean_email(value)


def _clean_website(value: str) -> str:
    value = value.strip()
    if not value:
        return ""
    if "://" not in value and not value.lower().startswith(("javascript:", "data:")):
        value = f"https://{value}"
    wrong = InputError("This is no website's address.", hint="An address looks like https://www.example.com.")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as exc:
        raise wrong from exc
    is_clean = value.isprintable() and " " not in value and "\\" not in value and len(value) <= _LONGEST_LINE
    if parts.scheme not in ("https", "http") or parts.username is not None or not is_clean:
        raise wrong
    if not _HOST.fullmatch(parts.hostname or ""):
        raise wrong
    return value
