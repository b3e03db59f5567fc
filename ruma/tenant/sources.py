"""The tenant's sources: what it gave to learn from."""

from dataclasses import dataclass
from typing import Literal

from ruma.errors import NotFoundError
from ruma.tenant.clock import now
from ruma.tenant.documents import Removal, remove_documents
from ruma.tenant.tenant import Tenant

Kind = Literal["file", "folder", "text"]

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


def add_source(tenant: Tenant, kind: Kind, location: str) -> Source:
    """Return the source of that kind and location, made if there is none."""
    with tenant.writing() as db:
        db.execute(
            "insert into source (kind, location, added_at) values (?, ?, ?) on conflict do nothing",
            [kind, location, now()],
        )
        row = db.execute(f"{_SELECT} where kind = ? and location = ? group by source.id", [kind, location]).fetchone()
    return Source(*row)


def list_sources(tenant: Tenant) -> list[Source]:
    """Return the tenant's sources, oldest first."""
    with tenant.reading() as db:
        return [Source(*row) for row in db.execute(f"{_SELECT} group by source.id order by source.id")]


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


def remove_source(tenant: Tenant, source_id: int) -> Removal:
    """Remove a source with all its documents.

    Raises:
        NotFoundError: The tenant has no such source.
    """
    find_source(tenant, source_id)
    with tenant.reading() as db:
        ids = [row[0] for row in db.execute("select id from document where source_id = ?", [source_id])]
    removal = remove_documents(tenant, ids)
    with tenant.writing() as db:
        # An ingest of this source may have stored one more meanwhile: it keeps its source.
        db.execute(
            "delete from source where id = ? and not exists (select 1 from document where source_id = source.id)",
            [source_id],
        )
    return removal
