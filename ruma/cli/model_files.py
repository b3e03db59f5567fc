"""`ruma models`: the language models on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruma.cli.options import HomeOption, JsonOption
from ruma.cli.output import note, print_json, print_table, showing_steps, size
from ruma.cli.parts import Parts

if TYPE_CHECKING:
    from ruma.models.catalogue import Model

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]


def list_models(ctx: typer.Context, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List the language models, and what was measured of each."""
    from ruma.models import catalogue

    with Parts(ctx, home=home) as parts:
        models = catalogue.list_models(parts.settings)
        default = catalogue.default_model(parts.settings)
        in_use = default.name if default else ""
        if as_json:
            print_json([_data(model, in_use) for model in models])
        elif models:
            print_table(
                ["model", "in use", "size", "licence", "from", "tokens/s", "grounding", "may write"],
                [_row(model, in_use) for model in models],
            )
        else:
            note("There is no language model. Agents quote without one. Add one: ruma models add FILE.gguf")


def add(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A model in GGUF format.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call it.", show_default="the file's name")
    ] = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Its licence, for the list.")] = "unknown",
    trust_model: Annotated[
        bool, typer.Option("--trust-model", help="Load a file whose checksum Ruma does not know.")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Add a language model from a GGUF file.

    Checks it, copies it, and measures its speed and how far it keeps to its evidence.
    """
    from ruma.models import catalogue

    with Parts(ctx, home=home) as parts:
        added = None
        with showing_steps("Adding:") as show:
            for step in catalogue.add_model(parts.settings, file, name=name, licence=licence, trust=trust_model):
                if isinstance(step, str):
                    show(step)
                else:
                    added = step
        assert added is not None, "add_model ends with the model"
        if as_json:
            print_json(_data(added, ""))
        else:
            note(f"Added {added.name}. Use it: ruma models use {added.name}")


def use(ctx: typer.Context, name: NameArgument, home: HomeOption = None) -> None:
    """Let agents that name no model of their own use this one."""
    from ruma.config import write_setting
    from ruma.models.catalogue import find_model

    with Parts(ctx, home=home) as parts:
        model = find_model(parts.settings, name)
        write_setting(parts.settings.home, "model", model.name)
        note(f"Agents that name no model use {model.name} from now on.")
        if not model.is_grounded:
            note("It has not passed the grounding check, so agents in mode auto quote instead of writing with it.")


def remove(ctx: typer.Context, name: NameArgument, home: HomeOption = None) -> None:
    """Remove a language model that was added."""
    from ruma.config import write_setting
    from ruma.models.catalogue import remove_model

    with Parts(ctx, home=home) as parts:
        remove_model(parts.settings, name)
        note(f"Removed the model {name}. Agents in mode auto that name it quote from now on; restart a running server.")
        if parts.settings.model == name:
            write_setting(parts.settings.home, "model", "")
            note("Agents that name no model use the first that `ruma models list` shows.")


def _row(model: "Model", in_use: str) -> list[object]:
    return [
        model.name,
        "yes" if model.name == in_use else "",
        size(model.size_bytes),
        model.licence,
        "package" if model.origin == "installed package" else model.origin,
        "-" if model.tokens_per_second is None else f"{model.tokens_per_second:.0f}",
        "-" if model.grounding is None else f"{model.grounding:.0%}",
        model.is_grounded,
    ]


def _data(model: "Model", in_use: str) -> dict[str, Any]:
    return {
        "name": model.name,
        "in_use": model.name == in_use,
        "file": model.file,
        "sha256": model.sha256,
        "licence": model.licence,
        "size_bytes": model.size_bytes,
        "origin": model.origin,
        "tokens_per_second": model.tokens_per_second,
        "grounding": model.grounding,
        "may_write": model.is_grounded,
    }
