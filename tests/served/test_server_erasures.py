"""Erasing in the members' pages and by the API: found, chosen, erased, with a receipt to keep and to check."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from litestar import Litestar
from litestar._parsers import parse_cookie_string, parse_query_string
from litestar.datastructures.url import URL
from litestar.testing import TestClient

from ruma.business.mail import Outbox
from ruma.chat.words import stem
from ruma.config import Settings
from ruma.models.generator import Generator
from ruma.server.forgetting import Forgetter
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.conversing.inbox import ask_for_person
from ruma.tenant.erasing.erasures import erase
from ruma.tenant.erasing.receipts import is_signature_right, list_receipts, read_receipt
from ruma.tenant.home import Home
from ruma.tenant.keeping.holds import set_hold
from ruma.tenant.knowledge.documents import list_documents
from ruma.tenant.knowledge.index import search_vectors
from ruma.tenant.people.members import list_members
from ruma.tenant.tenant import Tenant
from tests.serving import EMBEDDER, ScriptedGenerator, renew_tenant, sign_in, with_key

Client = TestClient[Litestar]
HERE = "http://127.0.0.1:8420"
DATA = "/t/acme/data/erasures"


@pytest.fixture
def client(client: Client, tenant: Tenant) -> Client:
    """Return a client of an owner who is signed in."""
    client.headers.update({"accept": "text/html", **sign_in(tenant)})
    return client


def say(tenant: Tenant, text: str, email: str = "") -> int:
    """Store a conversation and return its number."""
    chat = begin_conversation(is_kept=True)
    add_exchange(tenant, chat, text, "No.", mode="write", is_declined=False, citations=[])
    if email:
        ask_for_person(tenant, chat, name="Jo", email=email, message="Please call.")
    return chat.id or 0


def test_a_visitor_is_found_chosen_and_erased(client: Client, tenant: Tenant) -> None:
    """What was found is shown with a piece of it; what is ticked goes, and the receipt is shown and can be had."""
    gone = say(tenant, "I am Anne Berg and I want my bread")
    stays = say(tenant, "Anne Berg is somebody else, says another")

    found = client.get(DATA, params={"find": "anne berg"}).text
    done = client.post(DATA, data={"conversation": str(gone), "find": "anne berg"})

    assert f'value="{gone}"' in found
    assert f'value="{stays}"' in found
    assert "I am Anne Berg" in found
    assert done.status_code == 303
    page = client.get(done.headers["location"]).text
    assert f"the visitor of conversation {gone}" in page
    assert "nothing left" in page
    assert "What it does not reach" in page
    (kept,) = list_receipts(tenant)
    downloaded = client.get(f"/t/acme/api/erasures/{kept.id}/receipt").text
    assert is_signature_right(read_receipt(downloaded))
    as_page = client.get(f"/t/acme/api/erasures/{kept.id}/receipt", params={"format": "html"})
    assert "Receipt of an erasure" in as_page.text
    assert "attachment" in as_page.headers["content-disposition"]
    again = client.post(f"{DATA}/{kept.id}/verify").text
    assert "Looked again: nothing is left" in again
    assert client.get(f"/t/acme/conversations/{gone}").status_code == 404
    assert client.get(f"/t/acme/conversations/{stays}").status_code == 200


def test_nothing_ticked_and_nothing_found_are_said(client: Client, tenant: Tenant) -> None:
    """Without a tick nothing is erased; a search that finds nothing says so, an empty one is an error that is shown."""
    number = say(tenant, "Hello")

    none = client.post(DATA, data={"find": "hello"})

    assert none.status_code == 400
    assert "Nobody is named" in none.text
    assert "Nothing was found" in client.get(DATA, params={"find": "zebra"}).text
    assert client.get(DATA, params={"find": '"'}).status_code == 200
    assert f'value="{number}" checked' in client.get(DATA, params={"find": str(number)}).text
    assert "not there any more" in client.get(DATA, params={"find": "999"}).text
    assert list_receipts(tenant) == []


def test_what_is_held_is_not_erased(client: Client, tenant: Tenant) -> None:
    """A legal hold on one of two conversations keeps both, and the page says why."""
    held, other = say(tenant, "Hello"), say(tenant, "Hello")
    set_hold(tenant, "A court asks for it", conversation_id=held)

    answer = client.post(DATA, data={"conversation": [str(held), str(other)]})

    assert answer.status_code == 409
    assert f"A legal hold is on conversation {held}" in answer.text
    assert client.get(f"/t/acme/conversations/{other}").status_code == 200
    assert list_receipts(tenant) == []


def test_the_buttons_that_delete_give_receipts(client: Client, tenant: Tenant) -> None:
    """A document on its page, a conversation and a member: each deletion is an erasure, by the member who pressed."""
    document = list_documents(tenant)[0].id
    chat = say(tenant, "Hello")
    sign_in(tenant, "editor")
    editor = next(one.id for one in list_members(tenant) if one.role == "editor")
    owner = next(one.id for one in list_members(tenant) if one.role == "owner")

    answers = [
        client.post("/t/acme/sources/remove", data={"document": str(document)}),
        client.post(f"/t/acme/conversations/{chat}/delete"),
        client.post(f"/t/acme/people/{editor}/remove"),
    ]

    assert [answer.status_code for answer in answers] == [303, 303, 303]
    receipts = [one.signed.receipt for one in reversed(list_receipts(tenant)) if one.signed]
    assert [(one.kind, one.numbers) for one in receipts] == [
        ("document", (document,)),
        ("conversation", (chat,)),
        ("member", (editor,)),
    ]
    assert {(one.by_kind, one.by_number) for one in receipts} == {("member", owner)}
    assert all(one.is_complete for one in receipts)


def test_programs_erase_and_read_receipts(client: Client, tenant: Tenant) -> None:
    """With a key: found by words, erased by address, deletions name their receipt, and it is looked for again."""
    client.headers.pop("X-Ruma-CSRF")
    client.headers.update({"accept": "application/json", "Cookie": ""})
    keys = with_key(tenant, "read", "write", "conversations", "manage")
    first, second = say(tenant, "I am Anne Berg", "anne@example.com"), say(tenant, "Again", "Anne@example.com")
    lone = say(tenant, "Nobody")
    api = "/t/acme/api"

    found = client.get(f"{api}/mentions", params={"text": "anne berg"}, headers=keys).json()["mentions"]
    erased = client.post(f"{api}/erasures/visitor", json={"email": "ANNE@example.com"}, headers=keys)
    nobody = client.post(f"{api}/erasures/visitor", json={"email": "anne@example.com"}, headers=keys)
    empty = client.post(f"{api}/erasures/visitor", json={}, headers=keys)
    deleted = client.delete(f"{api}/conversations/{lone}", headers=keys)

    assert [one["conversation_id"] for one in found] == [first]
    assert erased.json()["numbers"] == [first, second]
    assert (nobody.status_code, empty.status_code) == (404, 400)
    assert deleted.status_code == 204
    number = int(deleted.headers["x-ruma-receipt"])
    assert client.get(f"{api}/erasures/{number}", headers=keys).json()["kind"] == "conversation"
    listed = client.get(f"{api}/erasures", headers=keys).json()
    assert [one["id"] for one in listed["erasures"]] == [number, erased.json()["id"]]
    verdict = client.post(f"{api}/erasures/{number}/verify", headers=keys).json()
    assert verdict["outcome"] == "clean"
    receipt = json.loads(client.get(f"{api}/erasures/{number}/receipt", headers=keys).text)
    assert receipt["public_key"] == listed["public_key"]


class Remembering(ScriptedGenerator):
    """Has a process that remembers until it is told to forget."""

    def __init__(self) -> None:
        """Begin with a process."""
        super().__init__()
        self.forgotten = 0

    @property
    def is_running(self) -> bool:
        """Tell whether there is a process."""
        return not self.forgotten

    def forget(self) -> None:
        """End it."""
        self.forgotten += 1


def test_model_processes_end_and_caches_are_emptied(tmp_path_factory: pytest.TempPathFactory) -> None:
    """After an erasure, at once; and not again for each further one of the next seconds."""
    home = Home(Settings(home=tmp_path_factory.mktemp("own"), key_source="machine"))
    renew_tenant(home)
    generators: list[Generator] = [Remembering()]
    with home.open("acme") as tenant:
        forgetter = Forgetter(lambda: [tenant], lambda: generators, Outbox(home.settings))
        search_vectors(tenant, EMBEDDER.embed_question("delivery"), 3)
        assert stem("loaves") != stem("deliveries")
        assert tenant.vectors
        assert tenant._kept

        done = erase(tenant, "document", [list_documents(tenant)[0].id], forget=lambda: forgetter.forget(tenant))
        generators[:] = [Remembering()]
        later = forgetter.forget(tenant)

        assert tenant.vectors is None
        assert tenant._kept == []
        assert stem.cache_info().currsize <= 1  # of the empty word
        assert done.signed
        assert "was ended" in done.signed.receipt.checks[-1].text
        assert "within 20 seconds" in later.text
        assert isinstance(generators[0], Remembering)
        assert generators[0].forgotten == 0
        assert "No language model" in Forgetter(lambda: [], lambda: [], Outbox(home.settings)).forget(tenant).text


def test_a_connection_that_is_in_use_is_not_kept_after_an_erasure(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It holds pages that it decrypted before; what is opened afterwards is kept again."""
    home = Home(Settings(home=tmp_path_factory.mktemp("own"), key_source="machine"))
    renew_tenant(home)
    with home.open("acme") as tenant:
        with tenant.reading() as db:
            db.execute("select count(*) from document").fetchall()
            tenant.forget()
        assert tenant._kept == []
        with tenant.writing() as db:
            db.execute("select count(*) from document").fetchall()
        assert len(tenant._kept) == 1


def test_what_another_process_erased_is_forgotten_too(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command erases while the server runs: within seconds the server's caches and model process know nothing."""
    from ruma.server import forgetting

    monkeypatch.setattr(forgetting, "LOOK_SECONDS", 0.05)
    home = Home(Settings(home=tmp_path_factory.mktemp("own"), key_source="machine"))
    renew_tenant(home)
    model = Remembering()
    with home.open("acme") as served, home.open("acme") as other:
        forgetter = Forgetter(lambda: [served], lambda: [model], Outbox(home.settings))
        forgetter.start()
        search_vectors(served, EMBEDDER.embed_question("delivery"), 3)
        try:
            for _ in range(100):
                if served.id in forgetter._seen:
                    break
                forgetter._stop.wait(0.05)
            erase(other, "document", [list_documents(other)[0].id])
            for _ in range(100):
                if model.forgotten:
                    break
                forgetter._stop.wait(0.05)
        finally:
            forgetter.stop()

        assert model.forgotten == 1
        assert served.vectors is None


def test_the_caches_of_the_libraries_that_read_requests_are_emptied(
    served: tuple[Home, Client], tenant: Tenant
) -> None:
    """What a member searched for stands in addresses, which these libraries keep."""
    parse_query_string(b"search=marzipan")
    parse_cookie_string("ruma=marzipan")
    urlsplit("http://127.0.0.1/?search=marzipan")
    URL("http://127.0.0.1/?search=marzipan")
    Forgetter(lambda: [tenant], list, Outbox(served[0].settings)).forget(tenant)
    caches: list[Any] = [parse_query_string, parse_cookie_string, urlsplit, URL._new]
    assert [one.cache_info().currsize for one in caches] == [0, 0, 0, 0]
