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
from ruma.models.embedder import Embedder, is_compiled, open_embedder
from ruma.tenant import database
from ruma.tenant.home import Home
from ruma.tenant.keys.keys import Key
from ruma.tenant.knowledge import documents
from tests.bench.windows import fill, questions
from tests.fakes import HashEmbedder

DATA = Path(__file__).parents[3] / "shared" / "data" / "site-18f-handbook-md" / "files"
ROUNDS = 5


def main() -> None:
    """Print the milliseconds of storing, of a whole ingest and of searching, encrypted and plain, and their ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else DATA
    print(f"{'':38} encrypted      plain   ratio")
    with tempfile.TemporaryDirectory() as place:
        # Without the model's share first: that is where a difference shows.
        measure(Path(place) / "bare", HashEmbedder(dimension=384), "no embedding", count)
        if not is_compiled(load_settings()):
            print("The rest is left out: the embedding model is not compiled in this home.")
            return
        embedder = open_embedder(load_settings())
        measure(Path(place) / "whole", embedder, "embedding included", count)
        if folder.is_dir():
            seconds: dict[bool, list[float]] = {True: [], False: []}
            for number, is_plain in ((number, is_plain) for number in range(2) for is_plain in (False, True)):
                with as_wanted(is_plain):
                    seconds[is_plain].append(ingest(Path(place) / f"ingest{number}{is_plain}", folder, embedder))
            show("ruma ingest, the whole of it", seconds)


def measure(place: Path, embedder: Embedder, what: str, count: int) -> None:
    """Measure storing and searching with one embedder."""
    storing: dict[bool, list[float]] = {True: [], False: []}
    for number, is_plain in ((number, is_plain) for number in range(2) for is_plain in (False, True)):
        with as_wanted(is_plain):
            storing[is_plain].append(store_chunks(place / f"{number}{is_plain}", embedder, count))
    show(f"store {count} chunks, {what}", storing)
    show(f"search, warm, {what}", search_all(place, embedder, is_fresh=False))
    show(f"search, opened anew, {what}", search_all(place, embedder, is_fresh=True))


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
    print(f"{what:38} {1000 * encrypted:8.1f} ms {1000 * plain:7.1f} ms   {encrypted / plain:.2f}")


if __name__ == "__main__":
    main()
