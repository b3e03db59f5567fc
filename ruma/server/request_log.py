"""One line a request: what was asked, of which tenant, and how that went. No content, no query, no whole address."""

import errno
import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ruma.server.addresses import PublicAddress
from ruma.tenant.people.networks import network_of
from ruma.tenant.tenant import Tenant

METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
MOST_CHARACTERS = 500
FULL_SECONDS = 1.0
"""Between two tries to write to a full disk."""

MOST_WAITING = 10_000
"""So many lines wait to be written; where what reads them hangs, further ones are left out and counted."""


class RequestLog:
    """An ASGI application around another one, that writes a line when each request has ended."""

    def __init__(self, app: ASGIApp, public: PublicAddress, write: Callable[[str], object]) -> None:
        """Take the application, what knows addresses, and what takes the lines."""
        self._app, self._public, self._write = app, public, write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and write its line however it ends."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        begun, sent = time.monotonic(), {"status": 0, "bytes": 0}

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent["status"] = message["status"]
            elif message["type"] == "http.response.body":
                sent["bytes"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        except Exception:
            sent["status"] = sent["status"] or 500
            raise
        finally:
            self._write(self._line(scope, time.monotonic() - begun, sent))

    def _line(self, scope: Mapping[str, Any], seconds: float, sent: Mapping[str, int]) -> str:
        # Only of a tenant that was found: what stands in the place of its name may be anything that someone typed.
        tenant: Tenant | None = scope.get("ruma_tenant")
        # ASCII alone: every character that could act on a terminal, or turn a line around, is escaped.
        line = json.dumps(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "method": scope["method"] if scope["method"] in METHODS else "other",
                "route": scope.get("path_template") or "unknown",
                "tenant": tenant.name if tenant else "",
                "status": sent["status"],
                "ms": round(seconds * 1000, 1),
                "bytes": sent["bytes"],
                "address": network_of(self._public.client_address(scope)),
            }
        )
        return line if len(line) <= MOST_CHARACTERS else json.dumps({"status": sent["status"], "route": "too long"})


class LineWriter:
    """Writes lines in a thread of its own: a terminal or a pipe that stands still stops no request."""

    def __init__(self, file: TextIO | None = None) -> None:
        """Take the file; without one, standard error."""
        self._file = file or sys.stderr
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self._left_out = 0
        self._thread = threading.Thread(target=self._run, name="request log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Have a line written soon, or leave it out where too many wait."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._left_out += 1

    def close(self, seconds: float = 2) -> None:
        """Write what waits, for so long at most."""
        try:
            self._lines.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            text = line + "\n"
            if self._left_out:
                text += json.dumps({"left_out": self._left_out}) + "\n"
                self._left_out = 0
            try:
                self._say(text)
            except (OSError, ValueError):  # nobody reads any more, and the server goes on
                return

    def _say(self, text: str) -> None:
        """Write a text; on a full disk as soon as there is space again: until then what else comes waits."""
        is_taken = False
        while True:
            try:
                if not is_taken:
                    is_taken = True  # also where it raises: the file holds what it could not pass on
                    self._file.write(text)
                self._file.flush()
                return
            except OSError as exc:
                if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
            time.sleep(FULL_SECONDS)
