"""An open tenant: the way to its database, and nothing that could reach another tenant's."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ruma.errors import NotFoundError, StoreError
from ruma.tenant.database import is_busy, is_poisoned, open_database, translated
from ruma.tenant.keys.data_key import Key
from ruma.tenant.manifest import MANIFEST, Manifest, read_manifest

if TYPE_CHECKING:
    from sqlite_utils import Database

    from ruma.tenant.knowledge.pairs import PairIndex
    from ruma.tenant.knowledge.vectors import VectorCache
    from ruma.tenant.people.attempts import Attempts

KEPT_CONNECTIONS = 4
KEY_CHANGE = "key-change.toml"
"""A file of the tenant's directory that is there while its key is being changed."""


class Tenant:
    """One business's open directory. Safe to use from several threads.

    Connections are kept and handed out again, the warmest first, since an encrypted database is slow
    until its pages are cached. A directory that is removed while it is open ends every use of it. A key that
    is rotated while it is open does not: the next connection is one to the database under the new key.
    """

    def __init__(
        self,
        name: str,
        tenant_id: str,
        folder: Path,
        key: Key,
        *,
        upgrades: bool = True,
        find_key: Callable[[Manifest], Key] | None = None,
    ) -> None:
        """Use `Home.open`, which finds the key and checks the manifest.

        upgrades: whether an older version's tables are brought to this one's form when they are opened.
        find_key: is asked for the new key after a rotation.
        """
        self.name = name
        self.id = tenant_id
        self.folder = folder
        self.key = key
        self._upgrades = upgrades
        self._find_key = find_key
        self._seen = self._stat_manifest()
        self.manifest = read_manifest(folder)
        self.vectors: VectorCache | None = None
        self.pairs: PairIndex | None = None
        self.attempts: Attempts | None = None
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._page_key: Key | None = None
        self._kept: list[Database] = []
        self._held: dict[int, Database] = {}
        self._is_closed = False
        self._inode = self._stat_inode()

    def __repr__(self) -> str:
        return f"Tenant({self.name!r})"

    def __enter__(self) -> "Tenant":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def files_folder(self) -> Path:
        """The folder of the sealed originals."""
        return self.folder / "files"

    @property
    def database_file(self) -> Path:
        """The database's file: another one after each rotation of the key."""
        return self.folder / self.manifest.database

    @property
    def page_key(self) -> Key:
        """The key of addresses, form tokens and counters, which stays the same when the data key is rotated."""
        if self._page_key is None:
            with self.reading() as db:
                self._page_key = Key(db.execute("select raw from page_key").fetchone()[0])
        return self._page_key

    @property
    def uploads_folder(self) -> Path:
        """The folder of sealed uploads that wait to be read; made with the first of them."""
        return self.folder / "uploads"

    @property
    def exports_folder(self) -> Path:
        """The folder of sealed exports that wait to be fetched; made with the first of them."""
        return self.folder / "exports"

    @contextmanager
    def reading(self) -> Iterator["Database"]:
        """Give a connection that sees one unchanging state of the database.

        Raises:
            NotFoundError: The tenant's directory is gone.
            StoreError: The database cannot be used.
        """
        held = self._held.get(threading.get_ident())
        if held is not None:
            yield held
            return
        with self._connection() as db:
            db.execute("begin")
            try:
                yield db
            finally:
                db.rollback()

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """Let every `reading` of this thread see the same state: what one found is there for the next.

        Not for a generator, which may go on in another thread.

        Raises:
            NotFoundError: The tenant's directory is gone.
            StoreError: The database cannot be used.
        """
        thread = threading.get_ident()
        if thread in self._held:
            yield  # it is part of a larger one
            return
        with self.reading() as db:
            self._held[thread] = db
            try:
                yield
            finally:
                del self._held[thread]

    @contextmanager
    def writing(self) -> Iterator["Database"]:
        """Give a connection for one write, all or nothing; a busy database means wait, not fail.

        The write lock is asked for first: a read that turns into a write cannot wait for it.

        Raises:
            NotFoundError: The tenant's directory is gone.
            StoreError: The database cannot be used.
        """
        with self._connection(is_writing=True) as db:
            try:
                yield db
                db.commit()
            except BaseException:
                db.rollback()  # also after a commit that failed: a full disk can leave the transaction open
                raise

    @contextmanager
    def unbound(self) -> Iterator["Database"]:
        """Give a connection outside any transaction, for what SQLite allows only there."""
        with self._connection() as db:
            yield db

    def check_present(self) -> None:
        """Take over a key that was rotated, or raise NotFoundError if the directory was removed or put aside."""
        while not self._is_closed:
            seen = self._stat_manifest()
            if seen != self._seen:
                self._look_again()
            elif self._stat_inode() == self._inode:
                return
            elif self._stat_manifest() == seen:
                break
        self.close()
        raise NotFoundError(f"The tenant {self.name} is not there any more.")

    def forget(self) -> None:
        """Let go of what is held of its content: indexes, and connections with the pages that they decrypted.

        Connections that are in use go when they come back.
        """
        with self._lock:
            self.vectors = self.pairs = None
            self.manifest = replace(self.manifest)  # another one, so that no connection of before is kept
            kept, self._kept = self._kept, []
        for db in kept:
            db.close()

    def close(self) -> None:
        """Close every connection that is not in use; those in use are closed when they come back."""
        with self._lock:
            self._is_closed = True
            kept, self._kept = self._kept, []
            self.vectors = self.pairs = None
        for db in kept:
            db.close()

    @contextmanager
    def _connection(self, *, is_writing: bool = False) -> Iterator["Database"]:
        with translated(self.database_file):
            db, manifest = self._take_for_writing() if is_writing else self._take()
            try:
                yield db
            except BaseException as exc:
                if is_poisoned(exc):
                    db.close()
                else:
                    self._give_back(db, manifest)
                raise
            self._give_back(db, manifest)

    def _take(self) -> tuple["Database", Manifest]:
        while True:
            self.check_present()
            with self._lock:
                manifest, key = self.manifest, self.key
                if self._kept:
                    return self._kept.pop(), manifest
            try:
                found = open_database(self.folder, key, self.id, name=manifest.database, upgrades=self._upgrades)
                return found, manifest
            except StoreError:
                if self._stat_manifest() == self._seen:
                    raise  # else its file went in this moment, with the key

    def _take_for_writing(self) -> tuple["Database", Manifest]:
        """Return a connection that has the write lock, of the database that counts once it has it."""
        while True:
            db, manifest = self._take()
            try:
                db.execute("begin immediate")
                if self._stat_manifest() == self._seen and manifest is self.manifest:
                    return db, manifest
                db.rollback()
            except BaseException as exc:
                if is_poisoned(exc):
                    db.close()
                else:
                    self._give_back(db, manifest)
                if not is_busy(exc) or not (self.folder / KEY_CHANGE).exists():
                    raise
                continue  # who changes the key keeps the write lock for as long as it takes to copy the database
            self._give_back(db, manifest)

    def _give_back(self, db: "Database", manifest: Manifest) -> None:
        with self._lock:
            if not self._is_closed and manifest is self.manifest and len(self._kept) < KEPT_CONNECTIONS:
                self._kept.append(db)
                return
        db.close()

    def _look_again(self) -> None:
        """Read the manifest anew, and take over the database and the key that it names now."""
        with self._looking:
            seen = self._stat_manifest()
            if seen == self._seen:
                return
            try:
                manifest = read_manifest(self.folder)
            except StoreError:
                self.close()
                return
            if manifest.tenant_id != self.id:
                self.close()
                return
            key = self.key
            if not manifest.fits(key):
                if self._find_key is None:
                    raise StoreError(f"The key of the tenant {self.name} was changed.", hint="Run the command again.")
                key = self._find_key(manifest)
            with self._lock:
                self.key, self.manifest, self._seen = key, manifest, seen
                self._inode = self._stat_inode()
                kept, self._kept = self._kept, []
            for db in kept:
                db.close()

    def _stat_manifest(self) -> tuple[int, int]:
        # An inode number alone is not enough: a file made anew often gets the old one's.
        try:
            found = os.stat(self.folder / MANIFEST)
        except OSError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    def _stat_inode(self) -> int:
        try:
            return os.stat(self.database_file).st_ino
        except OSError:
            return 0
