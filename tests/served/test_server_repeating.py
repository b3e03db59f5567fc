"""A write that is sent twice under one idempotency key is done once."""

from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.errors import ConflictError, InputError
from ruma.server.repeating import _settle
from ruma.tenant.kept_responses import claim_response, keep_response, release_claim
from ruma.tenant.knowledge.documents import list_documents, remove_documents
from ruma.tenant.knowledge.uploads import list_uploads
from ruma.tenant.people.api_keys import list_api_keys, revoke_api_key
from ruma.tenant.tenant import Tenant
from tests.harness.residue import find_residue, make_canaries
from tests.serving import sign_in, with_key

HERE = "http://127.0.0.1:8420"
TEXTS = "/t/acme/api/sources/texts"
Client = TestClient[Litestar]


def add(client: Client, headers: dict[str, str], key: str, text: str = "We bake on Mondays.") -> Any:
    """Add a text under an idempotency key."""
    sent = {"title": "monday.txt", "text": text}
    return client.post(TEXTS, json=sent, headers={**headers, "Idempotency-Key": key})


def send_file(client: Client, headers: dict[str, str], data: bytes) -> Any:
    """Hand a file over as it is."""
    return client.put("/t/acme/api/sources/uploads?name=rye.md", content=data, headers=headers)


def send_form(client: Client, headers: dict[str, str], data: bytes) -> Any:
    """Hand a file over in a form."""
    return client.post("/t/acme/api/sources/uploads", files={"file": ("form.md", data)}, headers=headers)


def count(tenant: Tenant) -> int:
    """Return how many texts were handed over."""
    return len(list_uploads(tenant))


def test_a_write_that_is_sent_twice_is_done_once(client: Client, tenant: Tenant) -> None:
    """The second one gets the first one's answer, and says that it is one; another key is another write."""
    headers = with_key(tenant, "write", "read")

    first, second = add(client, headers, "one"), add(client, headers, "one")
    done_once = count(tenant)
    third = add(client, headers, "two")

    assert first.status_code == second.status_code < 300
    assert first.content == second.content
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert done_once == 1
    assert third.json() != first.json()
    assert count(tenant) == 2


def test_a_key_that_was_used_for_something_else_is_refused(client: Client, tenant: Tenant) -> None:
    """The same key with another text is a mistake of the sender, and nothing is written."""
    headers = with_key(tenant, "write")
    add(client, headers, "one")

    response = add(client, headers, "one", "We bake on Tuesdays.")

    assert response.status_code == 400
    assert "another request" in response.json()["error"]["message"]
    assert count(tenant) == 1


def test_a_key_that_was_used_at_another_address_is_refused(client: Client, tenant: Tenant) -> None:
    """What stands in the address belongs to the request: the same bytes under another name are another file."""
    headers = {**with_key(tenant, "write"), "Idempotency-Key": "one"}
    address = "/t/acme/api/sources/uploads?name={}.md"

    first = client.put(address.format("rye"), content=b"Rye is five.", headers=headers)
    other = client.put(address.format("oat"), content=b"Rye is five.", headers=headers)

    assert (first.status_code, other.status_code) == (200, 400)
    assert count(tenant) == 1


def test_a_file_that_is_sent_twice_is_read_once(client: Client, tenant: Tenant) -> None:
    """Put or in a form, the second one gets the first one's answer; another file under its key is refused."""
    headers = with_key(tenant, "write")
    for number, send in enumerate((send_file, send_form)):
        key = {**headers, "Idempotency-Key": f"file {number}"}

        first, second = send(client, key, b"Rye is five."), send(client, key, b"Rye is five.")
        other = send(client, key, b"Rye is five euros.")

        assert first.status_code == second.status_code == 200
        assert first.content == second.content
        assert second.headers["idempotent-replayed"] == "true"
        assert other.status_code == 400
    with tenant.reading() as db:
        assert db.execute("select count(*) from upload").fetchone() == (2,)


def test_a_file_that_did_not_come_in_may_come_again(client: Client, tenant: Tenant) -> None:
    """A file that was refused leaves its key free: the next try is no repetition."""
    headers = {**with_key(tenant, "write"), "Idempotency-Key": "late"}

    refused = client.post("/t/acme/api/sources/uploads", content=b"no form", headers=headers)
    accepted = send_form(client, headers, b"Rye is five.")

    assert (refused.status_code, accepted.status_code) == (415, 200)
    assert "idempotent-replayed" not in accepted.headers


def test_a_key_is_one_senders_own(client: Client, tenant: Tenant) -> None:
    """Another API key and a member may use the same words, and get an answer of their own."""
    add(client, with_key(tenant, "write"), "one")

    for headers in (with_key(tenant, "write"), sign_in(tenant, "editor")):
        assert "idempotent-replayed" not in add(client, headers, "one").headers
    assert count(tenant) == 3


def test_a_revoked_key_gets_no_old_answer(client: Client, tenant: Tenant) -> None:
    """What was kept is for those who may still come in."""
    headers = with_key(tenant, "write")
    add(client, headers, "one")
    revoke_api_key(tenant, list_api_keys(tenant)[0].id)

    assert add(client, headers, "one").status_code == 401


def test_a_refused_write_is_repeated_and_a_failed_one_is_done_again(tenant: Tenant) -> None:
    """While it is being done the key is taken; a claim that is let go can be taken again."""
    assert claim_response(tenant, b"k", b"r") is None
    with pytest.raises(ConflictError):
        claim_response(tenant, b"k", b"r")
    release_claim(tenant, b"k")
    assert claim_response(tenant, b"k", b"r") is None
    keep_response(tenant, b"k", 201, b"{}")
    kept = claim_response(tenant, b"k", b"r")
    assert kept is not None
    assert (kept.status, kept.body) == (201, b"{}")
    with pytest.raises(InputError):
        claim_response(tenant, b"k", b"other")


def test_what_was_never_ended_or_is_a_day_old_is_done_again(tenant: Tenant) -> None:
    """A claim of two minutes ago is of a process that is gone; an answer of yesterday or of tomorrow is not given."""
    for seconds, is_kept in ((121, False), (24 * 3600 + 1, True), (-120, True)):
        assert claim_response(tenant, b"k", b"r") is None
        if is_kept:
            keep_response(tenant, b"k", 201, b"{}")
        with tenant.writing() as db:
            db.execute("update kept_response set kept_at = kept_at - ?", [seconds])
        assert claim_response(tenant, b"k", b"r") is None
        release_claim(tenant, b"k")


def test_an_answer_that_says_try_again_or_is_large_is_not_kept(tenant: Tenant) -> None:
    """The next try is no repetition."""
    for status, body, is_kept in (
        (429, b"{}", False),
        (409, b"{}", False),
        (500, b"", False),
        (200, b"x" * 100_001, False),
        (404, b"{}", True),
    ):
        claim_response(tenant, b"k", b"r")
        _settle(tenant, b"k", 499, status, body)
        assert (claim_response(tenant, b"k", b"r") is not None) == is_kept, status
        if not is_kept:
            release_claim(tenant, b"k")


def test_kept_answers_go_when_something_is_deleted(tenant: Tenant) -> None:
    """An answer may repeat what is deleted, so all kept ones leave the file with it."""
    (canary,) = make_canaries(1)
    claim_response(tenant, b"k", b"r")
    keep_response(tenant, b"k", 200, canary.encode())
    assert find_residue(tenant.folder, tenant.key.raw, [canary])

    remove_documents(tenant, [list_documents(tenant)[0].id])

    assert not find_residue(tenant.folder, tenant.key.raw, [canary])
