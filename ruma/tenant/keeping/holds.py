"""Legal holds: what must be kept, whatever the plan or anybody says, until somebody ends the hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from ruma.errors import HeldError, InputError, NotFoundError
from ruma.tenant.audit import current_actor, note
from ruma.tenant.clock import now
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

LONGEST_REASON = 500

HELD = """exists (select 1 from hold where ended_at is null and conversation_id is null)
    or exists (select 1 from hold where ended_at is null and conversation_id = conversation.id)"""
"""Whether a row of `conversation` is held."""

_SELECT = "select id, conversation_id, reason, set_by_kind, set_by_id, set_at, until, ended_at from hold"


@dataclass(frozen=True)
class Hold:
    """One legal hold."""

    id: int
    conversation_id: int | None
    """The conversation that is kept; None keeps everything of the tenant."""
    reason: str
    set_by_kind: str
    set_by_id: int
    """The member's or the key's number; 0 for the operator."""
    set_at: str
    until: str | None
    """The last day of it; None where it goes on until somebody ends it."""
    ended_at: str | None


def is_held(db: "Database", conversation_id: int) -> bool:
    """Tell, inside a read or write, whether a conversation must be kept."""
    sql = "select 1 from hold where ended_at is null and (conversation_id is null or conversation_id = ?) limit 1"
    return db.execute(sql, [conversation_id]).fetchone() is not None


def check_conversation_not_held(db: "Database", conversation_id: int) -> None:
    """Refuse, inside a write, to erase a conversation that must be kept.

    Raises:
        HeldError: It is held.
    """
    if is_held(db, conversation_id):
        raise HeldError(
            "This conversation must be kept for now: the law asks for it (a legal hold).",
            hint="It can be deleted when the hold ends. The business can tell you more.",
        )


def is_all_held(db: "Database") -> bool:
    """Tell, inside a read or write, whether everything of the tenant must be kept."""
    sql = "select 1 from hold where ended_at is null and conversation_id is null limit 1"
    return db.execute(sql).fetchone() is not None


def check_not_held(tenant: Tenant) -> None:
    """Refuse to erase anything of a tenant of which everything must be kept.

    Raises:
        HeldError: The tenant is held.
    """
    with tenant.reading() as db:
        _check_all(db)


def check_documents_not_held(db: "Database", document_ids: Sequence[int]) -> None:
    """Refuse, inside a write, to remove or replace documents that must be kept.

    They must where everything must, and where a conversation that is held was answered from one of them: what its
    visitor was told would go with it.

    Raises:
        HeldError: One of them is held.
    """
    if not document_ids or not db.execute("select 1 from hold where ended_at is null limit 1").fetchone():
        return
    _check_all(db)
    for document_id in document_ids:
        row = db.execute(
            """select document.name, message.conversation_id from citation
               join document on document.id = citation.document_id join message on message.id = citation.message_id
               join hold on hold.conversation_id = message.conversation_id and hold.ended_at is null
               where citation.document_id = ? limit 1""",
            [document_id],
        ).fetchone()
        if row:
            raise HeldError(
                f"{row[0]} must be kept for now: conversation {row[1]}, under a legal hold, cites it.",
                hint="An owner, or `ruma hold end NUMBER`, ends the hold; then it can be removed or replaced.",
            )


def set_hold(tenant: Tenant, reason: str, *, conversation_id: int | None = None, until: date | None = None) -> Hold:
    """Keep a conversation, or everything of the tenant, until the hold ends.

    Raises:
        InputError: There is no reason, or it is too long.
        NotFoundError: There is no such conversation.
    """
    reason = " ".join("".join(one if one.isprintable() else " " for one in reason).split())
    if not reason or len(reason) > LONGEST_REASON:
        raise InputError(f"A hold needs a reason of at most {LONGEST_REASON} characters.")
    actor = current_actor()
    with tenant.writing() as db:
        found = db.execute("select 1 from conversation where id = ?", [conversation_id]).fetchone()
        if conversation_id is not None and not found:
            raise NotFoundError(f"There is no conversation {conversation_id}.")
        stored = db.execute(
            """insert into hold (conversation_id, reason, set_by_kind, set_by_id, set_at, until)
               values (?, ?, ?, ?, ?, ?)""",
            [conversation_id, reason, actor.kind, actor.id, now(), until and until.isoformat()],
        )
        hold_id = stored.lastrowid or 0
        subject = "tenant" if conversation_id is None else f"conversation {conversation_id}"
        note(db, "hold.set", subject, hold=hold_id)
        return Hold(*db.execute(f"{_SELECT} where id = ?", [hold_id]).fetchone())


def end_hold(tenant: Tenant, hold_id: int) -> None:
    """End a hold: what it kept goes when the plan says so, or when somebody erases it.

    Raises:
        NotFoundError: There is no such hold, or it has ended.
    """
    with tenant.writing() as db:
        _end(db, hold_id)


def end_due_holds(db: "Database", today: str) -> None:
    """End, inside a write, the holds whose last day is over."""
    sql = "select id from hold where ended_at is null and until < ?"
    for (hold_id,) in db.execute(sql, [today]).fetchall():
        _end(db, hold_id)


def forget_ended_holds(db: "Database", before: str) -> None:
    """Forget, inside a write, the holds that ended before a time: their reasons may name people."""
    db.execute("delete from hold where ended_at < ?", [before])


def list_holds(tenant: Tenant, *, with_ended: bool = False) -> list[Hold]:
    """Return the holds, the newest first; those that have ended only where they are asked for."""
    where = "" if with_ended else "where ended_at is null"
    with tenant.reading() as db:
        return [Hold(*row) for row in db.execute(f"{_SELECT} {where} order by id desc").fetchall()]


def holds_on(tenant: Tenant, conversation_id: int) -> list[Hold]:
    """Return the holds that keep a conversation now."""
    return [one for one in list_holds(tenant) if one.conversation_id in (None, conversation_id)]


def _check_all(db: "Database") -> None:
    if is_all_held(db):
        raise HeldError(
            "Everything here must be kept for now: a legal hold is on it.",
            hint="An owner, or `ruma hold end NUMBER`, ends the hold; then it can be erased.",
        )


def _end(db: "Database", hold_id: int) -> None:
    sql = "update hold set ended_at = ? where id = ? and ended_at is null returning conversation_id"
    rows = db.execute(sql, [now(), hold_id]).fetchall()
    if not rows:
        raise NotFoundError(f"There is no hold {hold_id} that goes on.", hint="`ruma hold list` lists them.")
    note(db, "hold.ended", "tenant" if rows[0][0] is None else f"conversation {rows[0][0]}", hold=hold_id)
