"""What is kept and for how long, and what must be kept: the first place of the section Privacy."""

from collections.abc import Callable
from datetime import date
from typing import Any

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from ruma.config import KINDS
from ruma.errors import InputError, RumaError
from ruma.privacy.retention import describe, keep_less
from ruma.server.access import MANAGE
from ruma.server.api.retention import actor_name, actor_names
from ruma.server.failures import Problem, describe_failure
from ruma.server.pages.shell import first, lead_to, read_form, show_member_page
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.keeping.holds import end_hold, set_hold
from ruma.tenant.keeping.plans import promised_plan
from ruma.tenant.keys.key_report import describe_key
from ruma.tenant.tenant import Tenant

KIND_WORDS = {
    "conversations": ("Conversations", "With their messages and feedback, from the last message on."),
    "technical": ("Technical data", "Browsers and networks of sign-ins, failed tries, who handed over a file."),
    "audit": ("Audit log and ledger", "Who did what, when and from where; and every connection."),
    "exports": ("Exports", "Files that were made to be fetched."),
    "receipts": ("Receipts and requests", "What proves that something was erased, or a request was met."),
}


@get("/t/{name:str}/data", policy=MANAGE, sync_to_thread=True, include_in_schema=False)
def show_kept(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[str]:
    """Show what is kept beside what the plan promises."""
    return _page(request, tenant, resources)


@post("/t/{name:str}/data/days", policy=MANAGE, status_code=200, include_in_schema=False)
async def save_days(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[Any]:
    """Keep kinds for fewer days than the plan does."""
    sent = await read_form(request)

    def save() -> None:
        keep_less(tenant, resources.home.settings, {kind: _number(first(sent, kind)) for kind in KINDS if kind in sent})

    return await sync_to_thread(_do, request, tenant, resources, save, sent)


@post("/t/{name:str}/data/holds", policy=MANAGE, status_code=200, include_in_schema=False)
async def add_hold(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[Any]:
    """Keep a conversation, or everything, until the hold ends."""
    sent = await read_form(request)
    number = first(sent, "conversation")

    def add() -> None:
        until = first(sent, "until")
        try:
            last_day = date.fromisoformat(until) if until else None
        except ValueError as exc:
            raise InputError("This is no day.", hint="A day looks like 2026-12-31.") from exc
        set_hold(tenant, first(sent, "reason"), conversation_id=_number(number) if number else None, until=last_day)

    return await sync_to_thread(_do, request, tenant, resources, add, sent)


@post("/t/{name:str}/data/holds/{hold_id:int}/end", policy=MANAGE, sync_to_thread=True, include_in_schema=False)
def finish_hold(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    hold_id: Number,
) -> Response[Any]:
    """End a hold."""
    return _do(request, tenant, resources, lambda: end_hold(tenant, hold_id))


def _do(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    resources: Resources,
    change: Callable[[], object],
    sent: dict[str, list[str]] | None = None,
) -> Response[Any]:
    try:
        change()
    except RumaError as exc:
        status, problem = describe_failure(exc)
        return _page(request, tenant, resources, problem=problem, status=status, sent=sent)
    return lead_to(tenant, "data", done="saved")


def _page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    resources: Resources,
    *,
    problem: Problem | None = None,
    status: int = 200,
    sent: dict[str, list[str]] | None = None,
) -> Response[str]:
    settings = resources.home.settings
    promised, names = promised_plan(tenant, settings), actor_names(tenant)
    page = show_member_page(
        "data_kept.html",
        request,
        tenant,
        current="data",
        status=status,
        problem=problem,
        tab="kept",
        kept=describe(tenant, settings),
        promised={kind: getattr(promised, kind) for kind in KINDS},
        words=KIND_WORDS,
        who=lambda kind, number: actor_name(names, kind, number),
        key=describe_key(settings, tenant.folder, tenant.manifest),
        sent=sent or {},
        asked_for=request.query_params.get("conversation", "")[:20],
    )
    page.headers["hx-push-url"] = "false"
    return page


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError(f"{text[:20]!r} is no number.", hint="Write a whole number.")
    return int(text)


DATA = (show_kept, save_days, add_hold, finish_hold)
"""The routes of this module."""
