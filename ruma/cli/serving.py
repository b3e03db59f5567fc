"""`ruma serve`: the chat pages and the API, on this machine."""

from typing import Annotated

import typer

from ruma.cli.options import HomeOption
from ruma.cli.output import note
from ruma.cli.parts import Parts


def serve(
    ctx: typer.Context,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A loopback address.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="The port.", show_default="8420")] = None,
    home: HomeOption = None,
) -> None:
    """Answer in the browser and through the API, on this machine.

    Each tenant has its chat page at /t/NAME/. Ctrl-C ends it, and lets running answers finish.
    """
    from ruma.server import listener

    with Parts(ctx, home=home, host=host, port=port) as parts:
        listener.serve(
            parts.settings,
            parts.home,
            lambda: parts.embedder,
            parts.open_generator,
            lambda lines: note("\n".join(lines)),
        )
