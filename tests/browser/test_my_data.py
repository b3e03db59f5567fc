"""What visitors let be kept, and what they do about it, in a real browser: in the widget and on the chat page."""

import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Frame, Page, expect

from ruma.config import load_settings
from ruma.privacy.consent import STORAGE, consent_text
from ruma.server.languages import read_words
from ruma.tenant.agents import change_agent
from ruma.tenant.conversing.consents import LEFT_SECONDS, end_passing, read_consent
from ruma.tenant.conversing.inbox import list_conversations
from ruma.tenant.conversing.requests import list_requests
from ruma.tenant.conversing.usage import count_usage
from ruma.tenant.home import Home
from ruma.tenant.keeping.holds import end_hold, set_hold
from tests.browser.test_widget import Answering, Website, ask, open_chat, violations
from tests.browsing import needs_chromium
from tests.serving import PASSWORD, QUESTION, Running, make_tenant, sign_in

pytestmark = needs_chromium
KEEP, COUNT = consent_text("keep").words, consent_text("analytics").words
HELD = """() => Promise.resolve(indexedDB.databases()).then((databases) => ({
    localStorage: Object.keys(localStorage), sessionStorage: Object.keys(sessionStorage),
    other: databases.map((one) => one.name).concat(document.cookie ? [document.cookie] : []) }))"""
Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home of one tenant that keeps what visitors agree to, as every new one does."""
    home = Home(load_settings({"home": tmp_path_factory.mktemp("home"), "key_source": "machine"}, {}))
    make_tenant(home)
    return home


@pytest.fixture(scope="module")
def website(home: Home) -> Iterator[Website]:
    """Return a running website whose widget is the tenant's; the chat page is public, too."""
    with Website(("", 0), Answering) as website, Running(home.settings.home) as server:
        website.ruma = f"http://127.0.0.1:{server.port}"
        with home.open("acme") as tenant:
            # By this name the widget's frame is of the same site, and its storage can be looked at.
            change_agent(tenant, websites=(website.host("127.0.0.1"), website.host()))
        threading.Thread(target=website.serve_forever, daemon=True).start()
        yield website
        website.shutdown()


@pytest.fixture
def visit(browser: Browser, website: Website) -> Iterator[Visit]:
    """Return a function that opens a page; nothing may go wrong in its scripts or against a policy."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def visit(address: str = "", *, host: str = "127.0.0.1", **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"an error: {error}"))
        page.on("console", lambda message: wrong.append(message.text) if "Policy" in message.text else None)
        page.goto(address or f"{website.host(host)}/", wait_until="load")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


def rows(home: Home) -> dict[str, int]:
    """Return how many rows there are of what conversations leave."""
    with home.open("acme") as tenant, tenant.reading() as db:
        return {
            table: db.execute(f"select count(*) from {table}").fetchone()[0]
            for table in ("conversation", "message", "consent", "feedback")
        }


def wait_for_rows(page: Page, home: Home, wanted: dict[str, int]) -> None:
    """Wait until the server has done what a page that was left asked for."""
    for _ in range(50):
        if rows(home) == wanted:
            break
        page.wait_for_timeout(100)
    assert rows(home) == wanted


def wait_until_left(page: Page, home: Home) -> None:
    """Wait until the server knows that a conversation that is not kept was left."""
    with home.open("acme") as tenant:
        for _ in range(50):
            with tenant.reading() as db:
                if db.execute("select 1 from conversation where is_kept = 0 and left_at is not null").fetchone():
                    return
            page.wait_for_timeout(100)
    raise AssertionError("Nobody left.")


def let_it_pass(page: Page, home: Home) -> None:
    """Let the minutes be over for who left, and do what the server then does."""
    wait_until_left(page, home)
    at = f"{datetime.now(UTC) - timedelta(seconds=LEFT_SECONDS):%Y-%m-%dT%H:%M:%SZ}"
    with home.open("acme") as tenant:
        with tenant.writing() as db:
            db.execute("update conversation set left_at = ? where left_at is not null", [at])
        assert end_passing(tenant)


def open_data(place: Page | Frame) -> Any:
    """Open "My data" by the menu, and return the dialog."""
    place.get_by_label("More").click()
    place.locator("#menu").get_by_role("button", name="My data").click()
    dialog = place.get_by_role("dialog", name="My data")
    expect(dialog).to_be_visible()
    return dialog


def choice(place: Page | Frame, words: str) -> Any:
    """Return the box beside what can be agreed to before the first message."""
    return place.locator("#consent").get_by_label(words)


def stored(place: Page | Frame) -> Any:
    """Return the names of what the browser holds for a page."""
    return place.evaluate(HELD)


IN_TAB = {"localStorage": [], "sessionStorage": ["ruma-conversation:/t/acme"], "other": []}
NOTHING = {"localStorage": [], "sessionStorage": [], "other": []}


def test_who_agrees_to_nothing_leaves_nothing(visit: Visit, home: Home) -> None:
    """The chat works, its secret ends with the tab, and ten minutes after the page was left no row of it is there."""
    before = rows(home)
    page = visit()
    frame = open_chat(page)
    expect(choice(frame, KEEP)).not_to_be_checked()
    expect(choice(frame, COUNT)).to_be_hidden()
    ask(frame)
    ask(frame, "And on Sundays?")
    expect(frame.locator("#consent")).to_be_hidden()
    assert stored(frame) == IN_TAB
    assert stored(page) == NOTHING
    assert rows(home)["message"] == before["message"] + 4
    with home.open("acme") as tenant:
        inbox = list_conversations(tenant).total

    page.goto("about:blank")

    let_it_pass(page, home)
    assert rows(home) == before
    page.go_back()
    frame = open_chat(page)
    expect(frame.locator(".visitor")).to_have_count(0)
    expect(frame.locator("#consent")).to_be_visible()
    assert stored(frame) == NOTHING
    with home.open("acme") as tenant:
        assert list_conversations(tenant).total == inbox


@pytest.mark.parametrize("host", [pytest.param("127.0.0.1", marks=pytest.mark.nightly), "localhost"])
def test_the_next_page_of_the_website_goes_on(visit: Visit, website: Website, home: Home, host: str) -> None:
    """What is not kept is there on the website's next page, also of another site than the server's; in no other tab."""
    page = visit(host=host)
    ask(open_chat(page))
    before = rows(home)
    page.goto(f"{website.host(host)}/?page=b")
    wait_until_left(page, home)

    frame = open_chat(page)

    expect(frame.locator(".visitor .words")).to_have_text(QUESTION)
    expect(frame.locator("#consent")).to_be_hidden()
    assert stored(frame) == IN_TAB
    other = page.context.new_page()
    other.goto(page.url)
    expect(open_chat(other).locator(".visitor")).to_have_count(0)
    ask(frame, "And on Sundays?")
    assert rows(home) == {**before, "message": before["message"] + 2}
    page.close()
    let_it_pass(other, home)
    assert rows(home)["conversation"] == before["conversation"] - 1


def test_who_agrees_finds_it_again(visit: Visit, home: Home) -> None:
    """Kept and counted as chosen, with the words' version and language; it is there after a reload."""
    page = visit()
    frame = open_chat(page)
    choice(frame, KEEP).check()
    choice(frame, COUNT).check()
    ask(frame)
    assert stored(frame)["localStorage"] == ["ruma-conversation:/t/acme"]
    page.reload()
    frame = open_chat(page)
    expect(frame.locator(".visitor .words")).to_have_text(QUESTION)
    expect(frame.locator("#consent")).to_be_hidden()

    with home.open("acme") as tenant:
        newest = list_conversations(tenant).conversations[0]
        state = read_consent(tenant, newest.id)
    assert (state.is_kept, state.is_counted) == (True, True)
    assert [(one.choice.text_version, one.choice.language) for one in state.history] == [
        ("keep-1", "en"),
        ("analytics-1", "en"),
    ]


def test_taking_back_really_removes(visit: Visit, home: Home) -> None:
    """Unticking takes the conversation out of the statistics, then out of the inbox and the browser, then away."""
    before = rows(home)
    page = visit()
    frame = open_chat(page)
    choice(frame, KEEP).check()
    choice(frame, COUNT).check()
    ask(frame)
    with home.open("acme") as tenant:
        counted, listed = count_usage(tenant).questions, list_conversations(tenant).total
    dialog = open_data(frame)
    expect(dialog).to_contain_text("Messages2")
    expect(dialog).to_contain_text("days after the last message")

    dialog.get_by_label(COUNT).uncheck()
    expect(dialog.get_by_role("status")).to_have_text("Saved.")
    with home.open("acme") as tenant:
        assert count_usage(tenant).questions == counted - 1
    dialog.get_by_label(KEEP).uncheck()
    expect(dialog).to_contain_text("until 10 minutes after you leave")
    with home.open("acme") as tenant:
        assert list_conversations(tenant).total == listed - 1
    assert stored(frame) == IN_TAB
    page.goto("about:blank")

    let_it_pass(page, home)
    assert rows(home) == before


def test_the_whole_menu(visit: Visit, home: Home) -> None:
    """A visitor corrects name and address, takes everything along, asks for something else, and deletes it all."""
    before = rows(home)
    page = visit(host="localhost", accept_downloads=True)
    frame = open_chat(page)
    choice(frame, KEEP).check()
    ask(frame)
    dialog = open_data(frame)

    dialog.get_by_text("Correct my details").click()
    form = dialog.locator("#details")
    form.get_by_label("Your name").fill("Ana Costa")
    form.get_by_label("Your e-mail address").fill("ana@example.com")
    form.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("status")).to_have_text("Saved.")
    expect(dialog.locator("dl")).to_contain_text("ana@example.com")
    with page.expect_download() as downloading:
        dialog.get_by_role("button", name="Download everything").click()
    with zipfile.ZipFile(io.BytesIO(downloading.value.path().read_bytes())) as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert downloading.value.suggested_filename == "acme-my-data.zip"
    assert b"Ana Costa" in everything
    assert QUESTION.encode() in everything
    dialog.get_by_text("Something else about my data").click()
    form = dialog.locator("#request")
    form.get_by_label("What is it about?").select_option(label="Object to a use")
    form.get_by_label("Your e-mail address").fill("ana@example.com")
    form.get_by_label("In your words").fill("No statistics, please.")
    form.get_by_role("button", name="Send").click()
    expect(dialog.get_by_role("status")).to_contain_text("has reached our team")
    with home.open("acme") as tenant:
        newest = list_requests(tenant).requests[-1]
        assert (newest.kind, newest.contact, newest.note) == ("objection", "ana@example.com", "No statistics, please.")

    dialog.get_by_role("button", name="Delete this conversation").click()
    frame.get_by_role("dialog", name="Delete this conversation").get_by_role("button", name="Delete").click()

    expect(frame.locator(".visitor")).to_have_count(0)
    wait_for_rows(page, home, before)
    expect(open_data(frame)).to_contain_text("Nothing is stored about you here.")
    with home.open("acme") as tenant:
        assert list_requests(tenant).requests[-1].conversation_id is None


def test_what_the_law_keeps_is_said(visit: Visit, home: Home) -> None:
    """Under a legal hold neither deleting nor taking back works, the visitor reads why, and nothing is lost."""
    frame = open_chat(visit())
    choice(frame, KEEP).check()
    ask(frame)
    with home.open("acme") as tenant:
        hold = set_hold(tenant, "A lawsuit.", conversation_id=list_conversations(tenant).conversations[0].id)
    dialog = open_data(frame)

    dialog.get_by_label(KEEP).click()

    expect(dialog.get_by_role("alert")).to_contain_text("the law asks for it")
    expect(dialog.get_by_label(KEEP)).to_be_checked()
    assert stored(frame)["localStorage"]
    with home.open("acme") as tenant:
        end_hold(tenant, hold.id)


def test_asking_for_a_person_says_that_it_is_kept(visit: Visit, home: Home) -> None:
    """Who agreed to nothing reads it before the message is sent; afterwards the reply can be found again."""
    page = visit()
    frame = open_chat(page)
    ask(frame)
    frame.get_by_label("More").click()
    frame.locator("#menu").get_by_role("button", name="Talk to a person").click()
    dialog = frame.get_by_role("dialog")
    expect(dialog).to_contain_text(consent_text("person").words)
    dialog.get_by_label("Your message").fill("Please ring.")
    dialog.get_by_role("button", name="Send").click()
    expect(frame.locator(".notice-line")).to_be_visible()

    assert set(stored(frame)["localStorage"]) == {"ruma-conversation:/t/acme", "ruma-conversation:/t/acme:person"}
    page.reload()
    expect(open_chat(page).locator(".visitor .words").last).to_have_text("Please ring.")


def test_by_keyboard_alone(visit: Visit) -> None:
    """The dialog is opened, gone through and closed by keys, and the focus comes back into the chat."""
    page = visit()
    frame = open_chat(page)
    choice(frame, KEEP).focus()
    choice(frame, KEEP).press("Space")
    ask(frame)
    frame.get_by_label("More").focus()
    frame.get_by_label("More").press("Enter")
    frame.locator("#menu").get_by_role("button", name="My data").press("Enter")
    dialog = frame.get_by_role("dialog", name="My data")
    expect(dialog.get_by_role("button", name="Download everything")).to_be_visible()

    seen = [frame.evaluate("document.activeElement.textContent.trim()")]
    for _ in range(6):
        page.keyboard.press("Tab")
        seen.append(frame.evaluate("document.activeElement.textContent.trim()"))
    page.keyboard.press("Escape")

    assert {"Download everything", "Correct my details", "Something else about my data", "Close"} <= set(seen)
    expect(dialog).to_be_hidden()
    expect(frame.locator("#menu")).not_to_have_attribute("open", "")


@pytest.mark.parametrize(
    "options", [{"color_scheme": "light"}, {"color_scheme": "dark", "viewport": {"width": 390, "height": 700}}]
)
def test_axe_finds_nothing(visit: Visit, options: Any) -> None:
    """The choices before the first message and the dialog with everything unfolded have no known barrier."""
    frame = open_chat(visit(**options))
    choice(frame, KEEP).check()
    assert violations(frame) == []
    ask(frame)
    dialog = open_data(frame)
    dialog.get_by_text("Correct my details").click()
    dialog.get_by_text("Something else about my data").click()
    expect(dialog.locator("dl")).to_contain_text("Messages")

    assert violations(frame) == []
    wide = frame.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0


def test_the_words_fit_in_every_language(visit: Visit, website: Website) -> None:
    """On a small phone nothing of the choices or the dialog is wider than it."""
    page = visit("about:blank", viewport={"width": 320, "height": 640})
    for language in sorted(read_words()):
        page.goto(f"{website.ruma}/t/acme/widget?lang={language}")
        page.wait_for_selector("body[data-ready]")
        page.evaluate(
            """() => { document.getElementById("data").showModal();
                document.querySelector(".of-conversation").hidden = false;
                for (const one of document.querySelectorAll("#data details")) one.open = true; }"""
        )

        assert choice(page, consent_text("keep", language).words).count() == 1
        fits = "document.getElementById('data').scrollWidth <= document.getElementById('data').clientWidth"
        assert page.evaluate(fits), language
        assert page.evaluate("document.documentElement.scrollWidth <= 320"), language


def test_the_chat_page_does_the_same(visit: Visit, website: Website, home: Home) -> None:
    """It is there after a reload, kept or not; who starts over ends what is not kept at once; it needs no scripts."""
    before = rows(home)
    page = visit(f"{website.ruma}/t/acme/")
    page.wait_for_selector("body[data-ready]")
    page.get_by_label("Your question").fill(QUESTION)
    page.get_by_label("Your question").press("Enter")
    expect(page.locator("#consent")).to_be_hidden()
    assert stored(page) == IN_TAB
    page.reload()
    expect(page.locator(".visitor .words")).to_have_text(QUESTION)
    page.get_by_role("link", name="Start over").click()
    wait_for_rows(page, home, before)

    page.wait_for_selector("body[data-ready]")
    choice(page, KEEP).check()
    page.get_by_label("Your question").fill(QUESTION)
    page.get_by_label("Your question").press("Enter")
    expect(page.locator("#consent")).to_be_hidden()
    assert stored(page)["sessionStorage"] == ["ruma-conversation:/t/acme"]
    expect(open_data(page)).to_contain_text("Messages2")

    plain = visit(f"{website.ruma}/t/acme/", java_script_enabled=False)
    choice(plain, KEEP).check()
    plain.get_by_label("Your question").fill(QUESTION)
    plain.get_by_role("button", name="Send").click()
    expect(plain.locator(".quote").first).to_be_visible()
    with home.open("acme") as tenant:
        newest = list_conversations(tenant).conversations[0]
        assert [one.choice.purpose for one in read_consent(tenant, newest.id).history] == ["keep"]


def test_a_browser_holds_what_the_table_says_and_nothing_else(visit: Visit, website: Website, home: Home) -> None:
    """After everything was used, by a visitor and a member, cookies and storage are all that the table names."""
    held: set[tuple[str, str, str]] = set()

    def note(who: str, place: Page | Frame, page: Page) -> None:
        found = stored(place)
        assert found["other"] == []
        for kind in ("localStorage", "sessionStorage"):
            held.update((who, kind, name) for name in found[kind])
        held.update((who, "cookie", cookie["name"]) for cookie in page.context.cookies())

    page = visit()
    frame = open_chat(page)
    choice(frame, KEEP).check()
    ask(frame)
    frame.get_by_role("button", name="Helpful", exact=True).click()
    ask_for_a_person(frame)
    note("visitor", frame, page)
    frame.get_by_label("More").click()
    frame.locator("#menu").get_by_role("button", name="Start over").click()
    ask(frame)
    note("visitor", frame, page)
    assert stored(page) == NOTHING
    chat = visit(f"{website.ruma}/t/acme/")
    chat.wait_for_selector("body[data-ready]")
    choice(chat, KEEP).check()
    chat.get_by_label("Your question").fill(QUESTION)
    chat.get_by_label("Your question").press("Enter")
    expect(chat.locator("#send")).to_be_visible()
    ask_for_a_person(chat)
    note("visitor", chat, chat)
    with home.open("acme") as tenant:
        sign_in(tenant)
    member = visit(f"{website.ruma}/t/acme/sign-in")
    member.get_by_label("E-mail address").fill("owner@acme.example")
    member.get_by_label("Password").fill(PASSWORD)
    member.get_by_role("button", name="Sign in").click()
    member.wait_for_selector("body.member")
    for place in (
        "Conversations",
        "Sources",
        "Questions and answers",
        "Agent",
        "Try it",
        "Members and keys",
        "Privacy",
        "Settings",
    ):
        member.locator("#places").get_by_role("link", name=place).click()
        expect(member.locator("h1")).to_be_visible()
        member.wait_for_timeout(150)
    note("member", member, member)

    known = {(one.who, one.place, one.name.replace("{tenant}", "acme")) for one in STORAGE}
    assert held == known


def ask_for_a_person(place: Page | Frame) -> None:
    """Leave a message for the team."""
    place.get_by_label("More").click()
    place.locator("#menu").get_by_role("button", name="Talk to a person").click()
    dialog = place.get_by_role("dialog")
    dialog.get_by_label("Your message").fill("Please ring.")
    dialog.get_by_role("button", name="Send").click()
    expect(place.locator(".notice-line")).to_be_visible()
