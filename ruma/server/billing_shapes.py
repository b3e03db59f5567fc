"""What the API takes and gives about the plan and what it costs, with an example of each."""

from dataclasses import dataclass
from typing import Any

from ruma.server.billing import Billing
from ruma.server.retention_shapes import PlanDays, plan_of


@dataclass(frozen=True)
class PlanChoice:
    """A plan that the business can have."""

    days: PlanDays
    price: str
    """What it costs, in the operator's words."""
    can_be_paid: bool
    """False for the plan that costs nothing, and for one that only the operator gives."""


@dataclass(frozen=True)
class BillingState:
    """The plan in force, and the plans that there are."""

    plan: str
    choices: list[PlanChoice]
    is_set_up: bool
    """Whether plans can be paid for on this server."""
    is_customer: bool
    """Whether Stripe knows the business: then it has a page with bills."""


@dataclass(frozen=True)
class PlanWanted:
    """Which plan is to be paid for."""

    plan: str


@dataclass(frozen=True)
class PageLink:
    """A page of Stripe's, for the owner's browser. It opens for a short time only."""

    url: str


def billing_of(billing: Billing) -> BillingState:
    """Return the plan and the choices as the API shows them."""
    choices = [PlanChoice(plan_of(one), one.price, bool(one.stripe_price)) for one in billing.choices]
    return BillingState(billing.plan.name, choices, billing.is_set_up, billing.is_customer)


EXAMPLES: dict[type, Any] = {
    BillingState: BillingState(
        "standard",
        [
            PlanChoice(PlanDays("standard", 180, 30, 365, 7, 1095), "", False),
            PlanChoice(PlanDays("year", 365, 30, 365, 7, 1095), "€29 a month", True),
        ],
        True,
        False,
    ),
    PageLink: PageLink("https://checkout.stripe.com/c/pay/cs_live_a1b2c3"),
}
SENT: dict[str, Any] = {"/t/{name}/api/billing/checkout": {"plan": "year"}}
