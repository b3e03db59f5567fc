"""Who could make the server believe that a plan is paid, or is not: events that Stripe did not send, or not of this."""

import hashlib
import hmac
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.server.app import create_app
from ruma.server.billing import SeenEvents, open_checkout
from ruma.server.stripe import TOLERANCE, Event, Signature
from ruma.tenant.audit import list_audit
from ruma.tenant.connections import list_connections
from ruma.tenant.home import Home
from ruma.tenant.keeping.plans import promised_plan, set_plan
from ruma.tenant.tenant import Tenant
from tests.fakes import FakeStripe
from tests.mailing import Mailbox, mail_server
from tests.serving import EMBEDDER, FLAGS, sign_in

HERE, ORIGIN = "http://127.0.0.1:8420", "https://ask.example.com"
YEAR = "price_1year"
UPDATED = "customer.subscription.updated"
NUMBERS = itertools.count(1)
"""Of events, none of which was heard before."""


@dataclass
class Shop:
    """A server with two tenants that are customers of Stripe's, and what its mail server got."""

    client: TestClient[Litestar]
    home: Home
    stripe: FakeStripe
    mailbox: Mailbox
    acme: Tenant
    other: Tenant

    def hear(self, *args: Any, headers: dict[str, str] | None = None, **event: Any) -> httpx.Response:
        """Post an event of the stand-in's, with headers in place of its own."""
        body, signed = self.stripe.event(*args, **{"number": f"evt_{next(NUMBERS)}", **event})
        return self.client.post("/billing/stripe", content=body, headers={**signed, **(headers or {})})

    def plans(self) -> tuple[str, str]:
        """Return the plans of both tenants."""
        return promised_plan(self.acme, self.home.settings).name, promised_plan(self.other, self.home.settings).name


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Return the server: acme is cus_1, other is cus_2."""
    folder = tmp_path_factory.mktemp("shop")
    with FakeStripe() as stripe, mail_server() as mailbox:
        threading.Thread(target=stripe.serve_forever, args=[0.02], daemon=True).start()
        mail = {
            "smtp_host": "127.0.0.1",
            "smtp_port": mailbox.port,
            "smtp_security": "none",
            "mail_from": "a@b.example",
        }
        (folder / "home").mkdir()
        (folder / "home" / "ruma.toml").write_text(
            f'[plans.year]\nconversations = 365\nstripe_price = "{YEAR}"\n[plans.friends]\n'
        )
        home = Home(load_settings({**FLAGS, **mail, **stripe.settings(folder), "home": folder / "home"}, {}))
        for name in ("acme", "other"):
            home.create(name)
        app = create_app(home, lambda: EMBEDDER, lambda _: None)
        with TestClient(app, base_url=HERE) as client, home.open("acme") as acme, home.open("other") as other:
            sign_in(acme)
            for tenant in (acme, other):
                open_checkout(tenant, home.settings, "year", ORIGIN)
            yield Shop(client, home, stripe, mailbox, acme, other)
        stripe.shutdown()


@pytest.fixture
def shop(made: Shop) -> Shop:
    """Return the server as it was when nothing was paid yet, and nothing heard."""
    for tenant in (made.acme, made.other):
        set_plan(tenant, made.home.settings, "standard")
    made.stripe.paid.clear(), made.stripe.asked.clear(), made.stripe.failing.clear()
    return made


def test_what_stripe_signs_is_followed(shop: Shop) -> None:
    """Paid, changed and ended, each brings the plan that Stripe says, and a mail that tells the owners."""
    shop.stripe.pay("cus_1", YEAR)
    before = len(shop.mailbox.mails)

    assert shop.hear("checkout.session.completed", "cus_1").json() == {"taken": True}
    assert shop.plans() == ("year", "standard")
    shop.mailbox.wait(before + 1)
    assert "your plan is now year" in shop.mailbox.mails[-1]["Subject"]
    assert "365 days" in shop.mailbox.mails[-1].get_content()
    (entry, *_) = list_audit(shop.acme, thing="plan")
    assert (entry.actor.kind, entry.details) == ("ruma", {"plan": "year"})

    shop.stripe.paid.clear()
    assert shop.hear("customer.subscription.deleted", "cus_1").json() == {"taken": True}
    assert shop.plans() == ("standard", "standard")


def test_k_an_event_is_only_a_reason_to_ask(shop: Shop) -> None:
    """Signed or not in what it says: where nothing is paid at Stripe, no event brings a plan; late ones undo none."""
    assert shop.hear("checkout.session.completed", "cus_1").json() == {"taken": True}
    assert shop.plans() == ("standard", "standard")
    shop.stripe.pay("cus_1", YEAR)
    shop.hear(UPDATED, "cus_1")
    shop.hear("customer.subscription.deleted", "cus_1")  # of an earlier one, and late

    assert shop.plans() == ("year", "standard")


@pytest.mark.parametrize(
    "headers",
    [
        {"Stripe-Signature": ""},
        {"Stripe-Signature": "t=1,v1="},
        {"Stripe-Signature": "v1=" + "0" * 64},
        {"Stripe-Signature": "t=NOW,v1=" + "0" * 64},
        {"Stripe-Signature": "t=NOW,v0=RIGHT"},
        {"Stripe-Signature": "t=NOW,t=NOW,v1=RIGHT"},
        {"Stripe-Signature": "t=+NOW,v1=RIGHT"},
        {"Stripe-Signature": "t=NOW,v1=UPPER"},
        {"Stripe-Signature": "t=9999999999999999,v1=RIGHT"},
    ],
)
def test_k_a_wrong_signature_is_refused(shop: Shop, headers: dict[str, str]) -> None:
    """Missing, empty, of another scheme or written in another way: nothing is asked and nothing is said of why."""
    shop.stripe.pay("cus_1", YEAR)
    body, signed = shop.stripe.event(UPDATED, "cus_1")
    now, right = signed["Stripe-Signature"].split(",")[0][2:], signed["Stripe-Signature"].split(",")[1][3:]
    value = headers["Stripe-Signature"].replace("NOW", now).replace("RIGHT", right).replace("UPPER", right.upper())

    answer = shop.client.post("/billing/stripe", content=body, headers={"Stripe-Signature": value})

    assert answer.status_code == 400
    assert right not in answer.text
    assert not shop.stripe.asked


def test_k_another_secret_an_altered_body_and_an_old_time_are_refused(shop: Shop) -> None:
    """A signature holds for one body, one time and one secret; a second one beside a wrong one, as while it changes."""
    shop.stripe.pay("cus_1", YEAR)
    assert shop.hear(UPDATED, "cus_1", secret="whsec_another0another0").status_code == 400
    for away in (-TOLERANCE - 5, TOLERANCE + 5):
        old = shop.hear(UPDATED, "cus_1", at=time.time() + away)
        assert (old.status_code, "5 minutes" in old.text) == (400, True)
    body, signed = shop.stripe.event(UPDATED, "cus_2")
    altered = body.replace(b"cus_2", b"cus_1")
    assert shop.client.post("/billing/stripe", content=altered, headers=signed).status_code == 400
    later = signed["Stripe-Signature"].replace("t=1", "t=2", 1)
    assert shop.client.post("/billing/stripe", content=body, headers={"Stripe-Signature": later}).status_code == 400
    assert not shop.stripe.asked

    body, signed = shop.stripe.event(UPDATED, "cus_1", number="evt_b")
    both = signed["Stripe-Signature"].replace(",v1=", f",v1={'0' * 64},v1=")
    answer = shop.client.post("/billing/stripe", content=body, headers={"Stripe-Signature": both})
    assert answer.json() == {"taken": True}


def test_k_an_event_that_comes_again_is_taken_once(shop: Shop) -> None:
    """Whoever caught one may send it again for five minutes, and nothing is asked; what failed is tried again."""
    shop.stripe.pay("cus_1", YEAR)
    shop.stripe.failing.append(500)
    assert shop.hear(UPDATED, "cus_1", number="evt_a").status_code == 503
    assert shop.plans() == ("standard", "standard")
    assert shop.hear(UPDATED, "cus_1", number="evt_a").json() == {"taken": True}
    assert shop.plans() == ("year", "standard")
    asked = len(shop.stripe.asked)

    assert shop.hear(UPDATED, "cus_1", number="evt_a").json() == {"taken": False}

    assert len(shop.stripe.asked) == asked


def test_k_events_are_remembered_for_as_long_as_they_could_come_again() -> None:
    """Their numbers are in memory alone, and gone when the signature would not be accepted any more."""
    seen, event = SeenEvents(), Event("evt_1", UPDATED, "cus_1", "acme")
    assert seen.is_new(event, Signature(1000, ()), now=1000)
    assert not seen.is_new(event, Signature(1000, ()), now=1000 + TOLERANCE)
    assert seen.is_new(event, Signature(1400, ()), now=1001 + TOLERANCE)
    assert len(seen._until) == 1


@pytest.mark.parametrize(
    ("customer", "named"),
    [
        ("cus_2", "acme"),  # another tenant's customer, in the name of this one
        ("cus_1", "other"),  # this one's, in the name of another: a forged name
        ("cus_99", "acme"),  # somebody else's in the same account at Stripe
        ("", "acme"),
        ("cus_1", ""),
        ("cus_1", "../acme"),
        ("cus_1", "nobody"),
        ("cus_1", "acme\x00"),
    ],
)
def test_k_a_customer_that_is_not_the_tenants_own_moves_nothing(shop: Shop, customer: str, named: str) -> None:
    """Rightly signed, as by another program in the operator's account: name and number must both be the tenant's."""
    for one in ("cus_1", "cus_2"):
        shop.stripe.pay(one, YEAR)

    answer = shop.hear(UPDATED, customer, tenant=named)

    assert (answer.status_code, answer.json()) == (200, {"taken": False})
    assert shop.plans() == ("standard", "standard")
    assert not shop.stripe.asked


def test_k_what_another_customer_pays_is_no_answer(shop: Shop) -> None:
    """An answer of Stripe's that names somebody else is not taken for this tenant's."""
    shop.stripe.pay("cus_1", YEAR)
    shop.stripe.paid["cus_1"][0]["customer"] = "cus_2"

    assert shop.hear(UPDATED, "cus_1").json() == {"taken": True}

    assert shop.plans() == ("standard", "standard")


BODIES = [b"", b"[]", b"{}", b'{"id": 7}', b"\xff", b"[" * 100_000, b'{"id":"e","type":"t","data":7}']


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_k_a_signed_body_that_is_no_event_is_refused(shop: Shop, body: bytes) -> None:
    """Whatever it holds, it is a mistake of the sender's, never a bug of the server's."""
    at = int(time.time())
    signed = hmac.new(FakeStripe.SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()

    answer = shop.client.post("/billing/stripe", content=body, headers={"Stripe-Signature": f"t={at},v1={signed}"})

    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "The body is no event.")


def test_k_other_events_and_large_ones_cost_nothing(shop: Shop) -> None:
    """What is about no payment is let go; what is larger than any event is not read."""
    shop.stripe.pay("cus_1", YEAR)
    assert shop.hear("invoice.paid", "cus_1").json() == {"taken": False}
    _, signed = shop.stripe.event(UPDATED, "cus_1")
    assert shop.client.post("/billing/stripe", content=b"x" * 600_000, headers=signed).status_code == 413
    assert not shop.stripe.asked


def test_k_the_ledger_tells_of_each_time_that_stripe_was_asked(shop: Shop) -> None:
    """Each connection stands in the ledger of the tenant that it was for, and no other's."""
    before = len(list_connections(shop.other))
    shop.stripe.pay("cus_1", YEAR)
    shop.hear(UPDATED, "cus_1")

    # The mail that tells the owners of it may stand there already.
    found = [(one.attempt.purpose, one.actor.kind) for one in list_connections(shop.acme)[:2]]
    assert ("billing: what is paid", "ruma") in found
    assert len(list_connections(shop.other)) == before


@pytest.mark.parametrize("off", [{"stripe_webhook_file": ""}, {"stripe_key_file": ""}, {"offline": True}])
def test_k_without_billing_there_is_nothing_at_the_address(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, off: dict[str, Any]
) -> None:
    """Off, as it is unless the operator sets all of it up, and offline: whatever is signed, with whatever secret."""
    monkeypatch.setattr(shop.client.app.state.resources.home, "settings", replace(shop.home.settings, **off))
    shop.stripe.pay("cus_1", YEAR)

    assert shop.hear(UPDATED, "cus_1").status_code == 404

    assert not shop.stripe.asked
