"""The one door out of this machine: every outbound connection is opened here, and written down before it is."""

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

from ruma.errors import InputError
from ruma.offline import is_here, is_offline, passing

Outcome = Literal["open", "done", "failed", "refused"]
"""`open` for one that is not over, or whose process ended first."""

FILE_NAME = "connections.jsonl"
"""The operator's ledger in the home: what is no tenant's. It holds no tenant's data."""

MOST_BYTES = 5_000_000
"""Beyond this the operator's ledger keeps its newer half."""

Refusal = Callable[[str], str]
"""Told a network address, says why it may not be connected to; nothing where it may."""

MOST_ADDRESSES = 3
"""How many addresses of one name are tried: a name can have a hundred that never answer."""

_TCP_INFO_BYTES = 256
_BYTES_RECEIVED, _BYTES_SENT, _BYTES_RETRANSMITTED = 128, 200, 208
"""Where `struct tcp_info` of <linux/tcp.h> has them; its members never move."""


@dataclass(frozen=True)
class Attempt:
    """A connection that is about to be opened."""

    at: str
    purpose: str
    """Why, in a few words: `mail: a reply to a visitor`."""
    host: str
    port: int


@dataclass(frozen=True)
class Ending:
    """What became of a connection."""

    outcome: Outcome
    reason: str = ""
    """What went wrong, without a word of what was sent."""
    address: str = ""
    """The network address behind the host's name."""
    bytes_out: int = 0
    bytes_in: int = 0
    """What went over the wire as the kernel counted it, encryption included, the packets' heads not."""
    milliseconds: int = 0


class Ledger(Protocol):
    """Where connections are written down: a tenant's, or the operator's."""

    def begin(self, attempt: Attempt) -> int:
        """Write down that a connection is about to be opened, and return its number."""

    def end(self, number: int, ending: Ending) -> None:
        """Write down what became of it."""


class HomeLedger:
    """The operator's ledger: a file of one JSON object a line in the home."""

    def __init__(self, home: Path) -> None:
        """Take the home; the file is made with the first line."""
        self._file = home / FILE_NAME

    def begin(self, attempt: Attempt) -> int:
        """Write a line, and return a number that its end will have."""
        number = time.time_ns()
        self._add({"id": number, **asdict(attempt), "outcome": "open"})
        return number

    def end(self, number: int, ending: Ending) -> None:
        """Write a line with the number of the first one."""
        self._add({"id": number, **asdict(ending)})

    def read(self) -> list[tuple[int, Attempt, Ending]]:
        """Return every connection with its end, the newest first."""
        found: dict[int, dict[str, object]] = {}
        with suppress(FileNotFoundError):
            for line in self._file.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError, TypeError, KeyError):
                    entry = json.loads(line)
                    found.setdefault(entry["id"], {}).update(entry)
        rows = []
        for number, entry in sorted(found.items(), reverse=True):
            with suppress(TypeError, KeyError):
                attempt = Attempt(*(entry[name] for name in ("at", "purpose", "host", "port")))  # type: ignore[arg-type]
                ending = {name: entry[name] for name in Ending.__dataclass_fields__ if name in entry}
                rows.append((number, attempt, Ending(**ending)))  # type: ignore[arg-type]
        return rows

    def _add(self, entry: dict[str, object]) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # One write of one line: two processes that add at once do not mix theirs.
        with os.fdopen(handle, "wb", buffering=0) as file:
            file.write(json.dumps(entry).encode() + b"\n")
            size = file.tell()
        if size > MOST_BYTES:
            lines = self._file.read_bytes().splitlines(keepends=True)
            part = self._file.with_name(f".{FILE_NAME}.part")
            part.write_bytes(b"".join(lines[len(lines) // 2 :]))
            part.chmod(0o600)
            part.replace(self._file)


def note_refused(ledger: Ledger, host: str, port: int) -> None:
    """Write down what something in this process tried around the door, and was refused."""
    with suppress(OSError):  # it was refused, whether or not there is room to say so
        number = ledger.begin(Attempt(_now(), "unknown: not through the door", host, port))
        ledger.end(number, Ending("refused"))


@contextmanager
def open_connection(
    host: str, port: int, *, purpose: str, ledger: Ledger, timeout: float, refusal: Refusal | None = None
) -> Iterator[socket.socket]:
    """Give a connection to another machine, or to a program on this one; it is closed at the end.

    It is written down before it is opened: where that cannot be done, it is not opened.

    Args:
        host: A name or an address.
        port: The port.
        purpose: Why, as a person reads it in the ledger.
        ledger: Where it is written down.
        timeout: Seconds that connecting, and each wait afterwards, may take.
        refusal: Asked of every address that the host's name has before one of those is connected to. A single one
            that is refused refuses the host: else a second look at the name could lead elsewhere.

    Raises:
        InputError: The host is another machine and this program is offline, or it was refused.
        OSError: It cannot be reached.
    """
    number = ledger.begin(Attempt(_now(), purpose, host, port))
    if is_offline() and not is_here(host):
        ledger.end(number, Ending("refused", "offline"))
        raise InputError(f"{host} was not connected to: Ruma is offline.", hint="Switch off the setting `offline`.")
    begun = time.monotonic()
    outcome: Outcome = "failed"
    reason, address, probe = "", "", -1
    try:
        # Its name is looked up in here too.
        with passing():
            connection = _connect(host, port, timeout, refusal)
        # A second handle: TLS takes the first one over, and the kernel's counts are wanted at the end.
        probe = os.dup(connection.fileno())
        address = str(connection.getpeername()[0])
        with connection:
            yield connection
        outcome = "done"
    except _Refused as exc:
        outcome, reason, address = "refused", exc.reason, exc.address
        raise InputError(f"{host} was not connected to: it {reason}.") from exc
    except BaseException as exc:
        reason = _reason(exc)
        raise
    finally:
        sent, received = _count(probe)
        milliseconds = round((time.monotonic() - begun) * 1000)
        ledger.end(number, Ending(outcome, reason, address, sent, received, milliseconds))


class _Refused(Exception):
    """A host has an address that may not be connected to."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__()
        self.address, self.reason = address, reason


def _connect(host: str, port: int, timeout: float, refusal: Refusal | None) -> socket.socket:
    if refusal is None:
        return socket.create_connection((host, port), timeout)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    for address in addresses:
        if reason := refusal(address):
            raise _Refused(address, reason)
    # The addresses themselves, so that no other answer about the name comes in between.
    problem: OSError | None = None
    for address in addresses[:MOST_ADDRESSES]:
        try:
            return socket.create_connection((address, port), timeout)
        except OSError as exc:
            problem = exc
    raise problem or OSError("no address")


def _count(probe: int) -> tuple[int, int]:
    """Return how many bytes the kernel sent and received on a connection, and let go of it."""
    if probe < 0:
        return 0, 0
    with socket.socket(fileno=probe) as counted:
        info = counted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    if len(info) < _BYTES_RETRANSMITTED + 8:
        return 0, 0  # a kernel before 4.19 does not count
    received, sent, again = (
        struct.unpack_from("=Q", info, at)[0] for at in (_BYTES_RECEIVED, _BYTES_SENT, _BYTES_RETRANSMITTED)
    )
    return sent - again, received


def _reason(exc: BaseException) -> str:
    # A server may repeat in its message what it was sent, so only the kind is told.
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, socket.gaierror):
        return "its name is not known"
    if isinstance(exc, OSError) and exc.strerror and type(exc).__module__ == "builtins":
        return exc.strerror
    return type(exc).__name__


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
