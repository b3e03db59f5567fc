"""Parts that stand in for slow ones: real subclasses with a rule, no mocks."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ruma.errors import InputError, ModelError
from ruma.models.generator import Generator, Turn
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


def repeat_evidence(turns: Sequence[Turn]) -> str:
    """Answer with the first numbered evidence of the last turn, cited, or else with the turn itself."""
    found = re.search(r"^\[1\] (.+)$", turns[-1].text, re.MULTILINE)
    return f"{found[1]} [1]" if found else turns[-1].text


class EchoGenerator(Generator):
    """Answers by a rule, word by word, and remembers what it was asked and which answers were closed early."""

    name, context_tokens, is_grounded = "echo", 4096, True

    def __init__(self, rule: Callable[[Sequence[Turn]], str] = repeat_evidence, *, delay: float = 0.0) -> None:
        """Take the rule, and the seconds to wait before each word."""
        self.rule, self.delay = rule, delay
        self.asked: list[tuple[str, Sequence[Turn]]] = []
        self.closed: list[str] = []
        self.is_closed = False

    def count_tokens(self, turns: Sequence[Turn]) -> int:
        """Return how many words there are."""
        return sum(len(turn.text.split()) for turn in turns)

    def generate(self, turns: Sequence[Turn], *, tenant: str, max_tokens: int = 400) -> Iterator[str]:
        """Return the words of the answer; a conversation longer than the context is an InputError at once."""
        if self.count_tokens(turns) > self.context_tokens:
            raise InputError("The question and its evidence are too long for echo.")
        self.asked.append((tenant, turns))
        words = self._words(re.findall(r"\S+\s*", self.rule(turns))[:max_tokens])
        next(words)  # so that closing it is seen also before the first word
        return words

    def close(self) -> None:
        """Remember it."""
        self.is_closed = True

    def _words(self, words: list[str]) -> Iterator[str]:
        given = ""
        try:
            yield ""
            for word in words:
                time.sleep(self.delay)
                given += word
                yield word
        except GeneratorExit:
            self.closed.append(given)
            raise


class BrokenGenerator(EchoGenerator):
    """Stops after so many words, as a model does whose process died; None fails before the answer begins."""

    def __init__(self, after: int | None = 3) -> None:
        """Take the number of words."""
        super().__init__()
        self.after = after

    def generate(self, turns: Sequence[Turn], *, tenant: str, max_tokens: int = 400) -> Iterator[str]:
        """Return the first words of the answer, and an error."""
        if self.after is None:
            raise ModelError("The language model stopped before it could answer.")
        return self._break(super().generate(turns, tenant=tenant, max_tokens=self.after))

    def _break(self, words: Iterator[str]) -> Iterator[str]:
        yield from words
        raise ModelError("The language model stopped; the answer is incomplete.")
