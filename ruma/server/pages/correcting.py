"""The page on which a document's text is corrected."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from ruma.errors import NotFoundError, RumaError
from ruma.ingest.correcting import correct_document
from ruma.server.access import WRITE
from ruma.server.api.documents import MOST_TEXT
from ruma.server.failures import Problem, describe_failure
from ruma.server.pages.shell import first, lead_to, read_form, show_member_page
from ruma.server.resources import Resources
from ruma.server.shapes import DocumentId
from ruma.tenant.knowledge.documents import read_document
from ruma.tenant.tenant import Tenant

MOST_SHOWN = 400_000
"""The most characters of a text that is corrected in a browser; a longer one is by the command or the API."""


@get("/t/{name:str}/sources/{document_id:int}/text", policy=WRITE, sync_to_thread=True, include_in_schema=False)
def show_correction(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], document_id: DocumentId
) -> Response[str]:
    """Show a document's text to be corrected."""
    return _page(request, tenant, document_id)


@post(
    "/t/{name:str}/sources/{document_id:int}/text",
    policy=WRITE,
    status_code=200,
    request_max_body_size=MOST_TEXT,
    include_in_schema=False,
)
async def correct(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    document_id: DocumentId,
) -> Response[Any]:
    """Replace a document's text."""
    sent = await read_form(request)
    text, replace = sent.get("text", [""])[0], first(sent, "replace_original") == "yes"
    try:
        await sync_to_thread(
            correct_document, tenant, document_id, text, resources.embedder(), replace_original=replace
        )
    except NotFoundError:
        raise
    except RumaError as exc:
        status, problem = describe_failure(exc)
        return await sync_to_thread(_page, request, tenant, document_id, text, problem, status)
    return lead_to(tenant, "sources", done="saved")


def _page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    document_id: int,
    text: str | None = None,
    problem: Problem | None = None,
    status: int = 200,
) -> Response[str]:
    document = read_document(tenant, document_id)
    page = show_member_page(
        "correct.html",
        request,
        tenant,
        current="sources",
        status=status,
        problem=problem,
        document=document,
        text=document.text if text is None else text,
        is_long=len(document.text) > MOST_SHOWN,
        is_pair=document.media_type == "text/x-question-answer",
    )
    # What a form was sent to is no page of its own.
    page.headers["hx-push-url"] = "false"
    return page
