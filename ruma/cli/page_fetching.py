"""Fetches pages, of a business's website or of the server itself: the one place that speaks HTTP as a client."""

import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlencode, urlsplit

from ruma.connections import Ledger, open_connection
from ruma.errors import InputError
from ruma.privacy.policy_pages import Page
from ruma.server.host_page import HostPage, read_page

if TYPE_CHECKING:
    from ruma.server.policy_system import Ask

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


@contextmanager
def asking(origin: str, ledger: Ledger, *, is_verified: bool = True) -> "Iterator[Ask]":
    """Give the way to ask a server, over one connection that is kept open; it is in the ledger.

    Args:
        origin: Its scheme, host and port.
        ledger: Where the connection is written down.
        is_verified: Whether its certificate must be one that this machine trusts.

    Raises:
        InputError: The address is none. Asking raises it where the server cannot be reached.
        CertificateError: When asking: its certificate is not trusted.
    """
    parts = _split(origin)
    with ExitStack() as stack:
        plain, private = _connections(stack, ledger, "the policy is checked against the running server")
        context = ssl.create_default_context()
        if not is_verified:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = (
            private(parts.hostname or "", parts.port, context=context)
            if parts.scheme == "https"
            else plain(parts.hostname or "", parts.port)
        )
        stack.callback(connection.close)

        def ask(path: str, *, form: Mapping[str, str] | None = None, cookie: str = "") -> Page:
            headers = {"User-Agent": "ruma policy check", "Accept": "text/html", "Cookie": cookie}
            if form is not None:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form) if form is not None else None
            try:
                sent = {name: value for name, value in headers.items() if value}
                connection.request("POST" if form is not None else "GET", path, body, sent)
                response = connection.getresponse()
                found = response.read(MOST_BYTES + 1)
            except ssl.SSLCertVerificationError as exc:
                raise CertificateError(f"The certificate of {origin} is not trusted: {exc.verify_message}.") from exc
            except (OSError, ValueError, http.client.HTTPException) as exc:
                raise InputError(f"The server at {origin} cannot be asked: {exc}.") from exc
            if len(found) > MOST_BYTES:
                raise InputError(f"{origin}{path} is larger than {MOST_BYTES // 1_000_000} MB.")
            named = tuple((name.lower(), value) for name, value in response.headers.items())
            return Page(path.partition("?")[0], response.status, named, found.decode("utf-8", "replace"))

        yield ask


class CertificateError(Exception):
    """A server's certificate is not one that this machine trusts: what that means is for the one who asks to say."""


def _split(origin: str) -> SplitResult:
    try:
        parts = urlsplit(origin)
        parts.port  # noqa: B018 - reading it raises on a port that is none
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
        raise InputError(f"{origin} is not the address of a server.", hint="It looks like: https://ask.example.com")
    return parts


def _connections(
    stack: ExitStack, ledger: Ledger, purpose: str
) -> tuple[type[http.client.HTTPConnection], type[http.client.HTTPSConnection]]:
    """Return connections, plain and with TLS, that are written down and closed with the stack."""

    def reach(host: str, port: int) -> socket.socket:
        opened = open_connection(host, port, purpose=purpose, ledger=ledger, timeout=_WAIT_SECONDS)
        return stack.enter_context(opened)

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = reach(self.host, self.port)

    class Private(http.client.HTTPSConnection):
        def connect(self) -> None:
            context = self._context  # type: ignore[attr-defined]  # as it was given
            self.sock = context.wrap_socket(reach(self.host, self.port), server_hostname=self.host)

    return Plain, Private


def _opener(stack: ExitStack, ledger: Ledger, purpose: str) -> urllib.request.OpenerDirector:
    """Return what follows redirects, each through a connection that is written down and closed with the stack."""

    plain, private = _connections(stack, ledger, purpose)

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(plain, request)

    class PrivateHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            options: dict[str, Any] = {"context": self._context}  # type: ignore[attr-defined]
            return self.do_open(private, request, **options)

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
