"""The privacy policy, its check, and the ledger of connections."""

from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from ruma.privacy.policy import write_policy
from ruma.privacy.policy_formats import write_out
from ruma.server.access import MANAGE, READ
from ruma.server.api.describing import answers_with
from ruma.server.pages.privacy import run_check
from ruma.server.policy_shapes import ConnectionInfo, ConnectionList, PolicyCheck, PolicyText, StatementFinding
from ruma.server.resources import Resources
from ruma.tenant.connections import list_connections
from ruma.tenant.tenant import Tenant


@get("/privacy", policy=READ, sync_to_thread=True, responses=answers_with(PolicyText, 400, 401, 403, 404))
def show_policy_text(tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]) -> PolicyText:
    """Return the privacy policy in force, as Markdown."""
    policy = write_policy(tenant, resources.home.settings)
    return PolicyText(policy.version.id, policy.version.since, write_out(policy, "markdown"))


@post(
    "/privacy/check",
    policy=MANAGE,
    status_code=200,
    sync_to_thread=True,
    responses=answers_with(PolicyCheck, 400, 401, 403, 404),
)
def check_policy_now(tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]) -> PolicyCheck:
    """Test each statement of the policy against this server, and return what was found."""
    found = run_check(tenant, resources)
    return PolicyCheck(found.checked_at, found.is_true, [StatementFinding(**one) for one in found.findings])


@get("/connections", policy=READ, sync_to_thread=True, responses=answers_with(ConnectionList, 400, 401, 403, 404))
def show_ledger(
    tenant: NamedDependency[Tenant],
    before: Annotated[int | None, QueryParameter(ge=1)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=500)] = 100,
) -> ConnectionList:
    """Return the connections that were opened for the tenant, the newest first; `before` goes on after a list."""
    return ConnectionList(
        [
            ConnectionInfo(one.id, **vars(one.attempt), **vars(one.ending), actor=one.actor.kind, actor_id=one.actor.id)
            for one in list_connections(tenant, before=before, limit=limit)
        ]
    )


ROUTES = (show_policy_text, check_policy_now, show_ledger)
"""The routes of this module."""
