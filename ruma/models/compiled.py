"""What compiling leaves in the home, and whether it may still be used."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ruma.config import Settings
from ruma.models.model_folder import ModelFolder

MANIFEST, BLOB, TOKENIZER = "manifest.json", "model.blob", "tokenizer.json"
FORMAT = 1
SENTENCE_TRANSFORMERS = "sentence-transformers"

_UNITS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm")


@dataclass(frozen=True)
class Measurement:
    """How one engine did on this processor."""

    engine: str
    texts_per_second: float
    cosine_mean: float
    """Of its vectors to those of sentence-transformers, which are the reference."""

    cosine_min: float
    problem: str = ""
    """Why it could not be measured; empty where it could."""


@dataclass(frozen=True)
class Manifest:
    """What is known of a compiled embedder; stands beside it as JSON."""

    id: str
    name: str
    weights_sha256: str
    engine: str
    reason: str
    """Why this engine, as a sentence."""

    state: Mapping[str, Any]
    """What of the model folder it was made from: `ModelFolder.state`."""

    machine: Mapping[str, str]
    """What it was made for: `describe_machine`."""

    measurements: Sequence[Measurement]
    files: Mapping[str, str]
    """The sha256 of each file."""

    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write the manifest into the folder."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def embedders_folder(settings: Settings) -> Path:
    """Return the folder that holds one folder a compiled embedder."""
    return settings.models_folder.absolute() / "embedders"


def find_compiled(settings: Settings, model: ModelFolder) -> tuple[Path, Manifest] | None:
    """Return the compiled form of a model and its folder, or None where it must be compiled (again).

    It is out of date when the model, the openvino version or the processor is another one: both decide which
    engine is fast and exact enough, and compiling takes half a minute.
    """
    state, machine = model.state(), describe_machine()
    for folder in sorted(embedders_folder(settings).glob(f"{model.name}@*")):
        manifest = read_manifest(folder)
        if (
            manifest is not None
            and (manifest.id, manifest.state, manifest.machine) == (folder.name, state, machine)
            and all(is_unaltered(folder / name, digest) for name, digest in manifest.files.items())
        ):
            return folder, manifest
    return None


def read_manifest(folder: Path) -> Manifest | None:
    """Return the folder's manifest, or None where there is none that this version understands."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            return None
        content["measurements"] = [Measurement(**one) for one in content["measurements"]]
        return Manifest(**content)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_unaltered(file: Path, digest: str) -> bool:
    """Say whether a file has this sha256; a missing one has not."""
    return checksum(file) == digest if file.is_file() else False


def checksum(file: Path) -> str:
    """Return a file's sha256."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe_machine() -> dict[str, str]:
    """Return the processor's name, those of its units that decide an engine's speed, and openvino's version."""
    name, flags = platform.processor() or platform.machine(), ""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in {"flags", "Features"}:
                flags = value
    except OSError:
        pass
    try:
        version = importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    units = " ".join(unit for unit in _UNITS if unit in flags.split())
    return {"processor": name, "units": units, "openvino": version}
