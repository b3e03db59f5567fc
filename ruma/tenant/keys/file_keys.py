"""The keys of sealed files: each has a random one of its own, kept in the tenant's encrypted database.

A file without such a key was sealed by an early version, with one made from the tenant's data key. Those keys are
written down when the data key is rotated, so that no file has to be sealed anew for it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ruma.errors import DamagedError
from ruma.tenant.clock import now
from ruma.tenant.keys.data_key import Key
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

_PURPOSE = b"ruma original v1"


def keep_file_key(db: "Database", file_id: str, key: Key) -> None:
    """Keep a new file's key, in the transaction that stores what names the file."""
    db.execute("insert into file_key values (?, ?, ?)", [file_id, key.raw, now()])


def keep_file_keys(tenant: Tenant, keys: Mapping[str, Key]) -> None:
    """Keep the keys of files that were sealed before their rows' keys were known, by the files' ids."""
    with tenant.writing() as db:
        for file_id, key in keys.items():
            keep_file_key(db, file_id, key)


def find_file_key(tenant: Tenant, file_id: str) -> Key:
    """Return the key of one of the tenant's sealed files."""
    # The data key first: where the database that is read then holds no row, it is still that key's database.
    data_key = tenant.key
    with tenant.reading() as db:
        row = db.execute("select raw from file_key where file_id = ?", [file_id]).fetchone()
    if row is None:
        return _made_from(data_key, file_id)
    if len(row[0]) != 32:
        raise DamagedError(f"The key of the file {file_id} is damaged.")
    return Key(row[0])


def keep_keys_of_older_files(db: "Database", data_key: Key) -> int:
    """Write down the keys that were made from the data key that goes, and return how many."""
    rows = db.execute(
        """select original_id from document where original_id not in (select file_id from file_key)
           union select sealed_id from upload
           where state <> 'done' and sealed_id not in (select file_id from file_key)
           union select sealed_id from export
           where state = 'done' and sealed_id not in (select file_id from file_key)"""
    ).fetchall()
    for row in rows:
        db.execute("insert into file_key values (?, ?, '')", [row[0], _made_from(data_key, row[0]).raw])
    return len(rows)


def _made_from(data_key: Key, file_id: str) -> Key:
    return Key(data_key.derive(_PURPOSE, file_id.encode()))
