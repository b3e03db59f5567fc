"""The process that compiles an embedding model: the only one where torch and nncf are loaded for that.

Its one argument is a job as JSON; it writes one JSON object a line to standard output: any number of
`{"step": …}`, then one `{"result": …}` or `{"problem": …}`. It has no tenant's data and no key.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ruma.models.compiled import BLOB, SENTENCE_TRANSFORMERS, TOKENIZER, Measurement, describe_machine
from ruma.models.conversion import Reference
from ruma.models.model_folder import ModelFolder, read_model_folder
from ruma.models.openvino_embedder import OpenVinoEmbedder, export_blob, make_ready
from ruma.models.silence import silence_libraries
from ruma.models.vectors import Passage

NEAREST = 0.99
"""The mean cosine to the reference that an engine must reach to be chosen."""

_ROUNDS = 2
Message = dict[str, Any]


def main() -> None:
    """Compile the model that the argument names, and say on standard output how it went."""
    job = json.loads(sys.argv[2])
    output, sys.stdout = sys.stdout, sys.stderr  # The libraries print; the parent reads only what is ours.
    silence_libraries()
    model = read_model_folder(Path(job["path"]), job["name"])
    for message in _compile(model, Path(job["staging"]), job["threads"]):
        print(json.dumps(message), file=output, flush=True)


def fastest_near_enough(measurements: Sequence[Measurement]) -> str:
    """Return the OpenVINO engine to use, or an empty string where none is near enough to the reference."""
    fit = [one for one in measurements if one.engine != SENTENCE_TRANSFORMERS and one.cosine_mean >= NEAREST]
    return max(fit, key=lambda one: one.texts_per_second).engine if fit else ""


def _compile(model: ModelFolder, staging: Path, threads: int) -> Iterator[Message]:
    yield {"step": "Loading the model."}
    try:
        reference = Reference(model, threads)
        speed = reference.measure()
    except Exception as exc:  # Torch and its friends raise whatever they like; the parent must hear of it.
        yield {"problem": f"sentence-transformers cannot run it ({_first_line(exc)})"}
        return
    measurements = [Measurement(SENTENCE_TRANSFORMERS, speed, 1.0, 1.0)]
    yield {"step": _describe(measurements[0])}
    candidates: list[_Candidate] = []
    for precision in ("int8", "bf16", "fp32"):
        yield {"step": f"Converting the model to {precision}."}
        try:
            candidates.append(_Candidate(precision, reference, threads))
        except Exception as exc:  # Whatever the libraries have against this form, another may do.
            measurements.append(Measurement(f"openvino {precision}", 0.0, 0.0, 0.0, _first_line(exc)))
            yield {"step": _describe(measurements[-1])}
    # In turns, so that what else the machine does in a second does not decide.
    for _ in range(_ROUNDS):
        for candidate in candidates:
            candidate.run(reference.sample)
    for candidate in candidates:
        measurements.append(candidate.measured(reference))
        yield {"step": _describe(measurements[-1])}
    best = fastest_near_enough(measurements)
    chosen = next((candidate for candidate in candidates if candidate.engine == best), None)
    yield {"result": _keep(chosen, staging) | {"measurements": [asdict(one) for one in measurements]}}


class _Candidate:
    """The model in one form that OpenVINO might run."""

    def __init__(self, precision: str, reference: Reference, threads: int) -> None:
        self.engine = f"openvino {precision}"
        is_int8 = precision == "int8"
        graph = reference.quantize(describe_machine()["units"]) if is_int8 else reference.graph
        self.ready = make_ready(graph, precision=precision, threads=threads)
        tokenizer = reference.folder.transformer / TOKENIZER
        self._embedder = OpenVinoEmbedder(reference.folder, self.ready, id="", engine=self.engine, tokenizer=tokenizer)
        self._seconds: list[float] = []
        self.run(reference.sample)
        self._seconds.clear()  # The first run makes code for each shape, which a long ingest does once.

    def run(self, sample: Sequence[Passage]) -> None:
        start = time.perf_counter()
        self._found = self._embedder.embed_passages(sample)
        self._seconds.append(time.perf_counter() - start)

    def measured(self, reference: Reference) -> Measurement:
        cosines = (np.array([one.passage for one in self._found]) * reference.expected).sum(axis=1)
        speed = len(self._found) / min(self._seconds)
        return Measurement(self.engine, speed, float(cosines.mean()), float(cosines.min()))


def _keep(best: _Candidate | None, staging: Path) -> Message:
    if best is None:
        reason = f"No form that OpenVINO runs comes within cosine {NEAREST} of the reference."
        return {"engine": SENTENCE_TRANSFORMERS, "reason": reason}
    export_blob(best.ready, staging / BLOB)
    reason = f"The fastest on this processor within cosine {NEAREST} of the reference."
    return {"engine": best.engine, "reason": reason}


def _describe(one: Measurement) -> str:
    if one.problem:
        return f"{one.engine} cannot be used: {one.problem}."
    if one.engine == SENTENCE_TRANSFORMERS:
        return f"{one.engine}, the reference: {one.texts_per_second:.0f} texts a second."
    return (
        f"{one.engine}: {one.texts_per_second:.0f} texts a second, "
        f"cosine to the reference {one.cosine_mean:.4f} (lowest {one.cosine_min:.4f})."
    )


def _first_line(exc: Exception) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return f"{type(exc).__name__}: {lines[0] if lines else 'no reason given'}"
