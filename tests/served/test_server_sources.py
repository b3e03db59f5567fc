import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.server.app import create_app
from ruma.tenant.connections import READS_SOURCE, list_connections
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import find_documents, list_documents
from ruma.tenant.knowledge.sources import list_sources
from ruma.tenant.knowledge.uploads import list_uploads, receive_upload, take_upload
from ruma.tenant.tenant import Tenant
from tests.fakes import HashEmbedder
from tests.hostile import HostileServer
from tests.serving import FLAGS, sign_in, store, with_key

HERE = "http://127.0.0.1:8420"
API = "/t/acme/api"
PAGE = {"accept": "text/html"}
FORM = {"content-type": "application/x-www-form-urlencoded", **PAGE}

Client = TestClient[Litestar]
Headers = dict[str, str]


@pytest.fixture(scope="module")
def website() -> Iterator[HostileServer]:
    """Return a website on this machine that may be read."""
    server = HostileServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, website: HostileServer) -> Iterator[tuple[Home, Client]]:
    """Return a home and a client of its server."""
    flags = {"home": tmp_path_factory.mktemp("home"), "max_file_mb": 1, **FLAGS}
    home = Home(load_settings({**flags, "private_networks": f"127.0.0.1:{website.port}"}, {}))
    with TestClient(create_app(home, lambda: HashEmbedder(dimension=256), lambda _: None), base_url=HERE) as client:
        client.follow_redirects = False
        yield home, client


@pytest.fixture
def writer(tenant: Tenant) -> Headers:
    """Return the headers of an API key that reads and writes."""
    return with_key(tenant, "read", "write")


@pytest.fixture
def editor(tenant: Tenant) -> Headers:
    """Return the headers of an editor's page."""
    return sign_in(tenant, "editor")


def put(client: Client, headers: Headers, name: str, data: bytes = b"# Summer\n\nWe close in August.") -> Any:
    """Hand a file over, and return the response."""
    return client.put(f"{API}/sources/uploads?name={quote(name)}", content=data, headers=headers)


def wait(client: Client, headers: Headers, upload_id: int) -> dict[str, Any]:
    """Return what became of an upload, when it was read."""
    until = time.monotonic() + 20
    while True:
        state: dict[str, Any] = client.get(f"{API}/sources/uploads/{upload_id}", headers=headers).json()
        if state["state"] in ("done", "failed"):
            return state
        assert time.monotonic() < until
        time.sleep(0.03)


def error(response: Any) -> tuple[int, str]:
    """Return the status and the message of a failure."""
    return response.status_code, response.json()["error"]["message"]


def test_a_file_becomes_a_document(client: Client, writer: Headers) -> None:
    """Handed over as a body, it is read a moment later, listed, read back word for word and byte for byte."""
    response = put(client, writer, "summer.md")

    assert response.status_code == 200, response.text
    state = wait(client, writer, response.json()["id"])
    assert (state["state"], state["reason"], state["added_by"]) == ("done", "", "API key test")
    listed = client.get(f"{API}/documents?limit=1", headers=writer).json()
    assert listed["total"] == 3
    [document] = listed["documents"]
    assert (document["name"], document["title"], document["source_kind"]) == ("summer.md", "Summer", "upload")
    assert (document["id"], document["added_by"]) == (state["document_id"], "API key test")
    assert "August" in client.get(f"{API}/documents/{document['id']}", headers=writer).json()["text"]
    original = client.get(f"{API}/documents/{document['id']}/original", headers=writer)
    assert original.content == b"# Summer\n\nWe close in August."


def test_a_repeated_upload_replaces_the_first(client: Client, writer: Headers, tenant: Tenant) -> None:
    """The same file again changes nothing; with the same idempotency key it is not even taken again."""
    for key, is_replayed in (("same", False), ("same", True), ("another", False)):
        response = put(client, writer | {"Idempotency-Key": key}, "summer.md")
        assert (response.status_code, "idempotent-replayed" in response.headers) == (200, is_replayed)
        assert wait(client, writer, response.json()["id"])["state"] == "done"

    assert find_documents(tenant, "summer").total == 1


def test_files_of_a_form_become_documents(client: Client, writer: Headers) -> None:
    """A form may have several files; its other fields are passed over, and names keep their accents."""
    files = [("file", ("Käse.md", b"Cheese is 5 euros.")), ("more", ("b.md", b"Bread is 4 euros."))]

    response = client.post(f"{API}/sources/uploads", files=files, data={"note": "hello"}, headers=writer)

    assert response.status_code == 200, response.text
    uploads = response.json()["uploads"]
    assert [one["name"] for one in uploads] == ["Käse.md", "b.md"]
    assert [wait(client, writer, one["id"])["state"] for one in uploads] == ["done", "done"]


def test_a_form_is_kept_whole_or_not_at_all(client: Client, writer: Headers, tenant: Tenant) -> None:
    """When its second file is too large, the first is not kept either."""
    files = [("file", ("a.md", b"Bread.")), ("file", ("b.md", bytes(1_000_001)))]

    response = client.post(f"{API}/sources/uploads", files=files, headers=writer)

    assert response.status_code == 413
    assert "b.md is larger than 1 MB" in error(response)[1]
    assert list_uploads(tenant, ("waiting", "reading", "done", "failed")) == []
    assert list(tenant.uploads_folder.iterdir()) == []


def test_a_file_over_the_limit_is_refused(client: Client, writer: Headers, tenant: Tenant) -> None:
    """By what was announced, before anything is read; and by what comes in, where nothing was announced."""

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(100_000)

    announced = put(client, writer, "big.pdf", bytes(1_300_000))
    unannounced = client.put(f"{API}/sources/uploads?name=big.pdf", content=endless(), headers=writer)

    assert error(announced) == (413, "The file has 2 MB; 1 MB is the most that is taken.")
    assert error(unannounced) == (413, "big.pdf is larger than 1 MB, which is the most that is taken.")
    assert announced.json()["error"]["code"] == unannounced.json()["error"]["code"] == "too_large"
    assert list_uploads(tenant) == []


def test_a_text_becomes_a_document(client: Client, writer: Headers, tenant: Tenant) -> None:
    """It has the title it was given, and another text of that title takes its place."""
    for text in ("We close in August.", "We close in July."):
        response = client.post(f"{API}/sources/texts", json={"title": "Summer", "text": text}, headers=writer)
        assert wait(client, writer, response.json()["id"])["state"] == "done"

    found = find_documents(tenant, "Summer").documents
    assert [(one.title, one.source_kind) for one in found] == [("Summer", "text")]
    empty = client.post(f"{API}/sources/texts", json={"title": "x", "text": " \n"}, headers=writer)
    assert error(empty) == (400, "The text is empty.")
    nameless = client.post(f"{API}/sources/texts", json={"title": " ", "text": "x"}, headers=writer)
    assert error(nameless) == (400, "The text needs a title.")


def test_what_failed_is_listed_tried_again_and_discarded(client: Client, writer: Headers, tenant: Tenant) -> None:
    """It says why; trying again ends the same way where the file is the same; discarding takes it away."""
    number = put(client, writer, "letter.pdf", b"no PDF at all").json()["id"]
    assert wait(client, writer, number)["reason"].startswith("is named .pdf but holds plain text")
    assert [one["id"] for one in client.get(f"{API}/sources/uploads", headers=writer).json()["uploads"]] == [number]

    assert client.post(f"{API}/sources/uploads/{number}/retry", headers=writer).json()["state"] == "waiting"
    assert wait(client, writer, number)["state"] == "failed"
    assert client.delete(f"{API}/sources/uploads/{number}", headers=writer).status_code == 204

    assert client.get(f"{API}/sources/uploads/{number}", headers=writer).status_code == 404
    assert list_uploads(tenant) == []


def test_a_conflict_is_said(client: Client, writer: Headers) -> None:
    """What was read can be neither tried again nor discarded."""
    number = put(client, writer, "a.md").json()["id"]
    wait(client, writer, number)

    assert client.post(f"{API}/sources/uploads/{number}/retry", headers=writer).status_code == 409
    assert client.delete(f"{API}/sources/uploads/{number}", headers=writer).status_code == 409


def test_a_removed_document_takes_its_source_along(client: Client, writer: Headers, tenant: Tenant) -> None:
    """Neither the document nor the source that held nothing else is listed any more."""
    state = wait(client, writer, put(client, writer, "a.md").json()["id"])
    assert len(client.get(f"{API}/sources", headers=writer).json()["sources"]) == 2

    assert client.delete(f"{API}/documents/{state['document_id']}", headers=writer).status_code == 204

    assert [one["location"] for one in client.get(f"{API}/sources", headers=writer).json()["sources"]] == ["/shop"]
    assert client.get(f"{API}/documents/{state['document_id']}", headers=writer).status_code == 404
    assert client.delete(f"{API}/documents/{state['document_id']}", headers=writer).status_code == 404


def test_a_source_is_removed_with_its_documents(client: Client, writer: Headers, tenant: Tenant) -> None:
    """A folder goes with all that was read from it."""
    [source] = client.get(f"{API}/sources", headers=writer).json()["sources"]

    assert client.delete(f"{API}/sources/{source['id']}", headers=writer).status_code == 204

    assert (list_sources(tenant), list_documents(tenant)) == ([], [])
    assert client.delete(f"{API}/sources/{source['id']}", headers=writer).status_code == 404


def test_only_who_may_write_hands_over(client: Client, tenant: Tenant) -> None:
    """Nobody, a viewer and a key that only reads are refused, whatever they send; nothing is kept."""
    tries = [
        ({}, 401),
        (sign_in(tenant, "viewer"), 403),
        (with_key(tenant, "read", "chat", "conversations", "manage"), 403),
        ({"Cookie": sign_in(tenant, "editor")["Cookie"]}, 403),
    ]
    for headers, status in tries:
        assert put(client, headers, "a.md").status_code == status
        files = [("file", ("a.md", b"Bread."))]
        assert client.post(f"{API}/sources/uploads", files=files, headers=headers).status_code == status
        body = {"title": "a", "text": "b"}
        assert client.post(f"{API}/sources/texts", json=body, headers=headers).status_code == status
    assert list_uploads(tenant, ("waiting", "reading", "done", "failed")) == []


def test_documents_are_listed_in_parts(client: Client, writer: Headers) -> None:
    """With a search, and so many from a place on; what is no number is refused."""
    found = client.get(f"{API}/documents?search=OPENING", headers=writer).json()
    assert [one["name"] for one in found["documents"]] == ["hours.md"]
    second = client.get(f"{API}/documents?limit=1&offset=1", headers=writer).json()
    assert [one["name"] for one in second["documents"]] == ["delivery.md"]
    assert client.get(f"{API}/documents?limit=5000", headers=writer).status_code == 400


def test_the_page_shows_what_there_is(client: Client, editor: Headers, tenant: Tenant) -> None:
    """Documents with their actions, what waits, and what failed with its reason."""
    receive_upload(tenant, "wait.md", [b"x"], kind="upload", added_by="Ada", most_bytes=100)
    receive_upload(tenant, "bad.pdf", [b"x"], kind="upload", added_by="Ada", most_bytes=100)
    first, second = take_upload(tenant), take_upload(tenant)
    assert first
    assert second
    second.fail("is protected by a password.")
    first.put_back()
    first.release()
    second.release()

    page = client.get("/t/acme/sources", headers=editor | PAGE).text

    assert "Opening hours" in page
    assert "This file is protected by a password." in page
    assert "1 to be read, 1 could not be read" in page
    assert "every 2s" in page
    assert "2 documents" in page


def test_a_viewer_sees_and_changes_nothing(client: Client, tenant: Tenant) -> None:
    """The page has no button that a viewer may not use, and says so where there is nothing."""
    page = client.get("/t/acme/sources", headers=sign_in(tenant, "viewer") | PAGE).text

    assert "Opening hours" in page
    assert "Choose files" not in page
    assert ">Remove<" not in page


def test_a_page_without_anything_says_what_to_do(client: Client, home: Home) -> None:
    """To an editor what to add, to a viewer whom to ask."""
    home.create("empty")
    with home.open("empty") as empty:
        editor, viewer = sign_in(empty, "editor"), sign_in(empty, "viewer")

    assert "Add your price list" in client.get("/t/empty/sources", headers=editor | PAGE).text
    assert "An editor or an owner adds" in client.get("/t/empty/sources", headers=viewer | PAGE).text


def test_the_list_alone_is_what_the_page_asks_for(client: Client, editor: Headers) -> None:
    """It is a part of a page, asks for itself again only while something is being read, and keeps the search."""
    part = client.get("/t/acme/sources/list?search=opening", headers=editor | {"hx-request": "true"}).text

    assert part.lstrip().startswith('<div id="source-list" hx-get="/t/acme/sources/list?search=opening"')
    assert "every 2s" not in part
    assert ("Opening hours" in part, "Delivery" in part) == (True, False)


def test_an_ended_session_leads_the_whole_page_to_the_sign_in(client: Client) -> None:
    """The list that asks for itself again brings the sign-in page in place of the page, and not inside it."""
    asked = {"hx-request": "true", "hx-current-url": f"{HERE}/t/acme/sources?search=x"}

    response = client.get("/t/acme/sources/list?search=x", headers=asked)

    assert (response.status_code, response.text) == (200, "")
    assert response.headers["hx-redirect"] == "/t/acme/sign-in?next=/t/acme/sources"
    elsewhere = client.get("/t/acme/sources/list", headers=asked | {"hx-current-url": "http://[evil/t/acme/x"})
    assert elsewhere.headers["hx-redirect"] == "/t/acme/sign-in?next=/t/acme/sources/list"


def test_a_pasted_text_on_the_page(client: Client, editor: Headers, tenant: Tenant) -> None:
    """It leads back to the page; without a title the form comes back with what was typed and what is missing."""
    sent = client.post("/t/acme/sources/text", content="title=Summer&text=Closed+in+August", headers=editor | FORM)
    assert (sent.status_code, sent.headers["location"]) == (303, "/t/acme/sources?done=added")

    wrong = client.post("/t/acme/sources/text", content="title=&text=Closed+in+%3CAugust%3E", headers=editor | FORM)
    assert wrong.status_code == 400
    assert "The text needs a title." in wrong.text
    assert "Closed in &lt;August&gt;" in wrong.text

    grows = b"title=Summer&text=" + b"\xff" * 400_000  # what is no UTF-8 becomes a mark of three bytes
    long = client.post("/t/acme/sources/text", content=grows, headers=editor | FORM)
    assert long.status_code == 413
    assert "which is the most that is taken" in long.text


def test_removing_on_the_page(client: Client, editor: Headers, tenant: Tenant) -> None:
    """The document goes, and the member is led back to the same place of the list."""
    document = next(one for one in list_documents(tenant) if one.name == "hours.md")

    sent = client.post(
        "/t/acme/sources/remove", content=f"document={document.id}&search=hours&page=2", headers=editor | FORM
    )

    assert sent.status_code == 303
    assert sent.headers["location"] == "/t/acme/sources?search=hours&page=2&done=removed"
    assert [one.name for one in list_documents(tenant)] == ["delivery.md"]
    assert client.get(sent.headers["location"], headers=editor | PAGE).status_code == 200
    assert client.post("/t/acme/sources/remove", content="document=x", headers=editor | FORM).status_code == 404


def test_retry_and_discard_on_the_page(client: Client, editor: Headers, tenant: Tenant) -> None:
    """Both lead back to the page; what cannot be done any more does not fail with an error page."""
    number = put(client, editor, "bad.pdf", b"no PDF").json()["id"]
    wait(client, editor, number)

    assert client.post("/t/acme/sources/retry", content=f"upload={number}", headers=editor | FORM).status_code == 303
    wait(client, editor, number)
    assert client.post("/t/acme/sources/discard", content=f"upload={number}", headers=editor | FORM).status_code == 303
    assert list_uploads(tenant) == []

    done = put(client, editor, "good.md").json()["id"]
    wait(client, editor, done)
    assert client.post("/t/acme/sources/retry", content=f"upload={done}", headers=editor | FORM).status_code == 303
    refused = client.post("/t/acme/sources/discard", content=f"upload={done}", headers=editor | FORM)
    assert (refused.status_code, "remove its document" in refused.text) == (409, True)


def test_pages_of_documents(client: Client, editor: Headers, tenant: Tenant) -> None:
    """More than fifty have a next page; a page past the end shows the last one."""
    for number in range(55):
        store(tenant, f"n{number}.md", f"Note {number}", [("", None, [f"It says {number}."])])

    first = client.get("/t/acme/sources", headers=editor | PAGE).text
    last = client.get("/t/acme/sources?page=9", headers=editor | PAGE).text

    assert len(re.findall('class="document-name"', first)) == 50
    assert 'href="/t/acme/sources?page=2"' in first
    assert len(re.findall('class="document-name"', last)) == 7
    assert "51 to 57" in last


def show(client: Client, editor: Headers) -> str:
    """Return the page of sources, as text."""
    return client.get("/t/acme/sources", headers=editor | PAGE).text


def add_address(client: Client, headers: Headers, address: str, *, whole_site: bool = False) -> dict[str, Any]:
    """Hand an address over, and return what became of it."""
    body = {"address": address, "whole_site": whole_site}
    response = client.post(f"{API}/sources/addresses", json=body, headers=headers)
    assert response.status_code == 200, response.text
    return wait(client, headers, response.json()["id"])


def test_a_web_page_by_its_address(
    client: Client, writer: Headers, editor: Headers, tenant: Tenant, website: HostileServer
) -> None:
    """It is read in the background, stands on the page with its address, and reading it again replaces its document."""
    website.pages["/hours"] = (200, {"Content-Type": "text/html"}, b"<title>Hours</title><p>We open at nine.")

    first = add_address(client, writer, f"{website.url}/hours")
    website.pages["/hours"] = (200, {"Content-Type": "text/html"}, b"<title>Hours</title><p>We open at ten.")
    again = add_address(client, writer, f"{website.url}/hours#top")

    assert (first["kind"], first["state"], again["state"]) == ("page", "done", "done")
    [document] = [one for one in list_documents(tenant) if one.title == "Hours"]
    assert (document.name, document.id) == (f"{website.url}/hours", again["document_id"])
    shown = show(client, editor)
    assert "From the web" in shown
    assert f'aria-label="Read again: {website.url}/hours"' in shown
    assert [one.attempt.purpose for one in list_connections(tenant)] == [READS_SOURCE] * 2
    assert {one.id for one in list_uploads(tenant, ("done",))} == {again["id"]}
    del website.pages["/hours"]
    gone = add_address(client, writer, f"{website.url}/hours")
    assert (gone["state"], gone["reason"]) == ("failed", "answered with 404. What was stored of it before is kept.")
    assert "Hours" in [one.title for one in list_documents(tenant)]


def test_a_website_from_the_page_to_its_end(
    client: Client, writer: Headers, editor: Headers, tenant: Tenant, website: HostileServer
) -> None:
    """Added with a form, read with what could not be said, read again without what is gone, and erased whole."""
    website.pages |= {
        "/": (200, {"Content-Type": "text/html"}, b"<title>Shop</title><p>Bread.<a href=/a>a</a><a href=/b>b</a>"),
        "/a": (200, {"Content-Type": "text/html"}, b"<title>Ovens</title><p>We have two ovens."),
        "/b": (503, {}, b""),
    }
    form = f"address={quote(website.url)}&what=site"
    sent = client.post("/t/acme/sources/address", content=form, headers=editor | FORM)
    assert (sent.status_code, sent.headers["location"]) == (303, "/t/acme/sources?done=added")
    [upload] = list_uploads(tenant)
    wait(client, writer, upload.id)
    shown = show(client, editor)
    assert "Whole website, 2 pages" in shown
    assert f"1 page could not be read; {website.url}/b answered with 503." in shown

    del website.pages["/a"]
    add_address(client, writer, website.url, whole_site=True)
    [source] = [one for one in list_sources(tenant) if one.kind == "site"]
    assert [one.name for one in list_documents(tenant, source.id)] == [f"{website.url}/"]

    sent = client.post("/t/acme/sources/remove-source", content=f"source={source.id}", headers=editor | FORM)
    assert (sent.status_code, sent.headers["location"]) == (303, "/t/acme/sources?done=removed")
    assert "From the web" not in show(client, editor)
    assert list_uploads(tenant, ("waiting", "reading", "done", "failed")) == []


def test_an_address_that_cannot_be_read_says_why(client: Client, writer: Headers, editor: Headers) -> None:
    """What is no address comes back in its form; what is refused or not there stands on the page with the reason."""
    for address, said in (
        ("javascript:alert(1)", "has no host that can be read"),
        ("http://169.254.169.254/latest", "is not on the public internet"),
        ("https://ada:word@shop.example/", "has a name or a password in it"),
    ):
        wrong = client.post("/t/acme/sources/address", content=f"address={quote(address)}", headers=editor | FORM)
        assert wrong.status_code == 400
        assert said in wrong.text
        assert f'value="{address}"' in wrong.text
        assert client.post(f"{API}/sources/addresses", json={"address": address}, headers=writer).status_code == 400

    found = add_address(client, writer, "localhost/secret")

    assert (found["name"], found["state"]) == ("https://localhost/secret", "failed")
    assert "This page was not read. localhost was not connected to" in show(client, editor)


def test_a_long_reading_is_stopped(
    client: Client, writer: Headers, editor: Headers, tenant: Tenant, website: HostileServer
) -> None:
    """A website that answers nothing is let go of when somebody says so, and files are read all the while."""
    body = {"address": f"{website.url}/silent", "whole_site": True}
    number = client.post(f"{API}/sources/addresses", json=body, headers=writer).json()["id"]
    until = time.monotonic() + 10
    while list_uploads(tenant)[0].state != "reading":
        assert time.monotonic() < until
        time.sleep(0.05)
    assert wait(client, writer, put(client, writer, "a.md").json()["id"])["state"] == "done"
    assert f"Stop reading {website.url}/silent" in show(client, editor)

    stopped = client.post("/t/acme/sources/discard", content=f"upload={number}", headers=editor | FORM)

    assert stopped.status_code == 303
    assert list_uploads(tenant) == []
    until = time.monotonic() + 5
    while any(tenant.uploads_folder.iterdir()):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_offline_an_address_is_refused(client: Client, writer: Headers, served: tuple[Home, Client]) -> None:
    """In one sentence, and nothing is kept of it."""
    settings = served[0].settings
    try:
        served[0].settings = replace(settings, offline=True)
        refused = client.post(f"{API}/sources/addresses", json={"address": "https://a.example/"}, headers=writer)
    finally:
        served[0].settings = settings

    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("https://a.example/ was not read: Ruma is offline.")
