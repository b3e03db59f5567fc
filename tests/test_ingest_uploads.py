import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import DamagedError, NotReadyError
from ruma.ingest.pipeline import Outcome
from ruma.ingest.uploads import ingest_upload
from ruma.tenant.background import Stopped
from ruma.tenant.knowledge.documents import list_documents, read_document, read_original_of
from ruma.tenant.knowledge.index import search_words
from ruma.tenant.knowledge.sources import list_sources
from ruma.tenant.knowledge.uploads import Kind, receive_upload, take_upload
from ruma.tenant.tenant import Tenant
from tests.fakes import HashEmbedder
from tests.harness.process import unnamed_files
from tests.harness.residue import find_plaintext, make_canaries

EMBEDDER = HashEmbedder()
MOST = 200_000_000


def ingest(tenant: Tenant, settings: Settings, name: str, data: bytes, kind: Kind = "upload") -> Outcome:
    """Hand a file over and read it."""
    receive_upload(tenant, name, [data], kind=kind, added_by="Ada", most_bytes=MOST)
    taken = take_upload(tenant)
    assert taken is not None
    with taken:
        outcome = ingest_upload(taken, tenant, EMBEDDER, settings)
        if outcome.status == "failed":
            taken.fail(outcome.reason)
        else:
            taken.finish()
    return outcome


def test_an_upload_becomes_a_document(tenant: Tenant, settings: Settings) -> None:
    """It is read as a file is: by what it holds, with its title, its original kept, as a source of its own."""
    outcome = ingest(tenant, settings, "hours.md", b"# Opening hours\n\nWe open at nine.\n")

    assert (outcome.name, outcome.status, outcome.reason) == ("hours.md", "added", "")
    [source] = list_sources(tenant)
    assert (source.kind, source.location, source.documents) == ("upload", "hours.md", 1)
    [info] = list_documents(tenant)
    assert (info.name, info.title, info.media_type) == ("hours.md", "Opening hours", "text/markdown")
    assert b"".join(read_original_of(tenant, info.id)) == b"# Opening hours\n\nWe open at nine.\n"


def test_the_same_name_replaces_the_document(tenant: Tenant, settings: Settings) -> None:
    """New bytes under a name take the old ones' place, and the same bytes change nothing."""
    first = ingest(tenant, settings, "hours.md", b"We open at nine.")
    again = ingest(tenant, settings, "hours.md", b"We open at nine.")
    changed = ingest(tenant, settings, "hours.md", b"We open at eleven.")

    assert (first.status, again.status, changed.status) == ("added", "unchanged", "changed")
    assert search_words(tenant, ["nine"], 5) == []
    assert len(search_words(tenant, ["eleven"], 5)) == 1
    assert len(list_sources(tenant)) == len(list_documents(tenant)) == 1


def test_a_pasted_text_has_the_title_that_it_was_given(tenant: Tenant, settings: Settings) -> None:
    """Its name is no file's name: a dot in it says nothing of the format, and its first heading is not its title."""
    outcome = ingest(tenant, settings, "News of 24.py", b"# Summer\n\nWe are closed in August.", kind="text")

    assert outcome.status == "added"
    [info] = list_documents(tenant)
    assert (info.name, info.title) == ("News of 24.py", "News of 24.py")
    assert "closed in August" in read_document(tenant, info.id).text
    assert list_sources(tenant)[0].kind == "text"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.md", b"", "is empty."),
        ("table.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "password"),
        ("photo.jpg", b"\xff\xd8\xff\xe0", "JPEG"),
        ("page.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"), "old Word file"),
    ],
)
def test_what_cannot_be_read_says_why(tenant: Tenant, settings: Settings, name: str, data: bytes, reason: str) -> None:
    """A file of another kind fails with a sentence, and leaves no source."""
    outcome = ingest(tenant, settings, name, data)

    assert outcome.status == "failed"
    assert reason in outcome.reason
    assert list_sources(tenant) == []


def test_another_embedder_is_refused(tenant: Tenant, settings: Settings) -> None:
    """Vectors of two models are never mixed, also not by an upload."""
    ingest(tenant, settings, "a.md", b"We open at nine.")
    receive_upload(tenant, "b.md", [b"Bread."], kind="upload", added_by="", most_bytes=MOST)
    taken = take_upload(tenant)
    assert taken

    with taken, pytest.raises(NotReadyError):
        ingest_upload(taken, tenant, HashEmbedder(id="other@2"), settings)


def test_damaged_bytes_are_an_error(tenant: Tenant, settings: Settings) -> None:
    """What was altered while it waited is not read as another text."""
    upload = receive_upload(tenant, "a.md", [b"Bread."], kind="upload", added_by="", most_bytes=MOST)
    path = tenant.uploads_folder / upload.sealed_id
    sealed = path.read_bytes()
    path.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    taken = take_upload(tenant)
    assert taken

    with taken, pytest.raises(DamagedError):
        ingest_upload(taken, tenant, EMBEDDER, settings)


def test_a_large_upload_gives_way_and_can_be_stopped(tenant: Tenant, settings: Settings) -> None:
    """Others get their turn every few chunks, and a stop is heeded there; no thread and no process is left."""
    text = "".join(f"Paragraph {number} is about bread number {number}.\n\n" for number in range(8_000))
    receive_upload(tenant, "long.txt", [text.encode()], kind="upload", added_by="", most_bytes=MOST)
    taken = take_upload(tenant)
    assert taken
    calls = 0

    def give_way() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise Stopped

    started = time.monotonic()
    with taken, pytest.raises(Stopped):
        ingest_upload(taken, tenant, EMBEDDER, settings, give_way=give_way)

    assert time.monotonic() - started < 60
    assert list_documents(tenant) == []
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("ruma-")] == []


class Descriptors(threading.Thread):
    """Looks every few milliseconds at the files that this process and its children have open."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.before = self._unnamed()  # pytest keeps what is printed in such files
        self.unnamed: set[str] = set()

    def run(self) -> None:
        """Keep the names of files that are on a disk and have no name any more."""
        while not self.ended.wait(0.002):
            self.unnamed |= self._unnamed() - self.before

    def _unnamed(self) -> set[str]:
        return set().union(*map(unnamed_files, self._processes()))

    def _processes(self) -> Iterator[str]:
        yield "self"
        for task in Path("/proc/self/task").glob("*/children"):
            try:
                yield from task.read_text().split()
            except OSError:
                continue


@pytest.mark.parametrize("megabytes", [5, 50])
def test_a30_no_plaintext_file_while_a_file_is_handed_over_and_read(
    tenant: Tenant, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, megabytes: int
) -> None:
    """Neither in the temporary folder, nor in the working folder, nor as a file without a name: only in memory."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "temporary")
    [word] = make_canaries(1)
    line = f"{word} is on every line of it.\n".encode()
    block = line * (64 * 1024 // len(line))
    count = megabytes * 1_000_000 // len(block)
    looking = Descriptors()
    looking.start()
    try:
        receive_upload(
            tenant, f"{word}.json", (block for _ in range(count)), kind="upload", added_by="", most_bytes=MOST
        )
        after = find_plaintext([tmp_path, Path("/dev/shm")], [word])
        taken = take_upload(tenant)
        assert taken
        with taken:
            outcome = ingest_upload(taken, tenant, EMBEDDER, settings)
    finally:
        looking.ended.set()
        looking.join()

    assert outcome.status == "failed"  # a kind that is not read: embedding 50 MB is not what is looked at
    assert after == {}
    assert find_plaintext([tmp_path, Path("/dev/shm")], [word]) == {}
    assert looking.unnamed == set()
    # The controls: the same searches find what is planted.
    with tempfile.TemporaryFile():
        assert looking._unnamed() - looking.before
    (tmp_path / "temporary" / "planted").write_bytes(block)
    assert find_plaintext([tmp_path], [word])
