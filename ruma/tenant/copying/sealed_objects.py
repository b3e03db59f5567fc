"""Files of a backup: anybody may hold them, and only who has the backup's secret can open them.

Each file begins with a fresh key, sealed to the public half of the secret (libsodium's `crypto_box_seal`: X25519 and
XSalsa20-Poly1305). Its content follows as a secretstream (XChaCha20-Poly1305) in blocks of 64 KiB, under a key made
from the fresh key, the stamp key and the file's name: who has neither the secret nor a home that may write backups
can make no file that opens, and a file under another name does not open either.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ruma.errors import DamagedError
from ruma.tenant.keys.data_key import KEY_BYTES, Key

BLOCK = 64 * 1024
MAGIC = b"RUMABACK\x01"  # the last byte is the format's version


@dataclass(frozen=True, repr=False)
class WriteKeys:
    """What a home needs to write backups: none of it reads one."""

    public: bytes
    """Half of an X25519 key pair; the other half is made from the secret."""
    stamp: bytes
    """Tells files that this home, or one that knows the secret, wrote from all others."""


@dataclass(frozen=True, repr=False)
class ReadKeys(WriteKeys):
    """What reads backups."""

    private: bytes


def keys_of(secret: Key) -> ReadKeys:
    """Return the keys that are made from a backup's secret."""
    from nacl import bindings as sodium

    private = secret.derive(b"ruma backup box")
    return ReadKeys(sodium.crypto_scalarmult_base(private), secret.derive(b"ruma backup tag"), private)


def stamp(keys: WriteKeys, content: bytes) -> str:
    """Return what proves that a plain file was written with these keys."""
    return hashlib.blake2b(content, digest_size=KEY_BYTES, key=keys.stamp, person=b"ruma backup list").hexdigest()


def seal(file: BinaryIO, name: str, blocks: Iterable[bytes], keys: WriteKeys) -> bytes:
    """Write *blocks* (of any sizes), sealed, and return the hash of the bytes that were written."""
    from nacl import bindings as sodium
    from nacl.utils import random

    fresh = random(KEY_BYTES)
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    stream = _stream_key(fresh, name, keys)
    header = sodium.crypto_secretstream_xchacha20poly1305_init_push(state, stream)
    push = sodium.crypto_secretstream_xchacha20poly1305_push
    message = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
    final = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
    written = hashlib.blake2b(digest_size=KEY_BYTES)

    def put(data: bytes) -> None:
        file.write(data)
        written.update(data)

    put(MAGIC + sodium.crypto_box_seal(fresh, keys.public) + header)
    waiting = bytearray()
    for block in blocks:
        waiting += block
        at = 0
        while len(waiting) - at > BLOCK:  # the last block is kept back, since only it carries the final tag
            put(push(state, bytes(waiting[at : at + BLOCK]), MAGIC, message))
            at += BLOCK
        del waiting[:at]
    put(push(state, bytes(waiting), MAGIC, final))
    return written.digest()


def unseal(file: BinaryIO, name: str, keys: ReadKeys) -> Iterator[bytes]:
    """Return the content, block by block; the end is genuine only when the iterator ends without an error.

    Raises:
        DamagedError: The file was altered or cut short, has another name, or was written by someone else.
    """
    from nacl import bindings as sodium
    from nacl import exceptions

    overhead = sodium.crypto_secretstream_xchacha20poly1305_ABYTES
    final = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
    head = file.read(len(MAGIC))
    if head != MAGIC:
        newer = head.startswith(MAGIC[:-1])
        raise DamagedError(f"The file {name} of the backup {'is of a newer Ruma' if newer else 'is damaged'}.")
    try:
        sealed = file.read(KEY_BYTES + sodium.crypto_box_SEALBYTES)
        fresh = sodium.crypto_box_seal_open(sealed, keys.public, keys.private)
        state, tag = sodium.crypto_secretstream_xchacha20poly1305_state(), -1
        header = file.read(sodium.crypto_secretstream_xchacha20poly1305_HEADERBYTES)
        sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, header, _stream_key(fresh, name, keys))
        while tag != final:
            data, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(state, file.read(BLOCK + overhead), MAGIC)
            yield data
    except (exceptions.CryptoError, exceptions.RuntimeError, exceptions.ValueError, exceptions.TypeError) as exc:
        raise DamagedError(f"The file {name} of the backup is damaged, or is not from where it says.") from exc
    if file.read(1):
        raise DamagedError(f"The file {name} of the backup has something after its end.")


def _stream_key(fresh: bytes, name: str, keys: WriteKeys) -> bytes:
    content = keys.stamp + name.encode()
    return hashlib.blake2b(content, digest_size=KEY_BYTES, key=fresh, person=b"ruma backup file").digest()
