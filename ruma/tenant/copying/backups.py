"""Which backups hold the tenant: what an erasure cannot reach, and names."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ruma.tenant.audit import note
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database


@dataclass(frozen=True)
class Sealed:
    """A sealed file of the tenant: the original of a document, or an upload that waits to be read."""

    kind: Literal["original", "upload"]
    id: str
    """The name of the file."""
    content: str
    """What its content is known by: an original's SHA-256, an upload's id."""
    size_bytes: int


@dataclass(frozen=True)
class BackupInfo:
    """A backup that holds the tenant as it was at a moment."""

    snapshot: str
    """Its name in its folder."""
    target_id: str
    """The folder's own random number, also where it is mounted elsewhere."""
    folder: str
    """Where the folder lay when the backup was made."""
    made_at: str
    is_whole: bool
    """False while it is being made, and of one that was interrupted: what it wrote until then lies there."""


def list_backups(tenant: Tenant) -> list[BackupInfo]:
    """Return the backups that hold the tenant, the oldest first.

    What was erased after `made_at` can be in them.
    """
    with tenant.reading() as db:
        rows = db.execute("select snapshot, target_id, folder, made_at, is_whole from backup order by made_at, rowid")
        return [BackupInfo(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows]


def list_sealed(tenant: Tenant) -> list[Sealed]:
    """Return the sealed files that the rows name."""
    with tenant.reading() as db:
        originals = db.execute("select original_id, content_hash, size_bytes from document order by id").fetchall()
        sql = "select sealed_id, sealed_id, size_bytes from upload where state <> 'done' order by id"
        uploads = db.execute(sql).fetchall()
    return [*(Sealed("original", *row) for row in originals), *(Sealed("upload", *row) for row in uploads)]


def place_of(tenant: Tenant, sealed: Sealed) -> Path:
    """Return where a sealed file lies."""
    return (tenant.files_folder if sealed.kind == "original" else tenant.uploads_folder) / sealed.id


def begin_backup(tenant: Tenant, backup: BackupInfo) -> None:
    """Write down that a backup is being made, before it reads anything."""
    with tenant.writing() as db:
        _insert(db, backup)


def finish_backup(tenant: Tenant, backup: BackupInfo, *, size_bytes: int) -> None:
    """Write down that a backup is whole."""
    with tenant.writing() as db:
        db.execute("update backup set is_whole = 1 where snapshot = ?", [backup.snapshot])
        note(db, "backup.made", made_at=backup.made_at, snapshot=backup.snapshot, size_bytes=size_bytes)


def finish_restore(tenant: Tenant, snapshot: BackupInfo, backups: Collection[BackupInfo]) -> None:
    """Write down what a tenant was restored from, and which backups hold what it was."""
    with tenant.writing() as db:
        for backup in backups:
            _insert(db, backup)
        note(db, "tenant.restored", made_at=snapshot.made_at, snapshot=snapshot.snapshot)


def keep_backups(tenant: Tenant, target_id: str, snapshots: Collection[str]) -> int:
    """Forget the backups of a folder that are not there any more, and return how many that were."""
    gone = [one for one in list_backups(tenant) if one.target_id == target_id and one.snapshot not in snapshots]
    if gone:
        with tenant.writing() as db:
            for one in gone:
                db.execute("delete from backup where snapshot = ?", [one.snapshot])
                if one.is_whole:
                    note(db, "backup.removed", made_at=one.made_at, snapshot=one.snapshot)
    return len(gone)


def _insert(db: "Database", backup: BackupInfo) -> None:
    row = [backup.snapshot, backup.target_id, backup.folder, backup.made_at, int(backup.is_whole)]
    db.execute("insert or replace into backup values (?, ?, ?, ?, ?)", row)
