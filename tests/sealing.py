"""Sealed keys, opened with a key from each of the places that it may come from."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ruma.config import Settings
from ruma.tenant.keys.master_keys import forget_masters
from ruma.tenant.keys.sealed_keys import SealedKeys

ROOT = Path(__file__).parents[1]

SECRET = bytes(range(32)).hex()

ORIGINS = ["machine", "credential", "command", "file", "passphrase"]

Open = Callable[..., SealedKeys]


def pipe_with(text: str) -> int:
    """Return a descriptor from which a text can be read once."""
    reader, writer = os.pipe()
    os.write(writer, text.encode() + b"\n")
    os.close(writer)
    return reader


def open_sealed(settings: Settings, folder: Path, origin: str = "machine", secret: str = SECRET) -> SealedKeys:
    """Return the sealed keys of a home, the key to which comes from this place, as after a new start."""
    forget_masters()
    file = folder / "ruma-master"
    file.write_text(secret + "\n")
    file.chmod(0o600)
    environ = {"CREDENTIALS_DIRECTORY": str(folder)} if origin == "credential" else {}
    if origin == "passphrase":
        environ = {"RUMA_PASSPHRASE_FD": str(pipe_with(secret))}
    command, named = (f"cat '{file}'" if origin == "command" else ""), (str(file) if origin == "file" else "")
    return SealedKeys(replace(settings, key_command=command, key_file=named), origin, environ)


def content(folder: Path) -> dict[str, bytes]:
    """Return every file in a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()} if folder.exists() else {}
