"""The pages for people: the chat, which also works without scripts, and the documents it cites."""

import hmac
import re
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect

from ruma.errors import NotFoundError, RumaError, SignInError
from ruma.server.access import PUBLIC, READ, VISITOR, Principal
from ruma.server.asking import begin_in_turn, finish
from ruma.server.failures import Problem, describe_failure
from ruma.server.limits import Limits
from ruma.server.pages.shell import first, read_form
from ruma.server.pages.widget import initial_of, look_address, page_language, words_in
from ruma.server.rendering import render, static_files
from ruma.server.resources import NOTHING_HERE, Resources
from ruma.server.seats import Turns
from ruma.server.shapes import DocumentId, Done, Place, Question, Said, conversation_of, seal_document
from ruma.server.viewing import view_document
from ruma.tenant.agents import read_agent
from ruma.tenant.conversing.conversations import read_conversation, resume_conversation
from ruma.tenant.knowledge.documents import read_document
from ruma.tenant.knowledge.index import count_chunks
from ruma.tenant.tenant import Tenant

DOCUMENT_GONE = "This document is not there any more."
_MARK = re.compile(r"\[([0-9]{1,3})\]")


@dataclass(frozen=True)
class Part:
    """A stretch of an answer's text, or the mark of a citation in it."""

    text: str
    url: str | None = None


def split_answer(text: str, places: list[Place]) -> list[list[Part]]:
    """Return an answer's paragraphs with the marks of its citations found, as answers.js finds them."""
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


@get("/", policy=PUBLIC, sync_to_thread=True, include_in_schema=False)
def show_home(resources: NamedDependency[Resources]) -> Response[Any]:
    """Lead to the one tenant's page; where there are several, name none of them."""
    names = resources.home.names()
    if len(names) == 1:
        return Redirect(f"/t/{quote(names[0])}/", status_code=307)
    page = render("home.html", is_empty=not names)
    return Response(page, status_code=404 if names else 200, media_type=MediaType.HTML)


@get("/t/{name:str}", policy=VISITOR, sync_to_thread=True, include_in_schema=False, media_type=MediaType.HTML)
def show_chat(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> str:
    """Show the chat page: to everyone where it is published, else to members.

    Raises:
        SignInError: It is not published, and nobody is signed in.
    """
    _check_published(tenant, principal)
    return _chat_page(request, tenant, principal)


@post("/t/{name:str}/ask", policy=VISITOR, status_code=200, include_in_schema=False)
async def ask(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    seats: NamedDependency[Turns],
    limits: NamedDependency[Limits],
) -> Response[str]:
    """Answer a question that was sent as a plain form, on a page of its own."""
    sent = await read_form(request)
    is_asked = "is_asked" in sent  # beside the suggestions nothing can be chosen
    asked = Question(
        first(sent, "question"),
        first(sent, "conversation") or None,
        channel="page",
        language=await sync_to_thread(_language, request, tenant),
        keep="keep" in sent if is_asked else None,
        analytics="analytics" in sent if is_asked else None,
    )
    limits.take_question(tenant, principal, visitor=asked.conversation or "")
    done: Done | None = None
    status, problem = 200, None
    try:
        await sync_to_thread(_check_published, tenant, principal)
        begun = await begin_in_turn(request, asked, tenant, principal, resources, seats)
        done = await finish(request, begun, seats)
    except (NotFoundError, SignInError):
        raise
    except RumaError as exc:
        status, problem = describe_failure(exc)
    page = await sync_to_thread(_chat_page, request, tenant, principal, asked, done, problem)
    return Response(page, status_code=status, media_type=MediaType.HTML)


@get("/t/{name:str}/documents/{document_id:int}", policy=VISITOR, sync_to_thread=True, include_in_schema=False)
def show_document_page(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    document_id: DocumentId,
    start: Annotated[int | None, QueryParameter(ge=0)] = None,
    end: Annotated[int | None, QueryParameter(ge=0)] = None,
    part: Annotated[int | None, QueryParameter(ge=1)] = None,
    seal: Annotated[str, QueryParameter(max_length=64)] = "",
) -> Response[str]:
    """Show a document's text, the cited words marked: to members any, to visitors one that was cited to them.

    Raises:
        NotFoundError: There is no such document, or it was not cited.
    """
    may_read = principal.may(READ) or hmac.compare_digest(seal.encode(), seal_document(tenant, document_id).encode())
    if not may_read:
        raise NotFoundError(DOCUMENT_GONE)
    document = read_document(tenant, document_id)
    page = render(
        "document.html",
        tenant=tenant.name,
        agent=read_agent(tenant),
        document=document,
        view=view_document(document, start, end, part),
    )
    return Response(page, media_type=MediaType.HTML)


@get("/static/{name:str}", policy=PUBLIC, include_in_schema=False)
async def show_static(name: FromPath[str]) -> Response[bytes]:
    """Give one of the files that pages load."""
    if name not in static_files():
        raise NotFoundError(NOTHING_HERE)
    content, media_type = static_files()[name]
    # The address changes with the content.
    return Response(content, media_type=media_type, headers={"cache-control": "public, max-age=31536000, immutable"})


def _language(request: Request[Any, Any, Any], tenant: Tenant) -> str:
    return page_language(request, read_agent(tenant))


def _check_published(tenant: Tenant, principal: Principal) -> None:
    if principal.kind == "visitor" and not read_agent(tenant).is_published:
        raise SignInError("Please sign in.")


def _chat_page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    principal: Principal,
    asked: Question | None = None,
    done: Done | None = None,
    problem: Problem | None = None,
) -> str:
    agent = read_agent(tenant)
    conversation = done.conversation if done else (asked.conversation if asked else None)
    return render(
        "chat.html",
        tenant=tenant.name,
        csrf=principal.csrf,
        agent=agent,
        initial=initial_of(agent),
        look=look_address(tenant, agent),
        has_mail=request.app.state.resources.outbox.is_set_up,
        has_documents=count_chunks(tenant) > 0,
        messages=_messages(tenant, conversation),
        conversation=conversation or "",
        question=asked.question if asked and problem else "",
        problem=problem,
        split_answer=split_answer,
        **words_in(tenant, page_language(request, agent)),
    )


def _messages(tenant: Tenant, conversation: str | None) -> list[Said]:
    if not conversation:
        return []
    number = resume_conversation(tenant, conversation).id
    return conversation_of(tenant, read_conversation(tenant, number)).messages if number else []
