"""A folder of backups: sealed files that several backups share, and for each backup a plain list of its files.

Files have names that are hashes, are written whole or not at all, and never change. A list is written last: a backup
that was interrupted left some files, which the next one finds.
"""

import errno
import fcntl
import json
import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ruma.config import Settings
from ruma.errors import (
    ConflictError,
    DamagedError,
    InputError,
    KeyMissingError,
    NotReadyError,
    StoreError,
    WrongKeyError,
)
from ruma.tenant.clock import now
from ruma.tenant.copying.sealed_objects import ReadKeys, WriteKeys, keys_of, seal, stamp, unseal
from ruma.tenant.keys.data_key import KEY_BYTES, Key
from ruma.tenant.names import check_name
from ruma.tenant.private_files import make_private_folder, open_unlinked, read_private_file, sync_folder, write_new_file

FORMAT = 1
"""The version of the folder; a newer one is refused."""

_MARK = "ruma-backup.json"
_NAME = re.compile(r"[0-9a-f]{40}")
_READ = 1 << 20


@dataclass(frozen=True)
class Snapshot:
    """One backup of one tenant, as its plain list says: it can be read without the secret."""

    name: str
    number: int
    """Counts the backups of a folder: clocks can go back, this does not."""
    tenant: str
    tenant_id: str
    made_at: str
    manifest: str
    """The name of the sealed file that says what the others are."""
    files: Mapping[str, int]
    """Every file that it needs, with its size."""
    content_bytes: int
    """How large what it holds is when it is restored: rows and originals."""
    new_bytes: int
    """How much of it no backup before held."""

    @property
    def stored_bytes(self) -> int:
        """How large its files are together, those that other backups share among them."""
        return sum(self.files.values())


class BackupFolder:
    """An open folder of backups."""

    def __init__(self, folder: Path, target_id: str, keys: WriteKeys) -> None:
        """Use `init_folder`, `open_folder` or `open_with_secret`."""
        self.folder = folder
        self.id = target_id
        self._keys = keys
        self._sizes: dict[str, int] = {}
        self.written_bytes = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other backup, and every removal, away from the folder.

        Raises:
            ConflictError: There is one at this moment.
        """
        with _translated(self.folder):
            handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise ConflictError(
                    f"Another command is writing to {self.folder} at this moment.", hint="Try again when it is done."
                ) from exc
            except OSError as exc:
                raise StoreError(
                    f"{self.folder} is on a file system that knows no locks ({exc.strerror}), so two backups at once "
                    "could spoil each other.",
                    hint="Mount it with locks, or take a folder on another file system.",
                ) from exc
            with _translated(self.folder):
                self._look_around()
            yield
        finally:
            os.close(handle)

    def holds(self, name: str) -> bool:
        """Tell whether there is a file of that name, as large as it was when it was written."""
        return name in self._sizes

    def write(self, name: str, blocks: Iterable[bytes]) -> int:
        """Seal *blocks* in a file of that name unless it is there, and return its size.

        It is durable, and was read back from the disk, before it has its name.

        Raises:
            StoreError: The folder is full, or did not keep what was written; the backups that are there are as before.
        """
        if name in self._sizes:
            return self._sizes[name]
        place = self._place(name)
        part = place.with_name(f".{secrets.token_hex(8)}.part")
        with _translated(self.folder):
            place.parent.mkdir(mode=0o700, exist_ok=True)
            _check_folder(place.parent)
            try:
                size = self._write_part(part, name, blocks)
                part.rename(place)
                sync_folder(place.parent)
            finally:
                part.unlink(missing_ok=True)
        self._sizes[name] = size
        self.written_bytes += size
        return size

    def read(self, name: str) -> Iterator[bytes]:
        """Return the content of a file, block by block.

        Raises:
            DamagedError: It is missing, cut short or altered, or was written by someone else.
            WrongKeyError: The folder was opened without its secret.
        """
        if not isinstance(self._keys, ReadKeys):
            raise WrongKeyError("Without its secret a backup cannot be read.")
        if not _NAME.fullmatch(name):
            raise DamagedError("A backup names a file as Ruma names none.")
        try:
            with open(self._place(name), "rb", opener=open_unlinked) as file:
                yield from unseal(file, name, self._keys)
        except FileNotFoundError:
            raise DamagedError(f"The file {name} of the backup is missing.") from None
        except OSError as exc:
            raise DamagedError(f"The file {name} of the backup cannot be read: {exc.strerror}.") from exc

    def snapshots(self) -> list[Snapshot]:
        """Return the backups in the folder, in the order in which they were made.

        Raises:
            DamagedError: A list is damaged, or was not written by who may.
        """
        with _translated(self.folder):
            names = sorted(file.name for file in (self.folder / "snapshots").iterdir() if file.suffix == ".json")
        return sorted((self._read_list(name) for name in names), key=lambda one: one.number)

    def next_name(self, tenant_name: str) -> tuple[str, int]:
        """Return the name and the number of the next backup."""
        number = max((one.number for one in self.snapshots()), default=0) + 1
        return f"{number:06}-{tenant_name}-{secrets.token_hex(3)}", number

    def commit(self, snapshot: Snapshot) -> None:
        """Write a backup's list: from now on the backup is there."""
        content = asdict(snapshot) | {"format": FORMAT, "files": dict(snapshot.files)}
        text = json.dumps(content, indent=1, sort_keys=True)
        text = json.dumps({"backup": content, "stamp": stamp(self._keys, text.encode())}, indent=1, sort_keys=True)
        place = self.folder / "snapshots" / f"{snapshot.name}.json"
        part = place.with_name(f".{secrets.token_hex(8)}.part")
        with _translated(self.folder):
            try:
                with open(part, "xb", opener=_open_private) as file:
                    file.write(text.encode())
                    file.flush()
                    os.fsync(file.fileno())
                part.rename(place)
                sync_folder(place.parent)
            finally:
                part.unlink(missing_ok=True)

    def remove(self, names: Collection[str]) -> int:
        """Take backups out, then every file that no other one needs; return how many bytes that freed.

        Raises:
            DamagedError: A list of another backup cannot be read, so nothing is removed.
        """
        kept = [one for one in self.snapshots() if one.name not in names]
        needed = {file for one in kept for file in one.files}
        freed = 0
        with _translated(self.folder):
            for name in names:
                (self.folder / "snapshots" / f"{name}.json").unlink(missing_ok=True)
            sync_folder(self.folder / "snapshots")
            for place in _files(self.folder / "objects"):
                if place.name not in needed:
                    freed += place.stat().st_size
                    place.unlink()
                    self._sizes.pop(place.name, None)
        return freed

    def _look_around(self) -> None:
        """Learn which files there are; one that has another size than a backup says is written again."""
        known: dict[str, int] = {}
        for snapshot in self.snapshots():
            known.update(snapshot.files)
        found: dict[str, int] = {}
        for left in (self.folder / "snapshots").glob(".*.part"):  # of a command that was killed: nobody else writes now
            left.unlink()
        for place in _files(self.folder / "objects"):
            if place.suffix == ".part":
                place.unlink()
            else:
                found[place.name] = place.stat().st_size
        self._sizes = {name: size for name, size in found.items() if known.get(name, size) == size}

    def _write_part(self, part: Path, name: str, blocks: Iterable[bytes]) -> int:
        with open(part, "x+b", opener=_open_private) as file:
            written = seal(file, name, blocks, self._keys)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
            with suppress(OSError):  # so that what is read back comes from the disk, where the system can do that
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(0)
            read = blake2b(digest_size=KEY_BYTES)
            while block := file.read(_READ):
                read.update(block)
        if read.digest() != written:
            raise StoreError(f"{self.folder} did not keep what was written.", hint="Check its disk.")
        return size

    def _read_list(self, file_name: str) -> Snapshot:
        place = self.folder / "snapshots" / file_name
        wrong = DamagedError(
            f"{place} is damaged, or was not written by Ruma.", hint=f"Remove it by hand to go on without: {place}"
        )
        try:
            with open(place, "rb", opener=open_unlinked) as file:
                content = json.loads(file.read())
            found, mark = content["backup"], content["stamp"]
            text = json.dumps(found, indent=1, sort_keys=True).encode()
            if not secrets.compare_digest(stamp(self._keys, text), mark):
                raise wrong
            newest = found.pop("format")
            if newest > FORMAT:
                raise StoreError(
                    f"{place} was written by a newer version of Ruma.", hint="Update Ruma: pip install --upgrade ruma"
                )
            snapshot = Snapshot(**found)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
            raise wrong from exc
        if f"{snapshot.name}.json" != file_name or not all(_NAME.fullmatch(name) for name in snapshot.files):
            raise wrong
        check_name(snapshot.tenant)
        return snapshot

    def _place(self, name: str) -> Path:
        return self.folder / "objects" / name[:2] / name


def init_folder(settings: Settings, folder: Path) -> tuple[BackupFolder, Key]:
    """Make a folder of backups, and return it with its secret, which is kept nowhere.

    Raises:
        ConflictError: It is one already.
        InputError: It has something else in it.
        StoreError: It cannot be written.
    """
    with _translated(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = {entry.name for entry in folder.iterdir()} - {"lost+found"}
    if _MARK in names:
        raise ConflictError(
            f"{folder} holds backups already.", hint=f"To write to it from here as well: ruma backup join {folder}"
        )
    if names - {"objects", "snapshots"}:  # what an interrupted `init` left is no reason
        raise InputError(f"{folder} is not empty.", hint="Name a folder that is empty or not there yet.")
    secret, target_id = Key.random(), secrets.token_hex(8)
    keys = keys_of(secret)
    with _translated(folder):
        for name in ("objects", "snapshots"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
    _keep(settings, target_id, keys)
    mark = {
        "what": "Backups of Ruma",
        "format": FORMAT,
        "id": target_id,
        "public_key": keys.public.hex(),
        "made_at": now(),
    }
    with _translated(folder):
        if not write_new_file(folder / _MARK, json.dumps(mark, indent=1).encode() + b"\n"):
            raise ConflictError(f"{folder} holds backups already.")
        sync_folder(folder)
    return BackupFolder(folder, target_id, keys), secret


def join_folder(settings: Settings, folder: Path, secret: Key) -> BackupFolder:
    """Let this home write backups to a folder that another home made.

    Raises:
        WrongKeyError: The secret is another folder's.
    """
    opened = open_with_secret(folder, secret)
    _keep(settings, opened.id, opened._keys)
    return opened


def open_folder(settings: Settings, folder: Path) -> BackupFolder:
    """Open a folder of backups to write to it.

    Raises:
        NotReadyError: It is none, or this home does not know it.
    """
    mark = _read_mark(folder)
    place = settings.home / "backups" / f"{mark['id']}.json"
    try:
        kept = json.loads(read_private_file(place))
        keys = WriteKeys(bytes.fromhex(kept["public_key"]), bytes.fromhex(kept["stamp_key"]))
    except KeyMissingError as exc:
        raise NotReadyError(
            f"This home does not know {folder}.", hint=f"With its secret it can write to it: ruma backup join {folder}"
        ) from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise DamagedError(f"{place} is damaged.", hint=f"Remove it, then: ruma backup join {folder}") from exc
    if keys.public.hex() != mark["public_key"]:
        raise DamagedError(
            f"{folder / _MARK} names another key than this home knows: nothing is written to it.",
            hint=f"Put the file back, or remove {place} and join the folder anew.",
        )
    return BackupFolder(folder, mark["id"], keys)


def open_with_secret(folder: Path, secret: Key) -> BackupFolder:
    """Open a folder of backups to read them.

    Raises:
        NotReadyError: It is no folder of backups.
        WrongKeyError: The secret is another folder's.
    """
    mark, keys = _read_mark(folder), keys_of(secret)
    if not secrets.compare_digest(keys.public.hex(), mark["public_key"]):
        raise WrongKeyError(f"This is not the secret of the backups in {folder}.")
    return BackupFolder(folder, mark["id"], keys)


def piece_key(key: Key, target_id: str) -> bytes:
    """Return the key for the names of a tenant's files in a folder: equal content has equal names, for it alone."""
    return key.derive(b"ruma backup name", target_id.encode())


def file_name(naming: bytes, kind: str, content: bytes) -> str:
    """Return the name of the file with this content."""
    return blake2b(kind.encode() + b"\0" + content, digest_size=20, key=naming).hexdigest()


def _keep(settings: Settings, target_id: str, keys: WriteKeys) -> None:
    make_private_folder(settings.home / "backups")
    content = {"public_key": keys.public.hex(), "stamp_key": keys.stamp.hex()}
    write_new_file(settings.home / "backups" / f"{target_id}.json", json.dumps(content, indent=1).encode() + b"\n")


def _read_mark(folder: Path) -> dict[str, Any]:
    place = folder / _MARK
    for name in ("objects", "snapshots"):
        _check_folder(folder / name)
    try:
        with open(place, "rb", opener=open_unlinked) as file:
            mark: dict[str, Any] = json.loads(file.read(_READ))
        if mark["format"] > FORMAT:
            raise StoreError(
                f"The backups in {folder} are of a newer version of Ruma.",
                hint="Update Ruma: pip install --upgrade ruma",
            )
        if not re.fullmatch("[0-9a-f]{16}", mark["id"]) or not re.fullmatch("[0-9a-f]{64}", mark["public_key"]):
            raise ValueError(mark)
    except FileNotFoundError as exc:
        raise NotReadyError(
            f"{folder} holds no backups.",
            hint=f"Is its disk there? To begin with backups in it: ruma backup init {folder}",
        ) from exc
    except OSError as exc:
        raise StoreError(f"{place} cannot be read: {exc.strerror}.") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise DamagedError(f"{place} is damaged.") from exc
    return mark


def _check_folder(folder: Path) -> None:
    """Refuse a link: what is written, and what is removed, would be elsewhere."""
    if folder.is_symlink():
        raise DamagedError(f"{folder} is a link, not a folder of the backups.", hint="Put the folder back.")


def _files(objects: Path) -> Iterator[Path]:
    """Return every file, what a killed command left of one among them; what Ruma did not write is left alone."""
    for folder in sorted(objects.iterdir()):
        if re.fullmatch("[0-9a-f]{2}", folder.name) and not folder.is_symlink():
            yield from [file for file in folder.iterdir() if _NAME.fullmatch(file.name) or file.suffix == ".part"]


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"The disk of {folder} is full; the backups that are there are as before.",
                hint="Free some space, for example: ruma backup prune. What was written is used by the next backup.",
            ) from exc
        raise StoreError(f"{folder} cannot be used: {exc.strerror}.", hint="Is its disk there, and writable?") from exc
