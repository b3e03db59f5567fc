"""`ruma init` and `ruma config`: the home and its settings."""

from typing import Annotated

import typer

from ruma.cli.options import HomeOption, JsonOption, KeySourceOption
from ruma.cli.output import note, print_json, print_pairs, print_table, print_text
from ruma.cli.parts import FIRST_TENANT, Parts, show_created
from ruma.config import explain_settings

_SECRET = {"key_command"}
"""Settings whose value may hold a secret: that they are set is all that is told."""


def init(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The first tenant's name.", show_default=FIRST_TENANT)
    ] = None,
    key_source: KeySourceOption = None,
    home: HomeOption = None,
) -> None:
    """Make the first tenant and prepare the embedding model.

    Doing it twice is harmless.
    """
    with Parts(ctx, home=home, key_source=key_source) as parts:
        names = parts.home.names()
        if name in names or (names and name is None):
            note(f"There is a tenant already: {', '.join(names)}.")
        else:
            show_created(parts.home.create(name or FIRST_TENANT), parts.settings)
        note(f"The embedding model is ready: {parts.embedder.id} ({parts.embedder.engine}).")
        note(f"Everything that Ruma writes is in {parts.settings.home}.")
        note("Next: ruma ingest FOLDER")


def config(ctx: typer.Context, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show the settings in force and where each comes from.

    Shows the paths too, and never a secret.
    """
    with Parts(ctx, home=home) as parts:
        settings = [
            {"name": one.name, "value": _shown(one.name, one.value), "from": one.source}
            for one in explain_settings({"home": home})
        ]
        paths = {
            "settings file": parts.settings.home / "ruma.toml",
            "tenants": parts.settings.tenants_folder,
            "keys": parts.settings.keys_folder,
            "models": parts.settings.models_folder,
        }
        if as_json:
            print_json({"settings": settings, "paths": paths})
            return
        print_table(["setting", "value", "from"], [list(one.values()) for one in settings])
        print_text()
        print_pairs(paths)


def _shown(name: str, value: str) -> str:
    return "(set)" if name in _SECRET and value else value
