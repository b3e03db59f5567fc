"""What an embedder is: text in, vectors of unit length out, and how token outputs become those vectors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Passage:
    """A text that is embedded together with the title and headings above it."""

    prefix: str
    """Title and headings, put before the text; may be empty."""

    text: str
    """The text itself."""

    sentences: Sequence[tuple[int, int]] = ()
    """Character spans in the text, in order; may be empty."""


@dataclass(frozen=True)
class PassageVectors:
    """The vectors of one passage, all from one pass of the model."""

    passage: Vector
    """Of prefix and text together; unit length."""

    prefix: Vector
    """Of the prefix as it was read before the text; unit length, zeros where the prefix is empty."""

    sentences: Vector
    """One row a sentence, as it was read inside the passage; unit length, zeros for an empty span."""


class Embedder(ABC):
    """Turns texts into vectors whose dot product says how near two texts are in meaning.

    Every method may be called from several threads at once.
    """

    id: str
    """What a tenant's database records: vectors of two ids must never be compared."""

    dimension: int
    """The length of each vector."""

    max_tokens: int
    """How many tokens the model reads at once, its special tokens included."""

    engine: str
    """What runs the model, for people: "openvino int8", "sentence-transformers"."""

    @abstractmethod
    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return the character span of each token of a text, special tokens left out."""

    @abstractmethod
    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has, special tokens left out."""

    @abstractmethod
    def embed_question(self, text: str) -> Vector:
        """Return the vector of a question of any length; never an error for a long one."""

    @abstractmethod
    def embed_passages(self, passages: Sequence[Passage]) -> list[PassageVectors]:
        """Return the vectors of any number of passages, in their order.

        Raises:
            ValueError: A passage has more tokens than the model reads, so the end would be cut silently.
        """


def join_passage(prefix: str, text: str) -> tuple[str, int]:
    """Return the text that the model reads, and the place in it where the passage's own text starts."""
    return (f"{prefix}\n{text}", len(prefix) + 1) if prefix else (text, 0)


def unit(vectors: Vector) -> Vector:
    """Return vectors scaled to unit length; zeros stay zeros."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vector = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return scaled


def mean_over_spans(outputs: Vector, ends: NDArray[np.int64], spans: Sequence[tuple[int, int]]) -> Vector:
    """Return the mean of the token outputs in each character span, scaled to unit length.

    Args:
        outputs: One row a token, in the order of the text, special tokens left out.
        ends: Where each token ends in the text.
        spans: A token belongs to the span that holds its last character, so that a tokenizer that counts
            the space before a word as the word's own does not move words into the sentence before.
    """
    sums = np.zeros((len(outputs) + 1, outputs.shape[1]), np.float32)
    np.cumsum(outputs, axis=0, out=sums[1:])
    edges = np.asarray(spans, np.int64).reshape(-1, 2)
    first, last = np.searchsorted(ends, edges[:, 0], "right"), np.searchsorted(ends, edges[:, 1], "right")
    return unit(sums[np.maximum(last, first)] - sums[first])
