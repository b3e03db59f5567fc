"""What visitors asked and what the agent answered.

Members find a conversation by its number, its visitor by a secret.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ruma.errors import NotFoundError
from ruma.tenant.audit import current_actor
from ruma.tenant.clock import now
from ruma.tenant.conversing.consents import Choice, is_left_for_good, note_choices
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

Channel = Literal["page", "widget", "api", "terminal", "trial"]
GONE = "This conversation is not there any more."


@dataclass(frozen=True)
class StoredCitation:
    """A place in a document that supports an answer; `document_id` and `quote` are None once it is gone."""

    number: int
    document_id: int | None
    title: str
    heading: str
    page: int | None
    start: int
    end: int
    quote: str | None


@dataclass(frozen=True)
class Message:
    """One message; the text of an agent's message is empty once a document that it was written from is gone."""

    id: int
    role: str
    """`visitor`, `agent`, or `person`: a member who answered by hand."""
    text: str
    created_at: str
    mode: str
    is_declined: bool
    author: str
    """The name of the person; empty for the others."""
    citations: tuple[StoredCitation, ...]


@dataclass(frozen=True)
class Conversation:
    """A conversation, its messages oldest first."""

    id: int
    messages: tuple[Message, ...]


@dataclass
class OpenConversation:
    """A conversation that goes on. A new one is stored with its first exchange, so that none is stored empty."""

    secret: str
    """256 random bits: the right to read it. Only its hash is stored."""
    channel: Channel = "page"
    website: str = ""
    """The origin of the page that holds the widget."""
    language: str = ""
    id: int | None = None
    """None until it is stored."""
    is_kept: bool = True
    """Whether it stays when the chat is over."""
    is_counted: bool = True
    """Whether it is in the statistics; what is not kept never is."""
    choices: tuple[Choice, ...] = ()
    """What the visitor agreed to before it began."""


def begin_conversation(
    channel: Channel = "page",
    *,
    website: str = "",
    language: str = "",
    is_kept: bool = True,
    is_counted: bool = True,
    choices: tuple[Choice, ...] = (),
) -> OpenConversation:
    """Return a new conversation, with a secret of its own."""
    secret = secrets.token_urlsafe(32)
    return OpenConversation(secret, channel, website, language, None, is_kept, is_counted and is_kept, choices)


def resume_conversation(tenant: Tenant, secret: str) -> OpenConversation:
    """Return the conversation that a secret opens.

    Raises:
        NotFoundError: There is none, or it is not kept and its visitor left it too long ago.
    """
    with tenant.reading() as db:
        row = db.execute(
            """select channel, website, language, id, is_kept, is_counted, left_at from conversation
               where secret_hash = ?""",
            [_hash(secret)],
        ).fetchone()
    if row is None:
        raise NotFoundError(GONE)
    channel, website, language, number, is_kept, is_counted, left_at = row
    if not is_kept and is_left_for_good(left_at):
        raise NotFoundError(GONE)
    return OpenConversation(secret, channel, website, language, number, bool(is_kept), bool(is_counted))


def add_exchange(
    tenant: Tenant,
    conversation: OpenConversation,
    question: str,
    answer_text: str,
    *,
    mode: str,
    is_declined: bool,
    citations: Sequence[tuple[int, int, int, int]],
) -> int:
    """Add a question and its whole answer, and return the answer's number.

    Citations are (number, document id, start, end).

    A quoted answer's text is not stored: it is the documents' own words, found by its citations.

    Raises:
        NotFoundError: The conversation was deleted meanwhile.
    """
    time = now()
    with tenant.writing() as db:
        conversation_id = conversation.id or store_conversation(db, conversation, time)
        changed = db.execute(
            """update conversation set last_at = ?, questions = questions + 1, declined = declined + ?,
               is_read = 0, is_closed = 0, left_at = null where id = ?""",
            [time, int(is_declined), conversation_id],
        )
        if not changed.rowcount:
            raise NotFoundError(GONE)
        add_message(db, conversation_id, "visitor", question, time)
        kept = "" if mode == "quote" and not is_declined else answer_text
        message_id = add_message(db, conversation_id, "agent", kept, time, mode=mode, is_declined=is_declined)
        for number, document_id, start, end in citations:
            # A document that went while the answer was written leaves a citation of nothing.
            db.execute(
                "insert into citation values (?, ?, (select id from document where id = ?), ?, ?)",
                [message_id, number, document_id, start, end],
            )
        if mode in ("write", "pair") and any(
            not db.execute("select 1 from document where id = ?", [citation[1]]).fetchone() for citation in citations
        ):
            db.execute("update message set text = '' where id = ?", [message_id])
    conversation.id = conversation_id
    return message_id


def read_conversation(tenant: Tenant, conversation_id: int) -> Conversation:
    """Return a conversation with its citations as the documents are now.

    Raises:
        NotFoundError: There is no such conversation.
    """
    with tenant.reading() as db:
        if not db.execute("select 1 from conversation where id = ?", [conversation_id]).fetchone():
            raise NotFoundError(GONE)
        messages = db.execute(
            """select id, role, text, created_at, mode, is_declined, author from message
               where conversation_id = ? order by id""",
            [conversation_id],
        ).fetchall()
        cited: dict[int, list[StoredCitation]] = {}
        for message_id, *row in db.execute(_CITATIONS, [conversation_id]).fetchall():
            number, document_id, title, heading, page, start, end, text, chunk_start = row
            quote = text and text[start - chunk_start : end - chunk_start]
            cited.setdefault(message_id, []).append(
                StoredCitation(number, document_id, title or "", heading or "", page, start, end, quote)
            )
    return Conversation(
        conversation_id,
        tuple(
            Message(row[0], row[1], _text(row[2], found), row[3], row[4], bool(row[5]), row[6], found)
            for row in messages
            for found in [tuple(cited.get(row[0], ()))]
        ),
    )


_CITATIONS = """select message.id, number, document.id, document.title, chunk.heading, chunk.page,
    citation.start, citation."end", chunk.text, chunk.start
    from message join citation on citation.message_id = message.id
    left join document on document.id = citation.document_id
    left join chunk on chunk.document_id = document.id
        and chunk.start <= citation.start and citation.start < chunk."end"
    where message.conversation_id = ? order by message.id, number"""


def _text(text: str, citations: Sequence[StoredCitation]) -> str:
    if text:
        return text
    quoted = ((citation.number, " ".join(citation.quote.split())) for citation in citations if citation.quote)
    return "\n\n".join(f"{quote} [{number}]" for number, quote in quoted)


def store_conversation(db: "Database", conversation: OpenConversation, time: str) -> int:
    """Store a new conversation and return its number."""
    row = [_hash(conversation.secret), conversation.channel, conversation.website, conversation.language, time, time]
    stored = db.execute(
        """insert into conversation
               (secret_hash, channel, website, language, started_at, last_at, is_kept, is_counted)
           values (?, ?, ?, ?, ?, ?, ?, ?)""",
        [*row, int(conversation.is_kept), int(conversation.is_counted)],
    )
    number = stored.lastrowid or 0
    note_choices(db, number, conversation.choices, time)
    if conversation.channel == "widget":
        db.execute("update consent_setting set is_widget_used = 1 where not is_widget_used")
    return number


def add_message(
    db: "Database",
    conversation_id: int,
    role: str,
    text: str,
    time: str,
    *,
    mode: str = "",
    is_declined: bool = False,
    author: str = "",
) -> int:
    """Store one message and return its number; of a person's, also which member it is."""
    author_id = current_actor().member_id if role == "person" else 0
    stored = db.execute(
        """insert into message (conversation_id, role, text, mode, is_declined, author, author_id, created_at)
           values (?, ?, ?, ?, ?, ?, ?, ?)""",
        [conversation_id, role, text, mode, int(is_declined), author, author_id, time],
    )
    return stored.lastrowid or 0


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
