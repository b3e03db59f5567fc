"""Paying for a plan at Stripe: a stand-in on this machine answers as Stripe does."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import Settings, load_settings
from ruma.errors import BillingError, ConflictError, InputError, NotReadyError
from ruma.privacy.erasing import erase_tenant
from ruma.privacy.policy import write_policy
from ruma.server import stripe as stripe_module
from ruma.server.app import create_app
from ruma.server.billing import describe_billing, look_again, open_checkout, open_portal
from ruma.tenant.audit import list_audit
from ruma.tenant.billing import keep_customer, read_customer
from ruma.tenant.connections import list_connections
from ruma.tenant.home import Home
from ruma.tenant.keeping.plans import promised_plan, set_plan
from ruma.tenant.tenant import Tenant
from tests.fakes import FakeStripe
from tests.running import read_json, run
from tests.serving import EMBEDDER, FLAGS, make_tenant, renew_tenant, sign_in, with_key

HERE = "http://127.0.0.1:8420"
ORIGIN = "https://ask.example.com"
Served = tuple[Home, TestClient[Litestar]]
PLANS = """
[plans.month]
conversations = 30
price = "€9 a month"
stripe_price = "price_1month"
[plans.year]
conversations = 365
price = "€29 a month"
stripe_price = "price_1year"
[plans.friends]
conversations = 700
"""

MONTH, YEAR = "price_1month", "price_1year"


@pytest.fixture(scope="module")
def running() -> Iterator[FakeStripe]:
    """Return the stand-in."""
    with FakeStripe() as stripe:
        threading.Thread(target=stripe.serve_forever, args=[0.02], daemon=True).start()
        yield stripe
        stripe.shutdown()


@pytest.fixture
def stripe(running: FakeStripe) -> FakeStripe:
    """Return the stand-in as if nobody had asked it yet."""
    for kept in (running.asked, running.customers, running.paid, running.failing):
        kept.clear()
    return running


@pytest.fixture
def paying(settings: Settings, stripe: FakeStripe, tmp_path: Path, tenant: Tenant) -> Settings:
    """Return the settings of a server that takes payments for two plans."""
    (settings.home / "ruma.toml").write_text(PLANS)
    return replace(settings, **stripe.settings(tmp_path))


def test_an_owner_is_led_to_stripe_and_has_the_plan_when_it_is_paid(
    stripe: FakeStripe, paying: Settings, tenant: Tenant
) -> None:
    """The first choice makes a customer and a checkout of that price; what is paid then is the plan."""
    url = open_checkout(tenant, paying, "year", ORIGIN)

    assert url.startswith("https://checkout.stripe.example/")
    customer, _, checkout = stripe.asked
    assert (customer.path, customer.form) == ("/v1/customers", {"metadata[tenant]": "acme"})
    assert checkout.form == {
        "mode": "subscription",
        "customer": "cus_1",
        "line_items[0][price]": YEAR,
        "line_items[0][quantity]": "1",
        "success_url": f"{ORIGIN}/t/acme/settings?done=paid",
        "cancel_url": f"{ORIGIN}/t/acme/settings",
        "metadata[tenant]": "acme",
        "subscription_data[metadata][tenant]": "acme",
    }
    assert promised_plan(tenant, paying).name == "standard"
    assert look_again(tenant, paying) is None
    stripe.pay("cus_1", YEAR)
    assert look_again(tenant, paying).name == "year"
    assert promised_plan(tenant, paying).conversations == 365
    actions = [one.action for one in list_audit(tenant)]
    assert {"customer.kept", "checkout.opened", "plan.set"} <= set(actions)
    assert all("cus_" not in str(one.details) for one in list_audit(tenant))


def test_whoever_pays_already_changes_what_is_paid(stripe: FakeStripe, paying: Settings, tenant: Tenant) -> None:
    """A second checkout would be paid beside the first, so another plan is confirmed on the page with the bills."""
    open_checkout(tenant, paying, "month", ORIGIN)
    stripe.pay("cus_1", MONTH)

    url = open_checkout(tenant, paying, "year", ORIGIN)

    assert url.startswith("https://billing.stripe.example/")
    change = "flow_data[subscription_update_confirm]"
    assert stripe.asked[-1].form == {
        "customer": "cus_1",
        "return_url": f"{ORIGIN}/t/acme/settings",
        "flow_data[type]": "subscription_update_confirm",
        f"{change}[subscription]": "sub_1",
        f"{change}[items][0][id]": "si_1",
        f"{change}[items][0][price]": YEAR,
        f"{change}[items][0][quantity]": "1",
    }
    with pytest.raises(ConflictError, match="month is paid for already"):
        open_checkout(tenant, paying, "month", ORIGIN)
    assert promised_plan(tenant, paying).name == "month"  # which Stripe's word would have brought


def test_bills_are_shown_to_who_has_some(stripe: FakeStripe, paying: Settings, tenant: Tenant) -> None:
    """There is a page with bills once there is a customer."""
    with pytest.raises(NotReadyError, match="no bills yet"):
        open_portal(tenant, paying, ORIGIN)
    open_checkout(tenant, paying, "year", ORIGIN)

    assert open_portal(tenant, paying, ORIGIN).startswith("https://billing.stripe.example/")

    assert stripe.asked[-1].form == {"customer": "cus_1", "return_url": f"{ORIGIN}/t/acme/settings"}
    assert list_audit(tenant)[0].action == "bills.opened"


@pytest.mark.parametrize(("status", "plan"), [("past_due", "year"), ("unpaid", "standard"), ("incomplete", "standard")])
def test_a_late_payment_keeps_the_plan_until_stripe_gives_up(
    stripe: FakeStripe, paying: Settings, tenant: Tenant, status: str, plan: str
) -> None:
    """What a shorter plan removes cannot be brought back, so it comes only when nothing is paid any more."""
    open_checkout(tenant, paying, "year", ORIGIN)
    stripe.pay("cus_1", YEAR)
    look_again(tenant, paying)
    stripe.paid["cus_1"][0]["status"] = status

    look_again(tenant, paying)

    assert promised_plan(tenant, paying).name == plan


@pytest.mark.parametrize("given", ["friends", "standard"])
def test_a_plan_that_the_operator_gave_stays(stripe: FakeStripe, paying: Settings, tenant: Tenant, given: str) -> None:
    """Who never paid, or pays nothing any more, keeps a plan that has no price."""
    open_checkout(tenant, paying, "year", ORIGIN)
    set_plan(tenant, paying, given)

    assert look_again(tenant, paying) is None

    assert promised_plan(tenant, paying).name == given


def test_a_price_that_no_plan_has_changes_nothing(stripe: FakeStripe, paying: Settings, tenant: Tenant) -> None:
    """A plan that the operator renamed or priced anew is not taken from those who pay the old price."""
    open_checkout(tenant, paying, "year", ORIGIN)
    stripe.pay("cus_1", YEAR)
    look_again(tenant, paying)
    stripe.paid["cus_1"][0]["items"]["data"][0]["price"]["id"] = "price_old"

    assert look_again(tenant, paying) is None

    assert promised_plan(tenant, paying).name == "year"


def test_a_customer_that_is_gone_at_stripe_never_costs_the_plan(
    stripe: FakeStripe, paying: Settings, tenant: Tenant
) -> None:
    """With the key of another account every customer is unknown: looking says so; a new choice makes a new customer."""
    open_checkout(tenant, paying, "year", ORIGIN)
    stripe.pay("cus_1", YEAR)
    look_again(tenant, paying)
    stripe.customers.clear()
    stripe.customers["another"] = "cus_9"

    with pytest.raises(BillingError, match="does not know this customer"):
        look_again(tenant, paying)
    assert promised_plan(tenant, paying).name == "year"
    open_checkout(tenant, paying, "year", ORIGIN)

    assert read_customer(tenant) == "cus_2"


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        (500, "status 500, api_error"),
        (429, "status 429"),
        (0.1, "ended the connection"),
        (401, "accept the key"),
    ],
)
def test_a_stripe_that_fails_is_said_and_nothing_is_changed(
    stripe: FakeStripe, paying: Settings, tenant: Tenant, failing: int | float, message: str
) -> None:
    """Whether it answers with a failure or hangs up, one sentence says so, and the ledger has the connection."""
    stripe.failing.append(failing)

    with pytest.raises(BillingError, match=message) as problem:
        open_checkout(tenant, paying, "year", ORIGIN)

    assert stripe.KEY not in f"{problem.value} {problem.value.hint}"
    assert not read_customer(tenant)
    assert list_connections(tenant)[0].attempt.purpose == "billing: a customer number"


def test_a_slow_stripe_is_given_up(
    stripe: FakeStripe, paying: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for longer than the limits say."""
    monkeypatch.setattr(stripe_module, "LIMITS", replace(stripe_module.LIMITS, wait_seconds=0.1))
    stripe.failing.append(1.0)

    with pytest.raises(BillingError, match="did not answer in time"):
        open_checkout(tenant, paying, "year", ORIGIN)


def test_a_stripe_that_is_not_there_and_one_that_answers_nonsense(
    stripe: FakeStripe, paying: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is more than a sentence; and a page that is not one of HTTPS leads nobody anywhere."""
    with pytest.raises(BillingError, match="cannot be reached"):
        open_checkout(tenant, replace(paying, stripe_api="http://127.0.0.1:9"), "year", ORIGIN)
    for made in ({}, {"url": "http://evil.example"}, {"url": "javascript:alert(1)"}, {"url": 7}):
        monkeypatch.setattr(stripe_module, "_ask", lambda *_, made=made, **__: {"id": "cus_1", "data": [], **made})
        with pytest.raises(BillingError, match="not understood"):
            open_checkout(tenant, paying, "year", ORIGIN)


def test_offline_stripe_is_not_asked(stripe: FakeStripe, paying: Settings, tenant: Tenant) -> None:
    """One sentence says so, and nothing is opened."""
    offline = replace(paying, offline=True)

    with pytest.raises(NotReadyError, match=r"^Stripe is not asked: Ruma is offline\.$"):
        open_checkout(tenant, offline, "year", ORIGIN)

    assert not stripe.asked
    assert not list_connections(tenant)
    assert not describe_billing(tenant, offline).is_set_up


def test_only_plans_with_a_price_can_be_chosen(stripe: FakeStripe, paying: Settings, tenant: Tenant) -> None:
    """Neither the free one nor one that the operator gives, nor one that is not there; Stripe is not asked for it."""
    for name in ("standard", "friends", "yaer", ""):
        with pytest.raises(InputError, match="cannot be chosen") as problem:
            open_checkout(tenant, paying, name, ORIGIN)
        assert "month, year" in problem.value.hint
    assert not stripe.asked
    assert [one.name for one in describe_billing(tenant, paying).choices] == ["standard", "month", "year"]


def test_the_key_stays_in_its_file(stripe: FakeStripe, paying: Settings, tenant: Tenant) -> None:
    """It goes to Stripe in a header; a file without one is said by the setting's name."""
    open_checkout(tenant, paying, "year", ORIGIN)

    assert {one.headers["Authorization"] for one in stripe.asked} == {f"Bearer {stripe.KEY}"}
    for content in ("", "sk live with blanks", "sk_live_1234\r\nX-Evil: 1"):
        Path(paying.stripe_key_file).write_text(content)
        with pytest.raises(BillingError, match="holds no secret"):
            open_portal(tenant, paying, ORIGIN)
    with pytest.raises(BillingError, match="cannot be read"):
        open_portal(tenant, replace(paying, stripe_key_file="/nowhere"), ORIGIN)
    with pytest.raises(NotReadyError, match="not set up"):
        open_portal(tenant, replace(paying, stripe_key_file=""), ORIGIN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[plans.standard]\nstripe_price = "price_1a"', "standard cannot be paid for"),
        ('[plans.a]\nstripe_price = "prod_1a"', "none of Stripe's numbers"),
        ('[plans.a]\nstripe_price = "price_1a"\n[plans.b]\nstripe_price = "price_1a"', "two plans"),
        ("[plans.a]\nprice = 9", "the price of the plan a"),
        ('stripe_api = "http://stripe.example"', "stripe_api cannot be"),
        ('stripe_api = "https://a@stripe.example/v1"', "stripe_api cannot be"),
    ],
)
def test_what_billing_cannot_go_by_is_said_at_once(settings: Settings, text: str, message: str) -> None:
    """A slip in the operator's file stops every command with one sentence."""
    settings.home.mkdir(exist_ok=True)
    (settings.home / "ruma.toml").write_text(text)

    with pytest.raises(InputError, match=message):
        load_settings()


def test_the_policy_names_stripe_where_something_is_paid(
    stripe: FakeStripe, paying: Settings, settings: Settings, tenant: Tenant
) -> None:
    """Without billing nothing is said of it; with it, who is told what; afterwards, as long as something is stored."""
    texts = {}
    for when, inside in (("before", settings), ("on", paying)):
        texts[when] = " ".join(one.text for one in write_policy(tenant, inside).statements)
    open_checkout(tenant, paying, "year", ORIGIN)
    texts["off again"] = " ".join(one.text for one in write_policy(tenant, settings).statements)

    assert "Stripe" not in texts["before"]
    for when in ("on", "off again"):
        assert "customer number that Stripe gives the business" in texts[when]
        assert "Stripe (127.0.0.1), where acme pays for its plan" in texts[when]
    assert "none are taken here" in texts["before"]


def test_the_receipt_of_a_tenant_says_that_stripe_keeps_its_own(
    stripe: FakeStripe, paying: Settings, settings: Settings, tenant: Tenant
) -> None:
    """The number goes with everything else; what Stripe has of it is named as not covered."""
    open_checkout(tenant, paying, "year", ORIGIN)
    tenant.close()

    receipt = erase_tenant(Home(settings), "acme").signed.receipt

    (told,) = [one for one in receipt.not_covered if one.what == "billing"]
    assert "Stripe keeps its own record" in told.text
    assert "cus_1" not in str(receipt)


def test_a_number_is_not_taken_over_from_somebody_who_was_sooner(tenant: Tenant) -> None:
    """Two that choose at once end with one number; a number is replaced only by who knows which one."""
    assert keep_customer(tenant, "cus_1") == "cus_1"
    assert keep_customer(tenant, "cus_2") == "cus_1"
    assert keep_customer(tenant, "cus_3", instead_of="cus_1") == "cus_3"
    assert len([one for one in list_audit(tenant) if one.action == "customer.kept"]) == 2


def test_the_operator_sees_who_pays_and_asks_again(
    stripe: FakeStripe, paying: Settings, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ruma billing` shows plans and tenants and no secret; `ruma billing refresh` brings what was not heard."""
    assert "not set up" in run("billing").stdout
    for name in ("stripe_key_file", "stripe_webhook_file", "stripe_api"):
        monkeypatch.setenv(f"RUMA_{name.upper()}", str(getattr(paying, name)))
    assert "no customer number" in run("billing", "refresh").stderr
    open_checkout(tenant, paying, "year", ORIGIN)
    stripe.pay("cus_1", YEAR)

    assert run("billing", "refresh", "--all").stderr == "acme has the plan year now.\n"

    assert read_json("billing") == {
        "is_set_up": True,
        "webhook": "http://127.0.0.1:8420/billing/stripe",
        "plans": {
            "month": {"price": "€9 a month", "stripe_price": MONTH},
            "year": {"price": "€29 a month", "stripe_price": YEAR},
        },
        "tenants": [{"tenant": "acme", "plan": "year", "customer": "cus_1"}],
    }
    assert stripe.KEY not in run("config").stdout
    assert "Ruma is offline" in run("--offline", "billing", "refresh").stderr


@pytest.fixture(scope="module")
def served(
    running: FakeStripe, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Home, TestClient[Litestar]]]:
    """Return the home of a server that takes payments, and a client that follows no redirect."""
    folder = tmp_path_factory.mktemp("served")
    home = Home(load_settings({**FLAGS, **running.settings(folder), "home": folder / "home"}, {}))
    make_tenant(home)
    (home.settings.home / "ruma.toml").write_text(PLANS)
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
        client.follow_redirects = False
        yield home, client


@pytest.fixture
def client(served: Served, stripe: FakeStripe) -> TestClient[Litestar]:
    """Return the client of that server, whose tenant nobody touched."""
    renew_tenant(served[0])
    return served[1]


@pytest.fixture
def business(served: Served, client: TestClient[Litestar]) -> Iterator[Tenant]:
    """Return that tenant."""
    with served[0].open("acme") as tenant:
        yield tenant


def test_the_page_shows_the_plans_and_leads_out(
    stripe: FakeStripe, client: TestClient[Litestar], business: Tenant
) -> None:
    """Prices and the way to them for an owner; a script's browser is sent away whole, any other by a redirect."""
    owner = sign_in(business)
    page = client.get("/t/acme/settings", headers=owner).text
    assert "€29 a month" in page
    assert "friends" not in page
    assert "Manage billing" not in page
    assert page.count("What is older goes for good") == 1  # of the plan that keeps less

    by_script = client.post("/t/acme/settings/plan", data={"plan": "year"}, headers={**owner, "HX-Request": "true"})
    assert (by_script.status_code, by_script.headers["hx-redirect"][:32]) == (200, "https://checkout.stripe.example/")
    bills = client.post("/t/acme/settings/billing", data={}, headers=owner)
    assert (bills.status_code, bills.headers["location"][:31]) == (303, "https://billing.stripe.example/")

    assert "Manage billing" in client.get("/t/acme/settings", headers=owner).text
    assert "as soon as Stripe says" in client.get("/t/acme/settings?done=paid", headers=owner).text
    stripe.failing.append(500)
    failed = client.post("/t/acme/settings/billing", data={}, headers=owner)
    assert failed.status_code == 503
    assert "Stripe did not do it (status 500, api_error)." in failed.text


def test_the_api_leads_an_owner_and_no_program(
    stripe: FakeStripe, client: TestClient[Litestar], business: Tenant
) -> None:
    """A program may see the plans; Stripe's pages, on which money is spent, are for an owner in person."""
    owner, editor, program = sign_in(business), sign_in(business, "editor"), with_key(business, "manage")

    shown = client.get("/t/acme/api/billing", headers=program).json()
    assert [one["days"]["name"] for one in shown["choices"]] == ["standard", "month", "year"]
    assert (shown["plan"], shown["is_set_up"], shown["is_customer"]) == ("standard", True, False)
    for path, sent in (("checkout", {"plan": "year"}), ("portal", None)):
        for who in (editor, program):
            assert client.post(f"/t/acme/api/billing/{path}", json=sent, headers=who).status_code == 403
    assert not stripe.asked

    made = client.post("/t/acme/api/billing/checkout", json={"plan": "year"}, headers=owner)
    assert made.json()["url"].startswith("https://checkout.stripe.example/")
    assert client.post("/t/acme/api/billing/portal", headers=owner).status_code == 200
    assert client.post("/t/acme/api/billing/checkout", json={"plan": "no"}, headers=owner).status_code == 400
