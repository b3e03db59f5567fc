"""Looks for words in every decrypted page of a database and its log, and in files as they lie on the disk.

Encrypted files that "do not contain the word" prove nothing about deletion; decrypted pages do. Every search needs its
own control: planted and found first, or a wrong path would pass for ever.
"""

import base64
import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LETTERS = "bcdfghjkmnpqrtvwxz"  # no vowels and no s: no stemmer takes anything off such a word
PAGE, RESERVE = 4096, 80  # SQLCipher 4: IV of 16 and HMAC of 64 bytes end each page; a raw key is the page key
_PIECE = 1 << 20


def make_canaries(count: int = 3) -> list[str]:
    """Return random words that are nowhere else."""
    return ["".join(secrets.choice(_LETTERS) for _ in range(24)) for _ in range(count)]


def clear_pages(path: Path, key: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the decrypted content of each page of a database, or of each frame of its log.

    Frames that are no longer valid are among them, and pages that no table owns.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    data, is_log = read_file(path), path.name.endswith("-wal")
    at, step = (32, 24 + PAGE) if is_log else (0, PAGE)
    while at + step <= len(data):
        number = int.from_bytes(data[at : at + 4], "big") if is_log else at // PAGE + 1
        page = data[at + 24 : at + step] if is_log else data[at : at + step]
        iv, skip = page[PAGE - RESERVE :][:16], 16 if number == 1 else 0  # page 1 starts with the salt
        decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
        yield number, decryptor.update(page[skip : PAGE - RESERVE]) + decryptor.finalize()
        at += step


def read_file(path: Path) -> bytes:
    """Return a file's bytes; a database's by another process, since closing one that is open takes its locks."""
    if ".db" in path.name:
        return subprocess.run(["cat", path], capture_output=True, check=True).stdout
    return path.read_bytes()


def needles(word: str) -> set[bytes]:
    """Return the forms in which a word could have been kept.

    Only its last 16 letters: FTS5 keeps of neighbouring words only what differs.
    """
    tail, found = word[-16:].lower(), set()
    for text in (tail, tail[::-1]):
        for raw in (text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be")):
            found |= {raw, raw.hex().encode()}
            for shift in range(3):  # whole groups only: the edges depend on the neighbours
                whole = raw[(3 - shift) % 3 :]
                found.add(base64.b64encode(whole[: len(whole) // 3 * 3]))
    return found


class Needles:
    """Words, in every form in which they could have been kept, looked for in many megabytes at once."""

    def __init__(self, words: Iterable[str], vectors: Iterable[bytes] = ()) -> None:
        """Take words, and bytes that are called "vector" where they are found."""
        self._by_start: dict[int, list[tuple[bytes, str]]] = {}
        forms = [(form, word) for word in words for form in needles(word)] + [(one, "vector") for one in vectors]
        for form, word in forms:
            self._by_start.setdefault(int.from_bytes(form[:8], "little"), []).append((form, word))
        self._starts = np.array(sorted(self._by_start), np.uint64)
        self._table = np.zeros(1 << 16, bool)
        self._table[_mixed(self._starts)] = True
        self._overlap = max((len(form) for form, _ in forms), default=0)

    def find(self, contents: Iterable[tuple[str, bytes]]) -> dict[str, list[str]]:
        """Return which words are in contents, each with the places that were named with those."""
        found: dict[str, list[str]] = {}
        for place, content in contents:
            for data in {content, content.lower()}:
                for at in range(0, len(data), _PIECE):
                    for word in self._find_in(data[at : at + _PIECE + self._overlap]):
                        if place not in found.setdefault(word, []):
                            found[word].append(place)
        return found

    def _find_in(self, data: bytes) -> set[str]:
        if len(data) < 8 or not len(self._starts):
            return set()
        windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), 8)
        words = np.ascontiguousarray(windows).view("<u8").ravel()
        at = np.flatnonzero(self._table[_mixed(words)])  # rules nearly all places out
        at = at[np.isin(words[at], self._starts)]
        near = ((int(place), self._by_start[int(words[place])]) for place in at)
        return {word for place, forms in near for form, word in forms if data.startswith(form, place)}


def _mixed(words: "NDArray[np.uint64]") -> "NDArray[np.uint64]":
    mixed: NDArray[np.uint64] = words * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(48)
    return mixed


def find_residue(folder: Path, key: bytes, words: Iterable[str], vectors: Iterable[bytes] = ()) -> dict[str, list[str]]:
    """Return where words, and vectors as they are stored, are in a tenant's decrypted database and log."""
    wanted, found = Needles(words, vectors), dict[str, list[str]]()
    for file in sorted(folder.glob("tenant*.db*")):
        if not file.name.endswith("-shm"):
            pages = list(clear_pages(file, key))
            # All at once, which is quicker; one by one only where something is found, to say where.
            if wanted.find([(file.name, b"\0".join(page for _, page in pages))]):
                for word, places in wanted.find((f"{file.name}:{number}", page) for number, page in pages).items():
                    found.setdefault(word, []).extend(places)
    return found


def find_plaintext(places: Sequence[Path], words: Iterable[str]) -> dict[str, list[str]]:
    """Return where words are in files, and in the names of files, as they lie on the disk."""
    return Needles(words).find(_files(places))


def _files(places: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    for place in places:
        if place.is_file():
            yield str(place), read_file(place)
        for folder, folders, files in os.walk(place):
            for name in [*folders, *files]:
                path = Path(folder) / name
                content = os.fsencode(name)
                if path.is_file() and not path.is_symlink():
                    with contextlib.suppress(
                        FileNotFoundError, subprocess.CalledProcessError
                    ):  # a server may be at work
                        content += b"\0" + read_file(path)
                yield str(path), content
