"""A mail server on this machine, in a thread: a real one, with a certificate of its own where it is asked for."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Mailbox:
    """What a mail server got, and what it says to the next mails."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    to: list[list[str]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    """What it says to the next mails, before it takes them all."""

    def wait(self, count: int) -> None:
        """Wait until so many mails have come; fail when they do not."""
        until = time.monotonic() + 20
        while len(self.mails) < count:
            assert time.monotonic() < until, f"{len(self.mails)} mails of {count} came"
            time.sleep(0.02)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take a mail, or say what was asked for."""
        if self.answers:
            return self.answers.pop(0)
        self.mails.append(message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]
        self.to.append(list(envelope.rcpt_tos))
        return "250 OK"


def make_certificate(folder: Path, *, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """Write a certificate for an address and its key, and return both files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@contextmanager
def mail_server(
    *, security: str = "none", files: tuple[Path, Path] | None = None, password: str = ""
) -> Iterator[Mailbox]:
    """Run a mail server and give what it gets."""
    mailbox, options = Mailbox(), dict[str, Any]()
    context = None
    if files:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)
    if security == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if password:

        def check(server: Any, session: Any, envelope: Any, mechanism: str, sent: LoginPassword) -> AuthResult:
            return AuthResult(success=sent == LoginPassword(b"ruma", password.encode()))

        options |= {"authenticator": check, "auth_required": True, "auth_require_tls": security == "starttls"}
    with socket.create_server(("127.0.0.1", 0)) as found:
        mailbox.port = found.getsockname()[1]
    controller = Controller(
        mailbox, hostname="127.0.0.1", port=mailbox.port, ssl_context=context if security == "tls" else None, **options
    )
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
