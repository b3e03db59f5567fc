import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.server.app import create_app
from ruma.tenant.agents import change_agent
from ruma.tenant.conversing.conversations import OpenConversation, add_exchange, begin_conversation, read_conversation
from ruma.tenant.conversing.inbox import ask_for_person, give_feedback, list_conversations, read_for_member
from ruma.tenant.conversing.usage import count_usage
from ruma.tenant.home import Home
from ruma.tenant.profile import read_profile
from ruma.tenant.tenant import Tenant
from tests.filling import fill_inbox
from tests.mailing import Mailbox, mail_server
from tests.serving import EMBEDDER, FLAGS, renew_tenant, sign_in

HERE = "http://127.0.0.1:8420"
INBOX = "/t/acme/conversations"
FORM = {"content-type": "application/x-www-form-urlencoded"}

Client = TestClient[Litestar]
Headers = dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Client, Mailbox]]:
    """Return a home, a client of its server, and what the mail server gets that it sends its mail to."""
    with mail_server() as mailbox:
        mail = {"smtp_host": "127.0.0.1", "smtp_port": mailbox.port, "smtp_security": "none"}
        mail |= {"mail_from": "a@ruma.example", "home": tmp_path_factory.mktemp("home"), **FLAGS}
        home = Home(load_settings(mail, {}))
        home.create("empty")
        with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
            client.follow_redirects = False
            yield home, client, mailbox


@pytest.fixture
def mailbox(served: tuple[Home, Client, Mailbox]) -> Mailbox:
    """Return what a mail server of this machine gets: nothing so far."""
    mailbox = served[2]
    for kept in (mailbox.mails, mailbox.to, mailbox.answers):
        kept.clear()
    return mailbox


@pytest.fixture
def home(served: tuple[Home, Client, Mailbox], mailbox: Mailbox) -> Home:
    """Return the home with a new tenant that has documents and one that has none."""
    return renew_tenant(served[0])


@pytest.fixture
def client(served: tuple[Home, Client, Mailbox], home: Home) -> Client:
    """Return a client of its server."""
    client = served[1]
    client.cookies.clear()
    return client


@pytest.fixture
def tenant(home: Home) -> Iterator[Tenant]:
    """Return the tenant, opened beside the server."""
    with home.open("acme") as tenant:
        yield tenant


@pytest.fixture
def editor(tenant: Tenant) -> Headers:
    """Return the headers of an editor's page."""
    return {**sign_in(tenant, "editor"), "accept": "text/html"}


def talk(tenant: Tenant, question: str = "Is there parking?", *, declined: bool = False) -> OpenConversation:
    """Store a conversation of one exchange."""
    chat = begin_conversation()
    add_exchange(tenant, chat, question, "It is so.", mode="write", is_declined=declined, citations=[])
    return chat


def send(client: Client, headers: Headers, place: str, **fields: str) -> Any:
    """Send a form and return the response."""
    return client.post(place, content=urlencode(fields), headers={**headers, **FORM})


def test_the_inbox_lists_searches_and_filters(client: Client, tenant: Tenant, editor: Headers) -> None:
    """Words, tabs, choices and dates each narrow the list; what fits nothing says what to do."""
    good = talk(tenant, "Where is the courtyard?")
    talk(tenant, "Do you sell umbrellas?", declined=True)
    ask_for_person(tenant, good, name="Ana Costa", email="", message="Call me")
    today = datetime.now(UTC).date().isoformat()

    def shown(query: str = "") -> tuple[bool, bool]:
        page = client.get(f"{INBOX}{query}", headers=editor)
        assert page.status_code == 200
        return "courtyard" in page.text, "umbrellas" in page.text

    assert shown() == (True, True)
    assert shown("?show=waiting") == shown("?answers=answered") == (True, False)
    assert shown("?answers=unanswered") == (False, True)
    assert shown("?feedback=helpful") == (False, False)
    assert shown(f"?since={today}") == (True, True)
    assert shown(f"?since={today}&until=2020-01-01") == (False, False)
    assert shown("?show=unread&since=&until=&text=&answers=&feedback=") == (True, True)
    assert "No conversation fits" in client.get(f"{INBOX}?text=zebra", headers=editor).text
    wrong = client.get(f"{INBOX}?since=yesterday", headers=editor)
    assert (wrong.status_code, "This is no date" in wrong.text) == (400, True)


def test_an_inbox_without_conversations_says_what_to_do(client: Client, home: Home) -> None:
    """A new tenant's pages lead to what is to be set up, in its order."""
    with home.open("empty") as tenant:
        headers = {**sign_in(tenant), "accept": "text/html"}
        inbox = client.get("/t/empty/conversations", headers=headers).text
        begun = client.get("/t/empty/overview", headers=headers).text
        change_agent(tenant, is_published=True)
        talk(tenant)
        later = client.get("/t/empty/overview", headers=headers).text

    assert "Nobody has asked anything yet" in inbox
    assert 'href="/t/empty/overview"' in inbox
    assert "0 of 4 done" in begun
    assert "The last seven days" not in begun
    assert "1 of 4 done" in later
    assert "The last seven days" in later


def test_pages_of_the_inbox_keep_the_filter(client: Client, tenant: Tenant, editor: Headers) -> None:
    """The links to the pages before and after lead to the same filter."""
    fill_inbox(tenant, 60, exchanges=1)

    first = client.get(f"{INBOX}?text=case", headers=editor).text
    [address] = re.findall(r'rel="next" href="([^"]+)"', first)
    second = client.get(address.replace("&amp;", "&"), headers=editor).text

    assert "1 to 25 of 60" in first
    assert "26 to 50 of 60" in second
    assert "text=case" in address


def test_reading_marks_as_read_for_those_who_answer(client: Client, tenant: Tenant, editor: Headers) -> None:
    """A viewer's look leaves a conversation unread for the team; an editor's does not."""
    chat = talk(tenant)
    url = f"{INBOX}/{chat.id}"
    viewer = {**sign_in(tenant, "viewer"), "accept": "text/html"}

    page = client.get(url, headers=viewer).text
    assert "Send the reply" not in page
    assert "Delete" not in page
    assert not read_for_member(tenant, chat.id or 0).info.is_read

    assert "Send the reply" in client.get(url, headers=editor).text
    assert read_for_member(tenant, chat.id or 0).info.is_read


def test_a_page_that_is_open_gets_what_is_newer(client: Client, tenant: Tenant, editor: Headers) -> None:
    """It asks for messages after the last one: nothing where there are none, and then those alone."""
    chat = talk(tenant)
    page = client.get(f"{INBOX}/{chat.id}", headers=editor).text
    [address] = re.findall(r'hx-get="([^"]+/newer[^"]+)"', page)

    assert client.get(address, headers=editor).status_code == 204
    add_exchange(tenant, chat, "And bicycles?", "Yes.", mode="write", is_declined=False, citations=[])
    newer = client.get(address, headers=editor)

    assert newer.status_code == 200
    assert "And bicycles?" in newer.text
    assert "parking" not in newer.text
    [following] = re.findall(r'hx-get="([^"]+/newer[^"]+)"', newer.text)
    assert client.get(following, headers=editor).status_code == 204
    assert read_for_member(tenant, chat.id or 0).info.is_read


def test_a_reply_is_sent_and_an_empty_one_is_not(client: Client, tenant: Tenant, editor: Headers) -> None:
    """The reply stands in the conversation under the member's name; an empty one says so and keeps the page."""
    chat = talk(tenant)
    url = f"{INBOX}/{chat.id}"

    empty = send(client, editor, f"{url}/reply", text=" \n ")
    sent = send(client, editor, f"{url}/reply", text="Behind the courtyard.")

    assert (empty.status_code, "The reply is empty." in empty.text) == (400, True)
    assert (sent.status_code, sent.headers["location"]) == (303, f"{url}?done=sent")
    last = read_conversation(tenant, chat.id or 0).messages[-1]
    assert (last.role, last.author, last.text) == ("person", "The editor", "Behind the courtyard.")


def test_a_reply_is_mailed_where_an_address_was_left(
    client: Client, tenant: Tenant, editor: Headers, mailbox: Mailbox
) -> None:
    """The page says before that it will be mailed, and after that it is on its way."""
    chat = talk(tenant)
    ask_for_person(tenant, chat, name="Ana", email="ana@example.com", message="Call me")
    url = f"{INBOX}/{chat.id}"

    assert "gets it by mail" in client.get(url, headers=editor).text
    sent = send(client, editor, f"{url}/reply", text="We called.")
    mailbox.wait(1)

    assert sent.headers["location"] == f"{url}?done=mailed"
    assert [mail["To"] for mail in mailbox.mails] == ["ana@example.com"]


def test_a_conversation_is_closed_opened_left_and_deleted(client: Client, tenant: Tenant, editor: Headers) -> None:
    """Each button does what it says and leads back to where one goes on."""
    number = talk(tenant).id or 0
    url = f"{INBOX}/{number}"

    assert send(client, editor, f"{url}/close").headers["location"] == f"{INBOX}?done=closed"
    assert read_for_member(tenant, number).info.is_closed
    assert send(client, editor, f"{url}/open").headers["location"] == f"{url}?done=opened"
    assert not read_for_member(tenant, number).info.is_closed
    assert send(client, editor, f"{url}/unread").headers["location"] == f"{INBOX}?done=unread"
    assert not read_for_member(tenant, number).info.is_read
    assert send(client, editor, f"{url}/delete").headers["location"] == f"{INBOX}?done=deleted"
    assert client.get(url, headers=editor).status_code == 404
    assert list_conversations(tenant).total == 0


@pytest.mark.parametrize(("role", "path", "status"), [("editor", "conversations/9", 404), ("viewer", "people", 403)])
def test_a_page_that_refuses_a_member_leads_back(
    client: Client, tenant: Tenant, role: str, path: str, status: int
) -> None:
    """Who is signed in goes on from there; whoever is not is told of no page of the members'."""
    page = client.get(f"/t/acme/{path}", headers={**sign_in(tenant, role), "Accept": "text/html"})
    strange = client.get("/t/acme/nowhere", headers={"Accept": "text/html"})

    assert (page.status_code, strange.status_code) == (status, 404)
    assert 'href="/t/acme/overview"' in page.text
    assert "overview" not in strange.text


def test_the_overview_shows_what_needs_somebody(client: Client, tenant: Tenant, editor: Headers) -> None:
    """Who waits and what was not answered stands there, each with the way to deal with it."""
    waiting = talk(tenant)
    ask_for_person(tenant, waiting, name="Ana Costa", email="", message="Call me")
    declined = talk(tenant, "Do you sell umbrellas & coats?", declined=True)
    number = add_exchange(tenant, declined, "So?", "Yes.", mode="write", is_declined=False, citations=[])
    give_feedback(tenant, declined.secret, number, True)

    page = client.get("/t/acme/overview", headers=editor).text

    assert f'href="{INBOX}/{waiting.id}">Ana Costa' in page
    assert f"/pairs/new?question=Do%20you%20sell%20umbrellas%20%26%20coats%3F&amp;from={declined.id}" in page
    assert "<dt>Questions</dt><dd>3</dd>" in page
    assert "67 %" in page


@pytest.mark.parametrize(("days", "bars"), [(7, 7), (30, 6), (90, 7), (365, 7)])
def test_usage_is_shown_for_a_time(client: Client, tenant: Tenant, editor: Headers, days: int, bars: int) -> None:
    """The bars hold every question of the time, however many days are together in one."""
    fill_inbox(tenant, 20, days=days)
    counted = count_usage(tenant, days)

    page = client.get(f"/t/acme/usage?days={days}", headers=editor).text

    shown = re.search(r'aria-label="Questions by time: ([^"]*)"', page)
    assert shown
    numbers = [int(one) for one in re.findall(r"(\d+), \d+ not answered", shown[1])]
    assert (len(numbers), sum(numbers)) == (bars, counted.questions)
    assert f"<dt>Conversations</dt><dd>{counted.conversations}</dd>" in page
    assert f'href="/t/acme/usage?days={days}" aria-current="page"' in page


def test_the_settings_are_saved_or_say_what_is_wrong(client: Client, tenant: Tenant) -> None:
    """A wrong field is named beside itself, the others keep what was typed, and nothing is stored then."""
    owner = {**sign_in(tenant), "accept": "text/html"}
    fields = {"business_name": "Bakery", "website": "bakery.example", "contact_email": "nobody", "notify_email": ""}

    wrong = send(client, owner, "/t/acme/settings", **fields)
    assert wrong.status_code == 400
    assert "This is no mail address." in wrong.text
    assert 'value="Bakery"' in wrong.text
    assert read_profile(tenant).business_name == ""

    saved = send(client, owner, "/t/acme/settings", **{**fields, "contact_email": "hello@bakery.example"})
    assert saved.headers["location"] == "/t/acme/settings?done=saved"
    assert read_profile(tenant).website == "https://bakery.example"


def test_mail_is_tried_from_the_settings(client: Client, tenant: Tenant, mailbox: Mailbox) -> None:
    """A mail goes to the owner who asks; where the server refuses it, the page says so."""
    owner = {**sign_in(tenant), "accept": "text/html"}

    assert send(client, owner, "/t/acme/settings/mail").headers["location"] == "/t/acme/settings?done=sent"
    mailbox.answers = ["550 No"]
    refused = send(client, owner, "/t/acme/settings/mail")

    assert [mail["To"] for mail in mailbox.mails] == ["owner@acme.example"]
    assert (refused.status_code, "code 550" in refused.text) == (409, True)
