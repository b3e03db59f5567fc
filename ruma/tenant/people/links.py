"""One-time links: to set a tenant up, to join it, to set a new password, and to give the second factor.

A link is a secret of 256 bits, kept as its hash. It works once and not for long, and a newer one for the same
person voids the older.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ruma.errors import NotFoundError
from ruma.tenant.audit import note
from ruma.tenant.people.members import check_role, fold_email
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

Purpose = Literal["setup", "invitation", "reset", "second-step"]
LIFE_SECONDS: dict[Purpose, int] = {
    "setup": 24 * 3600,
    "invitation": 24 * 3600,
    "reset": 30 * 60,
    "second-step": 5 * 60,
}
_AHEAD_SECONDS = 5
ENDED = "This link has been used, or has ended."
_HINTS: dict[Purpose, str] = {
    "setup": "Whoever runs this machine makes a new one with `ruma members link`.",
    "invitation": "Ask for a new invitation.",
    "reset": "Ask for a new link.",
    "second-step": "Sign in again.",
}
_MADE: dict[Purpose, str] = {
    "setup": "setup-link.made",
    "invitation": "invitation.made",
    "reset": "reset-link.made",
}
# Both ends are bounded, so that a clock that was set back brings no link back to life.
ALIVE = f"started_at <= :now + {_AHEAD_SECONDS} and ends_at > :now"


@dataclass(frozen=True)
class Link:
    """What a link is for."""

    purpose: Purpose
    member_id: int | None
    email: str
    role: str


@dataclass(frozen=True)
class Invitation:
    """An invitation that nobody has taken yet. Its end is in seconds since 1970."""

    email: str
    role: str
    ends_at: float


def make_link(
    tenant: Tenant, purpose: Purpose, *, member_id: int | None = None, email: str = "", role: str = ""
) -> str:
    """Return the secret of a new link; an older one of the same purpose and person works no more.

    Raises:
        InputError: An invitation's address or role cannot be used.
    """
    if purpose == "invitation":
        email, role = fold_email(email), check_role(role)
    secret, time_now = secrets.token_urlsafe(32), time.time()
    with tenant.writing() as db:
        db.execute(f"delete from link where not ({ALIVE})", {"now": time_now})
        db.execute("delete from link where purpose = ? and member_id is ? and email = ?", [purpose, member_id, email])
        row = [_hash(secret), purpose, member_id, email, role, time_now, time_now + LIFE_SECONDS[purpose]]
        db.execute("insert into link values (?, ?, ?, ?, ?, ?, ?)", row)
        if purpose != "second-step":  # a step of a sign-in, which has an entry of its own
            note(db, _MADE[purpose], f"member {member_id}" if member_id else "", **({"role": role} if role else {}))
    return secret


def peek_link(tenant: Tenant, purpose: Purpose, secret: str) -> Link:
    """Return what a link is for, and leave it usable.

    Raises:
        NotFoundError: There is no such link, or it was used, or its time is over.
    """
    with tenant.reading() as db:
        row = db.execute(
            f"""select purpose, member_id, email, role from link
                where secret_hash = :hash and purpose = :purpose and {ALIVE}""",
            {"hash": _hash(secret), "purpose": purpose, "now": time.time()},
        ).fetchone()
    if row is None:
        remove_ended(tenant, "link", _hash(secret))
    return _found(row, purpose)


def remove_ended(tenant: Tenant, table: Literal["link", "visitor_link"], secret_hash: bytes) -> None:
    """Take away what was found to be over: a clock that is set back must not bring it to life again."""
    with tenant.reading() as db:
        if not db.execute(f"select 1 from {table} where secret_hash = ?", [secret_hash]).fetchone():
            return
    with tenant.writing() as db:
        sql = f"delete from {table} where secret_hash = :hash and not ({ALIVE})"
        db.execute(sql, {"hash": secret_hash, "now": time.time()})


def use_link(tenant: Tenant, purpose: Purpose, secret: str) -> Link:
    """Return what a link is for, and void it: of two that come at once, one gets it.

    Raises:
        NotFoundError: There is no such link, or it was used, or its time is over.
    """
    with tenant.writing() as db:
        return take_link(db, purpose, secret)


def take_link(db: "Database", purpose: Purpose, secret: str) -> Link:
    """Use a link inside a write, so that it is spent only if all that it was for is done."""
    rows = db.execute(
        f"""delete from link where secret_hash = :hash and purpose = :purpose and {ALIVE}
            returning purpose, member_id, email, role""",
        {"hash": _hash(secret), "purpose": purpose, "now": time.time()},
    ).fetchall()
    return _found(rows[0] if rows else None, purpose)


def list_invitations(tenant: Tenant) -> list[Invitation]:
    """Return the invitations that are open, the latest first."""
    with tenant.reading() as db:
        rows = db.execute(
            f"select email, role, ends_at from link where purpose = 'invitation' and {ALIVE} order by started_at desc",
            {"now": time.time()},
        ).fetchall()
    return [Invitation(*row) for row in rows]


def withdraw_invitation(tenant: Tenant, email: str) -> None:
    """Void an open invitation.

    Raises:
        NotFoundError: There is none for that address.
    """
    with tenant.writing() as db:
        sql = "delete from link where purpose = 'invitation' and email = ?"
        if not db.execute(sql, [fold_email(email)]).rowcount:
            raise NotFoundError(f"There is no open invitation for {email}.")
        note(db, "invitation.withdrawn")


def _found(row: tuple[Purpose, int | None, str, str] | None, purpose: Purpose) -> Link:
    if row is None:
        raise NotFoundError(ENDED, hint=_HINTS[purpose])
    return Link(*row)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
