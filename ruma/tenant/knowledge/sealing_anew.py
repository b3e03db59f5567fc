"""Seals files again whose own keys are older than the tenant's: originals, uploads that wait, and exports."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from ruma.errors import DamagedError
from ruma.tenant.database import translated
from ruma.tenant.keys.data_key import Key
from ruma.tenant.keys.file_keys import find_file_key, keep_file_key
from ruma.tenant.knowledge.originals import read_original
from ruma.tenant.locked_files import lock_file, open_locked
from ruma.tenant.private_files import sync_folder
from ruma.tenant.tenant import Tenant


@dataclass(frozen=True)
class OlderFile:
    """A sealed file, and the column that names it."""

    sealed_id: str
    folder: Path
    table: str
    column: str


def find_older_files(tenant: Tenant) -> list[OlderFile]:
    """Return every sealed file whose key is from before the last rotation."""
    found = []
    for folder, table, column, condition in (
        (tenant.files_folder, "document", "original_id", "true"),
        (tenant.uploads_folder, "upload", "sealed_id", "state <> 'done'"),
        (tenant.exports_folder, "export", "sealed_id", "state = 'done'"),
    ):
        sql = f"""select {column} from {table} left join file_key on file_id = {column}
                  where coalesce(file_key.made_at, '') = '' and {condition} order by {table}.id"""
        with tenant.reading() as db:
            found += [OlderFile(row[0], folder, table, column) for row in db.execute(sql).fetchall()]
    return found


def seal_anew(tenant: Tenant, file: OlderFile) -> bool:
    """Seal a file again, with a new key and under a new name; False where it is being read, or went meanwhile.

    Raises:
        DamagedError: The file is damaged, and stays as it is.
        StoreError: The disk is full, or the database cannot be used.
    """
    old = file.folder / file.sealed_id
    try:
        lock = lock_file(old)
    except FileNotFoundError:
        if _is_named(tenant, file):
            raise DamagedError(f"The file {file.sealed_id} is missing.") from None
        return False
    if lock is None:
        return False  # an upload that is being read: it is a document in a moment
    try:
        is_exchanged = _exchange(tenant, file, old)
    finally:
        os.close(lock)
    if is_exchanged:
        with translated(old):
            old.unlink(missing_ok=True)
    return is_exchanged


def _exchange(tenant: Tenant, file: OlderFile, old: Path) -> bool:
    """Write the new file, and let its row name it; the old one stays. False where no row named the old one any more."""
    new_id, key, is_committing = secrets.token_hex(16), Key.random(), False
    final = file.folder / new_id
    sealer = open_locked(final.with_suffix(".part"), key)
    try:
        for block in read_original(old, find_file_key(tenant, file.sealed_id)):
            sealer.write(block)
        sealer.finish()
        with tenant.writing() as db:
            sql = f"update {file.table} set {file.column} = ? where {file.column} = ?"
            if db.execute(sql, [new_id, file.sealed_id]).rowcount:
                db.execute("delete from file_key where file_id = ?", [file.sealed_id])
                keep_file_key(db, new_id, key)
                final.with_suffix(".part").rename(final)
                sync_folder(file.folder)
                is_committing = True
    except BaseException:
        if not is_committing:  # a commit that failed can have stored the row all the same; else the file is swept
            final.unlink(missing_ok=True)
            sealer.abandon()
        raise
    if is_committing:
        sealer.close()
    else:
        sealer.abandon()
    return is_committing


def _is_named(tenant: Tenant, file: OlderFile) -> bool:
    with tenant.reading() as db:
        sql = f"select 1 from {file.table} where {file.column} = ?"
        return db.execute(sql, [file.sealed_id]).fetchone() is not None
