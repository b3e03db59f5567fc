"""The one place that opens a tenant's database: sets the key, proves the cipher, checks whose file it is."""

import errno
import fcntl
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruma import __version__
from ruma.errors import DamagedError, DiskFullError, NotEncryptedError, StoreError, WrongTenantError
from ruma.tenant.keys.keys import Key
from ruma.tenant.private_files import sync_file, sync_folder
from ruma.tenant.schema import STEPS, migrations

if TYPE_CHECKING:
    from sqlite_utils import Database

FILE_NAME = "tenant.db"
BEFORE_UPGRADE = "before-upgrade.db"
COPY_DAYS = 7
"""How long the database from before an upgrade is kept; an erasure takes it away at once."""
APPLICATION_ID = 0x52554D41  # "RUMA" in ASCII
CACHE_KIB = 65536
"""Page cache of a connection: encrypted pages cost 2.5 ms a MB to read again."""
BUSY_SECONDS = 30
_PAGES_AT_ONCE = 16384
_BUSY, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 8, 10, 11, 13, 14, 26


def create_database(folder: Path, key: Key, tenant_id: str, *, steps: Sequence[str] = ()) -> None:
    """Write a new, empty database for a tenant; with *steps*, as an older version made it that knew only those.

    Raises:
        NotEncryptedError: The SQLite library in use has no cipher; nothing was written.
        StoreError: The disk is full or read-only.
    """
    path = folder / FILE_NAME
    with translated(path):
        # Made by hand first: SQLite would let the umask decide who may read it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        db = _connect(path, key)
        try:
            pragma(db, f"application_id={APPLICATION_ID}")
            if pragma(db, "journal_mode=wal") != [("wal",)]:
                raise StoreError(f"{path} cannot use a write-ahead log on this file system.")
            migrations().apply(db, stop_before=_next_step(steps))
            db.execute("insert into ruma_identity values (?)", [tenant_id])
        finally:
            db.close()


def open_database(
    folder: Path, key: Key, tenant_id: str, *, name: str = FILE_NAME, upgrades: bool = True
) -> "Database":
    """Open a tenant's database, the file *name*, with its cipher proven active and its owner checked.

    With *upgrades* the tables are brought to this version's form first.
    Safe to hand from thread to thread, for one thread at a time.

    Raises:
        DamagedError: The file is missing, empty, cut short or altered. It is never made anew.
        WrongTenantError: The file belongs to another tenant.
        NotEncryptedError: The SQLite library in use has no cipher.
    """
    path = folder / name
    _check_file(path)
    with translated(path):
        db = _connect(path, key)
        try:
            if pragma(db, "application_id") != [(APPLICATION_ID,)]:
                raise DamagedError(f"{path} is not a database of Ruma.")
            owner = db.execute("select tenant_id from ruma_identity").fetchall()
            if owner != [(tenant_id,)]:
                raise WrongTenantError(
                    f"{path} belongs to the tenant {owner[0][0] if owner else '(none)'}, not to {tenant_id}.",
                    hint="Put the tenant's own file back, from a backup if need be.",
                )
            _set_pragmas(db, path)
            if upgrades:
                _upgrade(db, path, key)
                _check_forgetting(db, path)
        except BaseException:
            db.close()
            raise
        return db


def copy_database(folder: Path, key: Key, name: str, new_key: Key, new_name: str) -> None:
    """Write a database's present state into a new file under another key, and prove that every page of it opens.

    The caller holds the write lock: what was written meanwhile would be missing. No page is freed or moved, and the
    file is durable when this returns, but its name is not.

    Raises:
        StoreError: The disk is full, or the database cannot be read whole. The new file is left half-written.
    """
    path = folder / new_name
    with translated(path):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        old, new = _connect(folder / name, key), _connect(path, new_key)
        try:
            for setting in ("journal_mode=off", "synchronous=off"):  # a file that is not whole is thrown away
                pragma(new, setting)
            old.conn.backup(new.conn, pages=_PAGES_AT_ONCE)
        finally:
            new.close()
            old.close()
        sync_file(path)
        new = _connect(path, new_key)  # so that what is checked was read back
        try:
            damaged = pragma(new, "cipher_integrity_check")
            if damaged or pragma(new, "journal_mode") != [("wal",)]:
                raise StoreError(f"{path} did not keep what was written: {damaged[:1]}.")
        finally:
            new.close()


def library_versions() -> tuple[str, str]:
    """Return the versions of SQLite and of its cipher; the cipher's is empty where it has none."""
    import sqlcipher3

    connection = sqlcipher3.connect(":memory:")
    try:
        row = connection.execute("PRAGMA cipher_version").fetchone()
    finally:
        connection.close()
    return sqlcipher3.sqlite_version, row[0] if row else ""


def check_cipher() -> None:
    """Refuse to begin what would need a cipher later.

    Raises:
        NotEncryptedError: The SQLite library in use has none.
    """
    if not library_versions()[1]:
        raise _no_cipher()


def memory_database() -> "Database":
    """Return a database that lies in this process's memory alone, for what must be worked out and not be kept."""
    import sqlcipher3

    _name_driver()
    from sqlite_utils import Database

    db = Database(sqlcipher3.connect(":memory:", isolation_level=None), execute_plugins=False)
    pragma(db, "temp_store=MEMORY")
    return db


def pragma(db: "Database", text: str) -> list[tuple[Any, ...]]:
    """Return every row of a PRAGMA; unfetched, it would swallow an I/O error."""
    return db.execute(f"PRAGMA {text}").fetchall()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what the driver and the file system raise into a StoreError that names the file."""
    import sqlcipher3

    try:
        yield
    except sqlcipher3.Error as exc:
        raise _store_error(path, exc) from exc
    except OSError as exc:
        kind = DiskFullError if exc.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
        raise kind(f"{path} cannot be used: {exc.strerror}.", hint=_hint(exc.errno or 0)) from exc


def is_busy(exc: BaseException) -> bool:
    """Tell whether the database was in use for longer than a command waits."""
    return _code(exc) == _BUSY


def is_poisoned(exc: BaseException) -> bool:
    """Tell whether a connection must not be used again after this error.

    After one page that fails its check SQLCipher calls every later read damaged too.
    """
    return _code(exc) in (_IOERR, _CORRUPT, _NOTADB)


def _connect(path: Path, key: Key) -> "Database":
    import sqlcipher3

    _name_driver()
    from sqlite_utils import Database

    connection = sqlcipher3.connect(
        path.absolute().as_uri() + "?mode=rw",
        uri=True,
        isolation_level=None,
        timeout=BUSY_SECONDS,
        check_same_thread=False,
    )
    db = Database(connection, execute_plugins=False)
    try:
        pragma(db, "cipher_log_level=NONE")
        pragma(db, f"key=\"x'{key.raw.hex()}'\"")
        if not any(row[0] for row in pragma(db, "cipher_version")):
            raise _no_cipher()
        pragma(db, "secure_delete=ON")
    except BaseException:
        db.close()
        raise
    return db


def _no_cipher() -> NotEncryptedError:
    import sqlcipher3

    return NotEncryptedError(
        f"The SQLite library {sqlcipher3.__file__} has no cipher, so nothing is written with it.",
        hint="Install `sqlcipher3` 0.6.4 or later, and nothing else under that name.",
    )


def _name_driver() -> None:
    """Let sqlite-utils catch the errors of our driver: those of the one that it finds under this name."""
    import sqlcipher3

    sys.modules["pysqlite3"] = sqlcipher3
    sys.modules["pysqlite3.dbapi2"] = sqlcipher3.dbapi2


def _check_file(path: Path) -> None:
    try:
        found = path.lstat()
    except OSError as exc:
        raise DamagedError(f"{path} is missing.", hint="Put it back from a backup; it is not made anew.") from exc
    if not stat.S_ISREG(found.st_mode):
        raise DamagedError(f"{path} is not a plain file.")
    if found.st_size < 4096:
        raise DamagedError(f"{path} is empty or cut short.", hint="Put it back from a backup.")


def _set_pragmas(db: "Database", path: Path) -> None:
    wanted = ["foreign_keys=ON", "trusted_schema=OFF", "cell_size_check=ON"]
    for setting in [*wanted, f"cache_size=-{CACHE_KIB}"]:
        pragma(db, setting)
    if pragma(db, "secure_delete") != [(1,)] or pragma(db, "journal_mode") != [("wal",)]:
        raise DamagedError(f"{path} has settings that Ruma did not write.")


def _upgrade(db: "Database", path: Path, key: Key) -> None:
    known = migrations()
    applied = {step.name for step in known.applied(db)}
    unknown = applied - {step.__name__ for step in STEPS}
    if unknown:
        raise StoreError(
            f"{path} was written by a newer version of Ruma: {__version__} does not know its {min(unknown)}.",
            hint="Update Ruma: pip install --upgrade ruma",
        )
    if len(applied) < len(STEPS):
        _keep_copy(db, path.with_name(BEFORE_UPGRADE), key)
        known.apply(db)


def _keep_copy(db: "Database", copy: Path, key: Key) -> None:
    """Write the database as it is before its tables are changed beside it, encrypted with the same key."""
    _sweep_parts(copy)
    if copy.exists():
        return  # of an upgrade that was interrupted, before which nothing was changed either
    part, handle = _open_part(copy)
    try:
        target = _connect(part, key)
        try:
            db.conn.backup(target.conn)
        finally:
            target.close()
        sync_file(part)
        part.rename(copy)
        sync_folder(copy.parent)
    finally:
        for left in copy.parent.glob(f"{part.name}*"):
            left.unlink()
        os.close(handle)  # after SQLite has closed it, which else would lose its locks


def _open_part(copy: Path) -> tuple[Path, int]:
    """Make a file in which a copy is written, and lock it, so that others see that somebody does."""
    while True:
        part = copy.with_name(f"{copy.name}.{secrets.token_hex(4)}.part")
        handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return part, handle
        os.close(handle)  # a sweep came between making the file and locking it


def _sweep_parts(copy: Path) -> None:
    """Take away the copies that nobody writes any more: their upgrades were killed."""
    for part in copy.parent.glob(f"{copy.name}.*.part"):
        with suppress(FileNotFoundError, BlockingIOError):
            handle = os.open(part, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for left in copy.parent.glob(f"{part.name}*"):
                    left.unlink()
            finally:
                os.close(handle)


def drop_copy(folder: Path, *, older_than_days: float = 0) -> None:
    """Take the copy from before an upgrade away: what is erased since then is still in it."""
    copy = folder / BEFORE_UPGRADE
    with translated(copy), suppress(FileNotFoundError):
        _sweep_parts(copy)
        if time.time() - copy.stat().st_mtime >= older_than_days * 86400:
            for file in (copy, *copy.parent.glob(f"{BEFORE_UPGRADE}-*")):
                file.unlink()
            sync_folder(folder)


def _next_step(steps: Sequence[str]) -> str | None:
    """Return the step after those, where an older version is meant; they are the first ones in their order."""
    names = [step.__name__ for step in STEPS]
    return names[len(steps)] if 0 < len(steps) < len(names) else None


def _check_forgetting(db: "Database", path: Path) -> None:
    for index in ("chunk_fts", "message_fts"):
        if db.execute(f"select v from {index}_config where k = 'secure-delete'").fetchall() != [(1,)]:
            raise DamagedError(f"{path} has a search index that would keep deleted words.")


def _code(exc: BaseException) -> int:
    return int(getattr(exc, "sqlite_errorcode", 0) or 0) & 0xFF


def _store_error(path: Path, exc: Exception) -> StoreError:
    code = _code(exc)
    if code in (_CORRUPT, _NOTADB):
        return DamagedError(
            f"{path} is damaged, or was not encrypted with this tenant's key: {exc}.",
            hint="`ruma doctor` says what can still be read.",
        )
    if code == _FULL or (code == _IOERR and _is_full(path)):
        return DiskFullError(f"The disk of {path} is full; what was stored before is kept.", hint="Free some space.")
    if code == _BUSY:
        return StoreError(f"{path} is in use by another command for more than {BUSY_SECONDS} seconds.")
    if code in (_READONLY, _CANTOPEN):
        return StoreError(f"{path} cannot be written: {exc}.", hint="Check the disk and the file's owner.")
    return StoreError(f"{path} cannot be used: {exc}.")


def _is_full(path: Path) -> bool:
    """Tell whether nothing goes onto a file's disk: of its `-shm` SQLite says only that it could not be written."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < 1 << 16


def _hint(number: int) -> str:
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "Free some space on the disk; what was stored before is kept."
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "Check that the folder can be written by this user."
    return ""
