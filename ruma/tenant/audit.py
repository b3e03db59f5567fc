"""The audit log: who did what, when and from where. Entries are only added, and each is bound to the one before.

An entry holds no names, addresses of people or texts, so that whoever is erased needs no entry changed.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, get_args

from ruma.tenant.clock import now
from ruma.tenant.people.networks import network_of
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

    @property
    def label(self) -> str:
        """The kind with its number: `member 3`, `operator`."""
        return f"{self.kind} {self.id}" if self.kind in ("member", "key") else self.kind


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
    removed: int
    """How many of the oldest were removed because their time was over."""
    head: str
    """The hash of the newest entry: written down elsewhere, it proves later that nothing was taken off the end."""
    broken_at: int | None
    """The first entry that does not fit the one before; None where all fit."""
    has_head: bool | None = None
    """Whether the hash that was asked for is that of an entry, or of the last that was removed; None where none was."""


_RUMA = Actor()
_acting: ContextVar[Actor] = ContextVar("acting", default=_RUMA)
_COLUMNS = "id, at, actor_kind, actor_id, address, action, subject, details"


def act_as(kind: ActorKind, id: int = 0, *, address: str = "") -> None:
    """Say who acts from here on, in this request or this command; *address* is shortened before it is kept."""
    _acting.set(Actor(kind, id, network_of(address) if address else ""))


@contextmanager
def acting_as(kind: ActorKind, id: int = 0) -> Iterator[None]:
    """Say who acts within a block: Ruma by itself in the course of somebody's request, or who has just signed in."""
    before = _acting.set(Actor(kind, id, "" if kind == "ruma" else _acting.get().network))
    try:
        yield
    finally:
        _acting.reset(before)


def current_actor() -> Actor:
    """Return who acts."""
    return _acting.get()


def parse_actor(label: str) -> tuple[ActorKind, int] | None:
    """Return the kind and the number that a label says, `member 3` or `operator`; None where it says none."""
    kind, _, number = label.strip().partition(" ")
    found = next((one for one in get_args(ActorKind) if one == kind), None)
    if found is None or (number and not (number.isascii() and number.isdigit() and len(number) < 19)):
        return None
    return found, int(number or 0)


def note(db: "Database", action: str, subject: str = "", **details: str | int | bool) -> int:
    """Add an entry in the transaction that does what it tells of, and return its number.

    Args:
        db: A connection that is writing.
        action: What is done, as `thing.done`.
        subject: To what, as a kind and a number.
        details: What else there is to know: numbers and names of settings, never a person's name or a text.
    """
    actor = _acting.get()
    log, *start = db.execute("select log, last_id, hash from audit_start").fetchone()
    before = db.execute("select id, hash from audit order by id desc limit 1").fetchone() or start
    row = [before[0] + 1, now(), actor.kind, actor.id, actor.network, action, subject, json.dumps(details)]
    db.execute(
        f"insert into audit ({_COLUMNS}, hash) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [*row, _seal(log, before[1], row)],
    )
    return int(row[0])


def note_now(tenant: Tenant, action: str, subject: str = "", **details: str | int | bool) -> None:
    """Add an entry for what changes nothing else: that something was downloaded, or taken out as a file."""
    with tenant.writing() as db:
        note(db, action, subject, **details)


def list_audit(
    tenant: Tenant,
    *,
    before: int | None = None,
    limit: int = 100,
    thing: str = "",
    actor: tuple[ActorKind, int] | None = None,
    subject: str = "",
    since: date | None = None,
    until: date | None = None,
) -> list[AuditEntry]:
    """Return the entries to which all of this applies, the newest first.

    Args:
        tenant: Whose log it is.
        before: Only entries with smaller numbers: for the next page.
        limit: How many at most.
        thing: What an action begins with, `member` or `member.invited`.
        actor: Who acted, as a kind and a number.
        subject: To what, as a kind and a number.
        since: The first day.
        until: The last day.
    """
    where, values = _filter(thing, actor, subject, since, until)
    with tenant.reading() as db:
        rows = db.execute(
            f"select {_COLUMNS}, hash from audit where id < ? {where} order by id desc limit ?",
            [before or 2**62, *values, limit],
        ).fetchall()
    return [_entry(row) for row in rows]


def list_things(tenant: Tenant) -> list[str]:
    """Return the things that entries tell of: `member`, `document`, `session` …"""
    with tenant.reading() as db:
        rows = db.execute("select distinct substr(action, 1, instr(action, '.') - 1) from audit").fetchall()
    return sorted(row[0] for row in rows)


def check_audit(tenant: Tenant, *, head: str = "") -> AuditCheck:
    """Compute the hash of every entry anew.

    Args:
        tenant: Whose log it is.
        head: The hash of an entry that was the newest once: whether it is there still is said as `has_head`.
    """
    with tenant.reading() as db:
        log, first_id, sealed = db.execute("select log, last_id, hash from audit_start").fetchone()
        has_head, last_id = head == sealed.hex(), first_id
        count, broken_at = 0, None
        for *row, kept in db.execute(f"select {_COLUMNS}, hash from audit order by id"):
            sealed = _seal(log, sealed, row)
            if broken_at is None and (kept != sealed or row[0] != last_id + 1):
                broken_at = row[0]
            has_head = has_head or kept.hex() == head
            count, last_id, sealed = count + 1, row[0], kept
    return AuditCheck(count, first_id, sealed.hex(), broken_at, has_head if head else None)


def remove_oldest(db: "Database", last_id: int) -> int:
    """Remove, inside a write, the entries up to that number, and return how many those were.

    The log then begins where it was cut: what is left still rests on the hash of the last that went.
    """
    row = db.execute("select id, hash from audit where id <= ? order by id desc limit 1", [last_id]).fetchone()
    if row is None:
        return 0
    db.execute("update audit_start set last_id = ?, hash = ?", list(row))
    return db.execute("delete from audit where id <= ?", [row[0]]).rowcount


def _filter(
    thing: str, actor: tuple[ActorKind, int] | None, subject: str, since: date | None, until: date | None
) -> tuple[str, list[Any]]:
    conditions, values = [""], list[Any]()
    if thing:
        conditions.append("(action = ? or substr(action, 1, ?) = ?)")
        values += [thing, len(thing) + 1, f"{thing}."]
    if actor:
        conditions.append("actor_kind = ? and actor_id = ?")
        values += actor
    if subject:
        conditions.append("subject = ?")
        values.append(subject)
    if since:
        conditions.append("at >= ?")
        values.append(since.isoformat())
    if until:
        conditions.append("at < ?")
        values.append(f"{until.isoformat()}U")  # every time of that day begins with its date and a T
    return " and ".join(conditions), values


def _seal(log: str, before: bytes, row: list[Any]) -> bytes:
    # With the log's own name, so that entries of another tenant fit nowhere.
    text = json.dumps([log, *row], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(before + text.encode()).digest()


def _entry(row: Any) -> AuditEntry:
    id, at, kind, actor_id, network, action, subject, details, kept = row
    return AuditEntry(id, at, Actor(kind, actor_id, network), action, subject, json.loads(details), kept.hex())
