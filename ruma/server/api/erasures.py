"""Erasures: whom to erase, what was erased, the signed receipts, and looking again."""

from functools import partial
from typing import Annotated, Literal

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from ruma.privacy.erasing import erase_visitor
from ruma.privacy.receipt_pages import receipt_page
from ruma.privacy.verifying import verify_in_tenant
from ruma.server.access import INBOX, INBOX_READ, MANAGE, READ
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.api.documents import DOWNLOAD_HEADERS, attachment
from ruma.server.erasure_shapes import (
    ErasureInfo,
    ErasureList,
    ErasureVerdict,
    MentionList,
    VisitorErased,
    erasure_of,
    mention_of,
    signed_of,
    verdict_of,
    visitors_of,
)
from ruma.server.guarding import require_json
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.conversing.visitors import mentions
from ruma.tenant.erasing.receipts import find_receipt, list_receipts, public_key_of
from ruma.tenant.tenant import Tenant

MEDIA_TYPES = {"json": "application/json", "html": "text/html"}


@get("/erasures", policy=READ, sync_to_thread=True, responses=answers_with(ErasureList, 400, 401, 403, 404))
def show_erasures(tenant: NamedDependency[Tenant]) -> ErasureList:
    """List what was erased, with what each receipt says."""
    return ErasureList([erasure_of(one) for one in list_receipts(tenant)], public_key_of(tenant) or "")


@get(
    "/erasures/{erasure_id:int}",
    policy=READ,
    sync_to_thread=True,
    responses=answers_with(ErasureInfo, 400, 401, 403, 404),
)
def show_erasure(tenant: NamedDependency[Tenant], erasure_id: Number) -> ErasureInfo:
    """Return what a receipt says."""
    return erasure_of(find_receipt(tenant, erasure_id))


@get(
    "/erasures/{erasure_id:int}/receipt",
    policy=READ,
    sync_to_thread=True,
    responses=fails_with(400, 401, 403, 404, 409),
)
def download_receipt(
    tenant: NamedDependency[Tenant],
    erasure_id: Number,
    form: Annotated[Literal["json", "html"], QueryParameter(name="format")] = "json",
) -> Response[bytes]:
    """Return the receipt as a file: `json` is what is signed, `html` is the page that a person reads."""
    signed = signed_of(find_receipt(tenant, erasure_id))
    content = signed.to_json() if form == "json" else receipt_page(signed)
    name = attachment(f"erasure-{erasure_id}.{form}")
    headers = {**DOWNLOAD_HEADERS, "content-type": f"{MEDIA_TYPES[form]}; charset=utf-8", "content-disposition": name}
    return Response(content.encode(), headers=headers, media_type=MEDIA_TYPES[form])


@post(
    "/erasures/{erasure_id:int}/verify",
    policy=MANAGE,
    status_code=200,
    sync_to_thread=True,
    responses=answers_with(ErasureVerdict, 400, 401, 403, 404, 409),
)
def verify_receipt(tenant: NamedDependency[Tenant], erasure_id: Number) -> ErasureVerdict:
    """Look again: decrypt every page of the database and its log, and search them for what was erased."""
    return verdict_of(verify_in_tenant(tenant, signed_of(find_receipt(tenant, erasure_id))))


@get("/mentions", policy=INBOX_READ, sync_to_thread=True, responses=answers_with(MentionList, 400, 401, 403, 404))
def find_mentions(tenant: NamedDependency[Tenant], text: Annotated[str, QueryParameter(max_length=200)]) -> MentionList:
    """Find where visitors' conversations have these words, to choose which of them to erase."""
    return MentionList([mention_of(one) for one in mentions(tenant, text)])


@post(
    "/erasures/visitor",
    policy=INBOX,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(ErasureInfo, 400, 401, 403, 404, 409),
)
def erase_one_visitor(
    tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], data: JSONBody[VisitorErased]
) -> ErasureInfo:
    """Erase a visitor: every conversation with an address, or those that are named. All of them, or none."""
    return erasure_of(erase_visitor(tenant, *visitors_of(data), forget=partial(resources.forget, tenant)))


ROUTES = (
    show_erasures,
    show_erasure,
    download_receipt,
    verify_receipt,
    find_mentions,
    erase_one_visitor,
)
"""The routes of this module."""
