"""A server with short deadlines and an application that is nothing but slow clients' food.

In this process its parts; as `python -m tests.guarded JSON` a process of its own, and `Guarded` starts that.
"""

import asyncio
import contextlib
import json
import os
import resource
import socket
import ssl
import sys
import tempfile
import time
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from ruma.server.addresses import PublicAddress
from ruma.server.deadlines import Deadlines, GuardedServer, configure
from ruma.server.gate import Gate
from ruma.server.listener import prepare_log
from ruma.server.listening import open_socket
from ruma.server.tls import open_tls
from tests.harness.forking import Forked

SHORT = {"head": 0.6, "idle": 0.4, "stretch": 0.8, "stretch_bytes": 4000, "stream": 3.0}
"""Deadlines that a test can wait for."""

ASKED = "what somebody asked"
"""The message of what `/broken` raises: no log may hold it."""

STREAM = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}


class Food:
    """The application: `/state`, `/body`, `/big`, `/words`, `/flood`, `/late`, `/broken`; `/` says hello."""

    def __init__(self, gate: Gate) -> None:
        """Take the gate, to tell its count."""
        self._gate, self._running = gate, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        serve = getattr(self, f"_{scope['path'].strip('/') or 'hello'}")
        self._running += 1
        try:
            await serve(receive, send)
        finally:
            self._running -= 1

    async def _hello(self, receive: Any, send: Any) -> None:
        await _respond(send, b"hello")

    async def _state(self, receive: Any, send: Any) -> None:
        status = Path("/proc/self/status").read_text()
        state = {
            "open": self._gate.count,
            "running": self._running - 1,
            "files": len(os.listdir("/proc/self/fd")),
            "kilobytes": int(status.split("VmRSS:")[1].split()[0]),
        }
        await _respond(send, json.dumps(state).encode())

    async def _body(self, receive: Any, send: Any) -> None:
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        if message["type"] == "http.request":
            await _respond(send, str(size).encode())

    async def _late(self, receive: Any, send: Any) -> None:
        await asyncio.sleep(1.5)
        await _respond(send, b"late")

    async def _broken(self, receive: Any, send: Any) -> None:
        raise ValueError(ASKED)

    async def _big(self, receive: Any, send: Any) -> None:
        await _respond(send, b"x" * 20_000_000)

    async def _flood(self, receive: Any, send: Any) -> None:
        await self._stream(receive, send, b"data: " + b"x" * 10_000 + b"\n\n", 0.0)

    async def _words(self, receive: Any, send: Any) -> None:
        await self._stream(receive, send, b"data: word\n\n", 0.05)

    async def _stream(self, receive: Any, send: Any, piece: bytes, pause: float) -> None:
        left = asyncio.create_task(_wait_for_leaving(receive))
        await send(STREAM)
        while not left.done():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(pause)
        await left


async def _wait_for_leaving(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _respond(send: Any, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Guarded:
    """The server in a process of its own, with limits as for `Gate` and deadlines as for `Deadlines`."""

    def __init__(self, *, tls: tuple[Path, Path] | None = None, most: int = 500, **limits: float | str | None) -> None:
        """Start it and wait for its port; *files* is how many it may hold open, *proxy* the one it trusts."""
        given = {"tls": [str(path) for path in tls or ()], "most": most, **SHORT, **limits}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the server
        says, stdout = os.pipe()
        self.process = Forked(
            ["tests.guarded", json.dumps(given)],
            env=os.environ,
            cwd=Path(__file__).parents[1],
            stdout=stdout,
            stderr=self._errors.fileno(),
        )
        os.close(stdout)
        with os.fdopen(says) as said:
            self.port = int(said.readline())
        self._held: list[socket.socket] = []
        self._tls = ssl.create_default_context(cafile=tls[0]) if tls else None

    def __enter__(self) -> "Guarded":
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()
        self.process.kill()
        self.process.wait()
        self._errors.close()

    def said(self) -> str:
        """Return what the server wrote on standard error so far."""
        self._errors.seek(0)
        return self._errors.read()

    def drop(self) -> None:
        """Close every connection that was made."""
        for connection in self._held:
            connection.close()
        self._held.clear()

    def connect(self, data: bytes = b"", *, source: str = "127.0.0.1", receive_buffer: int = 0) -> socket.socket:
        """Return a raw connection that has sent this much, from an address of this machine."""
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._held.append(connection)
        connection.settimeout(10)
        connection.bind((source, 0))
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(data)
        return connection

    def open(self, data: bytes = b"", *, source: str = "127.0.0.1", receive_buffer: int = 0) -> socket.socket:
        """Return a connection as `connect` does, in TLS where the server speaks it."""
        connection = self.connect(source=source, receive_buffer=receive_buffer)
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_hostname="localhost")
            self._held.append(connection)
        connection.sendall(data)
        return connection

    def get(self, path: str = "/", *, source: str = "127.0.0.1") -> bytes:
        """Return a whole response, head and body, on a connection of its own; nothing where it was cut."""
        with contextlib.suppress(ConnectionError), self.open(source=source) as connection:
            connection.sendall(request(path, "Connection: close"))
            return read_all(connection)
        return b""

    def state(self) -> dict[str, int]:
        """Return what the server holds, without this request."""
        found: dict[str, int] = json.loads(self.get("/state", source="127.0.0.99").partition(b"\r\n\r\n")[2])
        return found | {"open": found["open"] - 1}

    def settle(self, seconds: float) -> dict[str, int]:
        """Return the server's state once it holds nothing, or what it holds after so many seconds."""
        begun = time.monotonic()
        while True:
            state = self.state()
            if not (state["open"] or state["running"]) or time.monotonic() - begun > seconds:
                return state
            time.sleep(0.05)


def request(path: str, *headers: str) -> bytes:
    """Return a GET request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode()


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side closes or aborts the connection."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65536):
            found += data
    return found


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """Read up to some bytes, or to the end of the connection."""
    found = b""
    while end not in found and (data := connection.recv(65536)):
        found += data
    return found


def main() -> None:
    """Serve on a free port of this machine until killed."""
    given = json.loads(sys.argv[1])
    tls, most, per_address = given.pop("tls"), given.pop("most"), given.pop("per_address", None)
    files, proxy = given.pop("files", None), given.pop("proxy", None)
    public = PublicAddress(trusted_proxies=(ip_network(proxy),) if proxy else ())
    gate = Gate(most=most, per_address=per_address, public=public)
    listening = open_socket("127.0.0.1", 0)
    config = configure(
        Food(gate),
        deadlines=Deadlines(**given),
        gate=gate,
        tls=open_tls(Path(tls[0]), Path(tls[1])) if tls else None,
        last_seconds=2,
    )
    prepare_log()
    if files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    print(listening.getsockname()[1], flush=True)
    GuardedServer(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
