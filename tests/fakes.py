"""Parts that stand in for slow ones: real subclasses with a rule, no mocks."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from ruma.models.vectors import Embedder, Passage, PassageVectors, Vector, join_passage, unit


class HashEmbedder(Embedder):
    """Gives each word a direction of its own: texts that share words are near, and nothing is loaded."""

    engine = "hash"

    def __init__(self, dimension: int = 64, id: str = "hash@1", max_tokens: int = 256) -> None:
        """Give the vectors a length and the embedder an id."""
        self.id, self.dimension, self.max_tokens = id, dimension, max_tokens

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return the span of each word."""
        return [match.span() for match in re.finditer(r"\w+", text)]

    def count_tokens(self, text: str) -> int:
        """Return how many words there are."""
        return len(self.token_spans(text))

    def embed_question(self, text: str) -> Vector:
        """Return the sum of the words' directions."""
        words = re.findall(r"\w+", text.casefold())
        return unit(np.sum([self._direction(word) for word in words] or [self._zeros()], axis=0))

    def embed_passages(self, passages: Sequence[Passage]) -> list[PassageVectors]:
        """Return the sums of the words' directions for passage, prefix and sentences."""
        for passage in passages:
            if self.count_tokens(join_passage(passage.prefix, passage.text)[0]) + 2 > self.max_tokens:
                raise ValueError("The passage has more tokens than the model reads.")
        return [
            PassageVectors(
                passage=self.embed_question(join_passage(one.prefix, one.text)[0]),
                prefix=self.embed_question(one.prefix),
                sentences=np.array(
                    [self.embed_question(one.text[start:end]) for start, end in one.sentences], np.float32
                ).reshape(-1, self.dimension),
            )
            for one in passages
        ]

    def _zeros(self) -> Vector:
        return np.zeros(self.dimension, np.float32)

    def _direction(self, word: str) -> Vector:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dimension).astype(np.float32)
