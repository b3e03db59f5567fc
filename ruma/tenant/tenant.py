"""An open tenant: the way to its database, and nothing that could reach another tenant's."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ruma.errors import NotFoundError
from ruma.tenant.database import FILE_NAME, is_poisoned, open_database, translated
from ruma.tenant.keys import Key

if TYPE_CHECKING:
    from sqlite_utils import Database

    from ruma.tenant.attempts import Attempts
    from ruma.tenant.pairs import PairIndex
    from ruma.tenant.vectors import VectorCache

KEPT_CONNECTIONS = 4


class Tenant:
    """One business's open directory. Safe to use from several threads.

    Connections are kept and handed out again, the warmest first, since an encrypted database is slow
    until its pages are cached. A directory that is removed while it is open ends every use of it.
    """

    def __init__(self, name: str, tenant_id: str, folder: Path, key: Key, *, upgrades: bool = True) -> None:
        """Use `Home.open`, which finds the key and checks the manifest.

        upgrades: whether an older version's tables are brought to this one's form when they are opened.
        """
        self.name = name
        self.id = tenant_id
        self.folder = folder
        self.key = key
        self._upgrades = upgrades
        self._file = folder / FILE_NAME
        self.vectors: VectorCache | None = None
        self.pairs: PairIndex | None = None
        self.attempts: Attempts | None = None
        self._lock = threading.Lock()
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
        with self._connection() as db:
            db.execute("begin immediate")
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
        """Raise NotFoundError if the directory was removed or put aside since it was opened."""
        if self._is_closed or self._stat_inode() != self._inode:
            self.close()
            raise NotFoundError(f"The tenant {self.name} is not there any more.")

    def close(self) -> None:
        """Close every connection that is not in use; those in use are closed when they come back."""
        with self._lock:
            self._is_closed = True
            kept, self._kept = self._kept, []
            self.vectors = self.pairs = None
        for db in kept:
            db.close()

    @contextmanager
    def _connection(self) -> Iterator["Database"]:
        self.check_present()
        with translated(self._file):
            db = self._take()
            try:
                yield db
            except BaseException as exc:
                if is_poisoned(exc):
                    db.close()
                else:
                    self._give_back(db)
                raise
            self._give_back(db)

    def _take(self) -> "Database":
        with self._lock:
            if self._kept:
                return self._kept.pop()
        return open_database(self.folder, self.key, self.id, upgrades=self._upgrades)

    def _give_back(self, db: "Database") -> None:
        with self._lock:
            if not self._is_closed and len(self._kept) < KEPT_CONNECTIONS:
                self._kept.append(db)
                return
        db.close()

    def _stat_inode(self) -> int:
        try:
            return os.stat(self._file).st_ino
        except OSError:
            return 0
