"""The pages about privacy in a real browser: what an owner does there in a day, by mouse and by keyboard alone."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from ruma.config import load_settings
from ruma.connections import Attempt, Ending
from ruma.privacy.erasing import erase_conversation
from ruma.privacy.requests import receive_request, today
from ruma.tenant.connections import TenantLedger
from ruma.tenant.conversing.conversations import OpenConversation, add_exchange, begin_conversation
from ruma.tenant.conversing.inbox import ask_for_person, list_conversations
from ruma.tenant.erasing.receipts import list_receipts
from ruma.tenant.home import Home
from ruma.tenant.keeping.holds import set_hold
from tests.browsing import PHONE, enter, needs_chromium, watched_page
from tests.serving import FLAGS, Running, make_tenant, sign_in

pytestmark = needs_chromium

LONG = "a-name-without-any-blank." * 4 + "example"
PLACES = (
    "data",
    "data/requests?show=all",
    "data/requests/1",
    "data/exports",
    "data/erasures?find=oven",
    "data/erasures/1",
    "data/audit?check=yes",
    "data/audit?since=2200-01-01",
    "data/connections",
    "privacy",
)
"""Every page about privacy, in each of its states."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home whose tenant has an owner, an editor, a viewer and a visitor's request."""
    home = Home(load_settings({"home": tmp_path_factory.mktemp("home"), **FLAGS}, {}))
    make_tenant(home)
    with home.open("acme") as tenant:
        for role in ("owner", "editor", "viewer"):
            sign_in(tenant, role)
    return home


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Running]:
    """Return its running server."""
    with Running(home.settings.home) as running:
        yield running


@pytest.fixture(scope="module")
def page(browser: Browser, home: Home, server: Running) -> Iterator[Page]:
    """Return the window of an owner who reads German, one for all; at the end nothing may have gone wrong in it."""
    expect.set_options(timeout=60_000)  # a password of an export, and the check of the policy, take their time
    with watched_page(enter(browser, home, server, "owner", locale="de-DE")) as page:
        yield page
    expect.set_options(timeout=5_000)


def go(page: Page, place: str) -> None:
    """Open a page of the tenant."""
    page.goto(f"/t/acme/{place}")
    if place != "privacy":  # which no script touches
        page.wait_for_selector("body[data-ready]")


def store_chat(home: Home, question: str, email: str = "") -> OpenConversation:
    """Store a conversation; with an address, a person was asked for."""
    with home.open("acme") as tenant:
        chat = begin_conversation("widget")
        add_exchange(tenant, chat, question, "Yes.", mode="quote", is_declined=False, citations=[])
        if email:
            ask_for_person(tenant, chat, name="Ana Costa", email=email, message="Please call me.")
    return chat


def confirm(page: Page, label: str) -> None:
    """Go on where a dialog asks."""
    page.get_by_role("dialog").get_by_role("button", name=label, exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def expect_logged(page: Page, *actions: str) -> None:
    """Look at the audit log for what the owner did, the newest first."""
    go(page, "data/audit?actor=member+1")
    expect(page.get_by_label("Who", exact=True).locator("option:checked")).to_have_text("The owner")
    assert page.locator(".audit-list [data-label=What]").all_inner_texts()[: len(actions)] == list(actions)


def test_an_export_is_made_fetched_and_removed(page: Page) -> None:
    """With a password, while the page is open; the file is sealed, and gone from the list after a yes."""
    go(page, "data/exports")
    expect(page.get_by_text("No export was made yet")).to_be_visible()
    expect(page.get_by_label("Member", exact=True)).to_be_hidden()
    page.get_by_label("What is stored about a member").check()
    page.get_by_label("Member", exact=True).select_option(label="The viewer (viewer@acme.example)")
    page.get_by_label("Password of the file").fill("short")
    page.get_by_role("button", name="Make the export").click()
    expect(page.get_by_role("alert")).to_contain_text("password")
    expect(page.get_by_label("What is stored about a member")).to_be_checked()
    page.get_by_label("Password of the file").fill("nine croissants for the mayor")
    page.get_by_role("button", name="Make the export").click()

    row = page.locator("#export-list tbody tr")
    expect(row).to_contain_text("The viewer password")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download export 1").click(timeout=20_000)
    assert Path(waiting.value.path()).read_bytes().startswith(b"age-encryption.org/v1\n")
    page.get_by_role("button", name="Remove export 1").click()
    confirm(page, "Remove")

    expect(page.get_by_text("No export was made yet")).to_be_visible()
    expect_logged(page, "Export removed", "Export fetched", "Export asked")


def test_a_request_is_due_and_done(home: Home, page: Page) -> None:
    """A visitor's comes with a date, one by telephone is late; both are counted until they are closed."""
    chat = store_chat(home, "Do you sell rye?")
    sent = {"kind": "objection", "contact": "ana@example.com", "note": "No statistics, please."}
    headers = {"X-Ruma-Conversation": chat.secret}
    page.request.post("/t/acme/api/conversation/requests", data=sent, headers=headers)
    go(page, "data/requests")
    row = page.locator("tbody tr", has_text="ana@example.com")
    expect(row.locator("time").first).to_have_text(f"{today():%d.%m.%Y}")
    expect(page.locator(".tabs .count")).to_have_text("1")
    page.get_by_label("How to reach who asks").fill("+49 30 1234")
    page.get_by_label("The day that it came").fill((today() - timedelta(days=40)).isoformat())
    page.get_by_role("button", name="Enter it").click()
    expect(page.get_by_text("overdue")).to_be_visible()
    expect(page.locator(".tabs .count")).to_have_text("2")

    for number in (2, 1):
        go(page, f"data/requests/{number}")
        page.get_by_label("What was done, or why it is refused").fill("Told by telephone.")
        page.get_by_role("button", name="It is done").click()
        expect(page.get_by_text("Closed.")).to_be_visible()

    expect(page.get_by_text("None is open.")).to_be_visible()
    expect(page.locator(".count")).to_have_count(0)
    page.get_by_role("link", name="Show the closed ones, too").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    expect_logged(page, "Request closed", "Request closed", "Request received")


def test_what_is_held_cannot_be_deleted(home: Home, page: Page) -> None:
    """While a hold is on a conversation deleting says why not; after its end it goes."""
    chat = store_chat(home, "Was there glass in the bread?")
    go(page, f"data?conversation={chat.id}")
    page.get_by_label("Why it must be kept").fill("A case at the county court.")
    page.get_by_role("button", name="Set the hold").click()
    expect(page.locator("tr", has_text="A case at the county court.")).to_contain_text("by The owner")

    go(page, f"conversations/{chat.id}")
    expect(page.get_by_text("It is kept and cannot be deleted")).to_be_visible()
    expect(page.get_by_role("button", name="Delete this conversation")).to_have_count(0)
    csrf = page.locator("body").get_attribute("data-csrf") or ""
    refused = page.request.post(f"/t/acme/conversations/{chat.id}/delete", form={}, headers={"X-Ruma-CSRF": csrf})
    assert refused.status == 409
    go(page, "data")
    page.get_by_role("button", name=f"End the hold on conversation {chat.id}").click()
    confirm(page, "End the hold")
    expect(page.get_by_text("A case at the county court.")).to_have_count(0)
    go(page, f"conversations/{chat.id}")
    page.get_by_text("Export or delete").click()
    page.get_by_role("button", name="Delete this conversation").click()
    page.get_by_role("dialog").get_by_role("button").last.click()

    expect(page.get_by_text("Deleted.")).to_be_visible()
    expect_logged(page, "Conversation erased", "Hold ended", "Hold set")


def tab_to(page: Page, wanted: Locator) -> None:
    """Press the tabulator until it is there: each stop on the way can be seen, and shows that it has the focus."""
    seen = """() => { const one = document.activeElement, box = one.getBoundingClientRect();
        const style = getComputedStyle(one);
        const track = one.matches(".switch input") ? getComputedStyle(one.nextElementSibling) : style;
        return box.width > 0 && box.height > 0 && track.outlineStyle !== "none" ? "" : one.outerHTML }"""
    for _ in range(40):
        page.keyboard.press("Tab")
        assert page.evaluate(seen) == ""
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"the tabulator never comes to {wanted}")


def test_a_visitor_is_erased_by_keyboard_alone(home: Home, page: Page) -> None:
    """Found, chosen, asked back with the way out first, erased; the receipt is there, and the log has it."""
    mine, other = store_chat(home, "Is the oven hot?", "eva@example.com"), store_chat(home, "And the other oven?")
    go(page, "data/erasures")
    tab_to(page, page.get_by_label("Address, number or words"))
    page.keyboard.type("oven")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("find=oven"))
    tab_to(page, page.get_by_role("checkbox", name=f"Conversation {mine.id}"))
    page.keyboard.press("Space")
    erase = page.get_by_role("button", name="Erase what is ticked")
    tab_to(page, erase)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('dialog, body').matches('dialog') || !document.hasFocus()"
                             " || document.activeElement === document.body")  # fmt: skip
    page.keyboard.press("Escape")
    expect(erase).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, dialog.get_by_role("button", name="Erase", exact=True))
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name=f"Erased: the visitor of conversation {mine.id}")).to_be_visible()
    expect(page.get_by_text("Erased. This is the receipt.")).to_be_visible()
    expect(page.locator("#main")).to_be_focused()
    expect(page.locator(".facts")).to_contain_text("The owner")
    tab_to(page, page.get_by_role("button", name="Look again now"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Looked again: nothing is left")).to_be_visible()
    with home.open("acme") as tenant:
        left = [one.id for one in list_conversations(tenant).conversations]
        assert other.id in left
        assert mine.id not in left
        assert list_receipts(tenant)[0].signed
    expect_logged(page, "Visitor erased")


@pytest.mark.parametrize("role", ["editor", pytest.param("viewer", marks=pytest.mark.nightly)])
def test_others_see_what_they_may(browser: Browser, home: Home, server: Running, role: str) -> None:
    """Editors and viewers find receipts and the policy and no way to more; their own data they take along."""
    with watched_page(enter(browser, home, server, role)) as page:
        go(page, "overview")
        page.locator("#places").get_by_role("link", name="Privacy").click()
        expect(page.get_by_role("heading", name="Receipts")).to_be_visible()
        expect(page.locator(".tabs a")).to_have_count(2)
        expect(page.get_by_label("Address, number or words")).to_have_count(1 if role == "editor" else 0)
        page.get_by_role("link", name="Policy and connections").click()
        expect(page.get_by_role("heading", name="Who was connected to")).to_be_visible()
        expect(page.get_by_role("button", name="Check it now")).to_have_count(0)
        for place in ("data", "data/requests", "data/exports", "data/audit"):
            assert page.request.get(f"/t/acme/{place}").status == 403, place
        page.locator(".who").get_by_role("link").click()
        with page.expect_download() as waiting:
            page.get_by_role("link", name="Download your data").click()
        assert waiting.value.suggested_filename.startswith("ruma-my-data-")


def test_the_policy_follows_the_settings(page: Page) -> None:
    """What an owner writes under Settings and Keep less stands in the public policy, without signing in."""
    go(page, "data")
    page.get_by_label("Conversations", exact=True).fill("90")
    page.locator("form", has_text="Receipts and requests").get_by_role("button", name="Save").click()
    confirm(page, "Save")
    expect(page.get_by_text("Saved.")).to_be_visible()
    go(page, "settings")
    page.get_by_label("Name", exact=False).first.fill("The Marrowby Bakery")
    page.get_by_label("Address for visitors").fill("hello@marrowby.example")
    page.get_by_role("button", name="Save").first.click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    go(page, "data/connections")
    page.get_by_role("button", name="Check it now").click()
    expect(page.get_by_text("Each statement that a program can check was true")).to_be_visible()

    go(page, "data/audit")
    page.get_by_label("What", exact=True).select_option(label="Policy")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(re.compile("thing=policy"))
    expect(page.locator(".audit-list")).to_contain_text("Policy changed")

    page.context.clear_cookies()
    go(page, "privacy")

    expect(page.get_by_role("heading", level=1)).to_have_text("Privacy policy of The Marrowby Bakery")
    expect(page.locator("main")).to_contain_text("Conversations: 90 days after the last message")
    expect(page.locator("main")).to_contain_text("hello@marrowby.example")
    expect(page.get_by_role("link", name="version 1")).to_be_visible()


def fill(home: Home) -> None:
    """Store what makes a row on each page, with names that are long and have no blank."""
    store_chat(home, f"Where is the oven {LONG}?", f"{LONG[:60]}@example.com")
    with home.open("acme") as tenant:
        for days in (40, 26, 1):
            receive_request(
                tenant,
                kind="access",
                origin="member",
                contact=f"{LONG[:60]}@{LONG}.com",
                note=LONG,
                received_on=today() - timedelta(days=days),
            )
        set_hold(tenant, f"For {LONG}", conversation_id=list_conversations(tenant).conversations[0].id)
        ledger = TenantLedger(tenant)
        number = ledger.begin(Attempt("2026-11-25T10:00:00Z", "mail: a reply to a visitor", f"{LONG}.example", 587))
        ledger.end(number, Ending("failed", "The server said no.", "203.0.113.9", 1234, 99, 5))


@pytest.mark.parametrize(("width", "scheme"), PHONE)
def test_the_pages_fit_and_are_accessible(
    browser: Browser, home: Home, server: Running, width: int, scheme: Any, request: pytest.FixtureRequest
) -> None:
    """On a phone and on a desk, light and dark, nothing is wider than the window and axe finds nothing."""
    is_nightly = request.node.get_closest_marker("nightly")
    folder: Path | None = request.getfixturevalue("tmp_path") if is_nightly else None
    fill(home)
    with home.open("acme") as tenant:
        if not list_receipts(tenant):
            erase_conversation(tenant, store_chat(home, "What goes?").id)
    viewport = {"width": width, "height": 800}
    context = enter(browser, home, server, "owner", viewport=viewport, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()

    for place in PLACES:
        go(page, place)
        if folder:
            page.screenshot(path=folder / f"{re.sub('[^a-z]', '-', place)}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
        assert page.evaluate("[...document.querySelectorAll('.tabs [aria-current]')].every((one) => "
                             "one.getBoundingClientRect().right <= innerWidth)"), place  # fmt: skip
        found = Axe().run(page)
        assert found.violations_count == 0, f"{place}: {found.generate_report()}"
    context.close()
