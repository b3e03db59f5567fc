"""The plan and what it costs. Stripe's pages are for an owner in person."""

from typing import Any

from litestar import Request, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import JSONBody

from ruma.server.access import MANAGE, OWNER
from ruma.server.addresses import PublicAddress
from ruma.server.api.describing import answers_with
from ruma.server.billing import describe_billing, open_checkout, open_portal
from ruma.server.billing_shapes import BillingState, PageLink, PlanWanted, billing_of
from ruma.server.guarding import require_json
from ruma.server.resources import Resources
from ruma.server.seats import Turns
from ruma.tenant.tenant import Tenant


@get("/billing", policy=MANAGE, sync_to_thread=True, responses=answers_with(BillingState, 400, 401, 403, 404))
def show_billing(tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]) -> BillingState:
    """Return the plan in force, and the plans that there are."""
    return billing_of(describe_billing(tenant, resources.home.settings))


@post(
    "/billing/checkout",
    policy=OWNER,
    status_code=200,
    guards=[require_json],
    responses=answers_with(PageLink, 400, 401, 403, 404, 409, 429, 503),
)
async def pay_for_plan(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    seats: NamedDependency[Turns],
    data: JSONBody[PlanWanted],
) -> PageLink:
    """Return the page of Stripe's on which a plan is paid for; it is in force when Stripe says that it is paid."""
    public: PublicAddress = request.app.state.public
    async with seats.at_stripe(tenant.id):
        settings = resources.home.settings
        return PageLink(await sync_to_thread(open_checkout, tenant, settings, data.plan, public.origin))


@post(
    "/billing/portal",
    policy=OWNER,
    status_code=200,
    responses=answers_with(PageLink, 400, 401, 403, 404, 409, 429, 503),
)
async def manage_billing(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    seats: NamedDependency[Turns],
) -> PageLink:
    """Return the page of Stripe's with the bills, on which a plan is also ended."""
    public: PublicAddress = request.app.state.public
    async with seats.at_stripe(tenant.id):
        return PageLink(await sync_to_thread(open_portal, tenant, resources.home.settings, public.origin))


ROUTES = (show_billing, pay_for_plan, manage_billing)
"""The routes of this module."""
