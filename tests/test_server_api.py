import json
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import Settings, load_settings
from ruma.models.generator import Generator
from ruma.privacy.erasing import erase_source
from ruma.server.app import create_app
from ruma.tenant.agents import change_agent
from ruma.tenant.home import Home
from ruma.tenant.knowledge.sources import list_sources
from tests.serving import DELIVERY, EMBEDDER, QUESTION, WRITTEN, ScriptedGenerator, make_tenant, with_key

HERE = "http://127.0.0.1:8420"
STREAM = {"accept": "text/event-stream"}
BYTES = "application/octet-stream"
PRICE = "Delivery to Marrowby costs £2.50."
ELSEWHERE = "Which satellites orbit Neptune backwards?"

Client = TestClient[Litestar]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home with one tenant that quotes, for all tests of this file."""
    home = Home(
        load_settings(
            {"home": tmp_path_factory.mktemp("home"), "key_source": "machine", "visitor_questions": 100_000}, {}
        )
    )
    make_tenant(home)
    make_tenant(home, "writing", mode="write")
    return home


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[Client]:
    """Return a client of a server whose language model always writes the same."""
    generator = ScriptedGenerator()
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: generator), base_url=HERE) as client:
        yield client


@pytest.fixture(scope="module")
def reader(home: Home) -> dict[str, str]:
    """Return the headers of an API key that reads and searches."""
    with home.open("acme") as tenant:
        return with_key(tenant, "chat", "read")


def own(conversation: str) -> dict[str, str]:
    """Return the headers of whoever holds a conversation's secret."""
    return {"X-Ruma-Conversation": conversation}


def ask(client: Client, question: str = QUESTION, tenant: str = "acme", **more: Any) -> dict[str, Any]:
    """Return an answer in one piece."""
    response = client.post(f"/t/{tenant}/api/chat", json={"question": question, **more})
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def stream(client: Client, tenant: str = "acme") -> list[tuple[str, dict[str, Any]]]:
    """Return the events of an answer."""
    response = client.post(f"/t/{tenant}/api/chat", json={"question": QUESTION}, headers=STREAM)
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    lines = [block.split("\n") for block in blocks]
    return [(line[0].removeprefix("event: "), json.loads(line[1].removeprefix("data: "))) for line in lines]


def test_an_answer_comes_as_events_the_evidence_first(client: Client) -> None:
    """Evidence, then the text in pieces, then the whole of it with the conversation it belongs to."""
    events = stream(client)

    names = [name for name, _ in events]
    evidence, done = events[0][1], events[-1][1]
    assert names[0] == "evidence"
    assert names[-1] == "done"
    assert set(names[1:-1]) == {"token"}
    assert evidence["citations"][0]["quote"] == PRICE
    assert evidence["mode"] == "quote"
    assert not evidence["is_declined"]
    assert evidence["seconds"]
    assert "".join(data["text"] for name, data in events if name == "token").strip() == done["text"]
    assert PRICE in done["text"]
    assert done["conversation"]


def test_a_citation_says_where_its_words_stand(client: Client, reader: dict[str, str]) -> None:
    """Document, heading, page and span are those of the stored text, and the address shows them marked."""
    place = ask(client)["citations"][0]

    text = client.get(f"/t/acme/api/documents/{place['document_id']}", headers=reader).json()["text"]
    page = client.get(place["url"].partition("#")[0]).text
    assert text[place["start"] : place["end"]] == place["quote"] == PRICE
    assert (place["title"], place["heading"], place["page"]) == ("Delivery", DELIVERY[1][0], 1)
    assert place["url"].endswith("#cited")
    assert f'<mark id="cited" tabindex="-1">{PRICE}</mark>' in page


def test_an_answer_in_one_piece_is_the_last_event(client: Client) -> None:
    """Without an event stream the same answer comes as one object."""
    done = stream(client)[-1][1]
    whole = ask(client)

    assert whole.keys() == done.keys()
    for key in ("text", "citations", "is_declined", "mode"):
        assert whole[key] == done[key]


def test_a_question_that_no_document_answers_is_declined(client: Client) -> None:
    """The agent's own sentence, and nothing cited."""
    answer = ask(client, ELSEWHERE)

    assert answer["is_declined"]
    assert answer["citations"] == []
    assert answer["text"] == "I could not find this in the documents."


def test_an_agent_that_writes_gives_the_models_words(client: Client) -> None:
    """The tokens are the model's, and the evidence comes before the first of them."""
    events = stream(client, "writing")

    assert events[0][0] == "evidence"
    assert events[0][1]["mode"] == "write"
    assert "".join(data["text"] for name, data in events if name == "token").strip() == WRITTEN
    assert [place["number"] for place in events[-1][1]["citations"]] == [1]


def test_the_visitor_may_choose_to_have_quotes(client: Client) -> None:
    """The mode of the request goes before the agent's."""
    assert ask(client, tenant="writing", mode="quote")["mode"] == "quote"


def test_a_conversation_can_be_read_and_deleted(client: Client) -> None:
    """Both sides of each exchange, in order, with citations; afterwards nothing, for ever."""
    first = ask(client)
    second = ask(client, ELSEWHERE, conversation=first["conversation"])
    address, mine = "/t/acme/api/conversation", own(first["conversation"])

    messages = client.get(address, headers=mine).json()["messages"]

    assert second["conversation"] == first["conversation"]
    assert [message["role"] for message in messages] == ["visitor", "agent", "visitor", "agent"]
    assert [message["text"] for message in messages][::2] == [QUESTION, ELSEWHERE]
    assert [place["quote"] for place in messages[1]["citations"]] == [place["quote"] for place in first["citations"]]
    assert messages[3]["is_declined"]
    assert client.delete(address, headers=mine).status_code == 204
    assert client.get(address, headers=mine).status_code == 404
    assert client.delete(address, headers=mine).status_code == 404
    assert client.post("/t/acme/api/chat", json={"question": "And?", "conversation": first["conversation"]}).status_code


def test_what_was_said_live_and_what_is_read_later_are_the_same(client: Client) -> None:
    """A stored answer has the text and the places of the answer as it was given."""
    answer = ask(client)

    stored = client.get("/t/acme/api/conversation", headers=own(answer["conversation"])).json()["messages"][1]

    assert stored["text"] == answer["text"]
    assert stored["citations"] == answer["citations"]


def test_one_tenant_cannot_reach_anothers_conversation(client: Client, home: Home) -> None:
    """A secret of one tenant is nothing to another, and the answer is the same as for one that never was."""
    make_tenant(home, "other")
    known = ask(client)["conversation"]

    for method in ("GET", "DELETE"):
        theirs = client.request(method, "/t/other/api/conversation", headers=own(known))
        nobodys = client.request(method, "/t/other/api/conversation", headers=own("never"))
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.content == nobodys.content
    response = client.post("/t/other/api/chat", json={"question": QUESTION, "conversation": known})
    assert response.status_code == 404
    assert len(client.get("/t/acme/api/conversation", headers=own(known)).json()["messages"]) == 2


def test_documents_are_listed_and_read(client: Client, reader: dict[str, str]) -> None:
    """Each document is listed once, the newest first; the text comes with heading and page of each stretch."""
    listed = client.get("/t/acme/api/documents", headers=reader).json()["documents"]
    one = client.get(f"/t/acme/api/documents/{listed[1]['id']}", headers=reader).json()

    assert [document["name"] for document in listed] == ["hours.md", "delivery.md"]
    assert [section["heading"] for section in one["sections"]] == [heading for heading, _, _ in DELIVERY]
    assert [section["page"] for section in one["sections"]] == [None, 1, 2]
    assert one["sections"][-1]["end"] == len(one["text"])


def test_a_search_gives_passages(client: Client, reader: dict[str, str]) -> None:
    """The best passage is first, and no more come than were asked for."""
    sent = {"question": QUESTION, "limit": 2}
    found = client.post("/t/acme/api/search", json=sent, headers=reader).json()["passages"]

    assert len(found) == 2
    assert PRICE in found[0]["text"]
    assert found[0]["score"] >= found[1]["score"]
    assert client.get(found[0]["url"].partition("#")[0]).status_code == 200


@pytest.mark.parametrize("limit", [0, -1, 51, 10**30, "many", 1.5, None])
def test_a_search_has_a_limit(client: Client, reader: dict[str, str], limit: Any) -> None:
    """A limit that is none, or too high, is a bad request."""
    response = client.post("/t/acme/api/search", json={"question": QUESTION, "limit": limit}, headers=reader)

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_request"


@pytest.mark.parametrize(
    "question",
    [
        '" OR 1=1 --',
        'NEAR( * " ^ :',
        "body:delivery",
        '"' * 99,
        "'; drop table chunk; --",
        "x" * 7000,
        "delivery " * 800,
        "\0delivery\0",
        "\u202edelivery",
        "🥐" * 500,
        "%s %d {0} {{7*7}}",
    ],
    ids=range(11),
)
def test_a_question_is_words_and_nothing_else(client: Client, reader: dict[str, str], question: str) -> None:
    """Syntax of any kind in a question is searched for, not obeyed: an answer or a decline, never a crash."""
    assert ask(client, question)["text"]
    assert client.post("/t/acme/api/search", json={"question": question}, headers=reader).status_code == 200


@pytest.mark.parametrize("question", ["", " ", "\n\t "])
def test_a_question_that_is_none_is_refused(client: Client, question: str) -> None:
    """Nothing but white space is a bad request that says so, before any event."""
    for headers in ({}, STREAM):
        response = client.post("/t/acme/api/chat", json={"question": question}, headers=headers)

        assert response.status_code == 400
        assert "question" in response.json()["error"]["message"].lower()


def test_half_a_character_is_no_crash(client: Client) -> None:
    """A lone surrogate, which JSON can write and UTF-8 cannot, is answered or refused."""
    response = client.post(
        "/t/acme/api/chat", content=b'{"question": "\\ud800"}', headers={"content-type": "application/json"}
    )

    assert response.status_code in (200, 400)


def test_a_tenant_without_documents_says_so(client: Client, home: Home) -> None:
    """An agent with nothing to answer from is not ready, and the hint has the command that helps."""
    home.create("empty")
    with home.open("empty") as tenant:
        change_agent(tenant, is_published=True)

    response = client.post("/t/empty/api/chat", json={"question": QUESTION})

    assert response.status_code == 409
    assert "ruma ingest" in response.json()["error"]["hint"]
    assert client.get("/t/empty/api/agent").json()["has_documents"] is False


def test_the_agent_is_shown_without_its_instructions(client: Client) -> None:
    """Visitors learn its name, greeting and questions."""
    assert client.get("/t/acme/api/agent").json() == {
        "name": "Marrowby Bakery",
        "greeting": "Hello!",
        "questions": [QUESTION],
        "has_documents": True,
    }


def test_a_tenant_that_was_removed_is_not_found_and_may_come_back(client: Client, home: Home) -> None:
    """After `rm -rf` its addresses are empty at once; a new tenant of the name is another one."""
    make_tenant(home, "brief")
    old = ask(client, tenant="brief")["conversation"]

    shutil.rmtree(home.settings.tenants_folder / "brief")
    gone = client.post("/t/brief/api/chat", json={"question": QUESTION})
    make_tenant(home, "brief")

    assert gone.status_code == 404
    assert PRICE in ask(client, tenant="brief")["text"]
    assert client.get("/t/brief/api/conversation", headers=own(old)).status_code == 404


def test_a_document_that_was_removed_is_not_answered_from(client: Client, home: Home) -> None:
    """Another process removes a source: the running server's next answer does without it."""
    make_tenant(home, "changing")
    assert PRICE in ask(client, tenant="changing")["text"]

    with home.open("changing") as tenant:
        for source in list_sources(tenant):
            erase_source(tenant, source.id)
    response = client.post("/t/changing/api/chat", json={"question": QUESTION})

    assert response.status_code == 409


def test_a_model_that_stops_is_an_error_in_both_forms(settings: Settings) -> None:
    """Before the first byte it has a status of its own; in a stream it is the last event, without secrets."""
    home = Home(settings)
    make_tenant(home, mode="write")
    generator = ScriptedGenerator("One BREAK two")
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: generator), base_url=HERE) as client:
        whole = client.post("/t/acme/api/chat", json={"question": QUESTION})
        events = stream(client)
        conversations = [data for name, data in events if name == "done"]

    assert whole.status_code == 500
    assert whole.json()["error"]["code"] == "bug"
    assert [name for name, _ in events][-1] == "error"
    assert events[-1][1] == whole.json()
    assert not conversations


def test_models_are_opened_once_and_only_when_needed(settings: Settings) -> None:
    """The embedder is opened at the start, a language model by the first answer that writes, each of them once."""
    home = Home(settings)
    make_tenant(home, mode="write")
    opened: list[str] = []

    def note(name: str, value: Any) -> Callable[..., Any]:
        return lambda *args: opened.append(name) or value

    generator: Generator = ScriptedGenerator()
    app = create_app(home, note("embedder", EMBEDDER), note("generator", generator))
    with TestClient(app, base_url=HERE) as client:
        assert opened == ["embedder"]
        ask(client, mode="quote")
        assert opened == ["embedder"]
        ask(client)
        ask(client)
    assert opened == ["embedder", "generator"]


def test_the_health_says_nothing_of_tenants(client: Client) -> None:
    """That it runs and which version it is, and no more."""
    body = client.get("/health").json()

    assert body.keys() == {"ok", "version"}
    assert body["ok"] is True


def test_a_head_is_a_get_without_its_body(client: Client) -> None:
    """HEAD has the status and the headers of the GET, also where that fails."""
    for path in ("/health", "/t/acme/", "/nothing"):
        head, full = client.head(path), client.get(path)

        assert head.status_code == full.status_code
        assert head.content == b""
        assert head.headers["content-length"] == full.headers["content-length"]


def test_the_api_describes_itself(client: Client, reader: dict[str, str]) -> None:
    """Every route of the API is described, with an example of its answer and the one shape of its failures."""
    described = client.get("/t/acme/api/openapi.json", headers=reader).json()

    paths = described["paths"]
    routes = {re.sub(r":\w+}", "}", route.path) for route in client.app.routes}
    assert set(paths) == {"/health"} | {path for path in routes if re.match(r"/t/{name}/(api|v1)/(?!openapi)", path)}
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert operation["description"], (method, path)
            for status, response in operation["responses"].items():
                if status == "204":
                    continue
                if BYTES in response["content"]:
                    continue
                content = response["content"].get("application/json") or response["content"]["application/x-ndjson"]
                assert content["examples"], (method, path, status)
                if int(status) >= 400:
                    assert content["schema"] == {"$ref": "#/components/schemas/Failure"}, (method, path, status)
            names = [one["name"] for one in operation.get("parameters", []) if one["in"] == "path"]
            assert names == [part[1:-1] for part in path.split("/") if part.startswith("{")]
    added = paths["/t/{name}/api/sources/uploads"]
    assert set(added["put"]["requestBody"]["content"]) == {BYTES}
    assert set(added["post"]["requestBody"]["content"]) == {"multipart/form-data"}
    assert BYTES in paths["/t/{name}/api/documents/{document_id}/original"]["get"]["responses"]["200"]["content"]
    assert (
        "event: evidence"
        in paths["/t/{name}/api/chat"]["post"]["responses"]["200"]["content"]["text/event-stream"]["example"]
    )


def test_the_examples_are_true(client: Client, reader: dict[str, str]) -> None:
    """An example of the description has the shape of what the server really answers."""
    paths = client.get("/t/acme/api/openapi.json", headers=reader).json()["paths"]
    chat = paths["/t/{name}/api/chat"]["post"]
    sent = next(iter(chat["requestBody"]["content"]["application/json"]["examples"].values()))["value"]
    shown = next(iter(chat["responses"]["200"]["content"]["application/json"]["examples"].values()))["value"]

    answered = ask(client, **{key: value for key, value in sent.items() if value is not None})

    assert answered.keys() == shown.keys()
    assert answered["citations"][0].keys() == shown["citations"][0].keys()
