"""Takes what was deleted out of the file: a deleted row is gone when the write-ahead log is emptied."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ruma.tenant.database import BUSY_SECONDS, drop_copy, pragma
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

WAIT_SECONDS = 3.0
"""How long a deletion waits for readers of the old state before it says that it is pending."""


def ask_erasure(db: "Database") -> None:
    """Note, in the transaction that deletes, that the file still holds what it deleted.

    Kept answers go with it, whatever they are about: one of them may repeat what is deleted.
    """
    db.execute("delete from kept_response where status <> 0")
    db.execute("insert into pending_erasure (asked_at) values (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))")


def finish_erasure(tenant: Tenant, *, wait_seconds: float = WAIT_SECONDS) -> bool:
    """Empty the write-ahead log if a deletion asks for it.

    Returns:
        False where a reader of the old state is in the way: the next call, or the next command that opens
        the tenant, does it then.
    """
    with tenant.unbound() as db:
        asked = [row[0] for row in db.execute("select id from pending_erasure").fetchall()]
        if not asked:
            return True
        pragma(db, f"busy_timeout={int(1000 * wait_seconds)}")
        try:
            is_busy = pragma(db, "wal_checkpoint(TRUNCATE)")[0][0]
        finally:
            pragma(db, f"busy_timeout={1000 * BUSY_SECONDS}")
        if is_busy:
            return False
        drop_copy(tenant.folder)
        db.execute(f"delete from pending_erasure where id in ({','.join('?' * len(asked))})", asked)
    return True


def delete_rows(db: "Database", document_ids: Iterable[int]) -> int:
    """Delete documents with everything that was made from them, and return how many chunks that were.

    The old words are handed back to the full-text index, which holds no copy of them; what a visitor was
    told from these documents, in a model's words or as an answer that was given whole, goes too.
    """
    chunks = 0
    for document_id in document_ids:
        rows = db.execute(
            """select chunk.id, document.title, chunk.heading, chunk.text
               from chunk join document on document.id = chunk.document_id where document.id = ?""",
            [document_id],
        ).fetchall()
        for row in rows:
            db.execute(
                "insert into chunk_fts (chunk_fts, rowid, title, heading, text) values ('delete', ?, ?, ?, ?)",
                row,
            )
        owned = "(select id from chunk where document_id = ?)"
        db.execute(f"delete from vector where chunk_id in {owned}", [document_id])
        db.execute(f"delete from sentence_vector where chunk_id in {owned}", [document_id])
        db.execute("delete from chunk where document_id = ?", [document_id])
        db.execute(
            """update message set text = '' where mode in ('write', 'pair')
               and id in (select message_id from citation where document_id = ?)""",
            [document_id],
        )
        _delete_uploads(db, document_id)
        db.execute("delete from document where id = ?", [document_id])
        chunks += len(rows)
    return chunks


def _delete_uploads(db: "Database", document_id: int) -> None:
    """Delete what names the document: the upload that it came from, and those of its name that could not be read.

    Their sealed bytes belong to no row from then on, and are swept.
    """
    db.execute(
        """delete from upload where document_id = :id or (state = 'failed' and exists (
               select 1 from document join source on source.id = document.source_id
               where document.id = :id and source.kind = upload.kind and document.name = upload.name))""",
        {"id": document_id},
    )
