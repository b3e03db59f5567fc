import json
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.server.app import create_app
from ruma.tenant.agents import change_agent
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.home import Home
from ruma.tenant.profile import change_profile
from ruma.tenant.tenant import Tenant
from tests.mailing import Mailbox, mail_server
from tests.serving import EMBEDDER, FLAGS, QUESTION, renew_tenant, sign_in, with_key

HERE = "http://127.0.0.1:8420"
API = "/t/acme/api"
ELSEWHERE = "Which satellites orbit Neptune backwards?"

Client = TestClient[Litestar]
Headers = dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Client, Mailbox]]:
    """Return a home, a client of its server, and what the mail server gets that it sends its mail to."""
    with mail_server() as mailbox:
        mail = {"smtp_host": "127.0.0.1", "smtp_port": mailbox.port, "smtp_security": "none"}
        mail |= {"mail_from": "a@ruma.example", "home": tmp_path_factory.mktemp("home"), **FLAGS}
        home = Home(load_settings(mail, {}))
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
    """Return the home with a new tenant that has documents."""
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
def helper(tenant: Tenant) -> Headers:
    """Return the headers of an API key for conversations."""
    return with_key(tenant, "conversations")


def own(secret: str) -> Headers:
    """Return the headers of whoever holds a conversation's secret."""
    return {"X-Ruma-Conversation": secret}


def ask(client: Client, question: str = QUESTION, **more: Any) -> dict[str, Any]:
    """Ask as a visitor and return the answer."""
    response = client.post(f"{API}/chat", json={"question": question, **more})
    assert response.status_code == 200, response.text
    return dict(response.json())


def listed(client: Client, headers: Headers, query: str = "") -> list[int]:
    """Return the numbers of the conversations that the inbox lists."""
    response = client.get(f"{API}/conversations{query}", headers=headers)
    assert response.status_code == 200, response.text
    return [one["id"] for one in response.json()["conversations"]]


def test_a_visitors_question_is_in_the_inbox(client: Client, tenant: Tenant, helper: Headers) -> None:
    """What a visitor asked is listed, read with its citations and its feedback, and counted."""
    change_agent(tenant, websites=("https://shop.example",))
    chosen = {"keep": True, "analytics": True}
    done = ask(client, channel="widget", website="https://shop.example", language="de", **chosen)
    given = {"message_id": done["message_id"], "is_helpful": False, "comment": "Too short"}
    assert client.post(f"{API}/conversation/feedback", json=given, headers=own(done["conversation"])).status_code == 204
    ask(client, ELSEWHERE)

    [declined, answered] = listed(client, helper)
    whole = client.get(f"{API}/conversations/{answered}", headers=helper).json()

    assert whole["conversation"]["website"] == "https://shop.example"
    assert whole["conversation"]["language"] == "de"
    assert [one["role"] for one in whole["messages"]] == ["visitor", "agent"]
    assert whole["messages"][1]["citations"]
    assert whole["feedback"][str(done["message_id"])]["comment"] == "Too short"
    assert listed(client, helper, "?state=unanswered") == [declined]
    assert listed(client, helper, "?state=unhelpful&state=unread&text=marrowby") == [answered]
    assert listed(client, helper, "?channel=widget&since=2020-01-01&until=2100-01-01") == [answered]
    assert listed(client, helper, "?until=2020-01-01") == []
    usage = client.get(f"{API}/usage", headers=helper).json()
    assert (usage["conversations"], usage["questions"], usage["declined"], usage["unhelpful"]) == (2, 2, 1, 1)
    [unanswered] = client.get(f"{API}/unanswered", headers=helper).json()["questions"]
    assert (unanswered["text"], unanswered["conversation_id"]) == (ELSEWHERE, declined)


@pytest.mark.parametrize(
    "query", ["?state=lost", "?channel=moon", "?since=yesterday", "?limit=0", "?limit=1000", "?page=0"]
)
def test_a_filter_that_there_is_not_is_refused(client: Client, helper: Headers, query: str) -> None:
    """An unknown state, channel or date is the sender's mistake, and never an empty list."""
    response = client.get(f"{API}/conversations{query}", headers=helper)

    assert response.status_code == 400
    assert response.json()["error"]["code"]


def test_a_person_replies_and_the_visitor_reads_it(
    client: Client, tenant: Tenant, helper: Headers, mailbox: Mailbox
) -> None:
    """The visitor asks for a person, the team is told by mail, the reply is in the conversation and in the mail."""
    change_profile(tenant, business_name="Marrowby Bakery", contact_email="hello@bakery.example")
    sign_in(tenant, "owner", email="owner@bakery.example")
    done = ask(client, ELSEWHERE, language="de")
    wanted = {"name": "Ana", "email": "ana@example.com", "message": "Please call me."}

    asked = client.post(f"{API}/conversation/person", json=wanted, headers=own(done["conversation"]))

    assert asked.json()["conversation"] == done["conversation"]
    [number] = listed(client, helper, "?state=waiting")
    replied = client.post(f"{API}/conversations/{number}/replies", json={"text": "We called."}, headers=helper)
    assert replied.json()["is_mailed"] is True
    assert listed(client, helper, "?state=waiting") == []
    seen = client.get(f"{API}/conversation", headers=own(done["conversation"])).json()
    assert [(one["role"], one["text"]) for one in seen["messages"]][-2:] == [
        ("visitor", "Please call me."),
        ("person", "We called."),
    ]
    mailbox.wait(2)
    told = {mail["To"]: mail for mail in mailbox.mails}
    assert set(told) == {"owner@bakery.example", "ana@example.com"}
    assert f"http://127.0.0.1:8420/t/acme/conversations/{number}" in told["owner@bakery.example"].get_content()
    assert told["owner@bakery.example"]["Reply-To"] == "ana@example.com"
    assert told["ana@example.com"]["Subject"] == "Ihre Antwort von Marrowby Bakery"


def test_a_person_can_be_asked_for_before_any_question(client: Client, helper: Headers) -> None:
    """Without a conversation a new one is made, whose secret is given back once and opens it."""
    asked = client.post(f"{API}/conversation/person", json={"message": "Hello?", "channel": "widget"}).json()

    assert listed(client, helper, "?channel=widget&state=waiting")
    seen = client.get(f"{API}/conversation", headers=own(asked["conversation"])).json()
    assert [one["text"] for one in seen["messages"]] == ["Hello?"]


def test_an_agent_without_a_person_takes_no_message_for_one(client: Client, tenant: Tenant, helper: Headers) -> None:
    """Where the business offers no person, asking for one is refused and nothing is stored."""
    change_agent(tenant, offers_person=False)

    response = client.post(f"{API}/conversation/person", json={"message": "Hello?"})

    assert response.status_code == 403
    assert listed(client, helper) == []


def test_a_flood_of_wishes_is_no_flood_of_mails(home: Home, tenant: Tenant, mailbox: Mailbox) -> None:
    """Once many wait, further ones are stored and listed, and send no mail."""
    change_profile(tenant, notify_email="team@bakery.example")
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
        for _ in range(40):
            assert client.post(f"{API}/conversation/person", json={"message": "Hello?"}).status_code == 200

    assert 20 <= len(mailbox.mails) <= 25


def test_wrong_secrets_open_nothing_and_are_slowed_down(client: Client) -> None:
    """A guessed secret reads, deletes, judges and asks nothing, and after many guesses there is a wait."""
    done = ask(client)
    given = {"message_id": done["message_id"], "is_helpful": True}
    statuses = []
    for number in range(30):
        wrong = own(f"guess{number}")
        statuses.append(client.get(f"{API}/conversation", headers=wrong).status_code)
        statuses.append(client.post(f"{API}/conversation/feedback", json=given, headers=wrong).status_code)
        statuses.append(client.post(f"{API}/conversation/person", json={"message": "x"}, headers=wrong).status_code)

    assert set(statuses) == {404, 429}
    assert client.get(f"{API}/conversation", headers=own(done["conversation"])).status_code == 200


def test_a_conversation_is_marked_closed_and_deleted(client: Client, helper: Headers) -> None:
    """The acts of a member: read, closed, opened again, and gone."""
    ask(client)
    [number] = listed(client, helper)
    url = f"{API}/conversations/{number}"

    assert client.patch(url, json={"is_read": True}, headers=helper).json()["is_read"] is True
    assert client.patch(url, json={"is_closed": True}, headers=helper).json()["is_closed"] is True
    assert client.patch(url, json={"is_closed": False, "is_read": False}, headers=helper).json()["is_read"] is False
    assert client.delete(url, headers=helper).status_code == 204
    assert client.get(url, headers=helper).status_code == 404
    assert listed(client, helper) == []


def test_an_export_holds_all_of_a_conversation(client: Client, tenant: Tenant, helper: Headers) -> None:
    """JSON, text and a table hold every message, feedback and place; they come as downloads under a safe name."""
    done = ask(client)
    given = {"message_id": done["message_id"], "is_helpful": True, "comment": "Très bien"}
    client.post(f"{API}/conversation/feedback", json=given, headers=own(done["conversation"]))
    [number] = listed(client, helper)
    url = f"{API}/conversations/{number}/export"

    whole = client.get(url, headers=helper)
    text = client.get(f"{url}?format=text", headers=helper).text
    table = client.get(f"{url}?format=csv", headers=helper).text

    assert whole.headers["content-disposition"].startswith(f'attachment; filename="conversation-{number}.json"')
    messages = json.loads(whole.text)["messages"]
    assert messages[0]["text"] == QUESTION
    assert messages[1]["feedback"]["comment"] == "Très bien"
    assert messages[1]["citations"][0]["quote"]
    for shown in (text, table):
        assert QUESTION in shown
        assert "Très bien" in shown
        assert messages[1]["text"].split("\n")[0] in shown
    assert client.get(f"{url}?format=exe", headers=helper).status_code == 400


def test_the_profile_is_read_and_changed(client: Client, tenant: Tenant, helper: Headers) -> None:
    """A key that manages changes it, one that reads reads it, and what is wrong is named."""
    manager, reader = with_key(tenant, "manage"), with_key(tenant, "read")

    changed = client.patch(f"{API}/profile", json={"business_name": "Bakery"}, headers=manager).json()

    assert changed == client.get(f"{API}/profile", headers=reader).json()
    assert changed["business_name"] == "Bakery"
    wrong = client.patch(f"{API}/profile", json={"contact_email": "nobody"}, headers=manager)
    assert (wrong.status_code, wrong.json()["error"]["message"]) == (400, "This is no mail address.")
    assert client.patch(f"{API}/profile", json={"business_name": "X"}, headers=reader).status_code == 403


def test_a_trial_stays_out_of_the_inbox(client: Client, tenant: Tenant, helper: Headers) -> None:
    """What a member tried is listed only where trials are asked for."""
    chat = begin_conversation("trial")
    add_exchange(tenant, chat, "One?", "Yes.", mode="write", is_declined=False, citations=[])

    assert listed(client, helper) == []
    assert listed(client, helper, "?channel=trial") == [chat.id]
