import io
import json
import re
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ruma.chat.answering import answer
from ruma.config import Settings
from ruma.errors import InputError, RumaError
from ruma.ingest.texts import embed_again
from ruma.models.vectors import Embedder
from ruma.privacy import archive_reading
from ruma.privacy.exporting import export_visitor, write_export
from ruma.privacy.importing import Imported, import_export
from ruma.tenant.agents import change_agent, read_agent
from ruma.tenant.billing import keep_customer, read_customer
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation, read_conversation
from ruma.tenant.conversing.corrections import correct_visitor_details
from ruma.tenant.copying.contents import Scope
from ruma.tenant.home import Home
from ruma.tenant.keys import envelopes
from ruma.tenant.knowledge.documents import read_document, read_original_of
from ruma.tenant.knowledge.pairs import all_pairs
from ruma.tenant.people.members import check_sign_in, create_member, list_members
from ruma.tenant.profile import change_profile, read_profile
from ruma.tenant.tenant import Tenant
from tests.fakes import HashEmbedder
from tests.harness.process import ROOT
from tests.harness.residue import find_plaintext, make_canaries
from tests.serving import DELIVERY, EMBEDDER, PASSWORD, store

QUESTIONS = ["What does delivery to Marrowby cost?", "When does the van leave?", "Do you sell boats?", "Is it vegan?"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home with a tenant."""
    home = Home(Settings(home=tmp_path_factory.mktemp("home"), key_source="machine"))
    home.create("acme")
    return home


@pytest.fixture(scope="module")
def full(home: Home) -> Iterator[Tenant]:
    """Return a tenant that has something of each kind."""
    with home.open("acme") as tenant:
        _fill(tenant)
        yield tenant


def _fill(tenant: Tenant) -> None:
    from ruma.ingest.pairs import save_pair

    document = store(tenant, "../delivery.md", "Delivery", DELIVERY)
    save_pair("Is it vegan?", "Yes, all of it.\n\n- bread\n- cake", tenant, EMBEDDER)
    change_agent(tenant, name="Crumb", websites=("https://shop.example",), mode="quote", is_published=True)
    change_profile(tenant, business_name="Marrowby Bakery", website="https://shop.example")
    create_member(tenant, email="ada@example.com", name="Ada", role="owner", password=PASSWORD)
    for number in range(3):
        conversation = begin_conversation("widget", website="https://shop.example", language="en")
        cited = [(1, document, 10, 30)]
        add_exchange(tenant, conversation, f"Question {number}?", "", mode="quote", is_declined=False, citations=cited)
        add_exchange(tenant, conversation, "And?", "No.", mode="write", is_declined=True, citations=[])
    correct_visitor_details(tenant, 1, name="Jo", email="jo@example.com")
    keep_customer(tenant, "cus_1")


def write(tenant: Tenant, file: Path) -> Path:
    """Write an export of everything."""
    with file.open("wb") as sink:
        write_export(tenant, Scope(), sink)
    return file


@pytest.fixture(scope="module")
def whole(full: Tenant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the export of the full tenant."""
    return write(full, tmp_path_factory.mktemp("export") / "acme.zip")


@pytest.fixture
def file(whole: Path, tmp_path: Path) -> Path:
    """Return a copy of the export of the full tenant."""
    return Path(shutil.copy(whole, tmp_path))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Home:
    """Return another home."""
    return Home(Settings(home=tmp_path / "elsewhere", key_source="machine"))


def bring(home: Home, file: Path, name: str | None = None, embedder: Embedder = EMBEDDER, **more: Any) -> Imported:
    """Import a file."""
    return import_export(
        home,
        file,
        name,
        embedder_id=embedder.id,
        dimension=embedder.dimension,
        rebuild=lambda row, kind: embed_again(row, kind, embedder),
        **more,
    )


def answers(tenant: Tenant, embedder: Embedder) -> list[tuple[str, list[tuple[int, str]]]]:
    """Return what is answered to some questions, with the words that are cited."""
    found = []
    for question in QUESTIONS:
        given = answer(question, tenant=tenant, embedder=embedder, generator=None)
        text = "".join(given.tokens)
        found.append((text, [(one.document_id, one.quote) for one in given.citations]))
    return found


def test_an_import_gives_the_same_answers(full: Tenant, file: Path, elsewhere: Home) -> None:
    """Documents, pairs, agent, profile and conversations come back, and every answer is the same to the letter."""
    made = bring(elsewhere, file)

    with elsewhere.open("acme") as there:
        assert there.id != full.id
        assert answers(there, EMBEDDER) == answers(full, EMBEDDER)
        assert read_document(there, 1) == read_document(full, 1)
        assert b"".join(read_original_of(there, 1)) == b"original"
        assert all_pairs(there) == all_pairs(full)
        assert read_profile(there) == read_profile(full)
        assert [read_conversation(there, number) for number in (1, 2, 3)] == [
            read_conversation(full, number) for number in (1, 2, 3)
        ]
        assert (read_agent(there).name, read_agent(there).websites) == ("Crumb", ("https://shop.example",))
    assert (made.counts["documents"], made.counts["conversations"]) == (2, 3)
    assert made.is_embedded_anew is False


def test_with_another_model_the_vectors_are_made_anew(full: Tenant, file: Path, elsewhere: Home) -> None:
    """The texts stay to the letter, so what visitors were told still stands where it stood."""
    other = HashEmbedder(dimension=128, id="other@1")

    made = bring(elsewhere, file, embedder=other)

    with elsewhere.open("acme") as there:
        assert made.is_embedded_anew
        assert read_document(there, 1).text == read_document(full, 1).text
        assert read_conversation(there, 1) == read_conversation(full, 1)
        assert answers(there, other)[0][0].startswith("Delivery to Marrowby costs")


def test_members_come_along_and_cannot_sign_in(file: Path, elsewhere: Home) -> None:
    """Whoever edited the file gets nobody in: members are disabled until the operator enables them."""
    made = bring(elsewhere, file)

    with elsewhere.open("acme") as there:
        assert [(one.name, one.role, one.is_disabled) for one in list_members(there)] == [("Ada", "owner", True)]
        assert check_sign_in(there, "ada@example.com", PASSWORD) is None
        assert read_agent(there).is_published is False
    assert made.members == ("ada@example.com",)


def test_nobody_imports_another_businesss_bills(file: Path, elsewhere: Home) -> None:
    """The customer number is in the export, and stays out of an import: whoever edits the file could write any."""
    assert b"cus_1" in zipfile.ZipFile(file).read("data/billing.jsonl")

    bring(elsewhere, file)

    with elsewhere.open("acme") as there:
        assert read_customer(there) == ""


def test_an_import_goes_into_no_tenant_that_is_there(full: Tenant, file: Path, home: Home) -> None:
    """The name that is taken is refused, and what is there is as it was; under another name it comes in."""
    before = read_conversation(full, 1)

    with pytest.raises(InputError, match="already"):
        bring(home, file)
    bring(home, file, "acme-2")

    assert read_conversation(full, 1) == before
    assert home.names() == ["acme", "acme-2"]


def test_an_export_of_an_import_is_the_same(full: Tenant, file: Path, elsewhere: Home, tmp_path: Path) -> None:
    """There and back again, nothing is lost or changed on the way."""
    bring(elsewhere, file)
    with elsewhere.open("acme") as there:
        again = zipfile.ZipFile(write(there, tmp_path / "again.zip"))
    first = zipfile.ZipFile(file)

    for kind in ("documents", "vectors", "conversations"):
        assert first.read(f"data/{kind}/0001.jsonl") == again.read(f"data/{kind}/0001.jsonl")
    for name in ("profile", "source"):
        assert first.read(f"data/{name}.jsonl") == again.read(f"data/{name}.jsonl")


def test_nothing_of_an_import_is_on_the_disk_in_the_clear(tenant: Tenant, elsewhere: Home, tmp_path: Path) -> None:
    """An encrypted export is unpacked in memory alone."""
    canary = make_canaries(1)[0]
    store(tenant, "secret.md", canary, DELIVERY)
    taken, file = io.BytesIO(), tmp_path / "acme.zip.age"
    write_export(tenant, Scope(), taken)
    envelope = envelopes.make_envelope(PASSWORD)
    with file.open("wb") as sink:
        writer = envelopes.EnvelopeWriter(envelope, sink.write)
        writer.write(taken.getvalue())
        writer.finish()

    with pytest.raises(InputError, match="password"):
        bring(elsewhere, file)
    bring(elsewhere, file, password=PASSWORD)

    assert find_plaintext([tmp_path], [canary]) == {}


Entries = dict[str, bytes]


def edited(file: Path, change: Callable[[Entries], None]) -> Path:
    """Return the export with some of its files changed."""
    with zipfile.ZipFile(file) as found:
        entries = {name: found.read(name) for name in found.namelist()}
    change(entries)
    made = file.with_name("edited.zip")
    with zipfile.ZipFile(made, "w") as out:
        for name, content in entries.items():
            out.writestr(name, content)
    return made


def set_row(name: str, /, **values: Any) -> Callable[[Entries], None]:
    """Return a change of the first row of a file."""

    def change(entries: Entries) -> None:
        first, *rest = entries[name].splitlines()
        entries[name] = b"\n".join([json.dumps({**json.loads(first), **values}).encode(), *rest]) + b"\n"

    return change


def set_about(**values: Any) -> Callable[[Entries], None]:
    """Return a change of what the export says of itself."""
    return set_row("export.json", **values)


def put(name: str, content: bytes) -> Callable[[Entries], None]:
    """Return a change that puts a file in."""
    return lambda entries: entries.update({name: content})


def drop(name: str) -> Callable[[Entries], None]:
    """Return a change that takes a file out."""
    return lambda entries: entries.pop(name) and None


def set_chunk(**values: Any) -> Callable[[Entries], None]:
    """Return a change of the first chunk of the first document."""

    def change(entries: Entries) -> None:
        first, *rest = entries["data/documents/0001.jsonl"].splitlines()
        row = json.loads(first)
        row["chunks"][0] |= values
        entries["data/documents/0001.jsonl"] = b"\n".join([json.dumps(row).encode(), *rest]) + b"\n"

    return change


HOSTILE: dict[str, Callable[[Entries], None]] = {
    "no export": set_about(format="other"),
    "newer": set_about(version=2),
    "older": set_about(version=0),
    "a visitor's": set_about(scope={"kind": "visitor"}),
    "another name": set_about(tenant="../../etc"),
    "deep JSON": put("data/source.jsonl", b"[" * 100_000 + b"]" * 100_000 + b"\n"),
    "deep object": put("data/source.jsonl", b'{"id":' * 100_000 + b"1" + b"}" * 100_000 + b"\n"),
    "no JSON": put("data/source.jsonl", b"{\n"),
    "not a number": put("data/source.jsonl", b'{"id": NaN}\n'),
    "a list": put("data/source.jsonl", b"[1]\n"),
    "zip slip": put("../../x", b"x"),
    "absolute": put("/etc/x", b"x"),
    "drive": put("C:\\x", b"x"),
    "upper case": put("Export.json", b"{}"),
    "composed": put("data/sourc\u00e9.jsonl", b"{}\n"),
    "decomposed": put("data/source\u0301.jsonl", b"{}\n"),
    "a zip in it": put("originals/42.zip", b"PK\x05\x06" + bytes(18)),
    "a trailing dot": put("export.json.", b"{}"),
    "other table": put("data/sqlite_schema.jsonl", b"{}\n"),
    "trigger": put("data/trigger.jsonl", b'{"sql": "create trigger x"}\n'),
    "database file": put("data/tenant.db", b"SQLite format 3\0"),
    "unknown column": set_row("data/source.jsonl", secret=1),
    "hash": set_row("data/member.jsonl", password_hash="x"),
    "huge number": set_row("data/source.jsonl", id=2**70),
    "list for a text": set_row("data/member.jsonl", name=["x"]),
    "wrong role": set_row("data/member.jsonl", role="root"),
    "mail header": set_row("data/conversations/0001.jsonl", visitor_email="a@b.c\r\nBcc: x@y.z"),
    "script website": set_row("data/conversations/0001.jsonl", website="javascript:alert(1)"),
    "script profile": set_row("data/profile.jsonl", website="javascript:alert(1)"),
    "style": set_row("data/agent.jsonl", accent="red;}body{"),
    "time": set_row("data/conversations/0001.jsonl", started_at="yesterday"),
    "no channel": set_row("data/conversations/0001.jsonl", channel="x"),
    "messages": set_row("data/conversations/0001.jsonl", messages="x"),
    "no source": set_row("data/documents/0001.jsonl", source_id=99),
    "file elsewhere": set_row("data/documents/0001.jsonl", file="../../etc/passwd"),
    "media type": set_row("data/documents/0001.jsonl", media_type="text/html;\r\nx: y"),
    "no chunks": set_row("data/documents/0001.jsonl", chunks=7),
    "other vectors": set_row("data/vectors/0001.jsonl", document_id=2),
    "no vectors": set_row("data/vectors/0001.jsonl", chunks=[]),
    "missing vectors": drop("data/vectors/0001.jsonl"),
    "missing original": drop("originals/000001.md"),
    "a hole": set_chunk(start=5),
    "sentence": set_chunk(sentences=[[0, 10**6]]),
    "negative sentence": set_chunk(sentences=[[-5, 3]]),
    "surrogate": set_chunk(heading="\ud800"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_export_is_refused_whole(name: str, file: Path, elsewhere: Home) -> None:
    """Each is refused with a sentence, and nothing of it stays: no tenant, no directory, no key."""
    with pytest.raises(RumaError) as caught:
        bring(elsewhere, edited(file, HOSTILE[name]))

    assert str(caught.value).endswith(".")
    assert list(elsewhere.settings.tenants_folder.glob("*")) == []
    assert list(elsewhere.settings.tenants_folder.glob(".*")) == []
    assert [key.name for key in elsewhere.settings.keys_folder.glob("*")] in ([], ["machine.key"])


def test_c29_nothing_is_ever_extracted() -> None:
    """No code of Ruma lets a zip or a tar choose names on the disk."""
    for file in (ROOT / "ruma").rglob("*.py"):
        found = re.search(r"\.extract(all)?\(|unpack_archive|\btarfile\b", file.read_text())
        assert not found, f"{file} has {found and found[0]}"


def raw_zip(path: Path, *entries: tuple[str, bytes, dict[str, Any]]) -> Path:
    """Write a zip whose entries have attributes of their own."""
    with zipfile.ZipFile(path, "w") as out:
        for name, content, attributes in entries:
            info = zipfile.ZipInfo(name)
            for key, value in attributes.items():
                setattr(info, key, value)
            out.writestr(info, content)
    return path


def refused(home: Home, file: Path) -> str:
    """Return why a file is refused, nothing of which may stay."""
    with pytest.raises(RumaError) as caught:
        bring(home, file)
    assert home.names() == []
    return str(caught.value)


def test_a_link_in_a_zip_is_refused(elsewhere: Home, tmp_path: Path) -> None:
    """A symbolic link, whatever it is named, is no plain file."""
    link = {"external_attr": (stat.S_IFLNK | 0o777) << 16}

    assert "plain" in refused(elsewhere, raw_zip(tmp_path / "a.zip", ("export.json", b"/etc/passwd", link)))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_in_a_zip_is_refused(elsewhere: Home, tmp_path: Path) -> None:
    """Two files of one name are two answers to one question."""
    file = raw_zip(tmp_path / "a.zip", ("export.json", b"{}", {}), ("export.json", b"{}", {}))

    assert "two files" in refused(elsewhere, file)


def test_files_that_share_bytes_are_refused(elsewhere: Home, tmp_path: Path) -> None:
    """An overlap bomb: many entries of the list lead to one content."""
    file = raw_zip(tmp_path / "a.zip", ("export.json", b"{}" * 5000, {}), ("index.html", b"x", {}))
    data = bytearray(file.read_bytes())
    second = data.rindex(b"PK\1\2")
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    file.write_bytes(data)

    assert "shares bytes" in refused(elsewhere, file)


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.nightly)])
def test_many_empty_files_are_refused(elsewhere: Home, tmp_path: Path, count: int) -> None:
    """Files of names that no export has are refused at the first."""
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as out:
        for number in range(count):
            out.writestr(f"x{number}", b"")

    assert "no export" in refused(elsewhere, file)


def test_what_unpacks_to_much_is_refused(file: Path, elsewhere: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros that shrink a thousandfold, a line without an end, and more than a limit in all."""
    bomb = edited(file, lambda entries: None)
    with zipfile.ZipFile(file) as found, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as out:
        for name in found.namelist():
            out.writestr(name, found.read(name) if name != "data/source.jsonl" else b" " * 40_000_000)

    assert "times its size" in refused(elsewhere, bomb)
    monkeypatch.setattr(archive_reading, "MOST_LINE", 1000)
    assert "line" in refused(elsewhere, edited(file, put("data/source.jsonl", b'{"a":"' + b"x" * 600_000 + b'"}\n')))
    monkeypatch.setattr(archive_reading, "MOST_BYTES", 1000)
    assert "larger" in refused(elsewhere, file)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip" * 100, b"SQLite format 3\0" + bytes(4096)])
def test_what_is_no_zip_is_refused(content: bytes, elsewhere: Home, tmp_path: Path) -> None:
    """Nothing, rubbish and a database file are none."""
    file = tmp_path / "a.zip"
    file.write_bytes(content)

    assert f"{file} is no zip" in refused(elsewhere, file)


def test_a_damaged_zip_is_refused(file: Path, elsewhere: Home) -> None:
    """A flipped byte in a content, and a missing end, are noticed."""
    data = bytearray(file.read_bytes())
    at = data.index(b"data/source.jsonl") + 40
    data[at] ^= 0xFF
    damaged = file.with_name("damaged.zip")
    damaged.write_bytes(data)
    refused(elsewhere, damaged)
    damaged.write_bytes(file.read_bytes()[:-30])

    refused(elsewhere, damaged)


def test_a_visitors_export_is_no_import(full: Tenant, elsewhere: Home, tmp_path: Path) -> None:
    """It says what it is."""
    file = tmp_path / "visitor.zip"
    file.write_bytes(export_visitor(full, [1]))

    assert "one person's" in refused(elsewhere, file)


@pytest.mark.parametrize("count", [5_000, pytest.param(1_000_000, marks=pytest.mark.nightly)])
def test_many_rows_of_which_the_last_is_bad_leave_nothing(file: Path, elsewhere: Home, count: int) -> None:
    """Rows are stored as they come, and go again with the directory."""

    def rows() -> Iterator[str]:
        for number in range(2, count):
            yield json.dumps(
                {"id": number, "kind": "folder", "location": f"/{number}", "added_at": "2026-01-01T00:00:00Z"}
            )
        yield "{}"

    def change(entries: Entries) -> None:
        entries["data/source.jsonl"] = "\n".join(rows()).encode()

    refused(elsewhere, edited(file, change))


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_an_import_that_breaks_off_leaves_nothing(
    file: Path, elsewhere: Home, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """Whatever fails in the middle, there is no tenant afterwards."""
    from ruma.privacy import importing

    count = 0
    whole = importing.store_document_row

    def fail(*args: Any, **kwargs: Any) -> None:
        nonlocal count
        if count == stop:
            raise KeyboardInterrupt
        count += 1
        whole(*args, **kwargs)

    monkeypatch.setattr(importing, "store_document_row" if stop < 2 else "finish_arrival", fail)
    if stop == 2:
        count = stop
    with pytest.raises(KeyboardInterrupt):
        bring(elsewhere, file)

    assert list(elsewhere.settings.tenants_folder.iterdir()) == []
