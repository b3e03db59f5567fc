"""What is kept and for how long, legal holds, and the audit log: for owners and keys that manage."""

from dataclasses import asdict
from datetime import date
from typing import Annotated

from litestar import Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, QueryParameter

from ruma.errors import InputError
from ruma.privacy.audit_files import AuditFormat, export_audit
from ruma.privacy.retention import describe, keep_less
from ruma.server.access import MANAGE
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.api.documents import DOWNLOAD_HEADERS, attachment
from ruma.server.guarding import require_json
from ruma.server.resources import Resources
from ruma.server.retention_shapes import (
    AuditPage,
    AuditState,
    DaysChange,
    HoldInfo,
    HoldList,
    NewHold,
    RetentionState,
    check_of,
    entry_of,
    hold_of,
    state_of,
)
from ruma.server.shapes import Number
from ruma.tenant.audit import ActorKind, check_audit, list_audit, parse_actor
from ruma.tenant.keeping.holds import end_hold, list_holds, set_hold
from ruma.tenant.people.api_keys import list_api_keys
from ruma.tenant.people.members import list_members
from ruma.tenant.tenant import Tenant

Filter = Annotated[str, QueryParameter(max_length=60)]


@get("/retention", policy=MANAGE, sync_to_thread=True, responses=answers_with(RetentionState, 400, 401, 403, 404))
def show_retention(tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]) -> RetentionState:
    """Return what is kept beside what the plan promises."""
    return state_of(describe(tenant, resources.home.settings))


@patch(
    "/retention",
    policy=MANAGE,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(RetentionState, 400, 401, 403, 404),
)
def change_days(
    tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], data: JSONBody[DaysChange]
) -> RetentionState:
    """Keep some kinds for fewer days than the operator's plan does. The next run removes what is over then."""
    keep_less(tenant, resources.home.settings, {kind: days for kind, days in asdict(data).items() if days is not None})
    return state_of(describe(tenant, resources.home.settings))


@get("/holds", policy=MANAGE, sync_to_thread=True, responses=answers_with(HoldList, 400, 401, 403, 404))
def show_holds(
    tenant: NamedDependency[Tenant], with_ended: Annotated[bool, QueryParameter(name="ended")] = False
) -> HoldList:
    """List the legal holds; those that have ended where `ended` asks for them."""
    return HoldList([hold_of(one) for one in list_holds(tenant, with_ended=with_ended)])


@post(
    "/holds",
    policy=MANAGE,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(HoldInfo, 400, 401, 403, 404),
)
def add_hold(tenant: NamedDependency[Tenant], data: JSONBody[NewHold]) -> HoldInfo:
    """Keep a conversation, or everything, until the hold ends: it is not removed, and cannot be erased."""
    try:
        until = date.fromisoformat(data.until) if data.until else None
    except ValueError as exc:
        raise InputError("This is no day.", hint="A day looks like 2026-12-31.") from exc
    return hold_of(set_hold(tenant, data.reason, conversation_id=data.conversation_id, until=until))


@post(
    "/holds/{hold_id:int}/end",
    policy=MANAGE,
    status_code=204,
    sync_to_thread=True,
    responses=fails_with(400, 401, 403, 404),
)
def finish_hold(tenant: NamedDependency[Tenant], hold_id: Number) -> None:
    """End a hold: what it kept goes when its time is over, or when somebody erases it."""
    end_hold(tenant, hold_id)


@get("/audit", policy=MANAGE, sync_to_thread=True, responses=answers_with(AuditPage, 400, 401, 403, 404))
def show_audit(
    tenant: NamedDependency[Tenant],
    thing: Filter = "",
    actor: Filter = "",
    subject: Filter = "",
    since: FromQuery[date | None] = None,
    until: FromQuery[date | None] = None,
    before: Annotated[int | None, QueryParameter(ge=1, le=2**62)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=500)] = 100,
) -> AuditPage:
    """List who did what, the newest first. Askers and their questions are not in it; changes are.

    `thing` is what actions begin with: `member`, or `member.removed`.
    """
    entries = list_audit(
        tenant,
        before=before,
        limit=limit,
        thing=thing,
        actor=read_actor(actor),
        subject=subject,
        since=since,
        until=until,
    )
    names = actor_names(tenant)
    return AuditPage([entry_of(one, names) for one in entries])


@get("/audit/check", policy=MANAGE, sync_to_thread=True, responses=answers_with(AuditState, 400, 401, 403, 404))
def check_log(tenant: NamedDependency[Tenant], head: Annotated[str, QueryParameter(max_length=64)] = "") -> AuditState:
    """Compute the hash of every entry anew, and say whether one was changed, put in or taken out."""
    return check_of(check_audit(tenant, head=head.lower()))


@get("/audit/export", policy=MANAGE, sync_to_thread=True, responses=fails_with(400, 401, 403, 404))
def export_log(
    tenant: NamedDependency[Tenant],
    form: Annotated[AuditFormat, QueryParameter(name="format")] = "jsonl",
    thing: Filter = "",
    actor: Filter = "",
    subject: Filter = "",
    since: FromQuery[date | None] = None,
    until: FromQuery[date | None] = None,
) -> Response[bytes]:
    """Return the entries as a file, the oldest first: a JSON value a line (`jsonl`), or a table (`csv`)."""
    content = export_audit(
        tenant, form, thing=thing, actor=read_actor(actor), subject=subject, since=since, until=until
    )
    media_type = "text/csv" if form == "csv" else "application/x-ndjson"
    name = attachment(f"audit-log.{form}")
    headers = {**DOWNLOAD_HEADERS, "content-type": f"{media_type}; charset=utf-8", "content-disposition": name}
    return Response(content, headers=headers, media_type=media_type)


def read_actor(label: str) -> tuple[ActorKind, int] | None:
    """Return who is meant by a label; None where none was given.

    Raises:
        InputError: Nobody can be called so.
    """
    if not label:
        return None
    found = parse_actor(label)
    if found is None:
        raise InputError("Nobody is called so.", hint="Write operator, visitor, ruma, member 3 or key 2.")
    return found


def actor_names(tenant: Tenant) -> dict[tuple[str, int], str]:
    """Return what members and keys are called now: the log itself holds no names."""
    members = {("member", one.id): one.name for one in list_members(tenant)}
    return members | {("key", one.id): one.name for one in list_api_keys(tenant)}


def actor_name(names: dict[tuple[str, int], str], kind: str, number: int) -> str:
    """Return for people who an actor is, by what `actor_names` returned."""
    if kind == "member":
        return names.get(("member", number), f"A member who was removed ({number})")
    if kind == "key":
        name = names.get(("key", number))
        return f"API key {name}" if name else f"An API key that was revoked ({number})"
    return {"operator": "The operator", "visitor": "A visitor"}.get(kind, "Ruma")


ROUTES = (
    show_retention,
    change_days,
    show_holds,
    add_hold,
    finish_hold,
    show_audit,
    check_log,
    export_log,
)
"""The routes of this module."""
