"""What the tenant gives to learn from: uploads, texts, and the folders that the operator ingested.

Whether a file was sent before is told without reading it (`repeats="unread"`): its body is a stream.
"""

from functools import partial
from typing import Annotated, Any

from litestar import Request, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from ruma.privacy.erasing import erase_source
from ruma.server.access import READ, WRITE, Principal
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.api.documents import receipt_header
from ruma.server.guarding import require_json
from ruma.server.resources import Resources
from ruma.server.shapes import NewAddress, NewText, Number, SourceList, UploadList, UploadState, source_of, upload_of
from ruma.server.uploading import Intake, keep_address, keep_text, receive_body, receive_form
from ruma.tenant.knowledge.sources import list_sources
from ruma.tenant.knowledge.uploads import (
    LONGEST_NAME,
    UNFINISHED,
    discard_upload,
    find_upload,
    list_uploads,
    retry_upload,
)
from ruma.tenant.tenant import Tenant


@get("/sources", policy=READ, sync_to_thread=True, responses=answers_with(SourceList, 400, 401, 403, 404))
def show_sources(tenant: NamedDependency[Tenant]) -> SourceList:
    """List what the tenant gave to learn from."""
    return SourceList([source_of(one) for one in list_sources(tenant)])


@delete("/sources/{source_id:int}", policy=WRITE, sync_to_thread=True, responses=fails_with(400, 401, 403, 404, 409))
def remove_one_source(
    tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], source_id: Number
) -> Response[None]:
    """Erase a source with all its documents. The header `X-Ruma-Receipt` has the erasure's number.

    A source without documents leaves no receipt: there was nothing but its name.
    """
    kept = erase_source(tenant, source_id, forget=partial(resources.forget, tenant))
    return receipt_header(kept) if kept else Response(None, status_code=204)


@post(
    "/sources/texts",
    policy=WRITE,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(UploadState, 400, 401, 403, 404, 413),
)
def add_text(
    data: JSONBody[NewText],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
) -> UploadState:
    """Hand over a text, which is read a moment later; a text of the same title is replaced."""
    upload = keep_text(tenant, principal, data.title, data.text, most_bytes=resources.largest_upload)
    resources.read_soon(tenant)
    return upload_of(upload)


@post(
    "/sources/addresses",
    policy=WRITE,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(UploadState, 400, 401, 403, 404),
)
def add_address(
    data: JSONBody[NewAddress],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
) -> UploadState:
    """Hand over the address of a web page or a website. It is read a moment later; one that was read is read again.

    Of a website, the documents of pages that are gone are removed then. Offline this is refused.
    """
    settings = resources.home.settings
    upload = keep_address(tenant, principal, settings, data.address, is_site=data.whole_site)
    resources.read_soon(tenant)
    return upload_of(upload)


@put(
    "/sources/uploads",
    policy=WRITE,
    repeats="unread",
    status_code=200,
    request_max_body_size=None,
    responses=answers_with(UploadState, 400, 401, 403, 404, 409, 413, 429),
)
async def add_file(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    intake: NamedDependency[Intake],
    file_name: Annotated[str, QueryParameter(name="name", min_length=1, max_length=4 * LONGEST_NAME)],
) -> UploadState:
    """Hand over a file: the body is the file itself. It is read a moment later, and replaces the one of its name."""
    with intake.place(tenant):
        upload = await receive_body(request, tenant, principal, file_name, most_bytes=resources.largest_upload)
    resources.read_soon(tenant)
    return upload_of(upload)


@post(
    "/sources/uploads",
    policy=WRITE,
    repeats="unread",
    status_code=200,
    request_max_body_size=None,
    responses=answers_with(UploadList, 400, 401, 403, 404, 409, 413, 429),
)
async def add_files(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    intake: NamedDependency[Intake],
) -> UploadList:
    """Hand over files as a form does (multipart/form-data), up to 20: all of them are kept, or none."""
    with intake.place(tenant):
        uploads = await receive_form(request, tenant, principal, most_bytes=resources.largest_upload)
    resources.read_soon(tenant)
    return UploadList([upload_of(one) for one in uploads])


@get("/sources/uploads", policy=READ, sync_to_thread=True, responses=answers_with(UploadList, 400, 401, 403, 404))
def show_uploads(tenant: NamedDependency[Tenant]) -> UploadList:
    """List the uploads that are no documents yet: those that wait, the one that is being read, those that failed."""
    return UploadList([upload_of(one) for one in list_uploads(tenant, UNFINISHED)])


@get(
    "/sources/uploads/{upload_id:int}",
    policy=READ,
    sync_to_thread=True,
    responses=answers_with(UploadState, 400, 401, 403, 404),
)
def show_upload(tenant: NamedDependency[Tenant], upload_id: Number) -> UploadState:
    """Return what became of an upload."""
    return upload_of(find_upload(tenant, upload_id))


@post(
    "/sources/uploads/{upload_id:int}/retry",
    policy=WRITE,
    repeats=False,
    status_code=200,
    sync_to_thread=True,
    responses=answers_with(UploadState, 400, 401, 403, 404, 409),
)
def try_again(tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], upload_id: Number) -> UploadState:
    """Let an upload that failed be read once more."""
    upload = retry_upload(tenant, upload_id)
    resources.read_soon(tenant)
    return upload_of(upload)


@delete(
    "/sources/uploads/{upload_id:int}",
    policy=WRITE,
    sync_to_thread=True,
    responses=fails_with(400, 401, 403, 404, 409),
)
def remove_upload(tenant: NamedDependency[Tenant], upload_id: Number) -> None:
    """Take away an upload that is no document yet."""
    discard_upload(tenant, upload_id)


ROUTES = (
    show_sources,
    remove_one_source,
    add_text,
    add_address,
    add_file,
    add_files,
    show_uploads,
    show_upload,
    try_again,
    remove_upload,
)
"""The routes of this module."""
