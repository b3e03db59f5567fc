"""Finds what a visitor wrote: a visitor has no account, only conversations.

Members and the operator name one by a conversation's number or by an e-mail address. Whoever left neither is found
by what was said, and a person then picks which conversations are meant.
"""

import re
from dataclasses import dataclass
from typing import Literal

from ruma.errors import InputError, NotFoundError
from ruma.tenant.conversing.conversations import GONE
from ruma.tenant.people.members import simplify_email
from ruma.tenant.tenant import Tenant

_AROUND = 60
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True)
class VisitorRef:
    """Which visitor is meant: one conversation's, or everybody's who gave that address."""

    conversation: int | None = None
    email: str = ""


@dataclass(frozen=True)
class Mention:
    """A place in a conversation where a text was found."""

    conversation_id: int
    place: Literal["message", "name", "address", "comment"]
    excerpt: str
    at: str
    """When it was written; of a name or an address, when the conversation was last used."""


def parse_visitor(text: str) -> VisitorRef:
    """Return the visitor that a number or an e-mail address names.

    Raises:
        InputError: It is neither.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return VisitorRef(conversation=int(text))
    if "@" in text:
        return VisitorRef(email=simplify_email(text))
    raise InputError(
        "A visitor is named by a conversation's number or by an e-mail address.",
        hint="Search for a name first, and take the numbers of the conversations that it is found in.",
    )


def find_visitor(tenant: Tenant, ref: VisitorRef) -> list[int]:
    """Return the numbers of the visitor's conversations, the oldest first.

    Raises:
        NotFoundError: There is none.
    """
    with tenant.reading() as db:
        if ref.conversation is not None:
            if not db.execute("select 1 from conversation where id = ?", [ref.conversation]).fetchone():
                raise NotFoundError(GONE)
            return [ref.conversation]
        # Compared here: SQLite folds the case of ASCII alone.
        rows = db.execute(
            """select id, visitor_email from conversation
               where (visitor_name <> '' or visitor_email <> '') and visitor_email <> ''"""
        ).fetchall()
    wanted = simplify_email(ref.email)
    found = sorted(number for number, email in rows if simplify_email(email) == wanted)
    if not found:
        raise NotFoundError(f"No conversation has the address {ref.email}.", hint="Search for it in the messages.")
    return found


def mentions(tenant: Tenant, text: str, *, limit: int = 200) -> list[Mention]:
    """Return where visitors' conversations have these words in this order, the newest first.

    Looked through are the messages, what visitors gave as their name and address, and their comments on answers.
    The last word may be the beginning of a longer one; endings are folded as in the search. Quoted answers are
    the documents' own words and are not among them.

    Raises:
        InputError: There is no letter and no digit in it.
    """
    words = " ".join(text.replace('"', " ").replace("\0", " ").split())
    if not any(letter.isalnum() for letter in words):
        raise InputError("There is nothing to look for: it has no letter and no digit.")
    values = {"words": f'"{words}"*', "like": "%" + re.sub(r"([\\%_])", r"\\\1", words) + "%", "limit": limit}
    with tenant.reading() as db:
        rows = [row for sql in _PLACES for row in db.execute(sql, values).fetchall()]
    found = [Mention(number, place, _excerpt(said, words), at) for number, place, said, at in rows]
    return sorted(found, key=lambda one: (one.at, one.conversation_id), reverse=True)[:limit]


_PLACES = (
    """select conversation_id, 'message', text, created_at from message
       where id in (select rowid from message_fts where message_fts match :words) order by id desc limit :limit""",
    r"""select id, 'name', visitor_name, last_at from conversation
        where (visitor_name <> '' or visitor_email <> '') and visitor_name like :like escape '\'
        order by id desc limit :limit""",
    r"""select id, 'address', visitor_email, last_at from conversation
        where (visitor_name <> '' or visitor_email <> '') and visitor_email like :like escape '\'
        order by id desc limit :limit""",
    r"""select conversation_id, 'comment', comment, given_at from feedback join message on message.id = message_id
        where comment like :like escape '\' order by message_id desc limit :limit""",
)


def _excerpt(said: str, words: str) -> str:
    """Return the line around the first place, shortened."""
    line = " ".join(said.split())
    at = max(line.casefold().find(words.casefold()), 0)
    start, end = max(at - _AROUND, 0), min(at + len(words) + _AROUND, len(line))
    return ("…" if start else "") + line[start:end].strip() + ("…" if end < len(line) else "")
