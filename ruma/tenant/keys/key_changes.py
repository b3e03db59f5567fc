"""Changing where a tenant's key is kept, or the key itself, so that it can be interrupted at any moment.

A change writes down both places first, keeps the new key beside the old one, and replaces the manifest, which names
the key's place and the database's file: that rename alone decides which of the two counts. Only then is the other
one destroyed. Whatever a killed command left is finished, or taken back, by the next one.
"""

import secrets
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ruma.config import Settings
from ruma.errors import DamagedError, KeyStoreError, NotFoundError, StoreError
from ruma.tenant.clock import now
from ruma.tenant.database import drop_copy, translated
from ruma.tenant.keys.data_key import Key, KeyStore
from ruma.tenant.keys.keys import key_store_of
from ruma.tenant.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from ruma.tenant.private_files import replace_file, sync_folder
from ruma.tenant.tenant import KEY_CHANGE


@dataclass(frozen=True)
class Place:
    """Where a key is kept, and the database that it opens."""

    key_store: str
    key_item: str
    database: str


def new_place(manifest: Manifest, store: KeyStore, *, is_new_key: bool) -> Place:
    """Return names that were never used: a new item of *store*, and for a new key a new file as well."""
    mark = secrets.token_hex(4)
    database = f"tenant-{mark}.db" if is_new_key else manifest.database
    return Place(store.label, f"{manifest.tenant_id}-{mark}", database)


def begin_change(folder: Path, manifest: Manifest, place: Place) -> None:
    """Write down, durably, that the key is about to be kept in *place* as well."""
    import tomli_w

    places = [*_read_places(folder), _place_of(manifest), place]
    with translated(folder):
        replace_file(folder / KEY_CHANGE, tomli_w.dumps({"place": [asdict(one) for one in places]}).encode())


def switch(folder: Path, manifest: Manifest, place: Place, key: Key) -> None:
    """Let the new place count from here on, the old one no more. This is the one moment of a change."""
    is_new_key = not manifest.fits(key)
    with translated(folder):
        write_manifest(
            folder,
            replace(
                manifest,
                **asdict(place),
                key_check=key.check(manifest.tenant_id),
                key_made_at=now() if is_new_key else manifest.key_made_at,
                key_kept_at=now() if is_new_key or place.key_store != manifest.key_store else manifest.key_kept_at,
            ),
        )


def finish_change(settings: Settings, folder: Path, *, must_destroy: bool = True) -> None:
    """Destroy every key and database file of a change that the manifest does not name, and verify that it is gone.

    The home must be locked. Without *must_destroy*, a place that does not answer is given up.

    Raises:
        KeyStoreError: A key could not be destroyed; the next command tries again.
    """
    with translated(folder):
        for name in (KEY_CHANGE, MANIFEST):
            (folder / f"{name}.part").unlink(missing_ok=True)
    places = _read_places(folder)
    if not places:
        return
    current = _place_of(read_manifest(folder))
    with translated(folder):
        sync_folder(folder)  # before anything is destroyed: a power cut must not bring the other manifest back
    for place in places:
        if (place.key_store, place.key_item) != (current.key_store, current.key_item):
            with suppress(*(() if must_destroy else (KeyStoreError,))):
                key_store_of(settings, place.key_store).destroy(place.key_item)
        if place.database != current.database:
            drop_copy(folder)  # of an upgrade, which the old key opens
            with translated(folder):
                for end in ("", "-wal", "-shm", "-journal"):
                    (folder / f"{place.database}{end}").unlink(missing_ok=True)
    with translated(folder):
        sync_folder(folder)
        (folder / KEY_CHANGE).unlink()
        sync_folder(folder)


def place_key(
    settings: Settings, folder: Path, manifest: Manifest, key: Key, store: KeyStore, *, must_destroy: bool = True
) -> None:
    """Keep a tenant's key, which stays the same, in another store or anew in the same, and destroy it in the old place.

    Raises:
        KeyStoreError: The store did not keep it, and nothing has changed; or the old place did not destroy it, and
            the next command tries again.
    """
    place = new_place(manifest, store, is_new_key=False)
    begin_change(folder, manifest, place)
    with taken_back(settings, folder, must_destroy=False):
        store.keep(place.key_item, key)
    with taken_back(settings, folder):
        switch(folder, manifest, place, key)
    finish_change(settings, folder, must_destroy=must_destroy)


@contextmanager
def taken_back(settings: Settings, folder: Path, *, must_destroy: bool = True) -> Iterator[None]:
    """Finish the change, whichever way, when the block fails; what that cannot destroy is left to the next command."""
    try:
        yield
    except BaseException:
        with suppress(KeyStoreError, StoreError):
            finish_change(settings, folder, must_destroy=must_destroy)
        raise


def destroy_keys(settings: Settings, folder: Path) -> None:
    """Destroy a tenant's key for good, in every place where it may be.

    Raises:
        KeyStoreError: One of them is still there.
    """
    places = _read_places(folder)
    with suppress(DamagedError, NotFoundError):  # the key went before the manifest did
        places.append(_place_of(read_manifest(folder)))
    for place in places:
        if place.key_store:  # a directory that was only to be tried out has a key that is kept nowhere
            key_store_of(settings, place.key_store).destroy(place.key_item)


def _place_of(manifest: Manifest) -> Place:
    return Place(manifest.key_store, manifest.key_item, manifest.database)


def _read_places(folder: Path) -> list[Place]:
    try:
        content = tomllib.loads((folder / KEY_CHANGE).read_text(encoding="utf-8"))
        return [Place(**one) for one in content["place"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DamagedError(f"{folder / KEY_CHANGE} cannot be read: {exc}.") from exc
