"""The tenant's sources: what it gave to learn from."""

from dataclasses import dataclass
from typing import Literal

from ruma.errors import NotFoundError
from ruma.tenant.audit import note
from ruma.tenant.clock import now
from ruma.tenant.erasing.erasure import ask_erasure, finish_erasure
from ruma.tenant.keeping.holds import check_not_held
from ruma.tenant.tenant import Tenant

Kind = Literal["file", "folder", "text", "upload", "pair", "page", "site"]
"""An upload is a file that was handed over in the browser; a pair is a question with its answer; a page is one of the
web, and a site is all the pages of one host."""

_SELECT = """select source.id, kind, location, source.added_at, count(document.id),
    coalesce(sum((select count(*) from chunk where document_id = document.id)), 0),
    coalesce(sum(size_bytes), 0)
    from source left join document on document.source_id = source.id"""


@dataclass(frozen=True)
class Source:
    """A source with what was read from it."""

    id: int
    kind: Kind
    location: str
    added_at: str
    documents: int
    chunks: int
    size_bytes: int


@dataclass(frozen=True)
class WebSource:
    """A web page or a website that was read, and when; each with what could not be read of it."""

    id: int
    kind: Kind
    location: str
    documents: int
    read_at: str
    remark: str


def add_source(tenant: Tenant, kind: Kind, location: str) -> Source:
    """Return the source of that kind and location, made if there is none."""
    with tenant.writing() as db:
        added = db.execute(
            "insert into source (kind, location, added_at) values (?, ?, ?) on conflict do nothing",
            [kind, location, now()],
        )
        if added.rowcount:
            note(db, "source.added", f"source {added.lastrowid}", kind=kind)
        row = db.execute(f"{_SELECT} where kind = ? and location = ? group by source.id", [kind, location]).fetchone()
    return Source(*row)


def source_id_of(tenant: Tenant, kind: Kind, location: str) -> int | None:
    """Return the number of the source of that kind and location; None where there is none."""
    with tenant.reading() as db:
        row = db.execute("select id from source where kind = ? and location = ?", [kind, location]).fetchone()
    return row[0] if row else None


def list_sources(tenant: Tenant) -> list[Source]:
    """Return the tenant's sources, oldest first."""
    with tenant.reading() as db:
        return [Source(*row) for row in db.execute(f"{_SELECT} group by source.id order by source.id")]


def list_web_sources(tenant: Tenant, *, limit: int = 50) -> tuple[list[WebSource], int]:
    """Return web pages and websites, those first that were read last, and how many there are in all."""
    with tenant.reading() as db:
        total = db.execute("select count(*) from source where kind in ('page', 'site')").fetchone()[0]
        rows = db.execute(
            """select source.id, source.kind, location,
                   (select count(*) from document where source_id = source.id),
                   max(coalesce(upload.ended_at, ''), source.added_at,
                       (select coalesce(max(added_at), '') from document where source_id = source.id)) as read_at,
                   coalesce(upload.reason, '')
               from source left join upload on upload.kind = source.kind and upload.name = location
                   and upload.state = 'done'
               where source.kind in ('page', 'site') 
               group by source.id order by read_at desc, source.id desc limit ?""",
            [limit],
        ).fetchall()
    return [WebSource(*row) for row in rows], total


def find_source(tenant: Tenant, id_or_location: str | int) -> Source:
    """Return a source by its number or its location.

    Raises:
        NotFoundError: The tenant has no such source.
    """
    for source in list_sources(tenant):
        if str(id_or_location) in (str(source.id), source.location):
            return source
    raise NotFoundError(
        f"The tenant {tenant.name} has no source {id_or_location}.", hint="List them: ruma sources list"
    )


def document_ids_of(tenant: Tenant, source_id: int) -> list[int]:
    """Return the numbers of a source's documents.

    Raises:
        NotFoundError: The tenant has no such source.
    """
    with tenant.reading() as db:
        if not db.execute("select 1 from source where id = ?", [source_id]).fetchone():
            raise NotFoundError("This source is not there any more.")
        return [row[0] for row in db.execute("select id from document where source_id = ?", [source_id])]


def remove_empty_source(tenant: Tenant, source_id: int) -> None:
    """Remove a source that has no document: nothing but its location goes.

    Raises:
        HeldError: Everything of the tenant must be kept.
    """
    check_not_held(tenant)
    with tenant.writing() as db:
        # An ingest of this source may have stored a document meanwhile: it keeps its source.
        removed = db.execute(
            "delete from source where id = ? and not exists (select 1 from document where source_id = source.id)",
            [source_id],
        )
        if removed.rowcount:
            note(db, "source.removed", f"source {source_id}")
        ask_erasure(db)
    finish_erasure(tenant)
