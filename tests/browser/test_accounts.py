"""Accounts in a real browser: from the set-up link to signed in, with and without scripts, by keyboard, on a phone."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyotp
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from ruma.tenant.home import Home
from ruma.tenant.people.joining import make_setup_link
from ruma.tenant.people.members import create_member
from tests.browsing import DESK, needs_chromium
from tests.fakes import FakeStripe
from tests.serving import Running, renew_tenant

PASSWORD, OTHER = "harbour violin ticket 83", "lantern gravel opera 51"

pytestmark = needs_chromium

NewContext = Callable[..., BrowserContext]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a running server, on which a plan can be paid for."""
    home, secrets = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("secrets")
    (home / "ruma.toml").write_text('[plans.month]\nconversations = 30\nstripe_price = "price_1month"\n')
    with FakeStripe() as stripe:
        threading.Thread(target=stripe.serve_forever, args=[0.05], daemon=True).start()
        with Running(home, **stripe.settings(secrets)) as server:
            yield server
        stripe.shutdown()


@pytest.fixture
def home(server: Running) -> Home:
    """Return its home, with a new tenant."""
    return renew_tenant(server)


@pytest.fixture
def open_page(browser: Browser, home: Home, server: Running) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page in a browser of its own; whatever a script complains of fails the test."""
    contexts, complaints = [], []

    def open_page(path: str, **options: object) -> Page:
        context = browser.new_context(base_url=f"http://127.0.0.1:{server.port}", **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if "Content Security" in line.text else None)
        page.goto(f"/t/acme/{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def add_owner(home: Home) -> None:
    """Add Anna."""
    with home.open("acme") as tenant:
        create_member(tenant, email="anna@example.com", name="Anna", role="owner", password=PASSWORD)


def sign_in(page: Page, password: str = PASSWORD) -> None:
    """Fill the form at the door."""
    page.get_by_label("E-mail address").fill("anna@example.com")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def check_access(page: Page) -> None:
    """Check that axe finds nothing, and that the page is no wider than its window."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("has_scripts", [True, False])
def test_the_setup_link_leads_to_a_signed_in_owner(
    home: Home, open_page: Callable[..., Page], has_scripts: bool
) -> None:
    """A wrong password is said beside its field, the right one signs the owner in."""
    with home.open("acme") as tenant:
        link = make_setup_link(tenant)
    page = open_page(f"setup/{link}", java_script_enabled=has_scripts)
    page.get_by_label("Your name").fill("Anna")
    page.get_by_label("E-mail address").fill("anna@example.com")
    page.get_by_label("Password").fill("1234567890")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("most common ones")).to_be_visible()
    expect(page.get_by_label("Your name")).to_have_value("Anna")

    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url(re.compile("/t/acme/overview$"))
    page.goto("/t/acme/account")

    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    cookies = page.context.cookies()
    assert [(one["name"], one["httpOnly"], one["secure"]) for one in cookies] == [("__Host-ruma-acme", True, True)]


def test_the_second_factor_from_the_picture_to_the_door(home: Home, open_page: Callable[..., Page]) -> None:
    """Switched on with a code, it is asked for at the next sign-in, and a recovery code lets in too."""
    add_owner(home)
    page = open_page("account")
    sign_in(page)
    page.get_by_role("link", name="Switch it on").click()
    expect(page.get_by_role("img", name="The secret as a picture")).to_be_visible()
    secret = page.locator("input[name=secret]").get_attribute("value") or ""
    page.get_by_label("The code that the app shows").fill(pyotp.TOTP(secret).now())
    page.get_by_label("Your password").fill(PASSWORD)
    check_access(page)
    page.get_by_role("button", name="Switch it on").click()
    codes = page.locator("#codes").inner_text().split()
    check_access(page)
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("10 recovery codes are left")).to_be_visible()
    page.get_by_role("button", name="Sign out", exact=True).click()

    expect(page.get_by_text("You are signed out.")).to_be_visible()
    sign_in(page)
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    check_access(page)
    page.get_by_label("Code").fill(codes[0])
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/t/acme/overview$"))
    page.goto("/t/acme/account")
    expect(page.get_by_text("9 recovery codes are left")).to_be_visible()


def test_a_new_password_keeps_this_browser_and_ends_the_other(home: Home, open_page: Callable[..., Page]) -> None:
    """The page goes on to work in its new session; the other browser is led to the door."""
    add_owner(home)
    here, there = open_page("account"), open_page("account")
    sign_in(here)
    sign_in(there)
    expect(there.get_by_role("heading", name="Your account")).to_be_visible()
    here.get_by_label("Your password now").fill(PASSWORD)
    here.get_by_label("New password").fill(OTHER)
    with here.expect_navigation():
        here.get_by_role("button", name="Change the password").click()
    expect(here.get_by_text("this one")).to_have_count(1)
    here.get_by_label("Name").fill("Anna Miller")
    here.get_by_role("button", name="Save").click()

    expect(here.get_by_text("Saved.")).to_be_visible()
    there.reload()
    expect(there.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(there, OTHER)
    expect(there.get_by_label("Name")).to_have_value("Anna Miller")


def test_an_owner_invites_a_person_and_makes_a_key(home: Home, open_page: Callable[..., Page]) -> None:
    """The link is shown to be copied, the guest joins with it in another browser, and removing asks first."""
    add_owner(home)
    page = open_page("people")
    sign_in(page)
    page.get_by_label("E-mail address").fill("bob@example.com")
    page.get_by_label("Role", exact=True).select_option("viewer")
    page.get_by_role("button", name="Invite", exact=True).click()
    link = page.locator("#made").inner_text()
    assert page.url.endswith("/t/acme/people")
    guest = open_page(f"invitation/{link.rpartition('/')[2]}")
    guest.get_by_label("Your name").fill("Bob")
    guest.get_by_label("Password").fill(PASSWORD)
    check_access(guest)
    guest.get_by_role("button", name="Go on").click()
    guest.wait_for_url(re.compile("/t/acme/overview$"))
    assert guest.goto("/t/acme/people").status == 403  # type: ignore[union-attr]

    page.get_by_label("Name of a new key").fill("shop")
    page.get_by_role("button", name="Make the key").click()
    expect(page.locator("#made")).to_contain_text("ruma_")
    check_access(page)
    row = page.get_by_role("row").filter(has_text="bob@example.com")
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(row).to_be_visible()
    row.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Go on").click()
    expect(page.get_by_text("Removed.")).to_be_visible()
    expect(row).to_have_count(0)


def test_an_owner_is_led_out_to_pay(home: Home, open_page: Callable[..., Page]) -> None:
    """The pages' content policy lets the browser go to Stripe's page, after a warning where the plan keeps less."""
    add_owner(home)
    page = open_page("sign-in?next=/t/acme/settings")
    page.context.route("https://checkout.stripe.example/**", lambda route: route.fulfill(body="Pay here."))
    sign_in(page)
    page.get_by_role("button", name="Choose the plan month").click()
    expect(page.get_by_role("dialog")).to_contain_text("What is older goes for good")
    page.get_by_role("dialog").get_by_role("button", name="Go on to Stripe").click()
    page.wait_for_url("https://checkout.stripe.example/**")
    expect(page.get_by_text("Pay here.")).to_be_visible()


def test_a_form_sent_before_the_scripts_have_come_waits_for_them(home: Home, open_page: Callable[..., Page]) -> None:
    """Whoever is quicker than a slow line is asked what guards the button, not told that the page is out of date."""
    add_owner(home)
    page = open_page("sign-in?next=/t/acme/settings")
    late: list[Route] = []
    page.route("**/htmx.min.js*", lambda route: late.append(route))
    sign_in(page)
    page.get_by_role("button", name="Choose the plan month").click(no_wait_after=True)
    assert late, "htmx is waited for"
    late[0].continue_()
    expect(page.get_by_role("dialog")).to_contain_text("What is older goes for good")


@pytest.mark.parametrize(("width", "scheme"), DESK)
def test_the_pages_are_accessible_at_every_size(
    home: Home, open_page: Callable[..., Page], tmp_path: Path, scheme: str, width: int
) -> None:
    """Doors, account and members: axe finds nothing, and nothing sticks out of a small phone."""
    add_owner(home)
    page = open_page("account", viewport={"width": width, "height": 800}, color_scheme=scheme)
    check_access(page)
    sign_in(page)
    for path in ("account", "account/second-factor", "people", "settings"):
        page.goto(f"/t/acme/{path}")
        page.screenshot(path=tmp_path / f"{path.replace('/', '-')}-{scheme}-{width}.png", full_page=True)
        check_access(page)
    page.context.clear_cookies()
    page.goto("/t/acme/reset")
    check_access(page)
