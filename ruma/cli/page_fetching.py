"""What the operator has fetched to check it: pages of a business's website, and those of the server itself."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ruma.connections import Ledger
from ruma.errors import InputError
from ruma.ingest.addresses import read_address
from ruma.ingest.fetching import CertificateError, Door, Limits, fetch, open_client
from ruma.privacy.policy_pages import Page
from ruma.server.host_page import HostPage, read_page

if TYPE_CHECKING:
    from ruma.server.policy_system import Ask

MOST_BYTES = 5_000_000
_LIMITS = Limits(most_bytes=MOST_BYTES, seconds=20.0, wait_seconds=10.0)


def fetch_page(url: str, ledger: Ledger) -> HostPage:
    """Fetch a page, without proxies, with limits on its size and on the time it takes.

    It may be anywhere, on this machine too: whoever asks is the operator.

    Raises:
        InputError: It is not there, is too large or too slow; or Ruma is offline.
    """
    door = Door(ledger, "a website is checked for the widget", reach=None)
    try:
        answer = fetch(read_address(url), door, _LIMITS, {"Accept": "text/html"})
    except InputError as exc:
        raise InputError(f"{url} {exc}", hint=exc.hint) from exc
    if answer.status != 200:
        raise InputError(f"{url} answered with {answer.status}.", hint="Give an address that shows the page.")
    return read_page(str(answer.address), answer.headers, answer.body.decode("utf-8", "replace"))


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
    try:
        address = read_address(origin)
    except InputError:
        address = None
    if address is None or address.target != "/" or origin.endswith("/"):
        raise InputError(f"{origin} is not the address of a server.", hint="It looks like: https://ask.example.com")
    context = ssl.create_default_context()
    if not is_verified:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    door = Door(ledger, "the policy is checked against the running server", reach=None)
    with open_client(address, door, _LIMITS, context=context) as client:

        def ask(path: str, *, form: Mapping[str, str] | None = None, cookie: str = "") -> Page:
            headers = {"Accept": "text/html", "Cookie": cookie}
            if form is not None:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form).encode() if form is not None else None
            sent = {name: value for name, value in headers.items() if value}
            try:
                answer = client.ask("POST" if form is not None else "GET", path, sent, body)
            except CertificateError as exc:
                raise CertificateError(f"{origin} {exc}") from exc
            except InputError as exc:
                raise InputError(f"The server at {origin} cannot be asked: it {exc}") from exc
            return Page(path.partition("?")[0], answer.status, answer.headers, answer.body.decode("utf-8", "replace"))

        yield ask
