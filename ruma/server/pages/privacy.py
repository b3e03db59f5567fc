"""The privacy policy for everyone, and for members how true it is and where connections went."""

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.params import QueryParameter
from litestar.response import Redirect

from ruma.privacy.policy import gather_facts, write_policy
from ruma.privacy.policy_check import check_policy
from ruma.privacy.policy_parts import Policy
from ruma.server.access import MANAGE, PUBLIC, READ, Principal
from ruma.server.api.retention import actor_name, actor_names
from ruma.server.pages.shell import lead_to, show_member_page
from ruma.server.pages.sources import file_size
from ruma.server.policy_system import look_at_system
from ruma.server.rendering import render
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.agents import read_agent
from ruma.tenant.connections import list_connections, list_recipients
from ruma.tenant.policy_versions import LastCheck, keep_check, list_versions, read_check, read_version
from ruma.tenant.tenant import Tenant

PAGE = 50


@get("/t/{name:str}/privacy", policy=PUBLIC, sync_to_thread=True, include_in_schema=False)
def show_policy(tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]) -> Response[str]:
    """Show the policy in force, and the dates of those before it."""
    # Whoever reads it changes nothing, not even the list of versions.
    policy = write_policy(tenant, resources.home.settings, keeps=False)
    page = render(
        "privacy.html",
        tenant=tenant.name,
        agent=read_agent(tenant),
        policy=policy,
        old=None,
        versions=[one for one in list_versions(tenant) if one.id != policy.version.id],
    )
    return Response(page, media_type=MediaType.HTML)


@get("/t/{name:str}/privacy/{number:int}", policy=PUBLIC, sync_to_thread=True, include_in_schema=False)
def show_old_policy(tenant: NamedDependency[Tenant], number: Number) -> Response[str]:
    """Show a policy that was in force before.

    Raises:
        NotFoundError: There is none of that number.
    """
    page = render(
        "privacy.html",
        tenant=tenant.name,
        agent=read_agent(tenant),
        policy=None,
        old=read_version(tenant, number),
        versions=list_versions(tenant),
    )
    return Response(page, media_type=MediaType.HTML)


@get("/t/{name:str}/data/connections", policy=READ, sync_to_thread=True, include_in_schema=False)
def show_connections(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    principal: NamedDependency[Principal],
    before: Annotated[int | None, QueryParameter(ge=1)] = None,
) -> Response[str]:
    """Show where connections went, what the policy says of it, and whether it was true when last checked."""
    policy = write_policy(tenant, resources.home.settings)
    found, names = list_connections(tenant, before=before, limit=PAGE + 1), actor_names(tenant)
    return show_member_page(
        "data_connections.html",
        request,
        tenant,
        current="data",
        tab="connections",
        recipients=list_recipients(tenant),
        connections=found[:PAGE],
        older=found[PAGE - 1].id if len(found) > PAGE else None,
        who=lambda kind, number: actor_name(names, kind, number),
        file_size=file_size,
        is_offline=resources.home.settings.offline,
        policy=policy,
        versions=list_versions(tenant),
        last=read_check(tenant),
        may_manage=principal.may(MANAGE),
    )


@post("/t/{name:str}/data/policy/check", policy=MANAGE, include_in_schema=False)
async def check_now(tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]) -> Redirect:
    """Test each statement of the policy, and lead to what was found."""
    await sync_to_thread(run_check, tenant, resources)
    return lead_to(tenant, "data/connections")


def run_check(tenant: Tenant, resources: Resources) -> LastCheck:
    """Test each statement of the policy against this server, and keep what was found."""
    settings = resources.home.settings
    policy: Policy = write_policy(tenant, settings)
    system = look_at_system(resources.home, tenant, gather_facts(tenant, settings))
    return keep_check(tenant, [vars(finding) for finding in check_policy(policy, system)])


PRIVACY = (show_policy, show_old_policy, show_connections, check_now)
"""The routes of this module."""
