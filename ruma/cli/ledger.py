"""`ruma ledger`: every connection that was opened, to whom and why."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantOption
from ruma.cli.output import note, print_json, print_table
from ruma.cli.parts import Parts
from ruma.connections import Attempt, Ending, HomeLedger

if TYPE_CHECKING:
    from ruma.tenant.audit import Actor

_COLUMNS = ["when", "to", "why", "out", "in", "for", "outcome"]


def ledger(
    ctx: typer.Context,
    operator: Annotated[
        bool, typer.Option("--operator", help="Show the operator's ledger: connections that are no tenant's.")
    ] = False,
    most: Annotated[int, typer.Option(metavar="N", min=1, help="How many to show, the newest first.")] = 50,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Show every connection that was opened for a tenant.

    When, to whom, why, how many bytes went each way, and whose action it was for. What is not here was not opened.
    """
    from ruma.tenant.audit import Actor
    from ruma.tenant.connections import list_connections

    with Parts(ctx, home=home) as parts:
        if operator:
            found = [_entry(*row, Actor("operator")) for row in HomeLedger(parts.settings.home).read()[:most]]
        else:
            rows = list_connections(parts.tenant(tenant), limit=most)
            found = [_entry(row.id, row.attempt, row.ending, row.actor) for row in rows]
    if as_json:
        print_json(found)
    elif found:
        print_table(_COLUMNS, [_row(entry) for entry in found])
    else:
        note("Nothing was connected to.")


def _entry(number: int, attempt: Attempt, ending: Ending, actor: "Actor") -> dict[str, Any]:
    return {"id": number, **vars(attempt), **vars(ending), "actor": actor.kind, "actor_id": actor.id}


def _row(entry: dict[str, Any]) -> list[object]:
    place = f"{entry['host']}:{entry['port']}" + (f" ({entry['address']})" if entry["address"] else "")
    actor = f"{entry['actor']} {entry['actor_id']}" if entry["actor_id"] else entry["actor"]
    outcome = f"{entry['outcome']}: {entry['reason']}" if entry["reason"] else entry["outcome"]
    return [entry["at"], place, entry["purpose"], entry["bytes_out"], entry["bytes_in"], actor, outcome]
