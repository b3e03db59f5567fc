"""`ruma billing`: whether plans can be paid for, and what each tenant pays."""

from typing import Annotated

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantOption
from ruma.cli.output import note, print_json, print_pairs, print_table, print_text
from ruma.cli.parts import Parts
from ruma.errors import InputError


def show(ctx: typer.Context, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show whether plans can be paid for, and which tenants do.

    No secret is read for it, and Stripe is not asked.
    """
    from ruma.config import load_plans
    from ruma.tenant.billing import read_customer
    from ruma.tenant.keeping.plans import promised_plan

    if ctx.invoked_subcommand:
        if as_json or home:
            raise InputError(
                "Options of a command stand after it.", hint=f"ruma billing {ctx.invoked_subcommand} --help"
            )
        return
    with Parts(ctx, home=home) as parts:
        settings, tenants = parts.settings, []
        for name in parts.home.names():
            with parts.home.open(name) as opened:
                plan, customer = promised_plan(opened, settings), read_customer(opened)
                tenants.append({"tenant": name, "plan": plan.name, "customer": customer})
        plans = [one for one in load_plans(settings.home).values() if one.stripe_price]
        place = f"{settings.public_url or f'http://{settings.host}:{settings.port}'}/billing/stripe"
        if as_json:
            print_json(
                {
                    "is_set_up": settings.takes_payments,
                    "webhook": place,
                    "plans": {one.name: {"price": one.price, "stripe_price": one.stripe_price} for one in plans},
                    "tenants": tenants,
                }
            )
            return
        print_pairs({"billing": _state(parts), "Stripe tells": place})
        if plans:
            print_text()
            print_table(["plan", "price", "stripe_price"], [(one.name, one.price, one.stripe_price) for one in plans])
        if tenants:
            print_text()
            print_table(["tenant", "plan", "customer"], [list(one.values()) for one in tenants])
        if settings.takes_payments and not plans:
            note('No plan can be paid for: write `stripe_price = "price_…"` into a table [plans.NAME] of ruma.toml.')


def refresh(
    ctx: typer.Context,
    tenant: TenantOption = None,
    every: Annotated[bool, typer.Option("--all", help="Every tenant that has a customer number.")] = False,
    home: HomeOption = None,
) -> None:
    """Ask Stripe what is paid, and give that plan.

    A running server does it whenever Stripe tells that something changed; this is for what was not heard.
    """
    from ruma.server.billing import look_again
    from ruma.tenant.billing import read_customer

    with Parts(ctx, home=home) as parts:
        for name in parts.home.names() if every else [tenant or parts.only_tenant()]:
            with parts.home.open(name) as opened:
                if not read_customer(opened):
                    if not every:
                        note(f"{name} has no customer number at Stripe: nothing was ever chosen there.")
                    continue
                plan = look_again(opened, parts.settings)
                note(f"{name} has the plan {plan.name} now." if plan else f"{name} keeps its plan.")


def _state(parts: Parts) -> str:
    settings = parts.settings
    if settings.takes_payments:
        return "set up"
    missing = [name for name in ("stripe_key_file", "stripe_webhook_file") if not getattr(settings, name)]
    if len(missing) == 2:
        return "not set up"
    return f"not set up: {missing[0]} is missing" if missing else "none: Ruma is offline"
