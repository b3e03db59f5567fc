"""Deleting: what was deleted is in no page of the database, no frame of its log and no file."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ruma.config import Settings
from ruma.privacy.erasing import erase_document
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation, read_conversation
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import Removal, list_documents, remove_documents, store_document
from ruma.tenant.knowledge.index import search_vectors, search_words
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.uploads import receive_upload, take_upload
from ruma.tenant.knowledge.vectors import pack
from ruma.tenant.tenant import Tenant
from tests.harness.needs import needs
from tests.harness.oracle import check_tenant
from tests.harness.process import STORE, environ_of
from tests.harness.residue import find_plaintext, find_residue, make_canaries
from tests.harness.strace import under_strace
from tests.making import EMBEDDER, make_document

NEIGHBOURS = 60
NAME, TITLE, BODY, QUOTED, EDGE = WORDS = make_canaries(5)


@pytest.fixture
def tenant(tmp_path: Path) -> Tenant:
    """Return a tenant with a document full of canaries among sixty others, with a chat that cites it."""
    return make_tenant(tmp_path / "home", NEIGHBOURS)


def make_tenant(home: Path, neighbours: int) -> Tenant:
    """Return a tenant with a document full of canaries among so many others."""
    made = Home(Settings(home=home, key_source="machine"))
    made.create("acme")
    opened = made.open("acme")
    source = add_source(opened, "folder", "/made/up")
    for number in range(neighbours):
        if number == neighbours // 2:
            store_canary(opened, source.id)
        # Neighbours whose words begin like the canary's: the index keeps only what differs.
        texts = [f"Filler {BODY[:8]}{number} and words {number * 7}. " * 4]
        store_document(opened, source.id, make_document(f"f{number}", *texts), embedder_id=EMBEDDER.id)
    return opened


def store_canary(tenant: Tenant, source_id: int) -> None:
    """Store the document, with its canary at many distances from a page's edge, and cite it in two answers."""
    filler = [f"{'x' * (97 * part)} {BODY} {EDGE if part % 3 else ''} said. " for part in range(12)]
    document = make_document(NAME, *filler, f"Quote {QUOTED} this. ", title=TITLE)
    document_id = store_document(tenant, source_id, document, embedder_id=EMBEDDER.id)
    chat = begin_conversation()
    for mode in ("quote", "write"):
        add_exchange(
            tenant,
            chat,
            "What is it?",
            f"It is {QUOTED}.",
            mode=mode,
            is_declined=False,
            citations=[(1, document_id, 0, 9)],
        )


def canary_id(tenant: Tenant) -> int:
    """Return the id of the document with the canaries."""
    return next(one.id for one in list_documents(tenant) if one.name == NAME)


def vectors_of(tenant: Tenant, document_id: int) -> list[bytes]:
    """Return pieces of the document's vectors as they are stored; a piece is short enough to lie on one page."""
    with tenant.reading() as db:
        rows = db.execute(
            """select vector, vectors from chunk join vector on vector.chunk_id = chunk.id
               join sentence_vector on sentence_vector.chunk_id = chunk.id where document_id = ?""",
            [document_id],
        ).fetchall()
    blobs = [blob for row in rows for blob in row]
    return [blob[at : at + 16] for blob in blobs for at in range(4, len(blob) - 16, 16) if any(blob[at : at + 16])]


def remove(tenant: Tenant) -> Removal:
    """Remove the document with the canaries."""
    return remove_documents(tenant, [canary_id(tenant)])


@pytest.mark.parametrize("neighbours", [NEIGHBOURS, pytest.param(400, marks=pytest.mark.nightly)])
def test_c25_nothing_is_left_of_a_removed_document(tmp_path: Path, neighbours: int) -> None:
    """When the command returns, title, name, words, vectors and quotes are in no decrypted page and no original.

    The address that one came from: see below.
    """
    tenant = make_tenant(tmp_path / "home", neighbours)
    vectors = vectors_of(tenant, canary_id(tenant))
    before = find_residue(tenant.folder, tenant.key.raw, WORDS, vectors)
    files = len(list(tenant.files_folder.iterdir()))

    removal = remove(tenant)

    assert set(before) == {*WORDS, "vector"}, "the search finds less than was stored: it proves nothing"
    assert removal == Removal(documents=1, chunks=13, is_pending=False)
    assert find_residue(tenant.folder, tenant.key.raw, WORDS, vectors) == {}
    assert len(list(tenant.files_folder.iterdir())) == files - 1
    assert not find_plaintext([tenant.folder], WORDS)


def test_c25_the_address_of_a_page_goes_with_it(tenant: Tenant) -> None:
    """Also where it stands in the list of what members had read, with the reason of a failure."""
    [mark] = make_canaries(1)
    address = f"https://www.example.com/{mark}"
    receive_upload(tenant, address, [address.encode()], kind="page", added_by="Ada", most_bytes=1000)
    source = add_source(tenant, "page", address)
    number = store_document(tenant, source.id, make_document(address, "It says so. "), embedder_id=EMBEDDER.id)
    taken = take_upload(tenant, ("page",))
    assert taken
    with taken:
        taken.finish(f"{address} says nothing more.")
    assert find_residue(tenant.folder, tenant.key.raw, [mark])

    assert erase_document(tenant, number).signed

    assert find_residue(tenant.folder, tenant.key.raw, [mark]) == {}


def test_c25_without_secure_delete_something_is_left(tenant: Tenant) -> None:
    """With the index's secure deletion off the same search finds the words: so it would find them above."""
    with tenant.unbound() as db:
        db.execute("insert into chunk_fts (chunk_fts, rank) values ('secure-delete', 0)")

    remove(tenant)

    assert BODY in find_residue(tenant.folder, tenant.key.raw, WORDS)


def test_c25_a_reader_delays_it_and_the_command_says_so(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody reads the old state the removal is pending; it is finished when the tenant is next opened."""
    from ruma.tenant.erasing import erasure

    monkeypatch.setattr(erasure.finish_erasure, "__kwdefaults__", {"wait_seconds": 0.1})
    vectors = vectors_of(tenant, canary_id(tenant))
    with tenant.reading() as db:
        db.execute("select count(*) from document").fetchall()
        removal = remove(tenant)
        assert find_residue(tenant.folder, tenant.key.raw, WORDS, vectors)

    assert removal.is_pending
    Home(Settings(home=tenant.folder.parents[1])).open("acme").close()
    assert find_residue(tenant.folder, tenant.key.raw, WORDS, vectors) == {}


@needs("strace")
@pytest.mark.parametrize("when", [1, 2, 3, 4, 5])
def test_c25_a_killed_removal_is_finished(tenant: Tenant, tmp_path: Path, when: int) -> None:
    """Killed at any fsync of the removal, the document is there whole, or the next command takes out what is left."""
    vectors = vectors_of(tenant, canary_id(tenant))
    tenant.close()
    home = tenant.folder.parents[1]

    under_strace(
        [*STORE, "acme", f"-{NAME}"], tmp_path / "trace", f"fsync:signal=SIGKILL:when={when}", env=environ_of(home)
    )

    found = check_tenant(home, "acme")
    left = find_residue(tenant.folder, tenant.key.raw, WORDS, vectors)
    assert set(left) == {*WORDS, "vector"} if NAME in found else left == {}


def test_c25_a_replaced_document_leaves_nothing(tenant: Tenant) -> None:
    """A new version of a document leaves none of the old one's words once the next command has run."""
    source = add_source(tenant, "folder", "/made/up")
    vectors = vectors_of(tenant, canary_id(tenant))
    store_document(tenant, source.id, make_document(NAME, "Nothing of it. ", title="New"), embedder_id=EMBEDDER.id)
    tenant.close()
    Home(Settings(home=tenant.folder.parents[1])).open("acme").close()

    assert set(find_residue(tenant.folder, tenant.key.raw, WORDS, vectors)) <= {NAME}


def test_c26_a_removed_document_is_not_answered_from(tenant: Tenant) -> None:
    """At once, in this process and in another, neither words nor vectors find it, and the chat shows no quote of it."""
    question = EMBEDDER.embed_question(BODY)
    before = search_words(tenant, [BODY], 10), search_vectors(tenant, question, 3)
    with tenant.reading() as db:
        chat = db.execute("select id from conversation").fetchone()[0]
        ids = {row[0] for row in db.execute("select id from chunk where document_id = ?", [canary_id(tenant)])}
    assert {chunk for found in before for chunk, _ in found} & ids

    remove(tenant)

    other = Home(Settings(home=tenant.folder.parents[1])).open("acme")
    for opened in (tenant, other):
        found = [*search_words(opened, [BODY, TITLE, QUOTED], 10), *search_vectors(opened, question, 100)]
        assert not {chunk for chunk, _ in found} & ids
        shown = read_conversation(opened, chat)
        assert not any(QUOTED in message.text for message in shown.messages)
        cited = [citation for message in shown.messages for citation in message.citations]
        assert cited
        assert all(citation.document_id is None and citation.quote is None for citation in cited)
    other.close()


def test_c24_nothing_is_left_of_a_removed_tenant(tenant: Tenant, tmp_path: Path) -> None:
    """After a tenant's deletion no word is in any file, and no copy made before opens with any key that is left."""
    home = tenant.folder.parents[1]
    copy = tmp_path / "copy"
    tenant.close()
    shutil.copytree(tenant.folder, copy)

    receipt = Home(Settings(home=home)).delete("acme")

    assert (receipt.key_destroyed, receipt.directory_removed) == (True, True)
    left = {file.name for file in home.rglob("*") if file.is_file()}
    assert left <= {"machine.key", "lock"}
    assert not find_plaintext([home], [*WORDS, tenant.id])
    master = bytes.fromhex((home / "keys/machine.key").read_text())
    assert find_residue(copy, master, WORDS) == {}
    assert set(find_residue(copy, tenant.key.raw, WORDS)) == set(WORDS)


def test_the_search_knows_the_stored_form_of_a_vector() -> None:
    """The pieces that are searched for are made as vectors are stored: one scale, then a byte a number."""
    vector = np.linspace(-1, 1, 64, dtype=np.float32)[None, :]

    assert len(pack(vector)) == 4 + 64


def test_removing_twice_is_no_error(tenant: Tenant) -> None:
    """Two commands that remove the same document both end well, and it is gone once."""
    home = tenant.folder.parents[1]
    tenant.close()
    processes = [
        subprocess.Popen([*STORE, "acme", "-f1", "-f2", "-f3"], env=environ_of(home), stdout=subprocess.DEVNULL)
        for _ in "ab"
    ]

    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert not {"f1", "f2", "f3"} & set(check_tenant(home, "acme"))
