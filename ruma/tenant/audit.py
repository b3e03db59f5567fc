"""The audit log: who did what, when and from where. Entries are only added, and each is bound to the one before.

An entry holds no names, addresses of people or texts, so that whoever is erased needs no entry changed.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ruma.tenant.clock import now
from ruma.tenant.networks import network_of
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

ActorKind = Literal["operator", "member", "key", "visitor", "ruma"]


@dataclass(frozen=True)
class Actor:
    """Who acts: the operator at the command line, a member, a program with a key, a visitor, or Ruma by itself."""

    kind: ActorKind = "ruma"
    id: int = 0
    """The member's or the key's number; 0 for the others."""
    network: str = ""
    """Where it came from: the address, shortened."""

    @property
    def member_id(self) -> int:
        """The member's number; 0 where no member acts."""
        return self.id if self.kind == "member" else 0


@dataclass(frozen=True)
class AuditEntry:
    """One thing that was done."""

    id: int
    at: str
    actor: Actor
    action: str
    """What was done, as `thing.done`: `member.invited`, `document.removed`."""
    subject: str
    """To what, as a kind and a number: `member 3`, `conversation 12`."""
    details: dict[str, Any]
    hash: str
    """Of this entry and all before it (SHA-256, hexadecimal)."""


@dataclass(frozen=True)
class AuditCheck:
    """What checking the whole log found."""

    entries: int
    head: str
    """The hash of the newest entry: written down elsewhere, it proves later that nothing was taken off the end."""
    broken_at: int | None
    """The first entry that does not fit the one before; None where all fit."""


_RUMA = Actor()
_acting: ContextVar[Actor] = ContextVar("acting", default=_RUMA)
_COLUMNS = "id, at, actor_kind, actor_id, address, action, subject, details"


def act_as(kind: ActorKind, id: int = 0, *, address: str = "") -> None:
    """Say who acts from here on, in this request or this command; *address* is shortened before it is kept."""
    _acting.set(Actor(kind, id, network_of(address) if address else ""))


@contextmanager
def acting_as(kind: ActorKind) -> Iterator[None]:
    """Say who acts within a block: what Ruma does by itself in the course of somebody's request."""
    before = _acting.set(Actor(kind))
    try:
        yield
    finally:
        _acting.reset(before)


def current_actor() -> Actor:
    """Return who acts."""
    return _acting.get()


def note(db: "Database", action: str, subject: str = "", **details: str | int | bool) -> int:
    """Add an entry in the transaction that does what it tells of, and return its number.

    Args:
        db: A connection that is writing.
        action: What is done, as `thing.done`.
        subject: To what, as a kind and a number.
        details: What else there is to know: numbers and names of settings, never a person's name or a text.
    """
    actor = _acting.get()
    last = db.execute("select id, hash from audit order by id desc limit 1").fetchone()
    before = last or db.execute("select last_id, hash from audit_start").fetchone()
    row = [before[0] + 1, now(), actor.kind, actor.id, actor.network, action, subject, json.dumps(details)]
    db.execute(
        f"insert into audit ({_COLUMNS}, hash) values (?, ?, ?, ?, ?, ?, ?, ?, ?)", [*row, _seal(before[1], row)]
    )
    return int(row[0])


def list_audit(tenant: Tenant, *, before: int | None = None, limit: int = 100) -> list[AuditEntry]:
    """Return entries, the newest first; *before* takes only those with smaller numbers."""
    with tenant.reading() as db:
        rows = db.execute(
            f"select {_COLUMNS}, hash from audit where id < ? order by id desc limit ?", [before or 2**62, limit]
        ).fetchall()
    return [_entry(row) for row in rows]


def check_audit(tenant: Tenant) -> AuditCheck:
    """Compute the hash of every entry anew."""
    with tenant.reading() as db:
        last_id, sealed = db.execute("select last_id, hash from audit_start").fetchone()
        count, broken_at = 0, None
        for *row, kept in db.execute(f"select {_COLUMNS}, hash from audit order by id"):
            sealed = _seal(sealed, row)
            if broken_at is None and (kept != sealed or row[0] != last_id + 1):
                broken_at = row[0]
            count, last_id, sealed = count + 1, row[0], kept
    return AuditCheck(count, sealed.hex(), broken_at)


def _seal(before: bytes, row: list[Any]) -> bytes:
    return hashlib.sha256(before + json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()).digest()


def _entry(row: Any) -> AuditEntry:
    id, at, kind, actor_id, network, action, subject, details, kept = row
    return AuditEntry(id, at, Actor(kind, actor_id, network), action, subject, json.loads(details), kept.hex())
