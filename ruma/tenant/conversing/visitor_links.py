"""One-time links by which a visitor proves an e-mail address, and what they open: all conversations that have it.

A link is a secret of 256 bits, kept as its hash. Opening it voids it and gives another secret, which shows the
conversations for a while and is held by the page alone.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ruma.errors import NotFoundError
from ruma.tenant.audit import note
from ruma.tenant.conversing.conversations import GONE
from ruma.tenant.conversing.visitors import VisitorRef, find_visitor
from ruma.tenant.people.links import ALIVE, ENDED, remove_ended
from ruma.tenant.people.members import simplify_email
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

LINK_SECONDS = 30 * 60
"""How long a link can be opened."""
VISIT_SECONDS = 30 * 60
"""How long what it opened stays open."""
MOST_LINKS = 5
"""So many links of an address wait at most: more mails would help nobody but whoever wants to annoy its owner."""

_Use = Literal["link", "visit"]


@dataclass(frozen=True)
class NewLink:
    """A link that is to be mailed."""

    secret: str
    email: str
    """Where to: the address as it is compared, not as it was typed, since some that differ look alike."""
    conversation_id: int
    """One of those that it leads to."""


@dataclass(frozen=True)
class Visit:
    """What a link opened."""

    secret: str
    email: str


def make_visitor_link(tenant: Tenant, email: str) -> NewLink | None:
    """Return a new link to all conversations that have an address.

    Returns:
        None where no conversation has the address, or as many links of it wait as may.
    """
    wanted = simplify_email(email)
    try:
        newest = find_visitor(tenant, VisitorRef(email=wanted))[-1]
    except NotFoundError:
        return None
    secret, time_now = secrets.token_urlsafe(32), time.time()
    with tenant.writing() as db:
        db.execute(f"delete from visitor_link where not ({ALIVE})", {"now": time_now})
        waiting = db.execute("select count(*) from visitor_link where email = ?", [wanted]).fetchone()[0]
        if waiting >= MOST_LINKS:
            return None
        _insert(db, "link", secret, wanted, time_now, LINK_SECONDS)
        note(db, "visitor-link.made")
    return NewLink(secret, wanted, newest)


def open_visitor_link(tenant: Tenant, secret: str) -> Visit:
    """Void a link, and return what shows the conversations from now on: of two that come at once, one gets it.

    Raises:
        NotFoundError: There is no such link, or it was used, or its time is over.
    """
    opened, time_now = secrets.token_urlsafe(32), time.time()
    with tenant.writing() as db:
        sql = f"delete from visitor_link where secret_hash = :hash and {ALIVE} returning email"
        rows = db.execute(sql, {"hash": _hash("link", secret), "now": time_now}).fetchall()
        if rows:
            _insert(db, "visit", opened, rows[0][0], time_now, VISIT_SECONDS)
            note(db, "visitor-link.opened")
    if not rows:
        remove_ended(tenant, "visitor_link", _hash("link", secret))
        raise NotFoundError(ENDED, hint="Ask for a new link.")
    return Visit(opened, str(rows[0][0]))


def find_visit(tenant: Tenant, secret: str) -> Visit:
    """Return the visit that a secret shows.

    Raises:
        NotFoundError: There is none, or its time is over.
    """
    with tenant.reading() as db:
        sql = f"select email from visitor_link where secret_hash = :hash and {ALIVE}"
        row = db.execute(sql, {"hash": _hash("visit", secret), "now": time.time()}).fetchone()
    if row is None:
        remove_ended(tenant, "visitor_link", _hash("visit", secret))
        raise NotFoundError(ENDED, hint="Ask for a new link.")
    return Visit(secret, row[0])


def conversations_of(tenant: Tenant, visit: Visit) -> list[int]:
    """Return the numbers of the conversations that have the address now, the oldest first; there may be none."""
    try:
        return find_visitor(tenant, VisitorRef(email=visit.email))
    except NotFoundError:
        return []


def check_own(tenant: Tenant, visit: Visit, conversation_id: int) -> int:
    """Return the number of a conversation if it has the address.

    Raises:
        NotFoundError: It has another, or is not there.
    """
    if conversation_id not in conversations_of(tenant, visit):
        raise NotFoundError(GONE)
    return conversation_id


def _insert(db: "Database", use: _Use, secret: str, email: str, started_at: float, seconds: int) -> None:
    sql = "insert into visitor_link (secret_hash, email, started_at, ends_at) values (?, ?, ?, ?)"
    db.execute(sql, [_hash(use, secret), email, started_at, started_at + seconds])


def _hash(use: _Use, secret: str) -> bytes:
    # By its use, so that a link opens nothing before it was voided.
    return hashlib.sha256(f"{use} {secret}".encode("utf-8", "replace")).digest()
