import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruma.config import Settings
from ruma.errors import InputError, NotReadyError, StoreError
from ruma.ingest import stages
from ruma.ingest.pipeline import Outcome, ingest_sources
from ruma.ingest.sources import read_item
from ruma.models.vectors import Passage, PassageVectors
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents, read_document, read_original_of
from ruma.tenant.knowledge.index import count_chunks, search_words
from ruma.tenant.knowledge.sources import list_sources
from ruma.tenant.tenant import Tenant
from tests.fakes import HashEmbedder
from tests.harness.disk import on_small_disk
from tests.harness.needs import needs

EMBEDDER = HashEmbedder()


def ingest(tenant: Tenant, settings: Settings, *locations: Path | str, **options: Any) -> dict[str, Outcome]:
    """Ingest to the end, and return the outcomes by name."""
    embedder = options.pop("embedder", EMBEDDER)
    outcomes = list(ingest_sources([str(one) for one in locations], tenant, embedder, settings, **options))
    return {outcome.name: outcome for outcome in outcomes}


def statuses(outcomes: dict[str, Outcome]) -> dict[str, str]:
    """Return the status of each name."""
    return {name: outcome.status for name, outcome in outcomes.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of three documents."""
    folder = tmp_path / "shop"
    (folder / "sub").mkdir(parents=True)
    (folder / "hours.md").write_text("# Hours\n\nWe open at nine.\n")
    (folder / "prices.csv").write_text("Product,Price\nRye,4.80\n")
    (folder / "sub" / "about.txt").write_text("We bake bread since 1911.\n")
    return folder


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Assert that a test leaves no thread and no process behind, however it ended its ingest."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text()
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("ruma-")] == []
    assert children.read_text() == before


def test_a_folder_becomes_documents(tenant: Tenant, settings: Settings, folder: Path) -> None:
    """Each is stored whole, can be found, and gives its original back; progress ends at the end."""
    outcomes = ingest(tenant, settings, folder)

    assert statuses(outcomes) == {"hours.md": "added", "prices.csv": "added", "sub/about.txt": "added"}
    assert sorted(outcome.done for outcome in outcomes.values()) == [1, 2, 3]
    assert {outcome.total for outcome in outcomes.values()} == {3}
    assert {outcome.source for outcome in outcomes.values()} == {str(folder)}
    found = {info.name: info for info in list_documents(tenant)}
    document = read_document(tenant, found["hours.md"].id)
    assert (document.title, document.text) == ("Hours", "Hours\n\nWe open at nine.")
    assert b"".join(read_original_of(tenant, found["prices.csv"].id)) == (folder / "prices.csv").read_bytes()
    assert len(search_words(tenant, ["rye"], 5)) == 1


def test_only_what_changed_is_read_again(tenant: Tenant, settings: Settings, folder: Path) -> None:
    """The same bytes are skipped, others replace the document whole, and `reindex` reads all."""
    ingest(tenant, settings, folder)
    (folder / "hours.md").write_text("# Hours\n\nWe open at eleven.\n")

    again = statuses(ingest(tenant, settings, folder))
    all_again = statuses(ingest(tenant, settings, folder, reindex=True))

    assert again == {"hours.md": "changed", "prices.csv": "unchanged", "sub/about.txt": "unchanged"}
    assert set(all_again.values()) == {"changed"}
    assert search_words(tenant, ["nine"], 5) == []
    assert len(list_documents(tenant)) == len(list(tenant.files_folder.iterdir())) == 3
    assert len(list_sources(tenant)) == 1


def test_a_better_reader_reads_again(
    tenant: Tenant, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unchanged bytes are not enough: the version of the reader counts."""
    ingest(tenant, settings, folder)
    monkeypatch.setattr(stages, "READER", "next")

    assert set(statuses(ingest(tenant, settings, folder)).values()) == {"changed"}


def test_what_is_gone_is_removed_only_when_asked(tenant: Tenant, settings: Settings, folder: Path) -> None:
    """A file that went away stays in the answers until `remove_missing`; other sources are not touched."""
    ingest(tenant, settings, folder, folder / "sub" / "about.txt")
    (folder / "hours.md").unlink()
    (folder / "sub" / "about.txt").unlink()

    assert "hours.md" not in statuses(ingest(tenant, settings, folder))
    outcomes = statuses(ingest(tenant, settings, folder, remove_missing=True))

    assert outcomes == {"hours.md": "removed", "sub/about.txt": "removed", "prices.csv": "unchanged"}
    assert sorted(info.name for info in list_documents(tenant)) == ["about.txt", "prices.csv"]


def test_a_folder_that_cannot_be_seen_removes_nothing(tenant: Tenant, settings: Settings, folder: Path) -> None:
    """A folder that is not there, or not readable, may be a disk that is not mounted."""
    ingest(tenant, settings, folder)
    away = folder.rename(folder.with_name("away"))

    with pytest.raises(InputError, match="no file or folder"):
        ingest(tenant, settings, folder, remove_missing=True)

    assert len(list_documents(tenant)) == 3
    away.rename(folder)


def test_an_unreadable_part_of_a_folder_removes_nothing_of_it(
    tenant: Tenant, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what could not be listed nothing is known; what is gone from the rest goes."""
    ingest(tenant, settings, folder)
    (folder / "hours.md").unlink()
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if path == str(folder / "sub"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    # Root, which many tests run as, may list any folder.
    monkeypatch.setattr(os, "scandir", refusing)
    outcomes = ingest(tenant, settings, folder, remove_missing=True)

    assert outcomes["sub"].reason == "is a folder that cannot be read: Permission denied."
    assert sorted(info.name for info in list_documents(tenant)) == ["prices.csv", "sub/about.txt"]


def test_bad_files_fail_with_a_reason_and_the_others_are_stored(
    tenant: Tenant, settings: Settings, folder: Path
) -> None:
    """Empty, binary, wrongly named, encrypted in form, too large and unreadable: a sentence each."""
    (folder / "empty.md").write_bytes(b"")
    (folder / "binary.txt").write_bytes(bytes(range(256)) * 20)
    (folder / "letter.pdf").write_text("just text")
    (folder / "page.pdf").write_text("<!doctype html><h1>Page</h1><p>It is HTML.</p>")
    (folder / "table.xlsx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"))
    (folder / "big.txt").write_bytes(b"x" * 2_000_001)
    os.mkfifo(folder / "pipe")
    small = Settings(home=settings.home, max_file_mb=2)

    outcomes = ingest(tenant, small, folder)

    failed = {name: outcome.reason for name, outcome in outcomes.items() if outcome.status == "failed"}
    assert set(failed) == {"empty.md", "binary.txt", "letter.pdf", "table.xlsx", "big.txt", "pipe"}
    assert failed["empty.md"] == "is empty."
    assert "max_file_mb allows 2" in failed["big.txt"]
    assert "password" in failed["table.xlsx"]
    assert all(reason.endswith(".") for reason in failed.values())
    assert outcomes["page.pdf"].status == "added"
    assert len(list_documents(tenant)) == 4


def test_a_document_that_cannot_be_read_again_keeps_its_old_text(
    tenant: Tenant, settings: Settings, folder: Path
) -> None:
    """A broken new version does not take the good one away, and says so."""
    ingest(tenant, settings, folder)
    (folder / "hours.md").write_bytes(b"\0\1\2" * 100)

    outcome = ingest(tenant, settings, folder, remove_missing=True)["hours.md"]

    assert outcome.status == "failed"
    assert outcome.reason.endswith("What was stored of it before is kept.")
    assert len(search_words(tenant, ["nine"], 5)) == 1


def test_a_source_of_nothing_is_not_recorded(tenant: Tenant, settings: Settings, tmp_path: Path) -> None:
    """A mistaken file name leaves no empty source behind."""
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")

    assert statuses(ingest(tenant, settings, tmp_path / "photo.jpg")) == {"photo.jpg": "failed"}
    assert list_sources(tenant) == []


def test_text_on_standard_input_is_a_document(tenant: Tenant, settings: Settings) -> None:
    """It has a name, and another text of that name replaces it."""
    first = ingest(tenant, settings, "-", standard_input=b"# Notes\n\nBread is fresh.", text_name="notes.md")
    second = ingest(tenant, settings, "-", standard_input=b"# Notes\n\nCake is fresh.", text_name="notes.md")

    assert (statuses(first), statuses(second)) == ({"notes.md": "added"}, {"notes.md": "changed"})
    assert [source.kind for source in list_sources(tenant)] == ["text"]
    assert search_words(tenant, ["bread"], 5) == []


def test_the_same_content_under_two_names_is_two_documents(tenant: Tenant, settings: Settings, folder: Path) -> None:
    """Copies are allowed; a location given twice is read once."""
    (folder / "copy.md").write_bytes((folder / "hours.md").read_bytes())

    assert len(ingest(tenant, settings, folder, folder)) == 4
    assert len(search_words(tenant, ["nine"], 5)) == 2


def test_another_embedder_is_an_error_before_anything_is_read(tenant: Tenant, settings: Settings, folder: Path) -> None:
    """Vectors of two models are never mixed; reindexing replaces them."""
    ingest(tenant, settings, folder)
    other = HashEmbedder(dimension=32, id="other@1")

    with pytest.raises(NotReadyError):
        ingest_sources([str(folder)], tenant, other, settings)
    assert set(statuses(ingest(tenant, settings, folder, embedder=other, reindex=True)).values()) == {"added"}


class WatchingEmbedder(HashEmbedder):
    """Counts the passages of each call, gives all the same vector, and can fail at a call."""

    def __init__(self, fail_at: int = 0) -> None:
        """Fail at a call, or never."""
        super().__init__(dimension=8)
        self.calls: list[int] = []
        self.fail_at = fail_at

    def embed_passages(self, passages: Sequence[Passage]) -> list[PassageVectors]:
        """Return the vectors."""
        self.calls.append(len(passages))
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        vector = np.full(8, 8**-0.5, np.float32)
        return [PassageVectors(vector, vector, np.tile(vector, (len(one.sentences), 1))) for one in passages]


def test_documents_are_embedded_together(tenant: Tenant, settings: Settings, tmp_path: Path) -> None:
    """Many small documents make few batches."""
    for number in range(80):
        (tmp_path / f"{number}.txt").write_text(f"Document number {number}.")
    embedder = WatchingEmbedder()

    ingest(tenant, settings, tmp_path, embedder=embedder)

    assert sum(embedder.calls) == 80
    assert len(embedder.calls) < 30


def test_closing_early_keeps_what_was_acknowledged(tenant: Tenant, settings: Settings, tmp_path: Path) -> None:
    """Every outcome that was seen is stored; running it again does only the rest."""
    for number in range(40):
        (tmp_path / f"{number:02}.md").write_text("\n\n".join(f"# {part}\n\nPart {part}." for part in range(20)))
    seen = []
    with closing(ingest_sources([str(tmp_path)], tenant, WatchingEmbedder(), settings)) as outcomes:  # type: ignore[type-var]
        for outcome in outcomes:
            seen.append(outcome.name)
            if len(seen) == 5:
                break

    stored = {info.name for info in list_documents(tenant)}
    assert set(seen) <= stored
    assert len(stored) < 40
    again = statuses(ingest(tenant, settings, tmp_path, embedder=WatchingEmbedder()))
    assert {name for name, status in again.items() if status == "unchanged"} == stored
    assert len(list_documents(tenant)) == 40


def test_an_interrupt_while_embedding_leaves_no_half_state(tenant: Tenant, settings: Settings, tmp_path: Path) -> None:
    """Ctrl-C is the caller's; documents stored before stay, the ones in hand are not there at all."""
    for number in range(30):
        (tmp_path / f"{number:02}.md").write_text("\n\n".join(f"# {part}\n\nPart {part}." for part in range(20)))

    with pytest.raises(KeyboardInterrupt):
        ingest(tenant, settings, tmp_path, embedder=WatchingEmbedder(fail_at=2))

    documents = list_documents(tenant)
    assert all(info.chunks == 20 for info in documents)
    assert count_chunks(tenant) == 20 * len(documents)
    assert len(list(tenant.files_folder.iterdir())) == len(documents)


def test_a_store_error_ends_the_run_and_keeps_what_is_stored(
    tenant: Tenant, settings: Settings, tmp_path: Path
) -> None:
    """A broken store is no document's fault: the error comes out, at once."""
    for number in range(40):
        (tmp_path / f"{number:02}.txt").write_text(f"Document number {number}.")
    seen = []

    with pytest.raises((StoreError, OSError)):  # noqa: PT012
        for outcome in ingest_sources([str(tmp_path)], tenant, WatchingEmbedder(), settings):
            seen.append(outcome.name)
            if len(seen) == 1:
                tenant.files_folder.rename(tenant.folder / "away")
                tenant.files_folder.write_text("")

    tenant.files_folder.unlink()
    (tenant.folder / "away").rename(tenant.files_folder)
    stored = {info.name for info in list_documents(tenant)}
    assert set(seen) <= stored
    assert len(stored) < 40


def test_memory_between_reading_and_storing_is_bounded(
    tenant: Tenant, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading waits for storing: one large document at a time, however many there are."""
    monkeypatch.setattr(stages, "IN_WORK_BYTES", 1)
    monkeypatch.setattr("ruma.ingest.pipeline.IN_WORK_BYTES", 1)
    most = 0
    in_work = 0

    class Counting(stages.Budget):
        def take(self, amount: int) -> None:
            nonlocal in_work, most
            super().take(amount)
            in_work += 1
            most = max(most, in_work)

        def give_back(self, amount: int) -> None:
            nonlocal in_work
            in_work -= 1
            super().give_back(amount)

    monkeypatch.setattr("ruma.ingest.pipeline.Budget", Counting)
    for number in range(10):
        (tmp_path / f"{number}.txt").write_text("Words. " * 100)

    assert len(ingest(tenant, settings, tmp_path)) == 10
    assert most == 1


def test_two_ingests_at_once_store_each_document_once(settings: Settings, folder: Path) -> None:
    """They may do the same work twice, but the tenant has one of each, and neither fails."""
    home = Home(settings)
    home.create("acme")
    for number in range(20):
        (folder / f"{number}.txt").write_text(f"Document number {number}.")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with home.open("acme") as tenant:
                ingest(tenant, settings, folder)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with home.open("acme") as tenant:
        assert len(list_documents(tenant)) == len(list(tenant.files_folder.iterdir())) == 23
        assert len(list_sources(tenant)) == 1


RUN = """
import sys
from ruma.config import load_settings
from ruma.ingest.pipeline import ingest_sources
from ruma.tenant.home import Home
from tests.fakes import HashEmbedder
settings = load_settings()
home = Home(settings)
if "acme" not in home.names():
    home.create("acme")
with home.open("acme") as tenant:
    for outcome in ingest_sources(sys.argv[1:], tenant, HashEmbedder(), settings):
        print(outcome.status, outcome.name, flush=True)
"""


def environ_of(home: Path) -> dict[str, str]:
    """Return the environment of a command with a home of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHON_KEYRING_BACKEND") if name in os.environ}
    return {**kept, "RUMA_HOME": str(home), "RUMA_KEY_SOURCE": "machine", "PYTHONPATH": str(Path(__file__).parents[1])}


@pytest.mark.parametrize("after", [0.0, 0.2, 0.6])
def test_ctrl_c_at_any_moment_leaves_nothing_running(tmp_path: Path, after: float) -> None:
    """The command ends soon, no process is left, and what it acknowledged is there."""
    shop, home = tmp_path / "shop", tmp_path / "home"
    shop.mkdir()
    for number in range(150):
        (shop / f"{number}.md").write_text("\n\n".join(f"# {part}\n\nPart {part}." for part in range(10)))
    command = [sys.executable, "-c", RUN, str(shop)]
    with subprocess.Popen(
        command, env=environ_of(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        first = run.stdout.readline() if after else ""
        time.sleep(after)
        run.send_signal(signal.SIGINT)
        started = time.monotonic()
        rest, _ = run.communicate(timeout=30)
    taken = time.monotonic() - started

    assert taken < 10
    acknowledged = {line.split()[1] for line in (first + rest).splitlines()}
    children = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(shop) not in children
    if acknowledged:
        with Home(Settings(home=home, key_source="machine")).open("acme") as tenant:
            assert acknowledged <= {info.name for info in list_documents(tenant)}


@needs("userns")
def test_a_full_disk_is_an_error_that_keeps_what_was_stored(tmp_path: Path) -> None:
    """The run ends with a sentence; in the same space the tenant opens, and its documents are whole."""
    shop, home = tmp_path / "shop", tmp_path / "home"
    shop.mkdir()
    for number in range(60):
        (shop / f"{number:02}.txt").write_bytes(os.urandom(30_000).hex().encode() + b" words to read.\n")
    check = (
        "from ruma.config import load_settings\nfrom ruma.tenant.home import Home\n"
        "from ruma.tenant.knowledge.documents import list_documents, read_document\n"
        "with Home(load_settings()).open('acme') as tenant:\n"
        "    for info in list_documents(tenant):\n        print('stored', read_document(tenant, info.id).name)\n"
    )
    script = '"$1" -c "$2" "$4"; "$1" -c "$3"'

    run = on_small_disk(
        ["sh", "-c", script, "sh", sys.executable, RUN, check, str(shop)], home, "6m", env=environ_of(home)
    )

    lines = [line.split() for line in run.stdout.splitlines()]
    added = {name for status, name in lines if status == "added"}
    stored = {name for status, name in lines if status == "stored"}
    assert "DiskFullError" in run.stderr, run.stderr
    assert "full" in run.stderr
    assert added
    assert added <= stored
    assert len(stored) < 60


def test_an_item_is_read_once(
    tenant: Tenant, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is hashed, what is parsed and what is kept are the same bytes."""
    read: list[str] = []

    def counting(item: Any, most: int) -> bytes:
        read.append(item.name)
        return read_item(item, most)

    monkeypatch.setattr(stages, "read_item", counting)

    ingest(tenant, settings, folder)

    assert sorted(read) == ["hours.md", "prices.csv", "sub/about.txt"]
