import fcntl
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ruma.config import Settings
from ruma.errors import InputError, ModelError
from ruma.models import compiled
from ruma.models.compile_process import fastest_near_enough
from ruma.models.compiled import BLOB, Measurement, checksum, find_compiled
from ruma.models.embedder import Passage, compile_embedder, engine_report, is_compiled, open_embedder
from ruma.models.model_folder import ModelFolder, find_model_folder, read_model_folder
from ruma.models.torch_embedder import SentenceTransformerEmbedder
from tests.small_model import write_small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small model that pools by its first token and wants prompts."""
    return write_small_model(
        tmp_path_factory.mktemp("models") / "small", pooling="cls", query="question: ", document="text: "
    )


@pytest.fixture(scope="module")
def steps() -> list[str]:
    """Return the list in which the steps of `small` are."""
    return []


@pytest.fixture(scope="module")
def small(model: Path, steps: list[str], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return the settings of a home in which the small model was compiled, after a compilation that was killed."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), embedder=str(model))
    (embedders(settings) / ".staging-killed").mkdir(parents=True)
    steps += compile_embedder(settings)
    return settings


@pytest.fixture
def copied(small: Settings, tmp_path: Path) -> Settings:
    """Return the settings of a copy of that home, to do harm in."""
    shutil.copytree(small.home, tmp_path / "copy")
    return replace(small, home=tmp_path / "copy")


def embedders(settings: Settings) -> Path:
    """Return the folder of compiled embedders."""
    return settings.models_folder / "embedders"


def folder_of(settings: Settings) -> Path:
    """Return the folder of the compiled model."""
    (folder,) = embedders(settings).glob("small@*")
    return folder


def test_compiling_says_what_it_does_and_leaves_one_folder(small: Settings, steps: list[str]) -> None:
    """Each engine is measured and named in a step, and nothing but the result lies in the home."""
    for word in ("int8", "bf16", "fp32", "sentence-transformers", "cosine"):
        assert any(word in step for step in steps)
    assert steps[-1].startswith("Ready: openvino")
    assert is_compiled(small)
    assert {path.name for path in embedders(small).iterdir()} == {".lock", folder_of(small).name}
    assert {path.name for path in folder_of(small).iterdir()} == {"manifest.json", "model.blob", "tokenizer.json"}


def test_manifest_and_report_carry_what_was_measured(small: Settings) -> None:
    """The fastest of the engines that are near enough was chosen, and `ruma doctor` can show why."""
    manifest = json.loads((folder_of(small) / "manifest.json").read_text())
    measured = {one["engine"]: one for one in manifest["measurements"]}
    fit = {name: one for name, one in measured.items() if one["cosine_mean"] >= 0.99 and "openvino" in name}

    assert manifest["engine"] == max(fit, key=lambda name: fit[name]["texts_per_second"])
    assert set(measured) == {"sentence-transformers", "openvino int8", "openvino bf16", "openvino fp32"}
    assert measured["openvino fp32"]["cosine_min"] > 0.9999
    assert len(manifest["weights_sha256"]) == 64
    report = "\n".join(engine_report(small))
    assert manifest["engine"] in report
    assert all(name in report for name in measured)


@pytest.mark.nightly
def test_model_that_pools_by_its_first_token_agrees_with_the_reference(small: Settings) -> None:
    """Prompts are put before the texts, and sentences get a pass of their own where no mean gives them."""
    passages = [Passage("Hours", "We open at 8. Bread is baked daily.", [(0, 13), (14, 35), (3, 3)])]
    reference = SentenceTransformerEmbedder(find_model_folder(small), id="reference", threads=2)
    embedder = open_embedder(small)

    (ours,), (theirs,) = embedder.embed_passages(passages), reference.embed_passages(passages)

    assert embedder.max_tokens == reference.max_tokens == 64 - embedder.count_tokens("text: ")
    assert ours.passage @ theirs.passage > 0.995
    assert ours.prefix @ theirs.prefix > 0.995
    assert np.diag(ours.sentences @ theirs.sentences.T) == pytest.approx([1, 1, 0], abs=0.005)
    assert embedder.embed_question("When?") @ reference.embed_question("When?") > 0.995
    expected = reference._encoder.encode(["question: When?"], normalize_embeddings=True, prompt="")[0]
    assert reference.embed_question("When?") @ expected > 0.99999


def test_compiling_again_does_nothing(small: Settings) -> None:
    """What is compiled stays as it is."""
    before = (folder_of(small) / "manifest.json").stat().st_mtime_ns

    assert list(compile_embedder(small)) == []
    assert (folder_of(small) / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["model.blob", "tokenizer.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["cut", "altered", "missing"])
def test_damaged_files_are_not_used(copied: Settings, name: str, harm: str) -> None:
    """A compiled embedder that is not whole is compiled again, never opened."""
    file = folder_of(copied) / name
    content = file.read_bytes()
    if harm == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-100] if harm == "cut" else content.replace(b"a", b"b", 1))

    assert not is_compiled(copied)


@pytest.mark.parametrize("changed", ["processor", "openvino"])
def test_another_machine_compiles_for_itself(copied: Settings, changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that was carried to another processor, or met another openvino, is measured anew."""
    machine = compiled.describe_machine() | {changed: "another"}
    assert is_compiled(copied)

    monkeypatch.setattr(compiled, "describe_machine", lambda: machine)

    assert not is_compiled(copied)


def test_changed_model_is_compiled_again(small: Settings, model: Path, tmp_path: Path) -> None:
    """New weights or another setting of the model in the same folder are noticed."""
    other = replace(small, embedder=str(shutil.copytree(model, tmp_path / "small")))
    assert is_compiled(other)
    config = tmp_path / "small" / "sentence_bert_config.json"

    config.write_text(config.read_text().replace("64", "32"))

    assert not is_compiled(other)


def test_stopped_compilation_leaves_nothing(model: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle ends the process that compiles and leaves neither files nor a lock."""
    settings = Settings(home=tmp_path / "home", embedder=str(model))
    running = compile_embedder(settings)
    while "Loading" not in next(running):
        pass
    (staging,) = embedders(settings).glob(".staging-*")
    assert processes_of(staging)

    start = time.perf_counter()
    running.close()  # type: ignore[attr-defined]

    assert time.perf_counter() - start < 2
    assert [path.name for path in embedders(settings).iterdir()] == [".lock"]
    assert not processes_of(staging)
    assert not is_compiled(settings)


def processes_of(staging: Path) -> list[str]:
    """Return the ids of the processes that were started to compile into this folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if staging.name.encode() in file.read_bytes():
                found.append(file.parent.name)
        except OSError:
            continue
    return found


def test_second_process_waits_and_uses_the_first_ones_work(small: Settings, tmp_path: Path) -> None:
    """Two at once: the second says that it waits, and compiles nothing itself."""
    settings = replace(small, home=tmp_path / "home")
    embedders(settings).mkdir(parents=True)
    steps: list[str] = []
    has_begun = threading.Event()

    def follow() -> None:
        for step in compile_embedder(settings):
            steps.append(step)
            has_begun.set()

    second = threading.Thread(target=follow)
    with (embedders(settings) / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second.start()
        assert has_begun.wait(20)
        shutil.copytree(folder_of(small), embedders(settings) / folder_of(small).name)
    second.join(20)

    assert steps == ["Another process compiles the embedding model; waiting for it."]
    assert is_compiled(settings)


def test_home_that_cannot_be_written_is_said_plainly(model: Path, tmp_path: Path) -> None:
    """A home on a read-only or full disk is an error that names the folder, not a traceback."""
    (tmp_path / "home").write_text("a file where the home should be")
    settings = Settings(home=tmp_path / "home", embedder=str(model))

    with pytest.raises(ModelError, match="home/models/embedders"):
        list(compile_embedder(settings))


def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """When the disk is full at the end of compiling, it says so, and the embedder counts as not compiled."""
    model = write_small_model(tmp_path / "small", dense=True)
    script = "import sys; from tests.test_compiling import compile_on_full_disk as f; f(*sys.argv[1:])"
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", script, str(tmp_path), str(model)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"this system lets no test mount a small disk: {done.stderr.strip()}")

    assert "No space left" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "['.lock'] False"


def compile_on_full_disk(folder: str, model: str) -> None:
    """Compile on a disk without room for more and print what became of it."""
    home = Path(folder) / "disk"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(home)], check=True)
    (home / "large").write_bytes(bytes(8192))
    settings = Settings(home=home, embedder=model)
    try:
        list(compile_embedder(settings))
    except ModelError as exc:
        print(exc)
    print([path.name for path in embedders(settings).iterdir()], is_compiled(settings))


def test_altered_built_in_model_is_refused(tmp_path: Path, settings: Settings) -> None:
    """The built-in model is used only with the weights that were published."""
    model = replace(read_model_folder(write_small_model(tmp_path / "small"), "all-MiniLM-L6-v2"), is_default=True)

    with pytest.raises(ModelError, match="damaged or was altered"):
        model.checksum()
    assert len(find_model_folder(settings).checksum()) == 64


@pytest.mark.nightly
def test_broken_weights_are_a_model_error(tmp_path: Path) -> None:
    """A model whose weights no library reads is an error with its name, and nothing is left of it."""
    folder = write_small_model(tmp_path / "small")
    (folder / "model.safetensors").write_bytes(b"not weights")
    settings = Settings(home=tmp_path / "home", embedder=str(folder))

    with pytest.raises(ModelError, match="small cannot be compiled: sentence-transformers cannot run it"):
        list(compile_embedder(settings))
    assert [path.name for path in embedders(settings).iterdir()] == [".lock"]


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    """Weights that would have to be unpickled are never read."""
    folder = write_small_model(tmp_path / "small")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(InputError, match="safetensors"):
        read_model_folder(folder, "small")


def write_folders(folder: Path) -> Iterator[tuple[ModelFolder, str]]:
    """Yield models with what OpenVINO cannot do, and the word that says so."""
    yield read_model_folder(write_small_model(folder / "dense", dense=True), "dense"), "Dense"
    yield read_model_folder(write_small_model(folder / "max", pooling="max"), "max"), "pools"
    lower = write_small_model(folder / "lower")
    (lower / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": true}')
    yield read_model_folder(lower, "lower"), "small letters"
    hidden = write_small_model(folder / "hidden", document="text: ")
    (hidden / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean", "include_prompt": false}')
    yield read_model_folder(hidden, "hidden"), "prompt"
    bare = write_small_model(folder / "bare")
    (bare / "tokenizer.json").unlink()
    yield read_model_folder(bare, "bare"), "tokenizer.json"


def test_obstacles_are_named(tmp_path: Path) -> None:
    """Whatever only sentence-transformers can do is noticed before anything is compiled, and named."""
    for model, word in write_folders(tmp_path):
        assert word in model.obstacle
    assert not find_compiled(Settings(home=tmp_path), model)


def test_fast_but_inexact_engine_is_not_chosen() -> None:
    """Only engines within cosine 0.99 of the reference may win, however fast others are, and perhaps none."""
    reference = Measurement("sentence-transformers", 900, 1, 1)
    inexact = Measurement("openvino int8", 100, 0.98, 0.9)
    slow, slower = Measurement("openvino bf16", 80, 0.999, 0.99), Measurement("openvino fp32", 40, 1, 1)

    assert fastest_near_enough([reference, inexact, slow, slower]) == "openvino bf16"
    assert fastest_near_enough([reference, inexact]) == ""


def test_content_that_openvino_refuses_is_a_model_error(copied: Settings) -> None:
    """A compiled model that openvino does not understand is an error with a way out, not a crash."""
    folder, manifest = find_compiled(copied, find_model_folder(copied)) or pytest.fail("not compiled")
    (folder / BLOB).write_bytes(b"of another version" * 1000)
    replace(manifest, files={**manifest.files, BLOB: checksum(folder / BLOB)}).write(folder)

    with pytest.raises(ModelError, match=r"model\.blob cannot be opened") as caught:
        open_embedder(copied)
    assert "Remove its folder" in caught.value.hint


def test_limits_come_from_the_files_that_state_them(tmp_path: Path) -> None:
    """Without a stated length the tokenizer's and the positions' limits count, and prompts are found by use."""
    folder = write_small_model(tmp_path / "small", passage="p: ", query="q: ")
    (folder / "sentence_bert_config.json").unlink()

    model = read_model_folder(folder, "small")

    assert (model.max_tokens, model.question_prompt, model.passage_prompt) == (512, "q: ", "p: ")
    assert (model.pooling, model.obstacle, model.pad_id) == ("mean", "", 0)
