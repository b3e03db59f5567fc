"""`ruma widget`: the line that puts the agent on a website, and what a page of that website is missing for it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantOption
from ruma.cli.output import print_json, print_text
from ruma.cli.parts import Parts
from ruma.errors import InputError

if TYPE_CHECKING:
    from ruma.config import Settings
    from ruma.connections import Ledger
    from ruma.server.host_page import HostPage

AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where visitors reach the server, such as https://agent.example.com.",
        show_default="the setting public_url, else this machine",
    ),
]


def line(
    ctx: typer.Context, address: AddressOption = None, tenant: TenantOption = None, home: HomeOption = None
) -> None:
    """Print the line of HTML that puts the agent on a website."""
    from ruma.server.host_page import script_line

    with Parts(ctx, home=home) as parts:
        print_text(script_line(_tenant_address(parts.settings, address, tenant or parts.only_tenant())))


def check(
    ctx: typer.Context,
    page: Annotated[str, typer.Argument(metavar="URL-OR-FILE", help="A page of the website.")],
    address: AddressOption = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Say what a website's page is missing to show the agent.

    The line to add is said, too. It reads the page and its content security policy as a browser does. A file has
    no headers: give the page's address where its server sends a policy. Ends with 0 where nothing is missing, and
    with 1 where something is.
    """
    from ruma.server.host_page import check_page
    from ruma.tenant.agents import read_agent
    from ruma.tenant.connections import TenantLedger

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        there = _tenant_address(parts.settings, address, opened.name)
        findings = check_page(_read(page, TenantLedger(opened)), there, read_agent(opened).websites)
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            print_text(f"{'ok     ' if finding.is_fine else 'missing'}  {finding.what}")
            if finding.add:
                print_text(finding.add, indent=9)
    if not all(finding.is_fine for finding in findings):
        raise typer.Exit(1)


def _tenant_address(settings: "Settings", address: str | None, tenant: str) -> str:
    from ruma.server.addresses import public_address
    from ruma.server.host_page import origin_of

    origin = origin_of(address) if address else public_address(settings, settings.port).origin
    if not origin:
        raise InputError(f"{address} is no address of a server.", hint="Write it as https://agent.example.com.")
    return f"{origin}/t/{tenant}"


def _read(page: str, ledger: "Ledger") -> "HostPage":
    from ruma.cli.page_fetching import MOST_BYTES, fetch_page
    from ruma.server.host_page import read_page

    if page.lower().startswith(("http://", "https://")):
        return fetch_page(page, ledger)
    file = Path(page)
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InputError(f"{page} is larger than {MOST_BYTES // 1_000_000} MB.")
        return read_page("", [], file.read_text(encoding="utf-8", errors="replace"))
    except OSError as exc:
        raise InputError(
            f"{page} cannot be read: {exc.strerror}.", hint="Give a file, or an address that begins with https://."
        ) from exc
