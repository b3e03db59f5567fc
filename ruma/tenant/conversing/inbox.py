"""The inbox: what members do with visitors' conversations, and what visitors ask of members.

Conversations of members who try the agent (channel `trial`) are not in it, nor those that are not kept: to members
they are not there.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from typing import Any, Literal, get_args

from ruma.errors import InputError, NotFoundError
from ruma.tenant.audit import note
from ruma.tenant.clock import now
from ruma.tenant.conversing.consents import Choice, note_choices
from ruma.tenant.conversing.conversations import (
    GONE,
    Channel,
    Conversation,
    OpenConversation,
    add_message,
    read_conversation,
    resume_conversation,
    store_conversation,
)
from ruma.tenant.profile import clean_email, clean_line, without_controls
from ruma.tenant.tenant import Tenant

State = Literal["waiting", "unread", "open", "closed", "answered", "unanswered", "helpful", "unhelpful"]
STATES: tuple[State, ...] = get_args(State)
PAGE = 25
MOST_A_PAGE = 100
LONGEST = 10_000
"""The most characters that a person may write in one message."""
_OPENING = 160
_LONGEST_COMMENT = 2000

WAITING = "wants_person_since is not null and answered_at is null and is_closed = 0"
"""Asked for a person, and no person has written since."""

_CONDITIONS: Mapping[State, str] = {
    "waiting": WAITING,
    "unread": "is_read = 0",
    "open": "is_closed = 0",
    "closed": "is_closed = 1",
    "answered": "questions > 0 and declined = 0",
    "unanswered": "declined > 0",
    "helpful": "helpful > 0",
    "unhelpful": "unhelpful > 0",
}


@dataclass(frozen=True)
class ConversationInfo:
    """A conversation as the inbox lists it."""

    id: int
    opening: str
    """The visitor's first words, shortened."""
    channel: Channel
    website: str
    """The origin of the page that held the widget; empty for the others."""
    language: str
    started_at: str
    last_at: str
    visitor_name: str
    visitor_email: str
    questions: int
    declined: int
    """How many of the questions the documents did not answer."""
    helpful: int
    unhelpful: int
    wants_person: bool
    """Whether the visitor waits for a person."""
    answered_at: str | None
    """When a person wrote last."""
    is_read: bool
    is_closed: bool


@dataclass(frozen=True)
class ConversationPage:
    """One page of the inbox, the newest first."""

    conversations: tuple[ConversationInfo, ...]
    total: int
    """How many there are on all pages together."""
    page: int
    pages: int


@dataclass(frozen=True)
class Feedback:
    """What a visitor thought of an answer."""

    is_helpful: bool
    comment: str
    given_at: str


@dataclass(frozen=True)
class ConversationDetails:
    """A conversation with its messages and what the visitor thought of them."""

    info: ConversationInfo
    conversation: Conversation
    feedback: Mapping[int, Feedback] = field(default_factory=dict)
    """By the number of the message."""


@dataclass(frozen=True)
class InboxCounts:
    """How many conversations need somebody."""

    waiting: int
    unread: int


def list_conversations(
    tenant: Tenant,
    *,
    text: str = "",
    since: date | None = None,
    until: date | None = None,
    states: Collection[State] = (),
    channel: Channel | None = None,
    page: int = 1,
    limit: int = PAGE,
) -> ConversationPage:
    """Return a page of the conversations to which all of this applies, the newest first.

    The text is words, never a search syntax. A conversation is found by the words of one of its messages, by
    their beginnings too, or by its visitor's name or address. Quoted answers are not searched: their words are
    the documents' own.

    Raises:
        InputError: There is no such state, or no such page size.
    """
    if unknown := set(states) - set(STATES):
        raise InputError(f"Conversations have no state {min(unknown)[:80]!r}.", hint=f"States: {', '.join(STATES)}.")
    if not 1 <= limit <= MOST_A_PAGE:
        raise InputError(f"A page holds 1 to {MOST_A_PAGE} conversations, not {limit}.")
    where, values = _filter(text, since, until, states, channel)
    with tenant.reading() as db:
        total = int(db.execute(f"select count(*) from conversation where {where}", values).fetchone()[0])
        pages = max(1, -(-total // limit))
        page = min(max(page, 1), pages)
        rows = db.execute(
            f"""{_INFO} where id in (select id from conversation where {where}
                order by last_at desc, id desc limit :limit offset :offset) order by last_at desc, id desc""",
            {**values, "limit": limit, "offset": (page - 1) * limit},
        ).fetchall()
    return ConversationPage(tuple(_info(row) for row in rows), total, page, pages)


def count_inbox(tenant: Tenant) -> InboxCounts:
    """Return how many conversations wait for a person and how many nobody has read."""
    with tenant.reading() as db:
        row = db.execute(
            f"""select coalesce(sum({WAITING}), 0), coalesce(sum(is_read = 0 and is_closed = 0), 0)
                from conversation where channel <> 'trial' and is_kept = 1"""
        ).fetchone()
    return InboxCounts(*row)


def count_waiting(tenant: Tenant) -> int:
    """Return how many conversations wait for a person: quick enough for every page."""
    with tenant.reading() as db:
        found = db.execute(f"select count(*) from conversation where {WAITING} and channel <> 'trial'").fetchone()
    return int(found[0])


def read_for_member(tenant: Tenant, conversation_id: int) -> ConversationDetails:
    """Return a conversation with all that a member may know of it.

    Raises:
        NotFoundError: There is no such conversation, or it is not kept.
    """
    return _read_details(tenant, conversation_id, "is_kept = 1")


def read_for_visitor(tenant: Tenant, conversation_id: int) -> ConversationDetails:
    """Return a conversation with all that is stored of it, whether it is kept or not.

    Raises:
        NotFoundError: There is no such conversation.
    """
    return _read_details(tenant, conversation_id, "true")


def read_feedback(tenant: Tenant, conversation_id: int) -> dict[int, Feedback]:
    """Return what the visitor thought of the answers, by the numbers of the messages."""
    with tenant.reading() as db:
        rows = db.execute(
            """select message_id, is_helpful, comment, feedback.given_at from message
               join feedback on feedback.message_id = message.id where conversation_id = ?""",
            [conversation_id],
        ).fetchall()
    return {number: Feedback(bool(is_helpful), comment, at) for number, is_helpful, comment, at in rows}


def mark_read(tenant: Tenant, conversation_id: int, *, is_read: bool = True) -> None:
    """Mark a conversation as read, or as not read.

    Raises:
        NotFoundError: There is no such conversation.
    """
    _set(tenant, conversation_id, "is_read = :value", value=int(is_read))


def close_conversation(tenant: Tenant, conversation_id: int) -> None:
    """Mark a conversation as done. What the visitor writes next opens it again.

    Raises:
        NotFoundError: There is no such conversation.
    """
    _set(tenant, conversation_id, "is_closed = 1, is_read = 1", action="conversation.closed")


def reopen_conversation(tenant: Tenant, conversation_id: int) -> None:
    """Take back that a conversation is done.

    Raises:
        NotFoundError: There is no such conversation.
    """
    _set(tenant, conversation_id, "is_closed = 0", action="conversation.reopened")


def reply(tenant: Tenant, conversation_id: int, *, author: str, text: str) -> int:
    """Add what a person answers, and return the message's number. The visitor waits no longer.

    Raises:
        InputError: The text is empty or too long.
        NotFoundError: There is no such conversation.
    """
    text = clean_text(text, "reply", LONGEST)
    time = now()
    with tenant.writing() as db:
        changed = db.execute(
            "update conversation set last_at = ?, answered_at = ?, is_read = 1 where id = ? and is_kept = 1",
            [time, time, conversation_id],
        )
        if not changed.rowcount:
            raise NotFoundError(GONE)
        note(db, "conversation.answered", f"conversation {conversation_id}")
        return add_message(db, conversation_id, "person", text, time, author=author)


def ask_for_person(
    tenant: Tenant,
    conversation: OpenConversation,
    *,
    name: str,
    email: str,
    message: str,
    choices: Sequence[Choice] = (),
) -> int:
    """Ask for a person, and return the number of the message. A conversation that is not stored yet is stored.

    It is kept from then on, whatever was chosen before: who answers must find it. *choices* is the proof that the
    visitor was told so.

    Raises:
        InputError: There is no message, or it or the name is too long, or the address is none.
        NotFoundError: The conversation was deleted meanwhile.
    """
    message = clean_text(message, "message", LONGEST)
    name, email = clean_line(name, "name"), clean_email(email)
    time = now()
    with tenant.writing() as db:
        conversation_id = conversation.id or store_conversation(db, conversation, time)
        changed = db.execute(
            """update conversation set last_at = ?, visitor_name = ?, visitor_email = ?, wants_person_since = ?,
               answered_at = null, is_read = 0, is_closed = 0, is_kept = 1 where id = ?""",
            [time, name, email, time, conversation_id],
        )
        if not changed.rowcount:
            raise NotFoundError(GONE)
        note_choices(db, conversation_id, choices, time)
        number = add_message(db, conversation_id, "visitor", message, time)
        note(db, "person.asked", f"conversation {conversation_id}")
    conversation.id, conversation.is_kept = conversation_id, True
    return number


def give_feedback(tenant: Tenant, secret: str, message_id: int, is_helpful: bool | None, comment: str = "") -> None:
    """Store what the visitor thinks of an answer in the visitor's own conversation; None takes it back.

    Raises:
        InputError: The comment is too long.
        NotFoundError: The secret opens no conversation, or it has no such answer.
    """
    comment = clean_text(comment, "comment", _LONGEST_COMMENT) if comment.strip() else ""
    conversation = resume_conversation(tenant, secret)
    with tenant.writing() as db:
        if not db.execute(
            "select 1 from message where id = ? and conversation_id = ? and role = 'agent'",
            [message_id, conversation.id],
        ).fetchone():
            raise NotFoundError("This answer is not there any more.")
        if is_helpful is None:
            db.execute("delete from feedback where message_id = ?", [message_id])
        else:
            db.execute(
                "insert or replace into feedback values (?, ?, ?, ?)", [message_id, int(is_helpful), comment, now()]
            )
        given = "(select count(*) from feedback join message on message.id = message_id where conversation_id = :id"
        db.execute(
            f"""update conversation set helpful = {given} and is_helpful = 1), unhelpful = {given} and is_helpful = 0)
                where id = :id""",
            {"id": conversation.id},
        )


def clean_text(text: str, what: str, longest: int) -> str:
    """Return what somebody wrote without the characters that show nothing.

    Raises:
        InputError: Nothing is left, or it is too long.
    """
    text = without_controls(text).strip()
    if not text:
        raise InputError(f"The {what} is empty.")
    if len(text) > longest:
        raise InputError(f"The {what} is longer than {longest} characters.")
    return text


def _read_details(tenant: Tenant, conversation_id: int, condition: str) -> ConversationDetails:
    with tenant.one_state():
        with tenant.reading() as db:
            row = db.execute(f"{_INFO} where id = ? and {condition}", [conversation_id]).fetchone()
        if row is None:
            raise NotFoundError(GONE)
        conversation = read_conversation(tenant, conversation_id)
        return ConversationDetails(_info(row), conversation, read_feedback(tenant, conversation_id))


_INFO = f"""select id, (select substr(text, 1, 2 * {_OPENING}) from message
        where conversation_id = conversation.id and role = 'visitor' order by id limit 1),
    channel, website, language, started_at, last_at, visitor_name, visitor_email, questions, declined, helpful,
    unhelpful, {WAITING}, answered_at, is_read, is_closed from conversation"""

_FOUND = """(id in (select conversation_id from message
        where id in (select rowid from message_fts where message_fts match :words))
    or id in (select id from conversation where (visitor_name <> '' or visitor_email <> '')
        and (visitor_name like :like escape '\\' or visitor_email like :like escape '\\')))"""


def _filter(
    text: str, since: date | None, until: date | None, states: Collection[State], channel: Channel | None
) -> tuple[str, dict[str, Any]]:
    conditions = ["is_kept = 1", "channel = :channel" if channel else "channel <> 'trial'"]
    conditions += (_CONDITIONS[state] for state in states)
    values: dict[str, Any] = {"channel": channel}
    if since:
        conditions.append("last_at >= :since")
        values["since"] = since.isoformat()
    if until and until < date.max:
        conditions.append("last_at < :until")
        values["until"] = (until + timedelta(days=1)).isoformat()
    if text.strip():
        conditions.append(_FOUND)
        # A phrase of nothing finds nothing, and is no error.
        values["words"] = _as_beginnings(text) or '""'
        values["like"] = "%" + "".join(f"\\{one}" if one in "\\%_" else one for one in text.strip()) + "%"
    return " and ".join(f"({condition})" for condition in conditions), values


def _as_beginnings(text: str) -> str:
    words = dict.fromkeys(text.replace('"', " ").replace("\0", " ").split())
    return " AND ".join(f'"{word}"*' for word in words if any(letter.isalnum() for letter in word))


def _info(row: Sequence[Any]) -> ConversationInfo:
    values: dict[str, Any] = dict(zip((one.name for one in fields(ConversationInfo)), row, strict=True))
    switches = {name: bool(values[name]) for name in ("wants_person", "is_read", "is_closed")}
    return ConversationInfo(**{**values, **switches, "opening": _shorten(values["opening"] or "")})


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    if len(text) <= _OPENING:
        return text
    cut = text[:_OPENING].rpartition(" ")[0] or text[:_OPENING]
    return f"{cut.rstrip(' ,;:.')}…"


def _set(tenant: Tenant, conversation_id: int, change: str, *, action: str = "", **values: Any) -> None:
    with tenant.writing() as db:
        changed = db.execute(
            f"update conversation set {change} where id = :id and is_kept = 1", {"id": conversation_id, **values}
        )
        if not changed.rowcount:
            raise NotFoundError(GONE)
        if action:
            note(db, action, f"conversation {conversation_id}")
