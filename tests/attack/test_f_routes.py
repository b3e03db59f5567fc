"""Every route that the server has, tried by everybody who should not get in: none is left to memory.

The routes are read from the application itself, so a new one is covered without a new test.
"""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.server.access import POLICIES, PUBLIC, ROLES, Policy
from ruma.server.app import create_app
from ruma.server.pages import privacy
from ruma.tenant.home import Home
from ruma.tenant.people.members import change_member, find_member
from ruma.tenant.tenant import Tenant
from tests.serving import EMBEDDER, make_tenant, sign_in, with_key

HERE = "http://127.0.0.1:8420"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
PUBLISHED = {
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/static/{name}"),
    ("GET", "/t/{name}/widget.js"),
    ("GET", "/t/{name}/widget"),
    ("GET", "/t/{name}/look.css"),
    ("GET", "/t/{name}/sign-in"),
    ("POST", "/t/{name}/sign-in"),
    ("POST", "/t/{name}/sign-in/code"),
    ("GET", "/t/{name}/setup/{secret}"),
    ("POST", "/t/{name}/setup/{secret}"),
    ("GET", "/t/{name}/invitation/{secret}"),
    ("POST", "/t/{name}/invitation/{secret}"),
    ("GET", "/t/{name}/reset"),
    ("POST", "/t/{name}/reset"),
    ("GET", "/t/{name}/reset/{secret}"),
    ("POST", "/t/{name}/reset/{secret}"),
    ("GET", "/t/{name}/privacy"),
    # A visitor's right does not end with the agent's being open; a one-time link and what it gives are the way in.
    ("GET", "/t/{name}/my-data"),
    ("POST", "/t/{name}/api/visitor/link"),
    ("POST", "/t/{name}/api/visitor/link/opening"),
    ("GET", "/t/{name}/api/visitor/data"),
    ("DELETE", "/t/{name}/api/visitor/data"),
    ("GET", "/t/{name}/api/visitor/export"),
    ("GET", "/t/{name}/api/visitor/conversations/{conversation_id}"),
    ("PATCH", "/t/{name}/api/visitor/conversations/{conversation_id}/details"),
    ("DELETE", "/t/{name}/api/visitor/conversations/{conversation_id}"),
    ("GET", "/t/{name}/privacy/{number}"),
    # Signed by Stripe, with a secret that this server shares with it.
    ("POST", "/billing/stripe"),
}
"""Every route that anyone may call. Who adds one here has thought about it."""

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
DAILY = {"retention", "retention_mark"}
SCOPES = ("chat", "read", "write", "conversations", "manage")
VALUES = {"name": "acme", "document_id": "1"}
Routes = list[tuple[str, str, Policy]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home of two tenants, one of which is closed to visitors."""
    settings = load_settings(
        {"home": tmp_path_factory.mktemp("home"), "key_source": "machine", "visitor_questions": 100_000}, {}
    )
    home = Home(settings)
    make_tenant(home)
    make_tenant(home, "other")
    return home


def check_headers(response: httpx.Response) -> None:
    """Check that a response has the headers that every one must have, whatever became of its request (test 73).

    What may be kept is only what is the same for everybody.
    """
    place = f"{response.request.method} {response.request.url.path}: {response.status_code}"
    for name, value in HEADERS.items():
        assert response.headers.get_list(name) == [value], f"{name} of {place}"
    policy = {part.strip() for part in response.headers["content-security-policy"].split(";")}
    assert "default-src 'none'" in policy, place
    assert "sandbox" in policy or {"script-src 'self'", "img-src 'self'", "base-uri 'none'"} <= policy, place
    assert "unsafe" not in response.headers["content-security-policy"], place
    is_frame = response.request.url.path.endswith("/widget")
    assert is_frame or "frame-ancestors 'none'" in policy, place
    is_same_for_all = re.search(r"/static/|/widget\.js$|/look\.css$", response.request.url.path)
    assert is_same_for_all or response.headers["cache-control"] == "no-store", place
    assert "strict-transport-security" not in response.headers, place  # there is no TLS here


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[TestClient[Litestar]]:
    """Return a client that follows no redirect, and fails where a response lacks a header."""
    app = create_app(home, lambda: EMBEDDER, lambda _: None)
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client:
        client.follow_redirects = False
        client.event_hooks["response"] = [check_headers]
        yield client


@pytest.fixture(scope="module")
def strangers(home: Home) -> dict[str, dict[str, str]]:
    """Return the headers of those who should not get in."""
    with home.open("other") as other:
        return {
            "nobody": {},
            "another tenant's owner": sign_in(other, "owner"),
            "another tenant's cookie under this name": {
                "Cookie": sign_in(other)["Cookie"].replace("ruma-other", "ruma-acme")
            },
            "another tenant's key": with_key(other, "chat", "read", "write", "conversations", "manage"),
            "a made-up key": {"Authorization": "Bearer ruma_madeup"},
            "no key at all": {"Authorization": "Basic YTpi"},
        }


def find_routes() -> Routes:
    """Return method, path and policy of every route."""
    app = create_app(Home(load_settings({"home": "/nonexistent"}, {})), lambda: EMBEDDER, lambda _: None)
    found: Routes = []
    for route in app.routes:
        for method, (handler, *_) in getattr(route, "route_handler_map", {}).items():
            if method != "OPTIONS":
                found.append((method, re.sub(r":\w+}", "}", route.path), handler.opt.get("policy")))
    return sorted(found, key=lambda one: one[:2][::-1])


def address(path: str) -> str:
    """Return a path with its parameters filled in."""
    return re.sub(r"{(\w+)}", lambda match: VALUES.get(match[1], "1"), path)


ROUTES = find_routes()


def test_f50_every_route_declares_a_policy() -> None:
    """A route without a policy of ours is a mistake, and one that is public stands on the list."""
    for method, path, policy in ROUTES:
        assert policy in POLICIES, f"{method} {path}"
        assert (policy == PUBLIC) == ((method, path) in PUBLISHED), f"{method} {path}"


def test_f50_nothing_is_published_that_is_not_there() -> None:
    """The list of public routes names only routes that the server has."""
    assert {(method, path) for method, path, _ in ROUTES} >= PUBLISHED


def expect(status: int, *, is_let_in: bool, who: str) -> None:
    """Check that a status means what it should: let in (whatever comes then), or turned away at the door."""
    turned_away = status in (401, 403, 429, 303)
    assert status < 500, who
    if is_let_in:
        assert status not in (401, 403), who
    else:
        assert turned_away, f"{who} got {status}"


def rows(tenant: Tenant) -> dict[str, list[Any]]:
    """Return every row of a tenant, but for what strangers' tries are counted in, and what the server does daily."""
    with tenant.reading() as db:
        tables = set(db.table_names()) - {"attempt", "api_key", "session", "member", *DAILY}
        return {table: db.execute(f"select * from {table}").fetchall() for table in tables}


def test_f50_nobody_and_strangers_stay_outside(
    client: TestClient[Litestar], home: Home, strangers: dict[str, dict[str, str]]
) -> None:
    """Without a session or key, with another's or a made-up one, only what is public or for visitors opens."""
    with home.open("acme") as acme, home.open("other") as other:
        before = (rows(acme), rows(other))
        for method, path, policy in ROUTES:
            is_open = policy == PUBLIC or policy.admits_visitors
            for who, headers in strangers.items():
                with_credentials = "key" in who and who != "another tenant's cookie under this name"
                response = client.request(method, address(path), headers=headers)

                if not (is_open and with_credentials):
                    expect(response.status_code, is_let_in=is_open, who=f"{method} {path}: {who}")
            after = (rows(acme), rows(other))
            assert after == before, f"{method} {path} changed something"


def test_f51_each_role_and_key_gets_what_its_policy_says(
    client: TestClient[Litestar], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members get in from the policy's role upwards, keys with its scope, and disabled members nowhere."""
    with home.open("acme") as tenant:
        # The check of the policy makes two applications each time, and who may ask for it does not depend on them.
        monkeypatch.setattr(privacy, "look_at_system", lambda *_: None)
        monkeypatch.setattr(privacy, "check_policy", lambda *_: [])
        # Looking ends no session and no key, so whoever only looks comes in once.
        kept = {role: sign_in(tenant, role) for role in ROLES} | {scope: with_key(tenant, scope) for scope in SCOPES}
        for method, path, policy in sorted(ROUTES, key=lambda one: one[0] != "GET"):
            if policy == PUBLIC or "sign-out" in path:
                continue
            if method != "GET":
                kept = {}
            for role in ROLES:
                allowed = policy.role is not None and ROLES.index(role) >= ROLES.index(policy.role)
                response = client.request(method, address(path), headers=kept.get(role) or sign_in(tenant, role))
                is_let_in = allowed or policy.admits_visitors
                expect(response.status_code, is_let_in=is_let_in, who=f"{method} {path}: {role}")
            for scope in SCOPES:
                response = client.request(method, address(path), headers=kept.get(scope) or with_key(tenant, scope))
                is_let_in = scope == policy.scope
                expect(response.status_code, is_let_in=is_let_in, who=f"{method} {path}: a key to {scope}")
            gone = sign_in(tenant, "owner", email="gone@acme.example")
            number = find_member(tenant, "gone@acme.example").id
            change_member(tenant, number, is_disabled=True)
            response = client.request(method, address(path), headers=gone)
            is_let_in = policy.admits_visitors
            expect(response.status_code, is_let_in=is_let_in, who=f"{method} {path}: a disabled owner")
            change_member(tenant, number, is_disabled=False)
