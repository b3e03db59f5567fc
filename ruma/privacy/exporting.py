"""An export: what is stored of a tenant, of a member or of a visitor, as one zip that needs no Ruma to be read.

It holds JSON for programs, pages for people, and the original files. docs/reference/export-format.md describes it.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ruma import __version__
from ruma.errors import DamagedError
from ruma.privacy import readable
from ruma.privacy.archive import PART_BYTES, PART_ITEMS, ArchiveWriter, Sink, as_line
from ruma.privacy.names import document_page, original_name, upload_name
from ruma.tenant.clock import now
from ruma.tenant.copying.contents import (
    FLAT,
    LEFT_OUT,
    REPLIES,
    SEARCH_INDEX,
    UPLOAD,
    Row,
    Scope,
    check_scope,
    note_taken,
    read_conversations,
    read_documents,
    read_rows,
    read_vectors,
    waiting_upload_ids,
)
from ruma.tenant.keys.file_keys import find_file_key
from ruma.tenant.knowledge.originals import read_original
from ruma.tenant.tenant import Tenant

FORMAT, VERSION = "ruma-export", 1
"""What `export.json` says. A new version is one that an older Ruma cannot read."""

_PAGE_ROWS = 500
Step = Callable[[], None]


@dataclass
class _Written:
    """What was written so far."""

    counts: dict[str, int] = field(default_factory=dict)
    pages: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    originals: list[Row] = field(default_factory=list)


def write_export(tenant: Tenant, scope: Scope, sink: Sink, *, step: Step = lambda: None) -> dict[str, Any]:
    """Write an export to *sink* from its first byte to its last, and return what its `export.json` says.

    All of it is of one moment, whatever is changed meanwhile; the original of a document that is removed meanwhile is
    left out, and the table of originals says so. An export that breaks off is a zip that does not open.

    Args:
        tenant: Whose data it is.
        scope: Which part of it.
        sink: What takes the bytes.
        step: Called often, between two pieces of work of some milliseconds; it may wait, and ends the export by
            raising.

    Raises:
        NotFoundError: The member, or every conversation of the visitor, is gone.
        StoreError: The database cannot be read, or the sink cannot be written.
    """
    with tenant.one_state():
        check_scope(tenant, scope)
        archive, written, made_at = ArchiveWriter(sink), _Written(), now()
        _write_records(archive, tenant, scope, written, step)
        _write_conversations(archive, tenant, scope, written, step)
        if scope.kind == "tenant":
            _write_documents(archive, tenant, scope, written, step)
            _write_unread(archive, tenant, scope, written, step)
        about = _about(tenant, scope, made_at, written)
        if written.originals:
            archive.add("originals.html", readable.originals_page(written.originals))
            written.pages["originals"] = [("originals.html", "Table of the original files")]
        archive.add("export.json", as_line(about))
        left_out = LEFT_OUT if scope.kind == "tenant" else {}
        archive.add("index.html", readable.index_page(about, written.pages, left_out))
        archive.finish()
    return about


def export_visitor(tenant: Tenant, conversations: Iterable[int]) -> bytes:
    """Return an export of a visitor's conversations: what the visitor's own browser is given.

    Raises:
        NotFoundError: None of the conversations is there any more.
    """
    return _in_memory(tenant, Scope("visitor", conversations=tuple(conversations)))


def export_member(tenant: Tenant, member_id: int) -> bytes:
    """Return an export of what is stored about a member.

    Raises:
        NotFoundError: There is no such member.
    """
    return _in_memory(tenant, Scope("member", member_id=member_id))


def _in_memory(tenant: Tenant, scope: Scope) -> bytes:
    taken = io.BytesIO()
    write_export(tenant, scope, taken)
    note_taken(tenant, scope)
    return taken.getvalue()


def _about(tenant: Tenant, scope: Scope, made_at: str, written: _Written) -> dict[str, Any]:
    index = next(read_rows(tenant, SEARCH_INDEX, Scope()))
    kinds: dict[str, Any] = {
        "tenant": {},
        "member": {"member_id": scope.member_id},
        "visitor": {"conversations": list(scope.conversations)},
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "ruma": __version__,
        "made_at": made_at,
        "tenant": tenant.name,
        "tenant_id": tenant.id,
        "scope": {"kind": scope.kind, **kinds[scope.kind]},
        "embedder": index if scope.kind == "tenant" else None,
        "counts": written.counts,
        "originals": written.originals,
        "left_out": dict(LEFT_OUT),
    }


def _write_records(archive: ArchiveWriter, tenant: Tenant, scope: Scope, written: _Written, step: Step) -> None:
    """Write the tables that need no putting together: each as one file of rows, and as pages."""
    tables = (*FLAT, REPLIES) if scope.kind == "member" else FLAT
    for table in tables:
        name = "reply" if table is REPLIES else table.name
        count, lines = 0, list[str]()
        for number, rows in enumerate(_batches(read_rows(tenant, table, scope), _PAGE_ROWS), 1):
            step()
            lines += map(as_line, rows)
            count += len(rows)
            address = f"records/{name}-{number:04}.html"
            archive.add(address, readable.records_page(name, number, rows))
            written.pages.setdefault(name, []).append((address, f"Page {number}"))
        if count:
            archive.add(f"data/{name}.jsonl", "".join(lines))
            written.counts[name] = count


def _write_conversations(archive: ArchiveWriter, tenant: Tenant, scope: Scope, written: _Written, step: Step) -> None:
    conversations = _stepping(read_conversations(tenant, scope), step)
    for number, part in enumerate(_batches(conversations, PART_ITEMS), 1):
        archive.add(f"data/conversations/{number:04}.jsonl", "".join(map(as_line, part)))
        address = f"conversations/{number:04}.html"
        archive.add(address, readable.conversations_page(number, part))
        label = f"Page {number}: conversations {part[0]['id']} to {part[-1]['id']}"
        written.pages.setdefault("conversations", []).append((address, label))
        written.counts["conversations"] = written.counts.get("conversations", 0) + len(part)


def _write_documents(archive: ArchiveWriter, tenant: Tenant, scope: Scope, written: _Written, step: Step) -> None:
    documents = _stepping(read_documents(tenant, scope), step)
    for number, part in enumerate(_batches(documents, PART_ITEMS), 1):
        vectors = [{"document_id": row["id"], "chunks": read_vectors(tenant, row["id"])} for row in part]
        archive.add(f"data/vectors/{number:04}.jsonl", "".join(map(as_line, vectors)))
        del vectors
        for row in part:
            path = tenant.files_folder / row.pop("original_id")
            row["file"] = original_name(row["id"], row["name"])
            found = _write_original(archive, row["file"], tenant, path, step)
            written.originals.append({"document_id": row["id"], "name": row["name"], **found})
            if found["problem"]:
                row["file"] = ""
            archive.add(document_page(row["id"]), readable.document_text_page(row))
            written.pages.setdefault("documents", []).append((document_page(row["id"]), row["title"] or row["name"]))
        archive.add(f"data/documents/{number:04}.jsonl", "".join(map(as_line, part)))
        written.counts["documents"] = written.counts.get("documents", 0) + len(part)


def _write_unread(archive: ArchiveWriter, tenant: Tenant, scope: Scope, written: _Written, step: Step) -> None:
    """Write what was handed over and is no document yet."""
    sealed = waiting_upload_ids(tenant)
    for row in read_rows(tenant, UPLOAD, scope):
        if row["id"] in sealed:
            path = tenant.uploads_folder / sealed[row["id"]]
            found = _write_original(archive, upload_name(row["id"], row["name"]), tenant, path, step)
            written.originals.append({"upload_id": row["id"], "name": row["name"], **found})


def _write_original(archive: ArchiveWriter, name: str, tenant: Tenant, path: Any, step: Step) -> Row:
    """Write an original, and return what the table of originals says of it."""
    problem = ""

    def blocks() -> Iterator[bytes]:
        nonlocal problem
        try:
            yield from read_original(path, find_file_key(tenant, path.name))
        except DamagedError:
            problem = "damaged: what is there is cut short"

    try:
        read_original(path, find_file_key(tenant, path.name))
    except DamagedError:
        return {"file": "", "size_bytes": 0, "problem": "missing: removed while this export was made, or damaged"}
    size = archive.add_blocks(name, blocks(), each=step)
    return {"file": name, "size_bytes": size, "problem": problem}


def _batches(rows: Iterable[Row], most: int) -> Iterator[list[Row]]:
    """Give rows in lists that are short and small enough to be held at once."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += _weight(row)
        if len(batch) == most or size >= PART_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _weight(row: Row) -> int:
    parts = row.get("messages") or row.get("chunks") or ()
    # Vectors, which a part of documents carries as well, come to some kilobytes a chunk.
    return sum(len(part["text"]) + 200 for part in parts) + 6_000 * len(row.get("chunks", ())) + 200


def _stepping(rows: Iterator[Row], step: Step) -> Iterator[Row]:
    for row in rows:
        step()
        yield row
