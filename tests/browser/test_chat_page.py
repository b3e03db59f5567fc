"""The chat page in a real browser: what a visitor sees, hears and can do, and what a hostile document cannot."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from ruma.config import load_settings
from ruma.tenant.agents import change_agent
from ruma.tenant.conversing.consents import change_keeping
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents, remove_documents
from tests.browsing import needs_chromium
from tests.payloads import MARKUP
from tests.serving import QUESTION, Running, make_tenant, store

PRICE = "Delivery to Marrowby costs £2.50."
ELSEWHERE = "Which satellites orbit Neptune backwards?"
WRITTEN = " ".join([f"Sentence number {number} is written here [1]." for number in range(20)])

pytestmark = needs_chromium

NewPage = Callable[..., Page]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server of three tenants: one that quotes, one that writes slowly, one of hostile documents."""
    folder = tmp_path_factory.mktemp("home")
    home = Home(load_settings({"home": folder, "key_source": "machine"}, {}))
    make_tenant(home)
    make_tenant(home, "writing", mode="write")
    home.create("empty")
    with home.open("empty") as tenant:
        change_agent(tenant, is_published=True)
    home.create("hostile")
    with home.open("hostile") as tenant:
        for number, payload in enumerate(MARKUP):
            sections = [(f"Heading {payload}", 1, [f"Zebra{number} says {payload}."])]
            store(tenant, f"{number}{payload}", f"Title {payload}", sections)
        hostile = " ".join(MARKUP)
        change_agent(
            tenant,
            name=hostile,
            greeting=hostile,
            questions=tuple(MARKUP[:10]),
            decline=hostile,
            mode="quote",
            is_published=True,
        )
    for name in home.names():
        with home.open(name) as tenant:
            change_keeping(tenant, "unless_refused")
    with Running(folder, WRITTEN, "0.02") as running:
        yield running


@pytest.fixture
def open_page(browser: Browser, server: Running) -> Iterator[NewPage]:
    """Return a function that opens a tenant's page; at the end nothing may have gone wrong on any."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def note_request(request: Request) -> None:
        if not request.url.startswith(f"http://127.0.0.1:{server.port}/"):
            wrong.append(f"a request to {request.url}")

    def watch(page: Page) -> None:
        page.on("dialog", lambda dialog: wrong.append(f"a dialog: {dialog.message}"))
        page.on("pageerror", lambda error: wrong.append(f"an error: {error}"))
        page.on("console", lambda message: wrong.append(message.text) if "Policy" in message.text else None)

    def open_page(path: str = "/t/acme/", **options: Any) -> Page:
        context = browser.new_context(base_url=f"http://127.0.0.1:{server.port}", **options)
        contexts.append(context)
        context.on("request", note_request)
        context.on("page", watch)
        page = context.new_page()
        page.goto(path)
        if options.get("java_script_enabled", True) and page.locator("body.chat").count():
            page.wait_for_selector("body[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def ask(page: Page, question: str = QUESTION) -> None:
    """Type a question and send it with Enter."""
    page.get_by_label("Your question").fill(question)
    page.get_by_label("Your question").press("Enter")


def wait_until_done(page: Page) -> None:
    """Wait until no answer is being made."""
    expect(page.locator("#log")).not_to_have_attribute("aria-busy", "true")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def count_closed(page: Page, server: Running) -> int:
    """Return how many written answers have ended, once those that a test before left behind have, too."""
    count = -1
    while count != len(server.journal()):
        count = len(server.journal())
        page.wait_for_timeout(500)
    return count


def last(page: Page) -> Any:
    """Return the last answer on the page."""
    return page.locator(".message.agent").last


def words(text: str) -> str:
    """Return a text with single spaces, as a page shows it."""
    return " ".join(text.split())


def shape(page: Page) -> list[Any]:
    """Return the answers on a page: their state, and each element's tag, class, link and own words."""
    return page.evaluate(
        """() => [...document.querySelectorAll(".message.agent:not(.greeting), .message.visitor")].map((message) =>
            [message.dataset.mode ?? "", message.hasAttribute("data-declined"),
             ...[...message.querySelectorAll(".words, .text, .text *, .sources *")].map((element) =>
                [element.tagName, element.className, element.getAttribute("href") ?? "",
                 element.textContent.replace(/\\s+/g, " ").trim()])])"""
    )  # type: ignore[no-any-return]


def test_a_question_gets_its_quote_and_the_quote_its_place(open_page: NewPage) -> None:
    """Enter sends; the quote appears with its document, heading and page; its link shows the words marked."""
    page = open_page()

    ask(page)
    source = page.locator(".source").first
    expect(source.locator(".quote")).to_have_text(PRICE)
    expect(source.locator(".where")).to_contain_text(re.compile(r"Delivery.*Prices.*Page 1", re.S))
    with page.context.expect_page() as opened:
        source.get_by_role("link").click()

    mark = opened.value.locator("mark#cited")
    expect(mark).to_have_text(PRICE)
    expect(mark).to_be_in_viewport()


def test_a_suggested_question_is_asked_by_a_click(open_page: NewPage) -> None:
    """The button's question is the visitor's first message, and the suggestions are gone."""
    page = open_page()

    page.get_by_role("button", name=QUESTION).click()

    expect(page.locator(".visitor .words")).to_have_text(QUESTION)
    expect(page.locator(".source .quote").first).to_have_text(PRICE)
    expect(page.get_by_role("button", name=QUESTION)).to_have_count(0)


def test_what_is_not_found_is_said_in_the_agents_words(open_page: NewPage) -> None:
    """A question that no document answers gets one sentence and no source."""
    page = open_page()

    ask(page, ELSEWHERE)

    expect(last(page).locator(".text")).to_have_text("I could not find this in the documents.")
    expect(last(page).locator(".source")).to_have_count(0)


def test_the_evidence_comes_before_the_words(open_page: NewPage) -> None:
    """While the model still writes, the quotes and a sign that it is at work are there; then the text with marks."""
    page = open_page("/t/writing/")

    ask(page)
    expect(page.locator(".source .quote").first).to_have_text(PRICE)
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(last(page).locator(".text")).to_contain_text("Sentence number 3 is written")
    expect(last(page).locator(".text a.mark").first).to_have_attribute("href", re.compile("#cited$"))
    assert page.locator("#log").get_attribute("aria-busy") == "true"


def test_the_page_is_busy_at_once(open_page: NewPage) -> None:
    """Within a tenth of a second of the key the question stands there with a sign of work, whatever the server does."""
    page = open_page()
    page.route("**/api/chat", lambda _: None)
    page.get_by_label("Your question").fill(QUESTION)

    seconds = page.evaluate(
        """async () => {
            const begun = performance.now();
            document.getElementById("ask").requestSubmit();
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            return document.querySelector(".visitor") && document.querySelector("[data-state=waiting] .dots")
                ?.checkVisibility() ? (performance.now() - begun) / 1000 : 99;
        }"""
    )

    assert seconds < 0.1


@pytest.mark.parametrize("way", ["button", "Escape"])
def test_an_answer_can_be_stopped(open_page: NewPage, server: Running, way: str) -> None:
    """The button and Escape stop the model; what was written stays, and the next question can be asked."""
    page = open_page("/t/writing/")
    before = count_closed(page, server)

    ask(page)
    expect(last(page).locator(".text")).to_contain_text("Sentence number 1")
    if way == "button":
        page.get_by_role("button", name="Stop").click()
    else:
        page.keyboard.press("Escape")
    wait_until_done(page)
    page.wait_for_timeout(300)

    assert len(server.journal()) == before + 1
    expect(last(page).locator(".note")).to_have_text("Stopped.")
    expect(last(page).locator(".text")).to_contain_text("Sentence number 1")
    expect(page.get_by_label("Your question")).to_be_focused()
    ask(page)
    expect(page.locator(".visitor")).to_have_count(2)


def test_leaving_the_page_stops_the_answer(open_page: NewPage, server: Running) -> None:
    """A visitor who closes the page frees the model."""
    page = open_page("/t/writing/")
    before = count_closed(page, server)

    ask(page)
    expect(last(page).locator(".text")).to_contain_text("Sentence number 1")
    page.goto("about:blank")
    page.wait_for_timeout(1000)

    assert len(server.journal()) == before + 1


def test_reloading_shows_the_same_conversation(open_page: NewPage) -> None:
    """What was said is there again after a reload, element by element, and a new tab begins anew."""
    page = open_page()
    for question in (QUESTION, ELSEWHERE):
        ask(page, question)
        wait_until_done(page)
    live = shape(page)

    page.reload()
    page.wait_for_selector("body[data-ready]")

    assert shape(page) == live
    assert len(live) == 4
    expect(open_page().locator(".visitor")).to_have_count(0)


def test_a_page_without_scripts_has_the_same_answer(open_page: NewPage) -> None:
    """The plain form gives the same elements with the same words, and goes on in the same conversation."""
    page, plain = open_page(), open_page(java_script_enabled=False)

    for question in (QUESTION, ELSEWHERE):
        ask(page, question)
        wait_until_done(page)
        plain.get_by_label("Your question").fill(question)
        plain.get_by_role("button", name="Send").click()
        plain.wait_for_load_state()

    assert shape(plain) == shape(page)
    expect(plain.locator(".visitor")).to_have_count(2)


def test_starting_over_forgets(open_page: NewPage) -> None:
    """The link leads to an empty page, and a reload does not bring the conversation back."""
    page = open_page()
    ask(page)
    wait_until_done(page)

    page.get_by_role("link", name="Start over").click()
    page.wait_for_selector("body[data-ready]")
    page.reload()
    page.wait_for_selector("body[data-ready]")

    expect(page.locator(".visitor")).to_have_count(0)
    expect(page.get_by_role("button", name=QUESTION)).to_be_visible()


def test_a_failure_is_told_and_can_be_tried_again(open_page: NewPage) -> None:
    """When the server cannot be reached the page says so, keeps the question, and asks it again on a click."""
    page = open_page()
    page.route("**/api/chat", lambda route: route.abort())
    ask(page)

    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    page.unroute("**/api/chat")
    page.get_by_role("button", name="Try again").click()

    expect(page.locator(".source .quote").first).to_have_text(PRICE)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator(".visitor")).to_have_count(1)


def test_an_answer_that_breaks_off_is_told(open_page: NewPage) -> None:
    """A stream that ends without its last event is an error, and the part that came stays."""
    page = open_page("/t/writing/")
    evidence = 'event: evidence\ndata: {"citations":[],"is_declined":false,"mode":"write"}\n\n'
    body = evidence + 'event: token\ndata: {"text":"Half of"}\n\n'
    page.route("**/api/chat", lambda route: route.fulfill(content_type="text/event-stream", body=body))

    ask(page)

    expect(page.get_by_role("alert")).to_contain_text("the answer is incomplete")


def test_an_error_of_the_stream_is_told(open_page: NewPage) -> None:
    """An error event's sentence is shown as text."""
    page = open_page("/t/writing/")
    body = 'event: error\ndata: {"error":{"code":"x","message":"<b>It broke.</b>","hint":"<img src=x>"}}\n\n'
    page.route("**/api/chat", lambda route: route.fulfill(content_type="text/event-stream", body=body))

    ask(page)

    expect(page.get_by_role("alert")).to_contain_text("<b>It broke.</b>")


def test_keys_do_what_is_expected(open_page: NewPage) -> None:
    """The field has the focus, and Shift+Enter makes a line where Enter sends."""
    page = open_page()
    field = page.get_by_label("Your question")
    expect(field).to_be_focused()

    field.type("one")
    field.press("Shift+Enter")
    field.type("two")
    assert field.input_value() == "one\ntwo"
    field.press("Enter")
    expect(page.locator(".visitor .words")).to_have_text("one\ntwo", use_inner_text=True)


def test_the_first_tab_leads_past_the_rest(open_page: NewPage) -> None:
    """Where the field has no focus of its own, the first Tab shows a link that leads to it."""
    page = open_page(is_mobile=True, has_touch=True)
    field = page.get_by_label("Your question")

    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the question")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.type("x")
    expect(field).to_have_value("x")


def test_a_screen_reader_hears_the_whole_answer_once(open_page: NewPage) -> None:
    """The live region says that work goes on, and then the complete answer, never its single words."""
    page = open_page("/t/writing/")
    page.evaluate(
        """() => { window.said = []; new MutationObserver(() => window.said.push(
            document.getElementById("status").textContent)).observe(
            document.getElementById("status"), { childList: true, characterData: true, subtree: true }); }"""
    )

    ask(page)
    expect(page.get_by_role("status")).to_contain_text("Sentence number 19", timeout=20_000)

    said = page.evaluate("window.said")
    assert len(said) == 2
    assert said[0] == "Looking in the documents…"
    assert said[1].startswith("Sentence number 0 is written here.")
    assert said[1].endswith("(1 source)")
    expect(page.locator("#log")).not_to_have_attribute("aria-live", "polite")


def test_every_control_has_a_name_and_every_page_its_headings(open_page: NewPage) -> None:
    """Buttons, links and fields are named; there is one main heading; no id stands twice."""
    page = open_page()
    ask(page)
    wait_until_done(page)

    nameless = page.evaluate(
        """() => [...document.querySelectorAll("a[href], button, textarea")].filter((element) =>
            !(element.textContent.trim() || element.getAttribute("aria-label") || element.labels?.length)).length"""
    )
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map((element) => element.id)")

    assert nameless == 0
    assert len(set(ids)) == len(ids)
    expect(page.locator("h1")).to_have_count(1)
    expect(page.locator("html")).to_have_attribute("lang", "en")


CONTRAST = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgb = (color) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data]; };
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => { for (; element; element = element.parentElement) {
        const color = getComputedStyle(element).backgroundColor; if (rgb(color)[3] === 255) return rgb(color); }
        return [255, 255, 255]; };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let worst = [99, ""];
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
        const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < worst[0]) worst = [ratio, walker.currentNode.textContent];
    }
    return worst;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_words_can_be_read_in_light_and_dark(open_page: NewPage, scheme: str) -> None:
    """Every text has a contrast of 4.5 to 1 or more: the chat with all its kinds of messages, and a document."""
    page = open_page(color_scheme=scheme)
    ask(page)
    wait_until_done(page)
    ask(page, ELSEWHERE)
    wait_until_done(page)
    page.route("**/api/chat", lambda route: route.abort())
    ask(page)
    expect(page.get_by_role("alert")).to_be_visible()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    link = page.locator(".place").first.get_attribute("href")
    assert link
    found = [page.evaluate(CONTRAST)]
    for path in (link, "/t/empty/", "/t/nobody/"):
        page.goto(path)
        found.append(page.evaluate(CONTRAST))

    assert min(found)[0] >= 4.5, found
    assert (int(re.findall(r"\d+", background)[0]) > 128) is (scheme == "light")


WIDEST = """() => [...document.querySelectorAll("*")].filter((element) =>
    element.getBoundingClientRect().right > innerWidth + 1).map((element) => element.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("width", [320, 390, 820])
def test_nothing_is_cut_off_on_a_phone(open_page: NewPage, width: int) -> None:
    """No page is wider than the screen; the field stays in sight while the answers scroll."""
    page = open_page(viewport={"width": width, "height": 640}, has_touch=True)
    for question in (QUESTION, "x" * 300, QUESTION, ELSEWHERE):
        ask(page, question)
        wait_until_done(page)
        expect(page.get_by_label("Your question")).to_be_in_viewport()
    link = page.locator(".place").first.get_attribute("href")
    assert link
    for path in ("", link, "/t/empty/", "/t/nobody/"):
        if path:
            page.goto(path)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        inner = page.evaluate("(document.getElementById('talk')?.scrollWidth ?? 0) - innerWidth")
        assert max(wide, inner) <= 0, (path, page.evaluate(WIDEST))


def test_a_long_answer_keeps_its_question_in_sight(open_page: NewPage) -> None:
    """The page follows the text, but no further than the question; who scrolls up is left in peace."""
    page = open_page("/t/writing/", viewport={"width": 390, "height": 500})
    ask(page)
    expect(last(page).locator(".text")).to_contain_text("Sentence number 12", timeout=20_000)

    expect(page.locator(".visitor").last).to_be_in_viewport(ratio=0.9)
    page.locator("#talk").hover()
    page.mouse.wheel(0, -2000)
    page.wait_for_timeout(300)
    at = page.evaluate("document.getElementById('talk').scrollTop")
    page.wait_for_timeout(300)
    assert page.evaluate("document.getElementById('talk').scrollTop") == at
    page.keyboard.press("Escape")


def test_motion_is_reduced_on_request(open_page: NewPage) -> None:
    """Nothing moves for who asked for that."""
    page = open_page("/t/writing/", reduced_motion="reduce")
    page.route("**/api/chat", lambda _: None)
    ask(page)

    assert page.evaluate("document.getAnimations().length") == 0


def test_hostile_words_do_nothing(open_page: NewPage, server: Running) -> None:
    """Titles, headings, quotes, names and questions that are markup are read, by scripts and without, as words.

    That nothing was run or loaded is checked at the end of every test.
    """
    page = open_page("/t/hostile/")
    expect(page.locator(".greeting .text")).to_have_text(words(" ".join(MARKUP)))
    for number, payload in enumerate(MARKUP):
        ask(page, f"What does Zebra{number} say? {payload}")
        wait_until_done(page)
        expect(page.locator(".visitor .words").last).to_have_text(words(f"What does Zebra{number} say? {payload}"))
    live = shape(page)
    quotes = " ".join(page.locator(".quote").all_text_contents())
    for number, payload in enumerate(MARKUP):
        assert f"Zebra{number} says {payload}." in quotes

    page.reload()
    page.wait_for_selector("body[data-ready]")

    assert shape(page) == live
    for link in {link.get_attribute("href") for link in page.locator(".place").all()}:
        page.goto(link or "")
        expect(page.locator("mark#cited")).to_be_visible()


def test_h58_a_hostile_stream_does_nothing_live_and_after_a_reload(open_page: NewPage) -> None:
    """A model that writes markup, letter by letter, and a server that lies about addresses, change no element.

    The page that was reloaded has the same ones.
    """
    page = open_page("/t/writing/")
    text = " ".join(MARKUP) + " [1] [2]"
    place = {"title": MARKUP[0], "heading": MARKUP[1], "page": MARKUP[2], "quote": MARKUP[3], "start": 0, "end": 1}
    places = [
        {**place, "number": 1, "document_id": 1, "url": "javascript:alert(1)"},
        {**place, "number": 2, "document_id": 1, "url": "//127.0.0.1:9/documents/"},
    ]

    def say(name: str, data: object) -> str:
        return f"event: {name}\ndata: {json.dumps(data)}\n\n"

    answer = {"citations": places, "is_declined": False, "mode": "write", "text": text, "conversation": "x"}
    asked = {"role": "visitor", "text": QUESTION, "citations": []}
    said = json.dumps({"is_kept": False, "messages": [asked, {**answer, "role": "agent", "id": 1}]})
    body = say("evidence", answer) + "".join(say("token", {"text": letter}) for letter in text) + say("done", answer)
    page.route("**/api/chat", lambda route: route.fulfill(content_type="text/event-stream", body=body))

    ask(page)
    wait_until_done(page)

    expect(last(page).locator(".text")).to_have_text(words(text))
    assert {tag for tag, *_ in shape(page)[-1][2:]} <= {"DIV", "P", "LI", "BLOCKQUOTE", "A", "SPAN"}
    expect(page.locator(".message.agent a[href]")).to_have_count(0)
    live = shape(page)
    page.route("**/api/conversation", lambda route: route.fulfill(content_type="application/json", body=said))
    page.reload()
    page.wait_for_selector("body[data-ready]")
    assert shape(page) == live


def test_c27_a_document_that_is_removed_leaves_the_page(open_page: NewPage, server: Running) -> None:
    """While an answer is written from it: the answer goes, the conversation stays, and may be tried again."""
    home = Home(load_settings({"home": server.home, "key_source": "machine"}, {}))
    make_tenant(home, "papers", mode="write")
    page = open_page("/t/papers/")
    ask(page)
    expect(last(page).locator(".text")).to_contain_text("Sentence number 1")

    with home.open("papers") as tenant:
        remove_documents(tenant, [one.id for one in list_documents(tenant) if one.name == "delivery.md"])

    expect(page.get_by_role("alert")).to_contain_text("was removed or replaced")
    expect(page.locator(".message.agent .text", has_text="Sentence number")).to_have_count(0)
    expect(page.locator(".visitor")).to_have_count(1)
    page.get_by_role("button", name="Try again").click()
    wait_until_done(page)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_tenant_that_is_removed_is_told_in_the_page(open_page: NewPage, server: Running) -> None:
    """`rm -rf` of the directory while an answer is written: the page says that it is gone."""
    home = Home(load_settings({"home": server.home, "key_source": "machine"}, {}))
    make_tenant(home, "brief", mode="write")
    page = open_page("/t/brief/")
    ask(page)
    expect(last(page).locator(".text")).to_contain_text("Sentence number 1")

    subprocess.run(["rm", "-rf", str(server.home / "tenants" / "brief")], check=True)

    expect(page.get_by_role("alert")).to_contain_text("not there any more")
    expect(open_page("/t/acme/").get_by_role("button", name=QUESTION)).to_be_visible()
