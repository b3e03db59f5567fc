"""The pages of the agent in a real browser: the preview that follows, questions and answers, trying it."""

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from ruma.config import load_settings
from ruma.ingest.pairs import save_pair
from ruma.tenant.home import Home
from tests.browser.test_chat_page import WRITTEN
from tests.browsing import enter, needs_chromium, watched_page
from tests.serving import EMBEDDER, FLAGS, QUESTION, Running, make_tenant

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home with a tenant that has a pair."""
    home = Home(load_settings({"home": tmp_path_factory.mktemp("home"), **FLAGS}, {}))
    make_tenant(home)
    with home.open("acme") as tenant:
        save_pair("Is there parking?", "Behind the shop.\n\nFree for an hour.", tenant, EMBEDDER)
    return home


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Running]:
    """Return its server."""
    with Running(home.settings.home, WRITTEN, "0.02") as running:
        yield running


@pytest.fixture(params=[("light", 1280), ("dark", 390)], ids=["light desk", "dark phone"])
def page(browser: Browser, home: Home, server: Running, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Return a page in which an editor is signed in; at the end nothing may have gone wrong on it."""
    scheme, width = request.param
    with watched_page(
        enter(browser, home, server, color_scheme=scheme, viewport={"width": width, "height": 860})
    ) as page:
        yield page


def visit(page: Page, place: str) -> None:
    """Open a member's page."""
    page.goto(f"/t/acme/{place}")
    page.wait_for_selector("body[data-ready]")


def test_the_preview_follows_what_is_typed(page: Page) -> None:
    """Name, greeting, questions and colour are shown at once, and nothing is stored until it is saved."""
    visit(page, "agent")
    frame = page.frame_locator("#agent-preview")
    expect(frame.locator("h1")).to_have_text("Marrowby Bakery")

    page.fill("#field-name", "Crumb")
    page.fill("#field-greeting", "Good <b>morning</b>!")
    page.fill("#field-questions", "Open today?\nVegan bread?")
    page.fill("#field-accent", "#8a2be2")

    expect(frame.locator("h1")).to_have_text("Crumb")
    expect(frame.locator(".greeting .text")).to_have_text("Good <b>morning</b>!")
    expect(frame.locator(".suggestion")).to_have_text(["Open today?", "Vegan bread?"])
    expect(frame.locator("#look")).to_have_attribute("href", "/t/acme/look.css?accent=8a2be2&theme=auto")
    page.reload()
    expect(page.locator("#field-name")).to_have_value("Marrowby Bakery")


def test_the_agent_is_saved_without_leaving_the_page(page: Page) -> None:
    """The page comes again with what was saved and says so; a mistake stands beside its field."""
    visit(page, "agent")
    page.fill("#field-websites", "https://shop.example/menu")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#problem-websites")).to_contain_text("https://shop.example")

    page.fill("#field-websites", "https://shop.example")
    page.get_by_role("button", name="Save").click()

    expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
    expect(page.locator("#field-websites")).to_have_value("https://shop.example")
    expect(page.frame_locator("#agent-preview").locator("h1")).to_have_text("Marrowby Bakery")


def test_an_answer_is_tried_and_improved(page: Page) -> None:
    """From a declined answer one button leads to a form with the question, and from then on it is answered so."""
    question = f"Do you sell swords at {page.viewport_size['width'] if page.viewport_size else 0} metres?"
    visit(page, "try")
    page.get_by_label("Ask as a visitor would").fill(question)
    page.get_by_role("button", name="Ask").click()
    page.get_by_role("link", name="Improve this answer").click()
    expect(page.get_by_label("Question", exact=True)).to_have_value(question)
    page.get_by_label("Answer", exact=True).fill("Bread knives only.")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("link", name=question, exact=True)).to_be_visible()

    visit(page, "try")
    page.get_by_label("Ask as a visitor would").fill(question)
    page.get_by_role("button", name="Ask").click()

    expect(page.locator(".told")).to_have_text("Bread knives only.")


def test_an_answer_is_seen_while_it_is_written(page: Page) -> None:
    """The evidence with its scores is there first, then the text, at the end the times; a follow-up goes on in it."""
    visit(page, "try")
    page.get_by_label("Answer mode").select_option("Write")
    page.get_by_role("button", name=QUESTION).click()

    expect(page.locator(".told")).to_contain_text("Sentence number 1")
    expect(page.locator(".evidence blockquote").first).to_have_text("Delivery to Marrowby costs £2.50.")
    expect(page.locator(".evidence .score").first).to_have_text(re.compile(r"Score\s+[0-9]\.[0-9]{2}"))
    assert page.locator("[data-part=answer]").get_attribute("aria-busy") == "true"
    expect(page.locator(".facts")).to_contain_text("Search")
    expect(page.locator(".facts")).not_to_contain_text("Together")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status")).to_have_text("Stopped. Nothing of it is kept.")
    expect(page.get_by_label("Ask as a visitor would")).to_be_focused()

    page.get_by_label("Answer mode").select_option("Quote")
    page.get_by_label("Ask as a visitor would").fill("When does the shop open?")
    page.keyboard.press("Enter")
    expect(page.locator(".facts")).to_contain_text(re.compile(r"Support\s*[0-9.]+ of 0\.98 needed"))
    expect(page.locator(".facts")).to_contain_text(re.compile(r"Search\s*[0-9]+ ms.*Together\s*[0-9]+ ms"))
    page.get_by_label("And then?").fill("and on Sundays?")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Understood as: When does the shop open? and on Sundays?")).to_be_visible()


def test_what_was_tried_and_is_gone_is_said(page: Page, home: Home) -> None:
    """The question is still in its field, and asking again begins anew."""
    visit(page, "try")
    page.get_by_label("Ask as a visitor would").fill(QUESTION)
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_label("And then?")).to_be_visible()
    with home.open("acme") as tenant, tenant.writing() as db:
        db.execute("delete from conversation")

    page.get_by_label("And then?").fill("and on Sundays?")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("alert")).to_contain_text("Ask again to begin anew.")
    page.get_by_role("button", name="Ask").click()

    expect(page.locator(".facts")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_pair_is_removed_after_a_question(page: Page, home: Home) -> None:
    """The dialog has the way out first; going on removes it."""
    question = f"Shall it go at {page.viewport_size}?"
    with home.open("acme") as tenant:
        save_pair(question, "Yes.", tenant, EMBEDDER)
    visit(page, "pairs")
    page.get_by_role("button", name=f"Remove: {question}").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()

    expect(page.get_by_role("link", name=question, exact=True)).to_have_count(0)


def test_visitors_read_the_business_s_own_words_whole(page: Page) -> None:
    """On the chat page the answer keeps its paragraphs and names the question as its source."""
    page.goto("/t/acme/")
    page.wait_for_selector("body[data-ready]")
    page.check("[name=keep]")  # else nothing of it is there after the page is loaded again
    page.fill("#question", "is there parking")
    page.keyboard.press("Enter")

    message = page.locator(".message.agent[data-mode=pair]")
    expect(message.locator(".text p")).to_have_text(["Behind the shop.", "Free for an hour."])
    expect(message.locator(".source .title")).to_have_text("Is there parking?")
    expect(message.locator(".source .quote")).to_be_hidden()
    page.reload()
    expect(message.locator(".text p")).to_have_text(["Behind the shop.", "Free for an hour."])


@pytest.mark.parametrize("place", ["agent", "pairs", "pairs/new", "try", "tried"])
def test_everybody_can_use_the_pages(page: Page, place: str) -> None:
    """axe-core finds nothing, and nothing is wider than the window."""
    visit(page, place.replace("tried", "try"))
    if place == "tried":
        page.get_by_label("Ask as a visitor would").fill(QUESTION)
        page.get_by_role("button", name="Ask").click()
        expect(page.locator(".facts")).to_contain_text("Together")

    found = Axe().run(page, options={"iframes": False})

    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
