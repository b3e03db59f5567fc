"""The pages of erasures: finding whom to erase, the receipts, and looking again."""

from functools import partial
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from ruma.errors import InputError, RumaError
from ruma.privacy.erasing import erase_visitor
from ruma.privacy.receipt_pages import WORDS, describe_actor
from ruma.privacy.verifying import Verdict, describe_erased, verify_in_tenant
from ruma.server.access import INBOX, MANAGE, READ, principal_of
from ruma.server.api.retention import actor_name, actor_names
from ruma.server.erasure_shapes import VisitorErased, signed_of, visitors_of
from ruma.server.failures import Problem, describe_failure
from ruma.server.pages.shell import first, lead_to, read_form, show_member_page
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.conversing.visitors import Mention, find_visitor, mentions, parse_visitor
from ruma.tenant.erasing.receipts import Kept, Receipt, find_receipt, list_receipts, public_key_of
from ruma.tenant.tenant import Tenant

PAGE = 50
_LONGEST = 200


@get("/t/{name:str}/data/erasures", policy=READ, sync_to_thread=True, include_in_schema=False)
def show_erasures_page(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    before: Annotated[int | None, QueryParameter(ge=1, le=2**62)] = None,
) -> Response[str]:
    """Show the receipts, and what a search for a visitor found."""
    text = request.query_params.get("find", "").strip()[:_LONGEST]
    return _page(request, tenant, text, before=before)


@post("/t/{name:str}/data/erasures", policy=INBOX, status_code=200, include_in_schema=False)
async def erase_visitor_here(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[Any]:
    """Erase the conversations that were chosen."""
    sent = await read_form(request)
    numbers = [int(one) for one in sent.get("conversation", []) if one.isascii() and one.isdigit() and len(one) < 19]
    text = first(sent, "find")[:_LONGEST]

    def erase() -> Kept:
        visitors = visitors_of(VisitorErased(conversations=numbers))
        return erase_visitor(tenant, *visitors, forget=partial(resources.forget, tenant))

    try:
        kept = await sync_to_thread(erase)
    except RumaError as exc:
        status, problem = describe_failure(exc)
        return await sync_to_thread(_page, request, tenant, text, status, problem)
    return lead_to(tenant, f"data/erasures/{kept.id}", done="erased")


@get("/t/{name:str}/data/erasures/{erasure_id:int}", policy=READ, sync_to_thread=True, include_in_schema=False)
def show_receipt_page(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], erasure_id: Number
) -> Response[str]:
    """Show a receipt."""
    return _receipt_page(request, tenant, find_receipt(tenant, erasure_id), None)


@post(
    "/t/{name:str}/data/erasures/{erasure_id:int}/verify",
    policy=MANAGE,
    status_code=200,
    sync_to_thread=True,
    include_in_schema=False,
)
def verify_here(request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], erasure_id: Number) -> Response[str]:
    """Look again whether anything is left, and show the receipt with what came of it."""
    kept = find_receipt(tenant, erasure_id)
    return _receipt_page(request, tenant, kept, verify_in_tenant(tenant, signed_of(kept)))


ERASURE_PAGES = (show_erasures_page, erase_visitor_here, show_receipt_page, verify_here)
"""The routes of this module."""


def _page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    text: str,
    status: int = 200,
    problem: Problem | None = None,
    before: int | None = None,
) -> Response[str]:
    try:
        found = _search(tenant, text) if text else None
    except RumaError as exc:
        found, problem = None, problem or describe_failure(exc)[1]
    kept = list_receipts(tenant, before=before, limit=PAGE + 1)
    return show_member_page(
        "data_erasures.html",
        request,
        tenant,
        current="data",
        tab="erasures",
        status=status,
        problem=problem,
        kept=[(one, describe_erased(one.signed.receipt) if one.signed else "") for one in kept[:PAGE]],
        older=kept[PAGE - 1].id if len(kept) > PAGE else None,
        newest=before is not None,
        find=text,
        found=found,
        may_erase=principal_of(request).may(INBOX),
        public_key=public_key_of(tenant) or "",
    )


def _search(tenant: Tenant, text: str) -> list[tuple[int, str, list[Mention]]]:
    """Return conversations that a number, an address or words lead to: number, when, and where it was found."""
    try:
        numbers = find_visitor(tenant, parse_visitor(text))
    except InputError:
        numbers = []
    except RumaError:
        if "@" not in text:
            raise
        numbers = []
    places: dict[int, list[Mention]] = {number: [] for number in numbers}
    if not text.isdigit():
        for one in mentions(tenant, text):
            places.setdefault(one.conversation_id, []).append(one)
    return [(number, found[0].at if found else "", found[:3]) for number, found in places.items()]


def _actor(tenant: Tenant, receipt: Receipt) -> str:
    """Return who it was: the receipt itself holds no name, so it is looked up while there is one."""
    if receipt.by_kind in ("member", "key"):
        return actor_name(actor_names(tenant), receipt.by_kind, receipt.by_number)
    return describe_actor(receipt)


def _receipt_page(
    request: Request[Any, Any, Any], tenant: Tenant, kept: Kept, verdict: Verdict | None
) -> Response[str]:
    signed = kept.signed
    return show_member_page(
        "data_erasure.html",
        request,
        tenant,
        current="data",
        tab="erasures",
        kept=kept,
        receipt=signed.receipt if signed else None,
        erased=describe_erased(signed.receipt) if signed else "",
        actor=_actor(tenant, signed.receipt) if signed else "",
        words=WORDS,
        verdict=verdict,
        may_verify=principal_of(request).may(MANAGE),
    )
