"""What the server does by itself about conversations that are over, erasures that wait and requests that are due."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from litestar.concurrency import sync_to_thread

from ruma.business.mail import Outbox
from ruma.business.notices import due_notices, request_notices
from ruma.errors import RumaError
from ruma.privacy.requests import take_due_soon, today
from ruma.server.resources import Resources
from ruma.tenant.conversing.consents import LOOK_SECONDS, end_passing
from ruma.tenant.conversing.requests import RightsRequest, count_requests
from ruma.tenant.erasing.erasures import finish_erasures
from ruma.tenant.people.members import list_members
from ruma.tenant.profile import read_profile
from ruma.tenant.tenant import Tenant

log = logging.getLogger("ruma.chores")

MOST_OPEN = 25
"""Beyond so many open requests, no mail tells of a further one: it would be somebody's flood."""


ERASING_SECONDS = 30
"""After how long an erasure that has no receipt is one that a reader of the old state was in the way of."""


async def do_chores(resources: Resources, origin: str) -> None:
    """Do them for every tenant, at once and then every minute, until this is cancelled."""
    while True:
        await sync_to_thread(do_once, resources, origin)
        await asyncio.sleep(LOOK_SECONDS)


def do_once(resources: Resources, origin: str) -> None:
    """End what is over, finish what waits, remind of what is due. A tenant that cannot be opened hinders no other."""
    for name in resources.home.names():
        try:
            tenant = resources.tenant(name)
            end_passing(tenant)
            finish_erasures(tenant, forget=partial(resources.forget, tenant), after_seconds=ERASING_SECONDS)
            if resources.outbox.is_set_up:
                _remind(tenant, resources.outbox, origin)
        except RumaError as exc:
            log.warning("A tenant's conversations and requests could not be looked through: %s.", type(exc).__name__)


def post_request_notices(tenant: Tenant, outbox: Outbox, origin: str, requests: Sequence[RightsRequest]) -> None:
    """Tell the owners by mail of requests that came, where mail is set up."""
    if not outbox.is_set_up or count_requests(tenant, today().isoformat()).open > MOST_OPEN:
        return
    for mail in request_notices(
        read_profile(tenant), owner_addresses(tenant), origin=origin, tenant=tenant.name, requests=requests
    ):
        outbox.post(mail, tenant)


def _remind(tenant: Tenant, outbox: Outbox, origin: str) -> None:
    due = take_due_soon(tenant)
    if not due:
        return
    for mail in due_notices(
        read_profile(tenant), owner_addresses(tenant), origin=origin, tenant=tenant.name, requests=due
    ):
        outbox.post(mail, tenant)


def owner_addresses(tenant: Tenant) -> list[str]:
    """Return where the owners get mail."""
    return [member.email for member in list_members(tenant) if member.role == "owner" and not member.is_disabled]
