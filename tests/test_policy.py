"""The privacy policy: written from what is in force, and found untrue where it is."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ruma.config import Settings, write_setting
from ruma.connections import Attempt, Ending, HomeLedger, note_refused
from ruma.privacy.policy import gather_facts, write_policy
from ruma.privacy.policy_check import check_policy
from ruma.privacy.policy_formats import write_out
from ruma.privacy.policy_pages import Page
from ruma.privacy.policy_parts import Policy, System
from ruma.server import rendering, request_log
from ruma.server.guarding import SECURITY_HEADERS
from ruma.server.pages import signing_in
from ruma.server.policy_system import look_at_system
from ruma.tenant.agents import change_agent
from ruma.tenant.connections import READS_SOURCE, TenantLedger
from ruma.tenant.home import Home
from ruma.tenant.people import sessions
from ruma.tenant.people.members import create_member
from ruma.tenant.policy_versions import list_versions, read_check
from ruma.tenant.profile import change_profile
from ruma.tenant.tenant import Tenant
from tests.running import run
from tests.serving import PASSWORD, make_tenant

Patch = pytest.MonkeyPatch


@pytest.fixture
def home(settings: Settings) -> Home:
    """Return a home with a tenant that visitors reach in both ways."""
    home = Home(replace(settings, key_source="machine"))
    make_tenant(home)
    return home


@pytest.fixture
def acme(home: Home) -> Iterator[Tenant]:
    """Return the tenant, with a member and a conversation."""
    with home.open("acme") as tenant:
        change_agent(tenant, websites=("https://www.shop.example",))
        create_member(tenant, email="ada@acme.example", name="Ada", role="owner", password=PASSWORD)
        yield tenant


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> System:
    """Return what was seen of an application as it is: it need not be asked again for each row that is broken."""
    home = Home(Settings(home=tmp_path_factory.mktemp("looked-at"), key_source="machine"))
    make_tenant(home)
    with home.open("acme") as tenant:
        change_agent(tenant, websites=("https://www.shop.example",))
        return look_at_system(home, tenant, gather_facts(tenant, home.settings))


def find_untrue(home: Home, tenant: Tenant, seen: System | None = None, **settings: Any) -> dict[str, str]:
    """Return what the check of the policy finds untrue, by statement; the application is asked anew unless it was."""
    home = Home(replace(home.settings, **settings))
    policy, facts = write_policy(tenant, home.settings), gather_facts(tenant, home.settings)
    system = replace(seen, tenant=tenant, facts=facts) if seen else look_at_system(home, tenant, facts)
    findings = check_policy(policy, system)
    return {finding.name: finding.why for finding in findings if finding.is_true is False}


def execute(tenant: Tenant, sql: str) -> None:
    """Change rows behind the program's back."""
    with tenant.writing() as db:
        for statement in sql.split(";"):
            db.execute(statement)


def days_ago(days: int) -> str:
    """Return a time so many days ago, as it is stored."""
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_conversation(tenant: Tenant, **columns: Any) -> None:
    """Store a conversation of these times."""
    names = {"channel": "page", "started_at": days_ago(1), "last_at": days_ago(1), **columns}
    values = ", ".join(repr(value) for value in names.values())
    execute(tenant, f"insert into conversation ({', '.join(names)}) values ({values})")


def whole_address_in_log(tenant: Tenant, home: Home, patch: Patch) -> None:
    """Have the log hold whole addresses."""
    patch.setattr(request_log, "network_of", lambda address: address)


def readable_database(tenant: Tenant, home: Home, patch: Patch) -> None:
    """Put a database beside the tenant's own that anybody can read."""
    import sqlite3

    db = sqlite3.connect(tenant.folder / "copy.db")
    db.execute("create table t (x)")
    db.close()


def cookie_without_flag(tenant: Tenant, home: Home, patch: Patch) -> None:
    """Let scripts read the session's cookie."""
    usual = signing_in._cookie
    patch.setattr(signing_in, "_cookie", lambda *args: {**usual(*args), "httponly": False})


def looser_policy(tenant: Tenant, home: Home, patch: Patch) -> None:
    """Let pages load from elsewhere."""
    loose = SECURITY_HEADERS["content-security-policy"].replace("img-src 'self'", "img-src 'self' https://cdn.example")
    patch.setitem(SECURITY_HEADERS, "content-security-policy", loose)


def unlisted_connection(tenant: Tenant, home: Home, patch: Patch) -> None:
    """Have connected to somebody for a reason that the policy does not name."""
    ledger = TenantLedger(tenant)
    number = ledger.begin(Attempt(days_ago(1), "analytics", "collector.example", 443))
    ledger.end(number, Ending("done"))


def endless_session(tenant: Tenant, home: Home, patch: Patch) -> None:
    """Let sessions live for ever."""
    patch.setattr(sessions, "_ALIVE", "member.id > 0 and :now > 0")


def page_without(template: str, words: str) -> Callable[[Tenant, Home, Patch], None]:
    """Return a break that shows a page with other words in place of these."""

    def change(tenant: Tenant, home: Home, patch: Patch) -> None:
        pages = rendering._environment()
        usual = pages.get_template

        def get_template(name: str, *more: Any) -> Any:
            found = usual(name, *more)
            return found if name != template else Mapped(found)

        class Mapped:
            def __init__(self, found: Any) -> None:
                self.found = found

            def render(self, values: Any) -> str:
                shown = self.found.render(values)
                assert words in shown
                return str(shown.replace(words, "nothing"))

        patch.setattr(pages, "get_template", get_template)

    return change


def sql(text: str) -> Callable[[Tenant, Home, Patch], None]:
    """Return a break that changes rows."""
    return lambda tenant, home, patch: execute(tenant, text)


BREAKS: dict[str, list[Callable[[Tenant, Home, Patch], None]]] = {
    "kinds": [sql("create table visitor_profile (id integer)")],
    "visitors": [sql("alter table conversation add column address text")],
    "members": [sql("update member set password_hash = 'seven loaves under the oak'")],
    "technical": [
        sql(
            """insert into session (secret_hash, member_id, epoch, started_at, seen_at, browser, address)
               values (x'00', 1, 0, 1e12, 1e12, 'Firefox', '203.0.113.77')"""
        )
    ],
    "log": [whole_address_in_log],
    "payments": [
        sql("alter table profile add column iban text"),
        sql("alter table billing add column paid_on text"),
        sql("update billing set customer = '4242 4242 4242 4242'"),
    ],
    "place": [sql("insert into ruma_identity values ('another')")],
    "encrypted": [
        readable_database,
        lambda tenant, home, patch: (tenant.folder / "notes.txt").write_text("Ana asked about cakes. " * 100) and None,
    ],
    "key": [
        lambda tenant, home, patch: (tenant.folder / "spare").write_bytes(tenant.key.raw) and None,
        lambda tenant, home, patch: (tenant.folder / "key.txt").write_text(tenant.key.recovery_text()) and None,
    ],
    "transit": [],
    "sessions": [
        endless_session,
        lambda t, h, patch: patch.setattr(sessions, "_ALIVE", sessions._ALIVE.replace(" - 1800 ", " - 86400 ")),
        lambda t, h, patch: patch.setattr(sessions, "_ALIVE", sessions._ALIVE.replace(" - 43200 ", " - 86400 ")),
    ],
    "kept-conversations": [lambda tenant, home, patch: new_conversation(tenant, last_at=days_ago(190))],
    "kept-passing": [lambda tenant, home, patch: new_conversation(tenant, last_at=days_ago(3), is_kept=0)],
    "kept-technical": [
        sql(
            """insert into session (secret_hash, member_id, epoch, started_at, seen_at, browser, address)
               values (x'00', 1, 0, 1e9, 1e9, 'Firefox', '203.0.113.0/24')"""
        ),
        sql("insert into attempt values (x'00', 1, 1, '2020-01-01T00:00:00Z')"),
        sql(
            """insert into upload (kind, name, size_bytes, sealed_id, state, added_by, added_at)
               values ('text', 'x', 1, 'x', 'done', 'Ada', '2020-01-01T00:00:00Z')"""
        ),
    ],
    "kept-audit": [
        sql(
            """drop trigger audit_is_final; update audit set at = '2020-01-01T00:00:00Z'
               where id = (select min(id) from audit);
               insert into audit (id, at, actor_kind, actor_id, address, action, subject, details, hash)
               values (9999, '2020-01-01T00:00:00Z', 'ruma', 0, '', 'a.done', '', '{}', x'00')"""
        ),
        sql(
            """insert into connection (at, purpose, host, port, actor_kind, actor_id)
               values ('2020-01-01T00:00:00Z', 'the policy is checked against the running server', 'x', 1, 'ruma', 0)"""
        ),
    ],
    "kept-exports": [
        sql(
            """insert into export (kind, state, sealed_id, has_password, asked_by, asked_at, made_at)
               values ('tenant', 'done', 'x', 0, 'Ada', '2020-01-01T00:00:00Z', '2020-01-01T00:00:00Z')"""
        )
    ],
    "kept-receipts": [
        sql(
            """insert into rights_request (kind, origin, received_on, due_on, state, closed_at)
               values ('access', 'operator', '2019-12-01', '2020-01-01', 'done', '2020-01-01T00:00:00Z')"""
        ),
        sql(
            """insert into erasure (asked_at, draft, receipt, secret, pieces, terms, files)
               values ('2020-01-01T00:00:00Z', '{}', '{}', x'00', x'00', x'00', '[]')"""
        ),
    ],
    "recipients": [unlisted_connection],
    "telemetry": [
        lambda tenant, home, patch: note_refused(HomeLedger(home.settings.home), "telemetry.example", 443),
        lambda tenant, home, patch: patch.setenv("SENTRY_DSN", "https://x@sentry.example/1"),
    ],
    "offline": [],
    "cookies": [cookie_without_flag],
    "elsewhere": [looser_policy],
    "rights-visitors": [page_without("chat.html", 'id="menu"')],
    "rights-members": [page_without("account.html", f"account/{one}") for one in ("data", "remove", "email")],
}
"""What makes each statement untrue. Those without have a test of their own below."""


ANSWERED = {"log", "sessions", "cookies", "elsewhere", "rights-visitors", "rights-members"}
"""Statements about what the application answers: it is asked anew for each of their breaks."""


def test_the_policy_of_a_new_tenant_is_true(home: Home, acme: Tenant) -> None:
    """Every statement that can be checked is true of the program as it is."""
    new_conversation(acme)

    assert find_untrue(home, acme) == {}


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name, breaks in BREAKS.items() for place in range(len(breaks))]
)
def test_a_statement_that_is_not_true_is_named(
    home: Home, acme: Tenant, looked_at: System, monkeypatch: Patch, name: str, place: int
) -> None:
    """Broken in earnest, it is the one that the check names, and no other."""
    BREAKS[name][place](acme, home, monkeypatch)

    assert list(find_untrue(home, acme, None if name in ANSWERED else looked_at)) == [name]


def test_members_who_have_not_accepted_the_terms_have_their_rights(
    home: Home, acme: Tenant, tmp_path: Path, monkeypatch: Patch
) -> None:
    """What lets a member go is on the page of the terms, and missed where it is not."""
    (tmp_path / "terms.md").write_text("Be kind.")
    terms = {"terms": str(tmp_path / "terms.md")}
    assert find_untrue(home, acme, **terms) == {}

    page_without("terms.html", "account/remove")(acme, home, monkeypatch)

    assert list(find_untrue(home, acme, **terms)) == ["rights-members"]


def test_no_statement_is_without_a_check_or_a_reason(home: Home, acme: Tenant) -> None:
    """Each says why no program can check it, or has a check, and each check was seen to fail."""
    policy = write_policy(acme, replace(home.settings, offline=True))

    assert {one.name for one in policy.statements if one.check} == BREAKS.keys()
    assert all(bool(one.check) != bool(one.unchecked) for one in policy.statements)
    assert len({one.name for one in policy.statements}) == len(policy.statements)


def test_a_server_that_others_reach_without_encryption_is_named(home: Home, acme: Tenant) -> None:
    """An open address needs a certificate or a proxy."""
    assert list(find_untrue(home, acme, host="192.0.2.5")) == ["transit"]
    assert find_untrue(home, acme, host="192.0.2.5", behind_proxy="192.0.2.6", public_url="https://a.example") == {}


def test_a_promise_of_being_offline_is_held_against_the_process(home: Home, acme: Tenant, looked_at: System) -> None:
    """This process is not offline, whatever its settings say."""
    assert list(find_untrue(home, acme, looked_at, offline=True)) == ["offline"]


@pytest.mark.parametrize(
    ("cookie", "said"),
    [
        ("__Host-ruma-acme=x; Path=/; HttpOnly; SameSite=Lax", "lacks secure"),
        ("__Host-ruma-acme=x; Path=/; Secure; HttpOnly", "lacks SameSite"),
        ("__Host-ruma-acme=x; Secure; HttpOnly; SameSite=Lax; Domain=example.com", "more hosts"),
        ("__Host-ruma-acme=x; Secure; HttpOnly; SameSite=Lax; Max-Age=99999", "stays longer"),
        ("_ga=x; Secure; HttpOnly; SameSite=Lax", "does not name"),
        ("", "set no cookie"),
    ],
)
def test_cookies_are_read_as_browsers_do(looked_at: System, cookie: str, said: str) -> None:
    """A missing flag, a wider reach, a longer life and another name are each told."""
    from ruma.privacy.policy_check import cookies_are_as_said

    system = looked_at
    headers = (("set-cookie", cookie),) if cookie else ()

    assert cookies_are_as_said(system) == ""
    assert said in cookies_are_as_said(replace(system, signed_in=Page("/", 303, headers)))
    if cookie:
        assert "Visitors are given" in cookies_are_as_said(replace(system, pages=(Page("/", 200, headers),)))


@pytest.mark.parametrize(
    ("body", "is_fine"),
    [
        ('<script src="https://cdn.example/x.js"></script>', False),
        ('<img src="//cdn.example/x.png">', False),
        ('<link rel="stylesheet" href="https://fonts.example/x.css">', False),
        ('<a href="https://www.shop.example/">shop</a><img src="/static/x.svg">', True),
    ],
)
def test_what_a_page_loads_is_read_from_its_markup(looked_at: System, body: str, is_fine: bool) -> None:
    """A script, a picture and a style from elsewhere are named; a link that a person may follow is not."""
    from ruma.privacy.policy_check import pages_load_nothing_from_elsewhere

    headers = (("content-type", "text/html"), ("content-security-policy", SECURITY_HEADERS["content-security-policy"]))
    system = replace(looked_at, pages=(Page("/x", 200, headers, body),))

    assert (pages_load_nothing_from_elsewhere(system) == "") is is_fine
    assert "no content policy" in pages_load_nothing_from_elsewhere(
        replace(system, pages=(Page("/x", 200, headers[:1], ""),))
    )


def test_a_hold_keeps_an_old_conversation_true(home: Home, acme: Tenant, looked_at: System) -> None:
    """What the law requires to be held is older than promised, and the policy says so."""
    new_conversation(acme, last_at=days_ago(400))
    execute(
        acme,
        """insert into hold (conversation_id, reason, set_by_kind, set_by_id, set_at)
           values ((select max(id) from conversation), 'a court', 'operator', 0, '2026-01-01T00:00:00Z')""",
    )

    assert find_untrue(home, acme, looked_at) == {}


def test_a_check_that_breaks_proves_nothing(home: Home, acme: Tenant, looked_at: System) -> None:
    """Where something cannot be looked at, the statement counts as untrue."""
    execute(acme, "drop table export")

    assert "could not be checked" in find_untrue(home, acme, looked_at)["kept-exports"]


def test_a_changed_policy_is_a_new_version(home: Home, acme: Tenant) -> None:
    """The same text is the same version; a mail server, a name and other days each make a new one, and all are kept."""
    first = write_policy(acme, home.settings)
    assert write_policy(acme, home.settings).version == first.version

    change_profile(acme, business_name="Marrowby Bakery", contact_email="hello@bakery.example")
    second = write_policy(acme, home.settings)
    mailing = replace(home.settings, smtp_host="mail.example", mail_from="a@bakery.example", operator_name="Host Ltd")
    third = write_policy(acme, mailing)

    assert [one.id for one in list_versions(acme)] == [3, 2, 1]
    assert "hello@bakery.example" in text_of(second)
    assert "mail.example" not in text_of(second)
    assert "mail.example" in text_of(third)
    assert "Host Ltd" in text_of(third)
    assert "Privacy policy of acme" in list_versions(acme)[-1].text


def test_past_recipients_stay_in_the_policy(home: Home, acme: Tenant, looked_at: System) -> None:
    """A mail server that is not in the settings any more got mail all the same."""
    ledger = TenantLedger(acme)
    ledger.end(ledger.begin(Attempt(days_ago(3), "mail: a trial", "old.example", 587)), Ending("done"))

    assert "old.example" in text_of(write_policy(acme, home.settings))
    assert find_untrue(home, acme, looked_at) == {}


def test_websites_that_were_read_stand_in_the_policy(home: Home, acme: Tenant, looked_at: System) -> None:
    """A page that was fetched as a source told its server something: who that is, and what it learned, is said."""
    ledger = TenantLedger(acme)
    ledger.end(ledger.begin(Attempt(days_ago(0), READS_SOURCE, "www.shop.example", 443)), Ending("done"))

    text = text_of(write_policy(acme, home.settings))

    assert "were fetched from www.shop.example: whoever runs these websites learns which page was asked for" in text
    assert find_untrue(home, acme, looked_at) == {}


def test_names_make_no_markup(home: Home, acme: Tenant) -> None:
    """What a business calls itself is text in each format (test 58)."""
    from markdown_it import MarkdownIt

    named = r"# <script>alert(1)</script> | x ![x](http://x.example/) [a](javascript:alert(1)) \<b> \[c](http://x) \| y"
    change_profile(acme, business_name=named)

    policy = write_policy(acme, home.settings)

    assert "<script>" not in write_out(policy, "html")
    assert "&lt;script&gt;" in write_out(policy, "html")
    assert "\n# <script>" not in write_out(policy, "markdown")
    assert write_out(policy, "text").startswith(f"Privacy policy of {named}\n---")
    page = MarkdownIt("commonmark").enable("table").render(write_out(policy, "markdown"))
    assert not re.search(r"<(script|img|b|a)\b", page)
    assert page.count("![x](http://x.example/)") == write_out(policy, "text").count("![x](http://x.example/)") > 0
    assert "In force since" in write_out(policy, "text")


def test_the_command_writes_and_checks(home: Home, acme: Tenant) -> None:
    """`ruma policy` prints in three formats; `--check` ends with 1 and names what is not true; the result is kept."""
    write_setting(home.settings.home, "key_source", "machine")

    assert run("policy").stdout.startswith("Privacy policy of acme\n---")
    assert run("policy", "--format", "html").stdout.startswith("<!doctype html>")
    assert run("policy", "--format", "pdf").exit_code == 1
    done = run("policy", "--check")
    assert done.exit_code == 0, done.output
    assert "all true" in done.stderr
    unlisted_connection(acme, home, pytest.MonkeyPatch())
    checked = run("policy", "--check", "--json")
    assert checked.exit_code == 1
    found = json.loads(checked.stdout)
    (untrue,) = [one for one in found["statements"] if one["is_true"] is False]
    assert untrue["name"] == "recipients"
    assert "collector.example:443 (analytics)" in untrue["why"]
    last = read_check(acme)
    assert last
    assert not last.is_true


def text_of(policy: Policy) -> str:
    """Return the policy's words."""
    return write_out(policy, "markdown")
