"""Session cookies in a real browser over TLS: what a neighbouring website plants, and two tabs of one member."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from ruma.tenant.home import Home
from ruma.tenant.people.members import create_member, find_member
from ruma.tenant.people.sessions import begin_session
from tests.browsing import CHROMIUM, SWITCHES, needs_chromium
from tests.certificates import make_certificate
from tests.serving import PASSWORD, Running, renew_tenant

SITE, NEIGHBOUR = "https://ask.shop.test", "https://evil.shop.test"
COOKIE, OTHER = "__Host-ruma-acme", "lantern gravel opera 51"

pytestmark = needs_chromium


class Neighbour(BaseHTTPRequestHandler):
    """A website of the same domain that sets the cookies it is asked for."""

    def do_GET(self) -> None:
        """Set them."""
        self.send_response(200)
        for cookie in parse_qs(urlsplit(self.path).query).get("set", []):
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the files of a certificate."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "ask.shop.test")


@pytest.fixture(scope="module")
def neighbour(certificate: tuple[Path, Path]) -> Iterator[int]:
    """Return the port of the website next door."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Neighbour)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def server(certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server with TLS and a public address."""
    files = {"tls_cert": str(certificate[0]), "tls_key": str(certificate[1])}
    with Running(tmp_path_factory.mktemp("home"), public_url=SITE, **files) as server:
        yield server


@pytest.fixture(scope="module")
def browser(server: Running, neighbour: int) -> Iterator[Browser]:
    """Return a Chromium that finds both websites on this machine, under their names."""
    rules = f"MAP ask.shop.test:443 127.0.0.1:{server.port},MAP evil.shop.test:443 127.0.0.1:{neighbour}"
    with sync_playwright() as playwright:
        switches = [*SWITCHES, f"--host-resolver-rules={rules}", "--ignore-certificate-errors"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=switches)
        yield browser
        browser.close()


@pytest.fixture
def home(server: Running) -> Home:
    """Return the server's home, with a new tenant and two members."""
    home = renew_tenant(server)
    with home.open("acme") as tenant:
        create_member(tenant, email="anna@example.com", name="Anna", role="owner", password=PASSWORD)
        create_member(tenant, email="eve@example.com", name="Eve", role="viewer", password=PASSWORD)
    return home


@pytest.fixture
def window(browser: Browser, home: Home) -> Iterator[BrowserContext]:
    """Return a window that remembers nothing."""
    context = browser.new_context(ignore_https_errors=True)
    yield context
    context.close()


def session_cookies(context: BrowserContext) -> list[str]:
    """Return the values that the browser would send us as the session's cookie."""
    return [one["value"] for one in context.cookies(SITE) if one["name"].lower() == COOKIE.lower()]


def sign_in(page: Page) -> None:
    """Sign Anna in at the door."""
    page.goto(f"{SITE}/t/acme/sign-in")
    page.get_by_label("E-mail address").fill("anna@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{SITE}/t/acme/overview")


def test_f45_a_cookie_tossed_by_a_neighbour_is_nobodys_session(window: BrowserContext, home: Home) -> None:
    """A website of the same domain plants its own open session, in every way there is: the browser takes none of
    those that count, and the server takes none of the others.
    """
    with home.open("acme") as tenant:
        theirs = begin_session(tenant, find_member(tenant, "eve@example.com").id)
    page = window.new_page()
    tossed = [
        f"{COOKIE}={theirs}; Domain=shop.test; Path=/; Secure",
        f"{COOKIE}={theirs}; Domain=shop.test; Path=/t/acme; Secure; HttpOnly; SameSite=None",
        f"{COOKIE.lower()}={theirs}; Domain=shop.test; Path=/; Secure",
        f"={COOKIE}={theirs}; Domain=shop.test; Path=/; Secure",
        f"{COOKIE} ={theirs}; Domain=shop.test; Path=/; Secure",
        f"ruma-acme={theirs}; Domain=shop.test; Path=/; Secure",
    ]
    for cookie in tossed:
        page.goto(f"{NEIGHBOUR}/?set={cookie.replace(';', '%3B').replace('=', '%3D').replace(' ', '%20')}")
    arrived = [one["name"] for one in window.cookies(SITE)]
    before = session_cookies(window)
    page.goto(f"{SITE}/t/acme/account")
    led_to = page.url
    sign_in(page)
    page.goto(f"{SITE}/t/acme/account")

    assert arrived == ["ruma-acme"]  # so the neighbour's cookies do reach us, where the name lets them
    assert before == []
    assert led_to.startswith(f"{SITE}/t/acme/sign-in")
    assert len(session_cookies(window)) == 1
    assert session_cookies(window) != [theirs]
    expect(page.locator("#field-name")).to_have_value("Anna")
    found = next(one for one in window.cookies(SITE) if one["name"] == COOKIE)
    assert (found["domain"], found["path"]) == ("ask.shop.test", "/")
    assert (found["secure"], found["httpOnly"], found["sameSite"]) == (True, True, "Lax")


def test_f45_of_two_tabs_the_older_one_changes_nothing_after_a_new_password(window: BrowserContext) -> None:
    """Both tabs have the new cookie, but the page that was loaded under the old one carries the mark of the old one."""
    one, two = window.new_page(), window.new_page()
    sign_in(one)
    first = session_cookies(window)
    two.goto(f"{SITE}/t/acme/account")
    one.goto(f"{SITE}/t/acme/account")
    form = one.locator("form[action$='/account/password']")
    form.locator("input[name=password]").fill(PASSWORD)
    form.locator("input[name=new_password]").fill(OTHER)
    with one.expect_navigation():
        form.get_by_role("button").click()
    expect(one.locator("#field-name")).to_have_value("Anna")
    second = session_cookies(window)

    with two.expect_response(lambda got: got.request.method == "POST") as caught:
        two.locator("#field-name").fill("Another name")
        two.locator("form[action$='/account/name']").get_by_role("button").click()
    refused = caught.value.status
    two.goto(f"{SITE}/t/acme/account")

    assert first != second
    assert refused == 403
    expect(two.locator("#field-name")).to_have_value("Anna")
