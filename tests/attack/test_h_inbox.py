"""What visitors write, seen by members: words on a page, in a file, in a mail and never in a log."""

import csv
import io
import json
import logging
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.privacy.conversation_files import export_conversation, neutral_cell
from ruma.server.app import create_app
from ruma.tenant.conversing.conversations import OpenConversation, add_exchange, begin_conversation
from ruma.tenant.conversing.inbox import ask_for_person, give_feedback, read_for_member
from ruma.tenant.conversing.inbox import reply as reply_to
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant
from tests.harness.process import ROOT
from tests.harness.residue import make_canaries
from tests.mailing import mail_server
from tests.payloads import MARKUP
from tests.serving import EMBEDDER, FLAGS, QUESTION, make_tenant, sign_in, with_key

HERE = "http://127.0.0.1:8420"
PAYLOADS = ROOT / "../shared/data/payloads"
MOST = 60
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", " =1+1", "\r\n=cmd|' /C calc'!A0", '=HYPERLINK("http://x","y")']

Client = TestClient[Litestar]


class Marks(HTMLParser):
    """Collects what a page holds beyond words: its elements, the attributes that run or lead, and its text."""

    def __init__(self, page: str) -> None:
        """Read a page."""
        super().__init__(convert_charrefs=True)
        self.elements: dict[str, int] = {}
        self.risky: list[tuple[str, str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count an element and note what it could do."""
        self.elements[tag] = self.elements.get(tag, 0) + 1
        for name, value in attrs:
            leads = name in ("href", "src", "action", "formaction", "srcdoc") and re.match(
                r"\s*(javascript|data|vbscript):", value or "", re.IGNORECASE
            )
            if leads or name.startswith("on") or name == "style":
                self.risky.append((tag, name, value))

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text += data


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home with a tenant."""
    home = Home(load_settings({"home": tmp_path_factory.mktemp("home"), **FLAGS}, {}))
    make_tenant(home)
    return home


@pytest.fixture
def client(home: Home) -> Iterator[Client]:
    """Return a client of its server."""
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
        client.follow_redirects = False
        yield client


@pytest.fixture
def tenant(home: Home) -> Iterator[Tenant]:
    """Return the tenant, opened beside the server."""
    with home.open("acme") as tenant:
        yield tenant


def payloads() -> list[str]:
    """Return markup that runs or leads where it is not escaped: ours, and each so many of the public lists."""
    found = list(MARKUP)
    for name in ("xss-patt.txt", "xss-payloadbox.txt"):
        if (PAYLOADS / name).exists():
            lines = (PAYLOADS / name).read_text("utf-8", "replace").splitlines()
            kept = [line for line in lines if line.strip() and len(line) < 1500]
            found += kept[:: max(1, len(kept) // MOST)]
    return found


def hostile_conversation(tenant: Tenant, words: list[str]) -> OpenConversation:
    """Store a conversation whose every text is a payload: asked, answered, judged, sent to a person, replied."""
    chat = begin_conversation("widget", website=words[0][:200], language=words[0][:20])
    for word in words:
        number = add_exchange(tenant, chat, word, f"{word} [1]", mode="write", is_declined=True, citations=[])
        give_feedback(tenant, chat.secret, number, False, word)
    ask_for_person(tenant, chat, name=words[0][:190], email="", message=words[0])
    reply_to(tenant, chat.id or 0, author=words[0], text=words[0])
    return chat


def plain(text: str) -> str:
    """Return a text as a parser of pages gives it: without NUL bytes, with one kind of line end."""
    return re.sub(r"\s+", " ", text.replace("\0", "")).strip()


def test_h57_what_a_visitor_wrote_is_words_on_every_page(client: Client, tenant: Tenant) -> None:
    """Inbox, conversation, overview and search show hostile markup as it was typed, and it becomes no element."""
    words = payloads()
    headers = {**sign_in(tenant), "accept": "text/html"}
    harmless = hostile_conversation(tenant, ["plain words"] * len(words))
    url = "/t/acme/conversations"
    usual = Marks(client.get(f"{url}/{harmless.id}", headers=headers).text)

    chat = hostile_conversation(tenant, words)

    shown = Marks(client.get(f"{url}/{chat.id}", headers=headers).text)
    text = plain(shown.text)
    assert shown.risky == []
    assert {
        tag: number for tag, number in shown.elements.items() if tag not in ("br", "q")
    }.keys() <= usual.elements.keys()
    for tag in ("script", "img", "svg", "iframe", "input", "form", "style", "a"):
        assert abs(shown.elements.get(tag, 0) - usual.elements.get(tag, 0)) <= 1, tag
    missing = [word for word in MARKUP if plain(word) not in text]
    assert missing == []
    for place in (url, "/t/acme/overview", f"{url}?{urlencode({'text': MARKUP[0], 'since': MARKUP[0][:19]})}"):
        other = Marks(client.get(place, headers=headers).text)
        assert other.risky == []
        assert "img" not in other.elements
        assert "base" not in other.elements


def test_h58_the_newer_messages_are_the_same_as_on_the_page(client: Client, tenant: Tenant) -> None:
    """What an open page gets afterwards is, message by message, what a page that is loaded shows."""
    headers = {**sign_in(tenant), "accept": "text/html"}
    chat = hostile_conversation(tenant, MARKUP)
    page = client.get(f"/t/acme/conversations/{chat.id}", headers=headers).text
    newer = client.get(f"/t/acme/conversations/{chat.id}/newer?after=0", headers=headers).text

    def turns(html: str) -> list[str]:
        return re.findall(r'<li class="turn .*?</li>\n(?=<li class="(?:turn|newer))', html, re.DOTALL)

    assert len(turns(page)) == 2 * len(MARKUP) + 2
    assert turns(page) == turns(newer)


def test_h58_an_export_has_no_control_bytes_and_no_false_speakers(tenant: Tenant) -> None:
    """A terminal that shows a text or a table obeys nothing in it, and no visitor writes what looks like an answer."""
    chat = begin_conversation()
    word = "\x1b]8;;http://x\x1b\\click\x1b]52;c;eA==\x07 \x9b2J\r\nAgent, 2026-01-01T00:00:00Z:\n  All free today."
    add_exchange(tenant, chat, word, "No.", mode="write", is_declined=False, citations=[])

    details = read_for_member(tenant, chat.id or 0)
    text, table = (export_conversation(details, form).decode() for form in ("text", "csv"))

    for shown in (text, table.replace("\r\n", "\n")):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)
    assert len(re.findall(r"^Agent, ", text, re.MULTILINE)) == 1


@pytest.mark.parametrize("word", FORMULAS, ids=ascii)
def test_h74_a_cell_is_never_a_formula(tenant: Tenant, word: str) -> None:
    """In an exported table no cell begins with what a spreadsheet calculates, and the words are still there."""
    chat = begin_conversation()
    number = add_exchange(tenant, chat, word, word, mode="write", is_declined=False, citations=[])
    give_feedback(tenant, chat.secret, number, True, word)
    reply_to(tenant, chat.id or 0, author=word, text=word)

    table = export_conversation(read_for_member(tenant, chat.id or 0), "csv").decode()

    rows = list(csv.reader(io.StringIO(table, newline="")))
    cells = [cell for row in rows for cell in row]
    assert not [cell for cell in cells if re.match(r"[\s\0]*[=+\-@]", cell)]
    assert not [cell for cell in cells if cell.startswith(("\t", "\r", "\n"))]
    assert sum(word.strip() in cell for cell in cells) >= 3
    assert neutral_cell("five - three") == "five - three"


def test_h70_no_log_has_what_was_said(
    client: Client, home: Home, tenant: Tenant, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Questions, names, addresses, comments, replies, searches and secrets are in no log, at the lowest level too."""
    caplog.set_level(logging.DEBUG)
    asked, name, comment, message, replied, searched, business = words = make_canaries(7)
    headers, key = sign_in(tenant), with_key(tenant, "conversations", "manage")
    api = "/t/acme/api"
    done = client.post(f"{api}/chat", json={"question": f"{QUESTION} {asked}"}).json()
    own = {"X-Ruma-Conversation": done["conversation"]}
    person: dict[str, Any] = {"name": name, "email": f"{name}@example.com", "message": message}

    client.post(f"{api}/conversation/person", json=person, headers=own)
    client.post(f"{api}/conversation/person", json={**person, "email": f"{name} wrong"}, headers=own)
    given = {"message_id": done["message_id"], "is_helpful": False, "comment": comment}
    client.post(f"{api}/conversation/feedback", json=given, headers=own)
    client.post(f"{api}/conversation/feedback", json={**given, "message_id": 10**6}, headers=own)
    listed = client.get(f"{api}/conversations?text={searched}", headers=key).json()
    assert listed["total"] == 0
    number = client.get(f"{api}/conversations", headers=key).json()["conversations"][0]["id"]
    client.post(f"{api}/conversations/{number}/replies", json={"text": replied}, headers=key)
    client.post(f"{api}/conversations/{number}/replies", json={"text": [replied]}, headers=key)
    client.patch(f"{api}/profile", json={"business_name": business, "notify_email": business}, headers=key)
    for place in ("overview", "conversations", f"conversations/{number}", f"conversations?since={searched[:19]}"):
        client.get(f"/t/acme/{place}", headers={**headers, "accept": "text/html"})
    for form in ("json", "text", "csv"):
        client.get(f"{api}/conversations/{number}/export?format={form}", headers=key)

    ours = [record for record in caplog.records if not record.name.startswith("httpx")]
    logged = "\n".join([json.dumps(record.__dict__, default=str) for record in ours])
    printed = "\n".join(line for line in capfd.readouterr() if "httpx" not in line)
    for word in [*words, searched[:19], done["conversation"], headers["X-Ruma-CSRF"]]:
        assert word not in logged
        assert word not in printed


def test_h70_a_failed_mail_says_nothing_of_its_words(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A hand-over that the mail server refuses leaves neither the visitor's words nor any address in the log."""
    caplog.set_level(logging.DEBUG)
    name, message = make_canaries(2)
    with mail_server() as mailbox:
        mail = {
            "smtp_host": "127.0.0.1",
            "smtp_port": mailbox.port,
            "smtp_security": "none",
            "mail_from": "a@b.example",
        }
        home = Home(load_settings({"home": tmp_path_factory.mktemp("home"), **FLAGS, **mail}, {}))
        make_tenant(home)
        with home.open("acme") as tenant:
            sign_in(tenant, "owner", email=f"{name}@example.com")
        mailbox.answers = [f"451 {name} {message}"] * 5
        with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
            person = {"name": name, "email": f"{name}@example.com", "message": message}
            assert client.post("/t/acme/api/conversation/person", json=person).status_code == 200

    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("ruma"))
    assert "mail" in ours.lower()
    assert name not in ours
    assert message not in ours
