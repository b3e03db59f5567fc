"""Finds the passages for a question: by words and by meaning, fused by value.

Ranks are not fused: rank one of a poor list would count as much as rank one of a good one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ruma.chat.words import content_words, group_by_stem, mark_stems
from ruma.errors import InputError, NotReadyError
from ruma.models.vectors import Embedder
from ruma.tenant.knowledge.documents import check_embedder
from ruma.tenant.knowledge.index import (
    Cosines,
    StoredChunk,
    compare,
    count_chunks,
    document_frequencies,
    load_passages,
    search_vectors,
    search_words,
)
from ruma.tenant.tenant import Tenant

Floats = NDArray[np.float32]

MAX_QUESTION = 8_000
"""Characters that a question may have. A longer one is refused rather than read in part."""

CANDIDATES = 40
"""Chunks taken from each of the two lists. Twice as many find no more on the test sets."""

COVERED = 30
"""Candidates whose sentences are compared word by word: the best by what costs less."""

# The fused score of a passage is the highest of three cosines (passage, heading, best sentence) plus these
# three parts. Chosen on half of each test set's questions, for the best nDCG@10 with none of the five sets
# below the better of words and vectors alone; method and results: docs/explanation/measurements.md.
HEADING_WEIGHT = 0.2
"""Of the cosine of title and headings: a question that was asked before stands there in other words."""

WORDS_WEIGHT = 0.15
"""Of BM25 divided by the question's idf sum, so that long and short questions weigh the same."""

COVERAGE_WEIGHT = 0.25
"""Of the square of the idf share that one sentence holds: all of the words say more than twice half of them."""

EARLY_WORDS_WEIGHT = 0.25
"""Of BM25 in the first, cheaper order, where it stands for the coverage too."""


@dataclass(frozen=True)
class FoundPassage:
    """A chunk found for a question."""

    chunk: StoredChunk

    score: float
    """What the passages are ordered by, about 0 to 2; comparable between questions."""

    cosine: float
    """Of the whole passage to the question."""

    words: float
    """BM25; 0 where the passage was found by meaning alone."""

    sentence_cosines: Floats
    """(n,) of each sentence to the question."""

    marks: NDArray[np.bool_]
    """(n, stems): which of the question's stems each sentence holds."""


@dataclass(frozen=True)
class Findings:
    """The passages for a question, best first, and what of the question they were compared with."""

    vector: Floats
    stems: tuple[str, ...]
    weights: Floats
    """(stems,) the idf of each."""
    passages: tuple[FoundPassage, ...]


def search(question: str, tenant: Tenant, embedder: Embedder, *, limit: int = 5) -> list[FoundPassage]:
    """Return the passages nearest to a question, best first.

    Raises:
        InputError: The question is empty or too long.
        NotReadyError: There are no documents yet, or another model made their vectors.
    """
    return list(find(question, tenant, embedder).passages[:limit])


def find(question: str, tenant: Tenant, embedder: Embedder) -> Findings:
    """Return the best passages for a question with everything that choosing sentences needs.

    Raises:
        InputError: The question is empty or too long.
        NotReadyError: There are no documents yet, or another model made their vectors.
    """
    check_question(question)
    words = content_words(question)
    vector = embedder.embed_question(question)
    with tenant.one_state():
        check_embedder(tenant, embedder.id)
        near = search_vectors(tenant, vector, CANDIDATES)
        if not near:
            raise NotReadyError("There are no documents yet.", hint="Add some: ruma ingest FOLDER")
        bm25 = dict(search_words(tenant, words, CANDIDATES))
        chunks = load_passages(tenant, list(dict.fromkeys([*(number for number, _ in near), *bm25])))
        stems = group_by_stem(words)
        weights = weigh_words(tenant, tuple(stems.values()))
    found = Findings(vector, tuple(stems), weights, ())
    return replace(found, passages=tuple(_fuse(found, chunks, bm25)))


def check_question(question: str) -> None:
    """Raise InputError if a question is empty or too long."""
    if not question.strip():
        raise InputError("The question is empty.")
    if len(question) > MAX_QUESTION:
        raise InputError(
            f"The question has {len(question):,} characters; {MAX_QUESTION:,} are the most.",
            hint="Ask a shorter one. A long text is added to the documents with: ruma ingest FILE",
        )


def weigh_words(tenant: Tenant, words: Sequence[str]) -> Floats:
    """Return the idf of each word among the tenant's chunks; never 0, however few chunks there are."""
    held = document_frequencies(tenant, words)
    counts = np.array([held[word] for word in words], np.float32)
    weights: Floats = np.log1p((np.maximum(count_chunks(tenant) - counts, 0) + 0.5) / (counts + 0.5))
    return weights


def _fuse(found: Findings, chunks: Sequence[StoredChunk], bm25: Mapping[int, float]) -> list[FoundPassage]:
    total = max(float(found.weights.sum()), 1e-9)
    compared = compare(chunks, found.vector)
    scores = _score(chunks, compared)
    words = [bm25.get(chunk.id, 0.0) for chunk in chunks]
    early = [score + EARLY_WORDS_WEIGHT * held / total for score, held in zip(scores, words, strict=True)]
    best = sorted(range(len(chunks)), key=lambda place: -early[place])[:COVERED]
    texts = [sentences_of(chunks[place]) for place in best]
    marked = mark_stems([text for one in texts for text in one], found.stems)
    covered: list[float] = (marked @ found.weights).tolist()
    fused, end = [], 0
    for place, one in zip(best, texts, strict=True):
        begin, end = end, end + len(one)
        coverage = max(covered[begin:end], default=0.0) / total
        score = scores[place] + WORDS_WEIGHT * words[place] / total + COVERAGE_WEIGHT * coverage**2
        cosine, parts = float(compared.wholes[place]), compared.of_sentences(place)
        fused.append(FoundPassage(chunks[place], score, cosine, words[place], parts, marked[begin:end]))
    return sorted(fused, key=lambda passage: -passage.score)


def _score(chunks: Sequence[StoredChunk], compared: Cosines) -> list[float]:
    """Return the part of each passage's score that its vectors give, all of them in one go."""
    starts = compared.edges[:-1]
    # What has no heading is compared as a whole, else it would fall behind everything that has one.
    headings = np.where([chunk.has_prefix for chunk in chunks], compared.parts[starts], compared.wholes)
    parts = compared.parts.copy()
    parts[starts] = headings
    best = np.maximum(np.maximum.reduceat(parts, starts), compared.wholes)
    scores: list[float] = (best + HEADING_WEIGHT * headings).tolist()
    return scores


def sentences_of(chunk: StoredChunk) -> list[str]:
    """Return the texts of a chunk's sentences."""
    return [chunk.text[start:end] for start, end in chunk.sentences]
