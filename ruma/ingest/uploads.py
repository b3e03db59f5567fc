"""From an upload to a document: the same path as a file's, with the sealed bytes opened when they are read."""

from ruma.config import Settings
from ruma.ingest.pipeline import GiveWay, Outcome, ingest_listing
from ruma.ingest.reading import Reader
from ruma.ingest.sources import Item, Listing
from ruma.models.vectors import Embedder
from ruma.tenant.knowledge.uploads import Taken
from ruma.tenant.tenant import Tenant


def ingest_upload(
    taken: Taken,
    tenant: Tenant,
    embedder: Embedder,
    settings: Settings,
    *,
    give_way: GiveWay | None = None,
    reader: Reader | None = None,
) -> Outcome:
    """Read an upload into the index, and return what became of it. It replaces the document of its name.

    Args:
        give_way: Called often, between two steps that take a moment; it may wait, and ends the ingest by raising.
        reader: What reads it, and is left open, unless the ingest ends before that.

    Raises:
        NotReadyError: Another embedder made the tenant's vectors.
        DamagedError: Its sealed bytes are missing or were altered.
        StoreError: The tenant's database cannot be used.
    """
    upload = taken.upload
    title = upload.name if upload.kind == "text" else ""
    item = Item(upload.name, load=taken.read, title=title)
    listing = Listing(upload.kind, upload.name, [item])
    [outcome] = ingest_listing(listing, tenant, embedder, settings, give_way=give_way, reader=reader)
    return outcome
