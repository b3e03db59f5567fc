import re

import pyotp
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.server.pages.signing_in import name_browser
from ruma.tenant.home import Home
from ruma.tenant.people.joining import invite, make_reset_link, make_setup_link
from ruma.tenant.people.members import change_member, create_member, find_member
from ruma.tenant.people.second_factor import enable_second_factor, new_factor_secret
from ruma.tenant.people.sessions import find_session, list_sessions
from ruma.tenant.tenant import Tenant

HERE = "http://127.0.0.1:8420"
DOOR = "/t/acme/sign-in"
EMAIL, PASSWORD, OTHER = "anna@example.com", "harbour violin ticket 83", "lantern gravel opera 51"
COOKIE = "__Host-ruma-acme"
SIGN_IN = {"email": EMAIL, "password": PASSWORD}
Client = TestClient[Litestar]


@pytest.fixture
def client(served: tuple[Home, Client], tenant: Tenant) -> Client:
    """Return a client that follows no redirect and keeps no cookie by itself."""
    _, client = served
    client.cookies.clear()
    client.headers["accept"] = "text/html"
    return client


def add(tenant: Tenant, role: str = "owner") -> int:
    """Add Anna."""
    return create_member(tenant, email=EMAIL, name="Anna", role=role, password=PASSWORD).id


def cookie_of(response: object) -> str:
    """Return the session's secret that a response set; empty where it set none."""
    found = re.search(rf"{COOKIE}=([\w-]+)", getattr(response, "headers", {}).get("set-cookie", ""))
    return found[1] if found else ""


def test_a_member_signs_in_and_out(client: Client, tenant: Tenant) -> None:
    """Without a script: the form leads to the overview with a cookie, and signing out ends the session itself."""
    add(tenant)
    form = client.get(DOOR)

    response = client.post(DOOR, data=SIGN_IN)
    secret = cookie_of(response)
    session = find_session(tenant, secret)
    assert session
    headers = {"cookie": f"{COOKIE}={secret}", "x-ruma-csrf": session.csrf}
    again = client.get(DOOR, headers={"cookie": headers["cookie"]})
    out = client.post("/t/acme/sign-out", headers=headers)

    assert 'type="password"' in form.text
    assert (response.status_code, response.headers["location"]) == (303, "/t/acme/overview")
    assert (again.status_code, again.headers["location"]) == (303, "/t/acme/overview")
    assert out.status_code == 303
    assert "Max-Age=0" in out.headers["set-cookie"]
    assert find_session(tenant, secret) is None


def test_the_cookie_is_bound_to_this_host(client: Client, tenant: Tenant) -> None:
    """It goes through TLS alone, to no script, to no other site's request, and is gone with the browser."""
    add(tenant)

    cookie = client.post(DOOR, data=SIGN_IN).headers["set-cookie"]

    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert parts == {"path=/", "secure", "httponly", "samesite=lax"}


@pytest.mark.parametrize(
    ("back", "place"),
    [
        ("/t/acme/conversations/7", "/t/acme/conversations/7"),
        ("", "/t/acme/overview"),
        ("https://evil.example/", "/t/acme/overview"),
        ("//evil.example/t/acme/", "/t/acme/overview"),
        ("/t/acme/../other/", "/t/acme/overview"),
        ("/t/acme/\\evil.example", "/t/acme/overview"),
        ("/t/other/people", "/t/acme/overview"),
        ("javascript:alert(1)", "/t/acme/overview"),
        ("data:text/html,/t/acme/", "/t/acme/overview"),
        ("\t//evil.example", "/t/acme/overview"),
        ("/t/acme/x\r\nset-cookie: a=b", "/t/acme/overview"),
    ],
)
def test_signing_in_leads_back_to_our_own_pages_alone(client: Client, tenant: Tenant, back: str, place: str) -> None:
    """An address of another tenant or of another site is not followed."""
    add(tenant)

    assert client.post(DOOR, data={**SIGN_IN, "next": back}).headers["location"] == place


def test_known_and_unknown_addresses_get_the_same_answer(client: Client, tenant: Tenant) -> None:
    """A wrong password, an unknown address and a disabled member look alike; the password is not shown again."""
    add(tenant)
    bob = create_member(tenant, email="bob@example.com", name="Bob", role="viewer", password=PASSWORD)
    change_member(tenant, bob.id, is_disabled=True)

    pages = [
        client.post(DOOR, data={"email": email, "password": password})
        for email, password in [(EMAIL, OTHER), ("carl@example.com", OTHER), ("bob@example.com", PASSWORD)]
    ]

    assert {page.status_code for page in pages} == {401}
    shown = {re.sub(r"\w+@example.com", "EMAIL", page.text) for page in pages}
    assert len(shown) == 1
    assert "not right" in shown.pop()
    assert OTHER not in pages[0].text
    assert all("set-cookie" not in page.headers for page in pages)


def test_who_guesses_must_wait(client: Client, tenant: Tenant) -> None:
    """After five wrong passwords the door says how long to wait, for unknown addresses as well."""
    add(tenant)

    for email in (EMAIL, "carl@example.com"):
        pages = [client.post(DOOR, data={"email": email, "password": OTHER}) for _ in range(6)]
        assert [page.status_code for page in pages] == [401] * 5 + [429]
        assert int(pages[-1].headers["retry-after"]) >= 1
        assert "Too many tries" in pages[-1].text


def test_the_second_factor_is_asked_for(client: Client, tenant: Tenant) -> None:
    """The password alone gives no session; a wrong code can be tried again, and a step works once."""
    member_id, secret = add(tenant), new_factor_secret()
    app = pyotp.TOTP(secret)
    codes = enable_second_factor(tenant, member_id, secret, app.now())

    page = client.post(DOOR, data=SIGN_IN)
    found = re.search(r'name="step" value="([\w-]{43})"', page.text)
    assert found
    wrong = client.post(f"{DOOR}/code", data={"step": found[1], "code": "000000"})
    right = client.post(f"{DOOR}/code", data={"step": found[1], "code": codes[0]})
    again = client.post(f"{DOOR}/code", data={"step": found[1], "code": codes[1]})

    assert page.status_code == 200
    assert "set-cookie" not in page.headers
    assert (wrong.status_code, right.status_code, again.status_code) == (401, 303, 404)
    assert "set-cookie" not in wrong.headers
    assert find_session(tenant, cookie_of(right))


def test_the_first_owner_sets_up(client: Client, tenant: Tenant) -> None:
    """Looking at the link leaves it usable, wrong fields are named, and the right ones sign the owner in."""
    link = f"/t/acme/setup/{make_setup_link(tenant)}"

    shown = [client.get(link).status_code for _ in range(3)]
    wrong = client.post(link, data={"name": "", "email": "no address", "password": "1234567890"})
    done = client.post(link, data={"name": "Anna", "email": EMAIL, "password": PASSWORD})
    again = client.get(link)

    assert shown == [200] * 3
    assert wrong.status_code == 400
    for words in ("name cannot be empty", "not an e-mail address", "most common"):
        assert words in wrong.text
    assert "1234567890" not in wrong.text
    assert (done.status_code, again.status_code) == (303, 404)
    session = find_session(tenant, cookie_of(done))
    assert session
    assert session.member.role == "owner"


def test_who_is_invited_joins_with_the_role_that_was_given(client: Client, tenant: Tenant) -> None:
    """Whatever else the form sends."""
    add(tenant)
    link = f"/t/acme/invitation/{invite(tenant, email='bob@example.com', role='viewer')}"

    page = client.get(link)
    sent = {"name": "Bob", "password": PASSWORD, "role": "owner", "email": "eve@example.com"}
    done = client.post(link, data=sent)

    assert "viewer" in page.text
    assert done.status_code == 303
    member = find_member(tenant, "bob@example.com")
    assert (member.name, member.role) == ("Bob", "viewer")


def test_a_new_password_is_set_by_a_link(client: Client, tenant: Tenant) -> None:
    """It leads to the door, where the new one and not the old one lets in; the old sessions have ended."""
    member_id = add(tenant)
    old = cookie_of(client.post(DOOR, data=SIGN_IN))
    link = f"/t/acme/reset/{make_reset_link(tenant, EMAIL)}"

    weak = client.post(link, data={"password": "annaannaanna"})
    done = client.post(link, data={"password": OTHER})

    assert weak.status_code == 400
    assert done.headers["location"] == "/t/acme/sign-in?done=password"
    assert "set-cookie" not in done.headers
    assert find_session(tenant, old) is None
    assert list_sessions(tenant, member_id) == []
    assert client.post(DOOR, data=SIGN_IN).status_code == 401
    assert client.post(DOOR, data={**SIGN_IN, "password": OTHER}).status_code == 303


def test_asking_for_a_new_password_tells_nothing(client: Client, tenant: Tenant) -> None:
    """A member's address and another one get the same page; too many requests wait."""
    add(tenant)

    pages = [client.post("/t/acme/reset", data={"email": email}) for email in (EMAIL, "carl@example.com")]
    many = [client.post("/t/acme/reset", data={"email": "carl@example.com"}).status_code for _ in range(6)]

    assert pages[0].text == pages[1].text
    assert pages[0].status_code == pages[1].status_code == 200
    assert many[-1] == 429


def test_many_made_up_links_are_slowed_down(client: Client) -> None:
    """Twenty from one network, and then they wait."""
    answers = [client.get(f"/t/acme/reset/made-up-{number}").status_code for number in range(25)]

    assert answers == [404] * 20 + [429] * 5


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Linux"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Mobile Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/126.0 Safari/537.36 Edg/126.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.0", "A browser"),
        ("", "A browser"),
    ],
)
def test_a_session_is_named_after_its_browser(sent: str, name: str) -> None:
    """By two words, not by all that the browser says of itself."""
    assert name_browser(sent) == name
