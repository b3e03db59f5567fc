"""One ingest: read, split, embed and store documents, and say of each what became of it.

Reading runs in a thread (and the parser in its process), storing in another, embedding here: in the thread of
whoever takes the outcomes. Closing the iterator, at any moment, loses no more than the documents in hand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from ruma.config import Settings
from ruma.errors import HeldError
from ruma.ingest.addresses import is_web_address
from ruma.ingest.pairs import restore_pairs
from ruma.ingest.reading import Reader
from ruma.ingest.sources import Listing, find_items
from ruma.ingest.stages import (
    IN_WORK_BYTES,
    Budget,
    Inbox,
    ReadingThread,
    Result,
    Split,
    Status,
    StoringThread,
    Target,
)
from ruma.ingest.webpages import find_pages
from ruma.models.vectors import Embedder, PassageVectors
from ruma.tenant.erasing.erasure import finish_erasure
from ruma.tenant.erasing.erasures import erase
from ruma.tenant.knowledge.documents import check_embedder, start_reindex, stored_states
from ruma.tenant.knowledge.pairs import all_pairs
from ruma.tenant.knowledge.sources import source_id_of
from ruma.tenant.tenant import Tenant

WINDOW = 256
"""Chunks that are embedded together: sorted by length, they waste less than those of one document would."""

SMALL_WINDOW = 32
"""Chunks that are embedded at once where others wait for the embedder too: about half a second of its time."""

GiveWay = Callable[[], None]

_GATHER_SECONDS = 0.05
_LOOK_UP_SECONDS = 0.5


@dataclass(frozen=True)
class Outcome:
    """What became of one document."""

    name: str
    status: Status
    reason: str = ""
    """Why it failed; it continues the sentence that begins with the name."""

    chunks: int = 0
    source: str = ""
    done: int = 0
    """Documents so far, this one with them."""

    total: int = 0
    """Documents that were found."""


def ingest_sources(
    locations: Sequence[str],
    tenant: Tenant,
    embedder: Embedder,
    settings: Settings,
    *,
    remove_missing: bool = False,
    reindex: bool = False,
    standard_input: bytes | None = None,
    text_name: str = "",
    whole_sites: bool = False,
) -> Iterator[Outcome]:
    """Return the outcomes of ingesting files, folders and web pages, one a document, as soon as it is stored.

    What can fail predictably fails before this returns: a location that is not there, another embedder.

    Args:
        remove_missing: Remove the stored documents that are not in their folder, or on the web, any more.
        reindex: Read all again, and allow another embedder than the one that made the stored vectors.
        standard_input: The text of the location "-".
        text_name: What that text is called; a suffix says its format.
        whole_sites: Read not only the pages of web addresses, but the websites that they belong to.

    Raises:
        InputError: A location is not there, or cannot be read.
        NotReadyError: Another embedder made the tenant's vectors, and `reindex` was not asked for.
        StoreError: The tenant's database cannot be used.
    """
    listings: dict[tuple[str, str], Listing] = {}
    for location in locations:
        if is_web_address(location):
            listing = find_pages(location, tenant, settings, is_site=whole_sites)
        else:
            listing = find_items(location, standard_input=standard_input, text_name=text_name, home=settings.home)
        listings[listing.kind, listing.location] = listing
    if reindex:
        # Pairs have no file that they could be read from again.
        pairs = all_pairs(tenant)
        start_reindex(tenant, embedder.id)
        restore_pairs(pairs, tenant, embedder)
    else:
        check_embedder(tenant, embedder.id)
    targets = [_find_target(listing, tenant) for listing in listings.values()]
    return _run(targets, tenant, embedder, settings, remove_missing=remove_missing, reindex=reindex)


def ingest_listing(
    listing: Listing,
    tenant: Tenant,
    embedder: Embedder,
    settings: Settings,
    *,
    remove_missing: bool = False,
    give_way: GiveWay | None = None,
    reader: Reader | None = None,
) -> Iterator[Outcome]:
    """Return the outcomes of ingesting what was found elsewhere, beside other work.

    Args:
        remove_missing: Remove the stored documents that are not there any more.
        give_way: Called often, between two steps that take a moment; it may wait, and ends the ingest by raising.
        reader: What reads the documents, and is left open, unless the ingest ends before all are read. Its process
            is started in the calling thread, and ends with that. Without it, the ingest has one of its own.

    Raises:
        NotReadyError: Another embedder made the tenant's vectors.
        StoreError: The tenant's database cannot be used.
    """
    check_embedder(tenant, embedder.id)
    return _run(
        [_find_target(listing, tenant)],
        tenant,
        embedder,
        settings,
        remove_missing=remove_missing,
        give_way=give_way,
        reader=reader,
    )


def _find_target(listing: Listing, tenant: Tenant) -> Target:
    source_id = source_id_of(tenant, listing.kind, listing.location)
    return Target(listing, {} if source_id is None else stored_states(tenant, source_id), source_id)


def _run(
    targets: Sequence[Target],
    tenant: Tenant,
    embedder: Embedder,
    settings: Settings,
    *,
    remove_missing: bool = False,
    reindex: bool = False,
    give_way: GiveWay | None = None,
    reader: Reader | None = None,
) -> Iterator[Outcome]:
    inbox: Inbox = SimpleQueue()
    budget = Budget(IN_WORK_BYTES)
    most_bytes = settings.max_file_mb * 1_000_000
    if reader:
        reader.start()
    reading = ReadingThread(targets, inbox, budget, embedder, most_bytes=most_bytes, again=reindex, reader=reader)
    storing = StoringThread(tenant, embedder.id, inbox, budget)
    done = 0
    has_replaced = False
    try:
        reading.start()
        storing.start()
        for result in _embed(inbox, storing, embedder, give_way):
            done += 1
            has_replaced |= result.status == "changed"
            yield _outcome(result, done, max(done, sum(target.listing.count for target in targets)))
    finally:
        for thread in (reading, storing):
            if thread.ident is not None:
                thread.stop()
        for thread in (reading, storing):
            if thread.ident is not None:
                thread.join()
    for target in targets:
        if target.listing.note:
            yield Outcome(
                target.listing.location, "failed", target.listing.note, 0, target.listing.location, done, done
            )
    if has_replaced:
        finish_erasure(tenant)
    if remove_missing:
        yield from _remove_missing(targets, tenant, done)


def _embed(inbox: Inbox, storing: StoringThread, embedder: Embedder, give_way: GiveWay | None) -> Iterator[Result]:
    """Give the results as they come, and embed between them what was read."""
    waiting: list[Split] = []
    given, expected = 0, -1  # how many there are is known when all are read
    idle_seconds = _LOOK_UP_SECONDS if give_way else None
    while given != expected:
        try:
            message = inbox.get(timeout=_GATHER_SECONDS if waiting else idle_seconds)
        except Empty:
            if give_way:
                give_way()
            # The next document takes longer to read than waiting for it is worth.
            _embed_waiting(waiting, storing, embedder, give_way)
            continue
        if isinstance(message, BaseException):
            raise message
        if isinstance(message, Result):
            given += 1
            yield message
        elif isinstance(message, Split):
            waiting.append(message)
        else:
            expected = message.count
        if waiting and (expected >= 0 or sum(len(one.chunks) for one in waiting) >= WINDOW):
            _embed_waiting(waiting, storing, embedder, give_way)


def _embed_waiting(waiting: list[Split], storing: StoringThread, embedder: Embedder, give_way: GiveWay | None) -> None:
    passages = [chunk.passage for document in waiting for chunk in document.chunks]
    step = SMALL_WINDOW if give_way else len(passages)
    vectors: list[PassageVectors] = []
    while len(vectors) < len(passages):
        vectors += embedder.embed_passages(passages[len(vectors) : len(vectors) + step])
        if give_way:
            give_way()
    start = 0
    for document in waiting:
        end = start + len(document.chunks)
        storing.put(document, vectors[start:end])
        start = end
    waiting.clear()


def _remove_missing(targets: Sequence[Target], tenant: Tenant, done: int) -> Iterator[Outcome]:
    """Remove what is gone from a folder or from the web."""
    for target in targets:
        for name in filter(target.listing.is_gone, target.states):
            status: Status = "removed"
            reason = ""
            try:
                erase(tenant, "document", [target.states[name].document_id])
            except HeldError as exc:
                status, reason = "failed", str(exc)
            yield Outcome(name, status, reason, source=target.listing.location, done=done, total=done)


def _outcome(result: Result, done: int, total: int) -> Outcome:
    task = result.task
    return Outcome(
        task.item.name, result.status, result.reason, result.chunks, task.target.listing.location, done, total
    )
