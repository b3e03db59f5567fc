"""`ruma policy`: the privacy policy as it is true now, and whether it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantOption
from ruma.cli.output import note, plural, print_content, print_json, print_text
from ruma.cli.parts import Parts
from ruma.errors import InputError

if TYPE_CHECKING:
    from ruma.privacy.policy_check import Finding
    from ruma.privacy.policy_parts import Facts
    from ruma.server.policy_system import Answers
    from ruma.tenant.tenant import Tenant

_MARKS = {True: "true   ", False: "UNTRUE ", None: "-      "}


def policy(
    ctx: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Test each statement against the running system.")] = False,
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="text, markdown or html.")] = "text",
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="With --check: ask the server there, as a visitor and as a member who signs in.",
            show_default="the server that uses the home, where it is on this machine, else the program itself",
        ),
    ] = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Write the privacy policy from the settings in force.

    A text that changed is kept as a new version. With --check, each statement is tested: files, rows, cookies of real
    responses, the ledger of connections. Ends with 1 where one is not true, and names it.
    """
    from ruma.privacy.policy import gather_facts, write_policy
    from ruma.privacy.policy_check import check_policy
    from ruma.privacy.policy_formats import FORMATS, write_out
    from ruma.server.policy_system import look_at_system
    from ruma.tenant.policy_versions import keep_check

    wanted = next((known for known in FORMATS if known == form), None)
    if wanted is None:
        raise InputError("A policy has no such format.", hint=f"Formats: {', '.join(FORMATS)}.")
    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        written = write_policy(opened, parts.settings)
        if not check:
            if as_json:
                print_json({"version": written.version, "statements": [one.text for one in written.statements]})
            else:
                print_content(write_out(written, wanted))
            return
        facts = gather_facts(opened, parts.settings)
        found = find_server(parts.settings.home) if server is None else ""
        answers = ask_server(server or found, opened, facts, is_here=bool(found)) if server or found else None
        findings = check_policy(written, look_at_system(parts.home, opened, facts, answers))
        keep_check(opened, [vars(finding) for finding in findings])
    _print(findings, as_json)
    if any(finding.is_true is False for finding in findings):
        raise typer.Exit(1)


def find_server(home: Path) -> str:
    """Return the address of the server that uses a home, where it answers on this machine; empty for none."""
    from ruma.server.addresses import is_loopback
    from ruma.server.host_page import origin_of
    from ruma.server.listening import find_running

    address = find_running(home)
    if not address:
        return ""
    origin = origin_of(address)
    return origin if is_loopback(origin.rpartition("://")[2].rpartition(":")[0]) else ""


def ask_server(origin: str, tenant: "Tenant", facts: "Facts", *, is_here: bool = False) -> "Answers":
    """Return what a running server answers; the connection is in the tenant's ledger.

    Args:
        origin: Its address, without a path.
        tenant: Whose pages are asked for.
        facts: What the policy was written from.
        is_here: It was found on this machine, by an address that its certificate need not name.

    Raises:
        InputError: It cannot be reached.
    """
    from ruma.cli.page_fetching import asking
    from ruma.ingest.fetching import CertificateError
    from ruma.privacy.policy_pages import Page
    from ruma.server.addresses import is_loopback
    from ruma.server.policy_system import Answers, see_pages, try_sessions
    from ruma.tenant.connections import TenantLedger

    origin, ledger = origin.rstrip("/"), TenantLedger(tenant)
    is_plain = origin.startswith("http:") and not is_loopback(urlsplit(origin).hostname or "")
    danger = f"{origin} is reached without encryption." if is_plain else ""
    try:
        with asking(origin, ledger, is_verified=not is_here) as ask:
            pages = see_pages(ask, tenant, facts)
            if not is_plain:
                return Answers(pages, *try_sessions(tenant, ask), danger, origin)
    except CertificateError as exc:
        danger = str(exc)
        with asking(origin, ledger, is_verified=False) as ask:
            pages = see_pages(ask, tenant, facts)
    nobody = Page("", 0, ())
    return Answers(pages, nobody, nobody, "Nobody signed in, since others might listen.", danger, origin)


def _print(findings: "list[Finding]", as_json: bool) -> None:
    untrue = [finding for finding in findings if finding.is_true is False]
    checked = [finding for finding in findings if finding.is_true is not None]
    if as_json:
        print_json({"is_true": not untrue, "statements": findings})
        return
    for finding in findings:
        print_text(f"{_MARKS[finding.is_true]} {finding.name}: {finding.text}")
        if finding.is_true is False:
            print_text(finding.why, indent=8)
    if untrue:
        note(f"{plural(len(untrue), 'statement')} of the policy not true: {', '.join(one.name for one in untrue)}.")
    else:
        left = len(findings) - len(checked)
        note(f"{plural(len(checked), 'statement')} checked, all true; {left} are such that no program can check them.")
