"""The certificate that the server shows: read from two files, and read again when they change."""

import logging
import os
import ssl
from pathlib import Path
from typing import Any

from ruma.errors import InputError

log = logging.getLogger("ruma.server")

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: what has forward secrecy and authenticates what it encrypts. TLS 1.3 has nothing else."""

Stamp = tuple[tuple[int, int, int], ...]


def open_tls(cert: Path, key: Path) -> ssl.SSLContext:
    """Return a context that shows this certificate, and its successor once the files hold one.

    They are looked at in every handshake. Where the new ones cannot be used, the log says so once and the
    certificate before them is kept.

    Raises:
        InputError: One of the files is missing, cannot be read or is no such file, the key is encrypted, or the
            two do not belong together.
    """
    return _Certificate(cert, key).door


class _Certificate:
    def __init__(self, cert: Path, key: Path) -> None:
        self._cert, self._key = cert, key
        self._stamp = self._look()
        self._current = _load(cert, key)
        # Connections begin with this context, and each is handed the current one before it shows a certificate.
        self.door = _load(cert, key)
        self.door.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._current = _load(self._cert, self._key)
            except InputError as exc:
                log.error("The certificate before it is kept. %s %s", exc, exc.hint)
        connection.context = self._current

    def _look(self) -> Stamp:
        # Links are followed: that is how certbot puts a new certificate in the place of the old one.
        found = []
        for path in (self._cert, self._key):
            try:
                about = os.stat(path)
                found.append((about.st_ino, about.st_mtime_ns, about.st_size))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)


def _load(cert: Path, key: Path) -> ssl.SSLContext:
    _check_file(cert, "CERTIFICATE", "certificate")
    _check_file(key, "PRIVATE KEY", "private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_refuse_password)
    except _EncryptedError as exc:
        raise InputError(
            f"The private key {key} is encrypted, and the server has nobody to ask for its password.",
            hint=f"Decrypt it for the server alone: openssl pkey -in {key} -out server.key && chmod 600 server.key",
        ) from exc
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise InputError(
                f"The private key {key} does not belong to the certificate {cert}.",
                hint="Give the two files that were made together.",
            ) from exc
        raise InputError(
            f"The certificate {cert} and the private key {key} cannot be used: {exc.reason or exc}.",
            hint="Both must be PEM files; the certificate first in its file, then those that signed it.",
        ) from exc
    except OSError as exc:
        raise InputError(f"{exc.filename or cert} cannot be read: {exc.strerror}.") from exc
    return context


class _EncryptedError(Exception):
    pass


def _refuse_password(*_: Any) -> str:
    # Without this OpenSSL would ask on the terminal, and wait.
    raise _EncryptedError


def _check_file(path: Path, kind: str, word: str) -> None:
    try:
        text = path.read_bytes()
    except OSError as exc:
        raise InputError(
            f"The {word} {path} cannot be read: {exc.strerror}.",
            hint="It must be a file that the user who runs `ruma serve` may read.",
        ) from exc
    if kind.encode() + b"-----" not in text:
        raise InputError(f"{path} holds no {word} in PEM form (-----BEGIN {kind}-----).")
