"""Tenants' keys in one file that a passphrase opens: how they come along when a home moves to another machine."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ruma.errors import InputError, WrongKeyError
from ruma.tenant.home import Home
from ruma.tenant.keys.key_changes import finish_change, place_key
from ruma.tenant.keys.keys import Key, KeyStore
from ruma.tenant.keys.master_keys import SHORTEST_PASSPHRASE, stretch
from ruma.tenant.private_files import write_new_file

_MAGIC = b"RUMAPACK\x01"
_PURPOSE = b"ruma key pack v1"
_SALT_BYTES = 16
_LARGEST = 16_000_000


@dataclass(frozen=True)
class Unpacked:
    """What became of the keys in a pack."""

    placed: tuple[str, ...]
    """The tenants whose keys are kept here now."""
    missing: tuple[str, ...]
    """The tenants of this home whose keys the pack does not hold, or only older ones."""


def pack_keys(home: Home, names: Sequence[str], passphrase: bytes, path: Path) -> None:
    """Write tenants' keys into a new file, sealed with a passphrase. The keys also stay where they are.

    Raises:
        InputError: The passphrase is too short, or the file is there already.
        KeyStoreError: A key cannot be read; nothing was written.
    """
    from nacl.secret import SecretBox

    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise InputError(f"The passphrase is too short: it must have at least {SHORTEST_PASSPHRASE} characters.")
    keys = {}
    for name in names:
        with home.open(name) as tenant:
            keys[tenant.id] = tenant.key.raw.hex()
    salt = secrets.token_bytes(_SALT_BYTES)
    box = SecretBox(stretch(passphrase, salt).derive(_PURPOSE))
    if not write_new_file(path, _MAGIC + salt + bytes(box.encrypt(json.dumps(keys).encode()))):
        raise InputError(f"There is a file {path} already.", hint="Choose another name.")


def unpack_keys(home: Home, path: Path, passphrase: bytes, store: KeyStore) -> Unpacked:
    """Keep the keys in a pack in a key store of this machine, for those tenants of the home that they open.

    What was unpacked before an interruption stays, and is done again without harm.

    Raises:
        InputError: The file is no pack of keys.
        WrongKeyError: It is another passphrase.
        KeyStoreError: The store did not keep a key.
    """
    keys, placed, missing = _open_pack(path, passphrase), [], []
    with home.locked():
        for name in home.names():
            folder, manifest = home.find(name)
            key = keys.get(manifest.tenant_id)
            if key is None or not manifest.fits(key):
                missing.append(name)
                continue
            finish_change(home.settings, folder, must_destroy=False)
            place_key(home.settings, folder, manifest, key, store, must_destroy=False)
            placed.append(name)
    return Unpacked(tuple(placed), tuple(missing))


def _open_pack(path: Path, passphrase: bytes) -> dict[str, Key]:
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST)
    except OSError as exc:
        raise InputError(f"The file {path} cannot be read: {exc.strerror}.") from exc
    salt, sealed = content[len(_MAGIC) :][:_SALT_BYTES], content[len(_MAGIC) + _SALT_BYTES :]
    if not content.startswith(_MAGIC) or len(salt) != _SALT_BYTES:
        raise InputError(f"The file {path} is no pack of keys.", hint="Make one with `ruma keys pack FILE`.")
    try:
        opened = SecretBox(stretch(passphrase, salt).derive(_PURPOSE)).decrypt(sealed)
    except (CryptoError, ValueError):
        raise WrongKeyError(f"This is not the passphrase of {path}, or the file is damaged.") from None
    return {tenant_id: Key(bytes.fromhex(raw)) for tenant_id, raw in json.loads(opened).items()}
