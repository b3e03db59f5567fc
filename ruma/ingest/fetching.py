"""The one place that speaks HTTP as a client: through the one door, with a limit on everything a server can send.

No proxy, no cookie, no password and no cache: a request has nothing that the next one does not have.
"""

import http.client
import io
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ruma import __version__
from ruma.connections import Ledger, open_connection
from ruma.errors import InputError
from ruma.ingest.addresses import Reach, WebAddress, follow
from ruma.offline import is_offline

AGENT = f"Ruma/{__version__}"
"""How requests name themselves; `robots.txt` knows it as "ruma"."""

MOST_HOPS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_FOR_GOOD = {301, 308}
_MOST_HEAD_BYTES = 1_000_000
_BLOCK = 65536
_CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 0.5
"""How soon it is noticed that nobody wants the answer any more."""


@dataclass(frozen=True)
class Limits:
    """What one request may take."""

    most_bytes: int = 20_000_000
    """Of a body, counted after it was unpacked."""
    seconds: float = 120.0
    """From the first connection to the last byte, redirects included."""
    wait_seconds: float = 15.0
    """How long nothing may come."""


@dataclass(frozen=True)
class Door:
    """How requests leave: where they are written down, why they are made, and whom they may reach."""

    ledger: Ledger
    purpose: str
    reach: Reach | None
    """None reaches any address: for what the operator types."""
    is_stopped: Callable[[], bool] = lambda: False
    """Asked often; where it says yes, the request ends within a second."""


@dataclass(frozen=True)
class Answer:
    """What a server answered, whatever its status."""

    address: WebAddress
    """Where it came from, after redirects."""
    status: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    """By their names in lower case."""
    body: bytes = field(repr=False)
    is_moved: bool = False
    """Whether it was led to, and is there for good."""

    def header(self, name: str) -> str:
        """Return the first header of that name; empty where there is none."""
        return next((value for key, value in self.headers if key == name), "")


class CertificateError(Exception):
    """A server's certificate is not one that this machine trusts: what that means is for the one who asks to say."""


def fetch(
    address: WebAddress,
    door: Door,
    limits: Limits,
    headers: Mapping[str, str] | None = None,
    *,
    follows: Callable[[WebAddress], bool] | None = None,
) -> Answer:
    """Return what is at an address, having followed up to five redirects, each checked as the first address was.

    Args:
        address: Where to begin.
        door: How requests leave.
        limits: What all of it may take.
        headers: Sent besides those that name this program and what it takes.
        follows: Asked whether a redirect is followed; one that is not is the answer.

    Raises:
        InputError: It cannot be had, or is too large or too slow; the message continues a sentence that begins with
            the address.
    """
    until = time.monotonic() + limits.seconds
    statuses: list[int] = []
    for _ in range(MOST_HOPS + 1):
        with open_client(address, door, limits, until=until) as client:
            try:
                answer = client.ask("GET", address.target, headers or {})
            except CertificateError as exc:
                raise InputError(str(exc)) from exc
        answer = replace(answer, is_moved=bool(statuses) and set(statuses) <= _FOR_GOOD)
        location = answer.header("location")
        if answer.status not in _REDIRECTS or not location:
            return answer
        statuses.append(answer.status)
        try:
            address = follow(address, location)
        except InputError as exc:
            raise InputError(f"leads on to an address that is not followed. {exc}") from exc
        if follows and not follows(address):
            return answer
    raise InputError(f"leads on from one address to the next more than {MOST_HOPS} times.")


@contextmanager
def open_client(
    address: WebAddress,
    door: Door,
    limits: Limits,
    *,
    until: float | None = None,
    context: ssl.SSLContext | None = None,
) -> Iterator["Client"]:
    """Give the way to ask one server; its connections are in the ledger, and closed at the end.

    Args:
        address: The server's; its target does not matter.
        door: How requests leave.
        limits: What each request may take.
        until: A moment of the monotonic clock at which all requests must be over; without it each has its own time.
        context: How the server proves itself; without it, by a certificate that this machine trusts.
    """
    client = Client(address, door, limits, until, context)
    try:
        yield client
    finally:
        client.end()


class Client(http.client.HTTPConnection):
    """A connection to one server, made anew through the door where the server closed it."""

    def __init__(
        self, address: WebAddress, door: Door, limits: Limits, until: float | None, context: ssl.SSLContext | None
    ) -> None:
        """Use `open_client`."""
        super().__init__(address.host, address.port)
        self._address, self._door, self._limits = address, door, limits
        self._tls = context or ssl.create_default_context() if address.scheme == "https" else None
        self._given_until, self._until, self._count = until, 0.0, 0
        self._opened = ExitStack()

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Return the answer to one request.

        Raises:
            InputError: There is none, or it is too large or too slow; the message continues a sentence that begins
                with the address.
            CertificateError: The server's certificate is not trusted; its message continues that sentence, too.
        """
        self._until, self._count = self._given_until or time.monotonic() + self._limits.seconds, 0
        sent = {"Host": self._address.authority, "User-Agent": AGENT, "Accept-Encoding": "gzip", **headers}
        try:
            self.request(method, target, body, sent)
            response = self.getresponse()
            try:
                found = b"".join(self._read(response))
            finally:
                response.close()
        except BaseException as exc:
            self._opened.__exit__(type(exc), exc, exc.__traceback__)  # the ledger gets the reason
            if isinstance(exc, ssl.SSLCertVerificationError):
                raise CertificateError(f"has a certificate that is not trusted: {exc.verify_message}.") from exc
            if isinstance(exc, OSError | ValueError | http.client.HTTPException | zlib.error):
                raise InputError(_explain(exc)) from exc
            raise
        named = tuple((name.lower(), value) for name, value in response.headers.items())
        return Answer(self._address, response.status, named, found)

    def connect(self) -> None:
        """Open the connection: called by `request` where there is none."""
        self._opened.close()
        door, address = self._door, self._address
        if is_offline() and door.reach is not None:
            raise InputError("was not read: Ruma is offline.")
        reach = door.reach
        try:
            opened = self._opened.enter_context(
                open_connection(
                    address.host,
                    address.port,
                    purpose=door.purpose,
                    ledger=door.ledger,
                    timeout=max(0.1, min(_CONNECT_SECONDS, self._until - time.monotonic())),
                    refusal=(lambda ip: reach.refusal(ip, address.port)) if reach else None,
                )
            )
        except InputError as exc:
            raise InputError(f"was not read. {exc}") from exc
        if self._tls:
            opened = self._opened.enter_context(self._tls.wrap_socket(opened, server_hostname=address.host))
        self.sock: Any = _Watched(opened, self)

    def end(self) -> None:
        """Close the connection; it is complete in the ledger then."""
        self.close()
        self._opened.close()

    def pause(self) -> float:
        """Return how many seconds may be waited before it is looked again.

        Raises:
            TimeoutError: There is no time left.
            InputError: Nobody wants the answer any more.
        """
        if self._door.is_stopped():
            raise InputError("was not read: reading was stopped.")
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, _LOOK_SECONDS)

    @property
    def patience(self) -> float:
        """How many seconds nothing may come."""
        return self._limits.wait_seconds

    def count(self, size: int) -> None:
        """Count what came in for one request, heads and packing included.

        Raises:
            InputError: It is too much.
        """
        self._count += size
        if self._count > self._limits.most_bytes + _MOST_HEAD_BYTES:
            raise InputError(f"is larger than {self._limits.most_bytes / 1_000_000:,.0f} MB.")

    def _read(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """Give the body, unpacked.

        Raises:
            InputError: It is too large, or packed in a way that was not asked for.
        """
        packing = response.headers.get("Content-Encoding", "identity").strip().lower()
        if packing not in ("identity", "gzip", "x-gzip", ""):
            raise InputError(f"came packed as {packing[:30]!r}, which was not asked for.")
        unpacker = zlib.decompressobj(31) if "gzip" in packing else None
        left = self._limits.most_bytes
        while block := response.read1(_BLOCK):
            # One byte more than allowed at most: a few kilobytes can hold gigabytes.
            found = unpacker.decompress(block, left + 1) if unpacker else block
            left -= len(found)
            if left < 0:
                raise InputError(f"is larger than {self._limits.most_bytes / 1_000_000:,.0f} MB.")
            yield found
        if response.length or (unpacker and not unpacker.eof and left != self._limits.most_bytes):
            raise InputError("broke off in the middle.")


class _Watched:
    """A socket as `http.client` uses one, which gives up in time however slowly the bytes come."""

    def __init__(self, connection: socket.socket, client: Client) -> None:
        self._connection, self._client = connection, client

    def makefile(self, _: str) -> io.BufferedReader:
        """Return what the answer is read from."""
        return io.BufferedReader(_Reading(self._connection, self._client), _BLOCK)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self._connection.settimeout(self._client.patience)
        self._connection.sendall(data)

    def close(self) -> None:
        """Leave it open: an answer may be read from it still, and the client closes it at its end."""


class _Reading(io.RawIOBase):
    """The reading side of a socket."""

    def __init__(self, connection: socket.socket, client: Client) -> None:
        self._connection, self._client = connection, client

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for the next bytes, and return how many came.

        Raises:
            TimeoutError: They did not come in time.
            InputError: There were too many, or nobody wants them any more.
        """
        until = time.monotonic() + self._client.patience
        while True:
            self._connection.settimeout(self._client.pause())
            try:
                count = self._connection.recv_into(buffer)
                break
            except TimeoutError:
                if time.monotonic() > until:
                    raise
        self._client.count(count)
        return count


def _explain(exc: Exception) -> str:
    """Return what went wrong, without a word of what was sent or answered."""
    if isinstance(exc, TimeoutError):
        return "did not answer in time."
    if isinstance(exc, socket.gaierror):
        return "cannot be reached: its name is not known."
    if isinstance(exc, ssl.SSLError):
        return "cannot be reached: it does not speak TLS as this machine does."
    if isinstance(exc, ConnectionError | http.client.RemoteDisconnected | http.client.IncompleteRead):
        return "cannot be reached, or ended the connection."
    if isinstance(exc, OSError) and exc.strerror:
        return f"cannot be reached: {exc.strerror}."
    return "gave an answer that is not HTTP, or a damaged one."
