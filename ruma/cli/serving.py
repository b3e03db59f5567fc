"""`ruma serve`: the pages and the API, on this machine or for everyone."""

import gc
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ruma.cli.options import HomeOption
from ruma.cli.output import clean
from ruma.cli.parts import Parts


def serve(
    ctx: typer.Context,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="The address to listen on.", show_default="127.0.0.1"),
    ] = None,
    port: Annotated[int | None, typer.Option(metavar="PORT", help="The port.", show_default="8420")] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificate to show; read again when it changes.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's private key.")] = None,
    behind_proxy: Annotated[
        str | None,
        typer.Option(metavar="ADDRESSES", help="The reverse proxies before this server, with commas between them."),
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(metavar="URL", help="What people type to reach this server.")
    ] = None,
    offline: Annotated[
        bool | None, typer.Option("--offline", help="Let nothing leave this machine: no mail to another one, nothing.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Answer on websites, in the browser and through the API.

    Each tenant has its chat page at /t/NAME/. Ctrl-C ends it, and lets running answers finish.

    At a terminal it prints a one-time link for each tenant without an owner; a service's journal names the command that
    makes one, `ruma members link`.

    An address that others can reach needs a certificate, or a reverse proxy that has one.
    """
    from ruma.server.listening import open_listening

    flags = {
        "tls_cert": tls_cert and tls_cert.absolute(),
        "tls_key": tls_key and tls_key.absolute(),
        "behind_proxy": behind_proxy,
        "public_url": public_url,
        "offline": offline,
    }
    with Parts(ctx, closes_network=False, home=home, host=host, port=port, **flags) as parts, ExitStack() as stack:
        listening = stack.enter_context(open_listening(parts.settings))
        # In this order: a port must be taken before there is no network, and some systems let a process leave it only
        # while it has one thread, which ends with the first library that is loaded.
        parts.close_network()
        # What is made now stays, and looking for garbage in it delays the start. The server enables it once it answers.
        stack.callback(gc.enable)
        gc.disable()
        from ruma.server import listener

        listener.serve(
            parts.settings,
            parts.home,
            lambda: parts.embedder,
            parts.open_generator,
            lambda lines: typer.echo(clean("\n".join(lines)), err=True),  # unwrapped: a link must stay whole
            shows_links=sys.stderr.isatty(),  # a service's journal would keep them
            listening=listening,
        )
