import os
import threading
from contextlib import closing

import pytest

from ruma.config import Settings
from ruma.errors import NotFoundError, NotReadyError
from ruma.privacy.erasing import erase_document, erase_source
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation, read_conversation
from ruma.tenant.erasing.erasure import finish_erasure
from ruma.tenant.home import Home
from ruma.tenant.keys.data_key import Key
from ruma.tenant.knowledge.documents import (
    check_embedder,
    find_documents,
    finish_interrupted,
    list_documents,
    read_document,
    read_original_of,
    remove_documents,
    start_reindex,
    store_document,
    stored_states,
)
from ruma.tenant.knowledge.index import count_chunks, search_vectors, search_words
from ruma.tenant.knowledge.sources import (
    add_source,
    find_source,
    list_sources,
    source_id_of,
)
from ruma.tenant.locked_files import open_locked
from ruma.tenant.tenant import Tenant
from tests.making import EMBEDDER, make_document


def store(tenant: Tenant, name: str, *texts: str, **options: str) -> int:
    """Store a document in the tenant's one folder."""
    source = add_source(tenant, "folder", "/shop")
    return store_document(tenant, source.id, make_document(name, *texts, **options), embedder_id=EMBEDDER.id)


def test_a_stored_document_reads_back_whole(tenant: Tenant) -> None:
    """Its chunks joined are its text, and its original is the bytes that came in."""
    document_id = store(tenant, "hours.md", "We open at nine. ", "We close at six.", title="Hours")

    document = read_document(tenant, document_id)

    assert document.text == "We open at nine. We close at six."
    assert document.chunks == ((0, 17, "", None), (17, 33, "", None))
    assert (document.title, document.source_location) == ("Hours", "/shop")
    assert b"".join(read_original_of(tenant, document_id)) == document.text.encode()


def test_a_changed_document_replaces_the_old_one_whole(tenant: Tenant) -> None:
    """Nothing of the former text is found after the new one was stored under its name."""
    store(tenant, "hours.md", "We open at nine.")
    store(tenant, "hours.md", "Opening at eleven.")

    assert [info.name for info in list_documents(tenant)] == ["hours.md"]
    assert search_words(tenant, ["nine"], 5) == []
    assert len(search_words(tenant, ["eleven"], 5)) == 1
    assert count_chunks(tenant) == 1
    assert len(list(tenant.files_folder.iterdir())) == 1


def test_a_removed_document_is_gone_from_every_search(tenant: Tenant) -> None:
    """Words, vectors, text and original go together."""
    kept = store(tenant, "a.md", "Cakes are baked daily.")
    gone = store(tenant, "b.md", "Bread costs four euros.")
    question = EMBEDDER.embed_question("bread costs")
    assert search_vectors(tenant, question, 1)[0][1] > 0.5

    removal = remove_documents(tenant, [gone])

    assert (removal.documents, removal.chunks, removal.is_pending) == (1, 1, False)
    assert search_words(tenant, ["bread"], 5) == []
    assert search_vectors(tenant, question, 5)[0][1] < 0.5
    assert [info.id for info in list_documents(tenant)] == [kept]
    assert len(list(tenant.files_folder.iterdir())) == 1
    with pytest.raises(NotFoundError):
        read_document(tenant, gone)


def test_a_removal_with_a_reader_is_pending_and_finished_later(settings: Settings) -> None:
    """While someone reads the old state, a removal says that it is pending; once they left, it finishes."""
    home = Home(settings)
    home.create("acme")
    with home.open("acme") as tenant:
        document_id = store(tenant, "a.md", "Cakes are baked daily.")
        with tenant.reading() as db:
            db.execute("select count(*) from document").fetchall()
            assert remove_documents(tenant, [document_id]).is_pending

        assert finish_erasure(tenant)
        assert (tenant.folder / "tenant.db-wal").stat().st_size < 2 * 4200  # the note itself, no more


def test_removing_a_source_removes_its_documents_only(tenant: Tenant) -> None:
    """The documents of other sources stay."""
    store(tenant, "a.md", "Cakes are baked daily.")
    other = add_source(tenant, "text", "note")
    store_document(tenant, other.id, make_document("note", "Call us."), embedder_id=EMBEDDER.id)

    erase_source(tenant, find_source(tenant, "/shop").id)

    assert [source.location for source in list_sources(tenant)] == ["note"]
    assert [info.name for info in list_documents(tenant)] == ["note"]


def test_a_document_goes_with_its_source(tenant: Tenant) -> None:
    """A source that held nothing else goes too; one that holds another document stays."""
    first, second = store(tenant, "a.md", "Cakes."), store(tenant, "b.md", "Bread.")

    erase_document(tenant, first)
    assert source_id_of(tenant, "folder", "/shop") is not None
    erase_document(tenant, second)

    assert source_id_of(tenant, "folder", "/shop") is None
    assert list_sources(tenant) == []


def test_documents_are_found_page_by_page(tenant: Tenant) -> None:
    """The newest first, so many at a time, with how many and how much there is in all; pairs are none of them."""
    for number in range(7):
        store(tenant, f"{number}.md", "Cakes.", "Bread.")
    pairs = add_source(tenant, "pair", "Questions and answers")
    store_document(tenant, pairs.id, make_document("When?", "At nine."), embedder_id=EMBEDDER.id)

    first, last = find_documents(tenant, limit=5), find_documents(tenant, limit=5, offset=5)

    assert [one.name for one in first.documents] == ["6.md", "5.md", "4.md", "3.md", "2.md"]
    assert [one.name for one in last.documents] == ["1.md", "0.md"]
    assert (first.total, first.size_bytes) == (last.total, last.size_bytes) == (7, 7 * 12)
    assert (first.documents[0].chunks, first.documents[0].source_location) == (2, "/shop")


def test_documents_are_found_by_words_of_name_and_title(tenant: Tenant) -> None:
    """Every word counts, whatever its case; what has a meaning in SQL is a letter like any other."""
    store(tenant, "100%_sure.md", "Cakes.", title="Our cakes")
    store(tenant, "prices.md", "Bread.", title="Cakes and bread")

    assert [one.name for one in find_documents(tenant, "CAKES our").documents] == ["100%_sure.md"]
    assert [one.name for one in find_documents(tenant, "0%_s").documents] == ["100%_sure.md"]
    assert find_documents(tenant, "0__s").total == 0
    assert find_documents(tenant, "cakes", source_id=99).total == 0
    assert find_documents(tenant, "cakes").total == 2


def test_a_source_is_found_by_number_and_by_place(tenant: Tenant) -> None:
    """Both ways lead to the same source, and an unknown one is answered with the command that lists them."""
    made = add_source(tenant, "folder", "/shop")

    assert find_source(tenant, made.id) == find_source(tenant, "/shop") == made
    with pytest.raises(NotFoundError, match="no source 77") as caught:
        find_source(tenant, "77")
    assert "ruma sources list" in caught.value.hint


def test_vectors_of_two_models_are_never_mixed(tenant: Tenant) -> None:
    """A document of another model's vectors is refused, with the command that indexes anew."""
    store(tenant, "a.md", "Cakes are baked daily.")
    source = find_source(tenant, "/shop")

    with pytest.raises(NotReadyError, match=r"hash@1.*other@2") as caught:
        store_document(tenant, source.id, make_document("b.md", "Bread."), embedder_id="other@2")

    assert "--reindex" in caught.value.hint
    with pytest.raises(NotReadyError):
        check_embedder(tenant, "other@2")
    assert [info.name for info in list_documents(tenant)] == ["a.md"]
    assert len(list(tenant.files_folder.iterdir())) == 1


def test_reindexing_lets_another_model_in(tenant: Tenant) -> None:
    """After a reindex was started the documents of the old vectors are gone and the new model's are taken."""
    store(tenant, "a.md", "Cakes are baked daily.")
    source = find_source(tenant, "/shop")

    start_reindex(tenant, "other@2")
    store_document(tenant, source.id, make_document("a.md", "Cakes."), embedder_id="other@2")

    check_embedder(tenant, "other@2")
    assert count_chunks(tenant) == 1


def test_a_failed_store_leaves_nothing(tenant: Tenant) -> None:
    """When the source is gone, neither a row nor a sealed file stays behind."""
    with pytest.raises(NotFoundError, match="was removed while it was being read"):
        store_document(tenant, 99, make_document("a.md", "Cakes."), embedder_id=EMBEDDER.id)

    assert count_chunks(tenant) == 0
    assert list(tenant.files_folder.iterdir()) == []


def test_an_original_without_a_document_is_swept(tenant: Tenant) -> None:
    """A sealed file that a killed command left is removed when the tenant is next opened; one that is held is not.

    Whatever the time says: a clock that jumps makes no file older (test 10).
    """
    document_id = store(tenant, "a.md", "Cakes.")
    (tenant.files_folder / "0123456789abcdef").write_bytes(b"left behind")
    (tenant.files_folder / "left.part").write_bytes(b"left behind while it was written")
    being_written = tenant.files_folder / "held.part"
    with closing(open_locked(being_written, Key.random())):
        os.utime(being_written, (0, 0))

        finish_interrupted(tenant)

        assert being_written.exists()
    assert sorted(path.name for path in tenant.files_folder.iterdir() if path.suffix) == ["held.part"]
    assert len(list(tenant.files_folder.iterdir())) == 2
    finish_interrupted(tenant)
    assert not being_written.exists()
    assert b"".join(read_original_of(tenant, document_id)) == b"Cakes."


def test_what_decides_rereading_is_stored(tenant: Tenant) -> None:
    """The content's hash and the reader's version are known by name."""
    store(tenant, "a.md", "Cakes.", reader="7")

    states = stored_states(tenant, find_source(tenant, "/shop").id)

    assert states["a.md"].reader == "7"
    assert states["a.md"].content_hash == make_document("a.md", "Cakes.").content_hash


def test_writers_wait_for_each_other(settings: Settings) -> None:
    """Four writers with connections of their own lose no update and none is told that the database is locked."""
    home = Home(settings)
    home.create("acme")
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with home.open("acme") as tenant:
                for count in range(6):
                    store(tenant, f"{number}-{count}.md", f"Text {number} {count}.")
                    if count % 2:
                        remove_documents(tenant, [list_documents(tenant)[0].id])
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with home.open("acme") as tenant:
        names = {info.name for info in list_documents(tenant)}
        assert len(names) == count_chunks(tenant) == len(list(tenant.files_folder.iterdir()))


def test_a_quote_goes_with_its_document(tenant: Tenant) -> None:
    """A conversation that quoted a removed document keeps the place but not one word of it."""
    document_id = store(tenant, "a.md", "Cakes are baked daily.")
    conversation = begin_conversation()
    add_exchange(
        tenant,
        conversation,
        "When?",
        "Cakes are baked daily. [1]",
        mode="quote",
        is_declined=False,
        citations=[(1, document_id, 0, 22)],
    )
    assert read_conversation(tenant, conversation.id).messages[1].text == "Cakes are baked daily. [1]"

    remove_documents(tenant, [document_id])

    answer = read_conversation(tenant, conversation.id).messages[1]
    assert answer.text == ""
    assert (answer.citations[0].document_id, answer.citations[0].quote) == (None, None)


def test_written_words_go_with_their_document(tenant: Tenant) -> None:
    """What a model wrote from a document is emptied when the document is removed."""
    document_id = store(tenant, "a.md", "Cakes are baked daily.")
    conversation = begin_conversation()
    add_exchange(
        tenant,
        conversation,
        "When?",
        "Every day [1].",
        mode="write",
        is_declined=False,
        citations=[(1, document_id, 0, 22)],
    )

    remove_documents(tenant, [document_id])

    assert read_conversation(tenant, conversation.id).messages[1].text == ""
    with pytest.raises(NotFoundError):
        read_conversation(tenant, 99)
