"""The page of exports: asking for one, fetching it, removing it; and a member's own data."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.enums import MediaType

from ruma.errors import RumaError, SignInError
from ruma.privacy.exporting import export_member
from ruma.server.access import MANAGE, OWN, Principal
from ruma.server.api.documents import DOWNLOAD_HEADERS, attachment
from ruma.server.export_shapes import NewExport, scope_of
from ruma.server.failures import Problem, describe_failure
from ruma.server.hashing import in_password_thread
from ruma.server.pages.shell import first, lead_to, read_form, show_member_page
from ruma.server.pages.sources import file_size
from ruma.server.rendering import render
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.clock import now
from ruma.tenant.copying.exports import ask_export, list_exports, remove_export
from ruma.tenant.keeping.plans import read_plan
from ruma.tenant.people.members import list_members
from ruma.tenant.tenant import Tenant


@get("/t/{name:str}/data/exports", policy=MANAGE, sync_to_thread=True, include_in_schema=False)
def show_exports_page(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[str]:
    """Show what was asked for, and the form that asks."""
    return _page(request, tenant, resources)


@get("/t/{name:str}/data/exports/list", policy=MANAGE, sync_to_thread=True, include_in_schema=False)
def show_export_list(tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]) -> Response[str]:
    """Show the list alone, for a page that is open while an export is made."""
    page = render("data_exports_list.html", tenant=tenant.name, **_values(tenant, resources))
    return Response(page, media_type=MediaType.HTML)


@post("/t/{name:str}/data/exports", policy=MANAGE, status_code=200, include_in_schema=False)
async def ask_for_export(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
) -> Response[Any]:
    """Ask for an export."""
    sent = await read_form(request)
    wanted = NewExport(
        kind=first(sent, "kind"),  # type: ignore[arg-type]  # what is none of them is refused below
        member=first(sent, "member"),
        visitor=first(sent, "visitor"),
        password=sent.get("password", [""])[0],
    )
    try:
        scope = await sync_to_thread(scope_of, tenant, wanted)
        await in_password_thread(ask_export, tenant, scope, asked_by=principal.name, password=wanted.password)
    except RumaError as exc:
        status, problem = describe_failure(exc)
        return await sync_to_thread(_page, request, tenant, resources, status=status, problem=problem, wanted=wanted)
    resources.exports.notify(tenant.name)
    return lead_to(tenant, "data/exports", done="asked")


@post("/t/{name:str}/data/exports/{export_id:int}/remove", policy=MANAGE, include_in_schema=False)
async def remove_one(tenant: NamedDependency[Tenant], export_id: Number) -> Response[Any]:
    """Remove an export and its file."""
    await sync_to_thread(remove_export, tenant, export_id)
    return lead_to(tenant, "data/exports", done="removed")


@get("/t/{name:str}/account/data", policy=OWN, sync_to_thread=True, include_in_schema=False, without_terms=True)
def download_own_data(tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]) -> Response[bytes]:
    """Return what is stored about the member who asks, as a download."""
    if principal.member is None:
        raise SignInError("Please sign in.")
    content = export_member(tenant, principal.member.id)
    name = f"ruma-my-data-{now()[:10]}.zip"
    headers = {**DOWNLOAD_HEADERS, "content-disposition": attachment(name)}
    return Response(content, headers=headers, media_type="application/octet-stream")


EXPORT_PAGES = (show_exports_page, show_export_list, ask_for_export, remove_one, download_own_data)
"""The routes of this module."""


def _values(tenant: Tenant, resources: Resources) -> dict[str, Any]:
    days = read_plan(tenant, resources.home.settings).exports
    exports = list_exports(tenant)
    return {
        "exports": [(one, one.ends_on(days)) for one in exports],
        "is_making": any(one.state in ("waiting", "making") for one in exports),
        "names": {one.id: one.name for one in list_members(tenant)},
        "days": days,
        "file_size": file_size,
    }


def _page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    resources: Resources,
    *,
    status: int = 200,
    problem: Problem | None = None,
    wanted: NewExport | None = None,
) -> Response[str]:
    page = show_member_page(
        "data_exports.html",
        request,
        tenant,
        current="data",
        tab="exports",
        status=status,
        problem=problem,
        wanted=wanted or NewExport(),
        members=[(str(one.id), f"{one.name} ({one.email})") for one in list_members(tenant)],
        **_values(tenant, resources),
    )
    # What a form was sent to is no page of its own.
    page.headers["hx-push-url"] = "false"
    return page
