"""The pages for people: the chat, which also works without scripts, and the documents it cites."""

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.exceptions import HTTPException
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect

from ruma.errors import InputError, NotFoundError, RumaError
from ruma.server.asking import answer_events, begin_answer
from ruma.server.events import collect
from ruma.server.failures import Problem, describe_failure
from ruma.server.rendering import render, static_files
from ruma.server.resources import NOTHING_HERE, Resources
from ruma.server.shapes import DocumentId, Done, Place, Question, Said, conversation_of
from ruma.server.viewing import view_document
from ruma.tenant.agents import Agent, read_agent
from ruma.tenant.conversations import read_conversation
from ruma.tenant.documents import read_document
from ruma.tenant.index import count_chunks
from ruma.tenant.tenant import Tenant

FORM = "application/x-www-form-urlencoded"
_MARK = re.compile(r"\[([0-9]{1,3})\]")


class NotAFormException(HTTPException):
    """The body of the request is not said to be a form."""

    status_code = 415


@dataclass(frozen=True)
class Part:
    """A stretch of an answer's text, or the mark of a citation in it."""

    text: str
    url: str | None = None


def split_answer(text: str, places: list[Place]) -> list[list[Part]]:
    """Return an answer's paragraphs with the marks of its citations found, as chat.js finds them."""
    known = {place.number: place for place in places}
    paragraphs = []
    for paragraph in re.split(r"\n{2,}", text.strip()):
        parts = []
        for index, piece in enumerate(_MARK.split(paragraph)):
            place = known.get(int(piece)) if index % 2 else None
            if place and place.url:
                parts.append(Part(piece, place.url))
            elif piece:
                parts.append(Part(f"[{piece}]" if index % 2 else piece))
        paragraphs.append(parts)
    return paragraphs


@get("/", sync_to_thread=True, include_in_schema=False)
def show_home(resources: NamedDependency[Resources]) -> Response[Any]:
    """Lead to the one tenant's page; where there are several, name none of them."""
    names = resources.home.names()
    if len(names) == 1:
        return Redirect(f"/t/{quote(names[0])}/", status_code=307)
    page = render("home.html", is_empty=not names)
    return Response(page, status_code=404 if names else 200, media_type=MediaType.HTML)


@get("/t/{name:str}", sync_to_thread=True, include_in_schema=False, media_type=MediaType.HTML)
def show_chat(tenant: NamedDependency[Tenant]) -> str:
    """Show the chat page."""
    return _chat_page(tenant)


@post("/t/{name:str}/ask", status_code=200, include_in_schema=False)
async def ask(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    seats: NamedDependency[asyncio.Semaphore],
) -> Response[str]:
    """Answer a question that was sent as a plain form, on a page of its own."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise NotAFormException("The body must be a form.")
    asked = _read_form(await request.body())
    done: Done | None = None
    status, problem = 200, None
    try:
        begun = await sync_to_thread(begin_answer, asked, tenant, resources)
        events = await collect(request, answer_events(begun, seats))
        done = events[-1].data if events else None
    except NotFoundError:
        raise
    except RumaError as exc:
        status, problem = describe_failure(exc)
    page = await sync_to_thread(_chat_page, tenant, asked, done, problem)
    return Response(page, status_code=status, media_type=MediaType.HTML)


@get("/t/{name:str}/documents/{document_id:int}", sync_to_thread=True, include_in_schema=False)
def show_document_page(
    tenant: NamedDependency[Tenant],
    document_id: DocumentId,
    start: Annotated[int | None, QueryParameter(ge=0)] = None,
    end: Annotated[int | None, QueryParameter(ge=0)] = None,
    part: Annotated[int | None, QueryParameter(ge=1)] = None,
) -> Response[str]:
    """Show a document's text, the cited words marked."""
    document = read_document(tenant, document_id)
    page = render(
        "document.html",
        tenant=tenant.name,
        agent=read_agent(tenant),
        document=document,
        view=view_document(document, start, end, part),
    )
    return Response(page, media_type=MediaType.HTML)


@get("/static/{name:str}", include_in_schema=False)
async def show_static(name: FromPath[str]) -> Response[bytes]:
    """Give one of the files that pages load."""
    if name not in static_files():
        raise NotFoundError(NOTHING_HERE)
    content, media_type = static_files()[name]
    # The address changes with the content.
    return Response(content, media_type=media_type, headers={"cache-control": "public, max-age=31536000, immutable"})


def _read_form(body: bytes) -> Question:
    try:
        sent = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=10))
    except ValueError as exc:
        raise InputError("The form has too many fields.") from exc
    return Question(sent.get("question", ""), sent.get("conversation"))


def _chat_page(
    tenant: Tenant, asked: Question | None = None, done: Done | None = None, problem: Problem | None = None
) -> str:
    agent = read_agent(tenant)
    conversation = done.conversation if done else (asked.conversation if asked else None)
    return render(
        "chat.html",
        tenant=tenant.name,
        agent=agent,
        initial=_initial(agent),
        has_documents=count_chunks(tenant) > 0,
        messages=_messages(tenant, conversation),
        conversation=conversation or "",
        question=asked.question if asked and problem else "",
        problem=problem,
        split_answer=split_answer,
    )


def _messages(tenant: Tenant, conversation: str | None) -> list[Said]:
    if not conversation:
        return []
    return conversation_of(tenant.name, read_conversation(tenant, conversation)).messages


def _initial(agent: Agent) -> str:
    return next((letter for letter in agent.name if letter.isalnum()), "·").upper()
