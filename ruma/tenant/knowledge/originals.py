"""Documents' original files, encrypted in a stream: plaintext comes in, only ciphertext reaches the disk.

The construction is libsodium's secretstream (XChaCha20-Poly1305) in blocks of 64 KiB: a block that was altered,
reordered, repeated or taken from another place does not open, and a file without its final block was cut short.
Each file has its own key, which no other file has, so a file in another's place does not open either. What an
onlooker can see is the file's size.
"""

import contextlib
import errno
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from ruma.errors import DamagedError, DiskFullError, StoreError
from ruma.tenant.keys.data_key import Key
from ruma.tenant.private_files import open_unlinked

BLOCK = 64 * 1024

_MAGIC = b"RUMAORIG\x01"  # the last byte is the format's version


def seal_original(blocks: Iterable[bytes], path: Path, key: Key) -> None:
    """Write *blocks* (of any sizes) encrypted to *path*, a new file with mode 0600, and make it durable.

    The caller gives a name that no reader looks for, and renames it when the document's row is about to be stored.
    When anything fails, also in *blocks*, nothing is left at *path*.

    Raises:
        StoreError: The file cannot be written, for example because the disk is full.
    """
    sealer = open_sealer(path, key)
    try:
        for block in blocks:
            sealer.write(block)
        sealer.finish()
    except BaseException:
        sealer.abandon()
        raise
    sealer.close()


def open_sealer(path: Path, key: Key) -> "Sealer":
    """Return the writer of a new sealed file with mode 0600, for plaintext that comes in piece by piece.

    *key* must be a new one: it seals this file and nothing else.

    Raises:
        StoreError: The file cannot be made, for example because the name is taken.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise _write_error(path, exc) from exc
    os.fchmod(descriptor, 0o600)
    sealer = Sealer(os.fdopen(descriptor, "wb", 0), path, key.raw)
    try:
        sealer.begin()
    except BaseException:
        sealer.abandon()
        raise
    return sealer


class Sealer:
    """Encrypts what is written to it, and keeps no more of it than the block in hand."""

    def __init__(self, file: BinaryIO, path: Path, secret: bytes) -> None:
        """Take an empty file that is open for writing; *path* is its name."""
        from nacl import bindings as sodium

        self._file = file
        self._path = path
        self._waiting = bytearray()
        self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
        self._header = sodium.crypto_secretstream_xchacha20poly1305_init_push(self._state, secret)
        self._message = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
        self._final = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
        self._push_block = sodium.crypto_secretstream_xchacha20poly1305_push

    def begin(self) -> None:
        """Write the header."""
        self._put(_MAGIC + self._header)

    def write(self, data: bytes) -> None:
        """Seal the next piece, of any size."""
        self._waiting += data
        at = 0
        while len(self._waiting) - at > BLOCK:  # the last block is kept back, since only it carries the final tag
            self._push(bytes(self._waiting[at : at + BLOCK]), self._message)
            at += BLOCK
        del self._waiting[:at]

    def finish(self) -> None:
        """Seal the end, and make the file durable."""
        self._push(bytes(self._waiting), self._final)
        self._waiting.clear()
        try:
            os.fsync(self._file.fileno())
        except OSError as exc:
            raise _write_error(self._path, exc) from exc

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def abandon(self) -> None:
        """Close the file and take it away."""
        self.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _push(self, data: bytes, tag: int) -> None:
        self._put(self._push_block(self._state, data, _MAGIC, tag))

    def _put(self, data: bytes) -> None:
        try:
            rest = memoryview(data)
            while rest:  # an unbuffered write may take less than it was given
                rest = rest[self._file.write(rest) :]
        except OSError as exc:
            raise _write_error(self._path, exc) from exc


def read_original(path: Path, key: Key) -> Iterator[bytes]:
    """Return the original's content, block by block.

    A missing file and another file's key are known before this returns. Damage further on is
    known when its block is reached: what was yielded until then is genuine, and the end is genuine only when the
    iterator ends without an error.

    Raises:
        DamagedError: The file is missing, cut short, altered, or was sealed with another key.
    """
    with closing(_open_blocks(path, key.raw)) as blocks:
        next(blocks, None)
    return _open_blocks(path, key.raw)


def _open_blocks(path: Path, secret: bytes) -> Generator[bytes, None, None]:
    from nacl import bindings as sodium
    from nacl import exceptions

    overhead = sodium.crypto_secretstream_xchacha20poly1305_ABYTES
    final = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
    with _open_for_reading(path) as file:
        header = _read(file, len(_MAGIC) + sodium.crypto_secretstream_xchacha20poly1305_HEADERBYTES, path)
        if not header.startswith(_MAGIC[:-1]):
            raise DamagedError(f"The original {path.name} is not a file that Ruma sealed, or its start is damaged.")
        if header[: len(_MAGIC)] != _MAGIC:
            raise DamagedError(f"The original {path.name} was written by a newer Ruma, or its start is damaged.")
        state, tag = sodium.crypto_secretstream_xchacha20poly1305_state(), -1
        try:
            sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, header[len(_MAGIC) :], secret)
            while tag != final:
                sealed = _read(file, BLOCK + overhead, path)
                if len(sealed) < overhead:
                    raise DamagedError(f"The original {path.name} is cut short.")
                data, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(state, sealed, _MAGIC)
                if data:
                    yield data
        except (exceptions.RuntimeError, exceptions.ValueError) as exc:
            raise DamagedError(
                f"The original {path.name} is damaged, or belongs to another document or tenant."
            ) from exc
        if _read(file, 1, path):
            raise DamagedError(f"The original {path.name} has something after its end.")


def _open_for_reading(path: Path) -> BinaryIO:
    try:
        return open(path, "rb", opener=open_unlinked)
    except FileNotFoundError:
        raise DamagedError(f"The original {path.name} is missing.") from None
    except OSError as exc:
        raise DamagedError(f"The original {path.name} cannot be read: {exc.strerror}.") from exc


def _read(file: BinaryIO, size: int, path: Path) -> bytes:
    try:
        return file.read(size)
    except OSError as exc:
        raise DamagedError(f"The original {path.name} cannot be read: {exc.strerror}.") from exc


def _write_error(path: Path, exc: OSError) -> StoreError:
    if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFullError(
            f"The disk is full: {path} cannot be written.",
            hint="Free some space and run the same command again; what was stored before is kept.",
        )
    return StoreError(f"The file {path} cannot be written: {exc.strerror}.")
