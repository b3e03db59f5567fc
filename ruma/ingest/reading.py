"""The parent side of the parser process: bytes go in as a memory file, text and structure come back, checked.

The only module that starts the parser process, and the one that says what a reader's version is.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ruma.errors import InputError
from ruma.ingest import parser_process
from ruma.ingest.formats.links import LONGEST_LINK, MOST_LINKS
from ruma.ingest.parsed import KINDS, MAX_TEXT, Block, ParsedDocument

Found = TypeVar("Found")

READER = "1"
"""The version of reading and splitting; a new one makes the next ingest read unchanged documents again."""

WALL_FACTOR = 3
"""How much longer than its processor time a document may take, since other programs run too."""

_START_SECONDS = 60
_MOST_RESULT = 6 * MAX_TEXT
_PIPE_BYTES = 1 << 20
_LONGEST_NAME = 4_000
_START = """
import sys
root, descriptor, memory, cpu = sys.argv[1:]
if root not in sys.path:
    sys.path.insert(0, root)
from ruma.ingest.parser_process import serve
serve(int(descriptor), int(memory), int(cpu))
"""


@dataclass(frozen=True)
class Limits:
    """What one document may use."""

    cpu_seconds: int = parser_process.CPU_SECONDS
    memory_bytes: int = parser_process.MEMORY_BYTES

    def wall_seconds(self, size: int) -> float:
        """Return after how long the parent gives up on a document of this size."""
        return WALL_FACTOR * parser_process.cpu_limit(self.cpu_seconds, size)


class Reader:
    """Reads documents in a process of their own, which starts with the first one and ends with `close`.

    Use it in one thread: the process dies with the thread that started it. `close` may come from another.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        """Start nothing yet."""
        self.is_fully_confined: bool | None = None
        """Whether the process has a network namespace of its own; None before it was started."""
        self._limits = limits or Limits()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self.is_closed = False
        """Whether it was closed, and reads nothing more."""

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, data: bytes, name: str, *, charset: str = "") -> ParsedDocument:
        """Return a document's text and structure.

        Args:
            data: Its bytes.
            name: Only breaks ties between formats.
            charset: The encoding that its web server names for it.

        Raises:
            InputError: It cannot be read; the message continues the sentence that begins with its name.
        """
        return _unpack(self._answer(data, name, "text", charset), _checked)

    def read_links(self, data: bytes) -> "Links":
        """Return where an HTML page links to.

        Raises:
            InputError: It cannot be read.
        """
        return _unpack(self._answer(data, "", "links"), _checked_links)

    def read_sitemap(self, data: bytes) -> "Sitemap":
        """Return what a sitemap names.

        Raises:
            InputError: It cannot be read.
        """
        return _unpack(self._answer(data, "", "sitemap"), _checked_sitemap)

    def _answer(self, data: bytes, name: str, want: str, charset: str = "") -> bytes:
        """Return what the process found."""
        self.start()
        deadline = time.monotonic() + self._limits.wall_seconds(len(data))
        try:
            answer = self._ask(data, {"name": name[-_LONGEST_NAME:], "want": want, "charset": charset}, deadline)
            status = self._receive_status(deadline)
        except TimeoutError:
            self._stop()
            raise InputError(f"took longer than {self._limits.wall_seconds(len(data)):.0f} seconds to read.") from None
        except OverflowError:
            self._stop()
            raise InputError("has more text than Ruma reads from one document.") from None
        except OSError as exc:
            self._stop()
            raise InputError("cannot be read: the process that reads documents ended.") from exc
        except BaseException:
            self._stop()  # its answer would be taken for the next document's
            raise
        if status != 0:
            raise InputError(self._explain(status, len(data)))
        return answer

    def start(self) -> None:
        """Start the process if it does not run, so that the first document need not wait for it."""
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        if self._process is None:
            self._start()

    def close(self) -> None:
        """End the process; a document that it reads is lost."""
        self.is_closed = True
        self._stop()

    def _start(self) -> None:
        if self.is_closed:
            raise InputError("was not read: reading was stopped.")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = str(Path(__file__).parents[2])
        limits = (str(self._limits.memory_bytes), str(self._limits.cpu_seconds))
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", _START, root, str(theirs.fileno()), *limits],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={"LANG": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
        self._process, self._channel = process, ours
        if self.is_closed:  # meanwhile, by another thread
            self._stop()
            raise InputError("was not read: reading was stopped.")
        ours.settimeout(_START_SECONDS)
        try:
            greeting = ours.recv(1)
        except OSError:
            greeting = b""
        if not greeting:
            self._stop()
            raise InputError("cannot be read: the process that reads documents did not start.")
        self.is_fully_confined = greeting == b"\x01"

    def _stop(self) -> None:
        process, self._process = self._process, None
        channel, self._channel = self._channel, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
        if channel is not None:
            channel.close()

    def _ask(self, data: bytes, wanted: dict[str, str], deadline: float) -> bytes:
        source, sink = os.pipe()
        try:
            document = _as_memory_file(data)
            try:
                channel = self._open_channel()
                socket.send_fds(channel, [json.dumps(wanted).encode()], [document, sink])
            finally:
                os.close(document)
                os.close(sink)
            return _read_all(source, deadline)
        finally:
            os.close(source)

    def _receive_status(self, deadline: float) -> int:
        channel = self._open_channel()
        channel.settimeout(max(0.1, deadline - time.monotonic()))
        status = channel.recv(parser_process.STATUS.size)
        if len(status) != parser_process.STATUS.size:
            raise ConnectionError("the parser process ended")
        return int(parser_process.STATUS.unpack(status)[0])

    def _open_channel(self) -> socket.socket:
        if self._channel is None:
            raise ConnectionError("the parser process was stopped")
        return self._channel

    def _explain(self, status: int, size: int) -> str:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if number in (signal.SIGXCPU, signal.SIGKILL):
            seconds = parser_process.cpu_limit(self._limits.cpu_seconds, size)
            return f"took too long to read: more than {seconds} seconds of processor time."
        return "made the reader stop; it may be damaged, or made to do harm."


def _as_memory_file(data: bytes) -> int:
    """Return a descriptor of an anonymous file: plaintext that is never on a disk and has no name."""
    descriptor = os.memfd_create("document", os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor


def _read_all(source: int, deadline: float) -> bytes:
    """Return everything from a pipe.

    Raises:
        TimeoutError: It did not end in time.
        OverflowError: There was more than a document can have.
    """
    parts: list[bytes] = []
    length = 0
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                raise TimeoutError
            part = os.read(source, _PIPE_BYTES)
            if not part:
                return b"".join(parts)
            parts.append(part)
            length += len(part)
            if length > _MOST_RESULT:
                raise OverflowError


@dataclass(frozen=True)
class Links:
    """Where a page lets programs go on to, as it is written there, and what these links begin with, if it says so."""

    links: tuple[str, ...]
    base: str
    is_indexed: bool = True
    """Whether the page lets programs keep it."""


@dataclass(frozen=True)
class Sitemap:
    """The pages, and the further sitemaps, that a sitemap names."""

    pages: tuple[str, ...]
    sitemaps: tuple[str, ...]


def _unpack(answer: bytes, check: Callable[[dict[str, Any]], Found]) -> Found:
    """Return what the process found, believing none of it: a hostile file may have taken it over."""
    try:
        found = json.loads(answer)
        if "failed" in found:
            raise InputError(str(found["failed"])[:500])
        return check(found)
    except (ValueError, TypeError, KeyError, IndexError) as exc:
        raise InputError("cannot be read: the reader gave no sensible answer.") from exc


def _checked_links(found: dict[str, Any]) -> Links:
    return Links(_texts(found["links"]), str(found["base"]), bool(found["is_indexed"]))


def _checked_sitemap(found: dict[str, Any]) -> Sitemap:
    return Sitemap(_texts(found["pages"]), _texts(found["sitemaps"]))


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(str(one)[:LONGEST_LINK] for one in found[:MOST_LINKS])


def _checked(found: dict[str, Any]) -> ParsedDocument:
    text, title = found["text"], found["title"]
    paths = [tuple(str(heading) for heading in path) for path in found["paths"]]
    blocks = tuple(Block(start, end, kind, paths[path], page) for start, end, kind, path, page in found["blocks"])
    sentences = tuple((start, end) for start, end in found["sentences"])
    for spans in ([(block.start, block.end) for block in blocks], sentences):
        before = 0
        for start, end in spans:
            if not before <= start < end:
                raise ValueError("spans out of order")
            before = end
        if before > len(text):
            raise ValueError("spans beyond the text")
    if not blocks or not all(block.kind in KINDS and isinstance(block.page, int | None) for block in blocks):
        raise ValueError("unknown blocks")
    if not all(isinstance(one, str) for one in (text, title)):
        raise TypeError("no text")
    return ParsedDocument(title, text, blocks, sentences, str(found["media_type"]), str(found["language"]))
