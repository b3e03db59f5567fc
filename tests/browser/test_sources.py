"""The page of sources in a real browser: files by drag and drop, texts, what becomes of them, removing them."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from ruma.tenant.home import Home
from ruma.tenant.knowledge.uploads import receive_upload, take_upload
from tests.browsing import PHONE, enter, needs_chromium, watched_page
from tests.hostile import HostileServer
from tests.serving import Running, renew_tenant

MENU = "# Cake menu\n\nThe walnut cake costs nine pounds. The lemon cake costs eight pounds.\n"
HTML = {"Content-Type": "text/html"}
WALNUT = "The walnut cake costs nine pounds."

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def website() -> Iterator[HostileServer]:
    """Return a small website on this machine."""
    site = HostileServer()
    site.pages |= {
        "/": (200, HTML, b"<title>Marrowby Bakery</title><p>We bake bread.<a href=/cakes>Cakes</a><a href=/b>b</a>"),
        "/cakes": (200, HTML, b"<title>Our cakes</title><p>The walnut cake costs nine pounds."),
        "/b": (503, {}, b""),
    }
    yield site
    site.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, website: HostileServer) -> Iterator[Running]:
    """Return a running server, which takes files of up to 2 MB and may read that website."""
    near = f"127.0.0.1:{website.port}"
    with Running(tmp_path_factory.mktemp("home"), max_file_mb="2", private_networks=near) as running:
        yield running


@pytest.fixture
def home(server: Running) -> Home:
    """Return its home, with a new tenant of two documents."""
    return renew_tenant(server)


@pytest.fixture
def page(browser: Browser, home: Home, server: Running) -> Iterator[Page]:
    """Return the page of sources as an editor sees it; at the end nothing may have gone wrong on it."""
    with watched_page(enter(browser, home, server)) as page:
        page.goto("/t/acme/sources")
        page.wait_for_selector("body[data-ready]")
        yield page


def drop(page: Page, *files: tuple[str, str | int]) -> None:
    """Drop files on the page, each a name and its text or its size in bytes."""
    held = page.evaluate_handle(
        """(files) => {
            const data = new DataTransfer();
            for (const [name, content] of files) {
                data.items.add(new File([typeof content === "number" ? new Uint8Array(content) : content], name));
            }
            return data;
        }""",
        [list(file) for file in files],
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event("main", event, {"dataTransfer": held})


def documents(page: Page) -> Any:
    """Return the rows of the list of documents."""
    return page.locator(".documents tbody tr")


def test_a_dropped_file_answers_a_question(page: Page) -> None:
    """Dropped on the page, it is read without a reload, and the agent quotes it with its place."""
    drop(page, ("cakes.md", MENU))

    expect(page.locator("#coming-said")).to_have_text("cakes.md was added.")
    expect(documents(page).filter(has_text="Cake menu")).to_be_visible(timeout=15_000)
    expect(page.locator("#coming li")).to_have_count(0)
    expect(documents(page)).to_have_count(3)
    page.goto("/t/acme/")
    page.get_by_label("Your question").fill("How much is the walnut cake?")
    page.get_by_label("Your question").press("Enter")
    expect(page.locator(".source .quote").first).to_have_text(WALNUT)


def test_several_files_at_once(page: Page) -> None:
    """Each has a row of its own: the good ones become documents, the others say why they did not."""
    drop(page, ("a.md", "# Almonds\n\nAlmonds are here."), ("bad.pdf", "no PDF"), ("big.txt", 2_100_000))

    expect(documents(page).filter(has_text="Almonds")).to_be_visible(timeout=15_000)
    failed = page.locator(".uploads li").filter(has_text="bad.pdf")
    expect(failed).to_contain_text("This file is named .pdf but holds plain text")
    expect(page.locator("#coming li")).to_contain_text("larger than 2 MB")
    page.get_by_role("button", name="Dismiss: big.txt").click()
    expect(page.locator("#coming li")).to_have_count(0)
    page.get_by_role("button", name="Discard bad.pdf").click()
    expect(page.locator(".done")).to_have_text("Removed.")
    expect(page.locator(".uploads li")).to_have_count(0)


def test_the_keyboard_alone(page: Page) -> None:
    """The button for files, the paste form and a removal with its question work without a mouse."""
    page.locator("#files").focus()
    page.locator("#files").set_input_files({"name": "k.md", "mimeType": "text/markdown", "buffer": MENU.encode()})
    expect(documents(page).filter(has_text="Cake menu")).to_be_visible(timeout=15_000)

    page.locator("summary").filter(has_text="Paste a text").focus()
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="Title").fill("Holidays")
    page.get_by_label("Text", exact=True).fill("We are closed in August.")
    page.get_by_role("button", name="Add the text").press("Enter")
    expect(page.locator(".done")).to_have_text("Added.")
    expect(documents(page).filter(has_text="Holidays")).to_be_visible(timeout=15_000)

    page.get_by_role("button", name="Remove Holidays").press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Remove “Holidays”?")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(documents(page).filter(has_text="Holidays")).to_be_visible()
    page.get_by_role("button", name="Remove Holidays").press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".done")).to_have_text("Removed.")
    expect(documents(page).filter(has_text="Holidays")).to_have_count(0)


def test_a_search_and_a_documents_text(page: Page) -> None:
    """The search leaves what it found; a title leads to the text, and a download has the file's name."""
    page.get_by_label("Search documents").fill("opening")
    page.get_by_label("Search documents").press("Enter")
    expect(documents(page)).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download hours.md").click()
    assert download.value.suggested_filename == "hours.md"
    page.get_by_role("link", name="Opening hours", exact=True).click()
    expect(page).to_have_url(re.compile(r"/t/acme/documents/\d+$"))
    expect(page.get_by_role("article")).to_contain_text("The shop opens on Sundays")


def test_leaving_and_coming_back_keeps_the_rows(page: Page) -> None:
    """What failed while it was sent is still told after another page of ours was looked at."""
    drop(page, ("big.txt", 2_100_000))
    expect(page.locator("#coming li")).to_have_count(1)

    page.get_by_label("Search documents").fill("delivery")
    page.get_by_label("Search documents").press("Enter")

    expect(page).to_have_url(re.compile("search=delivery"))
    expect(page.locator("#coming li")).to_contain_text("larger than 2 MB")


@pytest.mark.parametrize(("width", "scheme"), PHONE)
def test_it_fits_and_is_accessible(browser: Browser, home: Home, server: Running, width: int, scheme: str) -> None:
    """Nothing is wider than the window, and axe-core finds nothing, with all kinds of rows and the form open."""
    with home.open("acme") as tenant:
        receive_upload(tenant, "scan.pdf", [b"x"], kind="upload", added_by="Ada", most_bytes=9)
        taken = take_upload(tenant)
        assert taken
        taken.fail("has no text in it.")
        taken.release()
        receive_upload(tenant, "waits.pdf", [b"x"], kind="upload", added_by="Ada", most_bytes=9)
    context = enter(
        browser,
        home,
        server,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.goto("/t/acme/sources")
    page.wait_for_selector("body[data-ready]")
    page.locator("summary").filter(has_text="Paste a text").click()

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    context.close()


@pytest.mark.parametrize(("width", "scheme"), PHONE)
def test_a_website_is_read_while_one_looks(
    browser: Browser, home: Home, server: Running, website: HostileServer, width: int, scheme: Any
) -> None:
    """Its address in a form is all it takes: the page shows that it is read, and then its pages and what was not."""
    sizes = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with watched_page(enter(browser, home, server, **sizes)) as page:
        page.goto("/t/acme/sources")
        page.get_by_text("Add a web page or website").click()
        page.get_by_label("Address").fill("javascript:alert(1)")
        page.get_by_label("The whole website").check()
        page.get_by_role("button", name="Read it").click()
        expect(page.get_by_text("has no host that can be read")).to_be_visible()
        expect(page.get_by_label("The whole website")).to_be_checked()
        assert Axe().run(page).response["violations"] == []
        page.get_by_label("Address").fill(website.url)
        page.get_by_role("button", name="Read it").click()
        section = page.locator("section", has=page.get_by_role("heading", name="From the web"))
        expect(section.get_by_text("1 page could not be read")).to_be_visible(timeout=20_000)
        expect(section.get_by_text("Whole website, 2 pages")).to_be_visible()
        expect(documents(page).filter(has_text="Our cakes")).to_be_visible()
        assert Axe().run(page).response["violations"] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
