"""A new data key for a tenant, while it is in use: its database is written anew under it, its files keep their keys.

Readers go on. Writers wait while the database is copied, and then write to the new one. Killed at any moment, either
the old key opens everything or the new one does, and the next command takes away what is left of the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ruma.tenant.audit import note
from ruma.tenant.database import copy_database, open_database, pragma, translated
from ruma.tenant.home import Home
from ruma.tenant.keys.file_keys import keep_keys_of_older_files
from ruma.tenant.keys.key_changes import Place, begin_change, finish_change, new_place, place_key, switch, taken_back
from ruma.tenant.keys.keys import Key, KeyStore, key_store_of
from ruma.tenant.knowledge.sealing_anew import find_older_files, seal_anew
from ruma.tenant.private_files import sync_folder
from ruma.tenant.tenant import Tenant


@dataclass(frozen=True)
class NewKey:
    """A new data key that is kept beside the old one. Its recovery key counts once the rotation is done."""

    name: str
    recovery_key: str


@dataclass(frozen=True)
class Rotated:
    """The new key counts, and the old one was destroyed and is gone."""

    name: str
    key_store: str
    files: int
    """How many sealed files the tenant has, whose own keys went along."""


def rotate_key(home: Home, name: str) -> Iterator[NewKey | Rotated]:
    """Give a tenant a new data key: first yields it, for its recovery key to be written down, then does it.

    Whoever stops after the first has changed nothing.

    Raises:
        NotFoundError: There is no such tenant.
        KeyStoreError: The key store did not keep the new key, and nothing has changed; or it did not destroy the old
            one, and the next command tries again.
        StoreError: The disk is full, or the database is damaged; nothing has changed.
    """
    with home.locked(), home.open(name) as tenant:
        finish_change(home.settings, tenant.folder)
        manifest = tenant.manifest
        store, key = key_store_of(home.settings, manifest.key_store), Key.random()
        place = new_place(manifest, store, is_new_key=True)
        begin_change(tenant.folder, manifest, place)
        with taken_back(home.settings, tenant.folder, must_destroy=False):
            store.keep(place.key_item, key)
        with taken_back(home.settings, tenant.folder):
            yield NewKey(name, key.recovery_text())
            files = _write_anew(tenant, place, key)
        finish_change(home.settings, tenant.folder)
    yield Rotated(name, store.label, files)


def move_key(home: Home, name: str, store: KeyStore) -> str:
    """Keep a tenant's key in another store, destroy it in the one where it was, and return the new one's label.

    Raises:
        NotFoundError: There is no such tenant.
        KeyStoreError: The store did not keep it, and nothing has changed; or the old one did not destroy it, and the
            next command tries again.
    """
    with home.locked(), home.open(name) as tenant:
        finish_change(home.settings, tenant.folder)
        if tenant.manifest.key_store != store.label:
            old = tenant.manifest.key_store
            place_key(home.settings, tenant.folder, tenant.manifest, tenant.key, store)
            with tenant.writing() as db:
                note(db, "key.moved", "", **{"from": old, "to": store.label})
    return store.label


def reseal_files(home: Home, name: str) -> Iterator[int]:
    """Seal every file anew whose key is older than the tenant's, and yield how many are left.

    Originals, uploads that wait and exports. Each is exchanged by itself: what an interrupted run did stays done.
    The last number is how many were being read just then, and are still as they were.

    Raises:
        NotFoundError: There is no such tenant.
        StoreError: The disk is full, or a file is damaged.
    """
    in_use = 0
    with home.open(name) as tenant:
        waiting = find_older_files(tenant)
        for place, file in enumerate(waiting):
            yield len(waiting) - place + in_use
            in_use += not seal_anew(tenant, file)
    yield in_use


def _write_anew(tenant: Tenant, place: Place, key: Key) -> int:
    """Write the database anew under a new key and let it count, while no other may write."""
    folder, manifest, old_key = tenant.folder, tenant.manifest, tenant.key
    with tenant.writing():
        copy_database(folder, old_key, manifest.database, key, place.database)
        with translated(folder / place.database):
            db = open_database(folder, key, tenant.id, name=place.database)
            try:
                db.execute("begin immediate")
                keep_keys_of_older_files(db, old_key)
                db.execute("update file_key set made_at = ''")
                files = int(db.execute("select count(*) from file_key").fetchone()[0])
                note(db, "key.rotated", "", files=files)
                db.commit()
                pragma(db, "wal_checkpoint(TRUNCATE)")
            finally:
                db.close()
            sync_folder(folder)
        switch(folder, manifest, place, key)
    return files
