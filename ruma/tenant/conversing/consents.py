"""What visitors let the business keep and count, and when they said so.

A conversation that is not kept is *passing*: it is in no inbox and in no statistics, and goes when the chat is over.
That is some minutes after the browser left, so that a visitor who opens the next page of a website can go on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, get_args

from ruma.errors import ConflictError, InputError, NotFoundError
from ruma.tenant.audit import note
from ruma.tenant.clock import now
from ruma.tenant.erasing.erasure import ask_erasure, finish_erasure
from ruma.tenant.keeping.holds import HELD, check_conversation_not_held
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

Purpose = Literal["keep", "analytics"]
Keeping = Literal["agreed", "unless_refused"]
KEEPINGS: tuple[Keeping, ...] = get_args(Keeping)

PASSING_SECONDS = 30 * 60
"""How long after its last message a conversation that is not kept is gone, if the visitor did not leave before."""

LEFT_SECONDS = 10 * 60
"""How long after the visitor left a conversation that is not kept is gone, if they did not come back."""

LOOK_SECONDS = 60
"""How often the server looks for what is over; what would be gone late is ended at the look before."""

_AHEAD = timedelta(hours=1)
_GONE = "This conversation is not there any more."


@dataclass(frozen=True)
class Choice:
    """What a visitor agreed to or took back, and the words that were shown."""

    purpose: Purpose
    is_given: bool
    text_version: str
    """Such as `keep-1`."""
    language: str


@dataclass(frozen=True)
class NotedChoice:
    """A choice and when it was made."""

    choice: Choice
    at: str


@dataclass(frozen=True)
class ConsentState:
    """What holds for a conversation now, and every choice that was made, the oldest first."""

    is_kept: bool
    is_counted: bool
    history: tuple[NotedChoice, ...]

    def last(self, purpose: Purpose) -> NotedChoice | None:
        """Return the newest choice for a purpose; None where none was made."""
        return next((one for one in reversed(self.history) if one.choice.purpose == purpose), None)


def read_consent(tenant: Tenant, conversation_id: int) -> ConsentState:
    """Return what a visitor agreed to in a conversation.

    Raises:
        NotFoundError: There is no such conversation.
    """
    with tenant.reading() as db:
        row = db.execute("select is_kept, is_counted from conversation where id = ?", [conversation_id]).fetchone()
        rows = db.execute(
            "select purpose, is_given, text_version, language, at from consent where conversation_id = ? order by id",
            [conversation_id],
        ).fetchall()
    if row is None:
        raise NotFoundError(_GONE)
    history = (NotedChoice(Choice(one[0], bool(one[1]), one[2], one[3]), one[4]) for one in rows)
    return ConsentState(bool(row[0]), bool(row[1]), tuple(history))


def note_choices(db: "Database", conversation_id: int, choices: Sequence[Choice], time: str) -> None:
    """Store choices inside a write."""
    for one in choices:
        db.execute(
            """insert into consent (conversation_id, purpose, is_given, text_version, language, at)
               values (?, ?, ?, ?, ?, ?)""",
            [conversation_id, one.purpose, int(one.is_given), one.text_version, one.language, time],
        )


def change_consent(
    tenant: Tenant, conversation_id: int, *, is_kept: bool, is_counted: bool, choices: Sequence[Choice]
) -> ConsentState:
    """Let a conversation be kept and counted, or not, from now on and with all that was said before.

    What is not kept is not counted either: it will be gone.

    Args:
        tenant: Whose conversation it is.
        conversation_id: Its number.
        is_kept: Whether it stays when the chat is over.
        is_counted: Whether it is in the statistics.
        choices: What the visitor chose, to be stored as proof.

    Raises:
        NotFoundError: There is no such conversation.
        ConflictError: It must be kept: it is under a legal hold.
    """
    is_counted = is_counted and is_kept
    with tenant.writing() as db:
        before = db.execute("select is_kept, is_counted from conversation where id = ?", [conversation_id]).fetchone()
        if before is None:
            raise NotFoundError(_GONE)
        if not is_kept:
            check_conversation_not_held(db, conversation_id)
        db.execute(
            "update conversation set is_kept = ?, is_counted = ?, left_at = null where id = ?",
            [int(is_kept), int(is_counted), conversation_id],
        )
        if not is_kept:
            db.execute("update conversation set wants_person_since = null where id = ?", [conversation_id])
        note_choices(db, conversation_id, choices, now())
        if before[0] or is_kept:  # of what was never kept nothing is written down, here neither
            note(db, "consent.changed", f"conversation {conversation_id}", kept=is_kept, counted=is_counted)
    return read_consent(tenant, conversation_id)


def note_presence(tenant: Tenant, conversation_id: int, *, is_here: bool) -> None:
    """Note that the visitor of a conversation that is not kept has left it, or is there again.

    Of one that is kept nothing is noted.
    """
    was_here = f"is_kept = 0 and left_at is {'not null' if is_here else 'null'} and id = ?"
    with tenant.reading() as db:
        if db.execute(f"select 1 from conversation where {was_here}", [conversation_id]).fetchone() is None:
            return
    with tenant.writing() as db:
        left_at = None if is_here else now()
        db.execute(f"update conversation set left_at = ? where {was_here}", [left_at, conversation_id])


def is_left_for_good(left_at: str | None) -> bool:
    """Tell whether a visitor who left then cannot come back to a conversation that is not kept."""
    return left_at is not None and left_at < _stored(datetime.now(UTC) - timedelta(seconds=LEFT_SECONDS))


def stop_counting(tenant: Tenant, conversation_id: int) -> ConsentState:
    """Take the consent to statistics back for a visitor who asked for it another way, such as by mail.

    It is stored with the version of the words that were agreed to; who did it stands in the audit log.

    Raises:
        NotFoundError: There is no such conversation, or it is not kept.
        ConflictError: It is in no statistics.
    """
    before = read_consent(tenant, conversation_id)
    if not before.is_kept:
        raise NotFoundError(_GONE)
    if not before.is_counted:
        raise ConflictError(f"Conversation {conversation_id} is in no statistics.")
    given = before.last("analytics")
    choices = [replace(given.choice, is_given=False)] if given else []
    return change_consent(tenant, conversation_id, is_kept=True, is_counted=False, choices=choices)


def end_passing(tenant: Tenant, conversation_id: int | None = None) -> int:
    """Delete a conversation that is not kept, or each of them that is over, and return how many those were.

    Nothing tells of them afterwards: not the audit log, either. A clock that was set back delays none for longer than
    an hour. What is under a legal hold stays, unseen, until the hold ends.
    """
    time = datetime.now(UTC)
    oldest = [time - timedelta(seconds=seconds - LOOK_SECONDS) for seconds in (PASSING_SECONDS, LEFT_SECONDS)]
    where = "(last_at not between :said and :ahead or left_at not between :left and :ahead)"
    values = {"said": _stored(oldest[0]), "left": _stored(oldest[1]), "ahead": _stored(time + _AHEAD)}
    if conversation_id is not None:
        where, values = "id = :id", {"id": str(conversation_id)}
    where = f"is_kept = 0 and {where} and not ({HELD})"
    with tenant.reading() as db:
        if db.execute(f"select 1 from conversation where {where} limit 1", values).fetchone() is None:
            return 0
    with tenant.writing() as db:
        ended = db.execute(f"delete from conversation where {where}", values).rowcount
        ask_erasure(db)
    finish_erasure(tenant)
    return int(ended)


def _stored(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def read_keeping(tenant: Tenant) -> Keeping:
    """Return whether visitors' conversations are kept where they agree, or unless they refuse."""
    with tenant.reading() as db:
        keeping: Keeping = db.execute("select keeping from consent_setting").fetchone()[0]
    return keeping


def is_widget_used(tenant: Tenant) -> bool:
    """Tell whether anybody ever asked through the widget, whether or not that conversation was kept."""
    with tenant.reading() as db:
        return bool(db.execute("select is_widget_used from consent_setting").fetchone()[0])


def check_keeping(keeping: str) -> None:
    """Refuse what says nothing of when conversations are kept.

    Raises:
        InputError: It is none of the ways there are.
    """
    if keeping not in KEEPINGS:
        raise InputError(
            f"Conversations cannot be kept {keeping[:80]!r}.", hint=f"Choose one of these: {', '.join(KEEPINGS)}."
        )


def change_keeping(tenant: Tenant, keeping: str) -> Keeping:
    """Set whether visitors' conversations are kept where they agree, or unless they refuse; for those to come.

    Raises:
        InputError: It is neither.
    """
    check_keeping(keeping)
    with tenant.writing() as db:
        db.execute("update consent_setting set keeping = ?", [keeping])
        note(db, "consent_setting.changed", keeping=keeping)
    return read_keeping(tenant)
