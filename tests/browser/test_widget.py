"""The widget in a real browser, on websites of other origins: what it shows, what it costs, and what it resists."""

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Frame, Page, expect

from ruma.config import load_settings
from ruma.server.languages import read_words
from ruma.tenant.agents import change_agent
from ruma.tenant.conversing.consents import change_keeping
from ruma.tenant.conversing.inbox import list_conversations, read_feedback, reply
from ruma.tenant.home import Home
from tests.browser.test_chat_page import ELSEWHERE, PRICE, WRITTEN
from tests.browsing import needs_chromium
from tests.payloads import MARKUP
from tests.serving import QUESTION, Running, make_tenant, store

STRICT = "default-src 'none'; script-src {ruma}; frame-src {ruma}; require-trusted-types-for 'script'"
LANGUAGES = sorted(read_words())
POLLUTE = """
for (const name of ["origin", "address", "position", "theme", "source", "data", "src", "lang", "then", "capture"])
    Object.prototype[name] = "http://127.0.0.1:9/";
Array.prototype.includes = () => true;
"""
HOSTILE = """* { transform: translate(40px, -300px); position: relative !important; z-index: 0; opacity: .4;
    width: 10px; display: block !important; visibility: hidden; pointer-events: none; }
    html, body { transform: none; }"""

pytestmark = needs_chromium


class Website(ThreadingHTTPServer):
    """A business's website: every address of it is a page that loads the widget."""

    ruma = ""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that left."""

    def host(self, name: str = "localhost") -> str:
        """Return its origin by one of the names of this machine."""
        return f"http://{name}:{self.server_port}"

    def page(self, query: dict[str, str]) -> str:
        """Return a page: `lang` is its language, `tenant` whose widget it loads, `kind` what is special."""
        line = f'<script src="{self.ruma}/t/{query.get("tenant", "acme")}/widget.js" async></script>'
        inside = {
            "twice": line + line,
            "open": line.replace(" async", " async data-open"),
            "styled": f"<style>{HOSTILE}</style>{line}",
            "polluted": f'<script src="/pollute.js"></script>{line}',
            "framing": f'<iframe src="{self.ruma}/t/acme/widget" width="400" height="400"></iframe>',
            "previewing": f'<iframe src="{self.ruma}/t/acme/widget?preview=1" width="400" height="400"></iframe>',
            "neighbours": (line + line.replace("/acme/", "/writing/")).replace(" async", ""),
            "none": "",
        }.get(query.get("kind", ""), line)
        return (
            f'<!doctype html><html lang="{query.get("lang", "en")}"><meta name="viewport" content="width=device-width">'
            f"<title>Shop</title><main><h1>Shop</h1><p><a href='#x'>A link</a></p></main>{inside}</html>"
        )


class Answering(BaseHTTPRequestHandler):
    """Answers with the website's pages."""

    server: Website

    def do_GET(self) -> None:
        """Send a page, or the script of a hostile one."""
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        is_script = address.path == "/pollute.js"
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if is_script else "text/html; charset=utf-8")
        policy = STRICT.format(ruma=self.server.ruma)
        if query.get("kind") in ("polluted", "framing", "previewing", "styled"):
            policy = "frame-src *"
        self.send_header("Content-Security-Policy", policy)
        if query.get("kind") == "isolated":
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.end_headers()
        self.wfile.write((POLLUTE if is_script else self.server.page(query)).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home of two tenants: one that quotes, one that writes slowly."""
    home = Home(load_settings({"home": tmp_path_factory.mktemp("home"), "key_source": "machine"}, {}))
    make_tenant(home)
    make_tenant(home, "writing", mode="write")
    home.create("hostile")
    with home.open("hostile") as tenant:
        for number, payload in enumerate(MARKUP):
            sections = [(f"Heading {payload}", 1, [f"Zebra{number} says {payload}."])]
            store(tenant, f"{number}{payload}", f"Title {payload}", sections)
        hostile = " ".join(MARKUP)
        change_agent(tenant, name=hostile, greeting=hostile, questions=MARKUP[:10], decline=hostile, mode="quote")
    return home


@pytest.fixture(scope="module")
def website(home: Home) -> Iterator[Website]:
    """Return a running website; two of its three names are allowed."""
    with Website(("", 0), Answering) as website, Running(home.settings.home, WRITTEN, "0.02") as server:
        website.ruma = f"http://127.0.0.1:{server.port}"
        for name in ("acme", "writing", "hostile"):
            with home.open(name) as tenant:
                change_keeping(tenant, "unless_refused")
                change_agent(tenant, websites=(website.host(), website.host("127.0.0.1")), is_published=False)
        threading.Thread(target=website.serve_forever, daemon=True).start()
        yield website
        website.shutdown()


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, website: Website) -> Iterator[Visit]:
    """Return a function that opens a page of the website; nothing may go wrong in its scripts or against a policy."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def watch(page: Page) -> None:
        page.on("dialog", lambda dialog: wrong.append(f"a dialog: {dialog.message}"))
        page.on("pageerror", lambda error: wrong.append(f"an error: {error}"))
        page.on("console", lambda message: wrong.append(message.text) if "Policy" in message.text else None)

    def visit(query: str = "", *, host: str = "localhost", is_watched: bool = True, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        if is_watched:
            context.on("page", watch)
        page = context.new_page()
        page.goto(f"{website.host(host)}/?{query}", wait_until="load")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


def open_chat(page: Page) -> Frame:
    """Press the button and return the chat's frame."""
    page.locator("ruma-widget button").click()
    return chat_of(page)


def chat_of(page: Page) -> Frame:
    """Return the chat's frame once it is ready."""
    handle = page.wait_for_selector("ruma-widget iframe")
    frame = handle.content_frame() if handle else None
    assert frame
    frame.wait_for_selector("body[data-ready]")
    return frame


def ask(frame: Frame, question: str = QUESTION) -> None:
    """Ask a question and wait for the whole answer."""
    frame.locator("#question").fill(question)
    frame.locator("#question").press("Enter")
    expect(frame.locator(".message.agent[data-state=done]:not(.greeting)").last).to_be_visible()
    expect(frame.locator("#send")).to_be_visible(timeout=20_000)


STORED = "() => [localStorage.length, sessionStorage.length, document.cookie]"


def test_it_costs_one_request_and_stores_nothing_until_a_visitor_writes(visit: Visit) -> None:
    """Before the chat is opened only the script is loaded; until the first question nothing is stored anywhere."""
    page = visit("kind=none", host="127.0.0.1")
    requests: list[str] = []
    page.context.on("request", lambda request: requests.append(urlsplit(request.url).path))
    page.goto(page.url.replace("kind=none", ""))
    expect(page.locator("ruma-widget button")).to_be_visible()
    page.wait_for_timeout(300)
    assert requests == ["/", "/t/acme/widget.js"]

    frame = open_chat(page)
    frame.locator("#question").fill("unsent")
    assert page.evaluate(STORED) == frame.evaluate(STORED) == [0, 0, ""]
    assert page.context.cookies() == []

    ask(frame)
    assert page.evaluate(STORED) == [0, 0, ""]
    assert frame.evaluate(STORED) == [1, 0, ""]
    assert page.context.cookies() == []


def test_it_answers_under_a_strict_policy_of_the_website(visit: Visit) -> None:
    """With only the server's origin in two directives the answer streams in, with evidence and citations."""
    page = visit("tenant=writing")
    frame = open_chat(page)

    frame.get_by_role("button", name=QUESTION).click()
    expect(frame.locator(".source .quote").first).to_have_text(PRICE)
    expect(frame.locator(".message.agent .text").last).to_contain_text("Sentence number 3 is written")
    assert frame.locator("#log").get_attribute("aria-busy") == "true"
    expect(frame.locator(".text a.mark").first).to_have_attribute("href", re.compile("#cited$"))


def test_a_citation_opens_the_document_beside_the_website(visit: Visit) -> None:
    """The link leads to the words in their document, in a tab of its own that knows nothing of the website."""
    page = visit()
    frame = open_chat(page)
    ask(frame)

    with page.context.expect_page() as opened:
        frame.locator(".source .place").first.click()

    expect(opened.value.locator("mark#cited")).to_have_text(PRICE)
    assert opened.value.evaluate("window.opener") is None
    assert opened.value.evaluate("document.referrer") == ""


def test_everything_can_be_done_with_the_keyboard(visit: Visit) -> None:
    """Tab finds the button, Enter opens the chat with the field in focus, Escape closes it and leads back."""
    page = visit()
    button = page.locator("ruma-widget button")
    expect(button).to_be_visible()
    for _ in range(2):
        page.keyboard.press("Tab")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    frame = chat_of(page)
    expect(frame.locator("#question")).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "true")

    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    expect(frame.locator(".source .quote").first).to_have_text(PRICE)
    expect(frame.locator("#send")).to_be_visible()  # until then Escape stops the answer
    page.keyboard.press("Escape")

    expect(page.locator("ruma-widget .panel")).to_be_hidden()
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Enter")
    expect(frame.locator("#question")).to_be_focused()
    expect(frame.locator(".source .quote").first).to_have_text(PRICE)


@pytest.mark.parametrize(("width", "height"), [(320, 568), (390, 844), (844, 390)])
def test_a_phone_shows_it_full_screen(visit: Visit, width: int, height: int) -> None:
    """On a small screen the chat takes all of it, nothing is cut off, and its own button closes it."""
    page = visit(viewport={"width": width, "height": height}, has_touch=True, is_mobile=True)
    frame = open_chat(page)

    box = page.locator("ruma-widget iframe").bounding_box()
    assert box == {"x": 0, "y": 0, "width": width, "height": height}
    ask(frame, "x" * 200)
    assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(frame.locator("#question")).to_be_in_viewport()
    frame.locator("#close").click()
    expect(page.locator("ruma-widget button")).to_be_visible()
    expect(page.locator("ruma-widget .panel")).to_be_hidden()


def test_on_a_phone_the_keyboard_stays_in_the_chat(visit: Visit) -> None:
    """The page that it covers has no focus while it is open, and has it again after; on a desk both can be reached."""
    focus = "document.activeElement.tagName"
    page = visit(viewport={"width": 390, "height": 844})
    frame = open_chat(page)
    reached = set()
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        reached.add(page.evaluate(focus))
    assert reached <= {"RUMA-WIDGET", "BODY"}
    assert "RUMA-WIDGET" in reached
    frame.locator("#question").press("Escape")
    expect(page.locator("ruma-widget button")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(focus) == "A"

    page.set_viewport_size({"width": 1280, "height": 800})
    page.locator("ruma-widget button").press("Enter")
    expect(page.locator("ruma-widget .panel")).to_be_visible()
    page.locator("a").focus()
    assert page.evaluate(focus) == "A"


def test_turning_the_phone_keeps_the_chat(visit: Visit) -> None:
    """Between covering the page and standing beside it nothing of the chat is loaded anew."""
    page = visit(viewport={"width": 390, "height": 844})
    frame = open_chat(page)
    frame.locator("#question").fill("unsent")
    for width, is_modal in ((1280, False), (390, True)):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_function(
            """(wanted) => document.querySelector("ruma-widget").shadowRoot.querySelector(".panel")
                .matches(":modal") === wanted""",
            arg=is_modal,
        )
        expect(page.locator("ruma-widget .panel")).to_be_visible()
        expect(frame.locator("#question")).to_have_value("unsent")


def test_the_styles_of_a_website_change_nothing(visit: Visit) -> None:
    """Rules for everything in its body neither move nor hide the button, and it can be pressed."""
    page = visit("kind=styled", viewport={"width": 1280, "height": 800})
    box = page.locator("ruma-widget button").bounding_box()
    assert box == {"x": 1200, "y": 720, "width": 60, "height": 60}
    page.mouse.click(1230, 750)
    frame = chat_of(page)

    expect(frame.locator("#question")).to_be_visible()
    assert page.locator("ruma-widget iframe").bounding_box()["width"] == 400  # type: ignore[index]


def test_a_desk_shows_it_beside_the_page(visit: Visit) -> None:
    """On a large screen the website stays in sight, and the button stands in the corner at a size for fingers."""
    page = visit(viewport={"width": 1280, "height": 800})
    button = page.locator("ruma-widget button").bounding_box()
    open_chat(page)

    box = page.locator("ruma-widget iframe").bounding_box()
    assert box
    assert button
    assert box["width"] == 400
    assert box["x"] + box["width"] == button["x"] + button["width"] == 1260
    assert box["y"] + box["height"] < button["y"]
    assert min(button["width"], button["height"]) >= 44


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_speaks_the_language_of_the_page(visit: Visit, language: str) -> None:
    """The button and the chat are in the language that the website's page says it has."""
    words = read_words()[language]
    page = visit(f"lang={language}-XX")
    expect(page.get_by_role("button", name=words["open"])).to_be_visible()
    frame = open_chat(page)

    expect(page.get_by_role("button", name=words["close"])).to_be_visible()
    expect(frame.locator("html")).to_have_attribute("lang", language)
    expect(frame.get_by_label(words["question"])).to_have_attribute("placeholder", words["ask"])
    expect(page.locator("ruma-widget iframe")).to_have_attribute("title", re.compile("Marrowby Bakery"))


def test_without_a_language_of_the_page_the_browsers_counts(visit: Visit) -> None:
    """A page that says nothing, or a language that there are no words for, leaves it to the browser or the agent."""
    expect(visit("lang=", locale="it-IT").get_by_role("button", name=read_words()["it"]["open"])).to_be_visible()
    expect(visit("lang=xx").get_by_role("button", name=read_words()["en"]["open"])).to_be_visible()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_allowed_websites_show_it(visit: Visit, host: str) -> None:
    """Each allowed website does, whether it is of the same site as the server or of another."""
    frame = open_chat(visit(host=host))

    ask(frame)

    expect(frame.locator(".source .quote").first).to_have_text(PRICE)


def test_h60_another_website_shows_nothing_and_says_why(visit: Visit, website: Website) -> None:
    """On a website that is not allowed there is no button, and the console names exactly what to add and where."""
    page = visit("kind=none", host="127.0.0.2")
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))

    page.goto(f"{website.host('127.0.0.2')}/", wait_until="load")
    page.wait_for_timeout(200)

    assert page.locator("ruma-widget").count() == 0
    (line,) = said
    assert website.host("127.0.0.2") in line
    assert f"{website.ruma}/t/acme/agent" in line


def test_h60_another_website_cannot_frame_the_chat(visit: Visit, website: Website) -> None:
    """The browser refuses to show the frame on a page of an origin that is not allowed."""
    page = visit("kind=framing", host="127.0.0.2", is_watched=False)
    page.wait_for_timeout(500)
    refused = page.frames[1]
    allowed = visit("kind=framing", is_watched=False).frames[1]

    allowed.wait_for_selector("body[data-ready]")
    assert refused.url.startswith("chrome-error://")


def test_h61_words_of_strangers_are_not_heard(visit: Visit) -> None:
    """Messages of every shape, to the page and to the frame, from the wrong window or of unknown words, do nothing."""
    page = visit()
    frame = open_chat(page)
    ask(frame)
    before = frame.content()

    page.evaluate(
        """() => { const inner = document.querySelector("ruma-widget").shadowRoot.querySelector("iframe").contentWindow;
            const words = ["ruma:close", "ruma:hide ", "ruma:", { type: "ruma:close" }, ["ruma:close"], null, 1,
                { accent: "#ff0000", theme: "dark", name: "x", greeting: "<img src=x>", questions: ["x"] },
                { __proto__: { polluted: 1 } }, "javascript:alert(1)", JSON.stringify({ type: "ruma:delete" })];
            for (const word of words) { window.postMessage(word, "*"); inner.postMessage(word, "*"); } }"""
    )
    page.wait_for_timeout(300)

    expect(page.locator("ruma-widget .panel")).to_be_visible()
    assert frame.content() == before
    expect(page.locator("ruma-widget button")).to_have_attribute("aria-expanded", "true")


def test_h61_the_website_cannot_look_into_the_chat(visit: Visit) -> None:
    """The page that holds the frame gets one fixed word from it, and can read neither its text nor its secret."""
    page = visit()
    page.evaluate("() => { window.heard = []; addEventListener('message', (event) => heard.push(event.data)); }")
    frame = open_chat(page)
    ask(frame)
    frame.locator("#close").click()
    expect(page.locator("ruma-widget .panel")).to_be_hidden()

    assert page.evaluate("heard") == ["ruma:close"]
    blocked = """() => { const frame = document.querySelector("ruma-widget").shadowRoot.querySelector("iframe");
        let isBlocked = frame.contentDocument === null;
        try { frame.contentWindow.localStorage; isBlocked = false; } catch { } return isBlocked; }"""
    assert page.evaluate(blocked)
    attributes = page.locator("ruma-widget iframe").evaluate("(frame) => [frame.allow, [...frame.sandbox].sort()]")
    assert attributes == [
        "",
        [
            "allow-downloads",
            "allow-forms",
            "allow-popups",
            "allow-popups-to-escape-sandbox",
            "allow-same-origin",
            "allow-scripts",
        ],
    ]


def test_h61_a_page_with_bent_objects_still_has_one_frame_of_ours(visit: Visit, website: Website) -> None:
    """What a page has done to the objects of its language leads the button nowhere else."""
    page = visit("kind=polluted", is_watched=False)
    frame = open_chat(page)

    assert frame.url.startswith(f"{website.ruma}/t/acme/widget?")
    ask(frame)
    expect(frame.locator(".source .quote").first).to_have_text(PRICE)


def test_h61_a_website_cannot_play_the_members_page(visit: Visit) -> None:
    """The preview, which shows what the page around it says, is not even framed by a website that is allowed."""
    page = visit("kind=previewing", is_watched=False)
    page.wait_for_timeout(500)

    assert page.frames[1].url.startswith("chrome-error://")


def test_h61_widgets_of_two_tenants_are_one(visit: Visit, website: Website) -> None:
    """On a page with two lines the first one's chat is shown, which hears nothing of the other's and asks its own."""
    page = visit("kind=neighbours")
    frame = open_chat(page)

    ask(frame)

    expect(frame.locator(".source .quote").first).to_have_text(PRICE)
    assert [one.url.partition("?")[0] for one in page.frames[1:]] == [f"{website.ruma}/t/acme/widget"]


def test_two_lines_make_one_button(visit: Visit) -> None:
    """A page that has the line twice, by mistake or by a second theme, has one widget."""
    page = visit("kind=twice")
    page.wait_for_timeout(200)

    expect(page.locator("ruma-widget")).to_have_count(1)


def test_an_isolated_website_can_show_it(visit: Visit) -> None:
    """Cross-Origin-Embedder-Policy stops neither the script nor the frame."""
    page = visit("kind=isolated")
    assert page.evaluate("crossOriginIsolated || isSecureContext")

    ask(open_chat(page))


def test_the_line_can_ask_for_an_open_chat(visit: Visit) -> None:
    """With `data-open` the chat stands open when the page is loaded, takes no focus, and covers no phone."""
    page = visit("kind=open")
    frame = chat_of(page)
    expect(frame.locator(".greeting")).to_be_visible()
    page.wait_for_timeout(200)
    assert page.evaluate("document.activeElement === document.body")
    ask(frame)
    phone = visit("kind=open", viewport={"width": 390, "height": 700})
    expect(phone.locator("ruma-widget button")).to_be_visible()
    expect(phone.locator("ruma-widget .panel")).to_be_hidden()


def test_a_conversation_outlives_a_reload_until_it_is_deleted(visit: Visit) -> None:
    """What was said is there again on the next page; deleting takes it away here and on the server."""
    page = visit(host="127.0.0.1")
    ask(open_chat(page))
    page.reload()
    frame = open_chat(page)
    expect(frame.locator(".visitor .words")).to_have_text(QUESTION)
    expect(frame.locator(".source .quote").first).to_have_text(PRICE)
    secret = frame.evaluate("Object.values(localStorage)[0]")

    frame.get_by_label("More").click()
    frame.get_by_role("button", name="Delete this conversation").click()
    frame.get_by_role("dialog").get_by_role("button", name="Delete").click()

    expect(frame.locator(".visitor")).to_have_count(0)
    expect(frame.get_by_role("button", name=QUESTION)).to_be_visible()
    assert frame.evaluate(STORED) == [0, 0, ""]
    ask_for = """(secret) => fetch(`${document.body.dataset.home}/api/conversation`,
        { headers: { "X-Ruma-Conversation": secret } }).then((response) => response.status)"""
    assert frame.evaluate(ask_for, secret) == 404


def test_starting_over_leaves_the_old_conversation(visit: Visit) -> None:
    """The menu's entry clears the chat, and the next question begins a conversation of its own."""
    page = visit(host="127.0.0.1")
    frame = open_chat(page)
    ask(frame)
    first = frame.evaluate("Object.values(localStorage)[0]")

    frame.get_by_label("More").click()
    frame.get_by_role("button", name="Start over").click()
    expect(frame.locator(".visitor")).to_have_count(0)
    ask(frame)

    assert frame.evaluate("Object.values(localStorage)[0]") != first
    page.reload()
    expect(open_chat(page).locator(".visitor")).to_have_count(1)


def newest(home: Home) -> int:
    """Return the number of the newest conversation."""
    with home.open("acme") as tenant:
        return list_conversations(tenant).conversations[0].id


def test_a_person_can_be_asked_and_their_reply_appears(visit: Visit, home: Home) -> None:
    """The message reaches the inbox with its website; the reply comes into the open chat, and stays after a reload."""
    page = visit(host="127.0.0.1")
    frame = open_chat(page)
    ask(frame, ELSEWHERE)

    frame.get_by_role("button", name="Talk to a person").click()
    dialog = frame.get_by_role("dialog")
    dialog.get_by_label("Your name").fill("Ada")
    dialog.get_by_label("Your e-mail address").fill("ada@example.com")
    dialog.get_by_label("Your message").fill("Could you ring me?")
    dialog.get_by_role("button", name="Send").click()
    expect(frame.locator(".visitor .words").last).to_have_text("Could you ring me?")
    expect(frame.locator(".notice-line")).to_contain_text("has reached our team")
    expect(dialog).to_be_hidden()
    number = newest(home)
    with home.open("acme") as tenant:
        info = list_conversations(tenant).conversations[0]
        assert (info.visitor_name, info.visitor_email) == ("Ada", "ada@example.com")
        assert info.website == page.url.partition("/?")[0]
        reply(tenant, number, author="Bert of the bakery", text="<b>Gladly.</b>")

    person = frame.locator(".message.person")
    expect(person.locator(".words")).to_have_text("<b>Gladly.</b>", timeout=15_000)
    expect(person.locator(".author")).to_have_text("Bert of the bakery")
    expect(frame.locator("#status")).to_contain_text("Bert of the bakery replied: <b>Gladly.</b>")
    page.reload()
    expect(open_chat(page).locator(".message.person .words")).to_have_text("<b>Gladly.</b>")


def test_a_person_can_be_asked_first(visit: Visit, home: Home) -> None:
    """Without a question before, a conversation begins with the message, and goes on with the next question."""
    page = visit(host="127.0.0.1")
    frame = open_chat(page)
    frame.get_by_label("More").click()
    frame.locator("#menu").get_by_role("button", name="Talk to a person").click()
    frame.get_by_label("Your message").fill("Hello?")
    frame.get_by_role("dialog").get_by_role("button", name="Send").click()
    expect(frame.locator(".visitor .words")).to_have_text("Hello?")
    number = newest(home)

    ask(frame)

    assert newest(home) == number


def test_an_answer_can_be_judged(visit: Visit, home: Home) -> None:
    """A thumb is kept at once, is there after a reload, and may be changed; either may come with words."""
    page = visit(host="127.0.0.1")
    frame = open_chat(page)
    ask(frame)

    frame.get_by_role("button", name="Not helpful").click()
    expect(frame.get_by_role("button", name="Not helpful")).to_have_attribute("aria-pressed", "true")
    frame.get_by_label("What was missing?").fill("The price of two.")
    frame.locator(".comment").get_by_role("button", name="Send").click()

    expect(frame.locator(".comment")).to_be_hidden()
    expect(frame.locator("#status")).to_have_text("Thank you for telling us.")
    with home.open("acme") as tenant:
        (given,) = read_feedback(tenant, newest(home)).values()
    assert (given.is_helpful, given.comment) == (False, "The price of two.")
    frame.get_by_role("button", name="Helpful", exact=True).click()
    frame.get_by_label("Would you like to add something?").fill("Quick!")
    frame.locator(".comment").get_by_role("button", name="Send").click()
    expect(frame.locator(".comment")).to_be_hidden()
    with home.open("acme") as tenant:
        (given,) = read_feedback(tenant, newest(home)).values()
    assert (given.is_helpful, given.comment) == (True, "Quick!")
    frame.get_by_role("button", name="Not helpful").click()
    expect(frame.get_by_label("What was missing?")).to_be_focused()
    page.reload()
    frame = open_chat(page)
    expect(frame.get_by_role("button", name="Not helpful")).to_have_attribute("aria-pressed", "true")
    expect(frame.get_by_role("button", name="Helpful", exact=True)).to_have_attribute("aria-pressed", "false")


def test_h59_hostile_words_load_nothing_and_lead_nowhere(visit: Visit, website: Website) -> None:
    """Words of documents, of the agent and of visitors are read as words; every link leads to our own documents."""
    page = visit("kind=none")
    asked: set[str] = set()
    page.context.on("request", lambda request: asked.add("{0.scheme}://{0.netloc}".format(urlsplit(request.url))))
    page.goto(page.url.replace("kind=none", "tenant=hostile"))
    frame = open_chat(page)
    for number, payload in enumerate(MARKUP):
        ask(frame, f"What does Zebra{number} say? {payload}")
    quotes = " ".join(frame.locator(".quote").all_text_contents())
    links = frame.locator("a[href]").evaluate_all("(links) => links.map((link) => [link.href, link.rel])")

    for number, payload in enumerate(MARKUP):
        assert f"Zebra{number} says {payload}." in quotes
    assert links
    for link, relation in links:
        assert link.startswith((f"{website.ruma}/t/hostile/documents/", f"{website.ruma}/t/hostile/privacy"))
        assert relation == "noopener noreferrer"
    assert asked == {website.ruma, website.host()}


def violations(place: Page | Frame) -> list[Any]:
    """Return what axe-core finds wrong."""
    found = Axe().run(place, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]})
    return [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found.response["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit: Visit, scheme: str) -> None:
    """The button, the chat with an answer and a decline, the menu and the dialogs have no known barrier."""
    page = visit(color_scheme=scheme)
    expect(page.locator("ruma-widget button")).to_be_visible()
    assert violations(page) == []
    frame = open_chat(page)
    assert violations(frame) == []
    ask(frame)
    ask(frame, ELSEWHERE)
    assert violations(frame) == []
    frame.get_by_label("More").click()
    assert violations(frame) == []
    frame.locator("#menu").get_by_role("button", name="Talk to a person").click()
    assert violations(frame) == []


def test_nothing_moves_for_who_asked_for_that(visit: Visit) -> None:
    """Neither the panel nor the button is animated where less motion is wanted."""
    page = visit(reduced_motion="reduce")
    open_chat(page)

    durations = """() => [...document.querySelector("ruma-widget").shadowRoot.querySelectorAll("*")].map((element) => {
        const style = getComputedStyle(element); return [style.animationName, style.transitionDuration]; })"""
    assert {tuple(one) for one in page.evaluate(durations)} == {("none", "0s")}


def test_the_preview_shows_what_it_is_told_by_our_own_pages(visit: Visit, website: Website) -> None:
    """A page of the same origin sets name, greeting, questions and colours as they are typed; nothing is asked."""
    page = visit("kind=none")
    requests: list[str] = []
    page.route(
        "**/holder",
        lambda route: route.fulfill(content_type="text/html", body="<iframe width=400 height=600></iframe>"),
    )
    page.goto(f"{website.ruma}/holder")
    page.evaluate("() => { document.querySelector('iframe').src = '/t/acme/widget?preview=1'; }")
    frame = page.wait_for_selector("iframe").content_frame()  # type: ignore[union-attr]
    assert frame
    frame.wait_for_selector("body[data-ready]")
    page.on("request", lambda request: requests.append(request.url))

    page.evaluate(
        """() => document.querySelector("iframe").contentWindow.postMessage({ accent: "#ffcc00", theme: "dark",
            name: "<b>Crumb</b>", greeting: "<img src=x>", questions: ["One?", 2, "Two?"] }, location.origin)"""
    )

    expect(frame.locator("h1")).to_have_text("<b>Crumb</b>")
    expect(frame.locator(".greeting .text")).to_have_text("<img src=x>")
    expect(frame.locator(".suggestion")).to_have_text(["One?", "Two?"])
    expect(frame.locator(".badge")).to_have_css("background-color", "rgb(255, 204, 0)")
    frame.locator(".suggestion").first.click()
    frame.locator("#question").fill("x")
    frame.locator("#send").click()
    page.wait_for_timeout(300)
    assert frame.locator(".visitor").count() == 0
    assert [url for url in requests if "/api/" in url] == []
