"""Vectors as they are stored and searched: bytes in the database, bits and bytes in memory.

A scan of encrypted pages costs 2.5 ms a MB, so no search reads vectors from the file. The first one
loads them, one byte a dimension, and later ones take in only what other commands wrote since.

The search is exact over few candidates: the sign bits choose them (48 bytes a vector of 384
dimensions), and the bytes rank them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sqlite_utils import Database

Floats = NDArray[np.float32]
CANDIDATES = 1024
"""Vectors ranked by their bytes for a question; measured: recall@10 is 0.995 among 100,000."""
EXACT_BELOW = 4096
"""Up to so many vectors all are ranked exactly."""


def pack(vectors: Floats) -> bytes:
    """Return vectors (n, d) as bytes: n scales (float32), then n × d signed bytes."""
    scales = (np.abs(vectors).max(axis=1, initial=0.0) / 127.0).astype(np.float32)
    safe = np.where(scales == 0.0, 1.0, scales)
    steps: NDArray[np.int8] = np.rint(vectors / safe[:, None]).astype(np.int8)
    return bytes(scales.tobytes() + steps.tobytes())


def unpack(blob: bytes, dimension: int) -> Floats:
    """Return the vectors (n, d) that `pack` wrote."""
    count = count_vectors(blob, dimension)
    scales = np.frombuffer(blob, np.float32, count)
    steps = np.frombuffer(blob, np.int8, offset=4 * count).reshape(count, dimension)
    return steps.astype(np.float32) * scales[:, None]


def cosines(blobs: Sequence[bytes], vector: Floats) -> Floats:
    """Return the cosines (n,) to a unit vector (d,) of all the vectors in blobs that `pack` wrote, in their order.

    All are compared at once: a question meets some hundred sentences in some dozen blobs.
    """
    counts = [count_vectors(blob, len(vector)) for blob in blobs]
    steps = b"".join([blob[4 * count :] for blob, count in zip(blobs, counts, strict=True)])
    scales = b"".join([blob[: 4 * count] for blob, count in zip(blobs, counts, strict=True)])
    matrix = np.frombuffer(steps, np.int8).reshape(-1, len(vector)).astype(np.float32)
    found: Floats = (matrix @ vector) * np.frombuffer(scales, np.float32)
    return found


def count_vectors(blob: bytes, dimension: int) -> int:
    """Return how many vectors `pack` wrote into a blob."""
    return len(blob) // (dimension + 4)


@dataclass(frozen=True)
class VectorCache:
    """All passage vectors of a tenant at one revision of its index.

    ids (n,) int64 ascending, scales (n,) float32, steps (n, d) int8,
    bits (d / 64, n) uint64: the signs of each vector.
    """

    revision: int
    dimension: int
    ids: NDArray[np.int64]
    scales: Floats
    steps: NDArray[np.int8]
    bits: NDArray[np.uint64]

    def search(self, vector: Floats, limit: int) -> list[tuple[int, float]]:
        """Return the chunk ids nearest to a unit vector (d,) with their cosines, nearest first."""
        if len(self.ids) <= EXACT_BELOW:
            rows = np.arange(len(self.ids))
        else:
            asked = _signs(vector[None, :])
            distances = np.zeros(len(self.ids), np.uint16)
            for word, mine in zip(self.bits, asked[:, 0], strict=True):
                distances += np.bitwise_count(word ^ mine)
            kept = max(CANDIDATES, 4 * limit)
            rows = np.argpartition(distances, kept)[:kept] if kept < len(self.ids) else np.arange(len(self.ids))
        cosines = self._cosines(rows, vector)
        best = np.argsort(-cosines, kind="stable")[:limit]
        return [(int(self.ids[rows[place]]), float(cosines[place])) for place in best]

    def _cosines(self, rows: NDArray[np.int64], vector: Floats) -> Floats:
        found: Floats = (self.steps[rows].astype(np.float32) @ vector) * self.scales[rows]
        return found


def refresh(cache: VectorCache | None, db: "Database") -> VectorCache:
    """Return the cache of the database's present revision, reading only what is new."""
    revision, dimension = db.execute("select revision, dimension from search_index").fetchone()
    if cache is not None and cache.revision == revision:
        return cache
    if cache is None or cache.dimension != dimension:
        cache = _empty(dimension)
    present = np.array([row[0] for row in db.execute("select id from chunk order by id")], np.int64)
    kept = np.isin(cache.ids, present, assume_unique=True)
    last = int(cache.ids[-1]) if len(cache.ids) else 0
    rows = db.execute("select chunk_id, vector from vector where chunk_id > ? order by chunk_id", [last]).fetchall()
    new_ids = np.array([row[0] for row in rows], np.int64)
    packed = np.frombuffer(b"".join(row[1] for row in rows), np.uint8).reshape(len(rows), dimension + 4)
    scales = np.concatenate([cache.scales[kept], packed[:, :4].copy().view(np.float32)[:, 0]])
    steps = np.concatenate([cache.steps[kept], packed[:, 4:].view(np.int8)])
    ids = np.concatenate([cache.ids[kept], new_ids])
    bits = np.concatenate([cache.bits[:, kept], _signs(packed[:, 4:].view(np.int8))], axis=1)
    return VectorCache(revision, dimension, ids, scales, steps, bits)


def _empty(dimension: int) -> VectorCache:
    return VectorCache(
        revision=-1,
        dimension=dimension,
        ids=np.empty(0, np.int64),
        scales=np.empty(0, np.float32),
        steps=np.empty((0, dimension), np.int8),
        bits=np.empty((-(-dimension // 64), 0), np.uint64),
    )


def _signs(vectors: Floats | NDArray[np.int8]) -> NDArray[np.uint64]:
    """Return the sign bits of vectors (n, d) as (d / 64, n) words: one row a word is fastest to scan."""
    packed = np.packbits(vectors > 0, axis=1)
    padded = np.zeros((len(vectors), -(-vectors.shape[1] // 64) * 8), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return np.ascontiguousarray(padded.view(np.uint64).T)
