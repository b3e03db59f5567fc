"""For members and for programs that help them: visitors' consents, the register of requests, and the terms."""

from dataclasses import asdict
from typing import Annotated, Any

from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, QueryParameter

from ruma.privacy.requests import close, extend, receive_request
from ruma.privacy.terms import read_terms
from ruma.server.access import INBOX, INBOX_READ, MANAGE
from ruma.server.api.describing import answers_with
from ruma.server.chores import post_request_notices
from ruma.server.guarding import require_json
from ruma.server.resources import Resources
from ruma.server.rights_shapes import (
    ConsentInfo,
    NewRequest,
    RequestClosing,
    RequestExtension,
    RequestInfo,
    RequestList,
    RequestWhole,
    TermsAccepted,
    TermsInfo,
    consent_of,
    request_of,
    request_whole_of,
)
from ruma.server.shapes import Number
from ruma.tenant.conversing.consents import read_consent, stop_counting
from ruma.tenant.conversing.inbox import read_for_member
from ruma.tenant.conversing.requests import list_requests, read_request
from ruma.tenant.people.terms import list_acceptances
from ruma.tenant.tenant import Tenant

MOST_A_PAGE = 500
"""How many requests one answer lists."""


@get(
    "/conversations/{conversation_id:int}/consent",
    policy=INBOX_READ,
    sync_to_thread=True,
    responses=answers_with(ConsentInfo, 400, 401, 403, 404),
)
def show_consent(tenant: NamedDependency[Tenant], conversation_id: Number) -> ConsentInfo:
    """Return what a conversation's visitor agreed to, when, and in which words."""
    read_for_member(tenant, conversation_id)
    return consent_of(read_consent(tenant, conversation_id))


@post(
    "/conversations/{conversation_id:int}/consent/withdrawal",
    policy=INBOX,
    status_code=200,
    sync_to_thread=True,
    responses=answers_with(ConsentInfo, 400, 401, 403, 404, 409),
)
def withdraw_consent(tenant: NamedDependency[Tenant], conversation_id: Number) -> ConsentInfo:
    """Take the consent to statistics back for a visitor who asked for it another way, such as by mail."""
    return consent_of(stop_counting(tenant, conversation_id))


@get("/requests", policy=MANAGE, sync_to_thread=True, responses=answers_with(RequestList, 400, 401, 403, 404))
def show_requests(
    tenant: NamedDependency[Tenant],
    closed: FromQuery[bool] = False,
    offset: Annotated[int, QueryParameter(ge=0, le=10**9)] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_A_PAGE)] = MOST_A_PAGE,
) -> RequestList:
    """List the requests about data that are open, by their dates; with `closed`, those that are closed as well."""
    found = list_requests(tenant, with_closed=closed, offset=offset, limit=limit)
    return RequestList([request_of(one) for one in found.requests], found.total)


@get(
    "/requests/{request_id:int}",
    policy=MANAGE,
    sync_to_thread=True,
    responses=answers_with(RequestWhole, 400, 401, 403, 404),
)
def show_request(tenant: NamedDependency[Tenant], request_id: Number) -> RequestWhole:
    """Return a request and what was done about it."""
    return request_whole_of(*read_request(tenant, request_id))


@post(
    "/requests",
    policy=MANAGE,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(RequestInfo, 400, 401, 403, 404),
)
def add_request(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    data: JSONBody[NewRequest],
) -> RequestInfo:
    """Enter a request that came by mail, by telephone or by post. It is due a month after it came."""
    taken = receive_request(
        tenant, kind=data.kind, origin="member", contact=data.contact, note=data.note, received_on=data.received_on
    )
    post_request_notices(tenant, resources.outbox, request.app.state.public.origin, [taken])
    return request_of(taken)


@post(
    "/requests/{request_id:int}/extension",
    policy=MANAGE,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(RequestInfo, 400, 401, 403, 404, 409),
)
def extend_one_request(
    tenant: NamedDependency[Tenant], request_id: Number, data: JSONBody[RequestExtension]
) -> RequestInfo:
    """Give a request two further months, once. Who asked must be told why within the first."""
    return request_of(extend(tenant, request_id, reason=data.reason))


@post(
    "/requests/{request_id:int}/closing",
    policy=MANAGE,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(RequestInfo, 400, 401, 403, 404, 409),
)
def close_one_request(
    tenant: NamedDependency[Tenant], request_id: Number, data: JSONBody[RequestClosing]
) -> RequestInfo:
    """Close a request with what was done about it, or with why it was refused."""
    return request_of(close(tenant, request_id, outcome=data.outcome, is_refused=data.is_refused))


@get("/terms", policy=MANAGE, sync_to_thread=True, responses=answers_with(TermsInfo, 400, 401, 403, 404))
def show_terms_accepted(tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]) -> TermsInfo:
    """Return the terms of use in force, and which members accepted which version, when."""
    terms = read_terms(resources.home.settings)
    accepted = [TermsAccepted(**asdict(one)) for one in list_acceptances(tenant)]
    return TermsInfo(terms.version, terms.text, terms.url, accepted) if terms else TermsInfo("", "", "", accepted)


ROUTES = (
    show_consent,
    withdraw_consent,
    show_requests,
    show_request,
    add_request,
    extend_one_request,
    close_one_request,
    show_terms_accepted,
)
"""The routes of this module."""
