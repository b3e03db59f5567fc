"""What the API takes and gives, as `/openapi.json` describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import quote

from litestar.params import PathParameter

from ruma.chat.answering import Citation
from ruma.chat.searching import FoundPassage
from ruma.tenant.conversing.conversations import Conversation, Message, StoredCitation
from ruma.tenant.knowledge.sources import Source
from ruma.tenant.knowledge.uploads import Upload
from ruma.tenant.tenant import Tenant

Mode = Literal["quote", "write", "pair"]
"""How an answer was made; `pair` is the whole answer to a question that the business has answered itself."""
Role = Literal["visitor", "agent", "person"]
Number = Annotated[int, PathParameter(ge=1, le=2**63 - 1)]
DocumentId = Number
"""What can be a document's number; a larger one would be no number to the database."""


@dataclass(frozen=True)
class Question:
    """A visitor's question."""

    question: str
    conversation: str | None = None
    """The secret that an earlier answer gave: the question may then refer to what was said before."""
    mode: Literal["auto", "quote", "write"] | None = None
    """How to answer; without it, as the agent is set up."""
    channel: Literal["page", "widget", "api", "trial"] = "api"
    """Where it was asked. What members try (`trial`) is not counted as a visitor's conversation."""
    website: str = ""
    """The origin of the page that holds the widget."""
    language: str = ""
    """The language of that page."""
    keep: bool | None = None
    """Whether a new conversation stays when the chat is over. Null: on the chat page and in the widget as the business
    has set it, else yes."""
    analytics: bool | None = None
    """Whether a new conversation that is kept is in the statistics. Null: not on the chat page and in the widget, else
    yes."""


@dataclass(frozen=True)
class Place:
    """A place in a document that supports an answer. What is gone with its document is null."""

    number: int
    document_id: int | None
    title: str
    heading: str
    page: int | None
    start: int
    end: int
    quote: str | None
    url: str | None
    """The page that shows the document with these words marked."""
    score: float | None = None
    """How well it fits the question, comparable within one answer: for members and programs that may read."""


@dataclass(frozen=True)
class Evidence:
    """What was found for a question, before anything is written."""

    citations: list[Place]
    is_declined: bool
    mode: Mode
    question: str
    """The question as it was understood, with what it took from the conversation."""
    seconds: Mapping[str, float]
    support: float | None = None
    """How well the evidence fits; of a pair, how near its question is. For members and programs that may read."""
    needed: float | None = None
    """The support below which the answer is declined; for them, too."""


@dataclass(frozen=True)
class Waiting:
    """That others are served first."""

    position: int
    """How many answers are written before this one begins, at most."""


@dataclass(frozen=True)
class Token:
    """The next piece of an answer's text."""

    text: str


@dataclass(frozen=True)
class Done:
    """The whole answer, checked: its text, and the places that it cites."""

    text: str
    citations: list[Place]
    is_declined: bool
    mode: Mode
    seconds: Mapping[str, float]
    conversation: str
    """The conversation's secret: to ask on in it, to read it and to delete it. It is stored nowhere but here.

    Empty where the exchange could not be kept, on a full disk."""
    message_id: int
    """The answer's number in the conversation, for feedback; 0 where it was not kept."""
    is_kept: bool = True
    """Whether the conversation stays when the chat is over."""
    support: float | None = None
    """As in `evidence`."""
    needed: float | None = None


@dataclass(frozen=True)
class AgentInfo:
    """The agent as visitors meet it."""

    name: str
    greeting: str
    questions: list[str]
    has_documents: bool


@dataclass(frozen=True)
class SearchQuestion:
    """A question to search with."""

    question: str
    limit: int = 5
    """How many passages at most: 1 to 50."""


@dataclass(frozen=True)
class PassageFound:
    """A passage and how well it fits the question."""

    document_id: int
    document: str
    title: str
    heading: str
    page: int | None
    start: int
    text: str
    score: float
    url: str


@dataclass(frozen=True)
class Passages:
    """The passages found, best first."""

    passages: list[PassageFound]


@dataclass(frozen=True)
class DocumentSummary:
    """A document as it is listed."""

    id: int
    name: str
    title: str
    media_type: str
    size_bytes: int
    added_at: str
    chunks: int = 0
    """In how many pieces it is indexed."""
    source_id: int = 0
    source_kind: str = ""
    """`upload`, `text`, `file`, `folder`, `page` or `site`."""
    added_by: str = ""
    """Who handed it over, where that is known."""


@dataclass(frozen=True)
class DocumentList:
    """A part of the documents that the agent answers from, the newest first."""

    documents: list[DocumentSummary]
    total: int
    """How many were found in all."""


@dataclass(frozen=True)
class SourceSummary:
    """What the tenant gave to learn from: an upload, a text, a web page or site, a file or folder of the server."""

    id: int
    kind: str
    location: str
    added_at: str
    documents: int
    size_bytes: int


@dataclass(frozen=True)
class SourceList:
    """The sources, the oldest first."""

    sources: list[SourceSummary]


@dataclass(frozen=True)
class NewText:
    """A text to learn from."""

    title: str
    """What the document is called; a text of the same title replaces it."""
    text: str
    """The text, as Markdown or as it is."""


@dataclass(frozen=True)
class NewAddress:
    """A web page to learn from, or a whole website."""

    address: str
    """Such as `https://www.example.com/prices`."""
    whole_site: bool = False
    """Whether the pages of its host are read that its sitemap names and that they link to."""


@dataclass(frozen=True)
class UploadState:
    """What became of a file, a text or an address that was handed over."""

    id: int
    kind: Literal["upload", "text", "page", "site"]
    name: str
    size_bytes: int
    state: Literal["waiting", "reading", "done", "failed"]
    reason: str
    """Why it failed, continuing the sentence that begins with the name; of a website, what of it was not read."""
    document_id: int | None
    """The document that it became; a website becomes many."""
    added_by: str
    added_at: str
    ended_at: str | None


@dataclass(frozen=True)
class UploadList:
    """Uploads: those that were just handed over, or those that are no documents yet."""

    uploads: list[UploadState]


@dataclass(frozen=True)
class Section:
    """A stretch of a document's text under one heading and on one page."""

    start: int
    end: int
    heading: str
    page: int | None


@dataclass(frozen=True)
class DocumentText:
    """A document's whole text, and which heading and page each stretch of it has."""

    id: int
    name: str
    title: str
    media_type: str
    size_bytes: int
    added_at: str
    text: str
    sections: list[Section]


@dataclass(frozen=True)
class Said:
    """A message of a conversation."""

    role: Role
    text: str
    created_at: str
    mode: str
    is_declined: bool
    citations: list[Place]
    id: int = 0
    author: str = ""
    """Who answered by hand; empty for the agent and the visitor."""
    is_helpful: bool | None = None
    """What the visitor thought of the answer; null where nothing was said."""


@dataclass(frozen=True)
class ConversationText:
    """A conversation, its messages oldest first."""

    id: int
    messages: list[Said] = field(default_factory=list)
    is_kept: bool = True
    """Whether it stays when the chat is over."""


@dataclass(frozen=True)
class Health:
    """That the server runs, and which version it is."""

    ok: bool
    version: str


@dataclass(frozen=True)
class KeyPlace:
    """Where the key of the tenant's data is kept."""

    kept_in: str
    """The kind of keyring, or of the secret that opens its sealed file."""

    kept_since: str
    made_at: str
    """When the key was made: with the tenant, or by the last rotation."""

    is_rotated: bool


def seal_document(tenant: Tenant, document_id: int) -> str:
    """Return what makes the address of a document's page open that one document to a visitor who was shown it."""
    return tenant.page_key.derive(b"ruma cited", str(document_id).encode()).hex()[:32]


def passage_url(tenant: Tenant, document_id: int, start: int, end: int) -> str:
    """Return the address of a document's page with a passage marked and scrolled to."""
    seal = seal_document(tenant, document_id)
    return f"/t/{quote(tenant.name)}/documents/{document_id}?start={start}&end={end}&seal={seal}#cited"


def place_of(tenant: Tenant, citation: Citation | StoredCitation, *, has_score: bool = False) -> Place:
    """Return a citation as the API gives it; with its score, where whoever asked may see it and it is known."""
    document_id, start, end = citation.document_id, citation.start, citation.end
    return Place(
        number=citation.number,
        document_id=document_id,
        title=citation.title,
        heading=citation.heading,
        page=citation.page,
        start=start,
        end=end,
        quote=citation.quote,
        url=None if document_id is None else passage_url(tenant, document_id, start, end),
        score=citation.score if has_score and isinstance(citation, Citation) else None,
    )


def passage_of(tenant: Tenant, found: FoundPassage) -> PassageFound:
    """Return a found passage as the API gives it."""
    chunk = found.chunk
    return PassageFound(
        document_id=chunk.document_id,
        document=chunk.document_name,
        title=chunk.title,
        heading=chunk.heading,
        page=chunk.page,
        start=chunk.start,
        text=chunk.text,
        score=round(found.score, 4),
        url=passage_url(tenant, chunk.document_id, chunk.start, chunk.start + len(chunk.text)),
    )


def conversation_of(
    tenant: Tenant, conversation: Conversation, thumbs: Mapping[int, bool] | None = None, *, is_kept: bool = True
) -> ConversationText:
    """Return a stored conversation as the API gives it, with what the visitor thought of its answers."""
    thumbs = thumbs or {}
    said = [said_of(tenant, message, thumbs.get(message.id)) for message in conversation.messages]
    return ConversationText(conversation.id, said, is_kept)


def said_of(tenant: Tenant, message: Message, is_helpful: bool | None = None) -> Said:
    """Return a stored message as the API gives it."""
    roles: dict[str, Role] = {"visitor": "visitor", "agent": "agent", "person": "person"}
    return Said(
        role=roles[message.role],
        text=message.text,
        created_at=message.created_at,
        mode=message.mode,
        is_declined=message.is_declined,
        citations=[place_of(tenant, citation) for citation in message.citations],
        id=message.id,
        author=message.author,
        is_helpful=is_helpful,
    )


def source_of(source: Source) -> SourceSummary:
    """Return a source as the API gives it."""
    return SourceSummary(source.id, source.kind, source.location, source.added_at, source.documents, source.size_bytes)


def upload_of(upload: Upload) -> UploadState:
    """Return an upload as the API gives it."""
    return UploadState(
        id=upload.id,
        kind=upload.kind,
        name=upload.name,
        size_bytes=upload.size_bytes,
        state=upload.state,
        reason=upload.reason,
        document_id=upload.document_id,
        added_by=upload.added_by,
        added_at=upload.added_at,
        ended_at=upload.ended_at,
    )
