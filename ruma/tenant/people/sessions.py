"""Signed-in members' sessions. Of a session's secret only the hash is kept; what ends a session counts at once.

The server's own stock sessions are not used: they take over an id that the browser brought along, and cannot be
listed or ended one by one.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass

from ruma.errors import NotFoundError
from ruma.tenant.audit import acting_as, note
from ruma.tenant.clock import now
from ruma.tenant.people.members import Member, end_access, member_of
from ruma.tenant.people.networks import network_of
from ruma.tenant.tenant import Tenant

IDLE_SECONDS = 30 * 60
LIFE_SECONDS = 12 * 3600
AHEAD_SECONDS = 5
"""A session from further in the future than this is void: a clock that was set back must not bring any back to life."""

_SEEN_EVERY = 60
_LONGEST_BROWSER = 80
_ALIVE = f"""session.epoch = member.session_epoch and not member.is_disabled
    and session.seen_at between :now - {IDLE_SECONDS} and :now + {AHEAD_SECONDS}
    and session.started_at between :now - {LIFE_SECONDS} and :now + {AHEAD_SECONDS}"""


@dataclass(frozen=True)
class Session:
    """A session that is open now: its number, whose it is, and the secret that its writes must carry."""

    id: int
    member: Member
    csrf: str


@dataclass(frozen=True)
class SessionInfo:
    """What a member is shown of a session. Times are seconds since 1970."""

    id: int
    browser: str
    address: str
    started_at: float
    seen_at: float


def begin_session(
    tenant: Tenant, member_id: int, *, browser: str = "", address: str = "", old: str | None = None
) -> str:
    """Begin a session and return its secret: always a new one, and the session that the browser came with ends.

    Raises:
        NotFoundError: There is no such member, or the member is disabled.
    """
    secret, time_now = secrets.token_urlsafe(32), time.time()
    shown = "".join(one for one in browser if one.isprintable())[:_LONGEST_BROWSER]
    with tenant.writing() as db:
        if old:
            db.execute("delete from session where secret_hash = ?", [_hash(old)])
        db.execute(
            f"""delete from session where member_id = :member and id not in (
                select session.id from session join member on member.id = member_id where {_ALIVE})""",
            {"member": member_id, "now": time_now},
        )
        stored = db.execute(
            """insert into session (secret_hash, member_id, epoch, started_at, seen_at, browser, address)
               select ?, id, session_epoch, ?, ?, ?, ? from member where id = ? and not is_disabled""",
            [_hash(secret), time_now, time_now, shown, network_of(address), member_id],
        )
        if not stored.rowcount:
            raise NotFoundError("This member cannot sign in any more.")
        db.execute("update member set last_seen_at = ? where id = ?", [now(), member_id])
        with acting_as("member", member_id):
            note(db, "session.begun", f"session {stored.lastrowid}")
    return secret


def find_session(tenant: Tenant, secret: str) -> Session | None:
    """Return the open session that a secret belongs to, or None. That it was used is written once a minute at most.

    One that is over goes when it is asked for: a clock that is set back must not bring it to life again.
    """
    time_now = time.time()
    with tenant.reading() as db:
        row = db.execute(
            f"""select session.id, session.seen_at, member.id, email, name, role, is_disabled,
                totp_secret is not null, created_at, last_seen_at
                from session join member on member.id = session.member_id
                where secret_hash = :hash and {_ALIVE}""",
            {"hash": _hash(secret), "now": time_now},
        ).fetchone()
    if row is None:
        _remove_ended(tenant, _hash(secret), time_now)
        return None
    if abs(time_now - row[1]) >= _SEEN_EVERY:
        with tenant.writing() as db:
            db.execute("update session set seen_at = ? where id = ?", [time_now, row[0]])
            db.execute("update member set last_seen_at = ? where id = ?", [now(), row[2]])
    return Session(row[0], member_of(row[2:]), csrf_of(tenant, secret))


def _remove_ended(tenant: Tenant, secret_hash: bytes, time_now: float) -> None:
    with tenant.reading() as db:
        found = db.execute("select id from session where secret_hash = ?", [secret_hash]).fetchone()
    if found:
        with tenant.writing() as db:
            db.execute(
                f"""delete from session where id = :id and id not in (
                    select session.id from session join member on member.id = member_id where {_ALIVE})""",
                {"id": found[0], "now": time_now},
            )


def is_open(tenant: Tenant, session_id: int) -> bool:
    """Tell whether a session still goes on: for an answer that is under way when it ends."""
    with tenant.reading() as db:
        row = db.execute(
            f"select 1 from session join member on member.id = member_id where session.id = :id and {_ALIVE}",
            {"id": session_id, "now": time.time()},
        ).fetchone()
    return row is not None


def csrf_of(tenant: Tenant, secret: str) -> str:
    """Return what a page must send with each write, so that no other website's page can write."""
    return tenant.page_key.derive(b"ruma csrf", _hash(secret)).hex()


def list_sessions(tenant: Tenant, member_id: int) -> list[SessionInfo]:
    """Return a member's open sessions, the latest used first."""
    with tenant.reading() as db:
        rows = db.execute(
            f"""select session.id, browser, address, started_at, seen_at
                from session join member on member.id = member_id
                where member_id = :member and {_ALIVE} order by seen_at desc, session.id desc""",
            {"member": member_id, "now": time.time()},
        ).fetchall()
    return [SessionInfo(*row) for row in rows]


def end_session(tenant: Tenant, member_id: int, session_id: int) -> None:
    """End one of a member's sessions.

    Raises:
        NotFoundError: The member has no such session.
    """
    with tenant.writing() as db:
        if not db.execute("delete from session where id = ? and member_id = ?", [session_id, member_id]).rowcount:
            raise NotFoundError("This session has ended already.")
        note(db, "session.ended", f"session {session_id}", member=member_id)


def end_all_sessions(tenant: Tenant, member_id: int) -> None:
    """End every session of a member, and every open link."""
    with tenant.writing() as db:
        end_access(db, member_id)
        note(db, "sessions.ended", f"member {member_id}")


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
