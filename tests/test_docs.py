"""The documentation says what is there, all of it, and nothing else."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from litestar.routes import HTTPRoute
from typer.testing import CliRunner

from ruma import errors
from ruma.cli.main import app
from ruma.cli.parts import Openers
from ruma.config import Settings
from ruma.models.embedder import Embedder
from ruma.server.api.routes import tenant_api
from ruma.server.failures import STATUS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
GENERATE = [sys.executable, "-m", "typer", "ruma.cli.main", "utils", "docs", "--name", "ruma"]
FORBIDDEN = re.compile(r"\b(workspace|chat ?bot|bot|knowledge base|end user|LLM|admin)s?\b", re.IGNORECASE)


def shell_lines(page: Path) -> Iterator[str]:
    """Yield the lines of a page's shell examples, continued ones joined, comments and prompts left out."""
    for block in re.findall(
        r"^```(?:sh|console)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"^\$ ", "", re.sub(r"\s+#.*$", "", line))


def calls(line: str) -> Iterator[list[str]]:
    """Yield the words of each call of ruma in a line."""
    for part in re.split(r"[|;()]|&&|\|\|", line):
        try:
            words = shlex.split(part.replace("<", " <").replace(">", " >"))
        except ValueError:
            continue
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words.pop(0)
        names = [at for at, word in enumerate(words) if word.endswith("/bin/ruma") or (at, word) == (0, "ruma")]
        if names:
            yield words[names[0] + 1 :]


def examples() -> list[Any]:
    """Return every call of ruma in the documentation, with its page."""
    pages = [page for page in PAGES if page.name != "cli.md"]  # which has no examples, but usages
    found = [(page, words) for page in pages for line in shell_lines(page) for words in calls(line)]
    return [pytest.param(words, id=f"{page.stem}: {' '.join(words)}") for page, words in found]


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that words call, and what is left of them."""
    command: Any = typer.main.get_command(app)
    if words[:1] == ["--offline"]:
        words = words[1:]
    while words and getattr(command, "commands", None) and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("words", examples())
def test_every_example_is_a_command_that_exists(words: list[str]) -> None:
    """Commands and options in the documentation's examples are those of the program."""
    command, rest = resolve(words)

    is_whole = not getattr(command, "commands", None) or getattr(command, "invoke_without_command", False)
    assert is_whole or {"--help", "--version"} & set(rest), "the command is not finished"
    known = {"--help"}.union(*(param.opts for param in command.params))
    for word in rest:
        if word.startswith("-") and word != "-":
            assert word.partition("=")[0] in known, f"{word} is no option of {command.name}"


def test_the_command_reference_is_the_generated_one() -> None:
    """docs/reference/cli.md says what the program says of itself."""
    made = subprocess.run(GENERATE, capture_output=True, text=True, check=True, cwd=ROOT).stdout

    written = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    assert written.strip() == made.strip(), f"write it anew: {' '.join(GENERATE[1:])} --output docs/reference/cli.md"


@pytest.mark.parametrize("setting", [field for field in fields(Settings)], ids=lambda field: field.name)
def test_every_setting_is_documented(setting: Any) -> None:
    """docs/reference/settings.md has each setting with its variable and its default."""
    text = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")

    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{setting.name}` |")]
    assert f"`RUMA_{setting.name.upper()}`" in row
    if setting.name != "home":
        default = f"`{setting.default}`" if setting.default != "" else "empty"
        assert row.split(" | ")[2] == default


def test_no_setting_is_documented_that_is_not_there() -> None:
    """Every row of the table of settings names one."""
    text = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    table = text.split("Variables that are not settings")[0]

    names = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(names) == sorted(field.name for field in fields(Settings))


def problems(kind: type[errors.RumaError]) -> Iterator[type[errors.RumaError]]:
    """Name an error and all that are made from it."""
    yield kind
    for child in kind.__subclasses__():
        yield from problems(child)


def test_every_route_of_the_api_is_documented() -> None:
    """docs/reference/api.md names each address with each method that it takes, in one row or one sentence."""
    page = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    named = set[tuple[str, str]]()
    for line in page.splitlines():
        for place in re.findall(r"/t/NAME(/api/[\w/.-]+)", line):
            plain = re.sub(r"/(?:ID|NUMBER)\b", "/{}", place)
            named |= {(method, plain) for method in re.findall(r"\b(?:GET|POST|PUT|PATCH|DELETE)\b", line)}
    there = {
        (method, re.sub(r"{[^}]*}", "{}", route.path).removeprefix("/t/{}"))
        for route in tenant_api().routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
        if method not in ("OPTIONS", "HEAD")
    }
    assert not there - named


def test_every_problem_is_documented() -> None:
    """docs/reference/exit-codes.md has each error class with the code and the status that the API gives it."""
    text = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")

    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "Error |" in line]
    documented = {row[0]: (int(row[3]), row[2]) for row in rows}
    assert documented == {kind.__name__: STATUS[kind] for kind in problems(errors.RumaError)}
    for code in (0, 1, 2, 130):
        assert f"| {code} |" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the project leads to one that is there."""
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_every_line_of_the_policy_names_tests_that_are_there() -> None:
    """Each line of a privacy policy has files that try it, and they are where the page says."""
    lines = (ROOT / "docs" / "explanation" / "policy-line-by-line.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ")][2:]
    named = [re.findall(r"`([a-z_/]+\.py)`", row) for row in rows]

    assert len(rows) >= 18
    assert all(named)
    assert [name for names in named for name in names if not (ROOT / "tests" / name).is_file()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "words.md"], ids=lambda page: page.stem)
def test_one_word_for_each_thing(page: Path) -> None:
    """The documentation uses no word in place of the product's own."""
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)

    assert FORBIDDEN.findall(text) == []


def test_the_readme_sets_everything_up_in_two_commands() -> None:
    """The README has the command that installs and runs the demo, and the one that installs and runs the tests."""
    lines = list(shell_lines(ROOT / "README.md"))

    assert "python3 -m venv .venv && .venv/bin/pip install '.[demo]' && .venv/bin/ruma demo" in lines
    assert "tests/run" in lines
    assert (ROOT / "tests" / "run").stat().st_mode & 0o111
    assert "exec tests/run" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_transcript_in_the_readme_is_what_ruma_says(embedder: Embedder) -> None:
    """The README's questions, asked of the example documents, get the README's answers; times and places may differ."""
    transcript = (ROOT / "README.md").read_text(encoding="utf-8").split("```console\n")[1].split("```")[0]
    openers = Openers(embedder=lambda _: embedder)
    runner = CliRunner()
    runner.invoke(app, ["ingest", str(ROOT / "examples" / "bakery")], obj=openers)

    for step in transcript.split("$ ruma ")[2:]:
        command, _, shown = step.partition("\n")
        result = runner.invoke(app, shlex.split(command), obj=openers)

        answer = re.sub(r" *(search|whole answer) .*\n*$", "", shown.strip())
        assert result.stdout.split() == answer.split()


def test_the_changelog_knows_the_version() -> None:
    """The changelog has what is not released yet on top."""
    assert "## [Unreleased]" in (DOCS / "changelog.md").read_text(encoding="utf-8").splitlines()
