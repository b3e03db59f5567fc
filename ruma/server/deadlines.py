"""Deadlines of every connection, so that clients that are slow, silent or gone cost nothing, with no proxy in front.

uvicorn has none of its own for what a client sends and for what it does not read. Where one passes, the connection
is aborted and not closed: closing would wait for a client to read, and that is what it does not do.
"""

import asyncio
import fcntl
import gc
import socket
import ssl
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import h11
from litestar.serialization import encode_json
from litestar.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from ruma.server.addresses import parse_address
from ruma.server.failures import Failure, Problem, describe_failure
from ruma.server.gate import Entry, Gate
from ruma.server.guarding import guarded_headers
from ruma.server.listening import STRETCH_SECONDS

BUSY = Failure(Problem("busy", "The server has too many connections at the moment.", "Try again in a few seconds."))
NOT_HTTP = Failure(Problem("bad_request", "This is not a request in HTTP/1.1.", "Its head may have 16 kB."))
_NEVER = 86_400.0
"""asyncio's deadline for the end of TLS counts what is still being read as idle; ours do not."""

GOODBYE = 0.5
"""How long the other end may take to say goodbye in TLS when the server stops."""

ACCEPTED_AT_ONCE = 16
"""asyncio accepts so many in a row, and a few rows hold a file each before the gate can refuse the first."""

MOST_WAITING = 1024
"""So many may wait to be accepted, when all come in the same moment."""

BUFFER = 64 * 1024
"""How many bytes wait in memory for a reader before the writer must wait too."""


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """How long a client may take, in seconds."""

    head: float = 10
    """For the TLS handshake, and for the head of a request."""

    idle: float = 5
    """Between an answer and the next request."""

    proxy_idle: float = 180
    """The same for a trusted proxy: one that sends a request just as this passes would answer with a failure."""

    stretch: float = STRETCH_SECONDS
    """The time in which `stretch_bytes` of a body must arrive, or of a response be taken."""

    stretch_bytes: int = 15_000
    """Half a kilobyte a second, both ways. What is shorter must be through in one stretch."""

    stream: float = 900
    """A whole event stream: its pieces may be too small to notice that nobody reads them."""


class GuardedServer(Server):
    """uvicorn's server, in which more connections may wait than are accepted before the gate sees the first of them."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        for listening in sockets or []:
            listening.listen(MOST_WAITING)
        # What the server is made of stays for as long as it runs. To look through it for garbage again and again
        # took an eighth of a second each time, in which nobody got an answer.
        gc.freeze()
        gc.enable()  # the command disabled it for the start


class GuardedConnection(H11Protocol):
    """One connection: counted when it comes, encrypted where there is a certificate, and cut when a deadline passes."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        deadlines: Deadlines,
        gate: Gate,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Take what uvicorn gives, and the server's own."""
        super().__init__(config, server_state, app_state, _loop)
        self._deadlines, self._gate, self._tls = deadlines, gate, tls
        self._served, self.app = self.app, self._serve
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._entry: Entry | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._early: list[bytes] = []
        self._is_lost = self._is_stopping = False
        self._received, self._was_excused = 0, False

    # A connection comes and goes.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let the connection in, or cut it."""
        self._socket = transport
        self._address = parse_address((transport.get_extra_info("peername") or ("",))[0])
        if self._address and self._gate.public.is_trusted(self._address):
            self.timeout_keep_alive = cast(int, self._deadlines.proxy_idle)
        self._entry = self._gate.enter(self._address)
        if self._entry is Entry.CUT:
            transport.abort()
        elif self._tls is None:
            self._begin(transport)
        else:
            self.connections.add(self)  # so that a server that stops finds it
            self._handshake = self.loop.create_task(self._encrypt(transport, self._tls))

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back."""
        self._is_lost = True
        self._leave()
        if self.transport is not None:
            super().connection_lost(exc)

    def shutdown(self) -> None:
        """Let a running answer end; close the connection where there is none."""
        self._is_stopping = True
        if self.transport is None or self.transport.is_closing() or self.conn.our_state is h11.ERROR:
            self._cut()
            return
        super().shutdown()
        if self.transport.is_closing():
            self._await_request(GOODBYE)

    async def _encrypt(self, plain: asyncio.Transport, context: ssl.SSLContext) -> None:
        self._gate.wait(self, self._cut)
        transport = None
        # What fails here failed at the client; errors of TLS are OSErrors, too.
        try:
            with suppress(OSError):
                transport = await self.loop.start_tls(
                    plain,
                    self,
                    context,
                    server_side=True,
                    ssl_handshake_timeout=self._deadlines.head,
                    ssl_shutdown_timeout=_NEVER,
                )
        finally:
            if transport is None or self._is_lost:
                self._cut()
        if transport is None or self._is_lost:
            return
        transport.set_write_buffer_limits(BUFFER)
        self._begin(transport)
        # A request may come together with the end of the handshake, before this coroutine goes on.
        for data in self._early:
            self.data_received(data)
        self._early.clear()

    def _begin(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._await_request(self._deadlines.head)

    def _cut(self) -> None:
        self._leave()
        self._socket.abort()

    def _leave(self) -> None:
        for name in list(self._timers):
            self._disarm(name)
        self._gate.work(self)
        self.connections.discard(self)
        if self._entry not in (None, Entry.CUT):
            self._gate.leave(self._address)
        self._entry = None

    # What it sends.

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self.transport is None:
            self._early.append(data)
            return
        self._received += len(data)
        super().data_received(data)

    def handle_events(self) -> None:
        """Read what came, and set the deadline for what has not come yet."""
        super().handle_events()
        self._was_excused |= self.flow.read_paused
        if self.cycle is None or self.cycle.response_complete:
            return
        self._gate.work(self)
        self._disarm("head")
        if not self.cycle.more_body:
            self._disarm("body")
        elif "body" not in self._timers:
            self._watch_body()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in the same form as every other failure."""
        self._disarm("body")
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._cut()  # in the middle of a response, nothing else can be said
            return
        headers, body = _failing(NOT_HTTP, is_secure=self._gate.public.is_secure)
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._await_request(self._deadlines.head)

    def _await_request(self, seconds: float) -> None:
        if not self._unsent():
            self._gate.wait(self, self._cut)
        self._arm("head", seconds, self._stop_waiting)

    def _stop_waiting(self) -> None:
        if self._unsent():
            self._await_request(self._deadlines.head)  # it still takes the last response, which has its own deadline
        else:
            self._cut()

    def _watch_body(self) -> None:
        self._was_excused = self.flow.read_paused
        self._arm("body", self._deadlines.stretch, self._check_body, self._received)

    def _check_body(self, before: int) -> None:
        # Not the client's fault: it was told to wait, or we took nothing off it for a while.
        is_excused = self._was_excused or self.cycle.waiting_for_100_continue
        if not is_excused and self._received - before < self._deadlines.stretch_bytes:
            self._cut()
        else:
            self._watch_body()

    # What it is sent.

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        is_begun = False

        async def send_timed(message: Any) -> None:
            nonlocal is_begun
            if message["type"] == "http.response.start":
                is_begun = True
                if _is_stream(message):
                    self._arm("stream", self._deadlines.stream, self._cut)
            await send(message)

        try:
            if self._entry is Entry.BUSY:
                await self._fail(send, 503, BUSY, (b"retry-after", b"5"))
            else:
                await self._served(scope, receive, send_timed)
        except BaseException as exc:
            self._await_request(self._deadlines.head)  # for the connection will be closed, which may take long
            if is_begun or scope["type"] != "http" or not isinstance(exc, Exception):
                raise
            status, problem = describe_failure(exc)
            await self._fail(send, status, Failure(problem))

    async def _fail(self, send: Any, status: int, failure: Failure, *more: tuple[bytes, bytes]) -> None:
        headers, body = _failing(failure, is_secure=self._gate.public.is_secure)
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *more]})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def on_response_complete(self) -> None:
        """Wait for the next request, and for this response to be taken."""
        self._disarm("stream")
        self._disarm("body")
        self._await_request(GOODBYE if self._is_stopping else self.timeout_keep_alive + self._deadlines.head)
        if self._unsent():
            self._watch_writing()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Stop writing, and set the deadline for a reader that takes nothing."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """Write on."""
        if self.cycle is None or not self.cycle.response_complete:
            self._disarm("write")
        super().resume_writing()

    def _watch_writing(self) -> None:
        self._arm("write", self._deadlines.stretch, self._check_writing, self._untaken())

    def _check_writing(self, before: int) -> None:
        if not self._unsent():
            return
        if before - self._untaken() < self._deadlines.stretch_bytes:
            self._cut()
        else:
            self._watch_writing()

    def _untaken(self) -> int:
        # With what the system holds: it asks for more only when a third of its megabytes are through.
        try:
            held = fcntl.ioctl(self._socket.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except OSError:
            held = bytes(4)
        return self._unsent() + int.from_bytes(held, sys.byteorder)

    def _unsent(self) -> int:
        encrypted = 0 if self.transport is self._socket else self._socket.get_write_buffer_size()
        return self.transport.get_write_buffer_size() + encrypted

    def _arm(self, name: str, seconds: float, act: Callable[..., object], *arguments: Any) -> None:
        self._disarm(name)

        def pass_deadline() -> None:
            self._timers.pop(name, None)
            act(*arguments)

        if not self._is_lost:
            self._timers[name] = self.loop.call_later(seconds, pass_deadline)

    def _disarm(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()


def configure(
    app: ASGIApp, *, deadlines: Deadlines, gate: Gate, tls: ssl.SSLContext | None = None, last_seconds: int = 10
) -> Config:
    """Return what uvicorn must know to serve an application behind a gate, within deadlines.

    Args:
        app: What answers.
        deadlines: How long clients may take.
        gate: Which connections come in.
        tls: Encrypts them; without it they are not.
        last_seconds: How long running answers may go on after the server was told to stop.
    """
    return Config(
        app,
        http=cast(Any, partial(GuardedConnection, deadlines=deadlines, gate=gate, tls=tls)),
        backlog=ACCEPTED_AT_ONCE,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=cast(int, deadlines.idle),
        timeout_graceful_shutdown=last_seconds,
    )


def _is_stream(message: Any) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"]
    )


def _failing(failure: Failure, *, is_secure: bool) -> tuple[list[tuple[bytes, bytes]], bytes]:
    body = encode_json(failure)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    return guarded_headers(headers, is_secure=is_secure), body
