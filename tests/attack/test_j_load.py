"""Clients that cost a server something and give nothing: it must shed them, and serve everyone else meanwhile."""

import contextlib
import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.guarded import Guarded, read_all, request
from tests.harness.needs import needs
from tests.harness.process import ROOT

MANY = 100
DISTINCT = [f"127.0.0.{number}" for number in range(2, 2 + MANY)]


@pytest.fixture(scope="module", autouse=True)
def enough_files() -> Iterator[None]:
    """Let this process hold both ends of several hundred connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def watched(server: Guarded) -> Iterator[list[float]]:
    """Ask for something all the time, and give the seconds that each answer took; every one must be an answer."""
    seconds: list[float] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.wait(0.05):
            begun = time.monotonic()
            answered = b"hello" in server.get(source="127.0.0.254")
            seconds.append(time.monotonic() - begun if answered else 60.0)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield seconds
    finally:
        is_over.set()
        asker.join()


def test_j67_streams_that_nobody_reads() -> None:
    """Fifty streams that are not read, and fifty read a byte at a time, are shed: tasks, files and memory come back."""
    with Guarded(most=500) as server:
        server.get("/big")
        before = server.state()
        with watched(server) as seconds:
            held = [server.connect(request("/flood"), source=one, receive_buffer=4096) for one in DISTINCT]
            most = 0
            for _ in range(15):
                most = max(most, server.state()["kilobytes"])
                for connection in held[: MANY // 2]:
                    with contextlib.suppress(OSError):
                        connection.recv(1)
                time.sleep(0.1)
            after = server.settle(6)

    assert (after["open"], after["running"]) == (0, 0)
    assert after["files"] <= before["files"] + 1
    assert most - before["kilobytes"] < 20_000
    assert max(seconds) < 1


@needs("userns")
def test_j67_clients_whose_network_is_gone() -> None:
    """Connections that nobody will ever answer on again are shed by the same deadlines, of every kind."""
    command = ["unshare", "-rn", sys.executable, "-m", "tests.harness.half_open"]

    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)

    before, after = json.loads(found.stdout)
    assert before["open"] == 20
    assert (after["open"], after["running"]) == (0, 0)
    assert after["files"] < before["files"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
        request("/body", "Content-Length: 9999").replace(b"GET", b"POST"),
    ],
    ids=["silent", "half a head", "slow body"],
)
def test_j69_slow_clients(data: bytes) -> None:
    """A hundred clients that send nothing, or a byte now and then, are shed, and no one else waits a second for it."""
    with Guarded(most=500) as server:
        before = server.settle(1)
        with watched(server) as seconds:
            held = [server.connect(data, source=one) for one in DISTINCT]
            for _ in range(8):
                for connection in held:
                    with contextlib.suppress(OSError):
                        connection.sendall(b"x" if data else b"")
                time.sleep(0.15)
            after = server.settle(4)

    assert (after["open"], after["running"]) == (0, 0)
    assert after["files"] <= before["files"] + 1
    assert max(seconds) < 1
    assert len(seconds) > 10


def test_j69_a_flood_of_one_address() -> None:
    """One address takes its share and no more, however often it comes; another one is served."""
    with Guarded(most=500, per_address=40, head=5.0, idle=5.0) as server, watched(server) as seconds:
        for _ in range(300):
            server.connect(source="127.0.0.2")
        time.sleep(0.5)

        assert server.state()["open"] <= 42
        assert server.get(source="127.0.0.2") == b""
    assert max(seconds) < 1


def test_j69_a_flood_of_many_addresses_never_reaches_the_limit_of_files() -> None:
    """With every place taken by silent connections, new requests are served, and files never run out."""
    with Guarded(most=60, files=256, head=20.0, idle=20.0) as server, watched(server) as seconds:
        for one in DISTINCT * 3:
            server.connect(source=one)

        state = server.state()

        assert state["open"] <= 67
        assert "accept" not in server.said()
    assert len(seconds) > 0
    assert max(seconds) < 1


def test_j69_idle_connections_are_dropped() -> None:
    """Connections that were answered and say nothing more do not stay."""
    with Guarded(most=500) as server:
        for one in DISTINCT:
            server.connect(request("/"), source=one)

        assert server.settle(3)["open"] == 0


def test_j69_pipelining_is_served_in_order() -> None:
    """A thousand requests in one piece are answered one after the other, within bounded memory."""
    with Guarded() as server:
        server.get("/big")
        before = server.state()["kilobytes"]
        connection = server.connect(request("/") * 1000 + request("/", "Connection: close"))

        answer = read_all(connection)

        assert answer.count(b"hello") == 1001
        assert server.state()["kilobytes"] - before < 20_000


def test_j69_bodies_that_nobody_asked_for() -> None:
    """Two hundred uploads that begin and stall are shed, and hold no more memory than a buffer each."""
    head = request("/late", "Content-Length: 100000000").replace(b"GET", b"POST")
    with Guarded(most=500) as server:
        before = server.state()["kilobytes"]
        with watched(server) as seconds:
            for one in DISTINCT * 2:
                with contextlib.suppress(OSError):
                    server.connect(head + b"x" * 50_000, source=one)
            most = server.state()["kilobytes"]
            after = server.settle(6)

    assert after["open"] == 0
    assert most - before < 40_000
    assert max(seconds) < 1
