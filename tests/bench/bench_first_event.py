"""The first event of an answer over HTTP from a warm server, beside the cost of an empty request.

Run: python -m tests.bench.bench_first_event [CHUNKS]
"""

import os
import signal
import sys
import tempfile
import threading
import time

import httpx
import numpy as np

from ruma.config import load_settings
from ruma.errors import RumaError
from ruma.models.embedder import open_embedder
from ruma.server.listener import serve
from ruma.tenant.home import Home
from tests.bench.bench_search import spread
from tests.bench.windows import fill, questions

PORT = 8437


def main() -> None:
    """Fill a tenant, serve it in a process of its own, and time the first event of each answer."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    embedder = open_embedder(load_settings())
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings({"home": folder, "key_source": "machine", "port": PORT})
        home = Home(settings)
        home.create("bench")
        with home.open("bench") as tenant:
            fill(tenant, embedder, count)
        client = threading.Thread(target=_measure, args=[count])
        client.start()
        # The server holds the main thread, since it listens to signals; the client ends it.
        serve(settings, home, lambda: embedder, _no_generator, lambda lines: None)
        client.join()


def _no_generator(name: str) -> object:
    raise RumaError("This measurement quotes only.")


def _measure(count: int) -> None:

    address = f"http://127.0.0.1:{PORT}"
    with httpx.Client(base_url=address, timeout=30) as client:
        while True:
            try:
                client.get("/health")
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        asked = questions("squad2-dev", 220)
        first, empty = [], []
        for text in asked:
            started = time.perf_counter()
            client.get("/health").raise_for_status()
            empty.append(time.perf_counter() - started)
            started = time.perf_counter()
            body = {"question": text, "mode": "quote"}
            accept = {"Accept": "text/event-stream"}
            with client.stream("POST", "/t/bench/api/chat", json=body, headers=accept) as response:
                response.raise_for_status()
                lines = response.iter_lines()
                while next(lines) != "event: evidence":
                    pass
                first.append(time.perf_counter() - started)
                for _ in lines:
                    pass
        print(f"{count} chunks")
        print(f"first event   {spread(first[20:])}")
        print(f"empty request {spread(empty[20:])}   ratio {np.median(first[20:]) / np.median(empty[20:]):.0f}")
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
