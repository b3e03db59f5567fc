"""What encryption costs: ingest and search on an encrypted tenant against the same with no key, in turns in one run.

The library and every other line are the same; without a key SQLCipher reads and writes plain pages, and the originals
are written as they are. To reach: search at most 1.1 times as long, ingest at most 1.15 times, as people have them:
with reading and embedding. Storing alone is beside it, since that is where all of the difference is. Both the clock's
milliseconds and the processor's are printed: the clock waits for the disk as well, which other programs keep busy.

Run: python -m tests.bench.bench_encryption [CHUNKS] [FOLDER]
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ruma.chat.searching import search
from ruma.config import load_settings
from ruma.ingest.pipeline import ingest_sources
from ruma.models.embedder import Embedder, is_compiled, open_embedder
from ruma.tenant import database
from ruma.tenant.home import Home
from ruma.tenant.keys.keys import Key
from ruma.tenant.knowledge import documents
from ruma.tenant.knowledge.documents import NewDocument, store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.tenant import Tenant
from tests.bench.windows import make_documents, questions
from tests.fakes import HashEmbedder

DATA = Path(__file__).parents[3] / "shared" / "data" / "site-18f-handbook-md" / "files"
ROUNDS = 5
INGESTS = 3

Taken = dict[bool, list[tuple[float, float]]]
"""By whether it was plain: seconds by the clock, and of the processor."""


def main() -> None:
    """Print the milliseconds of storing, of a whole ingest and of searching, encrypted and plain, and their ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else DATA
    print(f"{'':36} {'by the clock, ms':>26}   {'of the processor, ms':>26}")
    print(f"{'':36} {'encrypted':>10} {'plain':>8} ratio   {'encrypted':>10} {'plain':>8} ratio")
    settings = load_settings()
    is_real = is_compiled(settings)
    embedder = open_embedder(settings) if is_real else HashEmbedder(dimension=384)
    with tempfile.TemporaryDirectory() as place:
        made = list(make_documents(embedder, count))
        show(
            f"store {count} chunks, embedded before",
            measure(Path(place), ROUNDS, lambda at: store(at, made, embedder.id)),
        )
        for what, is_fresh in (("warm", False), ("opened anew", True)):
            show(f"search, {what}", search_all(Path(place), embedder, is_fresh=is_fresh))
        if not is_real:
            print("A whole ingest is left out: the embedding model is not compiled in this home.")
        elif folder.is_dir():
            whole = measure(Path(place) / "whole", INGESTS, lambda at: ingest(at, folder, embedder))
            show("ruma ingest, reading and embedding too", whole)


def measure(place: Path, rounds: int, work: Callable[[Path], tuple[float, float]]) -> Taken:
    """Do some work encrypted and plain in turns, each in a new home; once before, so that nothing is new to either."""
    taken: Taken = {True: [], False: []}
    for number in range(rounds + 1):
        for is_plain in (False, True):
            with as_wanted(is_plain):
                took = work(place / f"{number}{is_plain}")
            if number:
                taken[is_plain].append(took)
    return taken


@contextmanager
def as_wanted(is_plain: bool) -> Iterator[None]:
    """Let the database and the originals be plain within the block."""
    patched = ((database, "_connect", connect_plain), (documents, "seal_original", write_plain))
    before = [getattr(module, name) for module, name, _ in patched]
    try:
        for module, name, plain in patched if is_plain else ():
            setattr(module, name, plain)
        yield
    finally:
        for (module, name, _), value in zip(patched, before, strict=True):
            setattr(module, name, value)


def connect_plain(path: Path, key: Key) -> object:
    """Open a file as `database._connect` does, with no key."""
    import sqlcipher3
    from sqlite_utils import Database

    uri = path.absolute().as_uri() + "?mode=rw"
    db = Database(
        sqlcipher3.connect(uri, uri=True, isolation_level=None, timeout=30, check_same_thread=False),
        execute_plugins=False,
    )
    database.pragma(db, "secure_delete=ON")
    return db


def write_plain(blocks: Iterable[bytes], path: Path, key: Key) -> None:
    """Write a file as `seal_original` does, as it is."""
    with path.open("xb", 0) as file:
        for block in blocks:
            file.write(block)
        os.fsync(file.fileno())


def store(place: Path, made: Sequence[NewDocument], embedder_id: str) -> tuple[float, float]:
    """Return how long it takes to store documents in a new home."""
    with opened(place, is_new=True) as tenant:
        source = add_source(tenant, "folder", "/windows")
        started = clocks()
        for document in made:
            store_document(tenant, source.id, document, embedder_id=embedder_id)
        return since(started)


def ingest(place: Path, folder: Path, embedder: Embedder) -> tuple[float, float]:
    """Return how long it takes to ingest a folder into a new home."""
    with opened(place, is_new=True) as tenant:
        started = clocks()
        for _ in ingest_sources([str(folder)], tenant, embedder, load_settings({"home": place})):
            pass
        return since(started)


def search_all(place: Path, embedder: Embedder, *, is_fresh: bool) -> Taken:
    """Return how long a search takes, encrypted and plain in turns; *is_fresh* opens the tenant for each round."""
    taken: Taken = {True: [], False: []}
    asked = questions("squad2-dev", 40)
    for _ in range(ROUNDS):
        for is_plain in (False, True):
            with as_wanted(is_plain), opened(place / f"0{is_plain}") as tenant:
                if not is_fresh:
                    for text in asked:
                        search(text, tenant, embedder)
                started = clocks()
                for text in asked:
                    search(text, tenant, embedder)
                clock, processor = since(started)
                taken[is_plain].append((clock / len(asked), processor / len(asked)))
    return taken


@contextmanager
def opened(place: Path, *, is_new: bool = False) -> Iterator[Tenant]:
    """Give the tenant of a home."""
    home = Home(load_settings({"home": place, "key_source": "machine"}))
    if is_new:
        home.create("bench")
    with home.open("bench") as tenant:
        yield tenant


def clocks() -> tuple[float, float]:
    """Return the seconds of the clock and of the processor, of this process and of those that ended below it."""
    below = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), time.process_time() + below.ru_utime + below.ru_stime


def since(started: tuple[float, float]) -> tuple[float, float]:
    """Return how much of both has gone by."""
    clock, processor = clocks()
    return clock - started[0], processor - started[1]


def show(what: str, taken: Taken) -> None:
    """Print the medians and their ratios."""
    parts = []
    for which in (0, 1):
        encrypted, plain = (statistics.median(one[which] for one in taken[is_plain]) for is_plain in (False, True))
        parts.append(f"{1000 * encrypted:10.1f} {1000 * plain:8.1f} {encrypted / plain:5.2f}")
    print(f"{what:36} {'   '.join(parts)}", flush=True)


if __name__ == "__main__":
    main()
