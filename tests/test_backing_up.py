import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ruma.errors import ConflictError, DamagedError, InputError, NotFoundError, NotReadyError, WrongKeyError
from ruma.privacy import backing_up
from ruma.privacy.backing_up import Keep, choose_removed
from ruma.privacy.restoring import choose_snapshot, restore, try_restore
from ruma.tenant.copying import backup_folder, rows
from ruma.tenant.copying.backup_folder import (
    BackupFolder,
    Snapshot,
    init_folder,
    join_folder,
    open_folder,
    open_with_secret,
)
from ruma.tenant.copying.backups import list_backups
from ruma.tenant.home import Home
from ruma.tenant.keys.data_key import Key
from ruma.tenant.knowledge.documents import list_documents, read_original_of, remove_documents
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


def test_every_table_is_backed_up_or_left_out_with_a_reason(tenant: Tenant) -> None:
    """A new table is in backups without a word; what is left out is there and has a reason; indexes are made again."""
    with tenant.reading() as db:
        found = db.execute("select name, type from pragma_table_list where schema = 'main'").fetchall()
    kinds = {kind: {name for name, other in found if other == kind} for kind in ("table", "virtual", "view")}

    held = {table.name for table in rows.list_tables(tenant)}

    assert held | set(rows.LEFT_OUT) == {name for name in kinds["table"] if name not in {"sqlite_schema"}}
    assert not held & set(rows.LEFT_OUT)
    assert all(rows.LEFT_OUT.values())
    assert (kinds["virtual"], kinds["view"]) == ({"chunk_fts", "message_fts"}, set())


def test_every_file_of_a_tenant_is_backed_up_or_left_out_with_a_reason(backed_up: BackedUp) -> None:
    """A new kind of file in a tenant's directory is noticed here, and so thought of."""
    held = {"files", "uploads"}  # originals, and what waits to be read
    made_again = {"tenant.toml", "tenant.db", "tenant.db-wal", "tenant.db-shm"}
    left_out = {
        "exports",  # copies, fetched within days
        "before-upgrade.db",  # the database before an upgrade, for a week
    }
    with backed_up.home.open("acme") as tenant:
        names = {entry.name for entry in tenant.folder.iterdir()}
        folders = {value.name for name in dir(tenant) if isinstance(value := getattr(tenant, name), Path)}

    assert {"files", "uploads", "tenant.db"} <= names <= held | made_again | left_out
    assert folders - {"acme"} <= held | made_again | left_out


def test_an_unchanged_tenant_writes_next_to_nothing(backed_up: BackedUp) -> None:
    """The second backup writes what says that it was made, and none of the rows and originals again."""
    before = set(backed_up.folder.rglob("objects/*/*"))

    second = backed_up.make().snapshot

    written = [file for file in backed_up.folder.rglob("objects/*/*") if file not in before]
    assert second.new_bytes == sum(file.stat().st_size for file in written)
    assert len(written) <= 3  # the manifest, the last entries of the audit log, the counters
    assert second.new_bytes < 10_000 < second.stored_bytes


def test_rows_that_did_not_change_give_the_same_pieces(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is added, changed or removed in the middle changes the pieces around it, and no others."""
    monkeypatch.setattr(rows, "_PIECE_BYTES", 2000)
    monkeypatch.setattr(rows, "_SMALLEST", 500)
    monkeypatch.setattr(rows, "_LARGEST", 8000)
    with tenant.writing() as db:
        for number in range(1000):
            db.execute("insert into source (kind, location, added_at) values ('folder', ?, '')", [f"/{number * 7919}"])
    (table,) = [one for one in rows.list_tables(tenant) if one.name == "source"]
    before = [piece.lines for piece in rows.read_pieces(tenant, table)]

    with tenant.writing() as db:
        db.execute("delete from source where id = 100")
        db.execute("update source set location = 'x' where id = 500")
        db.execute("insert into source (kind, location, added_at) values ('folder', 'y', '')")
    after = [piece.lines for piece in rows.read_pieces(tenant, table)]

    assert len(before) > 15
    assert len(set(after) - set(before)) <= 5
    assert max(map(len, after)) < 9000


def test_a_second_backup_at_once_refuses(backed_up: BackedUp) -> None:
    """While one writes to the folder no other does, and the error says so."""
    with backed_up.writing(), pytest.raises(ConflictError, match="Another command is writing"):
        backed_up.make()


def test_a_secret_that_is_not_the_folders_opens_nothing(backed_up: BackedUp) -> None:
    """Neither the tenant's live key nor a guess opens a backup, and the home that writes it cannot read it either."""
    with backed_up.home.open("acme") as tenant:
        guesses = [tenant.key, Key.random()]

    for guess in guesses:
        with pytest.raises(WrongKeyError, match="not the secret"):
            open_with_secret(backed_up.folder, guess)
    with pytest.raises(WrongKeyError, match="Without its secret"):
        next(open_folder(backed_up.settings, backed_up.folder).read(newest(backed_up).manifest))


def test_another_home_writes_only_after_it_was_given_the_secret(backed_up: BackedUp, tmp_path: Path) -> None:
    """A home that does not know the folder says what to do, and joins with the secret."""
    other = type(backed_up.settings)(home=tmp_path / "other", key_source="machine")
    with pytest.raises(NotReadyError, match="does not know"):
        open_folder(other, backed_up.folder)
    with pytest.raises(WrongKeyError):
        join_folder(other, backed_up.folder, Key.random())

    Home(other).create("beta")
    join_folder(other, backed_up.folder, backed_up.secret)

    made = BackedUp(other, backed_up.folder, backed_up.secret).make("beta").snapshot
    assert [one.tenant for one in backed_up.reading().snapshots()] == ["acme", "beta"]
    assert try_restore(backed_up.home, backed_up.reading(), made).documents == 0


def test_a_folder_that_is_something_else_is_refused(backed_up: BackedUp, tmp_path: Path) -> None:
    """A folder with other files is not taken, one that holds backups not made again, an empty mount point noticed."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").touch()

    with pytest.raises(InputError, match="not empty"):
        init_folder(backed_up.settings, tmp_path / "photos")
    with pytest.raises(ConflictError, match="already"):
        init_folder(backed_up.settings, backed_up.folder)
    with pytest.raises(NotReadyError, match="holds no backups"):
        open_folder(backed_up.settings, tmp_path / "empty")


def test_an_exchanged_public_key_is_noticed(backed_up: BackedUp) -> None:
    """Whoever writes a key of their own into the folder gets no backup that they can read."""
    mark = backed_up.folder / "ruma-backup.json"
    mine = backup_folder.keys_of(Key.random()).public.hex()
    text = mark.read_text().replace(backup_folder.keys_of(backed_up.secret).public.hex(), mine)
    mark.write_text(text)

    with pytest.raises(DamagedError, match="another key than this home knows"):
        backed_up.make()


def test_what_is_removed_while_it_is_read_is_left_out(backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that is erased in the middle of a backup wins: the backup begins again and is whole without it."""
    with backed_up.home.open("acme") as tenant:
        store_numbered(tenant, 77)
        (late,) = [one.id for one in list_documents(tenant) if one.name == "d77"]
        read = backing_up.read_original

        def read_late(*args: Any) -> Iterator[bytes]:
            remove_documents(tenant, [late])
            return read(*args)

        monkeypatch.setattr(backing_up, "read_original", read_late)
        with backed_up.writing() as folder:
            made = backing_up.back_up(tenant, folder)

    assert made.damaged == ()
    restore(backed_up.home, backed_up.reading(), made.snapshot, "again")
    assert "d77" not in check_tenant(backed_up.settings.home, "again")


def test_a_damaged_original_costs_only_itself(backed_up: BackedUp) -> None:
    """It is named, everything else is backed up and restored, and what it says of the damage is said again."""
    with backed_up.home.open("acme") as tenant:
        store_numbered(tenant, 88)
        (path,) = sorted(tenant.files_folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)[-1:]
    path.write_bytes(path.read_bytes()[:-1])

    made = backed_up.make()

    assert made.damaged == (path.name,)
    assert try_restore(backed_up.home, backed_up.reading(), made.snapshot).damaged == 1
    assert restore(backed_up.home, backed_up.reading(), made.snapshot, "again").counts.documents == 7


def test_an_interrupted_backup_leaves_the_former_and_is_gone_on_with(
    backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote is not written again, and the tenant knows of it until the next one."""
    monkeypatch.setattr(BackupFolder, "commit", lambda *_: 1 / 0)
    with backed_up.home.open("acme") as tenant:
        store_numbered(tenant, 55)
    with pytest.raises(ZeroDivisionError):
        backed_up.make()
    with backed_up.home.open("acme") as tenant:
        known = [one.is_whole for one in list_backups(tenant)]
    monkeypatch.undo()

    assert len(backed_up.reading().snapshots()) == 1
    assert known == [True, False]
    assert try_restore(backed_up.home, backed_up.reading(), newest(backed_up)).documents == 6
    assert backed_up.make().snapshot.new_bytes < 10_000
    with backed_up.home.open("acme") as tenant:
        assert [one.is_whole for one in list_backups(tenant)] == [True, True]


def test_a_backup_is_read_without_ruma(backed_up: BackedUp, tmp_path: Path) -> None:
    """The example program goes by the written format alone and finds every row and every original."""
    secret, output = tmp_path / "secret", tmp_path / "output"
    secret.write_text(backed_up.secret.recovery_text() + "\n")
    (listed,) = backed_up.folder.glob("snapshots/*.json")
    program = Path(__file__).parents[1] / "examples/read_backup.py"

    words = [sys.executable, "-I", program, backed_up.folder, listed, secret, output]
    subprocess.run(words, check=True, cwd=tmp_path, env={}, timeout=60)

    with backed_up.home.open("acme") as tenant:
        for one in list_documents(tenant):
            assert (output / f"document-{one.id}").read_bytes() == b"".join(read_original_of(tenant, one.id))
        held = {table.name for table in rows.list_tables(tenant)}
        with tenant.reading() as db:
            messages = [row[0] for row in db.execute("select text from message order by id")]
    assert {file.stem for file in output.glob("*.jsonl")} == held
    found = [json.loads(line)["text"] for line in (output / "message.jsonl").read_text().splitlines()]
    assert found == messages != []


def test_removing_backups_keeps_what_others_need(backed_up: BackedUp) -> None:
    """The files of a removed backup go, those that another one shares stay, and it can be restored."""
    first = newest(backed_up)
    with backed_up.home.open("acme") as tenant:
        remove_documents(tenant, [one.id for one in list_documents(tenant)][:3])
    second = backed_up.make().snapshot
    (backed_up.folder / "objects/ab").mkdir(exist_ok=True)
    (backed_up.folder / "objects/ab/.left.part").touch()

    with backed_up.writing() as folder:
        freed = folder.remove([first.name])

    assert freed > 1000
    assert {file.name for file in backed_up.folder.rglob("objects/*/*")} == set(second.files)
    assert try_restore(backed_up.home, backed_up.reading(), second).documents == 3


def snapshot_of(number: int, at: str, tenant_id: str = "t") -> Snapshot:
    """Return a made-up backup."""
    return Snapshot(f"s{number}", number, "acme", tenant_id, f"{at}T03:00:00Z", "", {}, 0, 0)


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(), "0 1 2 3 4 5 6"),
        (Keep(days=10), "4 5 6"),
        (Keep(daily=2), "5 6"),
        (Keep(daily=1, weekly=2), "4 6"),
        (Keep(monthly=3), "1 3 6"),
        (Keep(monthly=3, days=40), "3 6"),
    ],
)
def test_which_backups_are_kept(keep: Keep, left: str) -> None:
    """Days are an end for all; the other options say of which days, weeks and months the newest stays."""
    dates = ["2026-01-01", "2026-01-31", "2026-02-10", "2026-02-28", "2026-03-15", "2026-03-16", "2026-03-17"]
    there = [snapshot_of(number, at) for number, at in enumerate(dates)]

    removed = choose_removed(there, keep, living=["t"], today="2026-03-18T12:00:00Z")

    assert [one.name for one in there if one not in removed] == [f"s{number}" for number in left.split()]


def test_the_newest_backup_stays_as_long_as_its_tenant_does() -> None:
    """A tenant that is there never loses its last backup to its age; one that is gone loses all."""
    there = [
        snapshot_of(1, "2020-01-01", "here"),
        snapshot_of(2, "2020-01-02", "here"),
        snapshot_of(3, "2020-01-02", "gone"),
    ]

    removed = choose_removed(there, Keep(days=30), living=["here"], today="2026-01-01T00:00:00Z")

    assert [one.name for one in removed] == ["s1", "s3"]


def test_backups_are_told_apart_and_in_order_whatever_the_clock_did(
    backed_up: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that goes back, or far ahead, overwrites no backup, and the newest is the one that was made last."""
    for at in ("1970-01-01T00:00:00Z", "2038-01-20T00:00:00Z", "1999-01-01T00:00:00Z"):
        monkeypatch.setattr(backing_up, "now", lambda at=at: at)
        backed_up.make()

    snapshots = backed_up.reading().snapshots()
    assert [one.number for one in snapshots] == [1, 2, 3, 4]
    assert choose_snapshot(snapshots).made_at == "1999-01-01T00:00:00Z"
    assert choose_snapshot(snapshots, at="1970-01-01").number == 2
    with pytest.raises(NotFoundError, match="The oldest backup"):
        choose_snapshot(snapshots, at="1969")
    with pytest.raises(NotFoundError, match="no backup of beta"):
        choose_snapshot(snapshots, "beta")
