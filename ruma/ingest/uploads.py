"""From an upload to documents: the same paths as of files and web pages, with what is sealed opened when it is read."""

from ruma.config import Settings
from ruma.errors import InputError
from ruma.ingest.pipeline import GiveWay, Outcome, ingest_listing
from ruma.ingest.reading import Reader
from ruma.ingest.sources import Item, Listing
from ruma.ingest.webpages import find_pages
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


def ingest_address(
    taken: Taken,
    tenant: Tenant,
    embedder: Embedder,
    settings: Settings,
    *,
    give_way: GiveWay | None = None,
    reader: Reader | None = None,
) -> str:
    """Read a web page, or a website, that was handed over by its address; of a website, what is gone is removed.

    A single page that is gone is kept and said, since nothing else would tell that it had been there.

    Args:
        give_way: Called often; it may wait, and ends the reading by raising.
        reader: What reads it, and is left open, unless the reading ends before that.

    Returns:
        What of a website could not be read, in sentences; nothing where all was.

    Raises:
        InputError: Nothing of it could be read; the message continues the sentence that begins with the address.
        NotReadyError: Another embedder made the tenant's vectors.
        StoreError: The tenant's database cannot be used.
    """
    upload = taken.upload
    listing = find_pages(upload.name, tenant, settings, is_site=upload.kind == "site")
    is_site = upload.kind == "site"
    outcomes = list(
        ingest_listing(listing, tenant, embedder, settings, remove_missing=is_site, give_way=give_way, reader=reader)
    )
    failed = [one for one in outcomes if one.status == "failed" and one.reason != listing.note]
    if not any(one.status in ("added", "changed", "unchanged") for one in outcomes):
        raise InputError(failed[0].reason if failed else listing.note or "has no page that can be read.")
    remarks = [f"The website {listing.note}"] if listing.note else []
    if failed:
        pages = "1 page" if len(failed) == 1 else f"{len(failed):,} pages"
        remarks.append(f"{pages} could not be read; {failed[0].name} {failed[0].reason}")
    return " ".join(remarks)
