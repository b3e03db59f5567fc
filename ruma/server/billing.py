"""What a business pays for: an owner chooses a plan and sees the bills; the plan follows what Stripe says is paid."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from ruma.business.notices import plan_notices
from ruma.config import FREE, KINDS, Plan, Settings, load_plans
from ruma.errors import ConflictError, InputError, NoCustomerError, NotFoundError, NotReadyError
from ruma.privacy.policy import write_policy
from ruma.privacy.retention import give_plan
from ruma.server.chores import owner_addresses
from ruma.server.resources import Resources
from ruma.server.stripe import (
    TOLERANCE,
    Event,
    Paid,
    Signature,
    list_paid,
    make_checkout,
    make_customer,
    make_portal,
)
from ruma.tenant.audit import acting_as, note_now
from ruma.tenant.billing import keep_customer, read_customer
from ruma.tenant.keeping.plans import promised_plan
from ruma.tenant.profile import read_profile
from ruma.tenant.tenant import Tenant

log = logging.getLogger("ruma.billing")

EVENTS = {
    "checkout.session.completed",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
}
"""What Stripe tells that can change what is paid."""


@dataclass(frozen=True)
class Billing:
    """What an owner is shown."""

    plan: Plan
    choices: tuple[Plan, ...]
    """The plans that can be paid for, the one that costs nothing, and the tenant's own."""
    is_customer: bool
    """Whether Stripe knows the business: then there are bills to see."""
    is_set_up: bool
    """Whether anything can be paid."""

    def keeps_less(self, other: Plan) -> bool:
        """Tell whether another plan keeps something for fewer days than the tenant's own."""
        return any(getattr(other, kind) < getattr(self.plan, kind) for kind in KINDS)


def describe_billing(tenant: Tenant, settings: Settings) -> Billing:
    """Return the tenant's plan, and those that it can have.

    Raises:
        InputError: The plans in the settings are not understood.
    """
    plan, plans = promised_plan(tenant, settings), load_plans(settings.home)
    offered = [one for one in plans.values() if one.stripe_price or one.name in (FREE, plan.name)]
    if plan.name not in plans:
        offered.append(plan)
    return Billing(plan, tuple(offered), bool(read_customer(tenant)), settings.takes_payments)


def open_checkout(tenant: Tenant, settings: Settings, name: str, origin: str) -> str:
    """Return the address of Stripe's page on which a plan is paid for, or changed for one that is paid already.

    The plan is given when Stripe says that it is paid.

    Args:
        tenant: Who pays.
        settings: The operator's.
        name: The plan.
        origin: Where this server is reached, to lead back to.

    Raises:
        InputError: It is no plan that can be paid for.
        ConflictError: It is paid for already.
        NotReadyError: Billing is not set up, or Ruma is offline.
        BillingError: Stripe cannot be asked, or did not do it.
    """
    plans = load_plans(settings.home)
    if name not in plans or not plans[name].stripe_price:
        offered = ", ".join(one.name for one in plans.values() if one.stripe_price) or "none"
        raise InputError("This plan cannot be chosen here.", hint=f"Plans that can be paid for: {offered}.")
    customer = read_customer(tenant) or _new_customer(tenant, settings)
    try:
        url = _find_page(tenant, settings, plans[name], customer, origin)
    except NoCustomerError:
        # It was deleted at Stripe, or the operator's key is of another account now.
        customer = _new_customer(tenant, settings, instead_of=customer)
        url = _find_page(tenant, settings, plans[name], customer, origin)
    note_now(tenant, "checkout.opened", plan=name)
    return url


def open_portal(tenant: Tenant, settings: Settings, origin: str) -> str:
    """Return the address of Stripe's page with the business's bills, where it also ends what it pays.

    Raises:
        NotReadyError: No plan was ever chosen; or billing is not set up, or Ruma is offline.
        BillingError: Stripe cannot be asked, or did not do it.
    """
    customer = read_customer(tenant)
    if not customer:
        raise NotReadyError("There are no bills yet.", hint="Choose a plan first.")
    url = make_portal(settings, tenant, customer, back=_back(tenant, origin))
    note_now(tenant, "bills.opened")
    return url


def look_again(tenant: Tenant, settings: Settings) -> Plan | None:
    """Ask Stripe what is paid, and give the tenant that plan; return the plan where it is another one than before.

    Raises:
        NotReadyError: Billing is not set up, or Ruma is offline.
        BillingError: Stripe cannot be asked, or does not know the customer: then the plan stays as it is.
    """
    customer = read_customer(tenant)
    return _follow(tenant, settings, list_paid(settings, tenant, customer)) if customer else None


def find_tenant(resources: Resources, event: Event) -> Tenant | None:
    """Return the tenant that an event is about; None where it is about none here, or about nothing that is paid.

    The name in the event's metadata only says where to look: whoever can make something in the same account at Stripe
    could write any. What decides is the customer number that the tenant itself has kept from its own first checkout.
    """
    if event.kind not in EVENTS or not event.customer:
        return None
    try:
        tenant = resources.tenant(event.tenant)
    except NotFoundError:
        return None
    return tenant if read_customer(tenant) == event.customer else None


def take_event(resources: Resources, tenant: Tenant, origin: str) -> None:
    """Ask what the tenant pays for now that Stripe said it changed, and tell the owners of another plan by mail.

    Raises:
        BillingError: Stripe cannot be asked.
    """
    with acting_as("ruma"):
        plan = look_again(tenant, resources.home.settings)
        if plan and resources.outbox.is_set_up:
            mails = plan_notices(
                read_profile(tenant),
                owner_addresses(tenant),
                origin=origin,
                tenant=tenant.name,
                plan=plan.name,
                days=plan.conversations,
                is_paid=bool(plan.stripe_price),
            )
            for mail in mails:
                resources.outbox.post(mail, tenant)


class SeenEvents:
    """The events that were taken, each for as long as its signature would be accepted again; in memory alone."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def is_new(self, event: Event, signature: Signature, *, now: float | None = None) -> bool:
        """Note an event, and tell whether it is seen for the first time."""
        now = time.time() if now is None else now
        with self._lock:
            self._until = {one: until for one, until in self._until.items() if until >= now}
            if event.id in self._until:
                return False
            self._until[event.id] = signature.at + TOLERANCE
            return True

    def forget(self, event: Event) -> None:
        """Let an event come again: what it asked for could not be done."""
        with self._lock:
            self._until.pop(event.id, None)


def _find_page(tenant: Tenant, settings: Settings, plan: Plan, customer: str, origin: str) -> str:
    paid, back = list_paid(settings, tenant, customer), _back(tenant, origin)
    if any(one.price == plan.stripe_price for one in paid):
        _follow(tenant, settings, paid)  # should Stripe's word of it not have come
        raise ConflictError(f"The plan {plan.name} is paid for already.")
    if paid:  # a second checkout would be paid beside the first
        return make_portal(settings, tenant, customer, back=back, paid=paid[0], price=plan.stripe_price)
    return make_checkout(settings, tenant, customer, plan.stripe_price, back=back)


def _new_customer(tenant: Tenant, settings: Settings, *, instead_of: str = "") -> str:
    made = make_customer(settings, tenant, instead_of=instead_of)
    kept = keep_customer(tenant, made, instead_of=instead_of)
    write_policy(tenant, settings)  # it says whether a number is stored
    return kept


def _follow(tenant: Tenant, settings: Settings, paid: Sequence[Paid]) -> Plan | None:
    """Give the plan that is paid. Who pays nothing any more gets the free one, unless the operator gave another."""
    plans, before = load_plans(settings.home), promised_plan(tenant, settings)
    priced = {plan.stripe_price: plan.name for plan in plans.values() if plan.stripe_price}
    wanted = next((priced[one.price] for one in paid if one.price in priced), "")
    if paid and not wanted:
        log.warning("%s pays a price that no plan has: its plan stays. See: ruma billing", tenant.name)
    if not paid and before.name in plans and before.stripe_price:
        wanted = FREE
    return give_plan(tenant, settings, wanted) if wanted not in ("", before.name) else None


def _back(tenant: Tenant, origin: str) -> str:
    return f"{origin}/t/{quote(tenant.name)}/settings"
