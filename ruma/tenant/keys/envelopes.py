"""Files that a password opens, in the format age (https://age-encryption.org/v1), which many programs read.

A password is stretched by scrypt, and wraps a random key; the content is encrypted in blocks of 64 KiB by
ChaCha20-Poly1305, each with its place in the nonce and the last one marked (the STREAM construction). So a file can be
written from front to end, and read at any place. `age --decrypt` opens it without Ruma.
"""

import base64
import hashlib
import hmac
import io
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from ruma.errors import DamagedError, InputError

BLOCK = 64 * 1024
WORK = 17
"""The logarithm of scrypt's N: 128 MiB and about half a second for each guess (OWASP's first choice)."""
_MOST_WORK = 20
"""More is refused when a file is read: it would take gigabytes of memory before anything is known of the file."""

_VERSION = b"age-encryption.org/v1\n"
_LABEL = b"age-encryption.org/v1/scrypt"
_OVERHEAD = 16
_LARGEST_HEAD = 4096


@dataclass(frozen=True)
class Envelope:
    """The head of a file that a password opens, and the key that it wraps."""

    head: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Envelope(***)"


def make_envelope(password: str) -> Envelope:
    """Return the head of a new file that this password opens. It takes about half a second and 128 MiB."""
    key, salt = secrets.token_bytes(16), secrets.token_bytes(16)
    wrapped = _encrypt(_stretch(password, salt, WORK), bytes(12), key)
    head = _VERSION + b"-> scrypt %s %d\n%s\n---" % (_encode(salt), WORK, _encode(wrapped))
    return Envelope(head + b" " + _encode(_seal_of(key, head)) + b"\n", key)


def is_envelope(start: bytes) -> bool:
    """Tell whether a file that begins so is one that a password opens."""
    return start.startswith(_VERSION)


class EnvelopeWriter:
    """Encrypts what is written to it, and gives it on."""

    def __init__(self, envelope: Envelope, give: Callable[[bytes], Any]) -> None:
        """Begin a file with that head; *give* takes its bytes in order."""
        nonce = secrets.token_bytes(16)
        self._give, self._secret, self._block = give, _content_key(envelope.key, nonce), 0
        self._waiting = bytearray()
        give(envelope.head + nonce)

    def write(self, data: bytes) -> None:
        """Encrypt the next piece, of any size."""
        self._waiting += data
        at = 0
        while len(self._waiting) - at > BLOCK:  # the last block is kept back, since only it is marked as the last
            self._put(bytes(self._waiting[at : at + BLOCK]), is_last=False)
            at += BLOCK
        del self._waiting[:at]

    def finish(self) -> None:
        """Encrypt the end."""
        self._put(bytes(self._waiting), is_last=True)
        self._waiting.clear()

    def _put(self, data: bytes, *, is_last: bool) -> None:
        self._give(_encrypt(self._secret, _nonce(self._block, is_last), data))
        self._block += 1


def open_envelope(file: BinaryIO, password: str) -> io.BufferedReader:
    """Return the content of a file that a password opens, as a file that can be read at any place.

    Raises:
        InputError: The password is wrong, or the file is none of the kind.
        DamagedError: It was altered or cut short; raised while reading, too.
    """
    start = file.read(_LARGEST_HEAD)
    head, mark, rest = start.partition(b"\n---")
    lines = head.split(b"\n")
    seal, newline, _ = rest.partition(b"\n")
    if not (is_envelope(start) and mark and newline and len(lines) == 3 and lines[1].startswith(b"-> scrypt ")):
        raise InputError("This is no file that a password opens, as Ruma or age write it.")
    try:
        _, _, salt, work = lines[1].split(b" ")
        key = _unwrap(password, _decode(salt), int(work), _decode(lines[2]))
        is_genuine = hmac.compare_digest(_decode(seal.strip()), _seal_of(key, head + mark))
    except ValueError as exc:
        raise InputError("This is no file that a password opens, as Ruma or age write it.") from exc
    if not is_genuine:
        raise DamagedError("The head of this file was altered.")
    size = len(head) + len(mark) + len(seal) + 1
    return io.BufferedReader(_Opened(file, key, size), BLOCK)


class _Opened(io.RawIOBase):
    """Decrypts a file's blocks as they are asked for; the last one used is kept."""

    def __init__(self, file: BinaryIO, key: bytes, head_size: int) -> None:
        file.seek(head_size)
        nonce = file.read(16)
        self._file, self._start = file, head_size + 16
        self._secret = _content_key(key, nonce)
        sealed = file.seek(0, io.SEEK_END) - self._start
        self._blocks = max(-(-sealed // (BLOCK + _OVERHEAD)), 1)
        self._size = sealed - self._blocks * _OVERHEAD
        self._at, self._kept = 0, (-1, b"")
        if self._size < 0:
            raise DamagedError("This file is cut short.")
        self._read_block(self._blocks - 1)  # one that was cut short has no block that is marked as the last

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        number, skip = divmod(self._at, BLOCK)
        piece = self._read_block(number)[skip : skip + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _read_block(self, number: int) -> bytes:
        if self._kept[0] != number:
            from nacl import bindings as sodium
            from nacl.exceptions import CryptoError

            self._file.seek(self._start + number * (BLOCK + _OVERHEAD))
            sealed = self._file.read(BLOCK + _OVERHEAD)
            nonce = _nonce(number, number == self._blocks - 1)
            try:
                opened = sodium.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, None, nonce, self._secret)
            except (CryptoError, ValueError) as exc:
                raise DamagedError("This file was altered, or is cut short.") from exc
            self._kept = (number, opened)
        return self._kept[1]


def _unwrap(password: str, salt: bytes, work: int, wrapped: bytes) -> bytes:
    from nacl import bindings as sodium
    from nacl.exceptions import CryptoError

    if not 1 <= work <= _MOST_WORK or len(salt) != 16 or len(wrapped) != 32:
        raise InputError("This file asks for more work than Ruma does to open one.")
    try:
        return sodium.crypto_aead_chacha20poly1305_ietf_decrypt(
            wrapped, None, bytes(12), _stretch(password, salt, work)
        )
    except CryptoError as exc:
        raise InputError("This is not the password of the file.") from exc


def _stretch(password: str, salt: bytes, work: int) -> bytes:
    # A keyboard may write é in one character or in two; both must open it. age takes the bytes as they are typed.
    secret = unicodedata.normalize("NFC", password).encode("utf-8", "replace")
    memory = 128 * 8 * (1 << work) + (1 << 20)
    return hashlib.scrypt(secret, salt=_LABEL + salt, n=1 << work, r=8, p=1, maxmem=memory, dklen=32)


def _encrypt(secret: bytes, nonce: bytes, data: bytes) -> bytes:
    from nacl import bindings as sodium

    return bytes(sodium.crypto_aead_chacha20poly1305_ietf_encrypt(data, None, nonce, secret))


def _content_key(key: bytes, nonce: bytes) -> bytes:
    return _derive(key, nonce, b"payload")


def _seal_of(key: bytes, head: bytes) -> bytes:
    return hmac.digest(_derive(key, b"", b"header"), head, "sha256")


def _derive(key: bytes, salt: bytes, purpose: bytes) -> bytes:
    """Return 32 bytes by HKDF-SHA-256 (RFC 5869)."""
    extracted = hmac.digest(salt or bytes(32), key, "sha256")
    return hmac.digest(extracted, purpose + b"\1", "sha256")


def _nonce(block: int, is_last: bool) -> bytes:
    return block.to_bytes(11, "big") + bytes([is_last])


def _encode(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
