"""The audit log: who did what, when and from where, for owners."""

from datetime import date
from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from ruma.server.access import MANAGE
from ruma.server.api.retention import actor_name, actor_names
from ruma.server.pages.shell import show_member_page
from ruma.tenant.audit import check_audit, list_audit, list_things, parse_actor
from ruma.tenant.tenant import Tenant

PAGE = 50
Text = Annotated[str, QueryParameter(max_length=60)]


@get("/t/{name:str}/data/audit", policy=MANAGE, sync_to_thread=True, include_in_schema=False)
def show_audit_page(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    thing: Text = "",
    actor: Text = "",
    since: Text = "",
    until: Text = "",
    before: Annotated[int | None, QueryParameter(ge=1, le=2**62)] = None,
    check: Text = "",
) -> Response[str]:
    """Show a page of the log; what is no day and no actor in the address filters nothing."""
    entries = list_audit(
        tenant,
        before=before,
        limit=PAGE + 1,
        thing=thing,
        actor=parse_actor(actor),
        since=_day(since),
        until=_day(until),
    )
    asked = {name: value for name, value in {"thing": thing, "actor": actor, "since": since, "until": until}.items()}
    kept = {name: value for name, value in asked.items() if value}
    names = actor_names(tenant)
    return show_member_page(
        "data_audit.html",
        request,
        tenant,
        current="data",
        tab="audit",
        entries=entries[:PAGE],
        who=lambda entry: actor_name(names, entry.actor.kind, entry.actor.id),
        said=_said,
        things=[("", "Everything"), *((one, one.replace("-", " ").capitalize()) for one in list_things(tenant))],
        actors=[("", "Everybody"), *_actors(names)],
        asked=asked,
        older=urlencode({**kept, "before": entries[PAGE - 1].id}) if len(entries) > PAGE else "",
        is_first=before is None,
        newest=urlencode(kept),
        exported=urlencode(kept),
        found=check_audit(tenant) if check else None,
    )


def _said(action: str) -> str:
    """Return `second-factor.switched-on` as a person would say it."""
    return action.replace(".", " ").replace("-", " ").capitalize()


def _actors(names: dict[tuple[str, int], str]) -> list[tuple[str, str]]:
    known = [
        (f"{kind} {number}", name if kind == "member" else f"API key {name}") for (kind, number), name in names.items()
    ]
    return [*known, ("operator", "The operator"), ("visitor", "Visitors"), ("ruma", "Ruma")]


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


AUDIT = (show_audit_page,)
"""The routes of this module."""
