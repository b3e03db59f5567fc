"""Tenants' data keys: where a new tenant's key goes, and where an existing one's is.

The first source that a machine has is taken for a new tenant; one that was named is taken or fails. A source that is
there but locked, refused or broken is an error and never a reason to take the next one. The single exception is
`machine`, the last in the order, for a machine that has no source at all.
"""

import os
from collections.abc import Mapping, Sequence

from ruma.config import Settings
from ruma.errors import KeyStoreError
from ruma.tenant.keys.data_key import Key, KeyStore, harden_process
from ruma.tenant.keys.keyring_store import LABEL_START, LIMIT, SystemKeyring, find_keyring
from ruma.tenant.keys.master_keys import PASSPHRASE_VARIABLE, find_origin
from ruma.tenant.keys.sealed_keys import ORIGINS, SealedKeys

__all__ = [
    "Key",
    "KeyStore",
    "available_key_sources",
    "choose_key_store",
    "harden_process",
    "key_store_of",
]

_ORDER = ("credential", "keyring", "command", "file", "passphrase", "machine")


def choose_key_store(
    settings: Settings,
    environ: Mapping[str, str] | None = None,
    *,
    allowed: Sequence[str] | None = None,
    limit: float = LIMIT,
) -> KeyStore:
    """Return the key store for a new tenant: the one that the settings name, or the first that this machine has.

    Raises:
        KeyStoreError: The one that was named is not there, or the keyring that is there cannot be trusted or used.
    """
    environ = os.environ if environ is None else environ
    for source in _ORDER if settings.key_source == "auto" else (settings.key_source,):
        if source == "keyring":
            backend = find_keyring(allowed=allowed, limit=limit)
            if backend is not None:
                return SystemKeyring(backend, allowed=allowed, limit=limit)
        elif settings.key_source == "auto" and source == "passphrase" and PASSPHRASE_VARIABLE not in environ:
            continue  # a terminal alone is no reason to ask for a passphrase: the operator did not choose one
        elif find_origin(source, settings, environ)[0]:
            return SealedKeys(settings, source, environ)
    raise KeyStoreError(
        f"The key source {settings.key_source} is not available: {_missing(settings, environ)}.",
        hint=_list_sources(settings, environ),
    )


def key_store_of(
    settings: Settings,
    label: str,
    environ: Mapping[str, str] | None = None,
    *,
    allowed: Sequence[str] | None = None,
    limit: float = LIMIT,
) -> KeyStore:
    """Return the key store of an existing tenant: exactly the one that its manifest names, whatever the settings say.

    Nothing is asked here. Whether that store is still there shows when a key is read from it, and the error then
    names the store of the manifest and what was found in its place.

    Raises:
        KeyStoreError: This version of Ruma knows no store of that name.
    """
    if label.startswith(LABEL_START):
        return SystemKeyring(label.removeprefix(LABEL_START), allowed=allowed, limit=limit)
    for origin in ORIGINS:
        store = SealedKeys(settings, origin, environ)
        if store.label == label:
            return store
    raise KeyStoreError(
        f"The tenant's key is kept in {label!r}, which this version of Ruma does not know.",
        hint="Use the version that created the tenant, or give the recovery key: `ruma tenant recover NAME`.",
    )


def available_key_sources(
    settings: Settings,
    environ: Mapping[str, str] | None = None,
    *,
    allowed: Sequence[str] | None = None,
    limit: float = LIMIT,
) -> list[tuple[str, bool, str]]:
    """Return every key source in the order of choice: its name, whether it can be used here, and why."""
    found = []
    for source in _ORDER:
        if source == "keyring":
            try:
                backend = find_keyring(allowed=allowed, limit=limit)
            except KeyStoreError as exc:
                found.append((source, False, str(exc).rstrip(".")))
            else:
                found.append((source, backend is not None, backend or "this machine has no keyring"))
        else:
            found.append((source, *find_origin(source, settings, environ)))
    return found


def _missing(settings: Settings, environ: Mapping[str, str]) -> str:
    if settings.key_source == "keyring":
        return "this machine has no keyring"
    return find_origin(settings.key_source, settings, environ)[1]


def _list_sources(settings: Settings, environ: Mapping[str, str]) -> str:
    lines = ["The key sources are:"]
    for source in _ORDER:
        what = "the system's keyring" if source == "keyring" else find_origin(source, settings, environ)[1]
        lines.append(f"  {source:<11} {what}")
    return "\n".join([*lines, "Choose one with --key-source NAME."])
