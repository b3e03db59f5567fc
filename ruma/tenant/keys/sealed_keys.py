"""Sealed key files as a key store: one file a tenant in the home's `keys/`, opened by one master key.

The files lie apart from the tenants' directories: a stolen copy of `tenants/` is unreadable without them. What a
stolen copy of the whole home is worth depends on where the master key comes from; `machine` keeps it beside the
files, the other origins do not.
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ruma.config import Settings
from ruma.errors import KeyMissingError, KeyStoreError, WrongKeyError
from ruma.tenant.keys.data_key import KEY_BYTES, RECOVER, Key, KeyStore
from ruma.tenant.keys.master_keys import master_id, read_master
from ruma.tenant.private_files import (
    destroy_file,
    make_private_folder,
    read_private_file,
    replace_file,
    write_new_file,
)

ORIGINS = {
    "machine": "the machine's key file",
    "credential": "the systemd credential",
    "command": "the key command",
    "file": "the key file",
    "passphrase": "the passphrase",
}

BEFORE = ".before"
"""Ends the second name of a key file that is just being sealed anew."""

_MAGIC = b"RUMAKEY\x01"
_PURPOSE = b"ruma sealed key1"
_BRIDGE_MAGIC, _BRIDGE = b"RUMABRDG\x01", b"ruma key bridge1"
_TENANT_ID = re.compile(r"(?!machine$)[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


class SealedKeys(KeyStore):
    """Tenants' keys in files that a master key of one *origin* opens.

    Each file says which master key sealed it, so another master key is told from a damaged file; and its sealing key
    is derived with the tenant's id, so one tenant's file under another's name does not open.
    """

    def __init__(self, settings: Settings, origin: str, environ: Mapping[str, str] | None = None) -> None:
        self.origin = origin
        self.label = f"sealed files ({origin})"
        self.destruction_note = (
            "The disk may still hold an old block of the sealed key file, which the master key could open "
            "for as long as that lives."
        )
        self._settings = settings
        self._environ = environ

    def keep(self, tenant_id: str, key: Key) -> None:
        """See `KeyStore.keep`."""
        self._write(tenant_id, key, self._seal(tenant_id, key))

    def replace(self, tenant_id: str, key: Key) -> None:
        """See `KeyStore.replace`. Without the master key, what lies here stays."""
        sealed = self._seal(tenant_id, key)
        self.destroy(tenant_id)
        self._write(tenant_id, key, sealed)

    def read(self, tenant_id: str) -> Key:
        """See `KeyStore.read`."""
        path = self._path(tenant_id)
        try:
            content = read_private_file(path)
        except KeyMissingError as exc:
            raise KeyMissingError(
                f"The sealed key {path} is missing.", hint=f"Bring it back from a backup, {RECOVER}"
            ) from exc
        if not content.startswith(_MAGIC) or len(content) < len(_MAGIC) + 8:
            raise WrongKeyError(
                f"The file {path} is damaged, or no sealed key.",
                hint=f"Bring it back from a backup, {RECOVER}",
            )
        sealed_by = content[len(_MAGIC) :][:8]
        master = read_master(self.origin, self._settings, self._environ)
        if master_id(master) != sealed_by:
            master = self._across_a_bridge(master, sealed_by)
        if master_id(master) != sealed_by:
            raise WrongKeyError(
                f"The file {path} was sealed with another master key than {ORIGINS[self.origin]} gives.",
                hint=f"Give the master key that was used when the tenant was created, {RECOVER}",
            )
        return _unseal(path, master)

    def destroy(self, tenant_id: str) -> bool:
        """See `KeyStore.destroy`. The master key is not needed for it."""
        path = self._path(tenant_id)
        is_found = destroy_file(path)
        return destroy_file(path.with_name(path.name + BEFORE)) or is_found

    def _seal(self, tenant_id: str, key: Key) -> bytes:
        make_private_folder(self._path(tenant_id).parent)
        return _seal(tenant_id, key, read_master(self.origin, self._settings, self._environ, may_create=True))

    def _across_a_bridge(self, master: Key, wanted: bytes) -> Key:
        """Return the other master key of a rotation that is under way, if that is the one that is wanted."""
        for bridge in find_bridges(self._settings.keys_folder, master_id(master)):
            old, new, _ = master_of_bridge(bridge, master)
            for other in (old, new):
                if master_id(other) == wanted:
                    return other
        return master

    def _write(self, tenant_id: str, key: Key, sealed: bytes) -> None:
        path = self._path(tenant_id)
        if not write_new_file(path, sealed):
            raise KeyStoreError(f"There is a sealed key {path} already; it was left alone.")
        if self.read(tenant_id) != key:
            destroy_file(path)
            raise KeyStoreError(f"The file {path} did not keep the key; nothing has been encrypted with it.")

    def _path(self, tenant_id: str) -> Path:
        if not _TENANT_ID.fullmatch(tenant_id):
            raise ValueError(f"not a tenant's id: {tenant_id!r}")
        return self._settings.keys_folder / f"{tenant_id}.key"


def sealed_by(path: Path) -> bytes:
    """Return the id of the master key that sealed a key file; nothing where the file is none."""
    try:
        content = read_private_file(path)
    except KeyStoreError:
        return b""
    return content[len(_MAGIC) :][:8] if content.startswith(_MAGIC) else b""


def reseal_all(folder: Path, old: Key, new: Key) -> int:
    """Seal every key file of a master key anew with another one, and return how many they were.

    Each is exchanged at one moment, and what the old master key opens is overwritten, also where an earlier run was
    killed before it could.

    Raises:
        WrongKeyError: The old master key does not open one of them.
        KeyStoreError: A new file does not open; the old one was put back.
    """
    count = 0
    for path in sorted(folder.glob("*.key")):
        before = path.with_name(path.name + BEFORE)
        if os.path.lexists(before) and not before.samefile(path):
            destroy_file(before)
        if sealed_by(path) == master_id(old):
            _reseal(path, before, old, new)
            count += 1
    return count


def _reseal(path: Path, before: Path, old: Key, new: Key) -> None:
    key = _unseal(path, old)
    # A second name, by which the old file is found and overwritten by whoever comes after a kill: the next run, or the
    # tenant's deletion.
    with suppress(FileExistsError):
        os.link(path, before)
    replace_file(path, _seal(path.stem, key, new))
    if _unseal(path, new) != key:
        before.rename(path)
        raise KeyStoreError(f"The file {path} did not keep the key; the old one was put back.")
    destroy_file(before)


def find_bridges(folder: Path, id: bytes) -> list[Path]:
    """Return the bridges that lead from a master key, or to it: see `master_rotation`."""
    return sorted(path for path in folder.glob("*.bridge") if id.hex() in path.stem.split("-"))


def is_overwritten(bridge: Path) -> bool:
    """Tell whether a bridge is one no more: it is overwritten before it is removed, and somebody was killed between."""
    return not read_private_file(bridge).startswith(_BRIDGE_MAGIC)


def seal_bridge(old: Key, new: Key, record: bytes) -> bytes:
    """Return the content of a bridge between two master keys; *record* is what makes the origin give the new one."""
    from nacl.secret import SecretBox

    forth = SecretBox(old.derive(_BRIDGE)).encrypt(new.raw + record)
    back = SecretBox(new.derive(_BRIDGE)).encrypt(old.raw + record)
    return _BRIDGE_MAGIC + bytes(forth) + bytes(back)


def master_of_bridge(path: Path, master: Key) -> tuple[Key, Key, bytes]:
    """Return the old and the new master key of a bridge, and its record, with one of the two keys.

    Raises:
        WrongKeyError: The bridge is damaged, or *master* is neither of the two.
    """
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    content = read_private_file(path)
    both = content[len(_BRIDGE_MAGIC) :]
    half = len(both) // 2
    for sealed, is_old in ((both[:half], True), (both[half:], False)):
        try:
            opened = SecretBox(master.derive(_BRIDGE)).decrypt(sealed)
        except (CryptoError, ValueError):
            continue
        other, record = Key(opened[:KEY_BYTES]), opened[KEY_BYTES:]
        return (master, other, record) if is_old else (other, master, record)
    raise WrongKeyError(f"The file {path} is damaged.", hint=f"Bring it back from a backup, {RECOVER}")


def _seal(item: str, key: Key, master: Key) -> bytes:
    from nacl.secret import SecretBox

    box = SecretBox(master.derive(_PURPOSE, item.encode()))
    return _MAGIC + master_id(master) + bytes(box.encrypt(key.raw))


def _unseal(path: Path, master: Key) -> Key:
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    sealed = read_private_file(path)[len(_MAGIC) + 8 :]
    try:
        raw = SecretBox(master.derive(_PURPOSE, path.stem.encode())).decrypt(sealed)
    except (CryptoError, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES:
        raise WrongKeyError(
            f"The file {path} belongs to another tenant, or is damaged.",
            hint=f"Bring it back from a backup, {RECOVER}",
        )
    return Key(raw)
