from collections.abc import Callable
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import DamagedError
from ruma.tenant.health import examine
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import read_document, store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.uploads import receive_upload
from ruma.tenant.tenant import Tenant
from tests.making import EMBEDDER, make_document

PAGE = 4096


def fill(tenant: Tenant, documents: int = 12) -> dict[str, int]:
    """Store documents long enough to have pages of their own, and return their ids."""
    source = add_source(tenant, "folder", "/shop")
    ids = {}
    for number in range(documents):
        texts = [f"Document {number} part {part}: " + f"word{number * 100 + part} " * 150 for part in range(8)]
        document = make_document(f"{number}.md", *texts)
        ids[document.name] = store_document(tenant, source.id, document, embedder_id=EMBEDDER.id)
    with tenant.unbound() as db:
        db.execute("pragma wal_checkpoint(truncate)").fetchall()
    tenant.close()
    return ids


def flip(file: Path, at: int) -> None:
    """Change one bit."""
    data = bytearray(file.read_bytes())
    data[at] ^= 4
    file.write_bytes(data)


def test_a_whole_tenant_has_no_problems(tenant: Tenant, settings: Settings) -> None:
    """Documents, chunks, words, vectors and originals fit together."""
    ids = fill(tenant)

    with Home(settings).open("acme") as opened:
        health = examine(opened)

    assert health.documents == len(ids)
    assert (health.problems, health.damaged) == ((), ())


def test_pages_that_only_the_log_has_are_no_damage(tenant: Tenant, settings: Settings) -> None:
    """While somebody reads an older state, the database's file lacks new pages; an empty page else is damage."""
    source = add_source(tenant, "folder", "/shop")

    def store(numbers: range) -> None:
        for number in numbers:
            texts = [f"{number} {part} words " * 50 for part in range(10)]
            store_document(tenant, source.id, make_document(f"d{number}", *texts), embedder_id=EMBEDDER.id)

    store(range(20))
    with Home(settings).open("acme") as reader, reader.reading() as old:
        old.execute("select count(*) from document").fetchall()
        store(range(20, 25))
        with tenant.unbound() as db:
            db.execute("pragma wal_checkpoint(passive)").fetchall()
            missing = db.execute("pragma cipher_integrity_check").fetchall()
        beside_a_reader = examine(tenant)
    with tenant.unbound() as db:
        db.execute("pragma wal_checkpoint(truncate)").fetchall()
    tenant.close()
    number = int(str(missing[0][0]).split()[-1])
    with (settings.tenants_folder / "acme/tenant.db").open("r+b") as file:
        file.seek((number - 1) * PAGE)
        file.write(bytes(PAGE))

    assert missing
    assert beside_a_reader.problems == ()
    with Home(settings).open("acme") as opened:
        assert any(f"page {number}" in one for one in examine(opened).problems)


def test_a_damaged_upload_is_named(tenant: Tenant) -> None:
    """Of the uploads that wait, the one whose bytes were altered is named and the others are not."""
    kept = [
        receive_upload(tenant, name, [b"Bread."], kind="upload", added_by="", most_bytes=100)
        for name in ("a.md", "b.md", "c.md")
    ]
    flip(tenant.uploads_folder / kept[1].sealed_id, -1)
    (tenant.uploads_folder / kept[2].sealed_id).unlink()

    assert examine(tenant).problems == (
        "The upload c.md is damaged: discard it, and add it again.",
        "The upload b.md is damaged: discard it, and add it again.",
    )


def test_a_damaged_page_names_its_documents_and_spares_the_others(tenant: Tenant, settings: Settings) -> None:
    """Whichever page has a changed bit: it is noticed, and every document that is not named can be read whole."""
    ids = fill(tenant)
    file = tenant.folder / "tenant.db"
    whole = file.read_bytes()
    named, unopened = [], 0
    for page in range(1, len(whole) // PAGE, 4):
        file.write_bytes(whole)
        flip(file, page * PAGE + 1000)
        try:
            opened = Home(settings).open("acme")
        except DamagedError:  # one of the few pages without which nothing can be read
            unopened += 1
            continue

        with opened:
            health = examine(opened)
            spared = set(ids) - set(health.damaged) if health.documents else set()
            for name in spared:
                assert read_document(opened, ids[name]).text.startswith(f"Document {name[:-3]} part 0")

        assert health.problems, page
        named.append(len(health.damaged))

    assert any(0 < count < len(ids) for count in named)
    assert unopened < len(named) / 2


@pytest.mark.parametrize(
    "break_it",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: flip(file, file.stat().st_size // 2),
    ],
    ids=["missing", "cut short", "altered"],
)
def test_a_damaged_original_names_its_document(
    tenant: Tenant, settings: Settings, break_it: Callable[[Path], None]
) -> None:
    """An original that is gone or was changed is noticed, although its text can still be read."""
    fill(tenant, 3)
    break_it(sorted(tenant.files_folder.iterdir())[0])

    with Home(settings).open("acme") as opened:
        health = examine(opened)

    assert len(health.damaged) == 1
    assert any("its original cannot be read" in problem for problem in health.problems)


def test_two_originals_that_changed_places_are_noticed(tenant: Tenant, settings: Settings) -> None:
    """A file under another file's name does not open."""
    fill(tenant, 2)
    one, two = sorted(tenant.files_folder.iterdir())
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)

    with Home(settings).open("acme") as opened:
        assert len(examine(opened).damaged) == 2


def test_an_original_of_another_content_is_noticed(tenant: Tenant, settings: Settings) -> None:
    """An original that opens but is not the file that was read is told."""
    fill(tenant, 2)
    with Home(settings).open("acme") as opened:
        with opened.writing() as db:
            db.execute("update document set content_hash = 'of another file' where name = '1.md'")

        health = examine(opened)

    assert health.damaged == ("1.md",)
    assert any("its original is another file" in problem for problem in health.problems)


def test_a_file_that_belongs_to_nothing_is_counted(tenant: Tenant, settings: Settings) -> None:
    """What lies in the folder of originals and is no document's is told."""
    fill(tenant, 2)
    with Home(settings).open("acme") as opened:
        (opened.files_folder / "stray").write_bytes(b"x")

        assert any("belong to no document" in problem for problem in examine(opened).problems)


@pytest.mark.parametrize(
    "statement",
    ["delete from vector where chunk_id = 3", "delete from sentence_vector where chunk_id = 3"],
)
def test_rows_that_are_missing_are_noticed(tenant: Tenant, settings: Settings, statement: str) -> None:
    """A chunk without a vector is a problem of its document."""
    fill(tenant, 2)
    with Home(settings).open("acme") as opened:
        with opened.writing() as db:
            db.execute(statement)

        health = examine(opened)

    assert health.damaged == ("0.md",)
    assert any("does not fit" in problem for problem in health.problems)


def test_a_database_that_cannot_be_opened_is_an_error(tenant: Tenant, settings: Settings) -> None:
    """A damaged first page leaves nothing to examine: opening says so, and nothing is made anew."""
    fill(tenant, 1)
    flip(tenant.folder / "tenant.db", 100)

    with pytest.raises(DamagedError):
        Home(settings).open("acme")
