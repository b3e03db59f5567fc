"""The pages and the API of the privacy policy and of the ledger."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.connections import Attempt, Ending
from ruma.privacy.policy import write_policy
from ruma.server.app import create_app
from ruma.tenant.connections import TenantLedger
from ruma.tenant.home import Home
from ruma.tenant.policy_versions import list_versions
from ruma.tenant.profile import change_profile
from ruma.tenant.tenant import Tenant
from tests.serving import EMBEDDER, FLAGS, make_tenant, sign_in, with_key

HERE = "http://127.0.0.1:8420"
Client = TestClient[Any]


@pytest.fixture
def home() -> Home:
    """Return a home of one tenant."""
    home = Home(load_settings(FLAGS))
    make_tenant(home)
    return home


@pytest.fixture
def client(home: Home) -> Iterator[Client]:
    """Return a client of the server."""
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
        yield client


@pytest.fixture
def acme(home: Home) -> Iterator[Tenant]:
    """Return the tenant, for which a mail was sent."""
    with home.open("acme") as tenant:
        ledger = TenantLedger(tenant)
        number = ledger.begin(Attempt("2026-01-02T08:00:00Z", "mail: a reply to a visitor", "mail.example", 587))
        ledger.end(number, Ending("done", "", "192.0.2.25", 2941, 3120, 214))
        yield tenant


def test_everybody_reads_the_policy_and_its_history(client: Client, acme: Tenant) -> None:
    """The page needs no sign-in, names the mail server, and has every version that was in force."""
    first = client.get("/t/acme/privacy")
    assert list_versions(acme) == []  # who reads it writes nothing
    write_policy(acme, load_settings(FLAGS))
    change_profile(acme, business_name="Marrowby <Bakery>")
    second = client.get("/t/acme/privacy")

    assert first.status_code == 200
    assert "mail.example" in first.text
    assert "Marrowby &lt;Bakery&gt;" in second.text
    assert 'href="/t/acme/privacy/1"' in second.text
    assert "Privacy policy of acme" in client.get("/t/acme/privacy/1").text
    assert client.get("/t/acme/privacy/9").status_code == 404
    assert 'href="/t/acme/privacy"' in client.get("/t/acme").text


def test_members_see_connections_and_owners_check(client: Client, acme: Tenant) -> None:
    """The ledger stands on the page; the button checks; what is not true is said there."""
    owner = sign_in(acme)

    page = client.get("/t/acme/data/connections", headers=owner).text
    assert re.search("mail.example<wbr><[^>]*>:587<", page)
    assert "Not checked yet" in page
    assert client.post("/t/acme/data/policy/check", headers=sign_in(acme, "editor")).status_code == 403
    checked = client.post("/t/acme/data/policy/check", headers=owner, follow_redirects=False)
    assert checked.status_code == 303
    assert (
        "Each statement that a program can check was true" in client.get("/t/acme/data/connections", headers=owner).text
    )


def test_the_api_has_the_policy_its_check_and_the_ledger(client: Client, acme: Tenant) -> None:
    """What the pages do, a program does with a key of the scope."""
    ledger = TenantLedger(acme)
    ledger.end(ledger.begin(Attempt("2026-01-03T08:00:00Z", "analytics", "collector.example", 443)), Ending("done"))
    reader, manager = with_key(acme, "read"), with_key(acme, "manage")

    policy = client.get("/t/acme/api/privacy", headers=reader).json()
    listed = client.get("/t/acme/api/connections?limit=1", headers=reader).json()["connections"]
    found = client.post("/t/acme/api/privacy/check", headers=manager).json()

    assert policy["markdown"].startswith("# Privacy policy of acme")
    assert (listed[0]["host"], listed[0]["outcome"], listed[0]["actor"]) == ("collector.example", "done", "ruma")
    assert found["is_true"] is False
    assert [one["name"] for one in found["statements"] if one["is_true"] is False] == ["recipients"]
    assert client.post("/t/acme/api/privacy/check", headers=reader).status_code == 403
