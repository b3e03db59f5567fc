"""The door to embedding: the embedder that the settings name, in the form that is fastest on this machine."""

from collections import deque

from ruma.config import Settings
from ruma.errors import ModelError
from ruma.models.compiled import BLOB, SENTENCE_TRANSFORMERS, TOKENIZER, find_compiled
from ruma.models.compiling import compile_embedder, is_compiled
from ruma.models.model_folder import find_model_folder
from ruma.models.openvino_embedder import OpenVinoEmbedder, open_blob
from ruma.models.torch_embedder import SentenceTransformerEmbedder
from ruma.models.vectors import Embedder, Passage, PassageVectors

__all__ = [
    "Embedder",
    "Passage",
    "PassageVectors",
    "compile_embedder",
    "engine_report",
    "is_compiled",
    "open_embedder",
]


def open_embedder(settings: Settings) -> Embedder:
    """Return the embedder of the settings; compiles it silently first where that was not done.

    Raises:
        InputError: The settings name no embedding model.
        ModelError: The model is damaged, or cannot be compiled.
    """
    model = find_model_folder(settings)
    found = find_compiled(settings, model)
    if found is None:
        deque(compile_embedder(settings), maxlen=0)
        found = find_compiled(settings, model)
    if found is None:
        raise ModelError(f"The compiled embedding model {model.name} is gone.", hint="Try again.")
    folder, manifest = found
    if manifest.engine == SENTENCE_TRANSFORMERS:
        return SentenceTransformerEmbedder(model, id=manifest.id, threads=settings.thread_count)
    precision = manifest.engine.rpartition(" ")[2]
    ready = open_blob(folder / BLOB, precision=precision, threads=settings.thread_count)
    return OpenVinoEmbedder(model, ready, id=manifest.id, engine=manifest.engine, tokenizer=folder / TOKENIZER)


def engine_report(settings: Settings) -> list[str]:
    """Return lines that say which engine runs the embedder, why, and how each did on this processor."""
    model = find_model_folder(settings)
    found = find_compiled(settings, model)
    if found is None:
        return [f"{model.name} is not compiled yet for this processor; the first use does that."]
    folder, manifest = found
    lines = [f"{manifest.id}: {manifest.engine}. {manifest.reason}", f"Kept in {folder}."]
    for one in manifest.measurements:
        lines.append(
            f"{one.engine}: {one.problem or f'{one.texts_per_second:.0f} texts a second'}"
            + ("" if one.problem else f", cosine {one.cosine_mean:.4f} (lowest {one.cosine_min:.4f})")
        )
    return lines
