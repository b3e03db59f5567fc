"""`ruma audit`: who did what, and whether the log is whole."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantOption
from ruma.cli.output import note, print_content, print_json, print_table, print_text
from ruma.cli.parts import Parts
from ruma.errors import InputError, StoreError

if TYPE_CHECKING:
    from ruma.tenant.audit import ActorKind

ThingOption = Annotated[
    str, typer.Option("--thing", metavar="THING", help="What an action begins with: member, or member.removed.")
]
ByOption = Annotated[
    str, typer.Option("--by", metavar="WHO", help='Who: operator, visitor, ruma, "member 3" or "key 2".')
]
SubjectOption = Annotated[
    str, typer.Option("--to", metavar="WHAT", help='To what: "member 3", "conversation 12", "document 7".')
]
SinceOption = Annotated[
    datetime | None, typer.Option(metavar="DAY", formats=["%Y-%m-%d"], help="The first day.", show_default=False)
]
UntilOption = Annotated[
    datetime | None, typer.Option(metavar="DAY", formats=["%Y-%m-%d"], help="The last day.", show_default=False)
]


def list_entries(
    ctx: typer.Context,
    thing: ThingOption = "",
    by: ByOption = "",
    to: SubjectOption = "",
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 50,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """List what was done, the newest first."""
    from ruma.tenant.audit import list_audit

    with Parts(ctx, home=home) as parts:
        entries = list_audit(
            parts.tenant(tenant),
            limit=limit + 1,
            thing=thing,
            actor=_actor(by),
            subject=to,
            since=since.date() if since else None,
            until=until.date() if until else None,
        )
        is_more, entries = len(entries) > limit, entries[:limit]
        if as_json:
            print_json(entries)
        elif entries:
            rows = [
                (
                    str(one.id),
                    one.at,
                    one.actor.label,
                    one.actor.network,
                    one.action,
                    one.subject,
                    " ".join(f"{name}={value}" for name, value in one.details.items()),
                )
                for one in entries
            ]
            print_table(["entry", "when", "who", "from", "what", "to", "details"], rows)
            if is_more:
                note(f"These are the newest {limit}; there are more. See: --limit N, --since DATE")
        else:
            note("There is no such entry.")


def verify(
    ctx: typer.Context,
    head: Annotated[
        str, typer.Option(metavar="HASH", help="The hash of an entry that was the newest once.", show_default=False)
    ] = "",
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Check that no entry was changed, put in or taken out.

    Write the hash down elsewhere: with --head it shows later that nothing was taken off the end.
    """
    from ruma.tenant.audit import check_audit

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        check = check_audit(opened, head=head.strip().lower())
        if as_json:
            print_json(check)
        else:
            print_text(check.head)
        if check.broken_at is not None:
            raise StoreError(f"The audit log of {opened.name} does not hold together from entry {check.broken_at} on.")
        if check.has_head is False:
            raise StoreError(
                f"The audit log of {opened.name} has no entry of that hash: it was taken off, or its time was over "
                "and later ones went as well.",
                hint="Of what retention removes, only the last entry's hash is known still.",
            )
        entries = "1 entry" if check.entries == 1 else f"{check.entries:,} entries"
        gone = f" The {check.removed:,} before them went when their time was over." if check.removed else ""
        note(f"{entries}, each in its place.{gone}")


def export(
    ctx: typer.Context,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table instead of JSON lines.")] = False,
    thing: ThingOption = "",
    by: ByOption = "",
    to: SubjectOption = "",
    since: SinceOption = None,
    until: UntilOption = None,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Print every entry, the oldest first: a JSON value a line, or CSV."""
    from ruma.privacy.audit_files import export_audit

    with Parts(ctx, home=home) as parts:
        content = export_audit(
            parts.tenant(tenant),
            "csv" if as_csv else "jsonl",
            thing=thing,
            actor=_actor(by),
            subject=to,
            since=since.date() if since else None,
            until=until.date() if until else None,
        )
        print_content(content.decode())


def _actor(by: str) -> "tuple[ActorKind, int] | None":
    from ruma.tenant.audit import parse_actor

    if not by:
        return None
    actor = parse_actor(by)
    if actor is None:
        raise InputError(f"Nobody is called {by!r} here.", hint='Write operator, visitor, ruma, "member 3" or "key 2".')
    return actor
