"""Sealed files that somebody writes or reads: a lock tells, for as long as its process lives, that they are in use."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from ruma.errors import DamagedError
from ruma.tenant.keys.data_key import Key
from ruma.tenant.knowledge.originals import Sealer, open_sealer
from ruma.tenant.private_files import open_unlinked


def open_locked(part: Path, key: Key) -> Sealer:
    """Return the writer of a new sealed file, locked as long as it is open.

    Raises:
        StoreError: The file cannot be made.
    """
    while True:
        sealer = open_sealer(part, key)
        fcntl.flock(sealer.fileno(), fcntl.LOCK_EX)
        if os.fstat(sealer.fileno()).st_nlink:
            return sealer
        sealer.close()  # a sweep came between making the file and locking it


def lock_file(path: Path) -> int | None:
    """Return a descriptor that holds the lock of a sealed file; None where another one holds it.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It cannot be opened.
    """
    try:
        descriptor = open_unlinked(str(path), os.O_RDONLY)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise DamagedError(f"The file {path.name} cannot be opened: {exc.strerror}.") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def remove_unheld(path: Path) -> None:
    """Remove a sealed file that nobody writes or reads just now; a killed process holds none.

    Raises:
        DamagedError: It cannot be opened.
    """
    with suppress(FileNotFoundError):
        descriptor = lock_file(path)
        if descriptor is not None:
            path.unlink()
            os.close(descriptor)
