"""Asks Stripe, and reads what Stripe sends: the only module that knows its API.

Four requests, as forms over HTTPS through the one door. The package `stripe` would bring a client of its own, which
opens its connections around the door and reports to Stripe about this machine and how long its last request took.
https://docs.stripe.com/api
"""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from ruma.config import Settings
from ruma.errors import BillingError, InputError, NoCustomerError, NotReadyError
from ruma.ingest.addresses import read_address
from ruma.ingest.fetching import Answer, CertificateError, Door, Limits, open_client
from ruma.tenant.connections import TenantLedger
from ruma.tenant.tenant import Tenant

API_VERSION = "2024-06-20"
"""The version of Stripe's API that this was written for: Stripe keeps answering by it."""

TOLERANCE = 300
"""How many seconds an event's signature may be old, or ahead: as long as Stripe's own libraries take."""

LIMITS = Limits(most_bytes=1_000_000, seconds=15.0, wait_seconds=10.0)
_PAID = ("active", "trialing", "past_due")
"""States in which a plan is given; while a payment is late, Stripe tries it again and says when it has given up."""
_MOST_SIGNATURES = 10
_CUSTOMER = re.compile(r"cus_[A-Za-z0-9]{1,100}")


@dataclass(frozen=True)
class Paid:
    """A price that a business pays regularly."""

    id: str
    """Stripe's number of the agreement (its "subscription")."""
    item: str
    """Its number of the one thing that is paid for in it."""
    price: str


@dataclass(frozen=True)
class Signature:
    """What the head of an event says, before its body is read."""

    at: int
    """Seconds since 1970."""
    values: tuple[bytes, ...]
    """One for each secret that is in use at Stripe: two, while it is changed there."""


@dataclass(frozen=True)
class Event:
    """What Stripe tells: that something about a customer changed. What is paid now is asked, and not believed."""

    id: str
    kind: str
    customer: str
    """The customer's number; empty where it is about none."""
    tenant: str
    """The name that was given along to Stripe: it says where to look, and proves nothing."""


def make_customer(settings: Settings, tenant: Tenant, *, instead_of: str = "") -> str:
    """Return the number of a new customer of whom Stripe is told the tenant's name.

    Raises:
        NotReadyError: Billing is not set up, or Ruma is offline.
        BillingError: Stripe cannot be asked, or did not do it.
    """
    # Two that ask at once get the same one.
    once = hashlib.sha256(f"{tenant.id} {instead_of}".encode()).hexdigest()
    made = _ask(settings, tenant, "a customer number", "/v1/customers", {"metadata[tenant]": tenant.name}, once=once)
    if not _CUSTOMER.fullmatch(str(made.get("id"))):
        raise BillingError("Stripe gave an answer that is not understood.")
    return str(made["id"])


def make_checkout(settings: Settings, tenant: Tenant, customer: str, price: str, *, back: str) -> str:
    """Return the address of Stripe's page on which a price is paid for the first time.

    Args:
        settings: The operator's.
        tenant: Who pays.
        customer: The business's number.
        price: Stripe's number of the price.
        back: The page that Stripe leads back to.

    Raises:
        NoCustomerError: Stripe has no such customer.
        NotReadyError: Billing is not set up, or Ruma is offline.
        BillingError: Stripe cannot be asked, or did not do it.
    """
    form = {
        "mode": "subscription",
        "customer": customer,
        "line_items[0][price]": price,
        "line_items[0][quantity]": "1",
        "success_url": f"{back}?done=paid",
        "cancel_url": back,
        "metadata[tenant]": tenant.name,
        "subscription_data[metadata][tenant]": tenant.name,
    }
    return _page(_ask(settings, tenant, "a page to pay on", "/v1/checkout/sessions", form))


def make_portal(
    settings: Settings, tenant: Tenant, customer: str, *, back: str, paid: Paid | None = None, price: str = ""
) -> str:
    """Return the address of Stripe's page with the business's bills, or of the one that changes what is paid.

    Args:
        settings: The operator's.
        tenant: Who pays.
        customer: The business's number.
        back: The page that Stripe leads back to.
        paid: What is paid now, where another price is to be paid in its place.
        price: That price.

    Raises:
        NoCustomerError: Stripe has no such customer.
        NotReadyError: Billing is not set up, or Ruma is offline.
        BillingError: Stripe cannot be asked, or did not do it.
    """
    form = {"customer": customer, "return_url": back}
    if paid:
        change = "flow_data[subscription_update_confirm]"
        form |= {
            "flow_data[type]": "subscription_update_confirm",
            f"{change}[subscription]": paid.id,
            f"{change}[items][0][id]": paid.item,
            f"{change}[items][0][price]": price,
            f"{change}[items][0][quantity]": "1",
        }
    return _page(_ask(settings, tenant, "a page with bills", "/v1/billing_portal/sessions", form))


def list_paid(settings: Settings, tenant: Tenant, customer: str) -> list[Paid]:
    """Return what the business pays for now, the newest first.

    Raises:
        NoCustomerError: Stripe has no such customer.
        NotReadyError: Billing is not set up, or Ruma is offline.
        BillingError: Stripe cannot be asked, or its answer is not understood.
    """
    path = f"/v1/subscriptions?customer={quote(customer, safe='')}&limit=100"
    answer = _ask(settings, tenant, "what is paid", path)
    try:
        return [
            Paid(str(one["id"]), str(item["id"]), str(item["price"]["id"]))
            for one in answer["data"]
            if one["status"] in _PAID and one["customer"] == customer
            for item in one["items"]["data"]
        ]
    except (KeyError, TypeError) as exc:
        raise BillingError("Stripe gave an answer that is not understood.") from exc


def read_signature(header: str, *, now: float | None = None) -> Signature:
    """Return what the header `Stripe-Signature` says.

    Raises:
        InputError: It says nothing that can be understood, or its time is too far from now.
    """
    parts = [part.partition("=") for part in header[:2000].split(",")]
    times = [value for name, _, value in parts if name.strip() == "t"]
    # Written with capital letters, a signature would be another one than it is compared with.
    values = [value.encode() for name, _, value in parts if name == "v1" and re.fullmatch(r"[0-9a-f]{64}", value)]
    if len(times) != 1 or not re.fullmatch(r"[0-9]{1,12}", times[0]) or not values:
        raise InputError("The header Stripe-Signature is missing, or cannot be understood.")
    at = int(times[0])
    if abs((time.time() if now is None else now) - at) > TOLERANCE:
        raise InputError("The event was signed more than 5 minutes ago, or a clock is wrong.")
    return Signature(at, tuple(values[:_MOST_SIGNATURES]))


def read_event(settings: Settings, signature: Signature, body: bytes) -> Event:
    """Return an event that is signed with the secret that Stripe and this server share.

    Raises:
        InputError: It is not, or is no event.
        BillingError: The file with the secret cannot be read.
    """
    secret = _secret(settings.stripe_webhook_file, "stripe_webhook_file")
    right = hmac.new(secret.encode(), f"{signature.at}.".encode() + body, hashlib.sha256).hexdigest().encode()
    if not any([hmac.compare_digest(right, one) for one in signature.values]):
        raise InputError("The event is not signed with the secret that this server knows.")
    try:
        sent = json.loads(body)
        about = sent["data"]["object"]
        customer = about.get("customer") or ""
        named = (about.get("metadata") or {}).get("tenant", "")
        if not all(isinstance(one, str) for one in (sent["id"], sent["type"], customer, named)):
            raise TypeError
        return Event(sent["id"][:255], sent["type"], customer, named)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise InputError("The body is no event.") from exc


def _ask(
    settings: Settings, tenant: Tenant, why: str, path: str, form: Mapping[str, str] | None = None, *, once: str = ""
) -> dict[str, Any]:
    """Return the answer to one request: a form that is posted, or else a question."""
    if settings.offline:
        raise NotReadyError("Stripe is not asked: Ruma is offline.")
    if not settings.takes_payments:
        raise NotReadyError("Billing is not set up.", hint="The operator sets stripe_key_file and stripe_webhook_file.")
    headers = {
        "Authorization": f"Bearer {_secret(settings.stripe_key_file, 'stripe_key_file')}",
        "Stripe-Version": API_VERSION,
        "Content-Type": "application/x-www-form-urlencoded",
    }
    if once:
        headers["Idempotency-Key"] = once
    door = Door(TenantLedger(tenant), f"billing: {why}", reach=None)
    try:
        with open_client(read_address(settings.stripe_api), door, LIMITS) as client:
            body = urlencode(form).encode() if form is not None else None
            answer = client.ask("GET" if form is None else "POST", path, headers, body)
    except (InputError, CertificateError) as exc:
        raise BillingError(f"Stripe {exc}", hint="Try again in some minutes.") from exc
    return _read(answer)


def _read(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
        problem = found.get("error") or {}
        code, about = str(problem.get("code", "")), problem.get("param")
    except (ValueError, AttributeError, RecursionError):
        found, code, about = None, "", None
    if answer.status == 200 and isinstance(found, dict):
        return found
    if answer.status == 200:
        raise BillingError("Stripe gave an answer that is not understood.")
    if answer.status in (401, 403):
        raise BillingError("Stripe does not accept the key of this server.", hint="The operator checks its file.")
    if code == "resource_missing" and about == "customer":
        raise NoCustomerError("Stripe does not know this customer.", hint="The operator checks whose key it is.")
    # A message of Stripe's may hold what was sent, so only its code is told.
    said = f", {code}" if re.fullmatch(r"[a-z_]{1,60}", code) else ""
    raise BillingError(f"Stripe did not do it (status {answer.status}{said}).", hint="Try again in some minutes.")


def _page(made: Mapping[str, Any]) -> str:
    """Return the address of a page of Stripe's, which a browser may be led to."""
    url = made.get("url")
    try:
        if isinstance(url, str) and read_address(url).scheme == "https":
            return url
    except InputError:
        pass
    raise BillingError("Stripe gave an answer that is not understood.")


def _secret(file: str, setting: str) -> str:
    try:
        secret = Path(file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise BillingError("A secret for Stripe cannot be read.", hint=f"See the setting {setting}.") from exc
    if not re.fullmatch(r"[A-Za-z0-9_]{8,500}", secret):
        raise BillingError("A file for Stripe holds no secret.", hint=f"See the setting {setting}.")
    return secret
