"""The inbox: what visitors asked, how they were answered, and answering them oneself."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.params import QueryParameter
from litestar.response import Redirect

from ruma.business.handover import answer_visitor
from ruma.errors import ConflictError, InputError
from ruma.privacy.erasing import erase_conversation
from ruma.server.access import INBOX, INBOX_READ, MANAGE, WRITE, Principal, principal_of
from ruma.server.failures import Problem, describe_failure
from ruma.server.pages.chat import split_answer
from ruma.server.pages.shell import first, lead_to, read_form, show_member_page
from ruma.server.rendering import render
from ruma.server.resources import Resources
from ruma.server.shapes import Number, Said, said_of
from ruma.tenant.conversing.consents import read_consent, stop_counting
from ruma.tenant.conversing.corrections import correct_visitor_details
from ruma.tenant.conversing.inbox import (
    PAGE,
    ConversationDetails,
    ConversationPage,
    Feedback,
    State,
    close_conversation,
    count_inbox,
    list_conversations,
    mark_read,
    read_for_member,
    reopen_conversation,
)
from ruma.tenant.keeping.holds import holds_on
from ruma.tenant.tenant import Tenant

CHANNELS = {
    "page": "Chat page",
    "widget": "Website",
    "api": "API",
    "terminal": "Terminal",
    "trial": "Trial",
}
TABS: tuple[tuple[State | None, str], ...] = (
    (None, "All"),
    ("waiting", "Waiting for a person"),
    ("unread", "Not read"),
    ("closed", "Closed"),
)
ANSWERS: tuple[tuple[State | None, str], ...] = (
    (None, "Answered or not"),
    ("answered", "Answered"),
    ("unanswered", "Not answered"),
)
OPINIONS: tuple[tuple[State | None, str], ...] = (
    (None, "Any feedback"),
    ("helpful", "Helpful"),
    ("unhelpful", "Not helpful"),
)

Word = Annotated[str, QueryParameter(max_length=20)]


@dataclass(frozen=True)
class Filter:
    """What the list is filtered by, as it stands in the address."""

    text: str = ""
    show: str = ""
    answers: str = ""
    feedback: str = ""
    since: str = ""
    until: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether everything is shown."""
        return not any(self.query().values())

    @property
    def is_narrow(self) -> bool:
        """Whether more than words and a tab is chosen."""
        return any((self.answers, self.feedback, self.since, self.until))

    @property
    def states(self) -> list[State]:
        """The states that a conversation must be in."""
        known = {state: state for choices in (TABS, ANSWERS, OPINIONS) for state, _ in choices if state}
        return [known[state] for state in (self.show, self.answers, self.feedback) if state in known]

    def query(self, **changes: Any) -> dict[str, Any]:
        """Return what stands in an address that shows this, with some of it changed."""
        return {**self.__dict__, **changes}


@get("/t/{name:str}/conversations", policy=INBOX_READ, sync_to_thread=True, include_in_schema=False)
def show_inbox(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    text: Annotated[str, QueryParameter(max_length=500)] = "",
    show: Word = "",
    answers: Word = "",
    feedback: Word = "",
    since: Word = "",
    until: Word = "",
    page: Annotated[int, QueryParameter(ge=1, le=1_000_000)] = 1,
) -> Response[str]:
    """Show the list."""
    wanted = Filter(text.strip(), show, answers, feedback, since, until)
    problem, found = None, ConversationPage((), 0, 1, 1)
    try:
        found = list_conversations(
            tenant,
            text=wanted.text,
            since=_read_date(wanted.since),
            until=_read_date(wanted.until),
            states=wanted.states,
            page=page,
        )
    except InputError as exc:
        _, problem = describe_failure(exc)
    return show_member_page(
        "conversations.html",
        request,
        tenant,
        current="conversations",
        status=400 if problem else 200,
        problem=problem,
        wanted=wanted,
        found=found,
        counts=count_inbox(tenant),
        channels=CHANNELS,
        tabs=[(label, state or "", _address(tenant, wanted.query(show=state or ""))) for state, label in TABS],
        answers=[(state or "", label) for state, label in ANSWERS],
        opinions=[(state or "", label) for state, label in OPINIONS],
        first=(found.page - 1) * PAGE + 1,
        previous=_address(tenant, wanted.query(page=found.page - 1)) if found.page > 1 else "",
        next=_address(tenant, wanted.query(page=found.page + 1)) if found.page < found.pages else "",
    )


@get(
    "/t/{name:str}/conversations/{conversation_id:int}", policy=INBOX_READ, sync_to_thread=True, include_in_schema=False
)
def show_conversation(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    conversation_id: Number,
) -> Response[str]:
    """Show one conversation. Whoever may answer has read it by that."""
    details = read_for_member(tenant, conversation_id)
    if not details.info.is_read and principal.may(INBOX):
        mark_read(tenant, conversation_id)
    return _page(request, tenant, resources, details)


@get(
    "/t/{name:str}/conversations/{conversation_id:int}/newer",
    policy=INBOX_READ,
    sync_to_thread=True,
    include_in_schema=False,
)
def show_newer(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    conversation_id: Number,
    after: Annotated[int, QueryParameter(ge=0, le=2**63 - 1)] = 0,
) -> Response[str]:
    """Show the messages after one, for a page that is open; nothing (204) where there are none."""
    details = read_for_member(tenant, conversation_id)
    said = [said_of(tenant, one) for one in details.conversation.messages if one.id > after]
    if not said:
        return Response("", status_code=204, media_type=MediaType.HTML)
    if not details.info.is_read and principal.may(INBOX):
        mark_read(tenant, conversation_id)
    page = render(
        "conversation_messages.html",
        tenant=tenant.name,
        said=said,
        may_improve=principal.may(WRITE),
        **_message_values(details, conversation_id, said),
    )
    return Response(page, media_type=MediaType.HTML)


@post("/t/{name:str}/conversations/{conversation_id:int}/reply", policy=INBOX, include_in_schema=False)
async def reply(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    conversation_id: Number,
) -> Response[Any]:
    """Answer the visitor as a person."""
    text = (await read_form(request)).get("text", [""])[0]
    try:
        sent = await sync_to_thread(_send, tenant, conversation_id, resources, principal.name, text)
    except InputError as exc:
        _, problem = describe_failure(exc)
        details = await sync_to_thread(read_for_member, tenant, conversation_id)
        return await sync_to_thread(_page, request, tenant, resources, details, problem, text)
    return lead_to(tenant, f"conversations/{conversation_id}", done="mailed" if sent else "sent")


@post("/t/{name:str}/conversations/{conversation_id:int}/details", policy=INBOX, include_in_schema=False)
async def correct_details(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    conversation_id: Number,
) -> Response[Any]:
    """Correct the visitor's name and address."""
    sent = await read_form(request)
    name, email = first(sent, "visitor_name"), first(sent, "visitor_email")
    try:
        await sync_to_thread(correct_visitor_details, tenant, conversation_id, name=name, email=email)
    except InputError as exc:
        _, problem = describe_failure(exc)
        details = await sync_to_thread(read_for_member, tenant, conversation_id)
        return await sync_to_thread(_page, request, tenant, resources, details, problem)
    return lead_to(tenant, f"conversations/{conversation_id}", done="saved")


@post("/t/{name:str}/conversations/{conversation_id:int}/uncount", policy=INBOX, include_in_schema=False)
async def leave_statistics(tenant: NamedDependency[Tenant], conversation_id: Number) -> Redirect:
    """Take the consent to statistics back, for a visitor who asked for it."""
    with suppress(ConflictError):  # the visitor did it meanwhile
        await sync_to_thread(stop_counting, tenant, conversation_id)
    return lead_to(tenant, f"conversations/{conversation_id}", done="saved")


@post("/t/{name:str}/conversations/{conversation_id:int}/close", policy=INBOX, include_in_schema=False)
async def close(tenant: NamedDependency[Tenant], conversation_id: Number) -> Redirect:
    """Mark a conversation as done."""
    await sync_to_thread(close_conversation, tenant, conversation_id)
    return lead_to(tenant, "conversations", done="closed")


@post("/t/{name:str}/conversations/{conversation_id:int}/open", policy=INBOX, include_in_schema=False)
async def reopen(tenant: NamedDependency[Tenant], conversation_id: Number) -> Redirect:
    """Take back that it is done."""
    await sync_to_thread(reopen_conversation, tenant, conversation_id)
    return lead_to(tenant, f"conversations/{conversation_id}", done="opened")


@post("/t/{name:str}/conversations/{conversation_id:int}/unread", policy=INBOX, include_in_schema=False)
async def leave_unread(tenant: NamedDependency[Tenant], conversation_id: Number) -> Redirect:
    """Leave a conversation for somebody else to read."""
    await sync_to_thread(_leave_unread, tenant, conversation_id)
    return lead_to(tenant, "conversations", done="unread")


@post("/t/{name:str}/conversations/{conversation_id:int}/delete", policy=INBOX, include_in_schema=False)
async def delete(
    tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], conversation_id: Number
) -> Redirect:
    """Erase a conversation."""
    await sync_to_thread(_erase, tenant, conversation_id, resources)
    return lead_to(tenant, "conversations", done="deleted")


def _send(tenant: Tenant, conversation_id: int, resources: Resources, author: str, text: str) -> bool:
    return answer_visitor(tenant, conversation_id, resources.outbox, author=author, text=text).is_mailed


def _erase(tenant: Tenant, conversation_id: int, resources: Resources) -> None:
    erase_conversation(tenant, conversation_id, forget=partial(resources.forget, tenant))


def _leave_unread(tenant: Tenant, conversation_id: int) -> None:
    mark_read(tenant, conversation_id, is_read=False)


def _page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    resources: Resources,
    details: ConversationDetails,
    problem: Problem | None = None,
    text: str = "",
) -> Response[str]:
    said = [said_of(tenant, message) for message in details.conversation.messages]
    principal = principal_of(request)
    return show_member_page(
        "conversation.html",
        request,
        tenant,
        current="conversations",
        status=400 if problem else 200,
        problem=problem,
        info=details.info,
        said=said,
        channels=CHANNELS,
        may_write=principal.may(INBOX),
        may_hold=principal.may(MANAGE),
        holds=holds_on(tenant, details.info.id),
        may_improve=principal.may(WRITE),
        sends_mail=resources.outbox.is_set_up,
        text=text,
        consent=read_consent(tenant, details.info.id),
        **_message_values(details, details.info.id, said),
    )


def _message_values(details: ConversationDetails, conversation_id: int, said: list[Said]) -> dict[str, Any]:
    feedback: dict[int, Feedback] = dict(details.feedback)
    question, asked = "", dict[int, str]()
    for message in details.conversation.messages:
        question = message.text if message.role == "visitor" else question
        asked[message.id] = question
    return {
        "asked": asked,
        "conversation_id": conversation_id,
        "feedback": feedback,
        "last_id": said[-1].id if said else 0,
        "split_answer": split_answer,
        "visitor": details.info.visitor_name or "Visitor",
    }


def _read_date(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise InputError("This is no date.", hint="A date looks like 2026-03-02.") from exc


def _address(tenant: Tenant, query: dict[str, Any]) -> str:
    left = {name: value for name, value in query.items() if value and (name, value) != ("page", 1)}
    return f"/t/{quote(tenant.name)}/conversations{'?' + urlencode(left) if left else ''}"


INBOX_PAGES = (
    show_inbox,
    show_conversation,
    show_newer,
    reply,
    correct_details,
    leave_statistics,
    close,
    reopen,
    leave_unread,
    delete,
)
"""The routes of this module."""
