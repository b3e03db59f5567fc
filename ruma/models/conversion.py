"""The embedding model in torch: the reference for every other engine, and what the graphs are made from."""

import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruma.models.calibration import calibration_texts, sample_texts
from ruma.models.model_folder import ModelFolder
from ruma.models.vectors import Passage, Vector, unit

_BATCHES, _BATCH = 25, 8
_INT8_UNITS = ("vnni", "amx_int8", "i8mm")


class Reference:
    """A sentence-transformers model that is to be compiled."""

    sample: Sequence[Passage]
    """Texts to compare engines on."""

    expected: Vector
    """The vectors that the sample should have."""

    def __init__(self, folder: ModelFolder, threads: int) -> None:
        """Load the model; takes seconds."""
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        self.folder = folder
        self._model = SentenceTransformer(str(folder.path), device="cpu", local_files_only=True)
        self._tokenizer: Any = self._model.tokenizer
        self.sample = [Passage("", self._shorten(text)) for text in sample_texts()]

    def measure(self) -> float:
        """Make the vectors that the sample should have, and return how many texts a second that took."""
        texts = [passage.text for passage in self.sample]
        start = time.perf_counter()
        vectors = self._model.encode_document(texts, batch_size=32, show_progress_bar=False)
        seconds = time.perf_counter() - start
        self.expected = unit(np.asarray(vectors, np.float32))
        return len(texts) / seconds

    @cached_property
    def graph(self) -> Any:
        """The model as an openvino graph: token ids and mask in, token outputs out, in any shape."""
        import openvino  # type: ignore[import-untyped]
        import torch

        class TokenOutputs(torch.nn.Module):
            def __init__(self, inner: torch.nn.Module) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
                outputs = self.inner(input_ids=input_ids, attention_mask=attention_mask)
                tokens: torch.Tensor = outputs.last_hidden_state
                return tokens

        inner: Any = self._model[0].auto_model
        model = TokenOutputs(inner).eval()
        example = {
            "input_ids": torch.full((2, 16), 7, dtype=torch.long),
            "attention_mask": torch.ones((2, 16), dtype=torch.long),
        }
        shape = openvino.PartialShape([-1, -1])
        with torch.no_grad():
            return openvino.convert_model(model, example_input=example, input=[shape, shape])

    def quantize(self, units: str) -> Any:
        """Return a copy of the graph whose products are done in 8 bits.

        Args:
            units: What the processor has for that, from `describe_machine`.
        """
        import nncf

        # Without such units two products of 8 bits are added in 16, and saturate: nncf then makes do with 7.
        is_safe = any(unit in units for unit in _INT8_UNITS)
        fix = nncf.OverflowFix.DISABLE if is_safe else nncf.OverflowFix.ENABLE
        return nncf.quantize(
            self.graph.clone(),
            nncf.Dataset(list(self._batches())),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=_BATCHES,
            # Bias correction takes seconds and changed no cosine before the fourth place.
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix, disable_bias_correction=True),
        )

    def _batches(self) -> Iterator[dict[str, NDArray[np.int64]]]:
        texts = calibration_texts(_BATCHES * _BATCH)
        for start in range(0, len(texts), _BATCH):
            rows = [self._cut(text) for text in texts[start : start + _BATCH]]
            ids = np.full((len(rows), max(len(row) for row in rows)), self.folder.pad_id, np.int64)
            mask = np.zeros_like(ids)
            for place, row in enumerate(rows):
                ids[place, : len(row)], mask[place, : len(row)] = row, 1
            yield {"input_ids": ids, "attention_mask": mask}

    def _shorten(self, text: str) -> str:
        while len(self._tokenizer(self.folder.passage_prompt + text)["input_ids"]) > self.folder.max_tokens:
            text = text[: len(text) * 3 // 4]
        return text

    def _cut(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, truncation=True, max_length=self.folder.max_tokens)["input_ids"]
        return ids
