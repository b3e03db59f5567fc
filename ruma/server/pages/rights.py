"""The register of requests about data, and the terms of use that members accept."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from ruma.errors import ConflictError, InputError
from ruma.privacy.requests import close, extend, receive_request, today
from ruma.privacy.terms import read_terms
from ruma.server.access import MANAGE, OWN, Principal
from ruma.server.api.retention import actor_name, actor_names
from ruma.server.chores import post_request_notices
from ruma.server.failures import Problem, describe_failure
from ruma.server.pages.shell import first, lead_to, load_anew, read_form, show_member_page
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.conversing.consents import change_keeping
from ruma.tenant.conversing.requests import RightsRequest, list_requests, read_request
from ruma.tenant.people.terms import accept_terms
from ruma.tenant.tenant import Tenant

PAGE = 50
KINDS = {
    "access": "See what is stored",
    "correction": "Correct something",
    "deletion": "Delete something",
    "export": "Take a copy along",
    "withdrawal": "Take a consent back",
    "objection": "Object to a use",
}
STEPS = {"received": "Received", "extended": "Extended", "done": "Done", "refused": "Refused"}
ORIGINS = {"visitor": "the chat", "member": "a member", "operator": "the operator"}


@dataclass(frozen=True)
class Listed:
    """A request as the page lists it."""

    request: RightsRequest
    days_left: int
    """Until its date; below 0 once it is overdue."""

    @property
    def is_soon(self) -> bool:
        """Whether it is due within a week."""
        return self.request.state == "open" and 0 <= self.days_left <= 7

    @property
    def is_overdue(self) -> bool:
        """Whether its date is over."""
        return self.request.state == "open" and self.days_left < 0


@get("/t/{name:str}/data/requests", policy=MANAGE, sync_to_thread=True, include_in_schema=False)
def show_requests(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    show: Annotated[str, QueryParameter(max_length=10)] = "",
    page: Annotated[int, QueryParameter(ge=1, le=10**6)] = 1,
) -> Response[str]:
    """Show the requests by their dates."""
    return _list_page(request, tenant, show == "all", page=page)


@post("/t/{name:str}/data/requests", policy=MANAGE, include_in_schema=False)
async def enter_request(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[Any]:
    """Enter a request that came by mail, by telephone or by post."""
    sent = await read_form(request)
    try:
        taken = await sync_to_thread(_enter, tenant, sent)
    except InputError as exc:
        _, problem = describe_failure(exc)
        return await sync_to_thread(_list_page, request, tenant, False, problem, sent)
    await sync_to_thread(post_request_notices, tenant, resources.outbox, request.app.state.public.origin, [taken])
    return lead_to(tenant, f"data/requests/{taken.id}", done="added")


@get("/t/{name:str}/data/requests/{request_id:int}", policy=MANAGE, sync_to_thread=True, include_in_schema=False)
def show_request(request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], request_id: Number) -> Response[str]:
    """Show a request and what was done about it."""
    return _request_page(request, tenant, request_id)


@post("/t/{name:str}/data/requests/{request_id:int}/extend", policy=MANAGE, include_in_schema=False)
async def extend_request(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], request_id: Number
) -> Response[Any]:
    """Give it two further months."""
    reason = first(await read_form(request), "reason")
    try:
        await sync_to_thread(_extend, tenant, request_id, reason)
    except (InputError, ConflictError) as exc:
        return await sync_to_thread(_request_page, request, tenant, request_id, exc)
    return lead_to(tenant, f"data/requests/{request_id}", done="saved")


@post("/t/{name:str}/data/requests/{request_id:int}/close", policy=MANAGE, include_in_schema=False)
async def close_request(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], request_id: Number
) -> Response[Any]:
    """Close it, with what was done or why it was refused."""
    sent = await read_form(request)
    try:
        await sync_to_thread(_close, tenant, request_id, first(sent, "outcome"), first(sent, "do") == "refuse")
    except (InputError, ConflictError) as exc:
        return await sync_to_thread(_request_page, request, tenant, request_id, exc)
    return lead_to(tenant, "data/requests", done="closed")


@post("/t/{name:str}/settings/consent", policy=MANAGE, include_in_schema=False)
async def save_keeping(request: Request[Any, Any, Any], tenant: NamedDependency[Tenant]) -> Response[Any]:
    """Set when visitors' conversations are kept."""
    keeping = first(await read_form(request), "keeping")
    await sync_to_thread(change_keeping, tenant, keeping)
    return lead_to(tenant, "settings", done="saved")


@get("/t/{name:str}/terms", policy=OWN, sync_to_thread=True, include_in_schema=False, without_terms=True)
def show_terms(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[Any]:
    """Ask a member to accept the terms in force."""
    terms = read_terms(resources.home.settings)
    if terms is None:
        return lead_to(tenant, "overview")
    return show_member_page("terms.html", request, tenant, current="terms", terms=terms)


@post("/t/{name:str}/terms", policy=OWN, include_in_schema=False, without_terms=True)
async def accept(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
) -> Response[Any]:
    """Note that the member accepts them, and lead on."""
    version = first(await read_form(request), "version")
    await sync_to_thread(_accept, tenant, principal, resources, version)
    return load_anew(request, lead_to(tenant, "overview"))


def _enter(tenant: Tenant, sent: dict[str, list[str]]) -> RightsRequest:
    day = first(sent, "received_on")
    try:
        received = date.fromisoformat(day) if day else None
    except ValueError as exc:
        raise InputError("This is no date.", hint="A date looks like 2026-03-02.") from exc
    return receive_request(
        tenant,
        kind=first(sent, "kind"),
        origin="member",
        contact=first(sent, "contact"),
        note=first(sent, "note"),
        received_on=received,
    )


def _extend(tenant: Tenant, request_id: int, reason: str) -> None:
    extend(tenant, request_id, reason=reason)


def _close(tenant: Tenant, request_id: int, outcome: str, is_refused: bool) -> None:
    close(tenant, request_id, outcome=outcome, is_refused=is_refused)


def _accept(tenant: Tenant, principal: Principal, resources: Resources, version: str) -> None:
    terms = read_terms(resources.home.settings)
    # What is in force now may be newer than what was read: then it is asked for once more.
    if terms and principal.member and terms.version == version:
        accept_terms(tenant, principal.member.id, terms)


def _listed(found: RightsRequest) -> Listed:
    return Listed(found, (date.fromisoformat(found.due_on) - today()).days)


def _list_page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    with_closed: bool,
    problem: Problem | None = None,
    sent: dict[str, list[str]] | None = None,
    page: int = 1,
) -> Response[str]:
    begin, address = (page - 1) * PAGE, f"?show={'all' if with_closed else ''}&page="
    found = list_requests(tenant, with_closed=with_closed, offset=begin, limit=PAGE)
    return show_member_page(
        "data_requests.html",
        request,
        tenant,
        current="data",
        tab="requests",
        status=400 if problem else 200,
        problem=problem,
        requests=[_listed(one) for one in found.requests],
        first=begin + 1,
        last=begin + len(found.requests),
        total=found.total,
        previous=f"{address}{page - 1}" if page > 1 else "",
        next=f"{address}{page + 1}" if begin + PAGE < found.total else "",
        with_closed=with_closed,
        kinds=KINDS,
        sent={name: values[0] for name, values in (sent or {}).items()},
        today=today().isoformat(),
    )


def _request_page(
    request: Request[Any, Any, Any], tenant: Tenant, request_id: int, exc: InputError | ConflictError | None = None
) -> Response[str]:
    status, problem = describe_failure(exc) if exc else (200, None)
    found, steps = read_request(tenant, request_id)
    names = actor_names(tenant)
    return show_member_page(
        "data_request.html",
        request,
        tenant,
        current="data",
        tab="requests",
        status=status,
        problem=problem,
        listed=_listed(found),
        found=found,
        steps=[(step, _by(names, step.by)) for step in steps],
        kinds=KINDS,
        step_names=STEPS,
        origins=ORIGINS,
    )


def _by(names: dict[tuple[str, int], str], by: str) -> str:
    kind, _, number = by.partition(" ")
    return actor_name(names, kind, int(number or 0))


RIGHTS = (
    show_requests,
    enter_request,
    show_request,
    extend_request,
    close_request,
    save_keeping,
    show_terms,
    accept,
)
"""The routes of this module."""
