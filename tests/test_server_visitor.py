"""A visitor who lost the browser's secret proves an address by mail: a real mail server, and the link from its mail."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.business.notices import _VISITOR_LINK_WORDS
from ruma.config import load_settings
from ruma.privacy.verifying import verify_in_tenant
from ruma.server.app import create_app
from ruma.server.languages import read_words
from ruma.tenant.audit import list_audit
from ruma.tenant.conversing.inbox import list_conversations
from ruma.tenant.conversing.requests import list_requests
from ruma.tenant.conversing.visitor_links import MOST_LINKS, make_visitor_link
from ruma.tenant.erasing.receipts import find_receipt
from ruma.tenant.home import Home
from ruma.tenant.keeping.holds import set_hold
from ruma.tenant.tenant import Tenant
from tests.mailing import Mailbox, mail_server
from tests.serving import EMBEDDER, FLAGS, QUESTION, make_tenant, renew_tenant

HERE = "http://127.0.0.1:8420"
API = "/t/acme/api"
ANA = "ana@example.com"
Client = TestClient[Litestar]


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    """Return what a mail server gets."""
    with mail_server() as mailbox:
        yield mailbox


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox) -> Iterator[Client]:
    """Return a client of a server that sends its mail there."""
    mail = {
        "smtp_host": "127.0.0.1", "smtp_port": mailbox.port, "smtp_security": "none", "mail_from": "ruma@acme.example",
    }  # fmt: skip
    home = Home(load_settings({**FLAGS, "home": tmp_path_factory.mktemp("home"), **mail}, {}))
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
        yield client


@pytest.fixture
def tenant(client: Client, mailbox: Mailbox) -> Iterator[Tenant]:
    """Return a tenant with two conversations of Ana's, from two browsers, and one of Bo's."""
    home: Home = client.app.state.resources.home
    renew_tenant(home)
    mailbox.mails.clear()
    for email in (ANA, "Ana@Example.com", "bo@example.com"):
        asked = {"question": QUESTION, "channel": "widget", "keep": True}
        secret = client.post(f"{API}/chat", json=asked).json()["conversation"]
        details = {"name": "A name", "email": email}
        client.patch(f"{API}/conversation/details", json=details, headers={"X-Ruma-Conversation": secret})
    with home.open("acme") as tenant:
        yield tenant


def use(client: Client, method: str, path: str, visit: str, body: Any = None) -> Any:
    """Use what a link opened."""
    return client.request(method, f"{API}/visitor/{path}", json=body, headers={"X-Ruma-Visitor": visit})


def follow(client: Client, mailbox: Mailbox) -> Any:
    """Ask for a link for Ana, take it from her mail, and open it."""
    before = len(mailbox.mails)
    asked = client.post(f"{API}/visitor/link", json={"email": " ANA@example.com", "language": "de"})
    assert (asked.status_code, asked.json()) == (200, {"minutes": 30})
    mailbox.wait(before + 1)
    (secret,) = re.findall(rf"{HERE}/t/acme/my-data#(\S+)", mailbox.mails[-1].get_content())
    return client.post(f"{API}/visitor/link/opening", json={"secret": secret})


def test_a_visitor_proves_an_address_and_reaches_everything_with_it(
    client: Client, tenant: Tenant, mailbox: Mailbox
) -> None:
    """The mail goes to the address alone, in the visitor's language; what it opens shows both conversations."""
    opened = follow(client, mailbox).json()
    data = use(client, "GET", "data", opened["secret"]).json()
    numbers = [one["id"] for one in data["conversations"]]
    said = use(client, "GET", f"conversations/{numbers[0]}", opened["secret"]).json()
    taken = use(client, "GET", "export", opened["secret"])

    assert (str(mailbox.mails[0]["To"]), mailbox.to[-1]) == (ANA, [ANA])
    assert "Ihre Daten bei acme" in str(mailbox.mails[0]["Subject"])
    assert (opened["email"], data["email"], len(numbers)) == (ANA, ANA, 2)
    assert said["messages"][0]["text"] == QUESTION
    about = json.loads(zipfile.ZipFile(io.BytesIO(taken.content)).read("export.json"))
    assert about["scope"] == {"kind": "visitor", "conversations": numbers}
    noted = [one.action for one in list_audit(tenant)]
    assert noted[:3] == ["export.made", "visitor-link.opened", "visitor-link.made"]


def test_a_link_works_once_and_what_it_opens_reaches_nothing_else(
    client: Client, tenant: Tenant, mailbox: Mailbox
) -> None:
    """Not a second time, not as the secret of what it opens, and never another's conversation."""
    visit = follow(client, mailbox).json()["secret"]
    (link,) = re.findall(r"#(\S+)", mailbox.mails[-1].get_content())
    others = next(one.id for one in list_conversations(tenant).conversations if one.visitor_email == "bo@example.com")

    assert client.post(f"{API}/visitor/link/opening", json={"secret": link}).status_code == 404
    assert client.post(f"{API}/visitor/link/opening", json={"secret": visit}).status_code == 404
    assert use(client, "GET", "data", link).status_code == 404
    for method, path, body in (
        ("GET", f"conversations/{others}", None),
        ("DELETE", f"conversations/{others}", None),
        ("PATCH", f"conversations/{others}/details", {"name": "Mine"}),
    ):
        assert use(client, method, path, visit, body).status_code == 404
    assert list_conversations(tenant).total == 3


def test_nothing_tells_whether_an_address_is_known(client: Client, tenant: Tenant, mailbox: Mailbox) -> None:
    """A stranger's gets the same answer and no mail; an address gets few links, and a network few tries."""
    known, unknown = (
        client.post(f"{API}/visitor/link", json={"email": email}) for email in (ANA, "nobody@example.com")
    )
    statuses = [client.post(f"{API}/visitor/link", json={"email": "nobody@example.com"}).status_code for _ in "12345"]
    mailbox.wait(1)

    assert (known.status_code, known.text) == (unknown.status_code, unknown.text)
    assert known.headers.keys() == unknown.headers.keys()
    assert statuses[-1] == 429
    assert len(mailbox.mails) == 1
    made = [make_visitor_link(tenant, ANA) for _ in range(MOST_LINKS)]
    assert made[-1] is None
    assert None not in made[:-1]


def link_secret(tenant: Tenant) -> str:
    """Return the secret of a new link of Ana's."""
    made = make_visitor_link(tenant, ANA)
    assert made
    return made.secret


def test_a_link_that_is_old_opens_nothing(client: Client, tenant: Tenant) -> None:
    """After half an hour, or made while the clock was ahead; and what a link opened ends like it."""
    for change in ("ends_at = started_at", "started_at = started_at + 600"):
        secret = link_secret(tenant)
        with tenant.writing() as db:
            db.execute(f"update visitor_link set {change}")
        assert client.post(f"{API}/visitor/link/opening", json={"secret": secret}).status_code == 404
    secret = link_secret(tenant)
    visit = client.post(f"{API}/visitor/link/opening", json={"secret": secret}).json()["secret"]
    with tenant.writing() as db:
        db.execute("update visitor_link set ends_at = 1")
    assert use(client, "GET", "data", visit).status_code == 404


def test_a_corrected_address_leaves_and_opens_nothing_of_its_own(
    client: Client, tenant: Tenant, mailbox: Mailbox
) -> None:
    """Who writes another's address into a conversation loses it from this page, and sees nothing of the other."""
    visit = follow(client, mailbox).json()["secret"]
    first, second = (one["id"] for one in use(client, "GET", "data", visit).json()["conversations"])

    use(client, "PATCH", f"conversations/{first}/details", visit, {"name": "Ana", "email": ANA})
    use(client, "PATCH", f"conversations/{second}/details", visit, {"name": "Ana", "email": "bo@example.com"})

    data = use(client, "GET", "data", visit).json()
    assert [(one["id"], one["name"]) for one in data["conversations"]] == [(first, "Ana")]


def test_what_is_deleted_comes_with_a_receipt_that_holds(client: Client, tenant: Tenant, mailbox: Mailbox) -> None:
    """One, and then the rest; with the last conversation its links go, and another's stay."""
    visit = follow(client, mailbox).json()["secret"]
    first = use(client, "GET", "data", visit).json()["conversations"][0]["id"]
    make_visitor_link(tenant, "bo@example.com")

    one = use(client, "DELETE", f"conversations/{first}", visit).json()
    rest = use(client, "DELETE", "data", visit).json()

    for erased, kind in ((one, "conversation"), (rest, "visitor")):
        signed = find_receipt(tenant, erased["erasure"]["id"]).signed
        assert signed is not None
        assert signed.to_json() == erased["receipt"]
        assert erased["erasure"]["kind"] == kind
        assert verify_in_tenant(tenant, signed).outcome == "clean"
        assert "<html" in erased["page"]
    assert [one.visitor_email for one in list_conversations(tenant).conversations] == ["bo@example.com"]
    assert use(client, "GET", "data", visit).status_code == 404
    with tenant.reading() as db:
        assert db.execute("select email from visitor_link").fetchall() == [("bo@example.com",)]


def test_a_hold_on_one_keeps_all_and_the_wish_is_entered(client: Client, tenant: Tenant, mailbox: Mailbox) -> None:
    """With the address that was proven, so that the team can answer."""
    visit = follow(client, mailbox).json()["secret"]
    numbers = [one["id"] for one in use(client, "GET", "data", visit).json()["conversations"]]
    set_hold(tenant, "A complaint.", conversation_id=numbers[1])

    refused = use(client, "DELETE", "data", visit)

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "held")
    (entered,) = list_requests(tenant).requests
    assert (entered.kind, entered.contact, entered.conversation_id) == ("deletion", ANA, numbers[0])
    assert list_conversations(tenant).total == 3


def test_requests_with_the_address_are_shown_and_no_others(client: Client, tenant: Tenant, mailbox: Mailbox) -> None:
    """With their dates, not with what the team wrote down."""
    for contact in (ANA, "bo@example.com"):
        client.post(f"{API}/conversation/requests", json={"kind": "objection", "contact": contact})

    visit = follow(client, mailbox).json()["secret"]

    (asked,) = use(client, "GET", "data", visit).json()["requests"]
    found = next(one for one in list_requests(tenant).requests if one.contact == ANA)
    assert (asked["id"], asked["kind"], asked["due_on"], asked["state"]) == (
        found.id,
        "objection",
        found.due_on,
        "open",
    )


def test_without_mail_the_register_is_the_way(tmp_path: Path) -> None:
    """The route says so, the chat offers no link, and the page says how to ask."""
    home = Home(load_settings({**FLAGS, "home": tmp_path}, {}))
    make_tenant(home)
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
        refused = client.post(f"{API}/visitor/link", json={"email": ANA})
        chat, page = client.get("/t/acme").text, client.get("/t/acme/my-data").text

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_ready")
    assert 'id="link"' not in chat + page
    assert 'id="request"' in chat
    assert "sends no mail" in page


def test_the_mail_speaks_every_language_that_the_chat_does() -> None:
    """A language that is added to the chat is added to the mail."""
    assert set(_VISITOR_LINK_WORDS) == set(read_words())
