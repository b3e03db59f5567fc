"""Runs a compiled embedding model: needs openvino and tokenizers, never torch."""

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruma.errors import ModelError
from ruma.models.model_folder import ModelFolder
from ruma.models.silence import silence_libraries
from ruma.models.together import Together
from ruma.models.tokenizing import TokenizingEmbedder, load_tokenizer, parts_of_pass, texts_of_parts
from ruma.models.vectors import Passage, PassageVectors, Vector, join_passage, unit

BATCH_TOKENS = 2048
"""Tokens a batch, padding included: more is no faster, and each stream's memory grows with it."""

QUESTIONS = 4
"""Questions that are read in one go at most: four take less than three times as long as one, and eight gain no more."""

_SLAB = 1024  # Passages tokenised at once, so that a long list does not lie in memory as tokens.
_LENGTH_STEP = 16  # Lengths are rounded up: openvino keeps memory and generated code for each shape it has seen.
_QUESTION_STEP = 4


@dataclass(frozen=True)
class Ready:
    """A model made ready for this processor."""

    model: Any
    """An openvino CompiledModel."""

    streams: int
    """How many requests it runs at once."""

    content: Any = None
    """What the model reads its weights from; it crashes when this is given back before it."""


class OpenVinoEmbedder(TokenizingEmbedder):
    """An embedder on the processor, with as many passages in work at once as there are threads."""

    def __init__(self, model: ModelFolder, ready: Ready, *, id: str, engine: str, tokenizer: Path) -> None:
        """Wrap what `make_ready` or `open_blob` returned."""
        super().__init__(model, load_tokenizer(tokenizer), model.max_tokens)
        self.id, self.engine = id, engine
        self.dimension = int(ready.model.output(0).get_partial_shape()[2].get_length())
        self._ready = ready
        # One more than can run, so that no thread is idle while the results of a batch are taken.
        self._requests = [ready.model.create_infer_request() for _ in range(ready.streams + 1)]
        self._one_at_a_time = threading.Lock()
        lanes = max(1, ready.streams // 2)
        self._lanes: LifoQueue[Any] = LifoQueue()
        for _ in range(lanes):
            self._lanes.put(ready.model.create_infer_request())
        self._questions = Together(self._embed_questions, len, most=QUESTIONS, lanes=lanes)

    def embed_question(self, text: str) -> Vector:
        """Return the vector of a question; a long one is read in windows, which are averaged."""
        prompt = self._model.question_prompt
        encodings = [self._tokenizer.encode(prompt + window) for window in self._windows(text, prompt)]
        for encoding in encodings:
            encoding.truncate(self._limit)
        vectors = [self._questions.ask(encoding) for encoding in encodings]
        return unit(np.mean(vectors, axis=0)) if len(vectors) > 1 else vectors[0]

    def _embed_questions(self, encodings: Sequence[Any]) -> list[Vector]:
        request = self._lanes.get()
        try:
            request.infer(self._inputs(encodings, _QUESTION_STEP))
            outputs = _outputs(request)
            return [self._pool(outputs[row, : len(encoding)]) for row, encoding in enumerate(encodings)]
        finally:
            self._lanes.put(request)

    def embed_passages(self, passages: Sequence[Passage]) -> list[PassageVectors]:
        """Return the vectors of any number of passages, in their order."""
        found: list[PassageVectors] = []
        for start in range(0, len(passages), _SLAB):
            slab = passages[start : start + _SLAB]
            found += self._embed_together(slab) if self._model.pooling == "mean" else self._embed_apart(slab)
        return found

    def _embed_together(self, passages: Sequence[Passage]) -> list[PassageVectors]:
        texts = [join_passage(one.prefix, one.text)[0] for one in passages]
        found: dict[int, PassageVectors] = {}
        with closing(self._read(texts)) as results:
            for place, encoding, outputs in results:
                parts = parts_of_pass(passages[place], self._model.passage_prompt, encoding, outputs)
                found[place] = PassageVectors(self._pool(outputs), parts[0], parts[1:])
        return [found[place] for place in range(len(passages))]

    def _embed_apart(self, passages: Sequence[Passage]) -> list[PassageVectors]:
        # The first token's output stands for all that was read, so each part must be read for itself.
        texts: list[str] = []
        for one in passages:
            texts += [join_passage(one.prefix, one.text)[0], *texts_of_parts(one)]
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        places = [place for place, text in enumerate(texts) if text.strip()]
        with closing(self._read([texts[place] for place in places])) as results:
            for place, _, outputs in results:
                vectors[places[place]] = self._pool(outputs)
        found, start = [], 0
        for one in passages:
            rows = vectors[start : start + 2 + len(one.sentences)]
            found.append(PassageVectors(rows[0], rows[1], rows[2:]))
            start += len(rows)
        return found

    def _pool(self, outputs: Vector) -> Vector:
        return unit(outputs.mean(axis=0) if self._model.pooling == "mean" else outputs[0])

    def _read(self, texts: Sequence[str]) -> Generator[tuple[int, Any, Vector]]:
        """Yield each text's place, tokens and token outputs, which are valid until the next is asked for."""
        encodings = self._encode(texts, self._model.passage_prompt)
        order = sorted(range(len(texts)), key=lambda place: len(encodings[place]))
        with self._one_at_a_time, closing(self._run(_batches(order, encodings))) as results:
            for batch, outputs in results:
                for row, place in enumerate(batch):
                    yield place, encodings[place], outputs[row, : len(encodings[place])]

    def _run(self, batches: Iterable[tuple[list[int], list[Any]]]) -> Generator[tuple[list[int], Vector]]:
        waiting: deque[tuple[list[int], Any]] = deque()
        free = list(self._requests)
        todo = iter(batches)
        try:
            while True:
                for places, encodings in islice(todo, len(free)):
                    request = free.pop()
                    request.start_async(self._inputs(encodings, _LENGTH_STEP))
                    waiting.append((places, request))
                if not waiting:
                    return
                places, request = waiting.popleft()
                request.wait()
                yield places, _outputs(request)
                free.append(request)
        finally:
            for _, request in waiting:
                request.wait()

    def _inputs(self, encodings: Sequence[Any], step: int) -> dict[int, NDArray[np.int64]]:
        # Never longer than the model reads: it has no position to look up after the last.
        length = min(_round_up(max(len(encoding) for encoding in encodings), step), self._limit)
        ids = np.full((len(encodings), length), self._model.pad_id, np.int64)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding.ids
            mask[row, : len(encoding)] = 1
        return {0: ids, 1: mask}


def make_ready(graph: Any, *, precision: str, threads: int) -> Ready:
    """Return a graph made ready for this processor."""
    core, config, streams = _core(precision, threads)
    return Ready(core.compile_model(graph, "CPU", config), streams)


def open_blob(file: Path, *, precision: str, threads: int) -> Ready:
    """Return what `export_blob` kept, as `make_ready` does but in a fraction of the time.

    Raises:
        ModelError: It was kept by another version of openvino, or for another processor.
    """
    core, config, streams = _core(precision, threads)
    import openvino  # type: ignore[import-untyped]

    # Mapped, not read: the weights would otherwise be in memory twice while the model is opened.
    content = np.memmap(file, np.uint8, mode="c")
    try:
        model = core.import_model(openvino.Tensor(content, shared_memory=True), "CPU", config)
    except RuntimeError as exc:
        raise ModelError(
            f"The compiled embedding model {file} cannot be opened.",
            hint="Remove its folder; it is compiled again at the next use.",
        ) from exc
    return Ready(model, streams, content)


def export_blob(ready: Ready, file: Path) -> None:
    """Keep a model as it was made ready for this processor."""
    file.write_bytes(ready.model.export_model().getvalue())


def _core(precision: str, threads: int) -> tuple[Any, dict[str, Any], int]:
    silence_libraries()
    import openvino

    # One stream a thread is a little faster than all threads on one batch, and a question never waits for a
    # whole batch; each stream has memory of its own, so there is a limit.
    streams = min(threads, 8)
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
        # A thread that is bound to one processor waits for it while the other one has nothing to do.
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }
    return openvino.Core(), config, streams


def _batches(order: Sequence[int], encodings: Sequence[Any]) -> Iterator[tuple[list[int], list[Any]]]:
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) + 1) * _round_up(len(encodings[place]), _LENGTH_STEP) > BATCH_TOKENS:
            yield batch, [encodings[one] for one in batch]
            batch = []
        batch.append(place)
    if batch:
        yield batch, [encodings[one] for one in batch]


def _outputs(request: Any) -> Vector:
    outputs: Vector = request.get_output_tensor().data
    return outputs


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
