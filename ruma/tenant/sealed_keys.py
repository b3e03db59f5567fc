"""Sealed key files as a key store: one file a tenant in the home's `keys/`, opened by one master key.

The files lie apart from the tenants' directories: a stolen copy of `tenants/` is unreadable without them. What a
stolen copy of the whole home is worth depends on where the master key comes from; `machine` keeps it beside the
files, the other origins do not.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from ruma.config import Settings
from ruma.errors import KeyMissingError, KeyStoreError, WrongKeyError
from ruma.tenant.data_key import KEY_BYTES, Key, KeyStore
from ruma.tenant.master_keys import master_id, read_master
from ruma.tenant.private_files import destroy_file, make_private_folder, read_private_file, write_new_file

ORIGINS = {
    "machine": "the machine's key file",
    "credential": "the systemd credential",
    "command": "the key command",
    "file": "the key file",
    "passphrase": "the passphrase",
}

_MAGIC = b"RUMAKEY\x01"
_PURPOSE = b"ruma sealed key1"
_TENANT_ID = re.compile(r"(?!machine$)[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_RECOVER = "or give the recovery key: `ruma tenant recover NAME`."


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
        from nacl.exceptions import CryptoError
        from nacl.secret import SecretBox

        path = self._path(tenant_id)
        try:
            content = read_private_file(path)
        except KeyMissingError as exc:
            raise KeyMissingError(
                f"The sealed key {path} is missing.", hint=f"Bring it back from a backup, {_RECOVER}"
            ) from exc
        if not content.startswith(_MAGIC) or len(content) < len(_MAGIC) + 8:
            raise WrongKeyError(
                f"The file {path} is damaged, or no sealed key.",
                hint=f"Bring it back from a backup, {_RECOVER}",
            )
        sealed_by, sealed = content[len(_MAGIC) :][:8], content[len(_MAGIC) + 8 :]
        master = read_master(self.origin, self._settings, self._environ)
        if master_id(master) != sealed_by:
            raise WrongKeyError(
                f"The file {path} was sealed with another master key than {ORIGINS[self.origin]} gives.",
                hint=f"Give the master key that was used when the tenant was created, {_RECOVER}",
            )
        try:
            raw = SecretBox(master.derive(_PURPOSE, tenant_id.encode())).decrypt(sealed)
        except (CryptoError, ValueError):
            raw = b""
        if len(raw) != KEY_BYTES:
            raise WrongKeyError(
                f"The file {path} belongs to another tenant, or is damaged.",
                hint=f"Bring it back from a backup, {_RECOVER}",
            )
        return Key(raw)

    def destroy(self, tenant_id: str) -> bool:
        """See `KeyStore.destroy`. The master key is not needed for it."""
        return destroy_file(self._path(tenant_id))

    def _seal(self, tenant_id: str, key: Key) -> bytes:
        from nacl.secret import SecretBox

        make_private_folder(self._path(tenant_id).parent)
        master = read_master(self.origin, self._settings, self._environ, may_create=True)
        box = SecretBox(master.derive(_PURPOSE, tenant_id.encode()))
        return _MAGIC + master_id(master) + bytes(box.encrypt(key.raw))

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
