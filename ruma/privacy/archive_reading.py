"""Reads a zip that somebody else may have made: by our own names only, counted as it is unpacked, never to the disk.

Nothing is ever extracted: a file's name in the archive is compared with the names that an export has, and its bytes
are handed on. So no name leads anywhere, whatever it says.
"""

import json
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ruma.errors import InputError, RumaError
from ruma.privacy.names import NAMES

MOST_FILES = 1_000_000
MOST_BYTES = 64_000_000_000
"""How much may come out of one archive in all."""

MOST_LINE = 256_000_000
"""The most bytes of one row: a document of 50 million characters, with its vectors elsewhere."""

MOST_RATIO, RATIO_FROM = 300, 16_000_000
"""A file that unpacks to more than so many times its size is refused, once it has come to so many bytes."""

_BLOCK = 256 * 1024
_ENCRYPTED = 1
_LOCAL_HEADER = 30


class ArchiveReader:
    """An archive whose list of files was checked, read one file at a time."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        """Read the list of files; *path* is what the file is called.

        Raises:
            InputError: It is no zip, or not one that Ruma wrote.
        """
        self._path = path
        with _refused(path):
            self._zip = zipfile.ZipFile(file)
        self._left = MOST_BYTES
        self._infos = _checked(self._zip)

    @property
    def names(self) -> list[str]:
        """The names of the files, sorted."""
        return sorted(self._infos)

    def read_json(self, name: str, most_bytes: int) -> Any:
        """Return the content of a small file of JSON.

        Raises:
            InputError: It is missing, larger, or no JSON.
        """
        return _parse(b"".join(self.blocks(name, most_bytes)), name, 1)

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """Return the rows of a file of lines, each an object in JSON.

        Raises:
            InputError: A line is too long, or no object in JSON.
        """
        waiting, number = bytearray(), 0
        for block in self.blocks(name, MOST_BYTES):
            waiting += block
            if b"\n" in block:
                *lines, rest = waiting.split(b"\n")
                waiting = bytearray(rest)
                for line in lines:
                    number += 1
                    yield _parse_row(line, name, number)
            if len(waiting) > MOST_LINE:
                raise InputError(f"{name} has a line of more than {MOST_LINE // 1_000_000} MB.")
        if waiting:
            yield _parse_row(waiting, name, number + 1)

    def blocks(self, name: str, most_bytes: int) -> Iterator[bytes]:
        """Return a file's bytes as they are unpacked; what it was announced to be is not believed.

        Raises:
            InputError: It is missing, damaged, or larger than allowed.
        """
        info = self._infos.get(name)
        if info is None:
            raise InputError(f"The file {name} is missing in the export.")
        size = 0
        with _refused(self._path), self._zip.open(info) as file:
            while block := file.read(_BLOCK):
                size += len(block)
                self._left -= len(block)
                if size > most_bytes or self._left < 0:
                    raise InputError(f"{name} is larger than is taken.")
                if size > RATIO_FROM and size > MOST_RATIO * max(info.compress_size, 1):
                    raise InputError(f"{name} unpacks to over {MOST_RATIO} times its size, as no export does.")
                yield block


def _checked(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > MOST_FILES:
        raise InputError(f"The zip has {len(infos):,} files; {MOST_FILES:,} are the most.")
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if not NAMES.fullmatch(info.orig_filename) or info.filename != info.orig_filename:
            raise InputError("The zip has a file that no export of Ruma has.", hint=f"It is {info.filename[:80]!r}.")
        if info.filename in found:
            raise InputError(f"The zip has two files {info.filename}.")
        if info.flag_bits & _ENCRYPTED or kind not in (0, stat.S_IFREG):
            raise InputError(f"{info.filename} is not a plain file.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{info.filename} is packed in a way that Ruma does not use.")
        found[info.filename] = info
    _check_ranges(infos, archive.start_dir)
    return found


def _check_ranges(infos: list[zipfile.ZipInfo], end: int) -> None:
    """Refuse files that share bytes: so a small archive could hold much (CVE-2024-0450)."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    for info, after in zip(ordered, [*(one.header_offset for one in ordered[1:]), end], strict=True):
        if info.header_offset + _LOCAL_HEADER + len(info.filename) + info.compress_size > after:
            raise InputError(f"{info.filename} shares bytes with another file of the zip.")


def _parse_row(line: bytes | bytearray, name: str, number: int) -> dict[str, Any]:
    row = _parse(line, name, number)
    if not isinstance(row, dict):
        raise InputError(f"Line {number} of {name} is no object.")
    return row


def _parse(line: bytes | bytearray, name: str, number: int) -> Any:
    try:
        return json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as exc:
        raise InputError(f"Line {number} of {name} is no JSON that Ruma reads.") from exc


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Turn what zipfile raises about a file that is damaged or none into an InputError."""
    try:
        yield
    except RumaError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError, RuntimeError) as exc:
        raise InputError(
            f"{path} is no zip that Ruma can read, or is damaged.", hint="It reads what `ruma export` wrote."
        ) from exc
