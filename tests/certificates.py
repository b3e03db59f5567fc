"""Certificates that nobody trusts, made where a test needs them."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate(folder: Path, name: str = "localhost", *, password: bytes | None = None) -> tuple[Path, Path]:
    """Write `cert.pem` and `key.pem` for a name, each in one move, and return their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cipher = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        folder / "cert.pem": certificate.public_bytes(serialization.Encoding.PEM),
        folder / "key.pem": key.private_bytes(*form, cipher),
    }
    for path, content in contents.items():
        part = path.with_suffix(".part")
        part.write_bytes(content)
        part.replace(path)
    return folder / "cert.pem", folder / "key.pem"
