import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ruma import __version__
from ruma.cli.main import app
from ruma.config import load_settings
from ruma.errors import InputError
from tests.running import run

RUMA = [sys.executable, "-m", "ruma"]
PLAIN = """
import typer
app = typer.Typer()

@app.command()
def main(name: str = typer.Option("", help="A name.")) -> None:
    pass

app(["--help"])
"""


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Name every command and group, with the words that lead to it."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_with_an_example(path: tuple[str, ...]) -> None:
    """Each command says what it does in a sentence that fits the list, and gives one example that names it."""
    command = COMMANDS[path]

    result = run(*path, "--help")

    assert result.exit_code == 0
    assert result.stderr == ""
    if path:
        assert len(command.short_help) <= 66
        assert command.short_help.endswith(".")
    if path and not getattr(command, "commands", {}):
        assert f"Example: ruma {' '.join(path)}" in " ".join(result.stdout.split())


def test_the_version_is_printed() -> None:
    """`ruma --version` prints the version of the package."""
    assert run("--version").stdout == f"ruma {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["ask"], ["ask", "--colour", "x"], ["tenant", "shwo"], ["search", "x", "--limit", "0"], []],
    ids=" ".join,
)
def test_a_command_line_that_cannot_be_understood_ends_with_2(words: list[str]) -> None:
    """Unknown commands and options, missing words and numbers out of range are usage errors."""
    result = run(*words)

    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_problem_is_one_line_with_what_to_do() -> None:
    """A problem that a person can act on ends with 1, one line that names it and the hint."""
    result = run("tenant", "show", "nobody")

    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0] == "Error: There is no tenant nobody."
    assert "ruma tenant create nobody" in lines[1]


def test_what_is_no_problem_of_a_person_crashes_loudly() -> None:
    """Any other exception is a bug, and is not turned into a sentence."""
    bare = typer.Typer(cls=type(typer.main.get_command(app)), pretty_exceptions_enable=False)

    @bare.command()
    def crash() -> None:
        raise ZeroDivisionError

    @bare.command()
    def stumble() -> None:
        raise InputError("The file \x1b[31m cannot be read.")

    assert isinstance(CliRunner().invoke(bare, ["crash"]).exception, ZeroDivisionError)
    stumbled = CliRunner().invoke(bare, ["stumble"])
    assert stumbled.exit_code == 1
    assert stumbled.stderr == "Error: The file [31m cannot be read.\n"


def processor_seconds(command: list[str]) -> float:
    """Return how much of the processor a command took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_quick() -> None:
    """`ruma --help` takes less than twice the processor time of a program of one command, each the best of five."""
    ours, plain = [], []
    for _ in range(5):
        ours.append(processor_seconds([*RUMA, "--help"]))
        plain.append(processor_seconds([sys.executable, "-c", PLAIN]))

    assert min(ours) < 2 * min(plain), (ours, plain)


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    """`ruma … | head -1` prints nothing about the pipe that was closed."""
    command = subprocess.Popen([*RUMA, "config", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert command.stdout is not None
    assert command.stderr is not None
    command.stdout.close()

    assert command.stderr.read() == b""
    assert command.wait(20) == 1
    command.stderr.close()


def test_the_home_can_be_named(tmp_path: Path) -> None:
    """`--home` moves everything, whatever RUMA_HOME says."""
    result = run("tenant", "create", "acme", "--home", tmp_path / "other")

    assert result.exit_code == 0
    assert (tmp_path / "other" / "tenants" / "acme").is_dir()
    assert not load_settings().home.exists()


def test_config_shows_values_origins_and_paths_but_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, where each is from, and the paths; of a command that may hold a secret only that it is set."""
    home = load_settings().home
    home.mkdir()
    (home / "ruma.toml").write_text("threads = 2\nkey_command = 'echo hunter2'\n")
    monkeypatch.setenv("RUMA_PORT", "9000")

    result = run("config", "--json")
    table = run("config")

    settings = {one["name"]: one for one in json.loads(result.stdout)["settings"]}
    assert (settings["threads"]["value"], settings["threads"]["from"]) == ("2", str(home / "ruma.toml"))
    assert (settings["port"]["value"], settings["port"]["from"]) == ("9000", "RUMA_PORT")
    assert settings["host"]["from"] == "default"
    assert settings["key_command"]["value"] == "(set)"
    assert "hunter2" not in result.output + table.output
    assert str(home / "tenants") in table.stdout


def test_a_broken_settings_file_is_named(tmp_path: Path) -> None:
    """A file that is not TOML, or has an unknown setting, is named by every command that needs settings."""
    home = load_settings().home
    home.mkdir()
    (home / "ruma.toml").write_text("colour = 'red'\n")

    result = run("tenant", "list")

    assert result.exit_code == 1
    assert "colour" in result.stderr
    assert "ruma.toml" in result.stderr


def complete(line: str) -> list[str]:
    """Return what bash is offered for a line."""
    words = line.split(" ")
    environ = {"_RUMA_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    result = CliRunner().invoke(app, [], prog_name="ruma", env=environ)
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.stderr == ""
    return result.stdout.split()


def test_the_shell_completes_commands_options_and_tenants() -> None:
    """Completion knows the commands, their options and the tenants' names, and is silent about a broken home."""
    run("tenant", "create", "acme")
    run("tenant", "create", "apple")

    assert complete("ruma ten") == ["tenant"]
    assert "--remove-missing" in complete("ruma ingest --rem")
    assert complete("ruma ask --tenant a") == ["acme", "apple"]
    assert complete("ruma tenant delete ac") == ["acme"]

    (load_settings().home / "ruma.toml").write_text("broken")
    assert complete("ruma ask --tenant a") == []


def test_python_minus_m_is_the_same_command() -> None:
    """`python -m ruma` is called `ruma` in its own help."""
    found = subprocess.run([*RUMA, "tenant", "--help"], capture_output=True, text=True, check=True)

    assert re.match(r"Usage: ruma tenant ", found.stdout)


def test_output_in_a_poor_terminal_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the terminal knows only ASCII, letters become question marks, and the command goes on."""
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "RUMA_HOME": str(load_settings().home / "café")}

    found = subprocess.run([*RUMA, "config"], capture_output=True, text=True, env=environ, check=False)

    assert found.returncode == 0
    assert "caf?" in found.stdout
