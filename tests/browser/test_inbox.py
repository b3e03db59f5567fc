"""The inbox in a real browser: a person replies and the visitor reads it, an answer is improved, nothing moves."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from ruma.tenant.conversing.conversations import OpenConversation, add_exchange, begin_conversation
from ruma.tenant.conversing.inbox import ask_for_person, list_conversations
from ruma.tenant.home import Home
from tests.browsing import DESK, enter, needs_chromium, watched_page
from tests.filling import fill_inbox
from tests.harness.hostile_words import exchange_words, fill_everything
from tests.serving import Running, renew_tenant

GLUTEN = "Do you bake without gluten?"

SHOWING = ["overview", "conversations", "sources", "people"]
"""Pages that show what somebody wrote."""

WITH_SCRIPTS = ["agent", "try"]
"""Pages with scripts of their own, which get words from their pages; all pages are looked at in test_h_pages.py."""

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a running server."""
    with Running(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def home(server: Running) -> Home:
    """Return its home, with a new tenant."""
    return renew_tenant(server)


@pytest.fixture
def page(browser: Browser, home: Home, server: Running) -> Iterator[Page]:
    """Return a window of an editor; at the end nothing may have gone wrong in it."""
    with watched_page(enter(browser, home, server)) as page:
        yield page


def go(page: Page, place: str) -> None:
    """Open a page of the tenant."""
    page.goto(f"/t/acme/{place}")
    page.wait_for_selector("body[data-ready]")


def store_chat(home: Home, question: str = GLUTEN, *, person: str = "") -> OpenConversation:
    """Store a conversation with a declined question, in which a person was asked for where there is a message."""
    with home.open("acme") as tenant:
        chat = begin_conversation()
        add_exchange(tenant, chat, question, "I could not find this.", mode="quote", is_declined=True, citations=[])
        if person:
            ask_for_person(tenant, chat, name="Ana Costa", email="", message=person)
    return chat


def ask_api(page: Page, path: str, secret: str = "", **sent: Any) -> Any:
    """Send a request as a visitor, from a window that knows no member, and return the answer."""
    headers = {"Content-Type": "application/json", **({"X-Ruma-Conversation": secret} if secret else {})}
    options = {"data": json.dumps(sent)} if sent else {}
    response = page.request.fetch(f"/t/acme/api/{path}", method="POST" if sent else "GET", headers=headers, **options)
    return response.json()


def test_a_persons_reply_reaches_the_visitor(browser: Browser, home: Home, server: Running, page: Page) -> None:
    """From the visitor's question to the hand-over, the overview, the reply, and back to the visitor."""
    visitor = browser.new_context(base_url=f"http://127.0.0.1:{server.port}").new_page()
    done = ask_api(visitor, "chat", question="Which satellites orbit Neptune backwards?")
    secret = done["conversation"]
    ask_api(visitor, "conversation/person", secret, name="Ana Costa", email="", message="Please tell me.")

    go(page, "overview")
    expect(page.locator(".side .count")).to_have_text("1")
    page.get_by_role("link", name="Ana Costa").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ana Costa")
    page.get_by_label("Your reply").fill("Triton does.\nIt is the largest.")
    page.get_by_role("button", name="Send the reply").click()

    expect(page.get_by_role("status").filter(has_text="Sent.")).to_be_visible()
    expect(page.locator(".turn.by-person .turn-words")).to_have_text("Triton does.\nIt is the largest.")
    seen = ask_api(visitor, "conversation", secret)
    assert (seen["messages"][-1]["role"], seen["messages"][-1]["text"]) == (
        "person",
        "Triton does.\nIt is the largest.",
    )
    expect(page.locator(".side .count")).to_have_count(0)


def test_an_answer_is_improved_from_the_conversation(home: Home, page: Page) -> None:
    """From a declined question to a pair, and the same question is answered with the business's own words."""
    chat = store_chat(home)

    go(page, f"conversations/{chat.id}")
    page.get_by_role("link", name="Improve this answer").click()
    expect(page.locator("#field-question")).to_have_value(GLUTEN)
    page.locator("#field-answer").fill("Yes: a flourless chocolate cake.")
    page.locator("main form").get_by_role("button").first.click()
    page.wait_for_url(re.compile(r"done="))

    answer = ask_api(page, "chat", question=GLUTEN, channel="page")
    assert not answer["is_declined"]
    assert "flourless chocolate cake" in answer["text"]


def test_new_messages_come_without_moving_the_page(home: Home, page: Page) -> None:
    """An open conversation gets what the visitor writes, keeps what is being typed and where the reader looks."""
    chat = store_chat(home, person="Are you there?")
    page.clock.install()
    go(page, f"conversations/{chat.id}")
    page.get_by_label("Your reply").fill("I am wri")
    first = page.locator(".turn").first
    before = first.bounding_box()
    with home.open("acme") as tenant:
        add_exchange(tenant, chat, "One more thing?", "No.", mode="quote", is_declined=True, citations=[])

    page.clock.run_for(11_000)

    expect(page.get_by_text("One more thing?")).to_be_visible()
    expect(page.get_by_label("Your reply")).to_have_value("I am wri")
    expect(page.get_by_label("Your reply")).to_be_focused()
    assert first.bounding_box() == before
    expect(page.locator(".turn")).to_have_count(5)


def test_deleting_asks_first(home: Home, page: Page) -> None:
    """The way out has the focus; only going on deletes, and leads back to the inbox."""
    chat = store_chat(home)
    go(page, f"conversations/{chat.id}")
    page.get_by_text("Export or delete").click()
    delete = page.get_by_role("button", name="Delete this conversation")

    delete.click()
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    with home.open("acme") as tenant:
        assert list_conversations(tenant).total == 1
    delete.click()
    page.get_by_role("dialog").get_by_role("button").last.click()

    expect(page.get_by_text("Deleted.")).to_be_visible()
    with home.open("acme") as tenant:
        assert list_conversations(tenant).total == 0


def test_an_export_is_a_download(home: Home, page: Page) -> None:
    """The file comes under the conversation's name, and the page stays."""
    chat = store_chat(home)
    go(page, f"conversations/{chat.id}")
    page.get_by_text("Export or delete").click()

    with page.expect_download() as waiting:
        page.get_by_role("link", name="Text").click()

    assert waiting.value.suggested_filename == f"conversation-{chat.id}.txt"
    assert GLUTEN in Path(waiting.value.path()).read_text("utf-8")


def test_h57_hostile_words_do_nothing_on_members_pages(browser: Browser, home: Home, server: Running) -> None:
    """What anybody wrote opens no dialog, sends no request elsewhere, breaks no policy and is there to be read."""
    with home.open("acme") as tenant:
        numbers = fill_everything(tenant)
        exchange_words(tenant)
    context, requested = enter(browser, home, server, "owner"), list[str]()
    context.on("request", lambda request: requested.append(request.url))

    with watched_page(context) as page:
        for place in (
            *SHOWING,
            f"conversations/{numbers['conversation_id']}",
            f"pairs/{numbers['pair_id']}",
            *WITH_SCRIPTS,
        ):
            go(page, place)
            if place not in WITH_SCRIPTS:
                expect(page.locator("main")).to_contain_text("<img src=x onerror=alert(1)>")

    assert all(re.match(r"http://127\.0\.0\.1:\d+/(t/acme|static)/", url) for url in requested)


@pytest.mark.parametrize(("width", "scheme"), DESK)
def test_the_pages_fit_and_are_accessible(
    browser: Browser, home: Home, server: Running, width: int, scheme: Any, tmp_path: Path
) -> None:
    """On a phone and on a desk, light and dark, nothing is wider than the window and axe finds nothing."""
    chat = store_chat(home, "x" * 300, person="Please call me back.")
    with home.open("acme") as tenant:
        fill_inbox(tenant, 40, days=9)
    context = enter(
        browser, home, server, "owner", viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()

    for place in (
        "overview",
        "usage?days=365",
        "conversations",
        "conversations?answers=unanswered",
        f"conversations/{chat.id}",
        "settings",
    ):
        go(page, place)
        page.screenshot(path=tmp_path / f"{re.sub('[^a-z]', '-', place)}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
        found = Axe().run(page)
        assert found.violations_count == 0, f"{place}: {found.generate_report()}"
    context.close()


def test_the_inbox_works_by_keyboard_alone(home: Home, page: Page) -> None:
    """From the search to a conversation and its reply without a mouse."""
    store_chat(home, "Where is the courtyard?")
    store_chat(home)
    go(page, "conversations")

    page.get_by_role("searchbox").focus()
    page.keyboard.type("courtyard")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("text=courtyard"))
    expect(page.locator(".inbox-row")).to_have_count(1)
    page.locator(".inbox-row").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Your reply").focus()
    page.keyboard.type("Behind the shop.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.locator(".turn.by-person")).to_have_count(1)
