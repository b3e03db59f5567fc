"""`ruma requests`: what people ask about their data and a person must answer, by a date."""

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantOption
from ruma.cli.output import note, print_json, print_pairs, print_table, print_text
from ruma.cli.parts import Parts

if TYPE_CHECKING:
    from ruma.tenant.conversing.requests import RightsRequest

NumberArgument = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="The request's number.")]


def list_requests(
    ctx: typer.Context,
    closed: Annotated[bool, typer.Option("--closed", help="The closed ones too.")] = False,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """List the requests by the day that each is due."""
    from ruma.tenant.conversing.requests import list_requests as find_requests

    with Parts(ctx, home=home) as parts:
        found = find_requests(parts.tenant(tenant), with_closed=closed).requests
        if as_json:
            print_json(found)
        elif found:
            rows = [(one.id, one.kind, one.contact or "-", one.received_on, one.due_on, _state(one)) for one in found]
            print_table(["number", "kind", "contact", "came", "due", "state"], rows)
        else:
            note("No request is open.")


def show(
    ctx: typer.Context,
    number: NumberArgument,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Show a request and what was done about it."""
    from dataclasses import asdict

    from ruma.tenant.conversing.requests import read_request

    with Parts(ctx, home=home) as parts:
        found, steps = read_request(parts.tenant(tenant), number)
        if as_json:
            print_json({"request": found, "steps": steps})
            return
        print_pairs({name: value for name, value in asdict(found).items() if value not in ("", None)})
        for step in steps:
            print_text(f"{step.at}  {step.what} by {step.by}{f': {step.note}' if step.note else ''}")


def add(
    ctx: typer.Context,
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help="access, correction, deletion, export, withdrawal or objection."),
    ],
    contact: Annotated[str, typer.Argument(metavar="CONTACT", help="How to reach who asks.")],
    text: Annotated[str, typer.Option("--note", metavar="TEXT", help="What is asked, in their words.")] = "",
    received: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", formats=["%Y-%m-%d"], help="The day that it came.", show_default="today"),
    ] = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Enter a request that came by mail, by telephone or by post.

    It is due a month after it came (GDPR, Article 12(3)).
    """
    from ruma.privacy.requests import receive_request

    with Parts(ctx, home=home) as parts:
        day: date | None = received.date() if received else None
        made = receive_request(
            parts.tenant(tenant), kind=kind, origin="operator", contact=contact, note=text, received_on=day
        )
        if as_json:
            print_json(made)
        else:
            print_text(f"Entered as request {made.id}. It is due on {made.due_on}.")


def extend(
    ctx: typer.Context,
    number: NumberArgument,
    reason: Annotated[str, typer.Argument(metavar="REASON", help="Why it takes longer.")],
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Give a request two further months, once.

    Whoever asked must be told the reason within the first month.
    """
    from ruma.privacy.requests import extend as extend_request

    with Parts(ctx, home=home) as parts:
        found = extend_request(parts.tenant(tenant), number, reason=reason)
        if as_json:
            print_json(found)
        else:
            print_text(f"Request {found.id} is due on {found.due_on} now.")


def close(
    ctx: typer.Context,
    number: NumberArgument,
    outcome: Annotated[str, typer.Argument(metavar="OUTCOME", help="What was done, or why it is refused.")],
    refuse: Annotated[bool, typer.Option("--refuse", help="It is refused.")] = False,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Close a request with what was done about it."""
    from ruma.privacy.requests import close as close_request

    with Parts(ctx, home=home) as parts:
        found = close_request(parts.tenant(tenant), number, outcome=outcome, is_refused=refuse)
        if as_json:
            print_json(found)
        else:
            print_text(f"Request {found.id} is closed: {found.state}.")


def _state(found: "RightsRequest") -> str:
    from ruma.privacy.requests import today

    return "OVERDUE" if found.state == "open" and found.due_on < today().isoformat() else found.state
