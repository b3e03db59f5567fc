"""Restores a tenant from a backup: from its rows, never from a database file, with a key and a number of its own."""

import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ruma.errors import DamagedError, NotFoundError, StoreError
from ruma.privacy.backing_up import FORMAT, LARGEST_PIECE, name_of_piece, name_of_sealed
from ruma.privacy.reapplying import Reapplied, later_receipts, reapply, receipts_in_home
from ruma.tenant.copying.backup_folder import BackupFolder, Snapshot
from ruma.tenant.copying.backups import BackupInfo, Sealed, finish_restore, list_sealed, place_of
from ruma.tenant.copying.rows import (
    Table,
    check_rows,
    empty_tables,
    list_tables,
    read_pieces,
    rebuild_index,
    write_piece,
)
from ruma.tenant.database import create_database
from ruma.tenant.erasing.receipts import Receipt, read_receipt
from ruma.tenant.home import Draft, Home
from ruma.tenant.keys.data_key import Key
from ruma.tenant.keys.file_keys import keep_file_keys
from ruma.tenant.knowledge.originals import seal_original
from ruma.tenant.schema import STEPS
from ruma.tenant.tenant import Tenant


@dataclass(frozen=True)
class Manifest:
    """What a backup's sealed manifest says."""

    naming: bytes
    steps: tuple[str, ...]
    tables: dict[str, dict[str, Any]]
    damaged: frozenset[str]
    backups: tuple[BackupInfo, ...]


@dataclass(frozen=True)
class Counts:
    """What was restored, or tried to be: all of it was compared with what was backed up."""

    rows: int
    documents: int
    uploads: int
    size_bytes: int
    damaged: int
    """Originals that were unreadable when the backup was made."""


@dataclass(frozen=True)
class Restored:
    """A tenant that was restored."""

    name: str
    id: str
    key_store: str
    recovery_key: str
    counts: Counts
    later_erasures: tuple[Receipt, ...]
    """What was erased after the backup, as far as the home and later backups tell."""
    reapplied: tuple[Reapplied, ...]


def choose_snapshot(snapshots: Sequence[Snapshot], tenant: str | None = None, at: str = "") -> Snapshot:
    """Return the newest backup of a tenant, or the newest that was made until *at*, a date or the start of a time.

    Raises:
        NotFoundError: There is none, or of several tenants and none was named.
    """
    found = [one for one in snapshots if tenant in (None, one.tenant)]
    names = sorted({one.tenant for one in snapshots})
    if tenant is None and len(names) > 1:
        raise NotFoundError(f"There are backups of several tenants: {', '.join(names)}.", hint="Add --tenant NAME.")
    if not found:
        raise NotFoundError(f"There is no backup of {tenant or 'any tenant'}.", hint=f"There is: {', '.join(names)}")
    until = [one for one in found if not at or one.made_at[: len(at)] <= at]
    if not until:
        raise NotFoundError(f"The oldest backup is of {found[0].made_at}, after {at}.")
    return until[-1]


def restore(home: Home, folder: BackupFolder, snapshot: Snapshot, name: str, *, reapplies: bool = True) -> Restored:
    """Make the tenant *name* from a backup. It is there whole, compared with what was backed up, or not at all.

    With *reapplies* what was erased after the backup is erased again before anybody sees the tenant.

    Raises:
        InputError: The name is taken: nothing that is there is overwritten.
        StoreError: The backup is damaged, hostile or of a newer Ruma, or the disk is full.
        KeyStoreError: No key source can keep the new tenant's key.
    """
    manifest = read_manifest(folder, snapshot)
    of_tenant = [one for one in folder.snapshots() if one.tenant_id == snapshot.tenant_id]
    receipts = _receipts_of(home, folder, of_tenant)
    with home.building(name) as draft:
        counts = _fill(draft, folder, manifest)
        with Tenant(name, draft.id, draft.folder, draft.key) as tenant:
            known = {one.snapshot: one for one in (*manifest.backups, *(_info(one, folder) for one in of_tenant))}
            finish_restore(tenant, _info(snapshot, folder), list(known.values()))
            later = later_receipts(tenant, receipts)
            reapplied = reapply(tenant, later) if reapplies else []
    recovery_key = draft.key.recovery_text()
    return Restored(name, draft.id, draft.key_store, recovery_key, counts, tuple(later), tuple(reapplied))


def try_restore(home: Home, folder: BackupFolder, snapshot: Snapshot) -> Counts:
    """Restore a backup into a directory that goes again, encrypted with a key that is kept nowhere.

    Raises:
        StoreError: The backup could not be restored.
    """
    with home.scratch() as draft:
        return _fill(draft, folder, read_manifest(folder, snapshot))


def read_manifest(folder: BackupFolder, snapshot: Snapshot) -> Manifest:
    """Return what a backup says of itself.

    Raises:
        StoreError: It is damaged, or of a newer Ruma.
    """
    try:
        found = json.loads(b"".join(folder.read(snapshot.manifest)))
        if found["format"] > FORMAT or found["steps"] != [step.__name__ for step in STEPS][: len(found["steps"])]:
            raise StoreError(
                f"The backup {snapshot.name} was made by a newer version of Ruma ({found['ruma']}).",
                hint="Update Ruma: pip install --upgrade ruma",
            )
        return Manifest(
            bytes.fromhex(found["naming"]),
            tuple(found["steps"]),
            {table["name"]: table for table in found["tables"]},
            frozenset(found["damaged"]),
            tuple(BackupInfo(name, target, place, at, True) for name, target, place, at in found["backups"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise DamagedError(f"The manifest of the backup {snapshot.name} cannot be read.") from exc


def _receipts_of(home: Home, folder: BackupFolder, snapshots: Sequence[Snapshot]) -> list[Receipt]:
    """Return what a tenant erased: by itself, where it is there, and by its newest backup that can be read."""
    receipts = receipts_in_home(home, snapshots[-1].tenant_id)
    for snapshot in reversed(snapshots):
        with suppress(StoreError):
            return [*receipts, *_receipts_in(folder, read_manifest(folder, snapshot))]
    return receipts


def _receipts_in(folder: BackupFolder, manifest: Manifest) -> list[Receipt]:
    receipts, table = [], manifest.tables.get("erasure", {"columns": [], "pieces": []})
    for piece in table["pieces"]:
        for line in _read_piece(folder, manifest, piece).splitlines():
            row = dict(zip(table["columns"], json.loads(line), strict=True))
            if row["receipt"]:
                receipts.append(read_receipt(row["receipt"]).receipt)
    return receipts


def _fill(draft: Draft, folder: BackupFolder, manifest: Manifest) -> Counts:
    """Fill an empty directory with what a backup holds, and compare."""
    create_database(draft.folder, draft.key, draft.id, steps=manifest.steps)
    with Tenant(draft.name, draft.id, draft.folder, draft.key, upgrades=False) as tenant:
        tables = list_tables(tenant)
        _check_tables(tables, manifest)
        # One that the backup does not know has what making the database put in.
        tables = [table for table in tables if table.name in manifest.tables]
        empty_tables(tenant, tables)
        for table in tables:
            for piece in manifest.tables[table.name]["pieces"]:
                write_piece(tenant, table, _read_piece(folder, manifest, piece))
        _compare_rows(tenant, tables, manifest)
    with Tenant(draft.name, draft.id, draft.folder, draft.key) as tenant:
        rebuild_index(tenant)
        check_rows(tenant)
        listed = list_sealed(tenant)
        whole = [one for one in listed if one.id not in manifest.damaged]
        keys = {sealed.id: _write_sealed(tenant, sealed, folder, manifest.naming) for sealed in whole}
        keep_file_keys(tenant, keys)
    return Counts(
        rows=sum(table["rows"] for table in manifest.tables.values()),
        documents=sum(one.kind == "original" for one in listed),
        uploads=sum(one.kind == "upload" for one in listed),
        size_bytes=sum(one.size_bytes for one in listed),
        damaged=len(listed) - len(whole),
    )


def _check_tables(tables: Sequence[Table], manifest: Manifest) -> None:
    """Refuse a table or a column that this version, or the one that made the backup, does not have."""
    known = {table.name: list(table.columns) for table in tables}
    for name, table in manifest.tables.items():
        if known.get(name) != table["columns"]:
            raise DamagedError(f"The backup has a table {name!r} with other columns than Ruma gives it, or none.")


def _read_piece(folder: BackupFolder, manifest: Manifest, name: str) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        lines = unpacking.decompress(b"".join(folder.read(name)), LARGEST_PIECE)
    except zlib.error as exc:
        raise DamagedError(f"The file {name} of the backup is damaged.") from exc
    if not unpacking.eof or name_of_piece(manifest.naming, lines) != name:
        raise DamagedError(f"The file {name} of the backup does not hold what it should.")
    return lines


def _compare_rows(tenant: Tenant, tables: Sequence[Table], manifest: Manifest) -> None:
    """Read everything that was stored, as a backup does, and compare the hashes and the counts."""
    for table in tables:
        wanted = manifest.tables[table.name]
        found = [(name_of_piece(manifest.naming, piece.lines), piece.rows) for piece in read_pieces(tenant, table)]
        if [name for name, _ in found] != wanted["pieces"] or sum(rows for _, rows in found) != wanted["rows"]:
            raise DamagedError(f"The table {table.name} was restored to something else than was backed up.")


def _write_sealed(tenant: Tenant, sealed: Sealed, folder: BackupFolder, naming: bytes) -> Key:
    """Write a sealed file, check that it is the one that the rows mean, and return its key."""
    digest, size, key = hashlib.sha256(), 0, Key.random()

    def blocks() -> Iterator[bytes]:
        nonlocal size
        for block in folder.read(name_of_sealed(naming, sealed)):
            digest.update(block)
            size += len(block)
            yield block

    place = place_of(tenant, sealed)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    seal_original(blocks(), place, key)
    if size != sealed.size_bytes or (sealed.kind == "original" and digest.hexdigest() != sealed.content):
        raise DamagedError(f"The original {sealed.id} of the backup is another file than its document says.")
    return key


def _info(snapshot: Snapshot, folder: BackupFolder) -> BackupInfo:
    return BackupInfo(snapshot.name, folder.id, str(folder.folder), snapshot.made_at, is_whole=True)
