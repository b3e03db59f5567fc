"""The two stages of an ingest that run beside embedding: a thread that reads, and one that stores.

Both put what they have into one inbox, errors too, and end as soon as `stop` is set.
"""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Literal

from ruma.errors import HeldError, InputError
from ruma.ingest.reading import READER, Reader
from ruma.ingest.sources import Item, Listing, read_item
from ruma.ingest.splitting import Chunk, split
from ruma.models.vectors import Embedder, PassageVectors
from ruma.tenant.knowledge.documents import NewChunk, NewDocument, StoredState, store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.tenant import Tenant

Status = Literal["added", "changed", "unchanged", "failed", "removed"]

IN_WORK_BYTES = 64_000_000
"""How much may lie between reading and storing, vectors included; one larger document may, alone."""


@dataclass
class Target:
    """A source that documents go to, and what was stored of it before."""

    listing: Listing
    states: Mapping[str, StoredState]
    source_id: int | None = None
    """None until the first of its documents is stored: a source of nothing is not recorded."""


@dataclass(frozen=True)
class Task:
    """One document to read."""

    target: Target
    item: Item


@dataclass(frozen=True)
class Result:
    """What became of a task."""

    task: Task
    status: Status
    reason: str = ""
    chunks: int = 0


@dataclass(frozen=True)
class Split:
    """A document that was read and split, to be embedded next."""

    task: Task
    data: bytes
    content_hash: str
    title: str
    media_type: str
    chunks: Sequence[Chunk]
    weight: int


@dataclass(frozen=True)
class ReadingEnded:
    """Nothing more comes from the reading thread, and how many documents there were."""

    count: int


Message = Result | Split | ReadingEnded | BaseException
Inbox = SimpleQueue[Message]


class Budget:
    """Lets documents in while there is room for them, one always."""

    def __init__(self, limit: int) -> None:
        """Set the room there is."""
        self._limit = limit
        self._used = 0
        self._is_open = True
        self._changed = threading.Condition()

    def take(self, amount: int) -> None:
        """Wait until there is room, and take it."""
        with self._changed:
            while self._is_open and self._used and self._used + amount > self._limit:
                self._changed.wait()
            self._used += amount

    def give_back(self, amount: int) -> None:
        """Make room again."""
        with self._changed:
            self._used -= amount
            self._changed.notify_all()

    def open_wide(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._is_open = False
            self._changed.notify_all()


class ReadingThread(threading.Thread):
    """Reads, parses and splits the documents one after another."""

    def __init__(
        self,
        targets: Sequence[Target],
        inbox: Inbox,
        budget: Budget,
        embedder: Embedder,
        *,
        most_bytes: int,
        again: bool,
        reader: Reader | None = None,
    ) -> None:
        """Set up; `again` reads unchanged documents too. A reader that is lent is closed only by `stop`."""
        super().__init__(name="ruma-reading", daemon=True)
        self._targets = targets
        self._inbox = inbox
        self._budget = budget
        self._embedder = embedder
        self._most_bytes = most_bytes
        self._again = again
        self._stop_asked = threading.Event()
        self._is_lent = reader is not None
        self._reader = reader or Reader()
        self._is_done = False

    def run(self) -> None:
        """Read until the end, or until asked to stop."""
        try:
            count = 0
            for task in self._tasks():
                if self._stop_asked.is_set():
                    return
                message = self._read(task)
                if self._stop_asked.is_set():
                    return
                count += 1
                self._inbox.put(message)
            self._is_done = True
            self._inbox.put(ReadingEnded(count))
        except BaseException as exc:  # the thread has nobody else to tell
            self._inbox.put(exc)
        finally:
            if not self._is_lent:
                self._reader.close()

    def stop(self) -> None:
        """End the thread, whatever it is at, and the parser process if there was more to read."""
        self._stop_asked.set()
        for target in self._targets:
            target.listing.stop()
        if not self._is_done:
            self._reader.close()
        self._budget.open_wide()

    def _tasks(self) -> Iterator[Task]:
        for target in self._targets:
            states = {} if self._again else {name: one for name, one in target.states.items() if one.reader == READER}
            for item in target.listing.each(self._reader, states):
                yield Task(target, item)

    def _read(self, task: Task) -> Result | Split:
        state = task.target.states.get(task.item.name)
        try:
            if task.item.is_unchanged:
                return Result(task, "unchanged")
            data = read_item(task.item, self._most_bytes)
            content_hash = hashlib.sha256(data).hexdigest()
            if state and not self._again and (state.content_hash, state.reader) == (content_hash, READER):
                return Result(task, "unchanged")
            # A title is not a file's name: what stands after a dot in it says nothing of the format.
            name = "" if task.item.title else task.item.file_name or task.item.name
            parsed = self._reader.read(data, name, charset=task.item.charset)
        except InputError as exc:
            kept = " What was stored of it before is kept." if state else ""
            return Result(task, "failed", f"{exc}{kept}")
        parsed = replace(parsed, title=task.item.title or parsed.title)
        chunks = split(parsed, self._embedder)
        vectors = sum(2 + len(chunk.sentences) for chunk in chunks)
        weight = len(data) + 4 * len(parsed.text) + 4 * self._embedder.dimension * vectors
        self._budget.take(weight)
        return Split(task, data, content_hash, parsed.title, parsed.media_type, chunks, weight)


class StoringThread(threading.Thread):
    """Stores the documents that were embedded, each in a transaction of its own."""

    def __init__(self, tenant: Tenant, embedder_id: str, inbox: Inbox, budget: Budget) -> None:
        """Set up."""
        super().__init__(name="ruma-storing", daemon=True)
        self._tenant = tenant
        self._embedder_id = embedder_id
        self._inbox = inbox
        self._budget = budget
        self._waiting: SimpleQueue[tuple[Split, Sequence[PassageVectors]] | None] = SimpleQueue()
        self._stop_asked = threading.Event()

    def put(self, document: Split, vectors: Sequence[PassageVectors]) -> None:
        """Hand over a document."""
        self._waiting.put((document, vectors))

    def stop(self) -> None:
        """End after the document in hand."""
        self._stop_asked.set()
        self._waiting.put(None)

    def run(self) -> None:
        """Store until asked to stop."""
        try:
            while (waiting := self._waiting.get()) is not None and not self._stop_asked.is_set():
                result = self._store(*waiting)
                self._budget.give_back(waiting[0].weight)
                self._inbox.put(result)
                del waiting
        except BaseException as exc:  # the thread has nobody else to tell
            self._inbox.put(exc)

    def _store(self, split_document: Split, vectors: Sequence[PassageVectors]) -> Result:
        task = split_document.task
        target = task.target
        if target.source_id is None:
            target.source_id = add_source(self._tenant, target.listing.kind, target.listing.location).id
        document = NewDocument(
            name=task.item.name,
            title=split_document.title,
            media_type=split_document.media_type,
            content_hash=split_document.content_hash,
            reader=READER,
            size_bytes=len(split_document.data),
            chunks=[_as_new(chunk, one) for chunk, one in zip(split_document.chunks, vectors, strict=True)],
            original=split_document.data,
            etag=task.item.etag,
            last_modified=task.item.last_modified,
        )
        try:
            store_document(self._tenant, target.source_id, document, embedder_id=self._embedder_id)
        except HeldError as exc:
            return Result(task, "failed", f"{exc} What was stored of it before is kept.")
        status: Status = "changed" if task.item.name in target.states else "added"
        return Result(task, status, chunks=len(split_document.chunks))


def _as_new(chunk: Chunk, vectors: PassageVectors) -> NewChunk:
    return NewChunk(
        start=chunk.start,
        end=chunk.end,
        text=chunk.text,
        heading=chunk.heading,
        page=chunk.page,
        sentences=chunk.sentences,
        vector=vectors.passage,
        prefix_vector=vectors.prefix,
        sentence_vectors=vectors.sentences,
    )
