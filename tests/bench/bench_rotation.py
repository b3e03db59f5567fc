"""A new key for a tenant with many chunks and a gigabyte of originals, and how long writers wait for it.

Run: python -m tests.bench.bench_rotation [CHUNKS] [MB]   (as in the issue: 100000 1000)
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ruma.config import Settings
from ruma.tenant.home import Home
from ruma.tenant.keys.rotation import reseal_files, rotate_key
from ruma.tenant.knowledge.documents import NewChunk, NewDocument, list_documents, read_original_of, store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.tenant import Tenant

DIMENSION, CHUNKS_EACH = 384, 100


def main() -> None:
    """Print the seconds of a rotation and of resealing, and for each the longest pause of a writer and a reader."""
    chunks, megabytes = (int(value) for value in (*sys.argv[1:], *("2000", "20")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Settings(home=Path(folder) / "home", key_source="machine"))
        home.create("acme")
        with home.open("acme") as tenant:
            fill(tenant, chunks, megabytes)
            print(f"{chunks} chunks, originals of {megabytes} MB, database {size_of(tenant) / 1e6:.0f} MB")
            pauses = {"a writer": 0.0, "a reader": 0.0}
            began, used = time.perf_counter(), time.thread_time()
            with watched(tenant, pauses):
                for _ in rotate_key(Home(home.settings), "acme"):
                    pass
                spent = time.thread_time() - used
                print(f"rotation: {time.perf_counter() - began:.2f} s, of which {spent:.2f} s of processor time")
            tell(pauses)
            began = time.perf_counter()
            with watched(tenant, pauses):
                for _ in reseal_files(home, "acme"):
                    pass
                print(f"resealing every original: {time.perf_counter() - began:.2f} s")
            tell(pauses)
            for one in list_documents(tenant)[:3]:
                assert len(b"".join(read_original_of(tenant, one.id)))


def fill(tenant: Tenant, chunks: int, megabytes: int) -> None:
    """Store documents of a hundred chunks each, whose originals have so many MB together."""
    source = add_source(tenant, "folder", "/x")
    count = max(1, chunks // CHUNKS_EACH)
    original = os.urandom(megabytes * 1_000_000 // count)
    random = np.random.default_rng(1)
    text = "The baker delivers fresh bread to every house in the valley before seven. " * 12
    for number in range(count):
        vectors = random.standard_normal((CHUNKS_EACH, 8, DIMENSION), dtype=np.float32)
        made = tuple(
            NewChunk(at, at + 1, f"{number} {at} {text}", "", None, ((0, 1),), rows[0], rows[1], rows[2:])
            for at, rows in enumerate(vectors)
        )
        document = NewDocument(
            f"{number}.txt", "Bread", "text/plain", str(number), "1", len(original), made, original=original
        )
        store_document(tenant, source.id, document, embedder_id="bench")


@contextmanager
def watched(tenant: Tenant, pauses: dict[str, float]) -> Iterator[None]:
    """Have a writer and a reader at work meanwhile, and for a moment longer."""
    stop = threading.Event()
    threads = [threading.Thread(target=watch, args=[tenant, name, pauses, stop]) for name in pauses]
    for thread in threads:
        thread.start()
    try:
        yield
        time.sleep(0.2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def tell(pauses: dict[str, float]) -> None:
    """Print the longest pauses, and begin to count anew."""
    for name, seconds in pauses.items():
        print(f"longest pause of {name}: {seconds:.2f} s")
        pauses[name] = 0.0


def watch(tenant: Tenant, name: str, pauses: dict[str, float], stop: threading.Event) -> None:
    """Read or write all the time, and note the longest that it took."""
    while not stop.is_set():
        began = time.perf_counter()
        if name == "a writer":
            with tenant.writing() as db:
                db.execute("update search_index set revision = revision + 1")
        else:
            with tenant.reading() as db:
                db.execute("select count(*) from document").fetchone()
        pauses[name] = max(pauses[name], time.perf_counter() - began)
        time.sleep(0.005)


def size_of(tenant: Tenant) -> int:
    """Return the bytes of the tenant's database with its log."""
    return sum(file.stat().st_size for file in tenant.folder.glob("tenant*.db*"))


if __name__ == "__main__":
    main()
