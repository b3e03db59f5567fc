"""A change that a page from elsewhere makes a member's browser send is refused, on every route there is."""

from collections.abc import Iterator

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.server.access import PUBLIC, SAFE_METHODS, Policy
from ruma.server.app import create_app
from ruma.tenant.home import Home
from tests.attack.test_f_routes import HERE, ROUTES, address
from tests.serving import EMBEDDER, FLAGS, make_tenant, sign_in

CHANGES = [(method, path, policy) for method, path, policy in ROUTES if method not in SAFE_METHODS]
KINDS = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain", "application/json")
"""What a form of another site can send without being asked first, and what it cannot."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home with one tenant."""
    home = Home(load_settings({**FLAGS, "home": tmp_path_factory.mktemp("home")}, {}))
    make_tenant(home)
    return home


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[TestClient[Litestar]]:
    """Return a client of a server of that home."""
    app = create_app(home, lambda: EMBEDDER, lambda _: None)
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        client.follow_redirects = False
        yield client


@pytest.mark.parametrize(("method", "path", "policy"), CHANGES, ids=[f"{one[0]} {one[1]}" for one in CHANGES])
def test_k72_every_change_needs_our_own_page(
    client: TestClient[Litestar], home: Home, method: str, path: str, policy: Policy
) -> None:
    """Without the token, with another session's or one that is not ASCII, or from another site: 403, never 500."""
    with home.open("acme") as tenant:
        mine, other = sign_in(tenant), sign_in(tenant)
    cookie = {"Cookie": mine["Cookie"]}
    forged = {
        "no token": cookie,
        "an empty token": {**cookie, "X-Ruma-CSRF": ""},
        "another session's token": {**cookie, "X-Ruma-CSRF": other["X-Ruma-CSRF"]},
        "a token that is not ASCII": {**cookie, "X-Ruma-CSRF": "é\xff".encode()},
        "an override of the method": {**cookie, "X-HTTP-Method-Override": "GET"},
    }
    if policy != PUBLIC and not policy.admits_visitors:
        for what, headers in forged.items():
            response = client.request(method, address(path), headers=headers)
            assert response.status_code == 403, what
    elsewhere = {
        "another origin": {"Origin": "https://evil.example"},
        "a name that begins like ours": {"Origin": "http://127.0.0.1:8420.evil.example"},
        "another port": {"Origin": "http://127.0.0.1:8421"},
        "the browser's word": {"Sec-Fetch-Site": "cross-site"},
        "a sister domain": {"Sec-Fetch-Site": "same-site"},
        "a form from nowhere": {"Origin": "null"},
    }
    for (what, headers), kind in zip(elsewhere.items(), KINDS + KINDS, strict=False):
        sent = {**mine, "content-type": kind, **headers}
        response = client.request(method, address(path), headers=sent, content=b'{"a": 1}')
        assert response.status_code == 403, what


def test_k72_a_page_of_another_site_cannot_sign_someone_in(client: TestClient[Litestar]) -> None:
    """Signing in is a change too: a forged form would put its victim into the attacker's account."""
    sent = {"email": "owner@acme.example", "password": "whatever it is"}

    response = client.post("/t/acme/sign-in", data=sent, headers={"Sec-Fetch-Site": "cross-site"})

    assert response.status_code == 403
    assert "set-cookie" not in response.headers
