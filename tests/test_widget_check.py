import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ruma.config import load_settings
from ruma.server.host_page import Finding, allows, check_page, origin_of, read_page, read_policy, script_line
from ruma.tenant.agents import change_agent
from ruma.tenant.home import Home
from tests.running import run

AGENT = "https://agent.example.com/t/acme"
SHOP = "https://www.shop.example"
LINE = script_line(AGENT)


def findings(
    policy: str = "", *, markup: str = LINE, url: str = f"{SHOP}/", websites: tuple[str, ...] = (SHOP,), **headers: str
) -> list[Finding]:
    """Return what is said of a page with a policy."""
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    if policy:
        sent.append(("Content-Security-Policy", policy))
    return check_page(read_page(url, sent, markup), AGENT, websites)


def missing(policy: str = "", **page: object) -> list[str]:
    """Return what is to be added to a page with a policy."""
    return [finding.add for finding in findings(policy, **page) if not finding.is_fine]  # type: ignore[arg-type]


def test_a_page_with_the_line_and_no_policy_is_fine() -> None:
    """Nothing is missing where the script stands on an allowed website without a policy."""
    assert missing() == []


def test_the_line_is_given_where_it_is_missing() -> None:
    """Another tenant's script, or one of another server, is not this one."""
    for markup in ("", script_line("https://agent.example.com/t/other"), script_line("https://evil.example/t/acme")):
        assert missing(markup=markup) == [f"Write this line before </body>: {LINE}"]


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("script-src 'self'", ["Add to script-src: https://agent.example.com"]),
        ("script-src-elem 'self'; script-src *", ["Add to script-src-elem: https://agent.example.com"]),
        ("script-src 'none'", ["Add to script-src: https://agent.example.com (in place of 'none')"]),
        ("frame-src 'self'", ["Add to frame-src: https://agent.example.com"]),
        ("child-src 'self'", ["Add to child-src: https://agent.example.com"]),
        (
            "default-src 'self'",
            [
                "Add this directive: script-src 'self' https://agent.example.com",
                "Add this directive: frame-src 'self' https://agent.example.com",
            ],
        ),
        (
            "default-src 'none'; script-src https://agent.example.com",
            ["Add this directive: frame-src https://agent.example.com"],
        ),
        ("sandbox allow-scripts allow-forms", ["Add to sandbox: allow-same-origin allow-popups"]),
        (
            "script-src 'nonce-abc' 'strict-dynamic' https:",
            ['Write the page\'s nonce into the tag: <script nonce="…" src=…>'],
        ),
        (
            "script-src 'strict-dynamic'",
            ["script-src has 'strict-dynamic' and no nonce: add a nonce, to it and to the tag."],
        ),
    ],
)
def test_what_a_policy_lacks_is_named_with_its_directive(policy: str, wanted: list[str]) -> None:
    """The directive that decides is the one to add to, as browsers choose it."""
    assert missing(policy) == wanted


@pytest.mark.parametrize(
    "policy",
    [
        "script-src https://agent.example.com; frame-src https://agent.example.com",
        "script-src https://agent.example.com/t/acme/; frame-src https:",
        "default-src https://*.example.com",
        "default-src *",
        "SCRIPT-SRC agent.example.com; frame-src agent.example.com:443",
        "style-src 'none'; img-src 'none'; connect-src 'none'; font-src 'none'",
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "sandbox allow-scripts allow-same-origin allow-forms allow-popups",
    ],
)
def test_a_policy_that_is_enough_lacks_nothing(policy: str) -> None:
    """Schemes, wildcards, ports, paths and directives that the widget does not need are understood."""
    assert missing(policy) == []


def test_a_nonce_on_the_tag_is_enough() -> None:
    """With a matching nonce the script runs whatever the hosts are; with another it does not."""
    policy = "script-src 'nonce-abc' 'strict-dynamic'"

    assert missing(policy, markup=LINE.replace("<script", '<script nonce="abc"')) == []
    assert len(missing(policy, markup=LINE.replace("<script", '<script nonce="abd"'))) == 1


def test_every_policy_must_allow_it() -> None:
    """Two headers, one header of two policies and a policy in the markup each apply; a reported one does not."""
    strict = "script-src 'self'"
    in_markup = f'<meta http-equiv="Content-Security-Policy" content="{strict}; sandbox">{LINE}'

    assert len(missing("default-src *, script-src 'self'")) == 1
    assert len(missing("default-src *", content_security_policy=strict)) == 1
    assert missing(markup=in_markup) == ["Add to script-src: https://agent.example.com"]
    assert missing(content_security_policy_report_only=strict) == []


@pytest.mark.parametrize(
    "website",
    [
        "http://www.shop.example",
        "https://shop.example",
        "https://www.shop.example.evil.com",
        "https://www.shop.example:8443",
        "https://wwwxshop.example",
    ],
)
def test_a_website_is_allowed_only_by_its_exact_origin(website: str) -> None:
    """Another scheme, host or port is another website, and the one to add is named."""
    assert missing(url=f"{website}/page", websites=(SHOP,))[0] == (
        f"Add exactly this to the agent's allowed websites: {website}"
    )


def test_attributes_that_would_stop_the_script_are_named() -> None:
    """A fixed hash and a request with CORS do not go together with the script."""
    tag = LINE.replace(" async", ' async integrity="sha256-x" crossorigin')

    assert [add.split(":")[0] for add in missing(markup=tag)] == [
        "Take integrity off the tag",
        "Take crossorigin off the tag",
    ]


def test_a_page_by_https_needs_a_server_with_tls() -> None:
    """What a browser would block as mixed content is said."""
    page = read_page(f"{SHOP}/", [], script_line("http://agent.example.com/t/acme"))

    found = check_page(page, "http://agent.example.com/t/acme", [SHOP])

    assert [one.add.partition(":")[0] for one in found if not one.is_fine] == ["Serve Ruma with TLS"]


def test_an_embedder_policy_is_no_obstacle() -> None:
    """Cross-Origin-Embedder-Policy is named, and asks for nothing: the frame carries what it wants."""
    found = findings(cross_origin_embedder_policy='require-corp; report-to="x"')

    assert "Cross-Origin-Embedder-Policy is require-corp: the widget's frame is made for that." in [
        one.what for one in found
    ]
    assert all(one.is_fine for one in found)


def test_addresses_are_compared_as_browsers_do() -> None:
    """Default ports, upper case and the base of a page's addresses mean nothing of their own."""
    assert origin_of("HTTPS://Shop.Example:443/x") == "https://shop.example"
    assert origin_of("http://[::1]:8000/") == "http://[::1]:8000"
    assert origin_of("ftp://shop.example/") == ""
    based = f'<base href="{AGENT}/"><script async src=widget.js></script>'
    assert missing(markup=based) == []
    assert not allows(["http://agent.example.com:8000"], f"{AGENT}/widget.js", SHOP)
    assert allows(["http://agent.example.com"], f"{AGENT}/widget.js", SHOP)
    assert not allows(["'self'"], f"{AGENT}/widget.js", SHOP)
    assert allows(["'self'"], f"{AGENT}/widget.js", "https://agent.example.com/page")
    assert read_policy("script-src a; SCRIPT-SRC b;; ;") == {"script-src": ["a"]}


class Shop(BaseHTTPRequestHandler):
    """A website: a page with a policy, a redirect to it, a redirect to a file, an endless page."""

    def do_GET(self) -> None:
        """Answer."""
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/")
        elif self.path == "/file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
        elif self.path == "/gone":
            self.send_response(404)
        else:
            self.send_response(200)
            self.send_header("Content-Security-Policy", "script-src 'self'")
        self.end_headers()
        if self.path == "/endless":
            while self.wfile.write(b"x" * 65536):
                pass
        self.wfile.write(script_line("http://127.0.0.1:8420/t/acme").encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def shop() -> Iterator[str]:
    """Return the origin of a running website."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=partial(server.serve_forever, 0.01), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def tenant() -> str:
    """Return the name of a tenant that is there."""
    Home(load_settings()).create("acme")
    return "acme"


def test_the_command_reads_a_page_and_says_what_to_add(tenant: str, shop: str) -> None:
    """The page's headers count, redirects are followed, and it ends with 1 until nothing is missing."""
    result = run("widget", "check", f"{shop}/moved")

    assert result.exit_code == 1
    assert f"Add exactly this to the agent's allowed websites: {shop}" in result.stdout
    assert "Add to script-src: http://127.0.0.1:8420" in result.stdout
    assert [one["is_fine"] for one in json.loads(run("widget", "check", shop, "--json").stdout)].count(False) == 2


def test_the_command_ends_well_when_all_is_well(tenant: str, tmp_path: Path) -> None:
    """A file with the printed line, and an agent that allows a website, is all it takes."""
    with Home(load_settings()).open(tenant) as opened:
        change_agent(opened, websites=(SHOP,))
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><h1>Shop</h1>{run('widget', 'line').stdout}")

    result = run("widget", "check", file)

    assert result.exit_code == 0
    assert "missing" not in result.stdout
    assert "The widget's script is on the page." in result.stdout


def test_the_example_website_is_fine() -> None:
    """The page in examples/ has the line for the tenant that the first ingest makes on this machine."""
    home = Home(load_settings())
    home.create("main")
    with home.open("main") as opened:
        change_agent(opened, websites=("http://localhost:8000",))

    result = run("widget", "check", Path(__file__).parents[1] / "examples" / "website" / "index.html")

    assert result.exit_code == 0, result.stdout


def test_the_line_is_made_for_the_address_that_is_given(tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names where visitors reach the server, by flag or by setting; what is no address is refused."""
    assert run("widget", "line", "--address", "https://agent.example.com/").stdout.strip() == LINE
    assert run("widget", "line").stdout.strip() == script_line("http://127.0.0.1:8420/t/acme")
    with monkeypatch.context() as environ:
        environ.setenv("RUMA_PUBLIC_URL", "https://agent.example.com")
        assert run("widget", "line").stdout.strip() == LINE
    refused = run("widget", "line", "--address", "agent.example.com")
    assert refused.exit_code == 1
    assert "https://agent.example.com" in refused.stderr


@pytest.mark.parametrize(
    ("path", "said"),
    [("/file", "not followed"), ("/gone", "answered with 404"), ("/endless", "larger than 5 MB")],
)
def test_what_cannot_be_read_is_said(tenant: str, shop: str, path: str, said: str) -> None:
    """A redirect to a file of this machine, an error and an endless page each end with one sentence."""
    result = run("widget", "check", shop + path)

    assert result.exit_code == 1
    assert said in result.stderr
    assert run("widget", "check", "/no/such/page.html").exit_code == 1


def test_proxies_of_the_environment_are_not_asked(tenant: str, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is fetched from where it is, whatever the environment says."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert "allowed websites" in run("widget", "check", shop).stdout
