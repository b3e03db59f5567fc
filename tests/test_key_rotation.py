"""A new key for a tenant, and another place for it, while it is in use."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import KeyStoreError, NotFoundError, WrongKeyError
from ruma.privacy.exporting import write_export
from ruma.tenant.audit import list_audit
from ruma.tenant.copying.contents import Scope
from ruma.tenant.copying.exports import ask_export, fetch_export, take_export
from ruma.tenant.home import Home
from ruma.tenant.keys.keys import Key
from ruma.tenant.keys.master_rotation import rotate_master
from ruma.tenant.keys.rotation import NewKey, Rotated, move_key, reseal_files, rotate_key
from ruma.tenant.keys.sealed_keys import SealedKeys
from ruma.tenant.knowledge import uploads
from ruma.tenant.knowledge.documents import list_documents, read_original_of, store_document
from ruma.tenant.knowledge.originals import read_original, seal_original
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.uploads import find_upload, list_uploads, read_upload, receive_upload, take_upload
from ruma.tenant.tenant import KEY_CHANGE, Tenant
from tests.making import EMBEDDER, make_document

UPLOAD = {"kind": "upload", "added_by": "ada", "most_bytes": 1_000_000}


def rotate(home: Home, name: str = "acme") -> str:
    """Rotate a tenant's key, and return the new recovery key."""
    begun, done = rotate_key(home, name)
    assert isinstance(begun, NewKey)
    assert isinstance(done, Rotated)
    return begun.recovery_key


def add(tenant: Tenant, *names: str) -> None:
    """Store documents whose texts are their names."""
    source = add_source(tenant, "folder", "/x")
    for name in names:
        store_document(tenant, source.id, make_document(name, f"The text of {name}."), embedder_id=EMBEDDER.id)


def originals(tenant: Tenant) -> list[bytes]:
    """Return every original's bytes, by the document's name."""
    return [b"".join(read_original_of(tenant, one.id)) for one in list_documents(tenant)]


def files_of(settings: Settings) -> set[str]:
    """Return the names of the files that a tenant and its key consist of."""
    folders = (settings.tenants_folder / "acme", settings.keys_folder)
    return {file.name for folder in folders for file in folder.iterdir() if file.is_file()}


def test_everything_opens_under_the_new_key_alone(tenant: Tenant, settings: Settings) -> None:
    """After a rotation documents, originals and uploads are as before; old key, old file and journal are gone."""
    home, old = Home(settings), tenant.key
    old_recovery, before = old.recovery_text(), files_of(settings)
    add(tenant, "a", "b")
    receive_upload(tenant, "c.txt", [b"waits"], **UPLOAD)  # type: ignore[arg-type]
    was = originals(tenant)

    recovery = rotate(home)

    with home.open("acme") as again:
        assert again.key == Key.from_recovery_text(recovery)
        assert again.key != old
        assert originals(again) == was
        assert b"".join(read_upload(again, list_uploads(again)[0])) == b"waits"
        assert list_audit(again)[0].action == "key.rotated"
    after = files_of(settings)
    assert len({name for name in after if name.endswith(".key")}) == len({n for n in before if n.endswith(".key")})
    assert KEY_CHANGE not in after
    assert "tenant.db" not in after
    with pytest.raises(WrongKeyError):
        home.recover("acme", old_recovery)
    assert home.recover("acme", recovery) == "sealed files (machine)"


def test_a_file_of_an_early_version_keeps_opening(tenant: Tenant, settings: Settings) -> None:
    """Originals and uploads without a key of their own, as version 0.1.0 sealed them, open after two rotations."""
    add(tenant, "a")
    upload = receive_upload(tenant, "c.txt", [b"waits"], **UPLOAD)  # type: ignore[arg-type]
    was = originals(tenant)
    with tenant.writing() as db:
        original_id = db.execute("select original_id from document").fetchone()[0]
        db.execute("delete from file_key")
    for path, text in (
        (tenant.files_folder / original_id, was[0]),
        (tenant.uploads_folder / upload.sealed_id, b"waits"),
    ):
        path.unlink()
        seal_original([text], path, Key(tenant.key.derive(b"ruma original v1", path.name.encode())))
    assert originals(tenant) == was

    for _ in range(2):
        rotate(Home(settings))

    assert originals(tenant) == was
    assert b"".join(read_upload(tenant, upload)) == b"waits"


def test_a_tenant_that_is_open_goes_on(tenant: Tenant, settings: Settings) -> None:
    """Who has the tenant open reads and writes on, under the new key, and nothing that was written is lost."""
    add(tenant, "a")
    with tenant.reading() as held:
        rotate(Home(settings))
        assert held.execute("select count(*) from document").fetchone() == (1,)  # the state that it began with
    add(tenant, "b")

    with Home(settings).open("acme") as again:
        assert [one.name for one in list_documents(again)] == ["a", "b"]
        assert again.key == tenant.key
        assert again.page_key == tenant.page_key


def test_writers_and_readers_never_fail_meanwhile(tenant: Tenant, settings: Settings) -> None:
    """Threads that write, read, and open the tenant anew, go on through rotations; all that was stored is there."""
    home, stop, failures, written = Home(settings), threading.Event(), list[BaseException](), list[str]()

    def repeat(do: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                do()
        except BaseException as exc:
            failures.append(exc)

    def write() -> None:
        name = f"n{len(written)}"
        with tenant.writing() as db:
            db.execute("insert into source (kind, location, added_at) values ('folder', ?, '')", [name])
        written.append(name)

    def read() -> None:
        with tenant.reading() as db:
            db.execute("select count(*) from source").fetchone()

    def reopen() -> None:
        with home.open("acme") as other, other.reading() as db:
            db.execute("select count(*) from source").fetchone()

    threads = [threading.Thread(target=repeat, args=[do]) for do in (write, read, reopen)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        rotate(Home(settings))
    stop.set()
    for thread in threads:
        thread.join()

    assert not failures
    assert written
    with home.open("acme") as again, again.reading() as db:
        assert {row[0] for row in db.execute("select location from source")} >= set(written)


def test_a_rotation_that_is_given_up_changes_nothing(tenant: Tenant, settings: Settings) -> None:
    """Whoever stops after the new recovery key was shown keeps the old key, and nothing of the new one stays."""
    before, old = files_of(settings), tenant.key
    rotation = rotate_key(Home(settings), "acme")
    next(rotation)
    rotation.close()  # type: ignore[attr-defined]

    assert files_of(settings) == before
    with Home(settings).open("acme") as again:
        assert again.key == old


def test_a_removed_tenant_is_not_taken_for_a_rotated_one(tenant: Tenant, settings: Settings) -> None:
    """A tenant that was deleted, and one made anew under its name, are not there for who had the old one open."""
    home = Home(settings)
    home.delete("acme")
    home.create("acme")

    with pytest.raises(NotFoundError):
        tenant.check_present()


def test_resealing_covers_uploads_and_exports(tenant: Tenant, settings: Settings) -> None:
    """What waits to be read and what waits to be fetched get new keys too; an upload in somebody's hands is left."""
    home = Home(settings)
    received = [
        receive_upload(tenant, f"{name}.txt", [name.encode()], **UPLOAD)  # type: ignore[arg-type]
        for name in ("hours", "prices")
    ]
    ask_export(tenant, Scope(), asked_by="Ada")
    making = take_export(tenant)
    assert making
    with making:
        write_export(tenant, making.export.scope, making)
        making.finish()
    exported = b"".join(fetch_export(tenant, 1))
    old = {path.name for folder in (tenant.uploads_folder, tenant.exports_folder) for path in folder.iterdir()}
    rotate(home)

    taken = take_upload(tenant)
    assert taken
    with taken:
        assert list(reseal_files(home, "acme")) == [3, 3, 2, 1]
    assert list(reseal_files(home, "acme")) == [1, 0]

    files = {path.name for folder in (tenant.uploads_folder, tenant.exports_folder) for path in folder.iterdir()}
    assert len(files) == 3
    assert not files & old
    read = [b"".join(read_upload(tenant, find_upload(tenant, one.id))) for one in received]
    assert read == [b"hours", b"prices"]
    assert b"".join(fetch_export(tenant, 1)) == exported


def test_an_upload_that_was_sealed_anew_is_not_lost(
    tenant: Tenant, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that looked for it under its old name, because both came together, leaves it waiting."""
    home, usual = Home(settings), uploads.lock_file
    receive_upload(tenant, "hours.txt", [b"Open at 7."], **UPLOAD)  # type: ignore[arg-type]
    rotate(home)

    def lock(path: Path) -> int | None:
        monkeypatch.setattr(uploads, "lock_file", usual)
        assert list(reseal_files(home, "acme")) == [1, 0]
        return usual(path)

    monkeypatch.setattr(uploads, "lock_file", lock)

    assert take_upload(tenant) is None
    assert [one.state for one in list_uploads(tenant)] == ["waiting"]


def test_resealing_gives_every_original_a_new_key(tenant: Tenant, settings: Settings) -> None:
    """With the old files' keys the new files do not open; a second run finds nothing to do; contents are the same."""
    home = Home(settings)
    add(tenant, "a", "b")
    was = originals(tenant)
    with tenant.reading() as db:
        keys = [Key(row[0]) for row in db.execute("select raw from file_key")]
    rotate(home)

    assert list(reseal_files(home, "acme")) == [2, 1, 0]

    assert list(reseal_files(home, "acme")) == [0]
    assert originals(tenant) == was
    assert len(list(tenant.files_folder.iterdir())) == 2
    for file in tenant.files_folder.iterdir():
        for key in keys:
            with pytest.raises(Exception, match="damaged"):
                read_original(file, key)


def test_a_key_moves_to_another_source_and_back(tenant: Tenant, settings: Settings, tmp_path: Path) -> None:
    """The key lies in one place alone at any time that is not the move itself; the open tenant does not notice."""
    home, master = Home(settings), tmp_path / "master.key"
    master.write_text(Key.random().raw.hex())
    master.chmod(0o600)
    other = Settings(home=settings.home, key_file=str(master))
    home.settings = other

    assert move_key(home, "acme", SealedKeys(other, "file")) == "sealed files (file)"
    assert [one.key_store for one in home.tenants()] == ["sealed files (file)"]
    add(tenant, "a")
    with home.open("acme") as again:
        assert again.key == tenant.key
        moved = next(one for one in list_audit(again) if one.action == "key.moved")
        assert moved.details == {"from": "sealed files (machine)", "to": "sealed files (file)"}
    assert len([name for name in files_of(settings) if len(name) > 30]) == 1

    assert move_key(home, "acme", SealedKeys(other, "machine")) == "sealed files (machine)"
    assert len([name for name in files_of(settings) if len(name) > 30]) == 1
    home.open("acme").close()


def test_a_store_that_does_not_keep_the_key_changes_nothing(tenant: Tenant, settings: Settings) -> None:
    """Where the new place cannot be used the key stays where it is, and no trace of the attempt is left."""
    before = files_of(settings)

    with pytest.raises(KeyStoreError):
        move_key(Home(settings), "acme", SealedKeys(settings, "file"))

    assert files_of(settings) == before
    Home(settings).open("acme").close()


def test_a_master_rotation_that_is_killed_in_its_last_step_stops_no_later_one(
    tenant: Tenant, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bridge is overwritten and still has its name: the next rotation takes it away."""
    unlink = Path.unlink

    def stop_at_the_bridge(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".bridge":
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    tenant.close()
    with monkeypatch.context() as stopped:
        stopped.setattr(Path, "unlink", stop_at_the_bridge)
        with pytest.raises(KeyboardInterrupt):
            rotate_master(settings, "machine")
    assert len(list(settings.keys_folder.glob("*.bridge"))) == 1

    assert rotate_master(settings, "machine").is_finished
    assert not list(settings.keys_folder.glob("*.bridge"))
    with Home(settings).open("acme"):
        pass
