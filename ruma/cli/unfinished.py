"""Files that lie in clear while they are written: what a killed command leaves, the next one removes.

For file systems that know no files without a name. Where they are is noted in the home before they are opened.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ruma.tenant.private_files import make_private_folder, sync_folder

_FOLDER = "unfinished"
_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part")
_LONGEST_PATH = 10_000


def part_of(file: Path) -> Path:
    """Return the name under which a file is written until it is whole."""
    return file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")


@contextmanager
def noted(home: Path, part: Path) -> Iterator[None]:
    """Let the next command remove *part* if this process is killed meanwhile.

    Raises:
        KeyStoreError: The folder of the notes cannot be made.
    """
    folder = home / _FOLDER
    make_private_folder(folder)
    place = folder / secrets.token_hex(8)
    handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # for as long as this process lives
        os.write(handle, os.fsencode(part.absolute()))
        os.fsync(handle)
        sync_folder(folder)
        yield
    finally:
        place.unlink(missing_ok=True)
        os.close(handle)


def remove_unfinished(home: Path) -> None:
    """Remove what killed commands were writing; what is on a disk that is not there now is tried again next time."""
    for place in (home / _FOLDER).glob("*"):
        with suppress(OSError):
            handle = os.open(place, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part = Path(os.fsdecode(os.read(handle, _LONGEST_PATH)))
                if _PART.fullmatch(part.name) and part.parent.is_dir():
                    part.unlink(missing_ok=True)
                    place.unlink()
            finally:
                os.close(handle)
