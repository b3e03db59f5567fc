"""Looks for words in every decrypted page of a database and its log, and in files as they lie on the disk.

Encrypted files that "do not contain the word" prove nothing about deletion; decrypted pages do. Every search needs its
own control: planted and found first, or a wrong path would pass for ever.
"""

import base64
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_LETTERS = "bcdfghjkmnpqrtvwxz"  # no vowels and no s: no stemmer takes anything off such a word
PAGE, RESERVE = 4096, 80  # SQLCipher 4: IV of 16 and HMAC of 64 bytes end each page; a raw key is the page key


def make_canaries(count: int = 3) -> list[str]:
    """Return random words that are nowhere else."""
    return ["".join(secrets.choice(_LETTERS) for _ in range(24)) for _ in range(count)]


def clear_pages(path: Path, key: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the decrypted content of each page of a database, or of each frame of its log.

    Frames that are no longer valid are among them, and pages that no table owns.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    data, is_log = path.read_bytes(), path.name.endswith("-wal")
    at, step = (32, 24 + PAGE) if is_log else (0, PAGE)
    while at + step <= len(data):
        number = int.from_bytes(data[at : at + 4], "big") if is_log else at // PAGE + 1
        page = data[at + 24 : at + step] if is_log else data[at : at + step]
        iv, skip = page[PAGE - RESERVE :][:16], 16 if number == 1 else 0  # page 1 starts with the salt
        decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
        yield number, decryptor.update(page[skip : PAGE - RESERVE]) + decryptor.finalize()
        at += step


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


def find_residue(folder: Path, key: bytes, words: Iterable[str], vectors: Iterable[bytes] = ()) -> dict[str, list[str]]:
    """Return where words, and vectors as they are stored, are in a tenant's decrypted database and log."""
    wanted = {word: needles(word) for word in words}
    found: dict[str, list[str]] = {}
    databases = [file.name for file in folder.glob("tenant*.db*") if not file.name.endswith("-shm")]
    for name in databases:
        for number, page in clear_pages(folder / name, key):
            low = page.lower()
            for word, forms in wanted.items():
                if any(form in low or form in page for form in forms):
                    found.setdefault(word, []).append(f"{name}:{number}")
            if any(vector in page for vector in vectors):
                found.setdefault("vector", []).append(f"{name}:{number}")
    return found


def find_plaintext(places: Sequence[Path], words: Iterable[str]) -> dict[str, list[str]]:
    """Return where words are in files, and in the names of files, as they lie on the disk."""
    wanted = {word: needles(word) for word in words}
    found: dict[str, list[str]] = {}
    for place in places:
        for folder, folders, files in os.walk(place):
            for name in [*folders, *files]:
                path = Path(folder) / name
                content = os.fsencode(name)
                if path.is_file() and not path.is_symlink():
                    content += b"\0" + path.read_bytes()
                low = content.lower()
                for word, forms in wanted.items():
                    if any(form in low or form in content for form in forms):
                        found.setdefault(word, []).append(str(path))
    return found
