"""`ruma policy --check --server URL` from outside: a real server, with TLS and behind bad proxies."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ruma.cli.page_fetching import asking
from ruma.cli.policy import ask_server
from ruma.config import load_settings, write_setting
from ruma.connections import HomeLedger
from ruma.errors import InputError
from ruma.privacy.policy import gather_facts, write_policy
from ruma.privacy.policy_check import check_policy
from ruma.privacy.policy_parts import Statement, System
from ruma.server.policy_system import look_at_system
from ruma.tenant.agents import change_agent
from ruma.tenant.audit import list_audit
from ruma.tenant.connections import list_connections
from ruma.tenant.home import Home
from ruma.tenant.people.members import list_members
from tests.certificates import make_certificate
from tests.mangling import Answer, Mangle, ManglingProxy, leave
from tests.running import run
from tests.serving import FLAGS, Running, make_tenant

SHOP = "https://www.shop.example"


@dataclass(frozen=True)
class Served:
    """A server, and a proxy before it."""

    home: Path
    proxy: ManglingProxy
    system: System
    """What is seen of the application: it need not be asked again for what a proxy does."""


def make_home(folder: Path) -> None:
    """Make a home with a tenant that visitors reach in both ways."""
    home = Home(load_settings({"home": folder, **FLAGS}, {}))
    make_tenant(home)
    write_setting(folder, "key_source", "machine")
    with home.open("acme") as tenant:
        change_agent(tenant, websites=(SHOP,))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return the server of a home with one tenant."""
    folder = tmp_path_factory.mktemp("wire") / "home"
    make_home(folder)
    with Running(folder) as running:
        proxy, home = ManglingProxy(running.port), Home(load_settings({"home": folder}, {}))
        with home.open("acme") as tenant:
            yield Served(folder, proxy, look_at_system(home, tenant, gather_facts(tenant, home.settings)))
        proxy.close()


def find_untrue(home: Path, url: str, *more: str) -> dict[str, str]:
    """Return what `ruma policy --check` of a server finds untrue, by statement."""
    done = run("policy", "--check", "--server", url, "--json", "--home", home, *more)
    assert done.stdout, done.output
    found = json.loads(done.stdout)["statements"]
    untrue = {one["name"]: one["why"] for one in found if one["is_true"] is False}
    assert done.exit_code == bool(untrue)
    return untrue


def put(word: bytes, instead: bytes, ending: str = "") -> Mangle:
    """Return what takes a piece out of each answer whose path ends so, and puts another in."""

    def mangle(path: str, answer: Answer) -> Answer:
        status, headers, body = answer
        return status, headers, body.replace(word, instead) if path.endswith(ending) else body

    return mangle


def with_header(name: str, change: Callable[[str], str], ending: str = "") -> Mangle:
    """Return what changes a header of each answer that has it, and whose path ends so."""

    def mangle(path: str, answer: Answer) -> Answer:
        status, headers, body = answer
        changed = [(key, change(text) if key.lower() == name else text) for key, text in headers]
        return status, changed if path.endswith(ending) else headers, body

    return mangle


def counting_visitors(path: str, answer: Answer) -> Answer:
    """Give each visitor of the chat a cookie, as proxies do that spread load or count."""
    status, headers, body = answer
    return status, [*headers, ("Set-Cookie", "_lb=7; Path=/")] if path == "/t/acme" else headers, body


def keeping_answers() -> Mangle:
    """Return what hands out the first answer for a page again to everybody, as a badly set up cache does."""
    kept: dict[str, Answer] = {}
    return lambda path, answer: kept.setdefault(path, answer) if path.endswith("/account") else answer


BREAKS: dict[str, tuple[str, str, Mangle]] = {
    "a cookie that scripts read": (
        "cookies", "lacks httponly", with_header("set-cookie", lambda text: text.replace("HttpOnly; ", "")),
    ),
    "a cookie for plain HTTP": (
        "cookies", "lacks secure", with_header("set-cookie", lambda text: text.replace("; Secure", "")),
    ),
    "a cookie that stays": ("cookies", "stays longer", with_header("set-cookie", lambda text: f"{text}; Max-Age=9")),
    "a cookie for visitors": ("cookies", "Visitors are given cookies: _lb", counting_visitors),
    "another store": ("cookies", "talk.js keeps things in the browser, by: indexedDB", put(
        b"function remember(", b'indexedDB.open("x");\nfunction remember(', "talk.js")),
    "another key": ("cookies", "talk.js keeps in the browser: visitor-id", put(
        b"function remember(", b'localStorage.setItem("visitor-id", 1);\nfunction remember(', "talk.js")),
    "a script from elsewhere": ("elsewhere", "loads: https://count.example/x.js", put(
        b"</head>", b"<script src='https://count.example/x.js'></script></head>")),
    "a wider content policy": ("elsewhere", "may load from https://cdn.example", with_header(
        "content-security-policy", lambda text: text.replace("img-src 'self'", "img-src 'self' https://cdn.example"))),
    "a widget that reports": ("elsewhere", "widget.js names other servers: count.example", put(
        b"const script = ", b'fetch("https://count.example/"); const script = ', "widget.js")),
    "a style from elsewhere": ("elsewhere", "ruma.css names other servers: fonts.example", put(
        b":root", b"@import '//fonts.example/x.css'; :root", "ruma.css")),
    "a chat without its menu": ("rights-visitors", "no such menu on: /t/acme", put(b'id="menu"', b'id="more"')),
    "a page for who was signed in": ("sessions", "still lets a member in", keeping_answers()),
    "another promise": ("kept-exports", "says something else", put(b"fetch: 7 days", b"fetch: 9 days", "/privacy")),
    "one promise more": ("offline", "Only the page at", put(
        b"<h2>Changes</h2>", b'<p id="says-offline">This server is offline.</p>', "/privacy")),
}  # fmt: skip
"""What proxies make untrue: the statement, a piece of the reason, and how."""


def test_a_running_server_keeps_its_policy(served: Served) -> None:
    """Asked from outside, every statement is true; the member who signed in for it is gone, and both are on record."""
    assert find_untrue(served.home, served.proxy.url) == {}

    with Home(load_settings({"home": served.home, **FLAGS}, {})).open("acme") as tenant:
        assert list_members(tenant) == []
        actions = {entry.action for entry in list_audit(tenant, limit=20)}
        assert {"member.added", "session.begun", "member.removed", "policy.checked"} <= actions
        purposes = [one.attempt.purpose for one in list_connections(tenant, limit=20)]
    assert purposes == ["the policy is checked against the running server"]


OFTEN = {"a cookie that scripts read", "another key", "a widget that reports", "another promise", "one promise more"}
"""What every run breaks; the others are for the night."""


def leave_disk(statement: Statement) -> Statement:
    """Return a statement without its check where that reads files: no proxy changes those."""
    return replace(statement, check=None) if statement.name in ("encrypted", "key") else statement


@pytest.mark.parametrize(
    "name", [one if one in OFTEN else pytest.param(one, marks=pytest.mark.nightly) for one in BREAKS]
)
def test_what_the_wire_shows_untrue_is_named(served: Served, name: str) -> None:
    """Broken between the server and its visitor, the one statement is named, and why."""
    statement, why, served.proxy.mangle = BREAKS[name]
    tenant, facts = served.system.tenant, served.system.facts
    try:
        answers = ask_server(served.proxy.url, tenant, facts)
    finally:
        served.proxy.mangle = leave
    policy = write_policy(tenant, facts.settings)
    sections = [replace(part, statements=tuple(map(leave_disk, part.statements))) for part in policy.sections]
    system = replace(served.system, **vars(answers))
    found = check_policy(replace(policy, sections=tuple(sections)), system)

    (untrue,) = [one for one in found if one.is_true is False]
    assert untrue.name == statement
    assert why in untrue.why


def test_a_server_with_other_settings_is_named(served: Served) -> None:
    """Days that were changed in the file, and that a running server does not promise yet, are found."""
    settings = served.home / "ruma.toml"
    before = settings.read_text()
    settings.write_text(before + '\noperator_name = "Another Ltd"\n')
    try:
        assert list(find_untrue(served.home, served.proxy.url)) == ["place", "contact-operator"]
    finally:
        settings.write_text(before)


def test_the_certificate_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With TLS, a certificate that this machine trusts makes all true; else that is named, and nobody signs in."""
    make_home(tmp_path / "home")
    cert, key = make_certificate(tmp_path / "pair")
    with Running(tmp_path / "home", tls_cert=str(cert), tls_key=str(key)) as running:
        url = f"https://localhost:{running.port}"
        untrusted = find_untrue(tmp_path / "home", url)
        found_here = run("policy", "--check", "--home", tmp_path / "home")
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert find_untrue(tmp_path / "home", url) == {}
        plain = run("policy", "--check", "--server", f"http://localhost:{running.port}", "--home", tmp_path / "home")

    assert list(untrusted) == ["transit", "sessions", "cookies", "rights-members"]
    assert "is not trusted: self-signed certificate" in untrusted["transit"]
    assert found_here.exit_code == 0, found_here.output
    assert plain.exit_code == 1
    assert "cannot be asked" in plain.output


def test_a_server_without_encryption_is_named(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that others reach is no place to sign in at without TLS."""
    monkeypatch.setattr("ruma.server.addresses.is_loopback", lambda host: False)
    home = Home(load_settings({"home": served.home, **FLAGS}, {}))
    with home.open("acme") as tenant:
        answers = ask_server(served.proxy.url, tenant, gather_facts(tenant, home.settings))

    assert answers.transport == f"{served.proxy.url} is reached without encryption."
    assert answers.sessions_end == "Nobody signed in, since others might listen."


@pytest.mark.parametrize("url", ["ask.example.com", "ftp://ask.example.com", "https://a.example/t/acme", "http://[::1"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    """A sentence says what one looks like."""
    with pytest.raises(InputError, match="is not the address of a server"), asking(url, HomeLedger(tmp_path)):
        pass
