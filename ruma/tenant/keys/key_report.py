"""Which tenant's key is kept where, since when, and what is weak about it: all that can be said without any key."""

from dataclasses import dataclass
from pathlib import Path

from ruma.config import Settings
from ruma.errors import DamagedError, NotFoundError
from ruma.tenant.database import FILE_NAME
from ruma.tenant.home import Home
from ruma.tenant.keys.keyring_store import LABEL_START
from ruma.tenant.keys.master_keys import MACHINE_FILE
from ruma.tenant.keys.sealed_keys import ORIGINS, find_bridges, sealed_by
from ruma.tenant.manifest import Manifest
from ruma.tenant.tenant import KEY_CHANGE

RECOVERY_COVERS = (
    "A tenant's recovery key opens that tenant alone, with a copy of its directory, wherever the key is kept. "
    "Moving a key leaves the recovery key as it is; rotating it makes a new one, "
    "and the old one opens only copies that were made before."
)


@dataclass(frozen=True)
class KeyInfo:
    """Where a tenant's key is kept."""

    name: str
    key_store: str
    place: str
    """For people: the keyring's class, or the sealed file and where its master key comes from."""

    sealed_by: str
    """The id of the master key that sealed it (16 hexadecimal digits); empty for a keyring."""

    kept_since: str
    made_at: str
    is_rotated: bool
    """Whether the key was ever rotated; *made_at* is then the time of the last rotation."""

    warnings: tuple[str, ...]


def describe_keys(home: Home) -> list[KeyInfo]:
    """Return where each tenant's key is kept, by the tenants' names; one with a damaged manifest is left out."""
    found = []
    for name in home.names():
        try:
            folder, manifest = home.find(name)
        except (DamagedError, NotFoundError):
            continue
        found.append(describe_key(home.settings, folder, manifest))
    return found


def describe_key(settings: Settings, folder: Path, manifest: Manifest) -> KeyInfo:
    """Return where a tenant's key is kept."""
    origin = origin_of(manifest.key_store)
    file = settings.keys_folder / f"{manifest.key_item}.key"
    master = sealed_by(file) if origin else b""
    place = manifest.key_store.removeprefix(LABEL_START)
    return KeyInfo(
        name=manifest.name,
        key_store=manifest.key_store,
        place=f"a sealed file, opened by {ORIGINS[origin]}" if origin else place,
        sealed_by=master.hex(),
        kept_since=manifest.key_kept_at,
        made_at=manifest.key_made_at,
        is_rotated=manifest.database != FILE_NAME,
        warnings=tuple(_weaknesses(settings, folder, manifest, origin, master)),
    )


def origin_of(key_store: str) -> str:
    """Return the origin of the master key that a key store's sealed files are opened by; nothing for a keyring."""
    return next((origin for origin in ORIGINS if key_store == f"sealed files ({origin})"), "")


def _weaknesses(settings: Settings, folder: Path, manifest: Manifest, origin: str, master: bytes) -> list[str]:
    found = []
    if origin == "machine":
        found.append(
            f"The master key {settings.keys_folder / MACHINE_FILE} lies beside the sealed keys: "
            f"a copy of the whole home opens everything. Better: ruma keys move {manifest.name} --to file"
        )
    is_beside = settings.home.resolve() in Path(settings.key_file).expanduser().resolve().parents
    if origin == "file" and settings.key_file and is_beside:
        found.append("The key file lies in the home: a copy of the home opens everything. Keep it elsewhere.")
    if origin and not master:
        found.append(f"The sealed key is missing or damaged: ruma tenant recover {manifest.name}")
    if master and find_bridges(settings.keys_folder, master):
        found.append("The old master key still opens it: ruma keys rotate-master --finish")
    if (folder / KEY_CHANGE).exists():
        found.append("A change of the key is under way, or was interrupted: the next command finishes it.")
    return found
