"""Verifying a receipt: clean, not clean, wrong signature, wrong tenant; each is told apart and said in a sentence."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ruma.config import Settings
from ruma.privacy.erasing import erase_conversation, erase_document, erase_tenant, erase_visitor
from ruma.privacy.receipt_pages import receipt_page
from ruma.privacy.verifying import verify_erasure
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.conversing.visitors import VisitorRef
from ruma.tenant.erasing.receipts import SignedReceipt, read_receipt
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.tenant import Tenant
from tests.harness.residue import make_canaries
from tests.making import EMBEDDER, make_document

TEXT = "Our secret recipe takes seven kilograms of the finest rye, and nobody else may ever know of it. "


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return a home with the tenant acme."""
    made = Home(Settings(home=tmp_path / "home", key_source="machine"))
    made.create("acme")
    return made


@pytest.fixture
def tenant(home: Home) -> Tenant:
    """Return the tenant, with a document that is not erased."""
    opened = home.open("acme")
    store(opened, "kept", "Something else that stays is written in here, and it is found by everyone. ")
    return opened


def store(tenant: Tenant, name: str, text: str) -> int:
    """Store a document of one chunk."""
    source = add_source(tenant, "upload", name)
    return store_document(tenant, source.id, make_document(name, text), embedder_id=EMBEDDER.id)


def say(tenant: Tenant, text: str) -> int:
    """Store a conversation."""
    chat = begin_conversation()
    add_exchange(tenant, chat, text, "We cannot say.", mode="write", is_declined=False, citations=[])
    return chat.id or 0


def erased(tenant: Tenant) -> SignedReceipt:
    """Erase a document of TEXT and return the receipt."""
    signed = erase_document(tenant, store(tenant, "recipe", TEXT)).signed
    assert signed
    return signed


def test_what_is_erased_is_clean_and_stays_so(home: Home, tenant: Tenant) -> None:
    """A fresh process finds nothing, also after the tenant has gone on."""
    signed = erased(tenant)
    for number in range(20):
        store(tenant, f"later {number}", f"What comes later is number {number} of many. " * 30)

    verdict = verify_erasure(home, read_receipt(signed.to_json()))

    assert verdict.outcome == "clean"
    assert "document" in verdict.text
    assert f"{signed.receipt.fingerprints['pieces']:,} pieces" in verdict.notes[0]


def test_words_that_are_said_again_are_told_and_are_no_residue(home: Home, tenant: Tenant) -> None:
    """The same text stored anew is named as a living record; it was not left over."""
    signed = erased(tenant)
    chat = say(tenant, TEXT)

    verdict = verify_erasure(home, signed)

    assert verdict.outcome == "clean"
    with tenant.reading() as db:
        message = db.execute("select min(id) from message where conversation_id = ?", [chat]).fetchone()[0]
    assert any(f"message {message}" in note for note in verdict.notes)


def leave_in_free_page(tenant: Tenant) -> None:
    """Leave the text in pages that no table owns."""
    with tenant.unbound() as db:
        db.execute("pragma secure_delete = off").fetchall()
        db.execute("create table scratch (text text)")
        db.execute("insert into scratch values (?)", [TEXT * 120])
        db.execute("drop table scratch")
        db.execute("pragma wal_checkpoint(truncate)").fetchall()


def leave_in_log(tenant: Tenant) -> None:
    """Leave the text in a frame of the log that is no longer valid."""
    with tenant.writing() as db:
        db.execute("insert into source (kind, location, added_at) values ('text', ?, '')", [TEXT])
    log = tenant.folder / "tenant.db-wal"
    stale = log.read_bytes()
    with tenant.writing() as db:
        db.execute("delete from source where location = ?", [TEXT])
    with tenant.unbound() as db:
        db.execute("pragma wal_checkpoint(truncate)").fetchall()
    tenant.close()
    log.write_bytes(stale)
    # Its salt is another one's now, so SQLite reads none of it.
    with open(log, "r+b") as file:
        file.seek(16)
        file.write(b"\0" * 8)


def leave_in_statistics(tenant: Tenant) -> None:
    """Leave the text where `analyze` copies keys of an index to."""
    with tenant.unbound() as db:
        db.execute("insert into source (kind, location, added_at) values ('text', ?, '')", [TEXT])
        db.execute("analyze")
        db.execute("delete from source where location = ?", [TEXT])
        db.execute("pragma wal_checkpoint(truncate)").fetchall()


def leave_in_index(tenant: Tenant) -> None:
    """Leave words in the full-text index, of a passage that is not there."""
    with tenant.writing() as db:
        db.execute("insert into chunk_fts (rowid, title, heading, text) values (999, '', '', ?)", [TEXT])


def leave_marked_in_index(tenant: Tenant) -> None:
    """Leave words in the full-text index that are only marked as deleted."""
    with tenant.unbound() as db:
        db.execute("insert into chunk_fts (chunk_fts, rank) values ('secure-delete', 0)")
        db.execute("insert into chunk_fts (rowid, title, heading, text) values (999, '', '', ?)", [TEXT])
        row = [999, "", "", TEXT]
        db.execute("insert into chunk_fts (chunk_fts, rowid, title, heading, text) values ('delete', ?, ?, ?, ?)", row)
        db.execute("insert into chunk_fts (chunk_fts, rank) values ('secure-delete', 1)")


@pytest.mark.parametrize(
    ("leave", "said"),
    [
        (leave_in_free_page, "of tenant.db (an overflow or free page)"),
        (leave_in_log, "of tenant.db-wal"),
        (leave_in_statistics, "page"),
        (leave_in_index, "full-text index"),
        (leave_marked_in_index, "full-text index"),
    ],
)
def test_what_is_left_is_found_wherever_it_is(
    home: Home, tenant: Tenant, leave: Callable[[Tenant], None], said: str
) -> None:
    """A free page, a stale frame of the log, statistics, a full-text index: each is named."""
    signed = erased(tenant)
    assert verify_erasure(home, signed).outcome == "clean"

    leave(tenant)
    tenant.close()

    verdict = verify_erasure(home, signed)
    assert verdict.outcome == "not clean"
    assert said in verdict.text


def test_a_row_that_came_back_is_found(home: Home, tenant: Tenant) -> None:
    """A conversation that was put back under its number is not clean, whatever it says now."""
    chat = say(tenant, "Hello")
    signed = erase_conversation(tenant, chat).signed
    assert signed
    with tenant.writing() as db:
        db.execute("insert into conversation (id, channel, started_at, last_at) values (?, 'page', '', '')", [chat])

    verdict = verify_erasure(home, signed)

    assert (verdict.outcome, verdict.text) == ("not clean", f"Not clean: conversation {chat} is in the database.")


def test_a_changed_receipt_and_a_foreign_one_are_told_apart(home: Home, tenant: Tenant, tmp_path: Path) -> None:
    """A changed receipt, one signed by somebody else, and one of a tenant that is not here are not believed."""
    signed = erased(tenant)
    changed = replace(signed, receipt=replace(signed.receipt, by_number=7))
    other_home = Home(Settings(home=tmp_path / "other", key_source="machine"))
    other_home.create("acme")
    with other_home.open("acme") as other:
        forged = erased(other)
    forged = replace(forged, receipt=replace(forged.receipt, tenant_id=tenant.id))

    assert verify_erasure(home, changed).outcome == "wrong signature"
    assert verify_erasure(home, forged).outcome == "wrong signature"
    assert verify_erasure(other_home, signed).outcome == "wrong tenant"
    assert verify_erasure(home, signed).outcome == "clean"


def test_fingerprints_cannot_be_taken_away(home: Home, tenant: Tenant) -> None:
    """A receipt holds the hash of what is looked for: with less of it, it is not clean."""
    signed = erased(tenant)
    with tenant.writing() as db:
        db.execute("update erasure set pieces = zeroblob(8)")

    assert "changed since" in verify_erasure(home, signed).text


def test_a_receipt_holds_nothing_of_what_was_erased(tenant: Tenant) -> None:
    """Neither the JSON nor the page has a word of it, nor an address or a name."""
    words = make_canaries(2)
    chat = say(tenant, f"I am {words[0]}")
    with tenant.writing() as db:
        db.execute("update conversation set visitor_email = ? where id = ?", [f"{words[1]}@example.com", chat])

    signed = erase_visitor(tenant, VisitorRef(email=f"{words[1]}@EXAMPLE.com")).signed

    assert signed
    assert signed.receipt.numbers == (chat,)
    for text in (signed.to_json(), receipt_page(signed)):
        assert not any(word in text for word in words)
        assert signed.receipt.number in text


def test_a_deleted_tenant_is_clean_until_something_of_it_is_there(home: Home, tenant: Tenant, tmp_path: Path) -> None:
    """A key, a directory, a copy of one, a file of its name: each is found, and the installation's signature counts."""
    tenant.close()
    copy = tmp_path / "copy"
    shutil.copytree(tenant.folder, copy)
    key = next(home.settings.keys_folder.glob(f"{tenant.id}*"))
    kept = key.read_bytes()

    deleted = erase_tenant(home, "acme")

    assert deleted.signed.receipt.is_complete
    assert deleted.signed.receipt.counts["document"] == 1
    assert verify_erasure(home, deleted.signed).outcome == "clean"
    for path, act in (
        (key, lambda path: path.write_bytes(kept)),
        (home.settings.home / "tenants" / "acme", lambda path: shutil.copytree(copy, path)),
        (home.settings.home / "somewhere", lambda path: shutil.copytree(copy, path)),
        (home.settings.home / f"x{tenant.id}.txt", lambda path: path.write_text("")),
    ):
        put: Any = act
        put(path)
        verdict = verify_erasure(home, deleted.signed)
        assert verdict.outcome == "not clean", path
        assert str(path) in verdict.text
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (home.settings.home / "receipts" / "signing.key").unlink()
    assert verify_erasure(home, deleted.signed).outcome == "wrong signature"
