"""Where a web page links to, and which pages a sitemap names: for the parser process alone."""

import zlib
from typing import Any

from ruma.errors import InputError
from ruma.ingest.decoding import decode
from ruma.ingest.formats.html import parse
from ruma.ingest.robots import NAME, read_orders

MOST_LINKS = 20_000
LONGEST_LINK = 2_000
_MOST_SITEMAP_BYTES = 50_000_000
"""As the protocol has it: a larger one must be split."""


def find_links(data: bytes) -> dict[str, Any]:
    """Return the links of an HTML page as they are written, each once, and what they begin with.

    Left out are links with `rel="nofollow"`, and all of them where the page says so of itself.

    Raises:
        InputError: It cannot be read.
    """
    root = parse(decode(data, is_markup=True))
    base = next((element.get("href") or "" for element in root.iter("base")), "")
    orders = read_orders(
        element.get("content") or "" for element in root.iter("meta") if _words(element.get("name")) & {"robots", NAME}
    )
    links: dict[str, None] = {}
    for element in () if "nofollow" in orders else root.iter("a", "area"):
        link = (element.get("href") or "").strip()
        if (
            "nofollow" not in _words(element.get("rel"))
            and link
            and len(link) <= LONGEST_LINK
            and not link.startswith("#")
        ):
            links[link] = None
        if len(links) == MOST_LINKS:
            break
    return {"links": list(links), "base": base[:LONGEST_LINK], "is_indexed": "noindex" not in orders}


def _words(value: str | None) -> set[str]:
    return set((value or "").lower().split())


def read_sitemap(data: bytes) -> dict[str, Any]:
    """Return the pages and the sitemaps that a sitemap names; it knows no entity and loads nothing.

    Raises:
        InputError: It is none, or too large.
    """
    from lxml import etree  # type: ignore[import-untyped]

    if data.startswith(b"\x1f\x8b"):
        unpacker = zlib.decompressobj(31)
        try:
            data = unpacker.decompress(data, _MOST_SITEMAP_BYTES)
        except zlib.error as exc:
            raise InputError("is a damaged sitemap.") from exc
        if unpacker.unconsumed_tail:
            raise InputError("is too large for a sitemap.")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, recover=False
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as exc:
        raise InputError("is no sitemap.") from exc
    found: dict[str, list[str]] = {"url": [], "sitemap": []}
    for element in root.iter("{*}loc"):
        above = element.getparent()
        kind = etree.QName(above).localname if above is not None and isinstance(above.tag, str) else ""
        place = (element.text or "").strip()
        if kind in found and place and len(place) <= LONGEST_LINK and len(found[kind]) < MOST_LINKS:
            found[kind].append(place)
    return {"pages": found["url"], "sitemaps": found["sitemap"]}
