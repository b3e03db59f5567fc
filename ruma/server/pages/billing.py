"""The way to Stripe's pages, and what Stripe tells this server. No card and no address of a bill comes here."""

from typing import Any

from litestar import Request, Response, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.response import Redirect

from ruma.errors import NotFoundError, RumaError
from ruma.server.access import OWNER, PUBLIC
from ruma.server.addresses import PublicAddress
from ruma.server.billing import SeenEvents, find_tenant, open_checkout, open_portal, take_event
from ruma.server.failures import describe_failure
from ruma.server.pages.settings import settings_page
from ruma.server.pages.shell import first, read_form
from ruma.server.resources import NOTHING_HERE, Resources
from ruma.server.seats import Turns
from ruma.server.stripe import read_event, read_signature
from ruma.tenant.profile import read_profile
from ruma.tenant.tenant import Tenant

MOST_EVENT_BYTES = 500_000
"""The largest event that is read; Stripe's have some kilobytes."""


@post("/t/{name:str}/settings/plan", policy=OWNER, include_in_schema=False)
async def choose_plan(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    seats: NamedDependency[Turns],
) -> Response[Any]:
    """Lead to Stripe's page on which the plan is paid for."""
    plan = first(await read_form(request), "plan")
    public: PublicAddress = request.app.state.public
    try:
        async with seats.at_stripe(tenant.id):
            url = await sync_to_thread(open_checkout, tenant, resources.home.settings, plan, public.origin)
    except RumaError as exc:
        return await _say(request, tenant, resources, exc)
    return _lead_out(request, url)


@post("/t/{name:str}/settings/billing", policy=OWNER, include_in_schema=False)
async def show_bills(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    seats: NamedDependency[Turns],
) -> Response[Any]:
    """Lead to Stripe's page with the bills."""
    public: PublicAddress = request.app.state.public
    try:
        async with seats.at_stripe(tenant.id):
            url = await sync_to_thread(open_portal, tenant, resources.home.settings, public.origin)
    except RumaError as exc:
        return await _say(request, tenant, resources, exc)
    return _lead_out(request, url)


@post(
    "/billing/stripe",
    policy=PUBLIC,
    status_code=200,
    include_in_schema=False,
    request_max_body_size=MOST_EVENT_BYTES,
)
async def hear_stripe(
    request: Request[Any, Any, Any],
    resources: NamedDependency[Resources],
    seats: NamedDependency[Turns],
    seen_events: NamedDependency[SeenEvents],
) -> dict[str, bool]:
    """Take an event of Stripe's: what a business pays has changed, and is asked anew.

    What failed is answered as a failure, so that Stripe sends it again, for some days.
    """
    settings = resources.home.settings
    if not settings.takes_payments:
        raise NotFoundError(NOTHING_HERE)
    signature = read_signature(request.headers.get("stripe-signature", ""))
    event = await sync_to_thread(read_event, settings, signature, await request.body())
    tenant = await sync_to_thread(find_tenant, resources, event)
    if tenant is None or not seen_events.is_new(event, signature):
        return {"taken": False}
    public: PublicAddress = request.app.state.public
    try:
        async with seats.asking_stripe.of(tenant.id):
            await sync_to_thread(take_event, resources, tenant, public.origin)
    except BaseException:
        seen_events.forget(event)
        raise
    return {"taken": True}


async def _say(request: Request[Any, Any, Any], tenant: Tenant, resources: Resources, exc: RumaError) -> Response[str]:
    status, problem = describe_failure(exc)
    profile = await sync_to_thread(read_profile, tenant)
    return await sync_to_thread(settings_page, request, tenant, resources, profile, problem=problem, status=status)


def _lead_out(request: Request[Any, Any, Any], url: str) -> Response[Any]:
    if "hx-request" in request.headers:
        # Followed by the script of the open page, a redirect would have it read Stripe's page, which it may not.
        return Response(None, status_code=200, headers={"hx-redirect": url})
    return Redirect(url, status_code=303)


BILLING = (choose_plan, show_bills, hear_stripe)
"""The routes of this module."""
