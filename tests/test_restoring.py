"""Restoring: the tenant that was backed up, without what was erased since; damage in a backup is noticed."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ruma.errors import DamagedError, InputError, StoreError
from ruma.privacy.erasing import erase_document, erase_visitor
from ruma.privacy.restoring import restore, try_restore
from ruma.tenant import schema
from ruma.tenant.audit import check_audit, list_audit
from ruma.tenant.conversing.visitors import VisitorRef
from ruma.tenant.copying import backup_folder, rows
from ruma.tenant.copying.backups import list_backups
from ruma.tenant.home import Home
from ruma.tenant.keys.data_key import Key
from ruma.tenant.knowledge.documents import list_documents, read_original_of, remove_documents
from ruma.tenant.knowledge.index import search_words
from ruma.tenant.knowledge.uploads import list_uploads, read_upload
from ruma.tenant.people.members import check_sign_in
from ruma.tenant.tenant import Tenant
from tests.backing import BackedUp, make_backed_up, newest, store_numbered
from tests.harness.oracle import check_tenant


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> BackedUp:
    """Return a home with a tenant and one backup of it."""
    backed_up = make_backed_up(tmp_path_factory.mktemp("made"))
    backed_up.make()
    return backed_up


@pytest.fixture
def backed_up(made: BackedUp, tmp_path: Path) -> BackedUp:
    """Return a copy of it, to be changed."""
    return made.copy_to(tmp_path)


def all_rows(tenant: Tenant) -> dict[str, list[Any]]:
    """Return the rows of every table that a backup holds, read without its help."""
    with tenant.reading() as db:
        names = [row[0] for row in db.execute("select name from sqlite_master where type = 'table'")]
        left = {*rows.LEFT_OUT, "audit", "sqlite_sequence"}
        kept = [name for name in names if name not in left and "_fts" not in name]
        return {name: sorted(map(repr, db.execute(f"select * from {name}").fetchall())) for name in kept}


def test_a_restored_tenant_is_the_one_that_was_backed_up(backed_up: BackedUp) -> None:
    """Rows, originals, uploads, the search and the audit log are as they were; number and key are new."""
    restored = restore(backed_up.home, backed_up.reading(), newest(backed_up), "again")

    with backed_up.home.open("acme") as old, backed_up.home.open("again") as new:
        assert all_rows(new) == all_rows(old)
        assert new.id == restored.id != old.id
        assert new.key != old.key == Key.from_recovery_text(old.key.recovery_text())
        assert new.key == Key.from_recovery_text(restored.recovery_key)
        for one in list_documents(old):
            assert b"".join(read_original_of(new, one.id)) == b"".join(read_original_of(old, one.id))
        assert search_words(new, ["part"], 5) == search_words(old, ["part"], 5) != []
        (upload,) = list_uploads(new)
        assert b"".join(read_upload(new, upload)) == b"Still to be read."
        assert check_audit(new).broken_at is None
        assert list_audit(new)[0].action == "tenant.restored"
        assert check_sign_in(new, "ada@example.com", "correct horse battery 9")
    assert check_tenant(backed_up.settings.home, "again") == check_tenant(backed_up.settings.home, "acme")


@pytest.mark.parametrize("how", ["removed", "cut", "flipped", "exchanged", "foreign"])
def test_damage_in_the_folder_is_noticed(backed_up: BackedUp, how: str) -> None:
    """A file that is missing, cut, altered, under another name, or made by who has only the public key is refused."""
    files = sorted(backed_up.folder.rglob("objects/*/*"), key=lambda file: file.stat().st_size)
    file, other = files[-1], files[-2]
    data = bytearray(file.read_bytes())
    if how == "removed":
        file.unlink()
    elif how == "cut":
        file.write_bytes(data[:-1])
    elif how == "flipped":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif how == "exchanged":
        file.write_bytes(other.read_bytes())
    else:
        public = backup_folder.keys_of(backed_up.secret).public
        with open(file, "wb") as out:
            backup_folder.seal(out, file.name, [b"mine"], backup_folder.WriteKeys(public, bytes(32)))

    with pytest.raises(DamagedError, match=r"missing|damaged"):
        restore(backed_up.home, backed_up.reading(), newest(backed_up), "again")

    assert backed_up.home.names() == ["acme"]
    assert not list(backed_up.settings.tenants_folder.glob(".*"))
    if how in ("removed", "cut"):  # the next backup sees that it is not as it was, and writes it again
        backed_up.make()
        assert try_restore(backed_up.home, backed_up.reading(), newest(backed_up)).documents == 6


def test_a_list_that_was_altered_is_noticed(backed_up: BackedUp) -> None:
    """A plain list that somebody changed is refused, so that no backup goes by it, and none is removed by it."""
    (place,) = backed_up.folder.glob("snapshots/*.json")
    place.write_text(place.read_text().replace('"number": 1', '"number": 9'))

    for action in (backed_up.make, backed_up.reading().snapshots):
        with pytest.raises(DamagedError, match="was not written by Ruma"):
            action()


def test_a_tenant_that_is_there_is_not_overwritten(backed_up: BackedUp) -> None:
    """A taken name is refused before anything is read, and the tenant is as it was."""
    before = check_tenant(backed_up.settings.home, "acme")

    with pytest.raises(InputError, match="a tenant acme already"):
        restore(backed_up.home, backed_up.reading(), newest(backed_up), "acme")

    assert check_tenant(backed_up.settings.home, "acme") == before


def test_c28_a_backup_under_another_tenant_s_number(backed_up: BackedUp) -> None:
    """It becomes a tenant with a number and a key of its own, and the one whose number it has stays as it is."""
    other = backed_up.home.create("other")
    with backed_up.writing() as folder:
        name, number = folder.next_name("other")
        folder.commit(replace(newest(backed_up), name=name, number=number, tenant_id=other.id, tenant="other"))

    forged = backed_up.reading().snapshots()[-1]
    restored = restore(backed_up.home, backed_up.reading(), forged, "again")

    with backed_up.home.open("acme") as acme, backed_up.home.open("again") as again:
        assert len({acme.id, again.id, other.id}) == 3
        assert again.id == restored.id
    assert check_tenant(backed_up.settings.home, "other") == {}
    assert check_tenant(backed_up.settings.home, "again") == check_tenant(backed_up.settings.home, "acme")


def test_an_older_backup_is_brought_to_the_new_form(backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows go into the tables that they came from, which are then changed as those of a living tenant are."""

    def add_column(db: Any) -> None:
        db.execute("alter table source add column colour text not null default 'green'")

    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, add_column))
    monkeypatch.setattr("ruma.tenant.database.STEPS", schema.STEPS)

    restore(backed_up.home, backed_up.reading(), newest(backed_up), "again")

    with backed_up.home.open("again") as tenant, tenant.reading() as db:
        assert db.execute("select location, colour from source").fetchall() == [("/made/up", "green")]


def test_a_newer_backup_is_refused(backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup with steps that this version does not know is not guessed at."""
    monkeypatch.setattr("ruma.privacy.restoring.STEPS", schema.STEPS[:-1])

    with pytest.raises(StoreError, match="newer version of Ruma"):
        restore(backed_up.home, backed_up.reading(), newest(backed_up), "again")


def test_numbers_are_not_given_again(backed_up: BackedUp) -> None:
    """A number of a document that was removed before the backup is not a new document's after it."""
    with backed_up.home.open("acme") as tenant:
        gone = store_numbered(tenant, 66)
        remove_documents(tenant, [gone])
    restore(backed_up.home, backed_up.reading(), backed_up.make().snapshot, "again")

    with backed_up.home.open("again") as tenant:
        assert store_numbered(tenant, 67) == gone + 1


def test_a_restored_tenant_knows_the_backups_of_what_it_was(backed_up: BackedUp) -> None:
    """An erasure in a restored tenant names the backups that it came from, also after it is restored once more."""
    restore(backed_up.home, backed_up.reading(), newest(backed_up), "again")
    second = backed_up.make("again").snapshot
    restore(backed_up.home, backed_up.reading(), second, "third")

    with backed_up.home.open("third") as tenant:
        assert [one.snapshot[:6] for one in list_backups(tenant)] == ["000001", "000002"]


@pytest.mark.parametrize("is_gone", [False, True])
def test_what_was_erased_after_the_backup_is_erased_again(backed_up: BackedUp, is_gone: bool) -> None:
    """The receipts are those of the tenant itself, or, where it is lost, those in its newest backup."""
    first = newest(backed_up)
    with backed_up.home.open("acme") as tenant:
        gone = list_documents(tenant)[0]
        erase_document(tenant, gone.id)
        erase_visitor(tenant, VisitorRef(conversation=3), VisitorRef(conversation=5))
        late = store_numbered(tenant, 90)
        erase_document(tenant, late)
    if is_gone:
        backed_up.make()
        backed_up.home.delete("acme")

    restored = restore(backed_up.home, backed_up.reading(), first, "again")

    assert [(one.kind, one.again, one.problem) for one in restored.reapplied] == [
        ("document", 1, ""),
        ("visitor", 2, ""),
        ("document", 0, ""),
    ]
    with backed_up.home.open("again") as tenant:
        assert gone.name not in {one.name for one in list_documents(tenant)}
        assert len(list_documents(tenant)) == 5
        with tenant.reading() as db:
            assert db.execute("select count(*) from conversation where id in (3, 5)").fetchone() == (0,)
    assert gone.name not in check_tenant(backed_up.settings.home, "again")


def test_what_was_erased_after_the_backup_is_said(backed_up: BackedUp) -> None:
    """Where it is not wanted it is not erased again, and the receipts are named; a later backup brings nothing back."""
    first = newest(backed_up)
    with backed_up.home.open("acme") as tenant:
        gone = list_documents(tenant)[0]
        number = erase_document(tenant, gone.id).signed
    second = backed_up.make().snapshot

    restored = restore(backed_up.home, backed_up.reading(), first, "again", reapplies=False)

    assert number
    assert [one.number for one in restored.later_erasures] == [number.receipt.number]
    assert gone.name in check_tenant(backed_up.settings.home, "again")
    assert restore(backed_up.home, backed_up.reading(), second, "third").later_erasures == ()


def test_a_restore_in_progress_is_left_alone(backed_up: BackedUp) -> None:
    """Another command that opens the home does not take a restore's directory away, and does not wait for it."""
    with backed_up.home.scratch() as draft:
        begun = time.monotonic()
        Home(backed_up.settings)
        assert time.monotonic() - begun < 1
        assert draft.folder.is_dir()
    left = draft.folder.with_name(".building-" + "0" * 32)
    left.mkdir()

    Home(backed_up.settings)

    assert not left.exists()
