"""What encryption costs: ingest and search on an encrypted tenant against the same with no key, in turns in one run.

The library and every other line are the same; without a key SQLCipher reads and writes plain pages, and the originals
are written as they are. To reach: search at most 1.1 times as long, ingest at most 1.15 times.

Run: python -m tests.bench.bench_encryption [CHUNKS] [FOLDER]
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ruma.chat.searching import search
from ruma.config import load_settings
from ruma.ingest.pipeline import ingest_sources
from ruma.models.embedder import Embedder, open_embedder
from ruma.tenant import database, documents
from ruma.tenant.home import Home
from ruma.tenant.keys import Key
from tests.bench.windows import fill, questions

DATA = Path(__file__).parents[3] / "shared" / "data" / "site-18f-handbook-md" / "files"
ROUNDS = 5


def main() -> None:
    """Print the seconds of storing, of a whole ingest and of searching, encrypted and plain, and their ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else DATA
    embedder = open_embedder(load_settings())
    print("                          encrypted      plain   ratio")
    with tempfile.TemporaryDirectory() as place:
        storing: dict[bool, list[float]] = {True: [], False: []}
        for number in range(2):
            for is_plain in (False, True):
                with as_wanted(is_plain):
                    storing[is_plain].append(store_chunks(Path(place) / f"{number}{is_plain}", embedder, count))
        show(f"store {count} chunks", storing)
        if folder.is_dir():
            ingesting: dict[bool, list[float]] = {True: [], False: []}
            for number in range(2):
                for is_plain in (False, True):
                    with as_wanted(is_plain):
                        home = Path(place) / f"ingest{number}{is_plain}"
                        ingesting[is_plain].append(ingest(home, folder, embedder))
            show("ingest, the whole of it", ingesting)
        show("search, pages in memory", search_all(Path(place), embedder, is_fresh=False))
        show("search, opened anew", search_all(Path(place), embedder, is_fresh=True))


@contextmanager
def as_wanted(is_plain: bool) -> Iterator[None]:
    """Let the database and the originals be plain within the block."""
    connect, seal = database._connect, documents.seal_original
    if is_plain:
        database._connect, documents.seal_original = connect_plain, write_plain  # type: ignore[assignment]
    try:
        yield
    finally:
        database._connect, documents.seal_original = connect, seal  # type: ignore[assignment]


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


def store_chunks(place: Path, embedder: Embedder, count: int) -> float:
    """Return the seconds of storing so many chunks in a new home, embedding included."""
    home = Home(load_settings({"home": place, "key_source": "machine"}))
    home.create("bench")
    with home.open("bench") as tenant:
        started = time.perf_counter()
        fill(tenant, embedder, count)
        return time.perf_counter() - started


def ingest(place: Path, folder: Path, embedder: Embedder) -> float:
    """Return the seconds of ingesting a folder."""
    home = Home(load_settings({"home": place, "key_source": "machine"}))
    home.create("bench")
    with home.open("bench") as tenant:
        started = time.perf_counter()
        for _ in ingest_sources([str(folder)], tenant, embedder, home.settings):
            pass
        return time.perf_counter() - started


def search_all(place: Path, embedder: Embedder, *, is_fresh: bool) -> dict[bool, list[float]]:
    """Return the seconds of each search, encrypted and plain in turns; *is_fresh* opens the tenant for each round."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    asked = questions("squad2-dev", 40)
    for _ in range(ROUNDS):
        for is_plain in (False, True):
            with as_wanted(is_plain):
                home = Home(load_settings({"home": place / f"0{is_plain}", "key_source": "machine"}))
                with home.open("bench") as tenant:
                    if not is_fresh:
                        for text in asked:
                            search(text, tenant, embedder)
                    started = time.perf_counter()
                    for text in asked:
                        search(text, tenant, embedder)
                    seconds[is_plain].append((time.perf_counter() - started) / len(asked))
    return seconds


def show(what: str, seconds: dict[bool, list[float]]) -> None:
    """Print the medians and their ratio."""
    encrypted, plain = (statistics.median(seconds[is_plain]) for is_plain in (False, True))
    print(f"{what:24} {1000 * encrypted:8.1f} ms {1000 * plain:7.1f} ms   {encrypted / plain:.2f}")


if __name__ == "__main__":
    main()
