"""Hostile backups: written by somebody who has the keys, and still no file, table or row gets in that is not Ruma's."""

import json
import os
import resource
import secrets
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ruma.errors import DamagedError, StoreError
from ruma.privacy.backing_up import name_of_piece
from ruma.privacy.restoring import restore, try_restore
from ruma.tenant.copying.backup_folder import Snapshot, file_name
from tests.backing import BackedUp, make_backed_up
from tests.harness.oracle import check_tenant

Content = dict[str, Any]
Put = Callable[[bytes], str]


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> BackedUp:
    """Return a home with a tenant and one backup of it; no test here may change either."""
    made = make_backed_up(tmp_path_factory.mktemp("hostile"), documents=2, conversations=3)
    made.make()
    return made


@pytest.fixture(autouse=True)
def untouched(backed_up: BackedUp) -> Iterator[None]:
    """Assert that a refused restore leaves the tenant, its key and the home as they were, and nothing else."""
    before = sorted(path.name for path in backed_up.settings.home.rglob("*") if "tenant.db" not in path.name)
    documents = check_tenant(backed_up.settings.home, "acme")
    yield
    after = sorted(path.name for path in backed_up.settings.home.rglob("*") if "tenant.db" not in path.name)
    assert after == before
    assert check_tenant(backed_up.settings.home, "acme") == documents


def forge(backed_up: BackedUp, change: Callable[[Content, Put], None], *, pack: bool = True) -> Snapshot:
    """Return a backup whose manifest was changed and sealed again."""
    reading = backed_up.reading()
    snapshot = reading.snapshots()[0]
    content = json.loads(b"".join(reading.read(snapshot.manifest)))
    naming = bytes.fromhex(content["naming"])
    with backed_up.writing() as folder:

        def put(lines: bytes) -> str:
            name = name_of_piece(naming, lines)
            folder.write(name, [zlib.compress(lines) if pack else lines])
            return name

        change(content, put)
        manifest = json.dumps(content).encode()
        name = file_name(naming, "manifest", manifest)
        folder.write(name, [manifest])
    return replace(snapshot, name="000099-acme-forged", number=99, manifest=name)


def table(content: Content, name: str) -> Content:
    """Return what a manifest says of a table."""
    return next(one for one in content["tables"] if one["name"] == name)


def rows_of(backed_up: BackedUp, found: Content) -> list[list[Any]]:
    """Return a table's rows."""
    pieces = [b"".join(backed_up.reading().read(name)) for name in found["pieces"]]
    return [json.loads(line) for piece in pieces for line in zlib.decompress(piece).splitlines()]


def line_of(row: list[Any]) -> bytes:
    """Return a row as Ruma writes it."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


def with_cell(backed_up: BackedUp, name: str, column: str, value: Any) -> Callable[[Content, Put], None]:
    """Return a change of one cell of a table's first row."""

    def change(content: Content, put: Put) -> None:
        found = table(content, name)
        rows = rows_of(backed_up, found)
        rows[0][found["columns"].index(column)] = value
        found["pieces"] = [put(b"".join(map(line_of, rows)))]

    return change


@pytest.mark.parametrize(
    "extra",
    [
        {"name": "evil", "columns": ["a"]},
        {"name": "chunk_fts_data", "columns": ["id", "block"]},
        {"name": "message_fts", "columns": ["text"]},
        {"name": "sqlite_master", "columns": ["type", "name", "tbl_name", "rootpage", "sql"]},
        {"name": "ruma_identity", "columns": ["tenant_id"]},
        {"name": "session", "columns": ["id"]},
        {"name": 'source" (kind) values (1); drop table member; --', "columns": ["a"]},
    ],
    ids=lambda extra: extra["name"][:14],
)
def test_c28_a_table_that_is_not_ruma_s(backed_up: BackedUp, extra: Content) -> None:
    """A table that a backup has no business with is refused: unknown ones, index pages, the schema, sessions."""
    snapshot = forge(backed_up, lambda content, _: content["tables"].append({**extra, "rows": 0, "pieces": []}))

    with pytest.raises(DamagedError, match="has a table"):
        restore(backed_up.home, backed_up.reading(), snapshot, "again")


def test_c28_a_column_that_is_not_ruma_s(backed_up: BackedUp) -> None:
    """A table with one column more is refused."""
    snapshot = forge(backed_up, lambda content, _: table(content, "source")["columns"].append("colour"))

    with pytest.raises(DamagedError, match="other columns"):
        restore(backed_up.home, backed_up.reading(), snapshot, "again")


PATH, TYPE, CHECK, FILE = "name an original", "cannot be stored", "cannot be read", "another file than"
VECTOR, ORPHAN = "vectors that do not fit", "FOREIGN KEY"


@pytest.mark.parametrize(
    ("name", "column", "value", "reason"),
    [
        ("document", "original_id", "../../../../tmp/ruma-was-here", PATH),
        ("document", "original_id", "/tmp/ruma-was-here", PATH),
        ("document", "original_id", "CON", PATH),
        ("upload", "sealed_id", "..\\x", PATH),
        ("document", "source_id", 999, ORPHAN),
        ("document", "size_bytes", "many", TYPE),
        ("document", "size_bytes", 2**80, TYPE),
        ("document", "size_bytes", 1, FILE),
        ("document", "content_hash", "0" * 64, "is missing"),
        ("document", "name", None, TYPE),
        ("document", "name", ["a"], CHECK),
        ("document", "name", {"b": "AA==", "c": 1}, CHECK),
        ("document", "name", {"b": "not base64!"}, CHECK),
        ("document", "name", True, CHECK),
        ("document", "name", "\ud800", TYPE),
        ("vector", "vector", {"b": "AAAA"}, VECTOR),
        ("sentence_vector", "vectors", {"b": "AAAA"}, VECTOR),
        ("chunk", "sentences", {"b": "AAAA"}, VECTOR),
        ("member", "role", "operator", TYPE),
        ("agent", "id", 2, TYPE),
    ],
)
def test_c28_c29_a_row_that_is_not_ruma_s(backed_up: BackedUp, name: str, column: str, value: Any, reason: str) -> None:
    """Paths for names, rows that belong to none, other types, numbers too large, vectors cut short: all refused."""
    snapshot = forge(backed_up, with_cell(backed_up, name, column, value))

    with pytest.raises(StoreError, match=reason):
        restore(backed_up.home, backed_up.reading(), snapshot, "again")

    assert not Path("/tmp/ruma-was-here").exists()


def test_c28_the_same_row_again(backed_up: BackedUp) -> None:
    """The way in which these tests forge rows is not itself what is refused."""
    snapshot = forge(backed_up, with_cell(backed_up, "document", "name", "forged"))

    assert try_restore(backed_up.home, backed_up.reading(), snapshot).documents == 2


@pytest.mark.parametrize("lines", [b"[" * 100_000 + b"\n", b"{}\n", b"[1]\n", b"nothing\n", b"\xff\xfe\n"])
def test_c28_lines_that_are_no_rows(backed_up: BackedUp, lines: bytes) -> None:
    """Deep nesting, other shapes and other bytes are refused, and do not end the command."""

    def change(content: Content, put: Put) -> None:
        table(content, "source")["pieces"] = [put(lines)]

    with pytest.raises(DamagedError, match="cannot be read"):
        restore(backed_up.home, backed_up.reading(), forge(backed_up, change), "again")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(tables=[*content["tables"], 7]),
        lambda content: content.pop("naming"),
        lambda content: content.update(naming="zz"),
        lambda content: content.update(backups=[[1]]),
        lambda content: content.update(format="new"),
    ],
)
def test_c28_a_manifest_that_is_none(backed_up: BackedUp, change: Callable[[Content], None]) -> None:
    """A manifest of another shape is refused in words."""
    snapshot = forge(backed_up, lambda content, _: change(content))

    with pytest.raises(DamagedError, match="cannot be read"):
        restore(backed_up.home, backed_up.reading(), snapshot, "again")


def test_c28_counts_that_do_not_fit(backed_up: BackedUp) -> None:
    """A table with fewer rows than the manifest says is noticed."""
    snapshot = forge(backed_up, lambda content, _: table(content, "source").update(rows=2))

    with pytest.raises(DamagedError, match="something else than was backed up"):
        restore(backed_up.home, backed_up.reading(), snapshot, "again")


def test_c29_a_piece_that_swells(backed_up: BackedUp) -> None:
    """300 MB that are packed into one are given up after 64 MB."""
    packing = zlib.compressobj(1)
    bomb = b"".join(packing.compress(bytes(1 << 20)) for _ in range(300)) + packing.flush()

    def change(content: Content, put: Put) -> None:
        table(content, "source")["pieces"] = [put(bomb)]

    snapshot = forge(backed_up, change, pack=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(DamagedError, match="does not hold what it should"):
        restore(backed_up.home, backed_up.reading(), snapshot, "again")

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 250_000  # KB


@pytest.mark.parametrize("name", ["../../../../etc/passwd", "/etc/passwd", "C:\\x", "A" * 40, "", "a" * 41, "é" * 40])
def test_c29_a_file_by_another_name(backed_up: BackedUp, name: str) -> None:
    """A piece whose name is a path, or anything but forty digits, is not looked for."""

    def change(content: Content, put: Put) -> None:
        table(content, "source")["pieces"] = [name]

    with pytest.raises(DamagedError, match="as Ruma names none"):
        restore(backed_up.home, backed_up.reading(), forge(backed_up, change), "again")


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_c29_a_file_that_is_something_else(backed_up: BackedUp, kind: str) -> None:
    """A link, a pipe and a folder in the place of a file are refused, and nothing waits for them."""
    name = secrets.token_hex(20)
    place = backed_up.folder / "objects" / name[:2] / name
    place.parent.mkdir(exist_ok=True)
    if kind == "link":
        place.symlink_to("/etc/passwd")
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.mkdir()

    def change(content: Content, put: Put) -> None:
        table(content, "source")["pieces"] = [name]

    try:
        with pytest.raises(DamagedError):
            restore(backed_up.home, backed_up.reading(), forge(backed_up, change), "again")
    finally:
        place.rmdir() if kind == "folder" else place.unlink()


def test_c29_a_planted_link_is_not_cleaned_out(backed_up: BackedUp, tmp_path: Path) -> None:
    """Links to folders are not followed: nothing behind them is removed with a backup, and nothing written there."""
    for number in range(256):
        place = backed_up.folder / "objects" / f"{number:02x}"
        if not place.exists():
            place.symlink_to(tmp_path)
    precious = tmp_path / ("a" * 40)
    precious.write_text("precious")

    with backed_up.writing() as folder:
        folder.remove([])
        free = next(one for one in range(256) if (folder.folder / "objects" / f"{one:02x}").is_symlink())
        with pytest.raises(DamagedError, match="is a link"):
            folder.write(f"{free:02x}" + "0" * 38, [b"x"])

    assert [file.name for file in tmp_path.iterdir()] == [precious.name]
    for place in (backed_up.folder / "objects").iterdir():
        if place.is_symlink():
            place.unlink()
