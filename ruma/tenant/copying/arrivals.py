"""Stores what comes from an export in a new, empty tenant: rows with their own numbers, never a database file."""

import base64
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ruma.errors import InputError, StoreError
from ruma.tenant.audit import note
from ruma.tenant.copying.contents import CHUNK, CITATION, CONVERSATION, DOCUMENT, FEEDBACK, MESSAGE, Row, Table
from ruma.tenant.copying.rows import check_rows
from ruma.tenant.keys.data_key import Key
from ruma.tenant.keys.file_keys import keep_file_key
from ruma.tenant.knowledge.documents import NewChunk
from ruma.tenant.knowledge.index import pack_spans
from ruma.tenant.knowledge.originals import seal_original
from ruma.tenant.knowledge.vectors import pack
from ruma.tenant.people.passwords import hash_password
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

MOST_DIMENSION = 8192


@dataclass(frozen=True)
class PackedChunk:
    """A chunk with its vectors as they are stored."""

    id: int | None
    start: int
    end: int
    heading: str
    page: int | None
    text: str
    sentences: bytes
    vector: bytes
    vectors: bytes


def store_rows(tenant: Tenant, table: Table, rows: Sequence[Row], extra: Mapping[str, Any] | None = None) -> None:
    """Store rows of a table, each with exactly the columns that an export gives it, and *extra* ones of ours.

    Raises:
        InputError: A row has other columns, or values that the table does not take.
    """
    names = [*table.columns.split(), *(extra or {})]
    with _refused(table.name), tenant.writing() as db:
        for row in rows:
            _check_columns(table, row)
            _insert(db, table.name, names, {**row, **(extra or {})})


def store_members(tenant: Tenant, table: Table, rows: Sequence[Row]) -> None:
    """Store members who cannot sign in: they are disabled, and nobody knows their password.

    Raises:
        InputError: A row cannot be stored.
    """
    # One hash for all: nobody has the password, and hashing takes long.
    store_rows(tenant, table, rows, {"password_hash": hash_password(secrets.token_urlsafe(32))})


def store_uploads(tenant: Tenant, table: Table, rows: Sequence[Row]) -> None:
    """Store what is known of uploads that were read: who handed over which document.

    Raises:
        InputError: A row cannot be stored.
    """
    for row in rows:
        store_rows(tenant, table, [row], {"sealed_id": secrets.token_hex(16)})


def store_conversations(tenant: Tenant, rows: Sequence[Row]) -> None:
    """Store conversations as `read_conversations` gives them. No secret opens them: their visitors see them no more.

    Raises:
        InputError: A row cannot be stored.
    """
    with _refused("conversation"), tenant.writing() as db:
        for row in rows:
            messages = row.get("messages")
            _check_columns(CONVERSATION, row, "messages")
            _insert(db, "conversation", CONVERSATION.columns.split(), row)
            for message in _list(messages, "messages"):
                _store_message(db, row["id"], message)


def _store_message(db: "Database", conversation_id: int, message: Row) -> None:
    _check_columns(MESSAGE, {**message, "conversation_id": conversation_id}, "citations", "feedback")
    # A quoted answer is stored as its places alone: the words are the documents' own.
    is_quoted = message["mode"] == "quote" and not message["is_declined"]
    text = "" if is_quoted else message["text"]
    _insert(db, "message", MESSAGE.columns.split(), {**message, "conversation_id": conversation_id, "text": text})
    for citation in _list(message["citations"], "citations"):
        _insert(db, "citation", CITATION.columns.split(), {**citation, "message_id": message["id"]})
    if message["feedback"] is not None:
        feedback = {**_object(message["feedback"]), "message_id": message["id"]}
        feedback["is_helpful"] = int(feedback.get("is_helpful") is True or feedback.get("is_helpful") == 1)
        _insert(db, "feedback", FEEDBACK.columns.split(), feedback)


def store_document_row(
    tenant: Tenant, row: Row, chunks: Sequence[PackedChunk], original: Iterable[bytes], *, is_bare: bool
) -> None:
    """Store a document with its number, its chunks and its original.

    Args:
        row: The columns of the document.
        chunks: Its chunks, which tile it.
        original: The bytes of its original.
        is_bare: Whether there is no original, so that the text stands for it.

    Raises:
        InputError: It cannot be stored.
        StoreError: The disk is full.
    """
    _check_tiles(row["name"], chunks)
    original_id, key = secrets.token_hex(16), Key.random()
    seal_original(original, tenant.files_folder / original_id, key)
    with _refused("document"), tenant.writing() as db:
        names = [*DOCUMENT.columns.split(), "original_id"]
        # Bytes that are not those that were read must be read again by the next ingest.
        changed = {"content_hash": ""} if is_bare else {}
        _insert(db, "document", names, {**row, **changed, "original_id": original_id})
        keep_file_key(db, original_id, key)
        for chunk in chunks:
            place = [chunk.id, row["id"], chunk.start, chunk.end, chunk.heading, chunk.page, chunk.text]
            chunk_id = db.execute(
                """insert into chunk (id, document_id, start, "end", heading, page, text, sentences)
                   values (?, ?, ?, ?, ?, ?, ?, ?)""",
                [*place, chunk.sentences],
            ).lastrowid
            db.execute("insert into vector values (?, ?)", [chunk_id, chunk.vector])
            db.execute("insert into sentence_vector values (?, ?)", [chunk_id, chunk.vectors])
            db.execute(
                "insert into chunk_fts (rowid, title, heading, text) values (?, ?, ?, ?)",
                [chunk_id, row["title"], chunk.heading, chunk.text],
            )


def unpack_chunks(row: Row, vectors: Row, dimension: int) -> list[PackedChunk]:
    """Return a document's chunks with their vectors, as an export has them.

    Raises:
        InputError: They do not fit each other.
    """
    name, made = row["name"], _list(vectors.get("chunks"), "vectors")
    chunks = _list(row["chunks"], "chunks")
    if len(chunks) != len(made) or not 0 < dimension <= MOST_DIMENSION:
        raise InputError(f"The vectors of {name} do not fit its chunks.")
    found = []
    for chunk, vector in zip(chunks, made, strict=True):
        _check_columns(CHUNK, {**chunk, "document_id": 0})
        spans = _spans(chunk["sentences"], str(chunk["text"]), name)
        whole = _vector(vector.get("vector"), 1, dimension, name)
        parts = _vector(vector.get("vectors"), 1 + len(spans), dimension, name)
        place = (chunk["id"], chunk["start"], chunk["end"], chunk["heading"], chunk["page"], chunk["text"])
        found.append(PackedChunk(*place, pack_spans(spans), whole, parts))
    return found


def pack_chunks(chunks: Sequence[NewChunk]) -> list[PackedChunk]:
    """Return chunks with new vectors in the form that is stored."""
    return [
        PackedChunk(
            None,
            one.start,
            one.end,
            one.heading,
            one.page,
            one.text,
            pack_spans(one.sentences),
            pack(one.vector[None, :]),
            pack(np.vstack([one.prefix_vector[None, :], one.sentence_vectors])),
        )
        for one in chunks
    ]


def finish_arrival(tenant: Tenant, embedder_id: str, dimension: int, counts: Mapping[str, int]) -> None:
    """Note which model made the vectors, and that everything came from an export; then check that it fits together.

    Raises:
        DamagedError: Rows do not fit each other.
    """
    with tenant.writing() as db:
        has_chunks = db.execute("select exists (select 1 from chunk)").fetchone()[0]
        used = (embedder_id, dimension) if has_chunks else ("", 0)
        db.execute("update search_index set embedder_id = ?, dimension = ?, revision = revision + 1", list(used))
        note(db, "tenant.imported", "", **counts)
    check_rows(tenant)


def _check_columns(table: Table, row: Row, *besides: str) -> None:
    wanted = {*table.columns.split(), *besides}
    if unknown := sorted(set(row) - wanted):
        raise InputError(
            f"The export has a field {unknown[0][:40]!r} in {table.name} that this Ruma does not know.",
            hint="Update Ruma: pip install --upgrade ruma",
        )
    if missing := sorted(wanted - set(row)):
        raise InputError(f"The export lacks the field {missing[0]!r} in {table.name}.")


def _insert(db: "Database", table: str, names: Sequence[str], row: Row) -> None:
    columns, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
    db.execute(f"insert into {table} ({columns}) values ({marks})", [_plain(row[name]) for name in names])


def _plain(value: Any) -> Any:
    if isinstance(value, list | dict):
        raise InputError("A value in the export is a list where a text or a number belongs.")
    return int(value) if isinstance(value, bool) else value


def _check_tiles(name: str, chunks: Sequence[PackedChunk]) -> None:
    at = 0
    for chunk in chunks:
        if type(chunk.text) is not str or (chunk.start, chunk.end) != (at, at + len(chunk.text)):
            raise InputError(f"The chunks of {name} do not follow each other.")
        at = chunk.end


def _spans(value: Any, text: str, name: str) -> list[tuple[int, int]]:
    spans = []
    for span in _list(value, "sentences", of_objects=False):
        is_pair = isinstance(span, list) and len(span) == 2 and all(type(edge) is int for edge in span)
        if not is_pair or not 0 <= span[0] <= span[1] <= len(text):
            raise InputError(f"The sentences of {name} do not lie in its text.")
        spans.append((span[0], span[1]))
    return spans


def _vector(value: Any, count: int, dimension: int, name: str) -> bytes:
    try:
        blob = base64.b64decode(value, validate=True)
    except (ValueError, TypeError) as exc:
        raise InputError(f"A vector of {name} cannot be read.") from exc
    if len(blob) != count * (dimension + 4) or not np.isfinite(np.frombuffer(blob, np.float32, count)).all():
        raise InputError(f"A vector of {name} has another length than the others.")
    return blob


def _list(value: Any, what: str, *, of_objects: bool = True) -> list[Any]:
    if not isinstance(value, list) or (of_objects and not all(isinstance(one, dict) for one in value)):
        raise InputError(f"The {what} in the export are no list.")
    return value


def _object(value: Any) -> Row:
    if not isinstance(value, dict):
        raise InputError("Feedback in the export is no object.")
    return value


@contextmanager
def _refused(table: str) -> Iterator[None]:
    """Turn what a table does not take into an InputError: a wrong type, a missing other row, a number twice."""
    try:
        yield
    except StoreError as exc:
        if "constraint" in str(exc) or "datatype" in str(exc) or "cannot store" in str(exc):
            raise InputError(f"A row of {table} in the export does not fit what Ruma stores: {exc.__cause__}.") from exc
        raise
    except (OverflowError, UnicodeError, KeyError, TypeError) as exc:
        raise InputError(f"A row of {table} in the export does not fit what Ruma stores.") from exc
