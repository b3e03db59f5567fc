"""The search index of a tenant: full text by FTS5, vectors by the cache."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from ruma.errors import NotReadyError
from ruma.tenant.knowledge.vectors import Floats, cosines, count_vectors, refresh, unpack
from ruma.tenant.tenant import Tenant

TITLE_WEIGHT, HEADING_WEIGHT, TEXT_WEIGHT = 2.0, 1.0, 1.0


class StoredChunk(NamedTuple):
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
    spans: bytes
    """Its sentences, as stored."""
    packed: bytes
    """The vector of the passage as a whole, as stored."""
    packed_parts: bytes
    """Those of its title with its headings, and of each sentence, as stored."""

    @property
    def sentences(self) -> tuple[tuple[int, int], ...]:
        """Character spans in the chunk's text."""
        return unpack_spans(self.spans)

    @property
    def dimension(self) -> int:
        """How many numbers a vector has."""
        return len(self.packed) - 4

    @property
    def vector(self) -> Floats:
        """(d,) the passage as a whole."""
        whole: Floats = unpack(self.packed, self.dimension)[0]
        return whole

    @property
    def prefix_vector(self) -> Floats:
        """(d,) its title and headings; zeros where it has none."""
        prefix: Floats = unpack(self.packed_parts, self.dimension)[0]
        return prefix

    @property
    def has_prefix(self) -> bool:
        """Whether there is a title or a heading: without, that vector is stored with a scale of zero."""
        return any(self.packed_parts[:4])

    @property
    def sentence_vectors(self) -> Floats:
        """(n, d) one a sentence."""
        return unpack(self.packed_parts, self.dimension)[1:]


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


def search_vectors(tenant: Tenant, vector: Floats, limit: int) -> list[tuple[int, float]]:
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
    found = {row[0]: StoredChunk(*row) for row in rows}
    return [found[number] for number in chunk_ids if number in found]


@dataclass(frozen=True)
class Cosines:
    """How near some chunks are to a question."""

    wholes: Floats
    """(n,) each as a whole."""
    parts: Floats
    """The title with the headings and then each sentence of the first chunk, then those of the next."""
    edges: Sequence[int]
    """(n + 1,) where each chunk's parts begin, and where the last one's end."""

    def of_sentences(self, place: int) -> Floats:
        """Return those of one chunk's sentences."""
        return self.parts[self.edges[place] + 1 : self.edges[place + 1]]


def compare(chunks: Sequence[StoredChunk], vector: Floats) -> Cosines:
    """Return the cosines of chunks to a unit vector (d,)."""
    wholes = cosines([chunk.packed for chunk in chunks], vector)
    parts = cosines([chunk.packed_parts for chunk in chunks], vector)
    counts = [count_vectors(chunk.packed_parts, len(vector)) for chunk in chunks]
    return Cosines(wholes, parts, list(accumulate(counts, initial=0)))


def count_chunks(tenant: Tenant) -> int:
    """Return how many chunks the index holds."""
    with tenant.reading() as db:
        return int(db.execute("select count(*) from chunk").fetchone()[0])


def document_frequencies(tenant: Tenant, terms: Sequence[str]) -> dict[str, int]:
    """Return for each word how many chunks hold it, stemmed as the full-text index stems."""
    asked = list(dict.fromkeys(terms))
    if not asked:
        return {}
    sql = " union all ".join(["select ?, count(*) from chunk_fts where chunk_fts match ?"] * len(asked))
    with tenant.reading() as db:
        rows = db.execute(sql, [value for term in asked for value in (term, _as_words([term]) or '""')]).fetchall()
    return dict(rows)


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
