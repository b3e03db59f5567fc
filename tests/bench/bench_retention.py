"""Enforcing a plan among many conversations: what it removes a second, and what a chat waits meanwhile.

Run: python -m tests.bench.bench_retention [CONVERSATIONS]
"""

import statistics
import sys
import tempfile
import threading
import time

from ruma.config import load_settings
from ruma.privacy.retention import describe, enforce
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant
from tests.filling import fill_inbox


def main() -> None:
    """Fill an inbox of which half is over, enforce the plan while somebody chats, and print the times as ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings({"home": folder, "key_source": "machine"})
        home = Home(settings)
        home.create("bench")
        with home.open("bench") as tenant:
            started = time.perf_counter()
            fill_inbox(tenant, count, days=360)
            print(f"{count} conversations of 6 messages stored in {time.perf_counter() - started:.0f} s")

            alone = chats(tenant, 50)
            started = time.perf_counter()
            due = describe(tenant, settings).kinds[0].due
            print(f"what would go is found in {1000 * (time.perf_counter() - started):.0f} ms: {due}")

            waits: list[float] = []
            is_over = threading.Event()
            chatter = threading.Thread(target=chat_until, args=(tenant, waits, is_over))
            chatter.start()
            started, used = time.perf_counter(), time.thread_time()
            removed = enforce(tenant, settings).removed["conversations"]
            took, used = time.perf_counter() - started, time.thread_time() - used
            is_over.set()
            chatter.join()
            print(f"{removed} conversations removed in {took:.1f} s: {removed / took:.0f} a second", end=", ")
            print(f"{removed / used:.0f} a second of processor time")
            busy = statistics.quantiles(waits, n=20)[-1]
            print(f"storing an answer, p95: {1000 * alone:.1f} ms alone, {1000 * busy:.1f} ms meanwhile", end=", ")
            print(f"{busy / alone:.1f} times; at most {1000 * max(waits):.0f} ms")

            started = time.perf_counter()
            enforce(tenant, settings)
            print(f"a run that finds nothing: {1000 * (time.perf_counter() - started):.0f} ms")


def chats(tenant: Tenant, count: int) -> float:
    """Return how many seconds storing an exchange takes at the 95th percentile."""
    return statistics.quantiles([chat(tenant) for _ in range(count)], n=20)[-1]


def chat(tenant: Tenant) -> float:
    """Store one exchange and return how many seconds that took."""
    started = time.perf_counter()
    add_exchange(tenant, begin_conversation(), "Open?", "Yes.", mode="write", is_declined=False, citations=[])
    return time.perf_counter() - started


def chat_until(tenant: Tenant, waits: list[float], is_over: threading.Event) -> None:
    """Store exchanges, ten a second, until told to end."""
    while not is_over.wait(0.1):
        waits.append(chat(tenant))


if __name__ == "__main__":
    main()
