"""Keeps what a tenant stores no longer than its plan promises, and shows it."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ruma.config import Plan, Settings
from ruma.errors import NotFoundError
from ruma.privacy.policy import write_policy
from ruma.tenant.conversing.consents import end_passing
from ruma.tenant.copying.exports import remove_export
from ruma.tenant.erasing.erasure import PAUSE_SECONDS, finish_erasure
from ruma.tenant.keeping.believed_time import Belief, Machine, as_stored, read_machine
from ruma.tenant.keeping.holds import Hold, list_holds
from ruma.tenant.keeping.plans import is_known, read_plan, remember_plan, set_plan, shorten
from ruma.tenant.keeping.retention import (
    DAY,
    KindState,
    LastRun,
    begin_run,
    describe_kinds,
    due_conversations,
    due_exports,
    end_run,
    keep_time,
    read_last_run,
    remove_audit,
    remove_conversations,
    remove_rows,
)
from ruma.tenant.tenant import Tenant


@dataclass(frozen=True)
class Kept:
    """What a tenant keeps beside what its plan promises: the oldest of each kind is the proof."""

    plan: Plan
    is_plan_known: bool
    """Whether the plan is in the operator's settings still; else it goes on as it was promised last."""
    kinds: tuple[KindState, ...]
    holds: tuple[Hold, ...]
    last_run: LastRun
    next_run_at: str | None
    """When a running server enforces the plan next; None where it never did."""
    belief: Belief


@dataclass(frozen=True)
class Enforced:
    """What one run removed, by kind, and what time it was taken to be."""

    removed: dict[str, int]
    belief: Belief
    plan: Plan
    is_plan_known: bool
    is_pending: bool
    """Whether somebody still reads an old state, so that the file keeps what was removed until that ends."""


def give_plan(tenant: Tenant, settings: Settings, name: str) -> Plan:
    """Give a tenant another plan, and return what is in force then; the privacy policy says so at once.

    Raises:
        InputError: There is no such plan.
    """
    plan = set_plan(tenant, settings, name)
    write_policy(tenant, settings)
    return plan


def keep_less(tenant: Tenant, settings: Settings, days: dict[str, int]) -> Plan:
    """Keep some kinds for fewer days than the plan does, or for as many; the privacy policy says so at once.

    Raises:
        InputError: There is no such kind, or the plan keeps it for fewer days.
    """
    plan = shorten(tenant, settings, days)
    write_policy(tenant, settings)
    return plan


def describe(tenant: Tenant, settings: Settings, machine: Machine | None = None) -> Kept:
    """Return what is kept, for how long that was promised, and what the next run would remove.

    Raises:
        InputError: The plans in the settings are not understood.
    """
    plan = read_plan(tenant, settings)
    belief = keep_time(tenant, machine or read_machine())
    ran = read_last_run(tenant, belief)
    next_run_at = as_stored(belief.wall + max(0.0, DAY - ran.seconds_ago)) if ran.ran_at else None
    return Kept(
        plan,
        is_known(plan, settings),
        describe_kinds(tenant, plan, belief),
        tuple(list_holds(tenant)),
        ran,
        next_run_at,
        belief,
    )


def enforce(
    tenant: Tenant,
    settings: Settings,
    *,
    machine: Machine | None = None,
    trusts_clock: bool = False,
    give_way: Callable[[], None] = lambda: None,
) -> Enforced:
    """Remove what has been kept for as long as the plan says; what is held stays.

    It goes in short writes, between which others write too. Wherever it is interrupted, the next run goes on.

    Args:
        tenant: Whose.
        settings: With the operator's plans.
        machine: What the machine says of the time; read anew where it is not given.
        trusts_clock: The operator says that the clock is right, however far it went.
        give_way: Called between two writes; an exception that it raises ends the run.

    Raises:
        InputError: The plans in the settings are not understood.
        NotFoundError: The tenant was removed meanwhile.
    """
    if remember_plan(tenant, settings):  # the operator changed the plan in the file
        write_policy(tenant, settings)
    plan = read_plan(tenant, settings)
    belief = begin_run(tenant, plan, machine or read_machine(), trusts_clock=trusts_clock)
    end_passing(tenant)
    removed = {"conversations": _remove_conversations(tenant, plan.conversations, belief, give_way)}
    removed["technical"] = remove_rows(tenant, "technical", plan.technical, belief)
    removed["exports"] = _remove_exports(tenant, plan.exports, belief)
    give_way()
    removed["receipts"] = remove_rows(tenant, "receipts", plan.receipts, belief)
    removed["audit"] = remove_audit(tenant, plan.audit, belief)
    end_run(tenant, plan, belief, removed)
    is_pending = not finish_erasure(tenant)
    return Enforced(removed, belief, plan, is_known(plan, settings), is_pending)


def remove_old_exports(tenant: Tenant, settings: Settings, machine: Machine | None = None) -> int:
    """Remove the exports whose days are over by the time that is believed, and return how many.

    Raises:
        InputError: The plans in the settings are not understood.
    """
    belief = keep_time(tenant, machine or read_machine())
    return _remove_exports(tenant, read_plan(tenant, settings).exports, belief)


def is_due(tenant: Tenant, machine: Machine | None = None) -> bool:
    """Tell whether the plan was enforced last a day ago or more; chats that are over and not kept go at once."""
    end_passing(tenant)
    return read_last_run(tenant, keep_time(tenant, machine or read_machine())).seconds_ago >= DAY


def _remove_conversations(tenant: Tenant, days: int, belief: Belief, give_way: Callable[[], None]) -> int:
    due, removed = due_conversations(tenant, days, belief), 0
    while due:
        looked_at, gone = remove_conversations(tenant, due, days, belief)
        due, removed = due[looked_at:], removed + gone
        time.sleep(PAUSE_SECONDS)
        give_way()
    return removed


def _remove_exports(tenant: Tenant, days: int, belief: Belief) -> int:
    removed = 0
    for export_id in due_exports(tenant, days, belief):
        with suppress(NotFoundError):  # somebody removed it meanwhile
            remove_export(tenant, export_id)
            removed += 1
    return removed
