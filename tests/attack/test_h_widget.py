"""Attacks on the widget without a browser: websites that pretend, and visitors who want others' conversations."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.server.app import create_app
from ruma.tenant.agents import change_agent
from ruma.tenant.conversing.inbox import list_conversations
from ruma.tenant.home import Home
from tests.serving import EMBEDDER, QUESTION, make_tenant, sign_in

HERE = "http://127.0.0.1:8420"
GOOD = "https://good.example.com"
PRETENDERS = [
    "null",
    "https://good.example.com.evil.com",
    "https://goodXexample.com",
    "https://evil.com/https://good.example.com",
    "https://good.example.com:8443",
    "http://good.example.com",
    "HTTPS://GOOD.EXAMPLE.COM",
    "https://sub.good.example.com",
    "https://good.example.com ",
    "https://good.example.com; script-src *",
    "*",
]

Client = TestClient[Litestar]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home of two tenants whose widgets are on one website, each on its own."""
    flags = {"home": tmp_path_factory.mktemp("home"), "key_source": "machine", "visitor_questions": 100_000}
    home = Home(load_settings(flags, {}))
    for name, website in (("acme", GOOD), ("other", "https://other.example.com")):
        make_tenant(home, name)
        with home.open(name) as tenant:
            change_agent(tenant, websites=(website,), is_published=False)
    return home


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[Client]:
    """Return a client of the server."""
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
        yield client


def ask(client: Client, tenant: str = "acme", **sent: Any) -> Any:
    """Ask a question as the frame does, and return the answer."""
    body = {"question": QUESTION, "channel": "widget", "website": GOOD, "keep": True, **sent}
    return client.post(f"/t/{tenant}/api/chat", json=body).json()


@pytest.mark.parametrize("origin", PRETENDERS)
def test_h60_a_pretender_gets_no_frame_and_no_answer(client: Client, origin: str) -> None:
    """Whatever an Origin header says, it opens nothing: the list is the tenant's, and no other origin may post."""
    headers = {"Origin": origin, "Referer": f"{origin}/", "Sec-Fetch-Site": "cross-site"}

    frame = client.get("/t/acme/widget", headers=headers)
    posted = client.post("/t/acme/api/chat", json={"question": QUESTION}, headers=headers)
    asked = client.options("/t/acme/api/chat", headers={**headers, "Access-Control-Request-Method": "POST"})

    policy = {part.strip() for part in frame.headers["content-security-policy"].split(";")}
    assert f"frame-ancestors 'self' {GOOD}" in policy
    assert posted.status_code == 403
    for response in (frame, posted, asked, client.get("/t/acme/widget.js", headers=headers)):
        assert not [name for name in response.headers if name.startswith("access-control-")]


def test_h60_a_forged_origin_gives_what_any_visitor_gets(client: Client) -> None:
    """A program that forges the server's own origin may ask as any visitor may, and read nothing of the members'."""
    headers = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}

    assert client.post("/t/acme/api/chat", json={"question": QUESTION}, headers=headers).status_code == 200
    for path in ("conversations", "documents", "sources", "openapi.json"):
        assert client.get(f"/t/acme/api/{path}", headers=headers).status_code == 401
    assert client.get("/t/acme/", headers=headers).status_code == 401


@pytest.mark.parametrize("website", PRETENDERS)
def test_h60_a_website_is_noted_only_if_it_is_allowed(client: Client, home: Home, website: str) -> None:
    """What a frame says of the page around it is no word in the inbox unless the tenant allowed that website."""
    ask(client, website=website)
    ask(client, channel="trial", website=GOOD)

    with home.open("acme") as tenant:
        forged_trial, pretended = list_conversations(tenant).conversations[:2]
    assert pretended.website == ""
    assert (forged_trial.channel, forged_trial.website) == ("api", GOOD)


def test_h60_a_conversation_is_its_visitors_alone(client: Client) -> None:
    """Its secret opens it at its own tenant; a number, a part, another case and another tenant's do not."""
    secret = ask(client)["conversation"]

    def read(tenant: str, sent: str) -> int:
        return client.get(f"/t/{tenant}/api/conversation", headers={"X-Ruma-Conversation": sent}).status_code

    assert len(secret) >= 43
    assert read("acme", secret) == 200
    assert read("other", secret) == 404
    for wrong in ("1", secret[:-1], secret.swapcase(), secret + "=", "%", "' or 1=1 --"):
        assert read("acme", wrong) in (404, 429)
    assert ask(client, "other", conversation=secret)["error"]["code"] == "not_found"


def test_h60_members_pages_are_framed_by_nobody(client: Client, home: Home) -> None:
    """Neither an allowed website nor any other can put a member's page, or the door to it, into a frame."""
    with home.open("acme") as tenant:
        headers = sign_in(tenant)

    for path in ("/t/acme/", "/t/acme/sign-in", "/t/acme/sources", "/t/acme/nothing"):
        policy = client.get(path, headers={**headers, "Accept": "text/html"}).headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy, path


def test_h61_the_script_holds_no_secret(client: Client, home: Home) -> None:
    """What every website may load is the same for everyone: no key, no session, no conversation, no instruction."""
    with home.open("acme") as tenant:
        change_agent(tenant, instructions="CANARY-instructions", decline="CANARY-decline", greeting="CANARY-greeting")
        headers = sign_in(tenant)

    as_member, as_nobody = (client.get("/t/acme/widget.js", headers=sent) for sent in (headers, {}))

    assert as_member.content == as_nobody.content
    assert "CANARY" not in as_nobody.text
    assert json.dumps(tenant.id) not in as_nobody.text
