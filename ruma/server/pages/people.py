"""Members, invitations and API keys: who gets in, for owners."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from ruma.business.notices import invitation_notice
from ruma.errors import RumaError
from ruma.privacy.erasing import erase_member
from ruma.server.access import MANAGE, OWNER, Principal
from ruma.server.addresses import PublicAddress
from ruma.server.failures import Problem, describe_failure
from ruma.server.hashing import in_password_thread
from ruma.server.member_changes import change_account, invite_person, make_reset_of, remove_factor_of
from ruma.server.pages.shell import first, lead_to, read_form, show_member_page
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.people.api_keys import SCOPES, list_api_keys, make_api_key, revoke_api_key
from ruma.tenant.people.links import list_invitations, withdraw_invitation
from ruma.tenant.people.members import ROLES, list_members
from ruma.tenant.people.terms import list_acceptances
from ruma.tenant.profile import read_profile
from ruma.tenant.tenant import Tenant

SCOPE_WORDS = {
    "chat": "Ask questions",
    "read": "Read sources, the agent and usage",
    "write": "Change sources, the agent and answers",
    "conversations": "Read and answer conversations",
    "manage": "Manage members, keys and settings",
}


@dataclass(frozen=True)
class Made:
    """A secret that is shown this once."""

    title: str
    text: str
    secret: str


@get("/t/{name:str}/people", policy=MANAGE, sync_to_thread=True, include_in_schema=False)
def show_people(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[str]:
    """Show who gets in."""
    return _people_page(request, tenant, principal)


@post("/t/{name:str}/people/invitations", policy=MANAGE, status_code=200, include_in_schema=False)
async def send_invitation(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
) -> Response[Any]:
    """Make an invitation, show its link, and mail it where mail is set up."""
    sent = await read_form(request)
    email, role = first(sent, "email"), first(sent, "role")
    public: PublicAddress = request.app.state.public

    def make() -> Made:
        secret = invite_person(tenant, principal, _password(sent), email=email, role=role)
        notice = invitation_notice(
            read_profile(tenant),
            origin=public.origin,
            tenant=tenant.name,
            to=email,
            inviter=principal.name,
            secret=secret,
        )
        said = "It is on its way by mail." if resources.outbox.post(notice, tenant) else "Hand it over yourself."
        return Made(
            f"Invitation for {email}",
            f"{said} It works for 24 hours, once.",
            public.link(tenant.name, "invitation", secret),
        )

    return await in_password_thread(_show_made, request, tenant, principal, make, sent)


@post("/t/{name:str}/people/invitations/withdraw", policy=MANAGE, status_code=200, include_in_schema=False)
async def drop_invitation(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
) -> Response[Any]:
    """Void an open invitation; its mail is not sent any more."""
    email = first(await read_form(request), "email")

    def withdraw() -> None:
        withdraw_invitation(tenant, email)
        resources.outbox.forget(tenant)

    return await sync_to_thread(_do, request, tenant, principal, withdraw)


@post("/t/{name:str}/people/{member_id:int}/role", policy=MANAGE, status_code=200, include_in_schema=False)
async def set_role(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    member_id: Number,
) -> Response[Any]:
    """Give a member another role."""
    sent = await read_form(request)
    change = partial(change_account, tenant, principal, member_id, _password(sent), role=first(sent, "role"))
    return await in_password_thread(_do, request, tenant, principal, change)


@post("/t/{name:str}/people/{member_id:int}/access", policy=MANAGE, status_code=200, include_in_schema=False)
async def set_access(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    member_id: Number,
) -> Response[Any]:
    """Disable a member, or let the member in again."""
    sent = await read_form(request)
    is_disabled = first(sent, "disabled") == "yes"
    change = partial(change_account, tenant, principal, member_id, _password(sent), is_disabled=is_disabled)
    return await in_password_thread(_do, request, tenant, principal, change)


@post("/t/{name:str}/people/{member_id:int}/remove", policy=MANAGE, sync_to_thread=True, include_in_schema=False)
def drop_member(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    member_id: Number,
) -> Response[Any]:
    """Erase a member, with the API keys that the member made."""
    forget = partial(resources.forget, tenant)
    return _do(request, tenant, principal, lambda: erase_member(tenant, member_id, forget=forget), done="removed")


@post("/t/{name:str}/people/{member_id:int}/reset", policy=OWNER, status_code=200, include_in_schema=False)
async def make_reset(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    member_id: Number,
) -> Response[Any]:
    """Show a link with which a member sets a new password, after the owner's own was asked for."""
    password = _password(await read_form(request))
    public: PublicAddress = request.app.state.public

    def make() -> Made:
        member, secret = make_reset_of(tenant, principal, member_id, password)
        address = public.link(tenant.name, "reset", secret)
        return Made(f"New password for {member.name}", "It works for 30 minutes, once. Hand it over yourself.", address)

    return await in_password_thread(_show_made, request, tenant, principal, make)


@post("/t/{name:str}/people/{member_id:int}/second-factor", policy=OWNER, status_code=200, include_in_schema=False)
async def drop_second_factor(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    member_id: Number,
) -> Response[Any]:
    """Switch a member's second factor off, after the owner's password was asked for."""
    password = _password(await read_form(request))
    change = partial(remove_factor_of, tenant, principal, resources.outbox, member_id, password)
    return await in_password_thread(_do, request, tenant, principal, change)


@post("/t/{name:str}/people/keys", policy=MANAGE, status_code=200, include_in_schema=False)
async def make_key(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[Any]:
    """Make an API key and show it, this once."""
    sent = await read_form(request)

    def make() -> Made:
        name, scopes = first(sent, "key_name"), sent.get("scope", [])
        key, secret = make_api_key(tenant, name, scopes, created_by=principal.name)
        return Made(f"API key {key.name}", "It is shown this once: copy it to where it is needed.", secret)

    return await sync_to_thread(_show_made, request, tenant, principal, make, sent)


@post("/t/{name:str}/people/keys/{key_id:int}/revoke", policy=MANAGE, sync_to_thread=True, include_in_schema=False)
def drop_key(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    key_id: Number,
) -> Response[Any]:
    """Let an API key in no more."""
    return _do(request, tenant, principal, lambda: revoke_api_key(tenant, key_id), done="removed")


PEOPLE = (
    show_people,
    send_invitation,
    drop_invitation,
    set_role,
    set_access,
    drop_member,
    make_reset,
    drop_second_factor,
    make_key,
    drop_key,
)


def _password(sent: dict[str, list[str]]) -> str:
    return sent.get("password", [""])[0]  # blanks around it count


def _do(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    principal: Principal,
    change: Callable[[], object],
    *,
    done: str = "saved",
) -> Response[Any]:
    try:
        change()
    except RumaError as exc:
        status, problem = describe_failure(exc)
        return _people_page(request, tenant, principal, problem=problem, status=status)
    return lead_to(tenant, "people", done=done)


def _show_made(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    principal: Principal,
    make: Callable[[], Made],
    sent: dict[str, list[str]] | None = None,
) -> Response[Any]:
    try:
        made = make()
    except RumaError as exc:
        status, problem = describe_failure(exc)
        return _people_page(request, tenant, principal, problem=problem, status=status, sent=sent)
    return _people_page(request, tenant, principal, made=made)


def _people_page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    principal: Principal,
    *,
    made: Made | None = None,
    problem: Problem | None = None,
    status: int = 200,
    sent: dict[str, list[str]] | None = None,
) -> Response[Any]:
    page = show_member_page(
        "people.html",
        request,
        tenant,
        current="people",
        status=status,
        problem=problem,
        members=list_members(tenant),
        invitations=list_invitations(tenant),
        keys=list_api_keys(tenant),
        own_id=principal.member.id if principal.member else 0,
        roles=[(role, role.capitalize()) for role in ROLES],
        scopes=[(scope, SCOPE_WORDS[scope]) for scope in SCOPES],
        made=made,
        sent=sent or {},
        accepted={one.member_id: one for one in reversed(list_acceptances(tenant))},
    )
    page.headers["hx-push-url"] = "false"
    return page
