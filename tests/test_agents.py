from typing import Any

import pytest

from ruma.errors import InputError
from ruma.tenant.agents import Agent, change_agent, read_agent
from ruma.tenant.origins import parse_origin
from ruma.tenant.tenant import Tenant
from tests.running import read_json, run


def test_a_new_agent_is_closed_to_visitors(tenant: Tenant) -> None:
    """No website may show it and its page is not published until somebody says so."""
    agent = read_agent(tenant)

    assert (agent.websites, agent.is_published) == ((), False)
    assert agent == Agent()


def test_every_setting_is_kept(tenant: Tenant) -> None:
    """What is set is what is read, also after the tenant was opened anew."""
    changed = change_agent(
        tenant,
        tone="formal",
        language="de",
        strictness="strict",
        accent="#AABBCC",
        theme="dark",
        position="left",
        websites=("https://shop.example",),
        is_published=True,
        offers_person=False,
        questions=("Open on Sundays?", " ", "Open on Sundays?"),
    )

    assert read_agent(tenant) == changed
    assert (changed.accent, changed.questions) == ("#aabbcc", ("Open on Sundays?",))
    assert (changed.is_published, changed.offers_person) == (True, False)


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "shout"},
        {"tone": "rude"},
        {"strictness": "very"},
        {"theme": "blue"},
        {"position": "top"},
        {"accent": "red"},
        {"accent": "#fff"},
        {"accent": "#00000g"},
        {"accent": "#000000;background:url(x)"},
        {"language": "english"},
        {"language": "xx"},
        {"name": " "},
        {"websites": ("https://*.example.com",)},
        {"websites": tuple(f"https://shop{number}.example" for number in range(51))},
        {"questions": tuple(f"Question {number}?" for number in range(11))},
        {"greeting": "x" * 2001},
        {"colour": "#ffffff"},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_and_changes_nothing(tenant: Tenant, change: dict[str, Any]) -> None:
    """A wrong value is an error that names it, and the agent stays as it was."""
    with pytest.raises(InputError):
        change_agent(tenant, **change)

    assert read_agent(tenant) == Agent()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Example.COM", "https://example.com"),
        ("https://example.com/", "https://example.com"),
        (" https://example.com:443", "https://example.com"),
        ("HTTPS://example.com:8443", "https://example.com:8443"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://shop.localhost", "http://shop.localhost"),
        ("https://bäckerei.example", "https://xn--bckerei-5wa.example"),
    ],
)
def test_an_origin_has_one_form(given: str, kept: str) -> None:
    """It is kept as browsers send it, so that comparing is equality."""
    assert parse_origin(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        "example.com",
        "https://",
        "https://example.com/shop",
        "https://example.com?x=1",
        "https://example.com#x",
        "https://*.example.com",
        "https://*",
        "http://example.com",
        "http://localhost.example.com",
        "https://user@example.com",
        "https://example.com:99999",
        "https://exa mple.com",
        "https://example.com https://evil.example",
        "https://example..com",
        "https://-example.com",
        "https://example.com;script-src",
        "https://example.com'",
        "javascript:alert(1)",
        "file:///home",
        "null",
        "ftp://example.com",
    ],
)
def test_what_is_no_origin_is_refused(given: str) -> None:
    """No path, no wildcard, no other scheme, nothing that could say more in a header than an origin."""
    with pytest.raises(InputError):
        parse_origin(given)


def test_the_command_sets_all_of_it() -> None:
    """`agent set` has an option for each setting, and shows them."""
    run("tenant", "create", "acme")

    shown = run(
        *("agent", "set", "--tone", "plain", "--language", "fr", "--strictness", "lenient", "--accent", "#112233"),
        *("--theme", "light", "--position", "left", "--website", "https://a.example", "--website", "https://b.example"),
        *("--published", "--no-person"),
    )
    agent = read_json("agent", "show")

    assert shown.exit_code == 0
    assert "https://a.example https://b.example" in shown.stdout
    assert agent["websites"] == ["https://a.example", "https://b.example"]
    assert [agent[name] for name in ("tone", "language", "strictness", "accent", "theme", "position")] == [
        *("plain", "fr", "lenient", "#112233", "light", "left")
    ]
    assert (agent["is_published"], agent["offers_person"]) == (True, False)
    assert read_json("agent", "set", "--website", "", "--not-published")["websites"] == []
    assert read_json("agent", "show")["is_published"] is False
