"""Backups: what a tenant has, as files that only the backup's own secret opens, in a folder that several share."""

import json
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ruma import __version__
from ruma.errors import ConflictError, DamagedError, NotFoundError
from ruma.tenant.clock import now
from ruma.tenant.copying.backup_folder import BackupFolder, Snapshot, file_name, piece_key
from ruma.tenant.copying.backups import (
    BackupInfo,
    Sealed,
    begin_backup,
    finish_backup,
    keep_backups,
    list_backups,
    list_sealed,
    place_of,
)
from ruma.tenant.copying.rows import list_tables, read_pieces
from ruma.tenant.keys.file_keys import find_file_key
from ruma.tenant.knowledge.originals import read_original
from ruma.tenant.schema import STEPS
from ruma.tenant.tenant import Tenant

FORMAT = 1
"""The version of what a backup says of a tenant; a newer one is refused."""

LARGEST_PIECE = 64 * 1024 * 1024
_MOST_TRIES = 5


@dataclass(frozen=True)
class Made:
    """A backup that was made."""

    snapshot: Snapshot
    damaged: tuple[str, ...]
    """The originals that could not be read, by their names in the tenant's directory; the backup is without them."""


@dataclass(frozen=True)
class Keep:
    """How long backups are kept; what is 0 says nothing."""

    days: int = 0
    """None is kept longer than this, but the newest of a tenant that is there."""
    daily: int = 0
    """Of the last so many days with backups, the newest of each."""
    weekly: int = 0
    monthly: int = 0


def back_up(tenant: Tenant, folder: BackupFolder) -> Made:
    """Make a backup of a tenant as it is at one moment, while others go on using it.

    The folder must be `locked`. What it holds already is not written again. Everything that is written is read back.

    Raises:
        StoreError: The folder is full or cannot be used; the backups in it are as before.
        ConflictError: Documents were removed faster than they could be read.
        NotFoundError: The tenant was deleted meanwhile; nothing that was read for this backup is left.
    """
    keep_backups(tenant, folder.id, [one.name for one in folder.snapshots()])
    name, number = folder.next_name(tenant.name)
    try:
        return _make(tenant, folder, name, number)
    except NotFoundError:
        folder.remove([name])
        raise


def _make(tenant: Tenant, folder: BackupFolder, name: str, number: int) -> Made:
    info = BackupInfo(name, folder.id, str(folder.folder), now(), is_whole=False)
    begin_backup(tenant, info)
    before = folder.written_bytes
    naming = piece_key(tenant.page_key, folder.id)
    # Outside any transaction: sealing a gigabyte takes its time, and an erasure waits for those who read.
    _store_sealed(tenant, folder, naming, list_sealed(tenant))
    for _ in range(_MOST_TRIES):
        with tenant.one_state():
            listed = list_sealed(tenant)
            files, damaged = _store_sealed(tenant, folder, naming, listed)
            tables, row_bytes = _store_rows(tenant, folder, naming, files)
            others = [one for one in list_backups(tenant) if one.snapshot != name]
        gone = {one.id for one in damaged} - {one.id for one in list_sealed(tenant)}
        if not gone:
            break  # else some were removed between the look at the rows and the look at the files
    else:
        raise ConflictError(f"{tenant.name} changes too fast to be backed up at this moment.", hint="Try again later.")
    content = {
        "format": FORMAT,
        "ruma": __version__,
        "tenant": tenant.name,
        "tenant_id": tenant.id,
        "made_at": info.made_at,
        "naming": naming.hex(),
        "steps": [step.__name__ for step in STEPS],
        "tables": tables,
        "damaged": [one.id for one in damaged],
        "backups": [[one.snapshot, one.target_id, one.folder, one.made_at] for one in others],
    }
    manifest = json.dumps(content).encode()
    manifest_name = file_name(naming, "manifest", manifest)
    files[manifest_name] = folder.write(manifest_name, [manifest])
    snapshot = Snapshot(
        name=name,
        number=number,
        tenant=tenant.name,
        tenant_id=tenant.id,
        made_at=info.made_at,
        manifest=manifest_name,
        files=files,
        content_bytes=row_bytes + sum(one.size_bytes for one in listed),
        new_bytes=folder.written_bytes - before,
    )
    folder.commit(snapshot)
    finish_backup(tenant, info, size_bytes=snapshot.stored_bytes)
    return Made(snapshot, tuple(one.id for one in damaged))


def name_of_sealed(naming: bytes, sealed: Sealed) -> str:
    """Return the name of the backup's file with a sealed file's content; equal originals are one file."""
    return file_name(naming, sealed.kind, sealed.content.encode())


def name_of_piece(naming: bytes, lines: bytes) -> str:
    """Return the name of the backup's file with these rows."""
    return file_name(naming, "rows", lines)


def choose_removed(snapshots: Sequence[Snapshot], keep: Keep, *, living: Collection[str], today: str) -> list[Snapshot]:
    """Return the backups that are kept no longer.

    Args:
        snapshots: All backups of a folder.
        keep: How long they are kept; where it says nothing, all are.
        living: The ids of the tenants that are there: the newest backup of each stays, whatever its age.
        today: The time, as it is stored.
    """
    if keep == Keep():
        return []
    removed = []
    for tenant_id in {one.tenant_id for one in snapshots}:
        newest_first = [one for one in reversed(snapshots) if one.tenant_id == tenant_id]
        kept = _thinned(newest_first, keep)
        if keep.days:
            oldest = _date(today) - timedelta(days=keep.days)
            kept = {one.name for one in newest_first if one.name in kept and _date(one.made_at) > oldest}
        if tenant_id in living:
            kept.add(newest_first[0].name)
        removed += [one for one in newest_first if one.name not in kept]
    return sorted(removed, key=lambda one: one.number)


def _store_sealed(
    tenant: Tenant, folder: BackupFolder, naming: bytes, listed: Sequence[Sealed]
) -> tuple[dict[str, int], list[Sealed]]:
    """Store sealed files that the folder does not hold; return all with their sizes, and those that cannot be read."""
    files, unread = {}, []
    for sealed in listed:
        name = name_of_sealed(naming, sealed)
        try:
            blocks = iter(()) if folder.holds(name) else _read_sealed(tenant, sealed)
            files[name] = folder.write(name, blocks)
        except DamagedError:
            unread.append(sealed)
    return files, unread


def _read_sealed(tenant: Tenant, sealed: Sealed) -> Iterator[bytes]:
    return read_original(place_of(tenant, sealed), find_file_key(tenant, sealed.id))


def _store_rows(
    tenant: Tenant, folder: BackupFolder, naming: bytes, files: dict[str, int]
) -> tuple[list[Mapping[str, Any]], int]:
    """Store pieces that the folder does not hold, add all to *files*; return what to know of each table."""
    tables, size = list[Mapping[str, Any]](), 0
    for table in list_tables(tenant):
        pieces, rows = [], 0
        for piece in read_pieces(tenant, table):
            name = name_of_piece(naming, piece.lines)
            files[name] = folder.write(name, _compressed(piece.lines))
            pieces.append(name)
            rows, size = rows + piece.rows, size + len(piece.lines)
        tables.append({"name": table.name, "columns": table.columns, "rows": rows, "pieces": pieces})
    return tables, size


def _compressed(lines: bytes) -> Iterator[bytes]:
    """Yield the lines compressed: only where they are asked for, since most pieces are there already."""
    if len(lines) > LARGEST_PIECE:
        raise DamagedError(f"A row has {len(lines) // 1_000_000} MB, which no row of Ruma has.")
    yield zlib.compress(lines, 1)


def _thinned(newest_first: Sequence[Snapshot], keep: Keep) -> set[str]:
    counts = [(keep.daily, "%Y-%m-%d"), (keep.weekly, "%G-%V"), (keep.monthly, "%Y-%m")]
    if not any(count for count, _ in counts):
        return {one.name for one in newest_first}
    kept = set[str]()
    for count, form in counts:
        newest: dict[str, str] = {}
        for one in newest_first:
            newest.setdefault(_date(one.made_at).strftime(form), one.name)
        kept |= set(list(newest.values())[:count])
    return kept


def _date(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
