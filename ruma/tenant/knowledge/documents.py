"""The tenant's documents: stored, replaced and removed whole, with their chunks, vectors and originals."""

import os
import re
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ruma.errors import ConflictError, DamagedError, NotFoundError, NotReadyError
from ruma.tenant.audit import note
from ruma.tenant.clock import now
from ruma.tenant.database import translated
from ruma.tenant.erasing.erasure import ask_erasure, delete_rows, finish_erasure
from ruma.tenant.keys.data_key import Key
from ruma.tenant.keys.file_keys import find_file_key, keep_file_key
from ruma.tenant.knowledge.index import pack_spans
from ruma.tenant.knowledge.originals import read_original
from ruma.tenant.knowledge.uploads import sweep_uploads
from ruma.tenant.knowledge.vectors import pack
from ruma.tenant.locked_files import open_locked, remove_unheld
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

_MOST_WORDS = 10


@dataclass(frozen=True)
class NewChunk:
    """A chunk to store. The chunks of a document tile it: joined, their texts are its text."""

    start: int
    end: int
    text: str
    heading: str
    page: int | None
    sentences: tuple[tuple[int, int], ...]
    vector: NDArray[np.float32]
    prefix_vector: NDArray[np.float32]
    sentence_vectors: NDArray[np.float32]


@dataclass(frozen=True)
class NewDocument:
    """A document to store, with its original bytes and the version of the reader that read it."""

    name: str
    title: str
    media_type: str
    content_hash: str
    reader: str
    size_bytes: int
    chunks: Sequence[NewChunk]
    original: bytes
    etag: str = ""
    last_modified: str = ""
    """How its web server names this version of it; empty where it came from no web server."""


@dataclass(frozen=True)
class StoredState:
    """What decides whether a document must be read again."""

    document_id: int
    content_hash: str
    reader: str
    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True)
class Removal:
    """What a removal took away.

    is_pending: a reader of the old state kept the file from being cleaned; the next command does it.
    """

    documents: int
    chunks: int
    is_pending: bool


@dataclass(frozen=True)
class DocumentInfo:
    """A document as it is listed."""

    id: int
    source_id: int
    name: str
    title: str
    media_type: str
    chunks: int
    size_bytes: int
    added_at: str


@dataclass(frozen=True)
class Document:
    """A stored document with its whole text and the place of each chunk: (start, end, heading, page)."""

    id: int
    source_id: int
    source_location: str
    name: str
    title: str
    media_type: str
    text: str
    chunks: tuple[tuple[int, int, str, int | None], ...]
    size_bytes: int
    added_at: str


def stored_states(tenant: Tenant, source_id: int) -> dict[str, StoredState]:
    """Return the state of each document of a source, by name."""
    with tenant.reading() as db:
        rows = db.execute(
            "select name, id, content_hash, reader, etag, last_modified from document where source_id = ?", [source_id]
        ).fetchall()
    return {row[0]: StoredState(*row[1:]) for row in rows}


def check_embedder(tenant: Tenant, embedder_id: str) -> None:
    """Raise NotReadyError if another model made the tenant's vectors: they cannot be compared."""
    with tenant.reading() as db:
        _check_embedder(db, tenant, embedder_id)


def start_reindex(tenant: Tenant, embedder_id: str) -> None:
    """Let the next documents be stored with another model's vectors, the old vectors' documents removed.

    Nothing happens where the model is the same.
    """
    with tenant.reading() as db:
        used = db.execute("select embedder_id from search_index").fetchone()[0]
        ids = [row[0] for row in db.execute("select id from document")]
    if used in ("", embedder_id):
        return
    remove_documents(tenant, ids)
    with tenant.writing() as db:
        db.execute("update search_index set embedder_id = '', dimension = 0, revision = revision + 1")
        note(db, "index.emptied")


def read_stored(tenant: Tenant, document_id: int) -> StoredState:
    """Return what decides whether a document must be read again.

    Raises:
        NotFoundError: The tenant has no such document.
    """
    with tenant.reading() as db:
        row = db.execute("select id, content_hash, reader from document where id = ?", [document_id]).fetchone()
    if row is None:
        raise NotFoundError("This document is not there any more.")
    return StoredState(*row)


def store_document(
    tenant: Tenant,
    source_id: int,
    document: NewDocument,
    *,
    embedder_id: str,
    corrects: int | None = None,
    changed: str = "",
) -> int:
    """Store a document, in place of the one of the same name in its source, and return its id.

    One transaction: rows, full text, vectors and original are all there afterwards, or none is.

    Args:
        tenant: Whose document it is.
        source_id: The number of its source.
        document: What to store.
        embedder_id: Which model made its vectors.
        corrects: The number of the document that a person corrected, which must be there still.
        changed: What the person changed, for the audit log.

    Raises:
        NotReadyError: Another model made the tenant's vectors.
        NotFoundError: The tenant, the source, or the document that was corrected was removed meanwhile.
        StoreError: The disk is full, or the database cannot be used.
    """
    tenant.check_present()
    with _sealing(tenant, document.original) as original, tenant.writing() as db:
        _check_embedder(db, tenant, embedder_id)
        old = _find_old(db, source_id, document.name, corrects)
        uploads = db.execute("select id from upload where document_id = ?", [corrects]).fetchall()
        delete_rows(db, list(old))
        document_id = _insert(db, source_id, document, original.id)
        _touch(db, embedder_id, document.chunks)
        if corrects is None:
            replaces = {"replaces": next(iter(old))} if old else {}
            note(db, "document.added", f"document {document_id}", source=source_id, **replaces)
        else:
            for (upload_id,) in uploads:  # who handed it over is still true
                db.execute("update upload set document_id = ? where id = ?", [document_id, upload_id])
            note(db, "document.corrected", f"document {document_id}", before=corrects, changed=changed)
        if old:
            ask_erasure(db)
        original.place(db)
    _unlink(tenant, list(old.values()))
    if old:
        sweep_uploads(tenant)
    return document_id


class _NewOriginal:
    """A sealed original whose row is not stored yet."""

    def __init__(self, tenant: Tenant) -> None:
        self.id, self._key, self._tenant = secrets.token_hex(16), Key.random(), tenant
        self.final = tenant.files_folder / self.id
        self.part = self.final.with_suffix(".part")
        self.is_placed = False

    def seal(self, content: bytes) -> None:
        """Write it under a name that no reader looks for."""
        with translated(self.final):
            self._sealer = open_locked(self.part, self._key)
            try:
                self._sealer.write(content)
                self._sealer.finish()
            except BaseException:
                self._sealer.abandon()
                raise

    def release(self) -> None:
        """Let go of it: it has its name, or is nothing that anybody waits for."""
        self._sealer.close()

    def place(self, db: "Database") -> None:
        """Give it its name, as the last thing of the write that stores its row."""
        keep_file_key(db, self.id, self._key)
        self.part.rename(self.final)
        _fsync(self._tenant)
        self.is_placed = True


@contextmanager
def _sealing(tenant: Tenant, content: bytes) -> Iterator[_NewOriginal]:
    """Give a new original, and take it away where the write that is to store its row fails."""
    original = _NewOriginal(tenant)
    original.seal(content)
    try:
        yield original
    except BaseException:
        original.part.unlink(missing_ok=True)
        # A commit that failed, or was interrupted, can have stored the row all the same, and the row needs its
        # original; where it did not, `finish_interrupted` takes the file away.
        if not original.is_placed:
            original.final.unlink(missing_ok=True)
        raise
    finally:
        original.release()


def _find_old(db: "Database", source_id: int, name: str, corrects: int | None) -> dict[int, str]:
    """Return the originals of what a new document replaces, by the documents' numbers.

    Raises:
        NotFoundError: The source, or the document that is corrected, is not there any more.
    """
    if not db.execute("select 1 from source where id = ?", [source_id]).fetchone():
        raise NotFoundError(f"The source of {name} was removed while it was being read.")
    # What is corrected may get another name: a question that is asked in other words.
    sql = "select id, original_id from document where source_id = ? and (name = ? or id = ?)"
    old = {row[0]: row[1] for row in db.execute(sql, [source_id, name, corrects]).fetchall()}
    if corrects is not None and corrects not in old:
        raise NotFoundError(f"{name} was removed or read again while it was being corrected.")
    return old


def remove_documents(tenant: Tenant, document_ids: Sequence[int]) -> Removal:
    """Remove documents and everything made from them: rows, words, vectors, originals, quotes."""
    if not document_ids:
        return Removal(0, 0, is_pending=False)
    with tenant.writing() as db:
        marks = ",".join("?" * len(document_ids))
        rows = db.execute(f"select id, original_id from document where id in ({marks})", list(document_ids))
        found = rows.fetchall()
        chunks = delete_rows(db, [row[0] for row in found])
        db.execute("update search_index set revision = revision + 1")
        for document_id, _ in found:
            note(db, "document.removed", f"document {document_id}")
        ask_erasure(db)
    _unlink(tenant, [row[1] for row in found])
    sweep_uploads(tenant)
    return Removal(len(found), chunks, is_pending=not finish_erasure(tenant))


def list_documents(tenant: Tenant, source_id: int | None = None) -> list[DocumentInfo]:
    """Return the tenant's documents, or one source's, by name."""
    with tenant.reading() as db:
        rows = db.execute(
            """select document.id, source_id, name, title, media_type, count(chunk.id), size_bytes, added_at
               from document left join chunk on chunk.document_id = document.id
               where ? is null or source_id = ? group by document.id order by name""",
            [source_id, source_id],
        ).fetchall()
    return [DocumentInfo(*row) for row in rows]


@dataclass(frozen=True)
class FoundDocument(DocumentInfo):
    """A document with the source that it came from, and who handed it over, where that is known."""

    source_kind: str
    source_location: str
    added_by: str


@dataclass(frozen=True)
class DocumentPage:
    """A part of the documents that were looked for, the newest first."""

    documents: list[FoundDocument]
    total: int
    """How many were found in all."""

    size_bytes: int
    """How large all that were found are together."""


def find_documents(
    tenant: Tenant, words: str = "", *, source_id: int | None = None, offset: int = 0, limit: int = 50
) -> DocumentPage:
    """Return the documents with these words in their name or title, the newest first; pairs are not among them."""
    where, values = "where source.kind != 'pair'", list[Any]()
    for word in words.split()[:_MOST_WORDS]:
        where += r" and (document.name like ? escape '\' or title like ? escape '\')"
        values += [f"%{_escape(word)}%"] * 2
    if source_id is not None:
        where += " and source_id = ?"
        values.append(source_id)
    joined = "from document join source on source.id = source_id"
    with tenant.reading() as db:
        total, size = db.execute(f"select count(*), coalesce(sum(size_bytes), 0) {joined} {where}", values).fetchone()
        rows = db.execute(
            f"""select document.id, source_id, document.name, title, media_type,
                    (select count(*) from chunk where document_id = document.id), size_bytes, document.added_at,
                    source.kind, source.location,
                    coalesce((select added_by from upload where document_id = document.id), '')
                {joined} {where} order by document.id desc limit ? offset ?""",
            [*values, limit, offset],
        ).fetchall()
    return DocumentPage([FoundDocument(*row) for row in rows], total, size)


def read_document(tenant: Tenant, document_id: int) -> Document:
    """Return a document with its text.

    Raises:
        NotFoundError: The tenant has no such document.
    """
    with tenant.reading() as db:
        row = db.execute(
            """select document.id, source_id, source.location, name, title, media_type, size_bytes, document.added_at
               from document join source on source.id = document.source_id where document.id = ?""",
            [document_id],
        ).fetchone()
        if row is None:
            raise NotFoundError("This document is not there any more.")
        chunks = db.execute(
            'select start, "end", heading, page, text from chunk where document_id = ? order by start',
            [document_id],
        ).fetchall()
    names = ("id", "source_id", "source_location", "name", "title", "media_type", "size_bytes", "added_at")
    plain: dict[str, Any] = dict(zip(names, row, strict=True))
    return Document(
        **plain,
        text="".join(chunk[4] for chunk in chunks),
        chunks=tuple((start, end, heading, page) for start, end, heading, page, _ in chunks),
    )


def check_documents_present(tenant: Tenant, document_ids: Collection[int]) -> None:
    """Raise ConflictError if one of these documents was removed, or replaced by a newer version."""
    marks = ", ".join("?" * len(document_ids))
    with tenant.reading() as db:
        found = db.execute(f"select count(*) from document where id in ({marks})", [*document_ids]).fetchone()[0]
    if found < len(document_ids):
        raise ConflictError("A document that this answer comes from was removed or replaced.", hint="Ask again.")


def read_original_of(tenant: Tenant, document_id: int) -> Iterator[bytes]:
    """Return a document's original bytes, block by block.

    Raises:
        NotFoundError: The tenant has no such document.
        DamagedError: The sealed file is missing or was altered; raised while reading.
    """
    original_id = _original_of(tenant, document_id)
    while True:
        try:
            return read_original(tenant.files_folder / original_id, find_file_key(tenant, original_id))
        except DamagedError:
            found = _original_of(tenant, document_id)
            if found == original_id:
                raise
            original_id = found  # it was sealed anew in this moment


def finish_interrupted(tenant: Tenant) -> None:
    """Finish what a killed command left: pending erasures, and sealed files that belong to no document or upload."""
    finish_erasure(tenant, wait_seconds=0)
    sweep_uploads(tenant)
    with tenant.reading() as db:
        known = db.execute("select count(*) from document").fetchone()[0]
    with translated(tenant.files_folder):
        if len(os.listdir(tenant.files_folder)) == known:
            return
        # With the write lock no document is between its rename and its commit.
        with tenant.writing() as db:
            ids = {row[0] for row in db.execute("select original_id from document")}
            for file in tenant.files_folder.iterdir():
                if file.name not in ids:
                    remove_unheld(file)


def _original_of(tenant: Tenant, document_id: int) -> str:
    with tenant.reading() as db:
        row = db.execute("select original_id from document where id = ?", [document_id]).fetchone()
    if row is None:
        raise NotFoundError("This document is not there any more.")
    return str(row[0])


def _escape(word: str) -> str:
    return re.sub(r"([\\%_])", r"\\\1", word)


def _check_embedder(db: "Database", tenant: Tenant, embedder_id: str) -> None:
    used = db.execute("select embedder_id from search_index").fetchone()[0]
    if used not in ("", embedder_id):
        raise NotReadyError(
            f"The documents of {tenant.name} were indexed by the model {used}, and the one in the settings is "
            f"{embedder_id}: their vectors cannot be compared.",
            hint="Index them again with the new one: ruma ingest --reindex FOLDER. Or set the old one again.",
        )


def _insert(db: "Database", source_id: int, document: NewDocument, original_id: str) -> int:
    row = {
        "source_id": source_id,
        "name": document.name,
        "title": document.title,
        "media_type": document.media_type,
        "content_hash": document.content_hash,
        "reader": document.reader,
        "size_bytes": document.size_bytes,
        "original_id": original_id,
        "added_at": now(),
        "etag": document.etag,
        "last_modified": document.last_modified,
    }
    document_id: Any = db.table("document").insert(row).last_pk
    for chunk in document.chunks:
        place = [document_id, chunk.start, chunk.end, chunk.heading, chunk.page, chunk.text]
        chunk_id = db.execute(
            """insert into chunk (document_id, start, "end", heading, page, text, sentences)
               values (?, ?, ?, ?, ?, ?, ?)""",
            [*place, pack_spans(chunk.sentences)],
        ).lastrowid
        db.execute("insert into vector values (?, ?)", [chunk_id, pack(chunk.vector[None, :])])
        rows = np.vstack([chunk.prefix_vector[None, :], chunk.sentence_vectors])
        db.execute("insert into sentence_vector values (?, ?)", [chunk_id, pack(rows)])
        db.execute(
            "insert into chunk_fts (rowid, title, heading, text) values (?, ?, ?, ?)",
            [chunk_id, document.title, chunk.heading, chunk.text],
        )
    return int(document_id)


def _touch(db: "Database", embedder_id: str, chunks: Sequence[NewChunk]) -> None:
    if chunks:
        db.execute("update search_index set embedder_id = ?, dimension = ?", [embedder_id, len(chunks[0].vector)])
    db.execute("update search_index set revision = revision + 1")


def _unlink(tenant: Tenant, original_ids: Sequence[str]) -> None:
    if not original_ids:
        return
    with translated(tenant.files_folder):
        for original_id in original_ids:
            with suppress(FileNotFoundError):
                (tenant.files_folder / original_id).unlink()
        _fsync(tenant)


def _fsync(tenant: Tenant) -> None:
    handle = os.open(tenant.files_folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
