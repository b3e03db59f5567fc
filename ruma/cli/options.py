"""The options that several commands share, so that each is written, and worded, once."""

from pathlib import Path
from typing import Annotated

import typer


def _tenant_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the tenants that begin so, for the shell; a home that cannot be read has none."""
    from ruma.config import load_settings
    from ruma.errors import RumaError

    try:
        folder = load_settings({"home": ctx.params.get("home")}).tenants_folder
        names = [entry.name for entry in folder.iterdir()]
    except (RumaError, OSError):
        return []
    return sorted(name for name in names if name.startswith(incomplete) and not name.startswith("."))


TenantOption = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        "-t",
        metavar="NAME",
        envvar="RUMA_TENANT",
        show_envvar=False,
        help="The tenant to work on, or RUMA_TENANT. Needed only where there are several.",
        autocompletion=_tenant_names,
    ),
]
TenantArgument = Annotated[str, typer.Argument(metavar="NAME", help="The tenant's name.", autocompletion=_tenant_names)]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="The folder that holds everything that Ruma writes, or RUMA_HOME.",
        show_default="the user's data folder",
    ),
]
KeySourceOption = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE",
        help="Where a new tenant's key is kept: exactly there, or not at all. `ruma doctor` lists the sources.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the data as JSON.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
ModeOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODE",
        help="quote (the documents' own words), write (a language model) or auto.",
        show_default="the agent's",
    ),
]
