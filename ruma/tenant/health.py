"""Examines a tenant as `ruma doctor` does: everything is read once, and what is damaged is named by document."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from ruma.errors import DamagedError, NotFoundError
from ruma.tenant.database import pragma
from ruma.tenant.erasing.residue import read_log
from ruma.tenant.keys.file_keys import find_file_key
from ruma.tenant.knowledge.documents import read_document
from ruma.tenant.knowledge.originals import read_original
from ruma.tenant.knowledge.uploads import Upload, find_upload, list_uploads, read_upload
from ruma.tenant.raw_files import read_blocks
from ruma.tenant.tenant import Tenant

_PAGE = 4096


@dataclass(frozen=True)
class Health:
    """What an examination found.

    damaged: the documents that are touched, by name; all others can be read whole.
    """

    documents: int
    problems: tuple[str, ...]
    damaged: tuple[str, ...]


def examine(tenant: Tenant) -> Health:
    """Read the whole database and every original, and return what is wrong with them.

    It goes on after damage: a damaged page ends its connection, and the next document is read on a new one.

    Raises:
        NotFoundError: The tenant's directory is gone.
        StoreError: The database cannot be used at all.
    """
    problems = [*_check_pages(tenant), *_check_counts(tenant)]
    try:
        with tenant.reading() as db:
            documents = db.execute("select id, name, original_id, content_hash from document").fetchall()
    except DamagedError:
        return Health(0, (*problems, "The list of documents cannot be read."), ())
    damaged = []
    for document_id, name, original_id, content_hash in documents:
        found = [_check_rows(tenant, document_id), _check_original(tenant, original_id, content_hash)]
        reasons = [reason for reason in found if reason]
        if reasons and _is_still_there(tenant, document_id, original_id):
            damaged.append(name)
            problems.append(f"The document {name} is damaged: {', '.join(reasons)}.")
    problems += [*_check_files(tenant), *_check_uploads(tenant)]
    return Health(len(documents), tuple(problems), tuple(damaged))


def _check_pages(tenant: Tenant) -> list[str]:
    """Check every page's seal, then the structure that the pages form."""
    problems = []
    for check, good in (("cipher_integrity_check", []), ("integrity_check", [("ok",)])):
        try:
            with tenant.unbound() as db:
                rows = pragma(db, check)
            if check == "cipher_integrity_check" and rows:
                rows = _without_unwritten(tenant, rows)
        except DamagedError as exc:
            problems.append(str(exc))
            continue
        if rows != good:
            problems.append(f"The database fails its {check} in {len(rows)} places, first: {rows[0][0]}.")
    return problems


def _without_unwritten(tenant: Tenant, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Leave out the pages that are empty in the database's file because only its log has them yet.

    The check of the seals looks at the file alone. While somebody reads an older state, a page that is new and was
    changed since stays in the log, and those behind it come into the file; the check of the structure reads it there.
    """
    named = [re.search(r" page (\d+)$", str(row[0])) for row in rows]
    numbers = {int(found[1]): row for found, row in zip(named, rows, strict=True) if found}
    logged = set(read_log(tenant.database_file).pages)
    places = [(number - 1) * _PAGE for number in numbers]
    blocks = dict(zip(numbers, read_blocks(tenant.database_file, _PAGE, places=places), strict=False))
    unwritten = [numbers[number] for number, block in blocks.items() if number in logged and not any(block)]
    return [row for row in rows if row not in unwritten]


def _check_counts(tenant: Tenant) -> list[str]:
    """Compare what is stored beside each chunk: its words, its vector, its sentences' vectors."""
    counts = {}
    try:
        with tenant.reading() as db:
            for table in ("chunk", "chunk_fts_docsize", "vector", "sentence_vector"):
                counts[table] = db.execute(f"select count(*) from {table}").fetchone()[0]
    except DamagedError:
        return ["The chunks cannot be counted."]
    if len(set(counts.values())) == 1:
        return []
    listed = ", ".join(f"{table} {count}" for table, count in counts.items())
    return [f"The index does not fit the documents: {listed}."]


def _check_rows(tenant: Tenant, document_id: int) -> str:
    """Read a document as an answer does: its chunks, which must tile its text, and their vectors."""
    try:
        document = read_document(tenant, document_id)
        with tenant.reading() as db:
            vectors = db.execute(
                """select vector.vector, sentence_vector.vectors from chunk
                   left join vector on vector.chunk_id = chunk.id
                   left join sentence_vector on sentence_vector.chunk_id = chunk.id where document_id = ?""",
                [document_id],
            ).fetchall()
    except DamagedError:
        return "its text cannot be read"
    except NotFoundError:
        return "it is gone"
    edges = [0, *(end for _, end, _, _ in document.chunks)]
    is_whole = [start for start, _, _, _ in document.chunks] == edges[:-1] and edges[-1] == len(document.text)
    if not is_whole or any(part is None for row in vectors for part in row):
        return "a part of it is missing"
    return ""


def _check_original(tenant: Tenant, original_id: str, content_hash: str) -> str:
    digest = hashlib.sha256()
    try:
        for block in read_original(tenant.files_folder / original_id, find_file_key(tenant, original_id)):
            digest.update(block)
    except (DamagedError, NotFoundError):
        return "its original cannot be read"
    return "" if digest.hexdigest() == content_hash else "its original is another file"


def _is_still_there(tenant: Tenant, document_id: int, original_id: str) -> bool:
    """Tell damage from a document that an ingest replaced, or someone removed, while it was examined."""
    try:
        with tenant.reading() as db:
            row = db.execute("select original_id from document where id = ?", [document_id]).fetchone()
    except DamagedError:
        return True
    return row is not None and row[0] == original_id


def _check_files(tenant: Tenant) -> list[str]:
    """Count what lies in the folder of originals and belongs to no document; a `.part` is being written."""
    try:
        # With the write lock no document is between its rename and its commit.
        with tenant.writing() as db:
            known = {row[0] for row in db.execute("select original_id from document")}
            names = {file.name for file in tenant.files_folder.iterdir() if file.suffix != ".part"}
    except DamagedError:
        return ["The originals cannot be compared with the documents."]
    strange = names - known
    return [f"{len(strange)} files in {tenant.files_folder} belong to no document."] if strange else []


def _check_uploads(tenant: Tenant) -> list[str]:
    """Read every upload that is no document yet."""
    try:
        waiting = list_uploads(tenant, limit=1_000_000)
    except DamagedError:
        return ["The list of uploads cannot be read."]
    return [
        f"The upload {one.name} is damaged: discard it, and add it again."
        for one in waiting
        if not _is_readable(tenant, one)
    ]


def _is_readable(tenant: Tenant, upload: Upload) -> bool:
    try:
        return sum(len(block) for block in read_upload(tenant, upload)) == upload.size_bytes
    except DamagedError:
        pass
    try:
        return find_upload(tenant, upload.id).state == "done"  # it was read meanwhile
    except (DamagedError, NotFoundError):
        return True  # it was discarded meanwhile, or is told of with the database
