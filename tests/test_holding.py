"""What a legal hold keeps of what the agent answers from: documents, pairs, and what visitors were told from them."""

from pathlib import Path

import pytest

from ruma.config import load_settings
from ruma.errors import HeldError
from ruma.ingest.correcting import correct_document
from ruma.ingest.pairs import save_pair
from ruma.ingest.pipeline import ingest_sources
from ruma.privacy.erasing import erase_document, erase_pair, erase_source
from ruma.tenant.audit import list_audit
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation, read_conversation
from ruma.tenant.keeping.holds import end_hold, set_hold
from ruma.tenant.knowledge.documents import list_documents, start_reindex, store_document
from ruma.tenant.knowledge.sources import add_source, find_source, list_sources
from ruma.tenant.tenant import Tenant
from tests.making import EMBEDDER, make_document


def store(tenant: Tenant, name: str, text: str) -> int:
    """Store a document of a source of its own."""
    source = add_source(tenant, "text", name)
    return store_document(tenant, source.id, make_document(name, text), embedder_id=EMBEDDER.id)


def test_a_hold_on_everything_keeps_sources_pairs_and_what_would_be_replaced(tenant: Tenant, tmp_path: Path) -> None:
    """By whichever way: nothing goes and nothing is noted until it ends; what is new is still learned."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for name in ("changed.txt", "gone.txt"):
        (folder / name).write_text(f"This is what {name} says.\n")
    settings = load_settings({}, {})
    list(ingest_sources([str(folder)], tenant, EMBEDDER, settings))
    pair = save_pair("Do you deliver?", "Yes.", tenant, EMBEDDER)
    note = store(tenant, "note", "Call us.")
    empty = add_source(tenant, "folder", "/empty")
    before = [(one.id, one.name) for one in list_documents(tenant)]
    hold = set_hold(tenant, "A case at court.")
    entries = len(list_audit(tenant))

    for attempt in (
        lambda: erase_source(tenant, find_source(tenant, str(folder)).id),
        lambda: erase_source(tenant, empty.id),
        lambda: erase_pair(tenant, pair),
        lambda: save_pair("Do you deliver?", "No.", tenant, EMBEDDER, replaced=pair),
        lambda: save_pair("Will you deliver?", "No.", tenant, EMBEDDER, replaced=pair),
        lambda: store(tenant, "note", "Write to us."),
        lambda: correct_document(tenant, note, "Write to us.", EMBEDDER, replace_original=False),
        lambda: start_reindex(tenant, "another model"),
    ):
        with pytest.raises(HeldError, match="legal hold"):
            attempt()
    assert [(one.id, one.name) for one in list_documents(tenant)] == before
    assert len(list_audit(tenant)) == entries

    (folder / "changed.txt").write_text("It says something else now.\n")
    (folder / "gone.txt").unlink()
    (folder / "new.txt").write_text("This is new.\n")
    outcomes = {one.name: one for one in ingest_sources([str(folder)], tenant, EMBEDDER, settings, remove_missing=True)}

    assert {name: one.status for name, one in outcomes.items()} == {
        "changed.txt": "failed", "gone.txt": "failed", "new.txt": "added",
    }  # fmt: skip
    assert "legal hold" in outcomes["changed.txt"].reason
    assert [(one.id, one.name) for one in list_documents(tenant) if one.name != "new.txt"] == before

    end_hold(tenant, hold.id)
    again = {
        one.name: one.status for one in ingest_sources([str(folder)], tenant, EMBEDDER, settings, remove_missing=True)
    }
    assert again == {"changed.txt": "changed", "gone.txt": "removed", "new.txt": "unchanged"}
    erase_source(tenant, empty.id)
    erase_pair(tenant, pair)
    assert [one.location for one in list_sources(tenant)] == [str(folder), "note"]


@pytest.mark.parametrize("mode", ["write", "pair", "quote"])
def test_what_a_held_conversation_was_told_stays_with_its_document(tenant: Tenant, mode: str) -> None:
    """The document that it cites is neither removed nor replaced until the hold ends; others go."""
    cited, other = store(tenant, "prices", "Bread costs four euros."), store(tenant, "hours", "We open at nine.")
    chat = begin_conversation()
    cites = [(1, cited, 0, 9)]
    add_exchange(tenant, chat, "What is it?", "Four euros.", mode=mode, is_declined=False, citations=cites)
    number = chat.id or 0
    said = read_conversation(tenant, number).messages[1]
    hold = set_hold(tenant, "A complaint.", conversation_id=number)

    with pytest.raises(HeldError, match=f"conversation {number}, under a legal hold, cites it"):
        erase_document(tenant, cited)
    with pytest.raises(HeldError):
        store(tenant, "prices", "Bread costs five euros.")
    erase_document(tenant, other)

    assert read_conversation(tenant, number).messages[1] == said
    other_chat = begin_conversation()
    add_exchange(tenant, other_chat, "When?", "At nine.", mode=mode, is_declined=False, citations=[])
    set_hold(tenant, "Another complaint.", conversation_id=other_chat.id)  # which goes on
    end_hold(tenant, hold.id)
    erase_document(tenant, cited)
    assert read_conversation(tenant, number).messages[1].citations[0].document_id is None
