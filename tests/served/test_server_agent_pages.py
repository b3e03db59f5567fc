import json
import shutil
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.ingest.pairs import save_pair
from ruma.models.language_models import MODEL_FILE, Model, write_manifest
from ruma.tenant.agents import change_agent, read_agent
from ruma.tenant.conversing.inbox import list_conversations
from ruma.tenant.home import Home
from ruma.tenant.knowledge.pairs import find_pairs
from ruma.tenant.tenant import Tenant
from tests.serving import EMBEDDER, QUESTION, sign_in, with_key

HERE = "http://127.0.0.1:8420"
Client = TestClient[Litestar]
AGENT = {
    "name": "Crumb",
    "greeting": "Good morning!",
    "questions": "Open today?\r\n\r\nVegan bread?",
    "mode": "quote",
    "strictness": "strict",
    "tone": "plain",
    "language": "de",
    "instructions": "",
    "decline": "Please call us.",
    "accent": "#112233",
    "theme": "dark",
    "position": "left",
    "websites": "https://shop.example/\nhttps://www.shop.example",
    "is_published": "yes",
}


@pytest.fixture
def client(served: tuple[Home, Client], tenant: Tenant) -> Client:
    """Return a client in which an editor is signed in."""
    _, client = served
    client.cookies.clear()
    client.headers.update({**sign_in(tenant, "editor"), "Accept": "text/html"})
    return client


def test_the_agent_is_set_on_its_page(client: Client, tenant: Tenant) -> None:
    """Every field is kept, one website and one question a line; a switch that is off is off."""
    saved = client.post("/t/acme/agent", data=AGENT)

    assert (saved.status_code, saved.headers["location"]) == (303, "/t/acme/agent?done=saved")
    agent = read_agent(tenant)
    for name in ("name", "greeting", "strictness", "tone", "language", "decline", "accent", "theme", "position"):
        assert getattr(agent, name) == AGENT[name]
    assert agent.questions == ("Open today?", "Vegan bread?")
    assert agent.websites == ("https://shop.example", "https://www.shop.example")
    assert (agent.is_published, agent.offers_person) == (True, False)
    page = client.get("/t/acme/agent?done=saved").text
    assert "Saved." in page
    assert "https://shop.example\nhttps://www.shop.example" in page
    assert "&lt;script src=&#34;http://127.0.0.1:8420/t/acme/widget.js&#34; async&gt;" in page


def test_the_language_model_is_chosen_on_the_page(client: Client, served: tuple[Home, Client], tenant: Tenant) -> None:
    """The models that are there can be chosen; one that is gone stays named, and one that never was is refused."""
    folder = served[0].settings.models_folder / "mistral-small"
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_bytes(b"GGUF")
    file = folder / MODEL_FILE
    model = Model(name=folder.name, file=file, sha256="0" * 64, licence="Apache-2.0", size_bytes=4, origin="added")
    write_manifest(model, folder)

    page = client.get("/t/acme/agent").text
    saved = client.post("/t/acme/agent", data={**AGENT, "model": "mistral-small"})
    chosen = client.get("/t/acme/agent").text
    shutil.rmtree(folder)
    gone = client.get("/t/acme/agent").text
    kept = client.post("/t/acme/agent", data={**AGENT, "model": "mistral-small"})
    refused = client.post("/t/acme/agent", data={**AGENT, "model": "gpt-oss"})

    assert '<option value="" selected>The operator’s</option>' in page
    assert '<option value="mistral-small">mistral-small</option>' in page
    assert (saved.status_code, kept.status_code) == (303, 303)
    assert '<option value="mistral-small" selected>mistral-small</option>' in chosen
    assert '<option value="mistral-small" selected>mistral-small (not there any more)</option>' in gone
    assert refused.status_code == 404
    assert "There is no language model named" in refused.text
    assert read_agent(tenant).model == "mistral-small"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", " "),
        ("accent", "red"),
        ("websites", "https://*.shop.example"),
        ("language", "xx"),
        ("mode", "shout"),
        ("questions", "\n".join(f"Question {number}?" for number in range(11))),
    ],
)
def test_what_cannot_be_is_said_beside_its_field(client: Client, tenant: Tenant, name: str, value: str) -> None:
    """Nothing changes, and what was typed stays in the form."""
    before = read_agent(tenant)

    response = client.post("/t/acme/agent", data={**AGENT, name: value})

    assert response.status_code == 400
    assert 'role="alert"' in response.text
    assert "Good morning!" in response.text
    if name in ("name", "accent", "websites", "questions"):
        assert f'id="problem-{name}"' in response.text
    assert read_agent(tenant) == before


def test_who_may_only_read_cannot_change(client: Client, tenant: Tenant) -> None:
    """A viewer sees the settings and the pairs, without a button to save."""
    save_pair("Parking?", "Behind the shop.", tenant, EMBEDDER)
    client.headers.update(sign_in(tenant, "viewer"))

    assert ">Save<" not in client.get("/t/acme/agent").text
    page = client.get("/t/acme/pairs").text
    assert "Behind the shop." in page
    assert "Remove" not in page
    assert client.post("/t/acme/agent", data=AGENT).status_code == 403


def test_a_pair_is_added_changed_and_removed(client: Client, tenant: Tenant) -> None:
    """The list shows it, newest first; after each step the list comes again and says what was done."""
    assert "Answer the most important questions yourself" in client.get("/t/acme/pairs").text
    added = client.post("/t/acme/pairs/new", data={"question": "Parking?", "answer": "Behind.\r\n\r\nFree."})
    assert added.headers["location"] == "/t/acme/pairs?done=added"
    (pair,) = find_pairs(tenant).pairs
    assert (pair.question, pair.answer) == ("Parking?", "Behind.\n\nFree.")

    assert "Behind.\n\nFree." in client.get(f"/t/acme/pairs/{pair.id}").text
    client.post(f"/t/acme/pairs/{pair.id}", data={"question": "Is there parking?", "answer": "No."})
    (changed,) = find_pairs(tenant).pairs
    assert (changed.question, changed.answer) == ("Is there parking?", "No.")

    assert client.post(f"/t/acme/pairs/{changed.id}/remove").headers["location"] == "/t/acme/pairs?done=removed"
    assert client.post(f"/t/acme/pairs/{changed.id}/remove").status_code == 303
    assert find_pairs(tenant).total == 0


def test_half_a_pair_stays_in_the_form(client: Client, tenant: Tenant) -> None:
    """The problem stands beside the field that it is about, and what was typed is not lost."""
    save_pair("Parking?", "Behind.", tenant, EMBEDDER)

    empty = client.post("/t/acme/pairs/new", data={"question": "Opening <hours>?", "answer": " "})
    twice = client.post("/t/acme/pairs/new", data={"question": "parking?", "answer": "In front."})

    assert empty.status_code == twice.status_code == 400
    assert 'id="problem-answer"' in empty.text
    assert "Opening &lt;hours&gt;?" in empty.text
    assert 'id="problem-question"' in twice.text
    assert "In front." in twice.text
    assert find_pairs(tenant).total == 1


def test_an_answer_is_improved_from_its_conversation(client: Client, tenant: Tenant) -> None:
    """The question is filled in, and saving leads back to the conversation."""
    form = client.get("/t/acme/pairs/new", params={"question": "Do you sell <swords>?", "from": "17"}).text
    assert "Do you sell &lt;swords&gt;?" in form
    assert 'href="/t/acme/conversations/17"' in form

    data = {"question": "Do you sell swords?", "answer": "No.", "conversation": "17"}
    assert client.post("/t/acme/pairs/new", data=data).headers["location"] == "/t/acme/conversations/17?done=saved"
    elsewhere = client.post("/t/acme/pairs/new", data={**data, "question": "x?", "conversation": "//evil.example"})
    assert elsewhere.headers["location"] == "/t/acme/pairs?done=added"


def test_long_lists_have_pages_and_a_search(client: Client, tenant: Tenant) -> None:
    """Fifty a page; the search finds the words of the answers too."""
    for number in range(52):
        save_pair(f"Question {number}?", f"Answer {number}.", tenant, EMBEDDER)

    first, second = client.get("/t/acme/pairs").text, client.get("/t/acme/pairs?page=2").text
    found = client.get("/t/acme/pairs", params={"search": "answer 17."}).text

    assert (first.count("<h3>"), second.count("<h3>"), found.count("<h3>")) == (50, 2, 1)
    assert "1 to 50 of 52" in first
    assert "No question or answer has these words" in client.get("/t/acme/pairs?search=walrus").text


def try_it(client: Client, question: str, **more: Any) -> Any:
    """Ask as the page does, and return the answer."""
    return client.post("/t/acme/api/chat", json={"question": question, "channel": "trial", **more})


def test_members_are_told_how_an_answer_came_about(client: Client, tenant: Tenant) -> None:
    """Scores, support and times, in both events; what is tried is kept as a trial, which no visitor's inbox counts."""
    body = {"question": QUESTION, "channel": "trial", "mode": "quote"}
    streamed = client.post("/t/acme/api/chat", json=body, headers={"Accept": "text/event-stream"}).text
    events = [json.loads(line.removeprefix("data: ")) for line in streamed.splitlines() if line.startswith("data: ")]
    whole = try_it(client, QUESTION).json()

    for told in (events[0], events[-1], whole):
        assert told["support"] > told["needed"] == pytest.approx(0.98, abs=0.01)
        assert told["citations"][0]["score"] > 0
        assert told["seconds"]["search"] > 0
    assert {info.channel for info in list_conversations(tenant, channel="trial").conversations} == {"trial"}
    assert list_conversations(tenant).total == 0


def test_visitors_and_programs_that_only_chat_are_not(client: Client, tenant: Tenant) -> None:
    """Nobody who cannot read the documents learns how near a question came to them."""
    client.cookies.clear()
    asked = {"json": {"question": QUESTION}}
    chats, reads = with_key(tenant, "chat"), with_key(tenant, "chat", "read")
    for headers in ({}, chats):
        told = client.post("/t/acme/api/chat", **asked, headers={"X-Ruma-CSRF": "", "Cookie": "", **headers}).json()
        assert (told["support"], told["needed"], told["citations"][0]["score"]) == (None, None, None)
    assert client.post("/t/acme/api/chat", **asked, headers={"Cookie": "", **reads}).json()["support"] > 0


def test_trying_goes_on_in_its_conversation(client: Client) -> None:
    """A follow-up is understood from what was tried before; a strange secret is said to be gone."""
    secret = try_it(client, "When does the shop open?").json()["conversation"]

    headers = {"Accept": "text/event-stream"}
    body = {"question": "and on Sundays?", "conversation": secret, "channel": "trial"}
    later = client.post("/t/acme/api/chat", json=body, headers=headers).text

    assert '"question":"When does the shop open? and on Sundays?"' in later
    assert try_it(client, QUESTION, conversation="nobody-s").status_code == 404


def test_what_cannot_be_answered_is_declined_or_explained(client: Client, tenant: Tenant) -> None:
    """A decline has its support; a pair says that it is one; a mode without its model is refused."""
    change_agent(tenant, decline="Please <call> us.")
    save_pair("Parking?", "Behind the shop.", tenant, EMBEDDER)

    declined = try_it(client, "Which satellites orbit Neptune?").json()
    paired = try_it(client, "parking").json()
    no_model = try_it(client, QUESTION, mode="write")

    assert (declined["text"], declined["is_declined"]) == ("Please <call> us.", True)
    assert declined["support"] < declined["needed"]
    assert paired["mode"] == "pair"
    assert try_it(client, " ").status_code == 400
    assert (no_model.status_code, "language model" in no_model.text) == (409, True)
