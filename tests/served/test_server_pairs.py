import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.tenant.home import Home
from tests.serving import renew_tenant, with_key

Client = TestClient[Litestar]
PAIR = {"question": "Do you bake for weddings?", "answer": "Yes.\n\nCall us three weeks ahead."}


@pytest.fixture
def client(served: tuple[Home, Client]) -> Client:
    """Return a client that has a key to everything of a new tenant."""
    home, client = served
    with renew_tenant(home).open("acme") as tenant:
        client.headers.update(with_key(tenant, "chat", "read", "write"))
    return client


def test_pairs_are_added_listed_changed_and_removed(client: Client) -> None:
    """Each change holds from the next question on."""
    url = "/t/acme/api/pairs"
    added = client.post(url, json=PAIR).json()
    assert client.get(f"{url}/{added['id']}").json() == added
    assert (added["question"], added["answer"]) == (PAIR["question"], PAIR["answer"])
    told = client.post("/t/acme/api/chat", json={"question": "do you bake for weddings"}).json()
    assert (told["text"], told["mode"], told["citations"][0]["document_id"]) == (PAIR["answer"], "pair", added["id"])

    changed = client.put(f"{url}/{added['id']}", json={**PAIR, "answer": "No."}).json()
    assert client.get(url, params={"search": "weddings"}).json() == {"pairs": [changed], "total": 1}
    assert client.get(url, params={"search": "funerals"}).json() == {"pairs": [], "total": 0}
    assert client.post("/t/acme/api/chat", json={"question": PAIR["question"]}).json()["text"] == "No."

    assert client.delete(f"{url}/{changed['id']}").status_code == 204
    assert client.delete(f"{url}/{changed['id']}").status_code == 404
    assert client.post("/t/acme/api/chat", json={"question": PAIR["question"]}).json()["mode"] == "quote"


def test_what_cannot_be_a_pair_is_refused(client: Client) -> None:
    """An empty part, and a question that has an answer already."""
    url = "/t/acme/api/pairs"
    client.post(url, json=PAIR)

    assert client.post(url, json={**PAIR, "answer": " "}).status_code == 400
    assert client.post(url, json=PAIR).status_code == 409
    assert client.put(f"{url}/999", json={**PAIR, "question": "x?"}).status_code == 404
    assert client.get(url).json()["total"] == 1


def test_a_document_is_no_pair(client: Client) -> None:
    """By a document's number nothing can be read, changed or removed here."""
    number = client.get("/t/acme/api/documents").json()["documents"][0]["id"]

    assert client.get(f"/t/acme/api/pairs/{number}").status_code == 404
    assert client.put(f"/t/acme/api/pairs/{number}", json=PAIR).status_code == 404
    assert client.delete(f"/t/acme/api/pairs/{number}").status_code == 404
    assert client.get("/t/acme/api/documents").json()["total"] == 2


def test_the_agent_is_set_through_the_api(client: Client) -> None:
    """What is given changes, the rest stays, and what cannot be is refused."""
    url = "/t/acme/api/agent/settings"
    before = client.get(url).json()

    changed = client.patch(url, json={"tone": "formal", "websites": ["https://Shop.example/"]}).json()

    assert changed == {**before, "tone": "formal", "websites": ["https://shop.example"]}
    for wrong in ({"tone": "rude"}, {"accent": "red"}, {"websites": ["*"]}, {"model": "nothing"}, {"name": ""}):
        assert client.patch(url, json=wrong).status_code in (400, 404), wrong
    assert client.get(url).json() == changed
