"""Writes an export's zip from front to end: nothing is written twice, and nothing of it waits anywhere in between."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ruma.privacy.names import NAMES

PART_ITEMS, PART_BYTES = 200, 4_000_000
"""A file of rows is ended after so many items or bytes, whichever comes first: one part at a time is in memory."""

_LEVEL = 1
"""Text shrinks to about a quarter at the fastest level, and to hardly less at the slowest."""


class Sink(Protocol):
    """What takes an archive's bytes in order."""

    def write(self, data: bytes, /) -> Any:
        """Take the next bytes."""


class ArchiveWriter:
    """A zip whose files are all given whole or block by block, under names that were made for it."""

    def __init__(self, sink: Sink, *, made_at: float | None = None) -> None:
        """Write to *sink*, which is only ever appended to."""
        self._zip = zipfile.ZipFile(_Forward(sink), "w", compresslevel=_LEVEL)
        self._time = time.gmtime(made_at)[:6]

    def add(self, name: str, content: str | bytes) -> None:
        """Add a file of text."""
        with self._open(name, zipfile.ZIP_DEFLATED) as file:
            file.write(content.encode("utf-8", "replace") if isinstance(content, str) else content)

    def add_blocks(self, name: str, blocks: Iterable[bytes], *, each: Callable[[], None]) -> int:
        """Add a file that comes block by block, not shrunk, and return its size; *each* is called after a block."""
        size = 0
        with self._open(name, zipfile.ZIP_STORED) as file:
            for block in blocks:
                size += file.write(block)
                each()
        return size

    def finish(self) -> None:
        """Write the list of files, without which the archive does not open."""
        self._zip.close()

    def _open(self, name: str, compression: int) -> Any:
        if not NAMES.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a file in an export")
        info = zipfile.ZipInfo(name, self._time)
        info.compress_type = compression
        info.external_attr = 0o600 << 16
        return self._zip.open(info, "w", force_zip64=True)


class _Forward(io.RawIOBase):
    """A file that can only be written on: zipfile then puts sizes after each content instead of going back."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        self._sink.write(bytes(data))
        return len(data)


def as_line(row: Any) -> str:
    """Return a row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
