"""Small files that only their owner may read: written whole or not at all, read only where nobody else could write."""

import contextlib
import os
import secrets
import stat
import time
from pathlib import Path

from ruma.errors import KeyMissingError, KeyStoreError

LARGEST_FILE = 64 * 1024
_STALE_SECONDS = 3600


def make_private_folder(folder: Path) -> None:
    """Make *folder* with mode 0700 if it is not there.

    Raises:
        KeyStoreError: It cannot be made, or others have access to the one that is there.
    """
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(folder.parent)  # or a power cut could take the folder and leave what its keys opened
        found = folder.stat()
    except OSError as exc:
        raise KeyStoreError(f"The folder {folder} cannot be made: {exc.strerror}.") from exc
    if found.st_uid != os.geteuid():
        raise KeyStoreError(
            f"The folder {folder} belongs to another user of this machine.",
            hint=f"Run Ruma as its owner, or give it over: chown {os.geteuid()} {folder}",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise KeyStoreError(
            f"Other users of this machine have access to {folder}.", hint=f"Take it away: chmod 700 {folder}"
        )


def read_private_file(path: Path) -> bytes:
    """Return the content of a regular file of ours that nobody else may read.

    Raises:
        KeyMissingError: There is no such file.
        KeyStoreError: It is a link or no plain file, belongs to another user, is open to others, or too large.
    """
    try:
        with open(path, "rb", opener=open_unlinked) as file:
            _check_private(path, os.fstat(file.fileno()))
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise KeyMissingError(f"The file {path} is missing.") from None
    except OSError as exc:
        reason = "it is a symbolic link" if path.is_symlink() else exc.strerror
        raise KeyStoreError(f"The file {path} cannot be used: {reason}.") from exc
    if len(content) > LARGEST_FILE:
        raise KeyStoreError(f"The file {path} cannot be used: it is over {LARGEST_FILE // 1024} KB.")
    return content


def write_new_file(path: Path, content: bytes) -> bool:
    """Write a file that is not there yet, durably and whole or not at all; tell whether it was written.

    False means that another process was first, and that its file was left alone.

    Raises:
        KeyStoreError: The file cannot be written, for example because the disk is full.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        _remove_stale_parts(path.parent)
        _write_part(part, content)
        try:
            os.link(part, path)  # unlike a rename, it refuses to replace
        except FileExistsError:
            return False
        finally:
            part.unlink()
        sync_folder(path.parent)
    except OSError as exc:
        raise KeyStoreError(f"The file {path} cannot be written: {exc.strerror}.") from exc
    return True


def replace_file(path: Path, content: bytes) -> None:
    """Write a file with mode 0600 in the place of one that may be there, durably and at one moment."""
    part = path.with_name(f"{path.name}.part")
    # One that a killed command left is written over, not cut to nothing: what it holds may be a sealed key.
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o600)
            file.write(content)
            file.truncate()
            file.flush()
            os.fsync(handle)
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def destroy_file(path: Path) -> bool:
    """Overwrite and remove a file, and verify that it is gone; tell whether there was one.

    Raises:
        KeyStoreError: It is still there.
    """
    is_found = False
    try:
        # A killed `write_new_file` can leave a second name of the same file, a killed `replace_file` what was to be it.
        for name in [path, path.with_name(f"{path.name}.part"), *path.parent.glob(f".{path.name}.*.part")]:
            is_found = _destroy_one(name) or is_found
        if path.parent.is_dir():
            sync_folder(path.parent)
    except OSError as exc:
        raise KeyStoreError(f"The file {path} cannot be destroyed: {exc.strerror}.") from exc
    if os.path.lexists(path):
        raise KeyStoreError(f"The file {path} was removed and is still there.")
    return is_found


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(file: Path) -> None:
    """Make the content of *file* durable."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_unlinked(path: str, flags: int) -> int:
    """Open a file for the `opener` of `open`: never through a link, and without waiting where a named pipe lies."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _check_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeyStoreError(f"The file {path} cannot be used: it is not a regular file.")
    if found.st_uid != os.geteuid():
        raise KeyStoreError(
            f"The file {path} cannot be used: it belongs to another user.",
            hint=f"Give it over: chown {os.geteuid()} {path}",
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o177:
        raise KeyStoreError(
            f"The file {path} cannot be used: its mode is {mode:04o}, and others must have no access.",
            hint=f"Take it away: chmod 600 {path}",
        )


def _write_part(part: Path, content: bytes) -> None:
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # a umask can only take rights away, and 0200 would lock us out
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _remove_stale_parts(folder: Path) -> None:
    """Take away what killed processes left. Nothing is overwritten: it can be a second name of a file in use."""
    for part in folder.glob(".*.part"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - part.lstat().st_mtime > _STALE_SECONDS:
                part.unlink()


def _destroy_one(path: Path) -> bool:
    try:
        with open(path, "r+b", opener=open_unlinked) as file:
            file.write(secrets.token_bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return False
    except OSError:
        if not path.is_symlink():
            raise
    path.unlink()
    return True
