"""Reads a backup without Ruma: python read_backup.py FOLDER LIST.json SECRET-FILE OUTPUT-FOLDER

Needs PyNaCl. It goes by docs/reference/backup-format.md alone, writes each table as a file of JSON lines, and each
original under its document's number. What it writes is not encrypted.
"""

import hashlib
import json
import sys
import zlib
from pathlib import Path

from nacl import bindings as sodium

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
MAGIC = b"RUMABACK\x01"


def blake2b(key: bytes, person: bytes = b"", data: bytes = b"", size: int = 32) -> bytes:
    """Return BLAKE2b with a key and a personalisation."""
    return hashlib.blake2b(data, digest_size=size, key=key, person=person).digest()


def read_secret(text: str) -> bytes:
    """Return the secret's 32 bytes: 256 bits of it, then 19 bits of checksum."""
    number = 0
    for letter in text.upper().replace("-", "").split()[0]:
        number = number << 5 | ALPHABET.index(letter)
    return (number >> 19).to_bytes(32, "big")


def open_sealed(folder: Path, name: str, secret: bytes) -> bytes:
    """Return the content of a sealed file."""
    private, stamp = blake2b(secret, b"ruma backup box"), blake2b(secret, b"ruma backup tag")
    data = (folder / "objects" / name[:2] / name).read_bytes()
    assert data[:9] == MAGIC
    fresh = sodium.crypto_box_seal_open(data[9:89], sodium.crypto_scalarmult_base(private), private)
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    stream_key = blake2b(fresh, b"ruma backup file", stamp + name.encode())
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, data[89:113], stream_key)
    content, tag = b"", 0
    for at in range(113, len(data), 65536 + 17):
        block = data[at : at + 65536 + 17]
        part, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(state, block, MAGIC)
        content += part
    assert tag == sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL, "cut short"
    return content


def main(folder: Path, listed: Path, secret_file: Path, output: Path) -> None:
    """Write everything that a backup holds."""
    secret = read_secret(secret_file.read_text())
    backup = json.loads(listed.read_text())["backup"]
    manifest = json.loads(open_sealed(folder, backup["manifest"], secret))
    naming = bytes.fromhex(manifest["naming"])
    output.mkdir(exist_ok=True)
    for table in manifest["tables"]:
        rows = []
        for piece in table["pieces"]:
            lines = zlib.decompress(open_sealed(folder, piece, secret))
            assert blake2b(naming, data=b"rows\0" + lines, size=20).hex() == piece
            rows += [dict(zip(table["columns"], json.loads(line), strict=True)) for line in lines.splitlines()]
        assert len(rows) == table["rows"]
        (output / f"{table['name']}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for row in rows if table["name"] == "document" else []:
            name = blake2b(naming, data=b"original\0" + row["content_hash"].encode(), size=20).hex()
            original = open_sealed(folder, name, secret)
            assert hashlib.sha256(original).hexdigest() == row["content_hash"]
            (output / f"document-{row['id']}").write_bytes(original)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
