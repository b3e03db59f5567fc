"""The home: makes, lists, opens, recovers and deletes tenants. Each is one directory."""

import fcntl
import os
import secrets
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruma.config import Settings
from ruma.errors import (
    DamagedError,
    InputError,
    KeyMissingError,
    KeyStoreError,
    NotFoundError,
    StoreError,
    WrongKeyError,
)
from ruma.tenant.agents import write_first_agent
from ruma.tenant.clock import now
from ruma.tenant.database import COPY_DAYS, create_database, drop_copy, translated
from ruma.tenant.documents import finish_interrupted
from ruma.tenant.keys import Key, choose_key_store, key_store_of
from ruma.tenant.names import check_name
from ruma.tenant.schema import FORMAT
from ruma.tenant.sealed_keys import SealedKeys
from ruma.tenant.tenant import Tenant

MANIFEST = "tenant.toml"
_CREATING, _DELETING, _BUILDING = ".creating-", ".deleting-", ".building-"


@dataclass(frozen=True)
class TenantInfo:
    """What can be said of a tenant without its key."""

    name: str
    id: str
    key_store: str
    created_at: str
    size_bytes: int


@dataclass(frozen=True)
class Created:
    """A new tenant, its recovery key (shown once, stored nowhere) and where its data key is kept."""

    name: str
    id: str
    recovery_key: str
    key_store: str


@dataclass(frozen=True)
class Draft:
    """A directory that is to become a tenant: it has its manifest and its folder of originals, and no database yet."""

    name: str
    id: str
    folder: Path
    key: Key
    key_store: str


@dataclass(frozen=True)
class DeletionReceipt:
    """What deleting a tenant did, as checked afterwards."""

    name: str
    id: str
    deleted_at: str
    key_destroyed: bool
    directory_removed: bool
    files: int
    size_bytes: int
    not_covered: tuple[str, ...]


NOT_COVERED = (
    "Copies of the directory or of the home, backups and file system snapshots included: without the key they cannot "
    "be read.",
    "The recovery key, if someone kept it: with it such a copy can be read.",
    "Freed disk blocks, which may hold the encrypted bytes until they are used again.",
)


class Home:
    """Everything that Ruma writes lies in this folder; each tenant is one directory of it.

    Opening a home finishes what a killed command left half-way: a tenant that was being made is
    taken away, one that was being deleted is deleted.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._finish_interrupted()

    def tenants(self) -> list[TenantInfo]:
        """Return the tenants by name, those with a damaged manifest left out."""
        found = []
        for folder in self._folders():
            try:
                manifest = _read_manifest(folder)
            except (DamagedError, NotFoundError):
                continue
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            found.append(
                TenantInfo(
                    name=folder.name,
                    id=manifest["tenant_id"],
                    key_store=manifest["key_store"],
                    created_at=manifest["created_at"],
                    size_bytes=size,
                )
            )
        return found

    def names(self) -> list[str]:
        """Return the tenants' names, sorted, without looking into any."""
        return [folder.name for folder in self._folders()]

    def create(self, name: str) -> Created:
        """Make a new tenant with a key of its own, kept and read back before anything is encrypted.

        Raises:
            InputError: The name cannot be used, or is taken.
            KeyStoreError: No key source can keep the key; nothing was written.
            StoreError: The disk is full or read-only; nothing is left.
        """
        check_name(name)
        with self._locked():
            self._refuse_taken(name)
            folder = self.settings.tenants_folder / name
            tenant_id, key = secrets.token_hex(16), Key.random()
            store = choose_key_store(self.settings)
            staging = self.settings.tenants_folder / f"{_CREATING}{tenant_id}"
            try:
                with translated(staging):
                    staging.mkdir(mode=0o700)
                    (staging / "files").mkdir(mode=0o700)
                    _write_manifest(staging, name, tenant_id, key, store.label)
                    store.keep(tenant_id, key)
                    create_database(staging, key, tenant_id)
                    with Tenant(name, tenant_id, staging, key) as tenant:
                        write_first_agent(tenant)
                    _fsync_folder(staging)
                    staging.rename(folder)
                    _fsync_folder(folder.parent)
            except KeyStoreError:
                # A key source that does not answer would only be waited for again, and what it may hold opens nothing.
                _remove_folder(staging)
                raise
            except BaseException:
                self._delete_aside(staging)
                raise
        return Created(name=name, id=tenant_id, recovery_key=key.recovery_text(), key_store=store.label)

    @contextmanager
    def building(self, name: str) -> Iterator[Draft]:
        """Give a directory with a key of its own, to be filled; when the block ends well it is the tenant *name*.

        Else nothing of it stays, its key included.

        Raises:
            InputError: The name cannot be used, or is taken; also at the end, where it was taken meanwhile.
            KeyStoreError: No key source can keep the key.
            StoreError: The disk is full or read-only.
        """
        self._refuse_taken(check_name(name))
        tenant_id, key, store = secrets.token_hex(16), Key.random(), choose_key_store(self.settings)
        with self._staging(tenant_id) as staging:
            _write_manifest(staging, name, tenant_id, key, store.label)
            store.keep(tenant_id, key)
            yield Draft(name, tenant_id, staging, key, store.label)
            with self._locked(), translated(staging):
                self._refuse_taken(name)
                for folder in (*(entry for entry in staging.iterdir() if entry.is_dir()), staging):
                    _fsync_folder(folder)
                staging.rename(self.settings.tenants_folder / name)
                _fsync_folder(self.settings.tenants_folder)

    @contextmanager
    def scratch(self) -> Iterator[Draft]:
        """Give a directory that goes when the block ends, with a key that is kept nowhere: what it holds is lost."""
        tenant_id = secrets.token_hex(16)
        with self._staging(tenant_id) as staging:
            yield Draft("scratch", tenant_id, staging, Key.random(), "")

    def open(self, name: str) -> Tenant:
        """Open a tenant.

        Raises:
            NotFoundError: There is no tenant of that name.
            KeyStoreError: Its key is missing, or another tenant's, or its key source cannot be used.
            StoreError: Its manifest or database is damaged or another tenant's.
        """
        folder, manifest = self._find(name)
        key = self._key_of(name, manifest)
        tenant = Tenant(name, manifest["tenant_id"], folder, key)
        try:
            drop_copy(folder, older_than_days=COPY_DAYS)
            finish_interrupted(tenant)
        except BaseException:
            tenant.close()
            raise
        return tenant

    def recover(self, name: str, recovery_text: str) -> str:
        """Keep a tenant's key again, from its recovery key, and return the key store's label.

        Raises:
            InputError: The recovery key is mistyped.
            WrongKeyError: It is another tenant's.
            KeyStoreError: No key source can keep it.
        """
        folder, manifest = self._find(name)
        key = Key.from_recovery_text(recovery_text)
        if key.check(manifest["tenant_id"]) != manifest["key_check"]:
            raise WrongKeyError(f"This recovery key belongs to another tenant than {name}.")
        with self._locked():
            label = self._keep_again(manifest, key)
            _write_manifest(folder, name, manifest["tenant_id"], key, label, manifest["created_at"])
            old = key_store_of(self.settings, manifest["key_store"])
            # Sealed files of every origin are one file a tenant, which was replaced.
            if label != old.label and not (isinstance(old, SealedKeys) and label.startswith("sealed")):
                with suppress(KeyStoreError):  # the old place may be gone, which is why the key was recovered
                    old.destroy(manifest["tenant_id"])
        return label

    def delete(self, name: str) -> DeletionReceipt:
        """Destroy a tenant's key, remove its directory, check both.

        A killed deletion is finished by the next command or server.

        Raises:
            NotFoundError: There is no tenant of that name.
            KeyStoreError: The key could not be destroyed; the directory is kept aside, unlisted.
        """
        folder, manifest = self._find(name)
        files = [file for file in folder.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        with self._locked():
            aside = folder.with_name(f"{_DELETING}{manifest['tenant_id']}")
            with translated(folder):
                folder.rename(aside)
                _fsync_folder(aside.parent)
            self._delete_aside(aside)
        return DeletionReceipt(
            name=name,
            id=manifest["tenant_id"],
            deleted_at=now(),
            key_destroyed=True,
            directory_removed=not folder.exists() and not aside.exists(),
            files=len(files),
            size_bytes=size,
            not_covered=(*NOT_COVERED, key_store_of(self.settings, manifest["key_store"]).destruction_note),
        )

    def _refuse_taken(self, name: str) -> None:
        folder = self.settings.tenants_folder / name
        if folder.exists() or folder.is_symlink():
            raise InputError(f"There is a tenant {name} already.", hint="Choose another name.")

    @contextmanager
    def _staging(self, tenant_id: str) -> Iterator[Path]:
        """Give a folder that is taken away at the end unless it was renamed; one that nobody holds was interrupted."""
        staging = self.settings.tenants_folder / f"{_BUILDING}{tenant_id}"
        with self._locked(), translated(staging):
            staging.mkdir(mode=0o700)
            (staging / "files").mkdir(mode=0o700)
            handle = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield staging
        finally:
            if staging.exists():
                self._delete_aside(staging)
            os.close(handle)

    def _folders(self) -> list[Path]:
        try:
            entries = sorted(self.settings.tenants_folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise StoreError(f"{self.settings.tenants_folder} cannot be read: {exc.strerror}.") from exc
        return [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]

    def _find(self, name: str) -> tuple[Path, dict[str, Any]]:
        check_name(name)
        folder = self.settings.tenants_folder / name
        if folder.is_symlink():
            raise DamagedError(f"{folder} is a link, not a tenant's own directory.", hint="Put the directory back.")
        if not folder.is_dir():
            known = ", ".join(self.names()) or "none yet"
            raise NotFoundError(
                f"There is no tenant {name}.", hint=f"Tenants: {known}. Make one: ruma tenant create {name}"
            )
        manifest = _read_manifest(folder)
        if manifest["name"] != name:
            raise DamagedError(
                f"{folder} is a copy of the tenant {manifest['name']}.",
                hint=f"Name the directory {manifest['name']} again.",
            )
        return folder, manifest

    def _key_of(self, name: str, manifest: dict[str, Any]) -> Key:
        label = manifest["key_store"]
        try:
            key = key_store_of(self.settings, label).read(manifest["tenant_id"])
        except KeyMissingError as exc:
            raise KeyMissingError(
                f"The key of the tenant {name} is not in its key store ({label}).",
                hint=f"Bring it back with its recovery key: ruma tenant recover {name}",
            ) from exc
        except KeyStoreError as exc:
            exc.hint = exc.hint.replace("recover NAME", f"recover {name}")
            raise
        if not secrets.compare_digest(key.check(manifest["tenant_id"]), manifest["key_check"]):
            raise WrongKeyError(
                f"The key kept for the tenant {name} belongs to another tenant, or is damaged.",
                hint=f"Bring the right one back with its recovery key: ruma tenant recover {name}",
            )
        return key

    def _keep_again(self, manifest: dict[str, Any], key: Key) -> str:
        tenant_id = manifest["tenant_id"]
        store = choose_key_store(self.settings)
        with suppress(KeyMissingError, WrongKeyError):
            if secrets.compare_digest(store.read(tenant_id).check(tenant_id), manifest["key_check"]):
                return store.label
        store.replace(tenant_id, key)
        return store.label

    def _delete_aside(self, aside: Path) -> None:
        """Destroy the key first: from then on, nothing that is left can be read."""
        try:
            manifest = _read_manifest(aside)
        except (DamagedError, NotFoundError):
            manifest = None  # the key went before the manifest did
        if manifest is not None:
            try:
                key_store_of(self.settings, manifest["key_store"]).destroy(manifest["tenant_id"])
            except KeyStoreError:
                if aside.name.startswith(_DELETING):
                    raise
                # The key of a tenant that never came to be opens nothing.
        _remove_folder(aside)

    def _finish_interrupted(self) -> None:
        try:
            entries = [entry for entry in self.settings.tenants_folder.iterdir() if entry.name.startswith(".")]
        except OSError:
            return
        left = [entry for entry in entries if entry.name.startswith((_CREATING, _DELETING, _BUILDING))]
        if not left:
            return
        with self._locked():
            for entry in left:
                if entry.exists() and not (entry.name.startswith(_BUILDING) and _is_held(entry)):
                    with suppress(KeyStoreError):  # its key source does not answer: other tenants need not wait for it
                        self._delete_aside(entry)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one command at a time make, delete or recover tenants."""
        with translated(self.settings.home):
            self.settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.settings.tenants_folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(self.settings.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _is_held(folder: Path) -> bool:
    """Tell whether a process is filling the folder at this moment."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _remove_folder(folder: Path) -> None:
    with translated(folder), suppress(FileNotFoundError):
        shutil.rmtree(folder)
        _fsync_folder(folder.parent)


def _read_manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    try:
        manifest = tomllib.loads(file.read_text(encoding="utf-8"))
        missing = {"name", "tenant_id", "format", "key_store", "key_check", "created_at"} - manifest.keys()
    except FileNotFoundError as exc:
        raise DamagedError(f"{file} is missing.", hint="Put it back from a backup.") from exc
    except (OSError, ValueError) as exc:
        raise DamagedError(f"{file} cannot be read: {exc}.", hint="Put it back from a backup.") from exc
    if missing:
        raise DamagedError(f"{file} has no {', '.join(sorted(missing))}.", hint="Put it back from a backup.")
    if manifest["format"] > FORMAT:
        raise StoreError(
            f"{folder} was written by a newer version of Ruma (format {manifest['format']}, this one knows {FORMAT}).",
            hint="Update Ruma: pip install --upgrade ruma",
        )
    return manifest


def _write_manifest(
    folder: Path, name: str, tenant_id: str, key: Key, key_store: str, created_at: str | None = None
) -> None:
    import tomli_w

    manifest = {
        "name": name,
        "tenant_id": tenant_id,
        "format": FORMAT,
        "created_at": created_at or now(),
        "key_store": key_store,
        "key_check": key.check(tenant_id),
    }
    part = folder / f"{MANIFEST}.part"
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(tomli_w.dumps(manifest).encode())
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / MANIFEST)


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
