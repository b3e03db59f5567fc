"""`ruma retention`, `ruma plan` and `ruma hold`: what is kept, for how long, and what must be kept."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantOption
from ruma.cli.output import duration, note, plural, print_json, print_table, print_text
from ruma.cli.parts import Parts

if TYPE_CHECKING:
    from ruma.privacy.retention import Enforced, Kept
    from ruma.tenant.keeping.believed_time import Belief


def retention(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing; list what would go.")] = False,
    trust_clock: Annotated[
        bool, typer.Option("--trust-clock", help="The clock is right, however far it went since last time.")
    ] = False,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Remove what was kept for as long as the plan says.

    A running server does it by itself, at its start and once a day.
    """
    from ruma.privacy.retention import describe, enforce

    with Parts(ctx, home=home) as parts:
        names = [tenant] if tenant else parts.home.names()
        if not names:
            note("There is no tenant yet.")
        found: dict[str, Kept | Enforced] = {}
        for name in names:
            with parts.home.open(name) as opened:
                if dry_run:
                    kept = describe(opened, parts.settings)
                    found[name] = kept
                    if not as_json:
                        _print_kept(name, kept)
                else:
                    done = enforce(opened, parts.settings, trusts_clock=trust_clock)
                    found[name] = done
                    if not as_json:
                        _print_enforced(name, done)
        if as_json:
            print_json(found)


def list_plans(
    ctx: typer.Context, as_json: JsonOption = False, tenant: TenantOption = None, home: HomeOption = None
) -> None:
    """List the plans, and which tenant has which.

    Plans stand in ruma.toml, as tables [plans.NAME]; `standard` is built in.
    """
    from ruma.config import KINDS, load_plans
    from ruma.tenant.keeping.plans import is_known, read_plan

    with Parts(ctx, home=home) as parts:
        plans, in_force = load_plans(parts.settings.home), {}
        for name in [tenant] if tenant else parts.home.names():
            with parts.home.open(name) as opened:
                in_force[name] = read_plan(opened, parts.settings)
        if as_json:
            print_json({"plans": list(plans.values()), "tenants": in_force})
            return
        print_table(
            ["plan", *KINDS], [(name, *(getattr(plan, kind) for kind in KINDS)) for name, plan in plans.items()]
        )
        if in_force:
            print_text()
            print_table(
                ["tenant", "plan", *KINDS],
                [(name, plan.name, *(getattr(plan, kind) for kind in KINDS)) for name, plan in in_force.items()],
            )
        for name, plan in in_force.items():
            if not is_known(plan, parts.settings):
                note(
                    f"The plan {plan.name} of {name} is not in ruma.toml any more; it is kept as it was promised last."
                )
        note("All numbers are days. Owners may have made theirs fewer.")


def set_plan(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's name.")],
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="The plan's name, from ruma.toml.")],
    home: HomeOption = None,
) -> None:
    """Give a tenant another plan.

    It counts from the next run on: see what would go with `ruma retention --dry-run`.
    """
    from ruma.privacy.retention import describe, give_plan

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(name)
        given = give_plan(opened, parts.settings, plan)
        due = describe(opened, parts.settings).kinds[0].due
        note(f"{name} has the plan {given.name}: conversations are kept for {plural(given.conversations, 'day')}.")
        if due:
            note(f"The next run removes {plural(due, 'conversation')}. List them: ruma retention --dry-run -t {name}")


def set_hold(
    ctx: typer.Context,
    reason: Annotated[str, typer.Argument(metavar="REASON", help="Why it must be kept: who asked, for which case.")],
    conversation: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="The conversation to keep.", show_default="everything of the tenant"),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(metavar="DAY", formats=["%Y-%m-%d"], help="The last day.", show_default="until it is ended"),
    ] = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Keep a conversation, or everything, whatever else is said.

    What is held is not removed when its time is over, and cannot be erased.
    """
    from ruma.tenant.keeping.holds import set_hold as begin_hold

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        hold = begin_hold(opened, reason, conversation_id=conversation, until=until.date() if until else None)
        if as_json:
            print_json(hold)
            return
        what = f"Conversation {conversation}" if conversation else f"Everything of {opened.name}"
        note(f"{what} is kept (hold {hold.id}), {_end_of(hold.until)}.")


def list_holds(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """List what must be kept, and why."""
    from ruma.tenant.keeping.holds import list_holds as find_holds

    with Parts(ctx, home=home) as parts:
        holds = find_holds(parts.tenant(tenant), with_ended=every)
        if as_json:
            print_json(holds)
        elif holds:
            rows = [
                (
                    one.id,
                    f"conversation {one.conversation_id}" if one.conversation_id else "everything",
                    one.reason,
                    " ".join(filter(None, (one.set_by_kind, str(one.set_by_id or "")))),
                    one.set_at[:10],
                    f"ended {one.ended_at[:10]}" if one.ended_at else _end_of(one.until),
                )
                for one in holds
            ]
            print_table(["id", "kept", "reason", "set by", "set on", "ends"], rows)
        else:
            note("Nothing is held.")


def end_hold(
    ctx: typer.Context,
    hold_id: Annotated[int, typer.Argument(metavar="ID", help="The hold's number in the list.")],
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """End a hold: what it kept goes when its time is over."""
    from ruma.tenant.keeping.holds import end_hold as finish_hold

    with Parts(ctx, home=home) as parts:
        finish_hold(parts.tenant(tenant), hold_id)
        note(f"The hold {hold_id} has ended.")


def _print_kept(name: str, kept: "Kept") -> None:
    print_text(f"{name}, plan {kept.plan.name}", style="bold")
    print_table(
        ["kind", "days", "stored", "oldest", "would go", "the first of them", "held"],
        [
            (
                one.kind,
                one.days,
                one.records,
                (one.oldest_at or "")[:10],
                one.due,
                ", ".join(one.due_oldest) + (" …" if one.due > len(one.due_oldest) else ""),
                one.held,
            )
            for one in kept.kinds
        ],
    )
    _warn(name, kept.belief, kept.plan.name, is_plan_known=kept.is_plan_known)


def _print_enforced(name: str, done: "Enforced") -> None:
    removed = ", ".join(f"{count:,} {kind}" for kind, count in done.removed.items() if count)
    print_text(f"{name}: {'removed ' + removed if removed else 'nothing was over'}.")
    if done.is_pending:
        note("Somebody still reads an older state; the file lets go of it with the next command.")
    _warn(name, done.belief, done.plan.name, is_plan_known=done.is_plan_known)


def _warn(name: str, belief: "Belief", plan: str, *, is_plan_known: bool) -> None:
    from ruma.tenant.keeping.believed_time import as_stored

    if belief.doubt == "ahead":
        note(
            f"The clock says {as_stored(belief.wall)}, which is later than it can be: nothing goes by it yet. "
            f"It is believed if it goes on so for {duration(belief.doubt_ends_in)}, or with --trust-clock."
        )
    elif belief.doubt == "behind":
        note(
            f"The clock says {as_stored(belief.wall)}, but it was {as_stored(belief.now)} already: time goes on by the "
            "machine's own count. Set the clock right; if it is right now, run it with --trust-clock."
        )
    if not is_plan_known:
        note(
            f"The plan {plan} is not in ruma.toml any more; it is kept as it was promised last. "
            f"Give {name} another: ruma plan set {name} PLAN"
        )


def _end_of(until: str | None) -> str:
    return f"until {until}" if until else "until somebody ends it"
