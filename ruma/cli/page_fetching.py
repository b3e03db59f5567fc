"""Fetches pages, of a business's website or of the server itself: the one place that speaks HTTP as a client."""

import http.client
import socket
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import Any

from ruma.connections import Ledger, open_connection
from ruma.errors import InputError
from ruma.privacy.policy_check import Page
from ruma.server.host_page import HostPage, read_page

MOST_BYTES = 5_000_000
MOST_SECONDS = 20.0
_WAIT_SECONDS = 10.0


def fetch_page(url: str, ledger: Ledger) -> HostPage:
    """Fetch a page, without proxies, with limits on its size and on the time it takes.

    Raises:
        InputError: It is not there, is too large or too slow; or Ruma is offline.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "ruma widget check", "Accept": "text/html"})
    until = time.monotonic() + MOST_SECONDS
    try:
        with (
            ExitStack() as stack,
            _opener(stack, ledger, "a website is checked for the widget").open(
                request, timeout=_WAIT_SECONDS
            ) as response,
        ):
            body = bytearray()
            while chunk := response.read1(65536):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise InputError(f"{url} is larger than {MOST_BYTES // 1_000_000} MB.")
                if time.monotonic() > until:
                    raise InputError(f"{url} took longer than {MOST_SECONDS:.0f} seconds.")
            return read_page(response.url, response.headers.items(), body.decode("utf-8", "replace"))
    except urllib.error.HTTPError as exc:
        exc.close()
        raise InputError(f"{url} answered with {exc.code}.", hint="Give an address that shows the page.") from exc
    except (OSError, ValueError, http.client.HTTPException) as exc:
        reason = getattr(exc, "reason", exc)
        raise InputError(f"{url} cannot be fetched: {reason}.") from exc


def fetch_answer(origin: str, path: str, ledger: Ledger) -> Page:
    """Return what a server answers at an address, whatever it is; redirects are followed.

    Raises:
        InputError: It cannot be reached.
    """
    try:
        with ExitStack() as stack:
            opener = _opener(stack, ledger, "the policy is checked against the running server")
            try:
                response = stack.enter_context(opener.open(origin + path, timeout=_WAIT_SECONDS))
            except urllib.error.HTTPError as exc:
                response = stack.enter_context(exc)
            headers = tuple((name.lower(), value) for name, value in response.headers.items())
            return Page(
                path.partition("?")[0], response.status, headers, response.read(MOST_BYTES).decode("utf-8", "replace")
            )
    except (OSError, ValueError, http.client.HTTPException) as exc:
        reason = getattr(exc, "reason", exc)
        raise InputError(f"The server at {origin} cannot be asked: {reason}.") from exc


def _opener(stack: ExitStack, ledger: Ledger, purpose: str) -> urllib.request.OpenerDirector:
    """Return what follows redirects, each through a connection that is written down and closed with the stack."""

    def reach(host: str, port: int) -> socket.socket:
        opened = open_connection(host, port, purpose=purpose, ledger=ledger, timeout=_WAIT_SECONDS)
        return stack.enter_context(opened)

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = reach(self.host, self.port)

    class Private(http.client.HTTPSConnection):
        def connect(self) -> None:
            context = self._context  # type: ignore[attr-defined]  # as urllib's handler made it
            self.sock = context.wrap_socket(reach(self.host, self.port), server_hostname=self.host)

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, request)

    class PrivateHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            options: dict[str, Any] = {"context": self._context}  # type: ignore[attr-defined]
            return self.do_open(Private, request, **options)

    # No handler for files or FTP: a redirect must not lead to one.
    opener = urllib.request.OpenerDirector()
    for handler in (
        PlainHandler,
        PrivateHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
