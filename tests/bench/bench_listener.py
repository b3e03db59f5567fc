"""What three listeners do with the same application: how fast they are, and which clients they shed.

Run: python -m tests.bench.bench_listener [SECONDS]   (needs wrk and granian; 0 seconds leave the clients out)
"""

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from ruma.server.gate import Gate
from tests.guarded import Food, read_all, request

app = Food(Gate(most=100_000))
PORT = 8438
_TARGET = f"tests.bench.bench_listener:app --port {PORT} --loop asyncio"
LISTENERS = {
    "uvicorn": f"uvicorn {_TARGET} --http h11 --ws none --log-level critical --no-access-log",
    "granian": f"granian {_TARGET} --interface asgi --http 1 --no-ws --http1-header-read-timeout 10000 --no-log",
    "Ruma": "tests.bench.bench_listener serve",
}
"""Granian is given the shortest deadline that it has, and each one process, since a home has one server."""

HOSTILE = {
    "silent": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
    "second request": request("/") + b"G",
    "slow body": request("/body", "Content-Length: 99999").replace(b"GET", b"POST"),
    "unread stream": request("/flood"),
    "unread words": request("/words"),
}
FED = {"half a head", "second request", "slow body"}
EACH = 20


def main() -> None:
    """Measure each listener, or be the one that is measured."""
    if sys.argv[1:] == ["serve"]:
        serve()
        return
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 75
    # In turns, so that what else the machine does meets all of them.
    rates: dict[str, list[float]] = {name: [] for name in LISTENERS}
    for name in list(LISTENERS) * 3:
        with running(LISTENERS[name]):
            rates[name].append(measure_rate())
    for name, command in LISTENERS.items():
        print(f"{name}: {max(rates[name]):.0f} requests/s, the best of {len(rates[name])}", flush=True)
        if seconds:
            with running(command):
                report = measure_shedding(seconds)
            print(f"{name}: after {seconds} s, of {EACH} each: {report}", flush=True)


def serve() -> None:
    """Serve the application as `ruma serve` would."""
    from ruma.server.deadlines import Deadlines, GuardedServer, configure
    from ruma.server.listener import prepare_log
    from ruma.server.listening import open_socket

    prepare_log()
    config = configure(app, deadlines=Deadlines(), gate=Gate(most=1000))
    GuardedServer(config).run(sockets=[open_socket("127.0.0.1", PORT)])


@contextlib.contextmanager
def running(command: str) -> Iterator[None]:
    """Run a listener until it answers, and stop it after."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command.split()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                state()
                break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure_rate() -> float:
    """Return how many empty requests a second are answered over 32 connections."""
    command = ["wrk", "-t", "1", "-c", "32", "-d", "4s", f"http://127.0.0.1:{PORT}/"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found, said
    return float(found[1])


def measure_shedding(seconds: int) -> str:
    """Open hostile connections of every kind, wait, and return how many are left of each, with files and tasks."""
    before = state()
    held = {kind: [connect(data) for _ in range(EACH)] for kind, data in HOSTILE.items()}
    for _ in range(seconds // 5):
        time.sleep(5)
        for kind in FED:
            for connection in held[kind]:
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")
    left = {kind: sum(is_open(one) for one in found) for kind, found in held.items() if not kind.startswith("unread")}
    after = state()
    for connection in (one for found in held.values() for one in found):
        connection.close()
    files = after["files"] - before["files"]
    return f"{json.dumps(left)}, tasks {after['running']}, files {files:+}, memory {growth(before, after):+.0f} MB"


def growth(before: dict[str, int], after: dict[str, int]) -> float:
    """Return how many MB the process has grown."""
    return (after["kilobytes"] - before["kilobytes"]) / 1024


def connect(data: bytes) -> socket.socket:
    """Return a connection with a small receive buffer that has sent this much."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", PORT))
    connection.sendall(data)
    return connection


def is_open(connection: socket.socket) -> bool:
    """Tell whether the other side still holds a connection."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def state() -> dict[str, int]:
    """Return what the listener's process holds."""
    with socket.create_connection(("127.0.0.1", PORT), 5) as connection:
        connection.sendall(request("/state", "Connection: close"))
        found: dict[str, int] = json.loads(read_all(connection).partition(b"\r\n\r\n")[2])
        return found


if __name__ == "__main__":
    main()
