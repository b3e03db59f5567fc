"""Takes what was deleted out of the file: a deleted row is gone when the write-ahead log is emptied."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ruma.tenant.database import BUSY_SECONDS, drop_copy, pragma
from ruma.tenant.keeping.holds import check_documents_not_held
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

WAIT_SECONDS = 3.0
"""How long a deletion waits for readers of the old state before it says that it is pending."""

PAUSE_SECONDS = 0.03
"""How long others may write between two writes of many: who waits for the database looks again as often."""

_WORD_PAGES = 20
"""Pages of the index that one write makes anew: about 15 ms."""


def ask_erasure(db: "Database", *, has_marked_words: bool = False) -> None:
    """Note, in the transaction that deletes, that the file still holds what it deleted.

    Kept answers go with it, whatever they are about: one of them may repeat what is deleted.
    """
    db.execute("delete from kept_response where status <> 0")
    db.execute(
        """insert into pending_erasure (asked_at, has_marked_words)
           values (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), ?)""",
        [int(has_marked_words)],
    )


@contextmanager
def marking_words(db: "Database") -> Iterator[None]:
    """Let the index only mark the words of messages that are deleted within the block, inside a write.

    To take each of them out at once costs ten times as much as deleting the messages. `finish_erasure` takes all of
    them out together, and no file counts as clean before.
    """
    db.execute("insert into message_fts (message_fts, rank) values ('secure-delete', 0)")
    yield
    # What the index has in memory is written at a savepoint, and as it is set by then.
    db.execute("savepoint words_are_marked")
    db.execute("release words_are_marked")
    db.execute("insert into message_fts (message_fts, rank) values ('secure-delete', 1)")
    ask_erasure(db, has_marked_words=True)


def finish_erasure(tenant: Tenant, *, wait_seconds: float = WAIT_SECONDS) -> bool:
    """Take words out that are only marked, and empty the write-ahead log, if a deletion asks for it.

    Returns:
        False where a reader of the old state is in the way: the next call, or the next command that opens
        the tenant, does it then.
    """
    with tenant.unbound() as db:
        asked = dict(db.execute("select id, has_marked_words from pending_erasure").fetchall())
    if not asked:
        return True
    if any(asked.values()):
        _take_words_out(tenant, list(asked))
    with tenant.unbound() as db:
        pragma(db, "wal_checkpoint(PASSIVE)")  # nobody waits for this one, and it leaves little to the other
        pragma(db, f"busy_timeout={int(1000 * wait_seconds)}")
        try:
            is_busy = pragma(db, "wal_checkpoint(TRUNCATE)")[0][0]
        finally:
            pragma(db, f"busy_timeout={1000 * BUSY_SECONDS}")
        if is_busy:
            return False
        drop_copy(tenant.folder)
        db.execute(f"delete from pending_erasure where id in ({','.join('?' * len(asked))})", list(asked))
    return True


def _take_words_out(tenant: Tenant, asked: Sequence[int]) -> None:
    """Write the index of the messages anew without the words that are only marked, in short writes.

    Interrupted, it is begun again: the index is whole at any time, and pages that it frees are overwritten.
    """
    pages = -_WORD_PAGES  # below zero: begin, with all parts of the index
    while not _take_some_out(tenant, pages, asked):
        pages = _WORD_PAGES
        time.sleep(PAUSE_SECONDS)


def _take_some_out(tenant: Tenant, pages: int, asked: Sequence[int]) -> bool:
    """Write some pages of the index anew; tell whether nothing is left to be done, which is then noted."""
    with tenant.writing() as db:
        before = db.conn.total_changes
        db.execute("insert into message_fts (message_fts, rank) values ('merge', ?)", [pages])
        if db.conn.total_changes - before >= 2:  # fewer is how FTS5 says that it did nothing
            return False
        marks = ",".join("?" * len(asked))
        db.execute(f"update pending_erasure set has_marked_words = 0 where id in ({marks})", list(asked))
        return True


def delete_rows(db: "Database", document_ids: Iterable[int]) -> int:
    """Delete documents with everything that was made from them, and return how many chunks that were.

    The old words are handed back to the full-text index, which holds no copy of them; what a visitor was
    told from these documents, in a model's words or as an answer that was given whole, goes too.

    Raises:
        HeldError: One of them must be kept.
    """
    document_ids = list(document_ids)
    check_documents_not_held(db, document_ids)
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
