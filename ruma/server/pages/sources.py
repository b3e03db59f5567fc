"""The page of sources: hand files and texts over, see what became of them, look into documents, remove them."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Redirect

from ruma.errors import ConflictError, InputError, NotFoundError
from ruma.ingest.sniffing import MEDIA_NAMES
from ruma.privacy.erasing import erase_document, erase_source
from ruma.server.access import READ, WRITE, Principal, principal_of
from ruma.server.failures import Problem, describe_failure
from ruma.server.pages.shell import first, lead_to, read_form, show_member_page
from ruma.server.resources import Resources
from ruma.server.uploading import keep_address, keep_text
from ruma.tenant.knowledge.documents import FoundDocument, find_documents
from ruma.tenant.knowledge.sources import WebSource, list_web_sources
from ruma.tenant.knowledge.uploads import Upload, count_uploads, discard_upload, list_uploads, retry_upload
from ruma.tenant.tenant import Tenant

ON_A_PAGE = 50
MOST_UPLOADS = 30
"""How many uploads are listed above the documents; of the others only the number is said."""

_GAP = "\N{NO-BREAK SPACE}"

Search = Annotated[str, QueryParameter(max_length=200)]
Page = Annotated[int, QueryParameter(ge=1, le=1_000_000)]


@dataclass(frozen=True)
class Shown:
    """What the list of sources shows."""

    documents: list[FoundDocument]
    total: int
    size_bytes: int
    uploads: list[Upload]
    web: list[WebSource]
    web_total: int
    waiting: int
    failed: int
    search: str
    page: int

    @property
    def is_reading(self) -> bool:
        """Whether the list changes by itself in a moment."""
        return self.waiting > 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing at all yet."""
        return not self.total and not self.search and not self.uploads and not self.web

    @property
    def first(self) -> int:
        """The place of the first document shown, from 1."""
        return (self.page - 1) * ON_A_PAGE + 1

    @property
    def last(self) -> int:
        """The place of the last document shown."""
        return self.first + len(self.documents) - 1


@get("/t/{name:str}/sources", policy=READ, sync_to_thread=True, include_in_schema=False)
def show_sources(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    search: Search = "",
    page: Page = 1,
) -> Response[str]:
    """Show the page."""
    return _page(request, tenant, resources, _look_up(tenant, search, page))


@get("/t/{name:str}/sources/list", policy=READ, sync_to_thread=True, include_in_schema=False)
def show_source_list(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], search: Search = "", page: Page = 1
) -> Response[str]:
    """Show the list alone, which the page asks for again while something is being read."""
    return show_member_page(
        "sources_list.html",
        request,
        tenant,
        current="sources",
        **_values(request, tenant, _look_up(tenant, search, page)),
    )


@post("/t/{name:str}/sources/text", policy=WRITE, include_in_schema=False)
async def add_text(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
) -> Response[Any]:
    """Hand over a text."""
    form = await read_form(request)
    title, text = first(form, "title"), form.get("text", [""])[0]
    try:
        await sync_to_thread(_keep_text, tenant, principal, resources, title, text)
    except InputError as exc:
        return await sync_to_thread(_refuse, request, tenant, resources, exc, {"title": title, "text": text})
    return lead_to(tenant, "sources", done="added")


@post("/t/{name:str}/sources/address", policy=WRITE, include_in_schema=False)
async def add_address(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
) -> Response[Any]:
    """Hand over the address of a web page or a website, to be read for the first time or again."""
    form = await read_form(request)
    address, what = first(form, "address"), first(form, "what")
    try:
        await sync_to_thread(_keep_address, tenant, principal, resources, address, what == "site")
    except InputError as exc:
        return await sync_to_thread(_refuse, request, tenant, resources, exc, {"address": address, "what": what})
    return lead_to(tenant, "sources", done="added")


@post("/t/{name:str}/sources/remove-source", policy=WRITE, include_in_schema=False)
async def remove_source(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Redirect:
    """Erase a source with all its documents."""
    form = await read_form(request)
    await sync_to_thread(_erase_source, tenant, _number(form, "source"), resources)
    return _back(tenant, form, done="removed")


@post("/t/{name:str}/sources/remove", policy=WRITE, include_in_schema=False)
async def remove_document(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Redirect:
    """Erase a document."""
    form = await read_form(request)
    await sync_to_thread(_erase, tenant, _number(form, "document"), resources)
    return _back(tenant, form, done="removed")


@post("/t/{name:str}/sources/retry", policy=WRITE, include_in_schema=False)
async def retry(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[Any]:
    """Let an upload that failed be read once more."""
    form = await read_form(request)
    try:
        await sync_to_thread(retry_upload, tenant, _number(form, "upload"))
    except ConflictError:
        return _back(tenant, form)  # somebody else was quicker: the list says so
    resources.read_soon(tenant)
    return _back(tenant, form)


@post("/t/{name:str}/sources/discard", policy=WRITE, include_in_schema=False)
async def discard(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[Any]:
    """Take away an upload that is no document."""
    form = await read_form(request)
    try:
        await sync_to_thread(discard_upload, tenant, _number(form, "upload"))
    except ConflictError as exc:
        status, problem = describe_failure(exc)
        shown = await sync_to_thread(_look_up, tenant, "", 1)
        return await sync_to_thread(_page, request, tenant, resources, shown, status, problem)
    return _back(tenant, form, done="removed")


def file_size(size: int) -> str:
    """Return a size for people."""
    for unit, step in (("MB", 1_000_000), ("KB", 1000)):
        if size >= step:
            number = size / step
            return f"{number:.1f}{_GAP}{unit}" if number < 10 else f"{number:,.0f}{_GAP}{unit}"
    return f"{size}{_GAP}bytes"


def _what_it_is(upload: Upload) -> str:
    """Return an upload's size, or what an address is of."""
    return {"page": "Web page", "site": "Whole website"}.get(upload.kind) or file_size(upload.size_bytes)


def _keep_text(tenant: Tenant, principal: Principal, resources: Resources, title: str, text: str) -> None:
    keep_text(tenant, principal, title, text, most_bytes=resources.largest_upload)
    resources.read_soon(tenant)


def _keep_address(tenant: Tenant, principal: Principal, resources: Resources, address: str, is_site: bool) -> None:
    keep_address(tenant, principal, resources.home.settings, address, is_site=is_site)
    resources.read_soon(tenant)


def _look_up(tenant: Tenant, search: str, page: int) -> Shown:
    counts = count_uploads(tenant)
    found = find_documents(tenant, search, offset=(page - 1) * ON_A_PAGE, limit=ON_A_PAGE)
    if not found.documents and page > 1:  # the last of a page was removed
        return _look_up(tenant, search, max(1, -(-found.total // ON_A_PAGE)))
    web, web_total = list_web_sources(tenant)
    return Shown(
        web=web,
        web_total=web_total,
        documents=found.documents,
        total=found.total,
        size_bytes=found.size_bytes,
        uploads=list_uploads(tenant, limit=MOST_UPLOADS),
        waiting=counts["waiting"] + counts["reading"],
        failed=counts["failed"],
        search=search,
        page=page,
    )


def _refuse(
    request: Request[Any, Any, Any], tenant: Tenant, resources: Resources, exc: InputError, sent: dict[str, str]
) -> Response[str]:
    """Return the page once more, with what is wrong and with what was typed."""
    status, problem = describe_failure(exc)
    return _page(request, tenant, resources, _look_up(tenant, "", 1), status, problem, sent)


def _page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    resources: Resources,
    shown: Shown,
    status: int = 200,
    problem: Problem | None = None,
    sent: dict[str, str] | None = None,
) -> Response[str]:
    return show_member_page(
        "sources.html",
        request,
        tenant,
        current="sources",
        status=status,
        problem=problem,
        sent={"title": "", "text": "", "address": "", "what": "page", **(sent or {})},
        is_writing=bool(sent and "title" in sent),
        is_naming=bool(sent and "address" in sent),
        is_offline=resources.home.settings.offline,
        most_bytes=resources.largest_upload,
        **_values(request, tenant, shown),
    )


def _values(request: Request[Any, Any, Any], tenant: Tenant, shown: Shown) -> dict[str, Any]:
    return {
        "shown": shown,
        "may_write": principal_of(request).may(WRITE),
        "file_size": file_size,
        "what_it_is": _what_it_is,
        "kinds": MEDIA_NAMES,
        "list_url": _url(tenant, "sources/list", shown.search, shown.page),
        "previous": _url(tenant, "sources", shown.search, shown.page - 1) if shown.page > 1 else "",
        "next": _url(tenant, "sources", shown.search, shown.page + 1) if shown.last < shown.total else "",
    }


def _url(tenant: Tenant, place: str, search: str, page: int) -> str:
    query = {name: value for name, value in (("search", search), ("page", page if page > 1 else "")) if value}
    return f"/t/{quote(tenant.name)}/{place}{'?' + urlencode(query) if query else ''}"


def _number(form: dict[str, list[str]], name: str) -> int:
    value = first(form, name)
    if not (value.isascii() and value.isdecimal() and len(value) < 19):
        raise NotFoundError("This is not there any more.")
    return int(value)


def _erase(tenant: Tenant, document_id: int, resources: Resources) -> None:
    with suppress(NotFoundError):  # somebody else was quicker: the list says so
        erase_document(tenant, document_id, forget=partial(resources.forget, tenant))


def _erase_source(tenant: Tenant, source_id: int, resources: Resources) -> None:
    with suppress(NotFoundError):  # somebody else was quicker: the list says so
        erase_source(tenant, source_id, forget=partial(resources.forget, tenant))


def _back(tenant: Tenant, form: dict[str, list[str]], *, done: str = "") -> Redirect:
    """Lead back to the page of the list that the form was on."""
    query = {name: first(form, name) for name in ("search", "page") if first(form, name)}
    return lead_to(tenant, "sources", done=done, **query)
