"""The documents that the agent answers from."""

from litestar import get
from litestar.di import NamedDependency

from ruma.server.access import READ
from ruma.server.api.describing import answers_with
from ruma.server.shapes import DocumentId, DocumentList, DocumentSummary, DocumentText, Section
from ruma.tenant.documents import list_documents, read_document
from ruma.tenant.tenant import Tenant


@get("/documents", policy=READ, sync_to_thread=True, responses=answers_with(DocumentList, 400, 401, 403, 404))
def show_documents(tenant: NamedDependency[Tenant]) -> DocumentList:
    """List the documents that the agent answers from."""
    return DocumentList(
        [
            DocumentSummary(one.id, one.name, one.title, one.media_type, one.size_bytes, one.added_at)
            for one in list_documents(tenant)
        ]
    )


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
