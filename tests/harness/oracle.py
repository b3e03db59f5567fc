"""Decides after a fault whether a tenant is whole: every part of every document, or nothing of it."""

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ruma.config import Settings
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents, read_document, read_original_of
from ruma.tenant.knowledge.uploads import list_uploads, read_upload

if TYPE_CHECKING:
    from sqlite_utils import Database

    from ruma.tenant.tenant import Tenant


def check_tenant(home: Path, name: str) -> dict[str, str]:
    """Return the documents of a tenant and the SHA-256 of their originals, after proving that everything fits.

    Opening the tenant finishes what a killed command left, as the next command would.
    """
    with Home(Settings(home=home)).open(name) as tenant:
        with tenant.unbound() as db:
            _check_database(db)
        found = {one.name: _check_document(tenant, one.id) for one in list_documents(tenant)}
        with tenant.reading() as db:
            originals = {row[0]: row[1] for row in db.execute("select original_id, content_hash from document")}
        files = {file.name for file in tenant.files_folder.iterdir() if file.suffix != ".part"}
        assert files == set(originals)
        assert sorted(found.values()) == sorted(originals.values())
        _check_uploads(tenant)
    check_modes(home)
    return found


def check_modes(home: Path) -> None:
    """Assert that nothing under a home can be read by anyone else."""
    for folder, _, files in os.walk(home):
        for path in [Path(folder), *(Path(folder) / file for file in files)]:
            assert not stat.S_IMODE(path.lstat().st_mode) & 0o077, f"others have access to {path}"


def _check_database(db: "Database") -> None:
    def rows(sql: str) -> list[tuple[object, ...]]:
        return db.execute(sql).fetchall()

    assert rows("pragma integrity_check") == [("ok",)]
    assert rows("pragma cipher_integrity_check") == []
    assert rows("pragma foreign_key_check") == []
    assert rows("pragma journal_mode") == [("wal",)]
    rows("insert into chunk_fts (chunk_fts) values ('integrity-check')")
    chunks = rows("select id from chunk order by id")
    assert rows("select id from chunk_fts_docsize order by id") == chunks
    assert rows("select chunk_id from vector order by chunk_id") == chunks
    assert rows("select chunk_id from sentence_vector order by chunk_id") == chunks


def _check_uploads(tenant: "Tenant") -> None:
    kept = list_uploads(tenant)
    files = os.listdir(tenant.uploads_folder) if tenant.uploads_folder.exists() else []
    assert sorted(files) == sorted(one.sealed_id for one in kept)
    for one in kept:
        assert sum(len(block) for block in read_upload(tenant, one)) == one.size_bytes


def _check_document(tenant: "Tenant", document_id: int) -> str:
    document = read_document(tenant, document_id)
    edges = [0, *(end for _, end, _, _ in document.chunks)]
    assert [start for start, _, _, _ in document.chunks] == edges[:-1], "the chunks do not tile the document"
    assert edges[-1] == len(document.text)
    return hashlib.sha256(b"".join(read_original_of(tenant, document_id))).hexdigest()
