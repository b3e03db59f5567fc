"""Exports, for owners and keys that manage: asked for, made in the background, fetched, removed."""

from litestar import delete, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.response import Stream

from ruma.server.access import MANAGE, Principal
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.api.documents import DOWNLOAD_HEADERS, attachment
from ruma.server.export_shapes import ExportInfo, ExportList, NewExport, info_of, scope_of
from ruma.server.guarding import require_json
from ruma.server.hashing import in_password_thread
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.copying.exports import ask_export, fetch_export, find_export, list_exports, remove_export
from ruma.tenant.keeping.plans import read_plan
from ruma.tenant.tenant import Tenant


@get("/exports", policy=MANAGE, sync_to_thread=True, responses=answers_with(ExportList, 400, 401, 403, 404))
def show_exports(tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]) -> ExportList:
    """List the exports that were asked for."""
    days = read_plan(tenant, resources.home.settings).exports
    return ExportList([info_of(one, days) for one in list_exports(tenant)])


@post(
    "/exports",
    policy=MANAGE,
    status_code=200,
    guards=[require_json],
    responses=answers_with(ExportInfo, 400, 401, 403, 404, 409),
)
async def begin_export(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    data: JSONBody[NewExport],
) -> ExportInfo:
    """Ask for an export. It is made in the background: its `state` says when it can be fetched."""
    scope = await sync_to_thread(scope_of, tenant, data)
    export = await in_password_thread(ask_export, tenant, scope, asked_by=principal.name, password=data.password)
    resources.exports.notify(tenant.name)
    plan = await sync_to_thread(read_plan, tenant, resources.home.settings)
    return info_of(export, plan.exports)


@get(
    "/exports/{export_id:int}",
    policy=MANAGE,
    sync_to_thread=True,
    responses=answers_with(ExportInfo, 400, 401, 403, 404),
)
def show_export(
    tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], export_id: Number
) -> ExportInfo:
    """Return what became of an export."""
    return info_of(find_export(tenant, export_id), read_plan(tenant, resources.home.settings).exports)


@get(
    "/exports/{export_id:int}/file",
    policy=MANAGE,
    sync_to_thread=True,
    responses=fails_with(400, 401, 403, 404, 409),
)
def fetch_file(tenant: NamedDependency[Tenant], export_id: Number) -> Stream:
    """Return an export's file as a download."""
    export = find_export(tenant, export_id)
    blocks = fetch_export(tenant, export_id)
    headers = {
        **DOWNLOAD_HEADERS,
        "content-disposition": attachment(export.file_name),
        "content-length": str(export.size_bytes),
    }
    return Stream(blocks, headers=headers, media_type="application/octet-stream")


@delete("/exports/{export_id:int}", policy=MANAGE, sync_to_thread=True, responses=fails_with(400, 401, 403, 404))
def drop_export(tenant: NamedDependency[Tenant], export_id: Number) -> None:
    """Remove an export and its file."""
    remove_export(tenant, export_id)


ROUTES = (show_exports, begin_export, show_export, fetch_file, drop_export)
"""The routes of this module."""
