"""Looks for what was erased in every decrypted page of a database, without knowing what it was.

When something is erased, pieces of 16 bytes are taken from it, wherever it was stored, and only their fingerprints are
kept: 64 bits of each, made with a secret of that erasure. A search makes the fingerprint of every 16 bytes of a page
and compares. Pages are decrypted here and not by SQLite, which shows neither a free page nor an old frame of the log.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ruma.tenant.raw_files import read_blocks

if TYPE_CHECKING:
    from sqlite_utils import Database

WINDOW = 16
"""Bytes of one piece: short enough to lie on one page, long enough to be found by chance nowhere."""

SECRET_BYTES = 32
MOST_PIECES = 4096
PIECES_A_VALUE = 6

_PAGE, _RESERVED, _IV = 4096, 80, 16  # SQLCipher 4: IV of 16 and HMAC of 64 bytes end each page
_WAL_HEAD, _FRAME_HEAD = 32, 24
_BATCH_PAGES = 32
_HEX = re.compile(r"[0-9a-f]{32,64}", re.ASCII)

Words = NDArray[np.uint64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """A page in which a piece was found."""

    file: str
    page: int
    kind: str
    """What the page belongs to, in words."""


@dataclass(frozen=True)
class Fingerprints:
    """What an erasure left behind to be looked for: nothing that can be read."""

    secret: bytes
    pieces: Words
    """Of pieces of texts, vectors and names, sorted."""
    terms: Words
    """Of words that no search finds any more, sorted."""

    @property
    def digest(self) -> str:
        """SHA-256 of all of it: a receipt holds it, so that none can be taken away unseen."""
        content = self.secret + self.pieces.astype("<u8").tobytes() + b"\0" + self.terms.astype("<u8").tobytes()
        return hashlib.sha256(content).hexdigest()


def make_fingerprints(values: Iterable[str | bytes], terms: Iterable[str], secret: bytes | None = None) -> Fingerprints:
    """Return the fingerprints of pieces of stored values, and of whole words of the full-text index."""
    secret, words = secret or secrets.token_bytes(SECRET_BYTES), list(terms)
    chosen = [piece for value in values for piece in choose_pieces(value)]
    if len(chosen) > MOST_PIECES:
        chosen = secrets.SystemRandom().sample(chosen, MOST_PIECES)
    ends = [raw[-WINDOW:] for raw in (word.encode() for word in words) if len(raw) >= WINDOW]
    raw = b"".join([*chosen, *ends[:MOST_PIECES]])
    halves = np.frombuffer(raw, "<u8").astype(np.uint64)
    pieces = _fingerprint(halves[::2], halves[1::2], _keys(secret))
    hashed = np.array(sorted({hash_term(term, secret) for term in words[:MOST_PIECES]}), np.uint64)
    return Fingerprints(secret, np.unique(pieces), hashed)


def choose_pieces(value: str | bytes) -> list[bytes]:
    """Return some pieces of a stored value, from all over it; a short value has none."""
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    room = len(raw) - WINDOW
    if room < 0:
        return []
    places = {place * room // (PIECES_A_VALUE - 1) for place in range(PIECES_A_VALUE)}
    found = [raw[place : place + WINDOW] for place in sorted(places)]
    # What is all one byte, or nearly, is no piece of anything: an empty vector, a line.
    return [piece for piece in found if len(set(piece)) >= 6]


def hash_term(term: str, secret: bytes) -> int:
    """Return the fingerprint of a whole word."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8, key=secret).digest(), "little")


def find_in_pages(
    database: Path, key: bytes, looked_for: Fingerprints, *, only: Collection[int] | None = None
) -> tuple[dict[int, list[Place]], int]:
    """Return in which pages pieces are, by their place in `pieces`, and how many pages were looked through.

    Args:
        database: The tenant's database file; its log lies beside it.
        key: The 32 bytes with which pages are encrypted.
        looked_for: What to look for.
        only: The numbers of the pages of the main file to look through; None takes all. Of the log it is always
            every frame, those that are no longer valid among them.

    Raises:
        DamagedError: A file cannot be read.
    """
    hits: dict[int, list[Place]] = {}
    looked_through = 0
    for ending in ("", "-wal", "-journal"):
        path = database.with_name(database.name + ending)
        pages = clear_pages(path, key, only=None if ending else only) if path.exists() else iter(())
        while batch := list(islice(pages, _BATCH_PAGES)):
            looked_through += len(batch)
            for place, page in find_in_contents([content for _, content in batch], looked_for):
                number, content = batch[page]
                one = Place(path.name, number, _kind_of(number, content))
                if one not in hits.setdefault(place, []):
                    hits[place].append(one)
    return hits, looked_through


def clear_pages(path: Path, key: bytes, *, only: Collection[int] | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield number and decrypted content of each page of a database, or of each frame of its log.

    Raises:
        DamagedError: The file cannot be read.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    is_log = path.name.endswith("-wal")
    at, step = (_WAL_HEAD, _FRAME_HEAD + _PAGE) if is_log else (0, _PAGE)
    numbers = None if only is None else sorted(only)
    places = None if numbers is None else [(number - 1) * _PAGE for number in numbers]
    cipher = algorithms.AES(key)
    for place, block in enumerate(read_blocks(path, step, start=at, places=places)):
        if len(block) < step:
            return
        number = int.from_bytes(block[:4], "big") if is_log else numbers[place] if numbers else place + 1
        page = block[_FRAME_HEAD:] if is_log else block
        skip = _IV if number == 1 else 0  # page 1 begins with the salt
        end = _PAGE - _RESERVED
        decryptor = Cipher(cipher, modes.CBC(page[end : end + _IV])).decryptor()
        yield number, decryptor.update(page[skip:end]) + decryptor.finalize()


@dataclass(frozen=True)
class LogState:
    """The valid frames of the log at a moment: the salt that they bear, and the page that each is of."""

    salt: bytes
    pages: tuple[int, ...]

    def pages_since(self, before: "LogState") -> set[int]:
        """Return the pages that were written since an earlier moment; where the log was begun anew, all of it."""
        return set(self.pages[len(before.pages) :] if self.salt == before.salt else self.pages)


def read_log(database: Path) -> LogState:
    """Return which pages the log has valid frames of (SQLite's file format, section 4.1)."""
    try:
        file = os.open(database.with_name(f"{database.name}-wal"), os.O_RDONLY)
    except FileNotFoundError:
        return LogState(b"", ())
    try:
        salt, pages = os.pread(file, 8, 16), []
        for at in range(_WAL_HEAD, os.fstat(file).st_size, _FRAME_HEAD + _PAGE):
            head = os.pread(file, 16, at)
            if head[8:] != salt:
                break
            pages.append(int.from_bytes(head[:4], "big"))
    finally:
        os.close(file)
    return LogState(salt, tuple(pages))


def read_terms(db: "Database", index: str) -> Iterator[str]:
    """Yield every word that the segments of a full-text index hold, also those that are only marked as deleted.

    Read from the index's own pages, since asking the index shows living words alone
    (SQLite's fts5_index.c: "fts5 segment leaf format").
    """
    for number, block in db.execute(f"select id, block from {index}_data where id > 10 order by id"):
        if number >> 31 & 63 == 0:  # height 0: a leaf; others hold no words of their own
            yield from _leaf_terms(block)


def _leaf_terms(block: bytes) -> Iterator[str]:
    footer = int.from_bytes(block[2:4], "big")
    at, place, term = footer, 0, b""
    while at < len(block):
        distance, at = _varint(block, at)
        is_first = place == 0
        place += distance
        kept, start = (0, place) if is_first else _varint(block, place)
        size, start = _varint(block, start)
        term = term[:kept] + block[start : start + size]
        # The first byte says which index it is: "0" is the one of whole words.
        yield term[1:].decode("utf-8", "replace")


def _varint(block: bytes, at: int) -> tuple[int, int]:
    value = 0
    for _ in range(8):
        value = value << 7 | block[at] & 0x7F
        at += 1
        if block[at - 1] < 0x80:
            return value, at
    return value << 8 | block[at], at + 1


def find_in_contents(contents: Sequence[bytes], looked_for: Fingerprints) -> list[tuple[int, int]]:
    """Return what was found in pages or rows, looked through together: (place of the piece, which of the contents)."""
    if not len(looked_for.pieces) or not contents:
        return []
    ends = np.cumsum([len(content) for content in contents])
    at, places = _match(b"".join(contents), looked_for)
    first = np.searchsorted(ends, at, side="right")
    last = np.searchsorted(ends, at + WINDOW - 1, side="right")
    return [(int(place), int(page)) for place, page, end in zip(places, first, last, strict=True) if page == end]


def _match(data: bytes, looked_for: Fingerprints) -> tuple[Places, Places]:
    """Return where in some bytes one of the pieces begins, and which."""
    table = np.zeros(1 << 16, bool)
    table[looked_for.pieces.astype(np.uint16)] = True
    keys = _keys(looked_for.secret)
    words = _words(data)
    if len(words) <= 8:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    at = np.flatnonzero(table.take(_beginnings(words[: len(words) - 8], keys)))  # 16 bits rule nearly all of them out
    found = _fingerprint(words[at], words[at + 8], keys)
    places = np.searchsorted(looked_for.pieces, found)
    places[places == len(looked_for.pieces)] = 0
    is_same = looked_for.pieces[places] == found
    return at[is_same], places[is_same]


def _words(data: bytes) -> Words:
    """Return the 8 bytes that begin at each place, as one number each."""
    raw, words = memoryview(data), np.empty(max(len(data) - 7, 0), np.uint64)
    for shift in range(8):
        part = np.frombuffer(raw[shift : shift + (len(data) - shift) // 8 * 8], "<u8")
        words[shift::8] = part
    return words


def _keys(secret: bytes) -> Words:
    return np.frombuffer(hashlib.blake2b(b"pieces", key=secret, digest_size=48).digest(), np.uint64) | np.uint64(1)


def _beginnings(words: Words, keys: Words) -> NDArray[np.uint16]:
    """Return 16 bits of the first half of each piece: the cheap part of its fingerprint."""
    mixed = words * keys[0]
    mixed >>= np.uint64(48)
    short: NDArray[np.uint16] = mixed.astype(np.uint16)
    return short


def _fingerprint(first: Words, second: Words, keys: Words) -> Words:
    """Return the fingerprints of pieces, given in halves: keyed multiplications, the last 16 bits by the first half."""
    mixed = (first ^ keys[1]) * keys[2]
    mixed ^= mixed >> np.uint64(32)
    mixed = (mixed ^ (second + keys[3])) * keys[4]
    mixed ^= mixed >> np.uint64(29)
    mixed *= keys[5]
    mixed ^= mixed >> np.uint64(32)
    made: Words = mixed << np.uint64(16) | _beginnings(first, keys)
    return made


def _kind_of(number: int, content: bytes) -> str:
    """Say what a page holds, by its first byte (SQLite's file format, section 1.6)."""
    kind = content[84] if number == 1 and len(content) > 84 else content[0]
    known = {2: "an index", 5: "a table's inner page", 10: "an index", 13: "a table"}
    return known.get(kind, "an overflow or free page")
