"""The documents that the agent answers from."""

from functools import partial
from typing import Annotated
from urllib.parse import quote

from litestar import Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from litestar.response import Stream

from ruma.ingest.correcting import correct_document
from ruma.privacy.erasing import erase_document
from ruma.server.access import READ, WRITE
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.export_shapes import CorrectedText, DocumentCorrected
from ruma.server.guarding import require_json
from ruma.server.resources import Resources
from ruma.server.shapes import DocumentId, DocumentList, DocumentSummary, DocumentText, Number, Section
from ruma.tenant.audit import note_now
from ruma.tenant.erasing.receipts import Kept
from ruma.tenant.knowledge.documents import FoundDocument, find_documents, read_document, read_original_of
from ruma.tenant.tenant import Tenant

MOST_DOCUMENTS = 1000
FARTHEST = 10_000_000
MOST_TEXT = 4_000_000

DOWNLOAD_HEADERS = {
    # What was handed over is given back as a file and never shown: it may hold scripts, whatever it is named.
    "content-type": "application/octet-stream",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
}


@get("/documents", policy=READ, sync_to_thread=True, responses=answers_with(DocumentList, 400, 401, 403, 404))
def show_documents(
    tenant: NamedDependency[Tenant],
    search: Annotated[str, QueryParameter(max_length=200)] = "",
    source_id: Annotated[int | None, QueryParameter(ge=1, le=2**63 - 1)] = None,
    offset: Annotated[int, QueryParameter(ge=0, le=FARTHEST)] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_DOCUMENTS)] = 100,
) -> DocumentList:
    """List the documents that the agent answers from, or those with the words of `search` in their name or title."""
    found = find_documents(tenant, search, source_id=source_id, offset=offset, limit=limit)
    return DocumentList([_summary_of(one) for one in found.documents], found.total)


@get(
    "/documents/{document_id:int}",
    policy=READ,
    sync_to_thread=True,
    responses=answers_with(DocumentText, 400, 401, 403, 404),
)
def show_document(tenant: NamedDependency[Tenant], document_id: DocumentId) -> DocumentText:
    """Return a document's text, as it was read, with its headings and pages."""
    one = read_document(tenant, document_id)
    return DocumentText(
        id=one.id,
        name=one.name,
        title=one.title,
        media_type=one.media_type,
        size_bytes=one.size_bytes,
        added_at=one.added_at,
        text=one.text,
        sections=[Section(*chunk) for chunk in one.chunks],
    )


@get(
    "/documents/{document_id:int}/original",
    policy=READ,
    sync_to_thread=True,
    responses=fails_with(400, 401, 403, 404),
)
def download_original(tenant: NamedDependency[Tenant], document_id: Number) -> Stream:
    """Return the file that a document was read from, as a download."""
    name = read_document(tenant, document_id).name
    headers = {**DOWNLOAD_HEADERS, "content-disposition": attachment(name)}
    note_now(tenant, "original.downloaded", f"document {document_id}")
    return Stream(read_original_of(tenant, document_id), headers=headers, media_type="application/octet-stream")


@put(
    "/documents/{document_id:int}/text",
    policy=WRITE,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    request_max_body_size=MOST_TEXT,
    responses=answers_with(DocumentCorrected, 400, 401, 403, 404, 409),
)
def correct_text(
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    document_id: Number,
    data: JSONBody[CorrectedText],
) -> DocumentCorrected:
    """Replace a document's text, from which the agent answers at once. The document gets a new number."""
    made = correct_document(
        tenant, document_id, data.text, resources.embedder(), replace_original=data.replace_original
    )
    return DocumentCorrected(made.document_id, made.chunks, made.replaced_original)


@delete("/documents/{document_id:int}", policy=WRITE, sync_to_thread=True, responses=fails_with(400, 401, 403, 404))
def remove_document(
    tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], document_id: Number
) -> Response[None]:
    """Erase a document and everything that was made from it. The header `X-Ruma-Receipt` has the erasure's number.

    Raises:
        NotFoundError: There is no such document.
    """
    return receipt_header(erase_document(tenant, document_id, forget=partial(resources.forget, tenant)))


def receipt_header(kept: Kept) -> Response[None]:
    """Return the answer to a deletion: nothing but the number of its receipt."""
    return Response(None, status_code=204, headers={"x-ruma-receipt": str(kept.id)})


def attachment(name: str) -> str:
    """Return the Content-Disposition that saves a file under its name (RFC 6266), and in no folder but the usual."""
    base = name.replace("\\", "/").rpartition("/")[2] or "document"
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in " .-_()") else "_" for letter in base)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(base, safe='')}"


def _summary_of(one: FoundDocument) -> DocumentSummary:
    return DocumentSummary(
        id=one.id,
        name=one.name,
        title=one.title,
        media_type=one.media_type,
        size_bytes=one.size_bytes,
        added_at=one.added_at,
        chunks=one.chunks,
        source_id=one.source_id,
        source_kind=one.source_kind,
        added_by=one.added_by,
    )


ROUTES = (show_documents, show_document, download_original, remove_document, correct_text)
"""The routes of this module."""
