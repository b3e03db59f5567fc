"""The server as it is run: its start, its memory, its pages, many chats at once, and chats a second.

Run: python -m tests.bench.bench_server [start | pages | chats | rate]…  (all of them without a word)
`rate` needs wrk.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ruma.config import load_settings
from ruma.models.embedder import open_embedder
from ruma.tenant.agents import change_agent
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.tenant import Tenant
from tests.bench.bench_search import spread
from tests.bench.windows import fill, questions
from tests.making import EMBEDDER, make_document
from tests.serving import sign_in, with_key

PORT = 8439
RATE, SECONDS = 20, 20
CHATS, TENANTS = 200, 20
_WRK = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "{key}"
local asked, n = {{ {asked} }}, 0
request = function()
  n = n % #asked + 1
  return wrk.format(nil, nil, nil, asked[n])
end
"""


@contextmanager
def new_home() -> Iterator[Home]:
    """Give an empty home in which the embedder needs no compiling."""
    compiled = load_settings().models_folder
    open_embedder(load_settings())
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "models").symlink_to(compiled)
        yield Home(load_settings({"home": folder, "key_source": "machine"}, {}))


@contextmanager
def serving(home: Home) -> Iterator["subprocess.Popen[bytes]"]:
    """Serve a home with the real command, until it answers."""
    command = [sys.executable, "-m", "ruma", "serve", "--home", str(home.settings.home), "--port", str(PORT)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                get("/health", {})
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def send(method: str, path: str, headers: dict[str, str], body: str | None = None) -> tuple[int, bytes]:
    """Return the status and the body of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


def get(path: str, headers: dict[str, str]) -> bytes:
    """Return a page that must be there."""
    status, content = send("GET", path, headers)
    assert status == 200, (path, status, content[:300])
    return content


def memory_mb(process: "subprocess.Popen[bytes]") -> float:
    """Return the resident memory of a server in MB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1000


def bench_start() -> None:
    """Time the start to the first answered /health, 100 tenants beside one, and weigh the idle server of one."""
    seconds = {}
    for count in (1, 100):
        with new_home() as home:
            for number in range(count):
                home.create(f"t{number}")
            started = time.perf_counter()
            with serving(home) as process:
                seconds[count] = time.perf_counter() - started
                if count == 1:
                    get("/t/t0/sign-in", {})
                    print(f"idle memory, one tenant, embedder loaded: {memory_mb(process):.0f} MB")
    ratio = seconds[100] / seconds[1]
    print(
        f"start to the first /health: 1 tenant {seconds[1]:.2f} s, 100 tenants {seconds[100]:.2f} s, ratio {ratio:.1f}"
    )


def bench_pages() -> None:
    """Load pages at a steady rate, beside an empty request: 10,000 conversations, 5,000 documents."""
    with new_home() as home:
        home.create("bench")
        with home.open("bench") as tenant:
            fill_inbox(tenant, 10_000)
            fill_documents(tenant, 5_000)
            member = sign_in(tenant)
        with serving(home):
            for path in ("/health", "/t/bench/sign-in", "/t/bench/conversations", "/t/bench/sources"):
                headers = {} if path.endswith("sign-in") else member
                get(path, headers)
                print(f"{path:24} {spread(at_rate(lambda path=path, headers=headers: get(path, headers)))}", flush=True)


def fill_inbox(tenant: Tenant, count: int) -> None:
    """Store conversations of two questions each, every fourth answer declined."""
    for number in range(count):
        conversation = begin_conversation("widget", website="https://bakery.example")
        for turn in (1, 2):
            text = f"Is delivery {number} possible on day {turn}?"
            is_declined = (number + turn) % 4 == 0
            add_exchange(tenant, conversation, text, "It is.", mode="write", is_declined=is_declined, citations=[])


def fill_documents(tenant: Tenant, count: int) -> None:
    """Store documents of three chunks each."""
    source = add_source(tenant, "folder", "/documents")
    for number in range(count):
        texts = (f"Page {number} says one thing. ", "It says another. ", "And a third. ")
        store_document(tenant, source.id, make_document(f"{number}.txt", *texts), embedder_id=EMBEDDER.id)


def at_rate(call: Callable[[], object]) -> list[float]:
    """Return how long each call took, begun RATE times a second whatever the ones before take."""
    taken: list[float] = []

    def timed() -> None:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)

    threads = []
    begun = time.perf_counter()
    for number in range(RATE * SECONDS):
        time.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
        threads.append(threading.Thread(target=timed))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return taken


def bench_chats() -> None:
    """Ask 200 questions at once, of 20 tenants, in quote mode, beside one at a time."""
    embedder = open_embedder(load_settings())
    asked = questions("squad2-dev", CHATS)
    with new_home() as home:
        keys = {}
        for number in range(TENANTS):
            home.create(f"t{number}")
            with home.open(f"t{number}") as tenant:
                fill(tenant, embedder, 500)
                change_agent(tenant, mode="quote")
                keys[f"t{number}"] = with_key(tenant, "chat")
        with serving(home) as process:
            alone = [first_event(f"t{number}", keys, asked[number])[1] for number in range(TENANTS)]
            before = memory_mb(process)
            results: list[tuple[int, float]] = []
            threads = [
                threading.Thread(target=lambda n=number: results.append(first_event(f"t{n % TENANTS}", keys, asked[n])))
                for number in range(CHATS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            grown = memory_mb(process) - before
    failed = [status for status, _ in results if status != 200]
    times = [seconds for _, seconds in results]
    print(f"one at a time, first event  {spread(alone)}")
    ratio = np.median(times) / np.median(alone)
    print(f"{CHATS} at once, first event {spread(times)}   ratio {ratio:.0f}")
    print(f"failed: {len(failed)} {sorted(set(failed))}   memory grew by {grown:.0f} MB")


def first_event(tenant: str, keys: dict[str, dict[str, str]], question: str) -> tuple[int, float]:
    """Return the status of a streamed answer and how long its first event took; the stream is read to its end.

    By a bare socket: two hundred real clients would take a third of the processor from the server that is measured.
    """
    body = json.dumps({"question": question}).encode()
    fields = {"Host": f"127.0.0.1:{PORT}", **keys[tenant], "Content-Type": "application/json"}
    fields |= {"Accept": "text/event-stream", "Content-Length": str(len(body)), "Connection": "close"}
    head = f"POST /t/{tenant}/api/chat HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    started = time.perf_counter()
    with socket.create_connection(("127.0.0.1", PORT), timeout=120) as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        received = b""
        while b"event: " not in received:
            block = connection.recv(65536)
            if not block:
                return 599, time.perf_counter() - started
            received += block
        seconds = time.perf_counter() - started
        while block := connection.recv(65536):
            received += block
    status = int(received.split(b" ", 2)[1])
    return (status if b"event: done" in received else 599), seconds


def bench_rate() -> None:
    """Count answers a second of one tenant with 10,000 chunks, beside requests a second of /health."""
    if not shutil.which("wrk"):
        sys.exit("This needs wrk: apt-get install wrk")
    embedder = open_embedder(load_settings())
    with new_home() as home:
        home.create("bench")
        with home.open("bench") as tenant:
            fill(tenant, embedder, 10_000)
            change_agent(tenant, mode="quote")
            key = with_key(tenant, "chat")["Authorization"]
        bodies = (json.dumps(json.dumps({"question": text})) for text in questions("squad2-dev", 200))
        script = home.settings.home / "ask.lua"
        script.write_text(_WRK.format(key=key, asked=", ".join(bodies)))
        with serving(home):
            for name, more in (("/health", []), ("/t/bench/api/chat", ["-s", str(script)])):
                command = ["wrk", "-t1", "-c8", f"-d{SECONDS}s", "--latency", *more, f"http://127.0.0.1:{PORT}{name}"]
                shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                kept = [line.strip() for line in shown.splitlines() if any(word in line for word in _SHOWN)]
                print(f"{name}: {'; '.join(kept)}")


_SHOWN = ("Requests/sec", "50%", "99%", "Non-2xx")
_ALL = {"start": bench_start, "pages": bench_pages, "chats": bench_chats, "rate": bench_rate}


if __name__ == "__main__":
    os.environ.pop("RUMA_TENANT", None)
    for chosen in sys.argv[1:] or list(_ALL):
        print(f"== {chosen}")
        _ALL[chosen]()
