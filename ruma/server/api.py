"""The JSON API of a tenant's agent."""

import asyncio
from typing import Any

from litestar import Request, Response, Router, delete, get, post
from litestar.background_tasks import BackgroundTask
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.response import Stream

from ruma import __version__
from ruma.chat.searching import search
from ruma.errors import InputError
from ruma.server.asking import answer_events, begin_answer, say_errors
from ruma.server.describing import answers_with, fails_with
from ruma.server.events import collect, encode_event
from ruma.server.guarding import require_json
from ruma.server.resources import Resources
from ruma.server.shapes import (
    AgentInfo,
    ConversationText,
    DocumentId,
    DocumentList,
    DocumentSummary,
    DocumentText,
    Done,
    Health,
    Passages,
    Question,
    SearchQuestion,
    Section,
    conversation_of,
    passage_of,
)
from ruma.tenant.agents import read_agent
from ruma.tenant.conversations import delete_conversation, read_conversation
from ruma.tenant.documents import list_documents, read_document
from ruma.tenant.index import count_chunks
from ruma.tenant.tenant import Tenant

EVENT_STREAM = "text/event-stream"
MOST_PASSAGES = 50


@get("/health", responses=answers_with(Health))
async def show_health() -> Health:
    """Say that the server runs."""
    return Health(ok=True, version=__version__)


@get("/agent", sync_to_thread=True, responses=answers_with(AgentInfo, 400, 404))
def show_agent(tenant: NamedDependency[Tenant]) -> AgentInfo:
    """Return the agent as visitors meet it."""
    agent = read_agent(tenant)
    return AgentInfo(agent.name, agent.greeting, list(agent.questions), count_chunks(tenant) > 0)


@post("/chat", status_code=200, guards=[require_json], responses=answers_with(Done, 400, 404, 409, 503))
async def chat(
    request: Request[Any, Any, Any],
    data: JSONBody[Question],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    seats: NamedDependency[asyncio.Semaphore],
) -> Response[Any]:
    """Answer a question from the tenant's documents.

    With `Accept: text/event-stream` the answer comes as it is made: one event `evidence` at once, then `token`
    for each piece of text, then `done` with the whole answer, or `error`. Without it, it comes as one JSON object,
    the same as the data of `done`. Closing the connection stops the answer; nothing of it is kept.
    """
    begun = await sync_to_thread(begin_answer, data, tenant, resources)
    events = answer_events(begun, seats)
    if EVENT_STREAM not in request.headers.get("accept", ""):
        collected = await collect(request, events)
        return Response(collected[-1].data if collected else None)
    told = say_errors(events)
    return Stream(
        (encode_event(event) async for event in told),
        media_type=EVENT_STREAM,
        headers={"x-accel-buffering": "no"},
        background=BackgroundTask(told.aclose),
    )


@post(
    "/search",
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(Passages, 400, 404, 409),
)
def search_passages(
    data: JSONBody[SearchQuestion],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
) -> Passages:
    """Return the passages that fit a question best, without an answer."""
    if not 1 <= data.limit <= MOST_PASSAGES:
        raise InputError(f"The limit must be 1 to {MOST_PASSAGES}, not {data.limit}.")
    found = search(data.question, tenant, resources.embedder(), limit=data.limit)
    return Passages([passage_of(tenant.name, one) for one in found])


@get("/documents", sync_to_thread=True, responses=answers_with(DocumentList, 400, 404))
def show_documents(tenant: NamedDependency[Tenant]) -> DocumentList:
    """List the documents that the agent answers from."""
    return DocumentList(
        [
            DocumentSummary(one.id, one.name, one.title, one.media_type, one.size_bytes, one.added_at)
            for one in list_documents(tenant)
        ]
    )


@get("/documents/{document_id:int}", sync_to_thread=True, responses=answers_with(DocumentText, 400, 404))
def show_document(tenant: NamedDependency[Tenant], document_id: DocumentId) -> DocumentText:
    """Return a document's text, as it was read, with its headings and pages."""
    one = read_document(tenant, document_id)
    return DocumentText(
        id=one.id,
        name=one.name,
        title=one.title,
        media_type=one.media_type,
        size_bytes=one.size_bytes,
        added_at=one.added_at,
        text=one.text,
        sections=[Section(*chunk) for chunk in one.chunks],
    )


@get("/conversations/{conversation:str}", sync_to_thread=True, responses=answers_with(ConversationText, 400, 404))
def show_conversation(tenant: NamedDependency[Tenant], conversation: FromPath[str]) -> ConversationText:
    """Return a conversation. Whoever has its id may read it; nobody can guess it."""
    return conversation_of(tenant.name, read_conversation(tenant, conversation))


@delete("/conversations/{conversation:str}", sync_to_thread=True, responses=fails_with(400, 404))
def remove_conversation(tenant: NamedDependency[Tenant], conversation: FromPath[str]) -> None:
    """Delete a conversation with everything that was said in it."""
    delete_conversation(tenant, conversation)


def tenant_api() -> Router:
    """Return the routes under `/t/NAME/api`."""
    return Router(
        "/t/{name:str}/api",
        route_handlers=[
            show_agent,
            chat,
            search_passages,
            show_documents,
            show_document,
            show_conversation,
            remove_conversation,
        ],
    )
