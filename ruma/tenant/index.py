"""The search index of a tenant: full text by FTS5, vectors by the cache."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruma.errors import NotReadyError
from ruma.tenant.tenant import Tenant
from ruma.tenant.vectors import refresh, unpack

TITLE_WEIGHT, HEADING_WEIGHT, TEXT_WEIGHT = 2.0, 1.0, 1.0


@dataclass(frozen=True)
class StoredChunk:
    """A chunk with its document's name and title, its place and its vectors."""

    id: int
    document_id: int
    document_name: str
    title: str
    source_location: str
    heading: str
    page: int | None
    start: int
    text: str
    sentences: tuple[tuple[int, int], ...]
    """Character spans in the chunk's text."""
    vector: NDArray[np.float32]
    """(d,) the passage as a whole."""
    prefix_vector: NDArray[np.float32]
    """(d,) its title and headings."""
    sentence_vectors: NDArray[np.float32]
    """(n, d) one a sentence."""


_PLAIN = ("id", "document_id", "document_name", "title", "source_location", "heading", "page", "start", "text")


def search_words(tenant: Tenant, terms: Sequence[str], limit: int) -> list[tuple[int, float]]:
    """Return the chunks that hold any of the words, with their BM25 scores (positive), best first.

    The terms are words and never FTS5's syntax; NUL bytes and quotes in them mean nothing.
    """
    query = _as_words(terms)
    if not query:
        return []
    with tenant.reading() as db:
        rows = db.execute(
            "select rowid, -bm25(chunk_fts, ?, ?, ?) from chunk_fts where chunk_fts match ? order by 2 desc limit ?",
            [TITLE_WEIGHT, HEADING_WEIGHT, TEXT_WEIGHT, query, limit],
        ).fetchall()
    return [(row[0], row[1]) for row in rows]


def search_vectors(tenant: Tenant, vector: NDArray[np.float32], limit: int) -> list[tuple[int, float]]:
    """Return the chunks nearest to a unit vector (d,), with their cosines, nearest first.

    Raises:
        NotReadyError: The tenant's vectors have another length: another model made them.
    """
    with tenant.reading() as db:
        cache = tenant.vectors = refresh(tenant.vectors, db)
    if not len(cache.ids):
        return []
    if cache.dimension != len(vector):
        raise NotReadyError(
            f"The documents have vectors of {cache.dimension} numbers, and this model makes {len(vector)}.",
            hint="Index them again with this model: ruma ingest --reindex",
        )
    return cache.search(vector, limit)


def load_passages(tenant: Tenant, chunk_ids: Sequence[int]) -> list[StoredChunk]:
    """Return chunks in the order of their ids as given; those that are gone are left out."""
    if not chunk_ids:
        return []
    marks = ",".join("?" * len(chunk_ids))
    with tenant.reading() as db:
        dimension = db.execute("select dimension from search_index").fetchone()[0]
        rows = db.execute(
            f"""select chunk.id, document.id, document.name, document.title, source.location, chunk.heading,
                chunk.page, chunk.start, chunk.text, chunk.sentences, vector.vector, sentence_vector.vectors
                from chunk join document on document.id = chunk.document_id
                join source on source.id = document.source_id
                join vector on vector.chunk_id = chunk.id
                join sentence_vector on sentence_vector.chunk_id = chunk.id
                where chunk.id in ({marks})""",
            list(chunk_ids),
        ).fetchall()
    found = {row[0]: _stored_chunk(row, dimension) for row in rows}
    return [found[number] for number in chunk_ids if number in found]


def count_chunks(tenant: Tenant) -> int:
    """Return how many chunks the index holds."""
    with tenant.reading() as db:
        return int(db.execute("select count(*) from chunk").fetchone()[0])


def document_frequencies(tenant: Tenant, terms: Sequence[str]) -> dict[str, int]:
    """Return for each word how many chunks hold it, stemmed as the full-text index stems."""
    with tenant.reading() as db:
        return {
            term: db.execute(
                "select count(*) from chunk_fts where chunk_fts match ?", [_as_words([term]) or '""']
            ).fetchone()[0]
            for term in dict.fromkeys(terms)
        }


def pack_spans(spans: Sequence[tuple[int, int]]) -> bytes:
    """Return character spans as bytes: pairs of unsigned 32-bit numbers."""
    return struct.pack(f"<{2 * len(spans)}I", *(edge for span in spans for edge in span))


def unpack_spans(blob: bytes) -> tuple[tuple[int, int], ...]:
    """Return the spans that `pack_spans` wrote."""
    edges = struct.unpack(f"<{len(blob) // 4}I", blob)
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def _as_words(terms: Sequence[str]) -> str:
    quoted = ('"' + term.replace('"', " ").replace("\0", " ") + '"' for term in dict.fromkeys(terms))
    return " OR ".join(word for word in quoted if any(letter.isalnum() for letter in word))


def _stored_chunk(row: Sequence[Any], dimension: int) -> StoredChunk:
    plain: dict[str, Any] = dict(zip(_PLAIN, row, strict=False))
    rows = unpack(row[-1], dimension)
    return StoredChunk(
        **plain,
        sentences=unpack_spans(row[-3]),
        vector=unpack(row[-2], dimension)[0],
        prefix_vector=rows[0],
        sentence_vectors=rows[1:],
    )
