"""Runs an embedding model with sentence-transformers: slower, loads torch, and can do every model."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ruma.errors import ModelError
from ruma.models.model_folder import ModelFolder
from ruma.models.silence import silence_libraries
from ruma.models.tokenizing import TokenizingEmbedder, load_tokenizer, parts_of_pass, texts_of_parts
from ruma.models.vectors import Passage, PassageVectors, Vector, join_passage, unit

_BATCH = 16


class SentenceTransformerEmbedder(TokenizingEmbedder):
    """The embedder for what OpenVINO cannot run."""

    engine = "sentence-transformers"

    def __init__(self, model: ModelFolder, *, id: str, threads: int) -> None:
        """Load the model; takes seconds.

        Raises:
            ModelError: sentence-transformers cannot load it, or its tokenizer does not say where tokens stand.
        """
        silence_libraries()
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        try:
            self._encoder = SentenceTransformer(str(model.path), device="cpu", local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as exc:
            raise ModelError(f"The embedding model in {model.path} cannot be loaded: {exc}.") from exc
        limit = int(min(self._encoder.max_seq_length or model.max_tokens, model.max_tokens))
        super().__init__(model, _tokenizer_of(self._encoder, model), limit)
        self.id = id
        self.dimension = int(self._encoder.get_embedding_dimension() or 0)
        self._one_at_a_time = threading.Lock()

    def embed_question(self, text: str) -> Vector:
        """Return the vector of a question; a long one is read in windows, which are averaged."""
        prompt = self._model.question_prompt
        windows = self._windows(text, prompt)
        with self._one_at_a_time:
            vectors = self._encoder.encode_query(windows, prompt=prompt, batch_size=_BATCH, show_progress_bar=False)
        return unit(unit(np.asarray(vectors, np.float32)).mean(axis=0))

    def embed_passages(self, passages: Sequence[Passage]) -> list[PassageVectors]:
        """Return the vectors of any number of passages, in their order."""
        texts = [join_passage(one.prefix, one.text)[0] for one in passages]
        encodings = self._encode(texts, self._model.passage_prompt)
        found = []
        for one, encoding, result in zip(passages, encodings, self._run(texts), strict=True):
            outputs = self._token_outputs(encoding, result)
            if outputs is None:
                parts = self._parts_apart(one)
            else:
                parts = parts_of_pass(one, self._model.passage_prompt, encoding, outputs)
            found.append(PassageVectors(unit(_array(result["sentence_embedding"])), parts[0], parts[1:]))
        return found

    def _run(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        with self._one_at_a_time:
            results: Any = self._encoder.encode_document(
                list(texts),
                prompt=self._model.passage_prompt,
                output_value=None,
                batch_size=_BATCH,
                show_progress_bar=False,
            )
        return list(results)

    def _token_outputs(self, encoding: Any, result: dict[str, Any]) -> Vector | None:
        """Return one row a token, or None where the vectors are no mean of such rows."""
        if self._model.pooling != "mean" or "token_embeddings" not in result:
            return None
        outputs = _array(result["token_embeddings"])
        outputs = outputs[_array(result["attention_mask"]).astype(bool)]
        return outputs if outputs.shape == (len(encoding), self.dimension) else None

    def _parts_apart(self, passage: Passage) -> Vector:
        texts = texts_of_parts(passage)
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        places = [place for place, text in enumerate(texts) if text.strip()]
        for place, result in zip(places, self._run([texts[place] for place in places]), strict=True):
            vectors[place] = unit(_array(result["sentence_embedding"]))
        return vectors


def _tokenizer_of(encoder: Any, model: ModelFolder) -> Any:
    tokenizer = getattr(encoder.tokenizer, "backend_tokenizer", encoder.tokenizer)
    if not hasattr(tokenizer, "to_str"):
        raise ModelError(f"The tokenizer of the embedding model in {model.path} does not say where tokens stand.")
    return load_tokenizer(tokenizer.to_str())


def _array(tensor: Any) -> Vector:
    array: Vector = tensor.float().cpu().numpy() if hasattr(tensor, "cpu") else np.asarray(tensor, np.float32)
    return array
