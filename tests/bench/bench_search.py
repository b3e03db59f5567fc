"""Search among many chunks on the encrypted file: vectors alone against an exact scan, and the whole search.

Run: python -m tests.bench.bench_search [CHUNKS]
"""

import sys
import tempfile
import time

import numpy as np

from ruma.chat.searching import search
from ruma.config import load_settings
from ruma.models.embedder import open_embedder
from ruma.tenant.home import Home
from ruma.tenant.knowledge.index import search_vectors
from ruma.tenant.knowledge.vectors import unpack
from tests.bench.windows import fill, questions


def main() -> None:
    """Fill a tenant, then print times and recall, each beside its baseline."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    embedder = open_embedder(load_settings())
    with tempfile.TemporaryDirectory() as folder:
        home = Home(load_settings({"home": folder, "key_source": "machine"}))
        home.create("bench")
        with home.open("bench") as tenant:
            started = time.perf_counter()
            fill(tenant, embedder, count)
            print(f"{count} chunks stored in {time.perf_counter() - started:.0f} s")
            asked = questions("squad2-dev", 300)
            vectors = [embedder.embed_question(text) for text in asked]
            started = time.perf_counter()
            search_vectors(tenant, vectors[0], 10)
            print(f"first search, vectors loaded: {1000 * (time.perf_counter() - started):.0f} ms")

            with tenant.reading() as db:
                rows = db.execute("select chunk_id, vector from vector order by chunk_id").fetchall()
            ids = np.array([row[0] for row in rows])
            exact = np.concatenate([unpack(row[1], embedder.dimension) for row in rows])
            scan, fast, recall = [], [], []
            for vector in vectors:
                started = time.perf_counter()
                cosines = exact @ vector
                best = set(ids[np.argpartition(-cosines, 10)[:10]].tolist())
                scan.append(time.perf_counter() - started)
                started = time.perf_counter()
                found = {number for number, _ in search_vectors(tenant, vector, 10)}
                fast.append(time.perf_counter() - started)
                recall.append(len(found & best) / 10)
            print(f"vector search      {spread(fast)}   recall@10 {np.mean(recall):.4f}")
            print(f"exact float32 scan {spread(scan)}   ratio {np.median(scan) / np.median(fast):.1f}")

            embed, whole = [], []
            for text in asked[:20]:
                search(text, tenant, embedder, limit=5)
            for text in asked:
                started = time.perf_counter()
                embedder.embed_question(text)
                embed.append(time.perf_counter() - started)
                started = time.perf_counter()
                search(text, tenant, embedder, limit=5)
                whole.append(time.perf_counter() - started)
            print(f"embed the question {spread(embed)}")
            print(f"whole search       {spread(whole)}")


def spread(seconds: list[float]) -> str:
    """Return median and 95th percentile in milliseconds."""
    median, high = 1000 * np.percentile(seconds, [50, 95])
    return f"median {median:6.2f} ms  p95 {high:6.2f} ms"


if __name__ == "__main__":
    main()
