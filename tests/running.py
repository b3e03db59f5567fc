"""Runs `ruma` in this process, with a fake embedder and no language model unless one is given."""

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import typer.testing
from typer.testing import CliRunner, Result

from ruma.cli.main import app
from ruma.cli.parts import Openers
from tests.fakes import HashEmbedder

if TYPE_CHECKING:
    from ruma.models.generator import Generator

# Making the commands out of their functions takes longer than most of them do, and one app always gives the same.
typer.testing._get_command = cache(typer.testing._get_command)


def run(
    *args: object,
    typed: str | bytes | None = None,
    generator: "Generator | None" = None,
) -> Result:
    """Return what a command printed and how it ended; a crash is raised, not reported."""
    openers = Openers(embedder=lambda _: HashEmbedder())
    if generator is not None:
        openers = replace(openers, generator=lambda _settings, _name: generator)
    result = CliRunner().invoke(app, [str(arg) for arg in args], input=typed, obj=openers)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def read_json(*args: object) -> Any:
    """Return the data that a command prints with `--json`."""
    result = run(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
