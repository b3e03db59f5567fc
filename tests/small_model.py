"""Writes a sentence-transformers model of random weights, small enough to compile in a test."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from ruma.config import Settings
from ruma.models.model_folder import find_model_folder

_SIZES = {384: 32, 1536: 64}
_LAYERS = 2


def write_small_model(folder: Path, *, pooling: str = "mean", dense: bool = False, **prompts: str) -> Path:
    """Write a model of the built-in one's kind, with 32 dimensions (16 after a dense module), and return it."""
    original = find_model_folder(Settings(home=folder)).path
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(original / name, folder)
    config = json.loads((original / "config.json").read_text())
    config |= {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": _LAYERS}
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Dense", "Dense")] if dense else [])]
    kind = "sentence_transformers.models."
    _write(folder / "config.json", config)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False})
    _write(folder / "config_sentence_transformers.json", {"prompts": prompts})
    _write(
        folder / "modules.json",
        [{"idx": i, "name": str(i), "path": path, "type": kind + name} for i, (path, name) in enumerate(modules)],
    )
    _write(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": 32,
            "pooling_mode_cls_token": pooling == "cls",
            "pooling_mode_mean_tokens": pooling == "mean",
        },
    )
    chance = np.random.default_rng(1)
    save_file(
        {
            name: _random(chance, name, [_SIZES.get(int(size), int(size)) for size in array.shape])
            for name, array in load_file(original / "model.safetensors").items()
            if not name.startswith("encoder.layer.") or int(name.split(".")[2]) < _LAYERS
        },
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    if dense:
        activation = "torch.nn.modules.activation.Tanh"
        settings = {"in_features": 32, "out_features": 16, "bias": True, "activation_function": activation}
        _write(folder / "2_Dense" / "config.json", settings)
        arrays = {"linear.weight": (16, 32), "linear.bias": (16,)}
        save_file(
            {name: _random(chance, name, list(shape)) for name, shape in arrays.items()},
            folder / "2_Dense" / "model.safetensors",
            metadata={"format": "pt"},
        )
    return folder


def _random(chance: np.random.Generator, name: str, shape: list[int]) -> Any:
    if name.endswith("position_ids"):
        return np.arange(shape[-1], dtype=np.int64).reshape(shape)
    values = chance.standard_normal(shape).astype(np.float32) * 0.2
    return np.ones(shape, np.float32) if name.endswith("LayerNorm.weight") else values


def _write(file: Path, content: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))
