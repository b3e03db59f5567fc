"""What both engines do with texts before the model and with its outputs after it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ruma.models.model_folder import ModelFolder
from ruma.models.vectors import Embedder, Passage, Vector, join_passage, mean_over_spans

_WINDOWS, _MARGIN = 16, 8


class TokenizingEmbedder(Embedder):
    """An embedder whose tokens come from a `tokenizers.Tokenizer`."""

    def __init__(self, model: ModelFolder, tokenizer: Any, limit: int) -> None:
        """Take what is read at once from the limit of the model, the prompt before each passage left out."""
        self._model, self._tokenizer, self._limit = model, tokenizer, limit
        self.max_tokens = limit - self.count_tokens(model.passage_prompt)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return the character span of each token of a text, special tokens left out."""
        spans: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return spans

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has, special tokens left out."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def _encode(self, texts: Sequence[str], prompt: str) -> list[Any]:
        """Return the tokens of each text, the prompt before it."""
        encodings: list[Any] = self._tokenizer.encode_batch([prompt + text for text in texts])
        longest = max((len(encoding) for encoding in encodings), default=0)
        if longest > self._limit:
            raise ValueError(f"A passage has {longest} tokens; the model reads {self._limit} at once.")
        return encodings

    def _windows(self, text: str, prompt: str) -> list[str]:
        """Return a question in pieces that the model can read, the prompt not counted in.

        Of a text that is no question any more, some windows from its beginning to its end are enough: reading
        100,000 characters would keep a thread busy for seconds.
        """
        encoding = self._tokenizer.encode(prompt + text)
        if len(encoding) <= self._limit:
            return [text]
        spans = self.token_spans(text)
        # A word that is cut in two may have more tokens than before.
        room = max(self._limit - (len(encoding) - len(spans)) - _MARGIN, 1)
        starts = list(range(0, len(spans), room))
        if len(starts) > _WINDOWS:
            starts = [starts[place * (len(starts) - 1) // (_WINDOWS - 1)] for place in range(_WINDOWS)]
        return [text[spans[at][0] : spans[min(at + room, len(spans)) - 1][1]] for at in starts]


def load_tokenizer(source: Path | str) -> Any:
    """Return the tokenizer of a file, or of its content, without limits of its own."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(source)) if isinstance(source, Path) else Tokenizer.from_str(source)
    # Files may state lengths to cut and to pad to, which would do so silently.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def parts_of_pass(passage: Passage, prompt: str, encoding: Any, outputs: Vector) -> Vector:
    """Return the vectors of a passage's prefix, first, and of its sentences, from the passage's own pass.

    Args:
        passage: What was read.
        prompt: What was put before it.
        encoding: Its tokens.
        outputs: One row a token, special tokens too.
    """
    start = len(prompt)
    shift = start + join_passage(passage.prefix, passage.text)[1]
    is_text = np.asarray(encoding.special_tokens_mask) == 0
    ends = np.asarray(encoding.offsets, np.int64).reshape(-1, 2)[is_text, 1]
    sentences = [(shift + first, shift + last) for first, last in passage.sentences]
    return mean_over_spans(outputs[is_text], ends, [(start, start + len(passage.prefix)), *sentences])


def texts_of_parts(passage: Passage) -> list[str]:
    """Return a passage's prefix, first, and its sentences, for a model that must read each for itself."""
    return [passage.prefix, *(passage.text[first:last] for first, last in passage.sentences)]
