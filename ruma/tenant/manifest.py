"""A tenant's manifest: what can be said of its directory without its key, and where that key is kept.

It is replaced whole, by one rename. What it names, the key's place and the database's file, is therefore exchanged at
one moment and together, however a command ends.
"""

import hmac
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruma.errors import DamagedError, StoreError
from ruma.tenant.database import FILE_NAME
from ruma.tenant.keys.data_key import Key
from ruma.tenant.private_files import replace_file
from ruma.tenant.schema import FORMAT

MANIFEST = "tenant.toml"
_FIRST_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What `tenant.toml` says."""

    name: str
    tenant_id: str
    created_at: str
    key_store: str
    """The label of the key store that keeps the data key."""

    key_item: str
    """The name under which it is kept there: the tenant's id, until the key is rotated or moved."""

    key_check: str
    """What `Key.check` gives for the right key."""

    database: str = FILE_NAME
    """The name of the database's file: another one after each rotation."""

    key_made_at: str = ""
    """When the data key was made: with the tenant, or by the last rotation."""

    key_kept_at: str = ""
    """Since when it is kept where it is."""

    def fits(self, key: Key) -> bool:
        """Tell whether a key is the tenant's."""
        return hmac.compare_digest(key.check(self.tenant_id), self.key_check)


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a tenant's directory.

    Raises:
        DamagedError: It is missing or cannot be understood.
        StoreError: A newer version of Ruma wrote it.
    """
    file = folder / MANIFEST
    try:
        found: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        missing = {"name", "tenant_id", "format", "key_store", "key_check", "created_at"} - found.keys()
    except FileNotFoundError as exc:
        raise DamagedError(f"{file} is missing.", hint="Put it back from a backup.") from exc
    except (OSError, ValueError) as exc:
        raise DamagedError(f"{file} cannot be read: {exc}.", hint="Put it back from a backup.") from exc
    if missing:
        raise DamagedError(f"{file} has no {', '.join(sorted(missing))}.", hint="Put it back from a backup.")
    if found["format"] > FORMAT:
        raise StoreError(
            f"{folder} was written by a newer version of Ruma (format {found['format']}, this one knows {FORMAT}).",
            hint="Update Ruma: pip install --upgrade ruma",
        )
    database = found.get("database", FILE_NAME)
    if "/" in database or not database.startswith("tenant"):
        raise DamagedError(f"{file} names no database of a tenant.", hint="Put it back from a backup.")
    return Manifest(
        name=found["name"],
        tenant_id=found["tenant_id"],
        created_at=found["created_at"],
        key_store=found["key_store"],
        key_item=found.get("key_item", found["tenant_id"]),
        key_check=found["key_check"],
        database=database,
        key_made_at=found.get("key_made_at", found["created_at"]),
        key_kept_at=found.get("key_kept_at", found["created_at"]),
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put a manifest in the place of the one that is there, durably and at one moment."""
    import tomli_w

    # A directory whose key never changed is one that the first version can read.
    is_first = manifest.key_item == manifest.tenant_id and manifest.database == FILE_NAME
    content = {
        "name": manifest.name,
        "tenant_id": manifest.tenant_id,
        "format": _FIRST_FORMAT if is_first else FORMAT,
        "created_at": manifest.created_at,
        "key_store": manifest.key_store,
        "key_item": manifest.key_item,
        "key_check": manifest.key_check,
        "database": manifest.database,
        "key_made_at": manifest.key_made_at or manifest.created_at,
        "key_kept_at": manifest.key_kept_at or manifest.created_at,
    }
    replace_file(folder / MANIFEST, tomli_w.dumps(content).encode())
