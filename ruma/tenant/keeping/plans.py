"""A tenant's plan: how long what it stores is kept. The operator gives it; an owner may only make its days fewer."""

import json
from dataclasses import replace

from ruma.config import FREE, KINDS, Plan, Settings, load_plans
from ruma.errors import InputError
from ruma.tenant.audit import note
from ruma.tenant.tenant import Tenant


def read_plan(tenant: Tenant, settings: Settings) -> Plan:
    """Return the plan in force: the days that the operator promises, or fewer where an owner chose so.

    A plan that is not in the settings any more goes on as it was last known: what was promised is kept,
    and nothing is removed sooner.

    Raises:
        InputError: The plans in the settings are not understood.
    """
    plan = promised_plan(tenant, settings)
    with tenant.reading() as db:
        shortened = json.loads(db.execute("select shortened from retention").fetchone()[0])
    return replace(plan, **{kind: min(days, getattr(plan, kind)) for kind, days in shortened.items()})


def promised_plan(tenant: Tenant, settings: Settings) -> Plan:
    """Return the operator's plan for a tenant, without what an owner made shorter.

    Raises:
        InputError: The plans in the settings are not understood.
    """
    plans = load_plans(settings.home)
    with tenant.reading() as db:
        name, promised = db.execute("select plan, promised from retention").fetchone()
    known = plans.get(name)
    return known or replace(plans[FREE], **{**json.loads(promised), "name": name})


def is_known(plan: Plan, settings: Settings) -> bool:
    """Tell whether a plan is in the settings still."""
    return plan.name in load_plans(settings.home)


def set_plan(tenant: Tenant, settings: Settings, name: str) -> Plan:
    """Give a tenant another plan, and return what is in force then. What an owner made shorter stays so.

    Raises:
        InputError: There is no such plan.
    """
    plans = load_plans(settings.home)
    if name not in plans:
        raise InputError(f"There is no plan {name}.", hint=f"Plans: {', '.join(plans)}. Write others into ruma.toml.")
    with tenant.writing() as db:
        db.execute("update retention set plan = ?, promised = ?", [name, _days(plans[name])])
        note(db, "plan.set", plan=name)
    return read_plan(tenant, settings)


def remember_plan(tenant: Tenant, settings: Settings) -> bool:
    """Note what the tenant's plan promises now, should it go from the settings; tell whether it was something else."""
    plan = promised_plan(tenant, settings)
    with tenant.reading() as db:
        kept = db.execute("select promised from retention").fetchone()[0]
    if kept != _days(plan):
        with tenant.writing() as db:
            db.execute("update retention set promised = ? where plan = ?", [_days(plan), plan.name])
    return kept not in (_days(plan), "{}")


def shorten(tenant: Tenant, settings: Settings, days: dict[str, int]) -> Plan:
    """Keep some kinds for fewer days than the plan does, and return what is in force then; the plan's own days undo it.

    Raises:
        InputError: There is no such kind, or the plan keeps it for fewer days.
    """
    plan = promised_plan(tenant, settings)
    for kind, number in days.items():
        if kind not in KINDS:
            raise InputError(f"A plan says nothing about {kind}.", hint=f"It has: {', '.join(KINDS)}.")
        if not 1 <= number <= getattr(plan, kind):
            raise InputError(
                f"The plan {plan.name} keeps {kind} for {getattr(plan, kind)} days at most, and at least for 1.",
                hint="Whoever runs this server can give you another plan.",
            )
    with tenant.writing() as db:
        shortened = json.loads(db.execute("select shortened from retention").fetchone()[0])
        wanted = {**shortened, **days}
        wanted = {kind: number for kind, number in wanted.items() if number < getattr(plan, kind)}
        if wanted != shortened:
            db.execute("update retention set shortened = ?", [json.dumps(wanted)])
            note(db, "retention.shortened", "", **days)
    return read_plan(tenant, settings)


def _days(plan: Plan) -> str:
    return json.dumps({kind: getattr(plan, kind) for kind in KINDS})
