import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.ingest.jobs import UploadWorker
from ruma.models.vectors import Passage, PassageVectors
from ruma.tenant.background import NICENESS
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents
from ruma.tenant.knowledge.uploads import find_upload, list_uploads, receive_upload, take_upload
from ruma.tenant.locked_files import lock_file
from ruma.tenant.tenant import Tenant
from tests.fakes import HashEmbedder


class WatchedEmbedder(HashEmbedder):
    """Remembers what it embedded and how the thread stood, and can hold everything up or fail."""

    def __init__(self) -> None:
        """Set up."""
        super().__init__()
        self.texts: list[str] = []
        self.niceness: set[int] = set()
        self.hold: threading.Event | None = None
        self.failing = 0

    def embed_passages(self, passages: Sequence[Passage]) -> list[PassageVectors]:
        """Embed, as told."""
        self.niceness.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        self.texts += [passage.text for passage in passages]
        if self.hold:
            self.hold.wait(10)
        if self.failing:
            self.failing -= 1
            raise RuntimeError("a bug")
        return super().embed_passages(passages)


@pytest.fixture
def home(settings: Settings) -> Home:
    """Return a home with two tenants."""
    home = Home(settings)
    home.create("acme")
    home.create("globex")
    return home


@pytest.fixture
def tenants(home: Home) -> Iterator[dict[str, Tenant]]:
    """Return the open tenants by name."""
    found = {name: home.open(name) for name in home.names()}
    yield found
    for tenant in found.values():
        tenant.close()


@pytest.fixture
def embedder() -> WatchedEmbedder:
    """Return an embedder that is watched."""
    return WatchedEmbedder()


@pytest.fixture
def worker(settings: Settings, tenants: dict[str, Tenant], embedder: WatchedEmbedder) -> Iterator[UploadWorker]:
    """Return a worker that is not started yet, and stop it in the end."""
    worker = UploadWorker(settings, lambda name: tenants[name], lambda: embedder)
    yield worker
    if embedder.hold:
        embedder.hold.set()
    worker.stop()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("ruma-")] == []


def hand_over(tenant: Tenant, name: str, text: str = "") -> int:
    """Hand over a text as a file, and return its number."""
    blocks = [(text or f"The file {name} says so.").encode()]
    return receive_upload(tenant, name, blocks, kind="upload", added_by="Ada", most_bytes=10_000_000).id


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)


def test_an_upload_is_read_when_it_is_told_of(worker: UploadWorker, tenants: dict[str, Tenant]) -> None:
    """Nothing is polled: what nobody told of waits, and what was told of is a document soon."""
    worker.start()
    number = hand_over(tenants["acme"], "a.md")
    time.sleep(0.3)
    assert find_upload(tenants["acme"], number).state == "waiting"

    worker.notify("acme")

    wait_for(lambda: find_upload(tenants["acme"], number).state == "done")
    [document] = list_documents(tenants["acme"])
    assert (document.name, document.id) == ("a.md", find_upload(tenants["acme"], number).document_id)


def children() -> set[str]:
    """Return the numbers of the processes that this one has started and that are there yet."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_one_process_reads_the_uploads_until_none_come(
    settings: Settings, tenants: dict[str, Tenant], embedder: WatchedEmbedder
) -> None:
    """The parser process stays for the next upload, of whichever tenant, and goes after a while without any."""
    before = children()
    worker = UploadWorker(settings, lambda name: tenants[name], lambda: embedder, idle_seconds=3)
    worker.start()
    seen = []
    for name in ("acme", "globex"):
        number = hand_over(tenants[name], "a.md")
        worker.notify(name)
        wait_for(lambda name=name, number=number: find_upload(tenants[name], number).state == "done")
        seen.append(children() - before)

    assert len(seen[0]) == 1
    assert seen[0] == seen[1]
    wait_for(lambda: children() == before)
    worker.stop()


def test_what_waited_before_the_start_is_read(worker: UploadWorker, home: Home, tenants: dict[str, Tenant]) -> None:
    """After a restart it goes on with what waited and with what was being read when the server ended."""
    waiting, interrupted = hand_over(tenants["acme"], "a.md"), hand_over(tenants["globex"], "b.md")
    taken = take_upload(tenants["globex"])
    assert taken
    taken.release()
    assert find_upload(tenants["globex"], interrupted).state == "reading"

    worker.start(home.names())

    wait_for(lambda: find_upload(tenants["acme"], waiting).state == "done")
    wait_for(lambda: find_upload(tenants["globex"], interrupted).state == "done")


def test_tenants_take_turns(worker: UploadWorker, tenants: dict[str, Tenant], embedder: WatchedEmbedder) -> None:
    """One tenant's forty files do not keep another's one file waiting."""
    for number in range(12):
        hand_over(tenants["acme"], f"a{number}.md")
    small = hand_over(tenants["globex"], "b.md")
    worker.notify("acme")
    worker.notify("globex")

    worker.start()

    wait_for(lambda: find_upload(tenants["globex"], small).state == "done")
    assert sum("The file a" in text for text in embedder.texts) <= 3
    wait_for(lambda: not list_uploads(tenants["acme"]))


def test_an_upload_that_is_sealed_anew_is_read_right_after(
    worker: UploadWorker, tenants: dict[str, Tenant], embedder: WatchedEmbedder
) -> None:
    """While its file is locked it cannot be taken; then it is read without anyone's telling."""
    number = hand_over(tenants["acme"], "a.md")
    lock = lock_file(tenants["acme"].uploads_folder / find_upload(tenants["acme"], number).sealed_id)
    assert lock is not None
    worker.start(["acme"])
    time.sleep(0.5)  # it was looked at
    assert find_upload(tenants["acme"], number).state == "waiting"
    os.close(lock)

    wait_for(lambda: find_upload(tenants["acme"], number).state == "done")


def test_a_failure_is_noted_and_the_next_is_read(
    worker: UploadWorker, tenants: dict[str, Tenant], embedder: WatchedEmbedder
) -> None:
    """A file that cannot be read, and a bug of ours, each cost one upload and say so."""
    broken = hand_over(tenants["acme"], "broken.pdf", "no PDF")
    embedder.failing = 1
    unlucky = hand_over(tenants["acme"], "unlucky.md")
    good = hand_over(tenants["acme"], "good.md")
    worker.start()

    worker.notify("acme")

    wait_for(lambda: find_upload(tenants["acme"], good).state == "done")
    assert find_upload(tenants["acme"], broken).reason.startswith("is named .pdf but holds plain text")
    assert find_upload(tenants["acme"], unlucky).reason == "could not be read: something went wrong in Ruma itself."


def test_a_full_disk_names_no_path_to_members(
    worker: UploadWorker, tenants: dict[str, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where on the machine it happened is the operator's business; the upload can be tried again."""
    from ruma.errors import StoreError
    from ruma.ingest import stages

    def full(*_: object, **__: object) -> int:
        raise StoreError("The disk is full: /srv/secret cannot be written.")

    monkeypatch.setattr(stages, "store_document", full)
    number = hand_over(tenants["acme"], "a.md")
    worker.start()
    worker.notify("acme")

    wait_for(lambda: find_upload(tenants["acme"], number).state == "failed")

    assert find_upload(tenants["acme"], number).reason.startswith("could not be stored: the disk")
    assert "secret" not in find_upload(tenants["acme"], number).reason


def test_a_stop_is_heeded_at_once(worker: UploadWorker, tenants: dict[str, Tenant], embedder: WatchedEmbedder) -> None:
    """In the middle of a long file it ends long before the file would, which waits to be read from its start."""
    text = "".join(f"Paragraph {number} is about bread number {number}.\n\n" for number in range(2_500))
    number = hand_over(tenants["acme"], "long.md", text)
    worker.start()
    worker.notify("acme")
    wait_for(lambda: len(embedder.texts) > 64)

    started = time.monotonic()
    worker.stop()

    assert time.monotonic() - started < 15
    assert find_upload(tenants["acme"], number).state == "waiting"
    assert list_documents(tenants["acme"]) == []


def test_a_removed_tenant_ends_nothing(
    worker: UploadWorker, tenants: dict[str, Tenant], embedder: WatchedEmbedder
) -> None:
    """When a tenant's directory goes in the middle of its file, the others' are read, and none comes back."""
    embedder.hold = threading.Event()
    hand_over(tenants["acme"], "a.md")
    worker.start()
    worker.notify("acme")
    wait_for(lambda: embedder.texts)

    shutil.rmtree(tenants["acme"].folder)
    embedder.hold.set()
    number = hand_over(tenants["globex"], "b.md")
    worker.notify("globex")

    wait_for(lambda: find_upload(tenants["globex"], number).state == "done")
    assert not Path(tenants["acme"].folder).exists()


def test_the_worker_stands_back(settings: Settings, tenants: dict[str, Tenant], embedder: WatchedEmbedder) -> None:
    """Its threads have a lower priority, and it waits between chunks while somebody waits for an answer."""
    asked: list[float] = []

    def is_busy() -> bool:
        asked.append(time.monotonic())
        return len(asked) < 5

    worker = UploadWorker(settings, lambda name: tenants[name], lambda: embedder, is_busy)
    number = hand_over(tenants["acme"], "a.md")
    worker.notify("acme")
    worker.start()
    wait_for(lambda: find_upload(tenants["acme"], number).state == "done")
    worker.stop()

    assert embedder.niceness == {NICENESS}
    assert asked[4] - asked[0] >= 0.15


def test_a_worker_that_was_never_started_stops(settings: Settings) -> None:
    """A server that fails at its start can still close."""
    UploadWorker(settings, Home(settings).open, HashEmbedder).stop()
