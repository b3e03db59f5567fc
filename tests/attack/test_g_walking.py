"""Every route once more: by crooked addresses without a session, and with another tenant's numbers by an owner."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.ingest.pairs import save_pair
from ruma.privacy.requests import receive_request
from ruma.server.access import PUBLIC
from ruma.server.app import create_app
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.home import Home
from ruma.tenant.keeping.holds import set_hold
from tests.attack.test_f_routes import HERE, ROUTES, address, rows
from tests.serving import EMBEDDER, FLAGS, make_tenant, sign_in, store, with_key

Client = TestClient[Litestar]
THEIRS, NOBODYS = 3, 98765
"""A number that is something's at one tenant and nothing's at the other, and one that is nothing's at both."""

GUARDED = [(method, path) for method, path, policy in ROUTES if policy != PUBLIC and not policy.admits_visitors]
CROOKED = ["/{path}", "{path}/", "{path}/.", "{path}/%2e", "{path};x", "{path}%2f..", "{path}/../{last}", "{upper}"]
"""Ways to write a path that another part of a server might take for the straight one."""
SOME = [60, pytest.param(1, marks=pytest.mark.nightly)]
"""Every how many routes are tried."""
WORDS = ["sign-in", "widget.js", "health", "static", "setup", "privacy", "my-data", "look.css", "%2e%2e%2fsign-in"]
"""Words that stand in public paths."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home of two tenants; the first has three of most things."""
    home = Home(load_settings({**FLAGS, "home": tmp_path_factory.mktemp("home")}, {}))
    make_tenant(home)
    make_tenant(home, "other")
    with home.open("acme") as tenant:
        for number in range(THEIRS):
            store(tenant, f"{number}.md", f"Secret {number}", [("", None, [f"Secret {number} is here."])])
            chat = begin_conversation()
            add_exchange(tenant, chat, "Secret?", "Yes.", mode="quote", is_declined=False, citations=[])
            set_hold(tenant, "A secret case", conversation_id=chat.id)
            save_pair(f"What is secret {number}?", "This.", tenant, EMBEDDER)
            sign_in(tenant, "editor", email=f"secret{number}@acme.example")
            with_key(tenant, "read")
            receive_request(tenant, kind="access", origin="member", contact="secret@acme.example")
    return home


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[Client]:
    """Return a client that follows no redirect."""
    app = create_app(home, lambda: EMBEDDER, lambda _: None)
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        client.follow_redirects = False
        yield client


def all_rows(home: Home, name: str) -> dict[str, list[Any]]:
    """Return every row of a tenant that a request could have changed."""
    with home.open(name) as tenant:
        return rows(tenant)


@pytest.mark.parametrize("every", SOME)
def test_f50_no_crooked_address_opens_what_the_straight_one_does_not(client: Client, home: Home, every: int) -> None:
    """Doubled, dotted, upper-cased and half-encoded, by its own method and by HEAD: nobody gets in."""
    before = all_rows(home, "acme")
    for method, path in GUARDED[::every]:
        straight = address(path)
        last, upper = straight.rpartition("/")[2], straight.upper()
        for shape in ("{path}", *CROOKED):
            crooked = shape.format(path=straight, last=last, upper=upper)
            for tried in {method, "HEAD"} if ("GET", path) in GUARDED else {method}:
                response = client.request(tried, f"{HERE}{crooked}", headers={"X-HTTP-Method-Override": method})
                assert response.status_code in (303, 307, 401, 403, 404, 405, 429), (tried, crooked)
                place = response.headers.get("location", "")
                assert response.status_code not in (303, 307) or "/sign-in" in place, (tried, crooked, place)
    assert all_rows(home, "acme") == before


@pytest.mark.parametrize("every", SOME)
def test_f50_words_of_public_addresses_open_nothing(client: Client, every: int) -> None:
    """A public path's word in place of a number or name, or after it, leaves a route as closed as it was."""
    for method, path in GUARDED[::every]:
        for word in WORDS:
            filled = re.sub(r"{(\w+)}", lambda found: "acme" if found[1] == "name" else word, path)  # noqa: B023
            for tried in (filled, f"{filled}?next=/{word}", f"{address(path)}/{word}"):
                response = client.request(method, tried)
                assert response.status_code in (303, 400, 401, 403, 404, 405, 429), (method, tried)


def test_f51_anothers_number_is_a_number_that_is_not_there(client: Client, home: Home) -> None:
    """For an owner of one tenant, what only the other has is answered word by word like what nobody has."""
    with home.open("other") as other, home.open("acme") as tenant:
        stranger, owner = sign_in(other), sign_in(tenant)
    names = ("acme", "other")
    numbered = [(method, path) for method, path, _ in ROUTES if re.search(r"{\w+_id}", path)]
    before, shown = {name: all_rows(home, name) for name in names}, 0
    for method, path in numbered:
        told = []
        for number in (THEIRS, NOBODYS):
            filled = re.sub(r"{\w+_id}", str(number), path)
            headers = {**stranger, "X-Ruma-Tenant": "acme"}
            answer = client.request(method, filled.replace("{name}", "other"), headers=headers)
            told.append((answer.status_code, answer.text.replace(str(NOBODYS), str(THEIRS))))
        assert told[0] == told[1], (method, path)
        assert told[0][0] == 303 or 400 <= told[0][0] < 500, (method, path)
        assert "ecret" not in told[0][1], (method, path)
    assert {name: all_rows(home, name) for name in names} == before
    for _, path in (one for one in numbered if one[0] == "GET"):
        real = client.get(re.sub(r"{\w+_id}", str(THEIRS), path).replace("{name}", "acme"), headers=owner)
        shown += real.status_code == 200
    assert shown >= 8, "nothing has that number: this proves nothing"


def test_f51_nobody_gives_themselves_a_tenant_or_a_role(client: Client, home: Home) -> None:
    """Fields that only the server sets are refused by name, and nobody is another than before."""
    with home.open("acme") as tenant:
        editor, owner = sign_in(tenant, "editor"), sign_in(tenant)
    for headers, path, sent in (
        (owner, "profile", {"tenant_id": "other", "business_name": "X"}),
        (owner, "agent", {"tenant": "other", "name": "X"}),
        (editor, "agent", {"role": "owner", "name": "X"}),
        (editor, "account", {"role": "owner"}),
    ):
        answer = client.patch(f"/t/acme/api/{path}", json=sent, headers=headers)
        assert answer.status_code in (400, 403, 404, 405), path
    assert client.get("/t/acme/people", headers={**editor, "Accept": "text/html"}).status_code == 403
