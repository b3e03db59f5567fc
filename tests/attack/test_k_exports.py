"""Exports under attack: what lies on the disk while one is made, a kill, ingest beside it, and one visitor's data."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from ruma.cli.exporting import _write
from ruma.config import Settings, load_settings
from ruma.errors import StoreError
from ruma.privacy.archive_reading import ArchiveReader
from ruma.privacy.conversation_files import export_conversation, neutral_cell
from ruma.privacy.erasing import erase_visitor
from ruma.privacy.exporting import export_visitor, write_export
from ruma.tenant.conversing.conversations import read_conversation
from ruma.tenant.conversing.corrections import correct_visitor_details
from ruma.tenant.conversing.inbox import read_for_member
from ruma.tenant.conversing.visitors import find_visitor, mentions, parse_visitor
from ruma.tenant.copying.contents import Scope
from ruma.tenant.copying.exports import ask_export, fetch_export, list_exports
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import NewDocument, store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.tenant import Tenant
from tests.filling import fill_inbox
from tests.harness.process import environ_of, unnamed_files
from tests.harness.residue import find_plaintext, find_residue, make_canaries
from tests.serving import DELIVERY, EMBEDDER, FLAGS, Running, make_tenant, store
from tests.test_exporting import talk

WORD = make_canaries(1)[0]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of a home below the test's folder."""
    return load_settings({"home": tmp_path / "home", **FLAGS}, {})


@pytest.fixture
def large(settings: Settings) -> Iterator[Tenant]:
    """Return a tenant with a large original that holds a word, and some conversations."""
    home = Home(settings)
    make_tenant(home)
    with home.open("acme") as tenant:
        source = add_source(tenant, "upload", "large.md")
        original = f"{WORD} is in every line of it.\n".encode() * 300_000
        document = NewDocument("large.md", WORD, "text/markdown", "h", "1", len(original), (), original)
        store_document(tenant, source.id, document, embedder_id=EMBEDDER.id)
        fill_inbox(tenant, 300)
        yield tenant


def test_k30_no_plaintext_while_an_export_is_made(large: Tenant, tmp_path: Path) -> None:
    """A server that makes one writes no plaintext, with or without a name: not in the home, and nowhere else."""
    ask_export(large, Scope(), asked_by="Ada")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TMPDIR", str(temporary))
        with Running(large.folder.parents[1]) as server:
            found: set[str] = set()
            while list_exports(large)[0].state in ("waiting", "making"):
                found |= unnamed_files(server.process.pid)
                found |= {str(path) for path in temporary.rglob("*")}
                time.sleep(0.002)
            data = b"".join(fetch_export(large, list_exports(large)[0].id))

    assert found == set()
    assert WORD in zipfile.ZipFile(io.BytesIO(data)).read("originals/000003.md").decode()[:100]
    assert find_plaintext([tmp_path], [WORD]) == {}


@pytest.mark.parametrize(
    "password", [pytest.param("", id="clear"), pytest.param("seven loaves under the oak", id="sealed")]
)
def test_k30_a_command_that_is_killed_leaves_no_export(large: Tenant, tmp_path: Path, password: str) -> None:
    """Under any name there is a whole export or nothing, however much of it was written."""
    (tmp_path / "word").write_text(password)
    out = tmp_path / "out"
    out.mkdir()
    words = ["--password-file", str(tmp_path / "word")] if password else []
    command = [sys.executable, "-m", "ruma", "export", str(out / "a.zip"), *words]
    process = subprocess.Popen(command, env=environ_of(large.folder.parents[1]), stderr=subprocess.PIPE)
    while not any(str(out) in target for target in unnamed_files(process.pid)) and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.communicate()

    assert process.returncode == -signal.SIGKILL, "it ended before it was killed: the test proves nothing"
    assert list(out.iterdir()) == []
    assert find_plaintext([tmp_path], [WORD]) == {}
    subprocess.run(command, env=environ_of(large.folder.parents[1]), check=True, capture_output=True)
    assert [entry.name for entry in out.iterdir()] == ["a.zip"]
    assert (out / "a.zip").stat().st_mode & 0o777 == 0o600
    assert (out / "a.zip").read_bytes()[:4] == (b"age-" if password else b"PK\x03\x04")


def test_k30_a_file_system_without_unnamed_files_gets_a_hidden_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a name of its own until it is whole, goes with any error, and what a kill left goes with the next one."""
    monkeypatch.setattr(os, "O_TMPFILE", 0)
    seen: list[list[str]] = []
    (tmp_path / "out").mkdir()
    left = tmp_path / "out" / ".a.zip.00000000.part"
    left.write_text("left")

    def fill(sink: IO[bytes]) -> dict[str, object]:
        seen.append([path.name for path in left.parent.iterdir()])
        sink.write(b"whole" if len(seen) == 2 else b"half")
        if len(seen) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return {}

    with pytest.raises(StoreError, match="No space left"):
        _write(tmp_path, tmp_path / "out" / "a.zip", "", fill)
    assert list(left.parent.iterdir()) == []
    _write(tmp_path, tmp_path / "out" / "a.zip", "", fill)

    assert [len(names) for names in seen] == [1, 1]
    assert left.name not in seen[0] + seen[1]
    assert [(path.name, path.read_text()) for path in left.parent.iterdir()] == [("a.zip", "whole")]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", '=HYPERLINK("http://x")'])
def test_k74_no_cell_is_a_formula(tenant: Tenant, cell: str) -> None:
    """What a visitor wrote is shown by a spreadsheet and not calculated, also where it comes later in the table."""
    number = talk(tenant, cell, cell)

    table = export_conversation(read_for_member(tenant, number), "csv").decode()

    assert neutral_cell(cell).startswith("'")
    assert neutral_cell("plain") == "plain"
    assert f",{cell}," not in table


def test_k74_one_visitor_is_exported_by_number_address_and_mention(tenant: Tenant) -> None:
    """Each way leads to the same conversations, and the export has all that the database has of them."""
    numbers = [talk(tenant, f"This is Zebedee Quill, case {case}.") for case in range(3)]
    for number in numbers:
        correct_visitor_details(tenant, number, name="Zebedee", email="zq@example.com")

    by_address = find_visitor(tenant, parse_visitor("ZQ@example.com"))
    by_mention = sorted({one.conversation_id for one in mentions(tenant, "Zebedee Quill")})
    by_number = [find_visitor(tenant, parse_visitor(str(number)))[0] for number in numbers]

    assert by_address == by_mention == by_number == numbers
    rows = list(
        ArchiveReader(io.BytesIO(export_visitor(tenant, numbers)), Path("export.zip")).rows(
            "data/conversations/0001.jsonl"
        )
    )
    for row in rows:
        stored = read_conversation(tenant, row["id"])
        assert [(one["id"], one["text"]) for one in row["messages"]] == [(one.id, one.text) for one in stored.messages]
        assert (row["visitor_name"], row["visitor_email"]) == ("Zebedee", "zq@example.com")


@pytest.mark.parametrize("way", ["number", "address", "mention"])
def test_k74_one_visitor_is_erased_by_number_address_and_mention(tenant: Tenant, way: str) -> None:
    """In each way nothing of that visitor is in any page afterwards, the others are, and the receipt has the counts."""
    mine, others = make_canaries(2)
    number, other = talk(tenant, f"I am {mine} and ask."), talk(tenant, f"I am {others} and ask.")
    for one in (number, other):
        correct_visitor_details(tenant, one, name="Zebedee", email=f"zq{one}@example.com")
    found = {one.conversation_id for one in mentions(tenant, mine)} if way == "mention" else set()
    names = [f"zq{number}@EXAMPLE.com"] if way == "address" else [str(one) for one in found or {number}]
    before = find_residue(tenant.folder, tenant.key.raw, [mine, others])

    kept = erase_visitor(tenant, *map(parse_visitor, names))

    assert set(before) == {mine, others}
    assert set(find_residue(tenant.folder, tenant.key.raw, [mine, others])) == {others}
    assert kept.signed
    assert kept.signed.receipt.is_complete
    assert (kept.signed.receipt.counts["conversation"], kept.signed.receipt.counts["message"]) == (1, 2)


def test_k74_an_export_beside_an_ingest_is_of_one_moment(tenant: Tenant) -> None:
    """While documents are stored and replaced, each export has every document whole, with its vectors and original."""
    ended = threading.Event()
    home = Home(load_settings({"home": tenant.folder.parents[1], **FLAGS}, {}))
    store(tenant, "n0.md", "Number 0", DELIVERY)

    def ingest() -> None:
        with home.open("acme") as other:
            number = 0
            while not ended.is_set():
                store(other, f"n{number % 7}.md", f"Number {number}", DELIVERY)
                number += 1

    running = threading.Thread(target=ingest)
    running.start()
    try:
        for _ in range(3):
            taken = io.BytesIO()
            about = write_export(tenant, Scope(), taken)
            found = zipfile.ZipFile(taken)
            documents = [json.loads(line) for line in found.read("data/documents/0001.jsonl").splitlines()]
            vectors = [json.loads(line) for line in found.read("data/vectors/0001.jsonl").splitlines()]
            assert len(documents) == about["counts"]["documents"]
            for document, made in zip(documents, vectors, strict=True):
                assert [one["id"] for one in document["chunks"]] == [one["chunk_id"] for one in made["chunks"]]
                assert not document["file"] or document["file"] in found.namelist()
            missing = {one["document_id"] for one in about["originals"] if not one["file"]}
            assert missing == {one["id"] for one in documents if not one["file"]}
    finally:
        ended.set()
        running.join()
