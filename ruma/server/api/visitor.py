"""A visitor's rights over every conversation with their e-mail address, once a one-time link has proven it is theirs.

The link's secret comes in a body, and that of what it opened in a header: neither is ever in an address that a server
sees. Anyone may ask for a link, also when the agent is closed: a right does not end with it.
"""

from functools import partial
from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.background_tasks import BackgroundTask
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, JSONBody

from ruma.business.mail import Outbox
from ruma.business.notices import visitor_link_notice
from ruma.errors import NotReadyError, RumaError
from ruma.privacy.erasing import erase_conversation, erase_visitor
from ruma.privacy.exporting import export_visitor
from ruma.server.access import PUBLIC, Principal
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.api.documents import DOWNLOAD_HEADERS, attachment
from ruma.server.api.own_data import read_own_data
from ruma.server.guarding import require_json
from ruma.server.languages import choose_language
from ruma.server.limits import Limits
from ruma.server.refusing import entering_refusals
from ruma.server.resources import Resources
from ruma.server.rights_shapes import (
    LinkOpened,
    LinkPosted,
    LinkWanted,
    OwnData,
    OwnDetails,
    VisitBegun,
    VisitorData,
    VisitorErasure,
    VisitorRequest,
    visitor_erasure_of,
)
from ruma.server.shapes import ConversationText, Number, conversation_of
from ruma.tenant.conversing.conversations import read_conversation
from ruma.tenant.conversing.corrections import correct_visitor_details
from ruma.tenant.conversing.requests import list_requests
from ruma.tenant.conversing.visitor_links import (
    LINK_SECONDS,
    VISIT_SECONDS,
    Visit,
    check_own,
    conversations_of,
    find_visit,
    make_visitor_link,
    open_visitor_link,
)
from ruma.tenant.conversing.visitors import VisitorRef
from ruma.tenant.people.attempts import count_attempt
from ruma.tenant.people.entry import guarding_link
from ruma.tenant.people.members import simplify_email
from ruma.tenant.profile import read_profile
from ruma.tenant.tenant import Tenant

VisitSecret = Annotated[str, HeaderParameter(name="X-Ruma-Visitor", max_length=100)]


@post(
    "/visitor/link",
    policy=PUBLIC,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(LinkPosted, 400, 404, 409, 429),
    repeats=False,
)
def ask_visitor_link(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    data: JSONBody[LinkWanted],
) -> Response[LinkPosted]:
    """Mail a link that works once to an e-mail address that was left in conversations.

    The answer is the same whether any has it, and comes before that is known. Where no mail is set up it fails with
    `not_ready`: then a request to the business is the way.
    """
    outbox, origin = resources.outbox, request.app.state.public.origin
    if not outbox.is_set_up:
        raise NotReadyError(
            "This server sends no mail, so no address can be proven.", hint="Ask the business about your data."
        )
    count_attempt(tenant, "visitor-link", account=simplify_email(data.email), address=principal.address)
    language = choose_language(data.language)
    task = BackgroundTask(sync_to_thread, _mail_link, tenant, outbox, origin, data.email, language)
    return Response(LinkPosted(LINK_SECONDS // 60), status_code=200, background=task)


@post(
    "/visitor/link/opening",
    policy=PUBLIC,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(VisitBegun, 400, 404, 429),
    repeats=False,
)
def open_link(
    tenant: NamedDependency[Tenant], principal: NamedDependency[Principal], data: JSONBody[LinkOpened]
) -> VisitBegun:
    """Use a link up, and return the secret that reaches everything with its address for half an hour."""
    with guarding_link(tenant, principal.address):
        visit = open_visitor_link(tenant, data.secret)
    return VisitBegun(visit.secret, visit.email, VISIT_SECONDS // 60)


@get("/visitor/data", policy=PUBLIC, sync_to_thread=True, responses=answers_with(VisitorData, 400, 404, 429))
def show_visitor_data(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    limits: NamedDependency[Limits],
    secret: VisitSecret,
) -> VisitorData:
    """Return what is stored with the address that was proven: conversations, and requests about data."""
    visit = _visit(tenant, principal, limits, secret)
    with tenant.one_state():
        asked = [
            VisitorRequest(one.id, one.kind, one.received_on, one.due_on, one.state)
            for one in list_requests(tenant, with_closed=True).requests
            if simplify_email(one.contact) == visit.email
        ]
        return VisitorData(
            visit.email, [read_own_data(tenant, resources, one) for one in conversations_of(tenant, visit)], asked
        )


@get(
    "/visitor/conversations/{conversation_id:int}",
    policy=PUBLIC,
    sync_to_thread=True,
    responses=answers_with(ConversationText, 400, 404, 429),
)
def show_visitor_conversation(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    limits: NamedDependency[Limits],
    conversation_id: Number,
    secret: VisitSecret,
) -> ConversationText:
    """Return what was said in one of these conversations."""
    visit = _visit(tenant, principal, limits, secret)
    return conversation_of(tenant, read_conversation(tenant, check_own(tenant, visit, conversation_id)))


@get("/visitor/export", policy=PUBLIC, sync_to_thread=True, responses=fails_with(400, 404, 429))
def export_visitor_data(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    limits: NamedDependency[Limits],
    secret: VisitSecret,
) -> Response[bytes]:
    """Return these conversations as a zip of JSON and pages that can be read offline."""
    visit = _visit(tenant, principal, limits, secret)
    content = export_visitor(tenant, conversations_of(tenant, visit))
    headers = {**DOWNLOAD_HEADERS, "content-disposition": attachment("my-data.zip")}
    return Response(content, headers=headers, media_type="application/octet-stream")


@patch(
    "/visitor/conversations/{conversation_id:int}/details",
    policy=PUBLIC,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(OwnData, 400, 404, 429),
)
def correct_visitor(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    limits: NamedDependency[Limits],
    conversation_id: Number,
    secret: VisitSecret,
    data: JSONBody[OwnDetails],
) -> OwnData:
    """Correct the name and the address of one of these conversations; with another address it is no longer among them.

    Nothing of that other address is shown: it is not proven.
    """
    visit = _visit(tenant, principal, limits, secret)
    number = check_own(tenant, visit, conversation_id)
    correct_visitor_details(tenant, number, name=data.name, email=data.email)
    return read_own_data(tenant, resources, number)


@delete(
    "/visitor/conversations/{conversation_id:int}",
    policy=PUBLIC,
    status_code=200,
    sync_to_thread=True,
    responses=answers_with(VisitorErasure, 400, 404, 409, 429),
)
def erase_visitor_conversation(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    limits: NamedDependency[Limits],
    conversation_id: Number,
    secret: VisitSecret,
) -> VisitorErasure:
    """Erase one of these conversations, and return the receipt."""
    visit = _visit(tenant, principal, limits, secret)
    number = check_own(tenant, visit, conversation_id)
    with entering_refusals(request, tenant, "deletion", number, contact=visit.email):
        return visitor_erasure_of(erase_conversation(tenant, number, forget=partial(resources.forget, tenant)))


@delete(
    "/visitor/data",
    policy=PUBLIC,
    status_code=200,
    sync_to_thread=True,
    responses=answers_with(VisitorErasure, 400, 404, 409, 429),
)
def erase_visitor_data(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    limits: NamedDependency[Limits],
    secret: VisitSecret,
) -> VisitorErasure:
    """Erase all of these conversations at once, and return the receipt."""
    visit = _visit(tenant, principal, limits, secret)
    first = next(iter(conversations_of(tenant, visit)), 0)
    with entering_refusals(request, tenant, "deletion", first, contact=visit.email):
        erased = erase_visitor(tenant, VisitorRef(email=visit.email), forget=partial(resources.forget, tenant))
    return visitor_erasure_of(erased)


def _visit(tenant: Tenant, principal: Principal, limits: Limits, secret: str) -> Visit:
    limits.take_question(tenant, principal, visitor=secret)
    with guarding_link(tenant, principal.address):
        return find_visit(tenant, secret)


def _mail_link(tenant: Tenant, outbox: Outbox, origin: str, email: str, language: str) -> None:
    try:
        made = make_visitor_link(tenant, email)
    except RumaError:
        return  # it was answered already
    if made:
        notice = visitor_link_notice(
            read_profile(tenant),
            origin=origin,
            tenant=tenant.name,
            conversation_id=made.conversation_id,
            to=made.email,
            secret=made.secret,
            language=language,
        )
        outbox.post(notice, tenant)


ROUTES = (
    ask_visitor_link,
    open_link,
    show_visitor_data,
    show_visitor_conversation,
    export_visitor_data,
    correct_visitor,
    erase_visitor_conversation,
    erase_visitor_data,
)
"""The routes of this module."""
