"""The home: makes, lists, opens, recovers and deletes tenants. Each is one directory."""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

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
from ruma.tenant.erasing.erasures import finish_erasures
from ruma.tenant.erasing.tenant_receipts import finish_tenant_receipts
from ruma.tenant.keys.key_changes import destroy_keys, finish_change, place_key
from ruma.tenant.keys.keys import Key, choose_key_store, key_store_of
from ruma.tenant.knowledge.documents import finish_interrupted
from ruma.tenant.manifest import Manifest, read_manifest, write_manifest
from ruma.tenant.names import check_name
from ruma.tenant.tenant import KEY_CHANGE, Tenant

_CREATING, _DELETING, _BUILDING = ".creating-", ".deleting-", ".building-"


@dataclass(frozen=True)
class TenantInfo:
    """What can be said of a tenant without its key."""

    name: str
    id: str
    key_store: str
    created_at: str
    size_bytes: int
    key_made_at: str
    """When its data key was made: with the tenant, or by the last rotation."""

    key_kept_at: str
    """Since when the key is kept where it is."""


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
    "Copies of the directory or of the home, file system snapshots included: without the key they cannot be read.",
    "Backups made with `ruma backup`: their own secret opens them. `ruma backup remove` removes them.",
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
        finish_tenant_receipts(settings)

    def tenants(self) -> list[TenantInfo]:
        """Return the tenants by name, those with a damaged manifest left out."""
        found = []
        for folder in self._folders():
            try:
                manifest = read_manifest(folder)
            except (DamagedError, NotFoundError):
                continue
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            found.append(
                TenantInfo(
                    name=folder.name,
                    id=manifest.tenant_id,
                    key_store=manifest.key_store,
                    created_at=manifest.created_at,
                    size_bytes=size,
                    key_made_at=manifest.key_made_at,
                    key_kept_at=manifest.key_kept_at,
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
        with self.locked():
            self._refuse_taken(name)
            folder = self.settings.tenants_folder / name
            tenant_id, key = secrets.token_hex(16), Key.random()
            store = choose_key_store(self.settings)
            staging = self.settings.tenants_folder / f"{_CREATING}{tenant_id}"
            try:
                with translated(staging):
                    staging.mkdir(mode=0o700)
                    (staging / "files").mkdir(mode=0o700)
                    write_manifest(staging, _first_manifest(name, tenant_id, key, store.label))
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
            write_manifest(staging, _first_manifest(name, tenant_id, key, store.label))
            store.keep(tenant_id, key)
            yield Draft(name, tenant_id, staging, key, store.label)
            with self.locked(), translated(staging):
                self._refuse_taken(name)
                for folder in (*(entry for entry in staging.iterdir() if entry.is_dir()), staging):
                    _fsync_folder(folder)
                staging.rename(self.settings.tenants_folder / name)
                _fsync_folder(self.settings.tenants_folder)

    @contextmanager
    def scratch(self) -> Iterator[Draft]:
        """Give a directory that goes when the block ends, with a key that is kept nowhere: what it holds is lost."""
        tenant_id = secrets.token_hex(16)
        key = Key.random()
        with self._staging(tenant_id) as staging:
            write_manifest(staging, _first_manifest("scratch", tenant_id, key, ""))
            yield Draft("scratch", tenant_id, staging, key, "")

    def open(self, name: str) -> Tenant:
        """Open a tenant.

        Raises:
            NotFoundError: There is no tenant of that name.
            KeyStoreError: Its key is missing, or another tenant's, or its key source cannot be used.
            StoreError: Its manifest or database is damaged or another tenant's.
        """
        while True:
            folder, manifest = self.find(name)
            try:
                key = self._key_of(name, manifest)
            except KeyStoreError:
                if self.find(name)[1] != manifest:
                    continue  # the key was changed in this moment, and the old one is gone
                raise
            tenant = Tenant(name, manifest.tenant_id, folder, key, find_key=lambda found: self._key_of(name, found))
            if tenant.manifest == manifest:
                break
            tenant.close()
        try:
            drop_copy(folder, older_than_days=COPY_DAYS)
            finish_interrupted(tenant)
            finish_erasures(tenant)
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
        folder, manifest = self.find(name)
        key = Key.from_recovery_text(recovery_text)
        if not manifest.fits(key):
            raise WrongKeyError(f"This recovery key belongs to another tenant than {name}.")
        store = choose_key_store(self.settings)
        with self.locked():
            with suppress(KeyStoreError):
                finish_change(self.settings, folder)
            folder, manifest = self.find(name)
            if manifest.key_store == store.label:
                with suppress(KeyMissingError, WrongKeyError):
                    if manifest.fits(store.read(manifest.key_item)):
                        return store.label
            # The old place may be gone, which is why the key was recovered.
            place_key(self.settings, folder, manifest, key, store, must_destroy=False)
        return store.label

    def is_recovery_key(self, name: str, recovery_text: str) -> bool:
        """Tell whether a recovery key is the tenant's, and change nothing.

        Raises:
            InputError: It is mistyped.
            NotFoundError: There is no such tenant.
        """
        return self.find(name)[1].fits(Key.from_recovery_text(recovery_text))

    def delete(self, name: str) -> DeletionReceipt:
        """Destroy a tenant's key, remove its directory, check both.

        A killed deletion is finished by the next command or server.

        Raises:
            NotFoundError: There is no tenant of that name.
            KeyStoreError: The key could not be destroyed; the directory is kept aside, unlisted.
        """
        folder, manifest = self.find(name)
        files = [file for file in folder.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        with self.locked():
            aside = folder.with_name(f"{_DELETING}{manifest.tenant_id}")
            with translated(folder):
                folder.rename(aside)
                _fsync_folder(aside.parent)
            self._delete_aside(aside)
        return DeletionReceipt(
            name=name,
            id=manifest.tenant_id,
            deleted_at=now(),
            key_destroyed=True,
            directory_removed=not folder.exists() and not aside.exists(),
            files=len(files),
            size_bytes=size,
            not_covered=(*NOT_COVERED, key_store_of(self.settings, manifest.key_store).destruction_note),
        )

    def _refuse_taken(self, name: str) -> None:
        folder = self.settings.tenants_folder / name
        if folder.exists() or folder.is_symlink():
            raise InputError(f"There is a tenant {name} already.", hint="Choose another name.")

    @contextmanager
    def _staging(self, tenant_id: str) -> Iterator[Path]:
        """Give a folder that is taken away at the end unless it was renamed; one that nobody holds was interrupted."""
        staging = self.settings.tenants_folder / f"{_BUILDING}{tenant_id}"
        with self.locked(), translated(staging):
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

    def find(self, name: str) -> tuple[Path, Manifest]:
        """Return a tenant's directory and its manifest.

        Raises:
            NotFoundError: There is no tenant of that name.
            DamagedError: The manifest is damaged, or the directory is another tenant's.
        """
        check_name(name)
        folder = self.settings.tenants_folder / name
        if folder.is_symlink():
            raise DamagedError(f"{folder} is a link, not a tenant's own directory.", hint="Put the directory back.")
        if not folder.is_dir():
            known = ", ".join(self.names()) or "none yet"
            raise NotFoundError(
                f"There is no tenant {name}.", hint=f"Tenants: {known}. Make one: ruma tenant create {name}"
            )
        manifest = read_manifest(folder)
        if manifest.name != name:
            raise DamagedError(
                f"{folder} is a copy of the tenant {manifest.name}.",
                hint=f"Name the directory {manifest.name} again.",
            )
        return folder, manifest

    def _key_of(self, name: str, manifest: Manifest) -> Key:
        label = manifest.key_store
        try:
            key = key_store_of(self.settings, label).read(manifest.key_item)
        except KeyMissingError as exc:
            raise KeyMissingError(
                f"The key of the tenant {name} is not in its key store ({label}).",
                hint=f"Bring it back with its recovery key: ruma tenant recover {name}",
            ) from exc
        except KeyStoreError as exc:
            exc.hint = exc.hint.replace("recover NAME", f"recover {name}")
            raise
        if not manifest.fits(key):
            raise WrongKeyError(
                f"The key kept for the tenant {name} belongs to another tenant, or is damaged.",
                hint=f"Bring the right one back with its recovery key: ruma tenant recover {name}",
            )
        return key

    def _delete_aside(self, aside: Path) -> None:
        """Destroy the key first: from then on, nothing that is left can be read."""
        try:
            destroy_keys(self.settings, aside)
        except KeyStoreError:
            if aside.name.startswith(_DELETING):
                raise
            # The key of a tenant that never came to be opens nothing.
        _remove_folder(aside)

    def _finish_interrupted(self) -> None:
        try:
            entries = list(self.settings.tenants_folder.iterdir())
        except OSError:
            return
        left = [entry for entry in entries if entry.name.startswith((_CREATING, _DELETING, _BUILDING))]
        if left:
            with self.locked():
                for entry in left:
                    if entry.exists() and not (entry.name.startswith(_BUILDING) and _is_held(entry)):
                        with suppress(KeyStoreError):  # no answer from its key source: others need not wait for it
                            self._delete_aside(entry)
        changing = [entry for entry in entries if entry.name[0] != "." and any(entry.glob(f"{KEY_CHANGE}*"))]
        if changing:
            with suppress(BlockingIOError), self.locked(wait=False):  # whoever changes a key at this moment goes on
                for entry in changing:
                    with suppress(KeyStoreError, StoreError):
                        finish_change(self.settings, entry)

    @contextmanager
    def locked(self, *, wait: bool = True) -> Iterator[None]:
        """Let one command at a time make, delete or recover tenants, or change their keys.

        Raises:
            BlockingIOError: Another one does, and *wait* is off.
        """
        with translated(self.settings.home):
            self.settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.settings.tenants_folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(self.settings.home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(handle)


def _first_manifest(name: str, tenant_id: str, key: Key, key_store: str) -> Manifest:
    return Manifest(name, tenant_id, now(), key_store, tenant_id, key.check(tenant_id))


def _is_held(folder: Path) -> bool:
    """Tell whether a process is filling the folder at this moment, or has just taken it away."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
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


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
