"""What `/openapi.json` says of the API beyond its shapes: an example of each answer, and of each failure."""

from collections.abc import Sequence
from typing import Any

from litestar import Litestar
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Example
from litestar.types import ControllerRouterHandler, Dependencies

from ruma import __version__
from ruma.server import (
    agent_shapes,
    billing_shapes,
    erasure_shapes,
    export_shapes,
    policy_shapes,
    retention_shapes,
    rights_shapes,
)
from ruma.server.api import inbox_examples, member_examples
from ruma.server.failures import Failure, Problem
from ruma.server.shapes import (
    AgentInfo,
    ConversationText,
    DocumentList,
    DocumentSummary,
    DocumentText,
    Done,
    Health,
    KeyPlace,
    PassageFound,
    Passages,
    Place,
    Said,
    Section,
    SourceList,
    SourceSummary,
    UploadList,
    UploadState,
)

_QUESTION = "What does delivery to Marrowby cost?"
_SENTENCE = "Delivery in Marrowby town costs £2.50, and is free for orders of £20 or more."
_URL = "/t/bakery/documents/4?start=598&end=676&seal=9f2c1e6a0b7d4f3895ce1ab2d0347f61#cited"
_CONVERSATION = "fZ0m3xJ8q1Yt5VbKc7RwUe2LhNp9SgDa6iTo4XyBvE0"
_PLACE = Place(1, 4, "Delivery", "Where we deliver, and what it costs", 1, 598, 676, _SENTENCE, _URL, 1.64)
_ADDED = "2026-03-02T09:15:04Z"
_SUMMARY = DocumentSummary(
    4, "delivery.pdf", "Delivery", "application/pdf", 52276, _ADDED, 9, 3, "upload", "Ada Miller"
)
_UPLOAD = UploadState(12, "upload", "delivery.pdf", 52276, "done", "", 4, "Ada Miller", _ADDED, "2026-03-02T09:15:06Z")
_SECONDS = {"search": 0.011, "evidence": 0.002}
_DONE = Done(f"{_SENTENCE} [1]", [_PLACE], False, "quote", _SECONDS, _CONVERSATION, 82, True, 1.31, 0.98)

_EXAMPLES: dict[type, Any] = {
    AgentInfo: AgentInfo("Marrowby Bakery", "Hello! Ask me about the bakery.", [_QUESTION], True),
    Done: _DONE,
    Passages: Passages([PassageFound(4, "delivery.pdf", "Delivery", _PLACE.heading, 1, 598, _SENTENCE, 0.8123, _URL)]),
    DocumentList: DocumentList([_SUMMARY], 1),
    SourceList: SourceList([SourceSummary(3, "upload", "delivery.pdf", _ADDED, 1, 52276)]),
    UploadState: _UPLOAD,
    UploadList: UploadList([_UPLOAD]),
    DocumentText: DocumentText(
        4, "delivery.pdf", "Delivery", "application/pdf", 52276, _SUMMARY.added_at, _SENTENCE, [Section(0, 78, "", 1)]
    ),
    ConversationText: ConversationText(
        17,
        [
            Said("visitor", _QUESTION, "2026-03-02T09:20:11Z", "", False, [], 81),
            Said("agent", _DONE.text, "2026-03-02T09:20:11Z", "quote", False, [_PLACE], 82),
        ],
    ),
    Health: Health(True, __version__),
    KeyPlace: KeyPlace(
        kept_in="a sealed file, opened by the systemd credential",
        kept_since="2026-05-04T09:12:00Z",
        made_at="2026-09-01T07:00:00Z",
        is_rotated=True,
    ),
    **inbox_examples.EXAMPLES,
    **agent_shapes.EXAMPLES,
    **member_examples.EXAMPLES,
    **export_shapes.EXAMPLES,
    **rights_shapes.EXAMPLES,
    **policy_shapes.EXAMPLES,
    **retention_shapes.EXAMPLES,
    **billing_shapes.EXAMPLES,
    **erasure_shapes.EXAMPLES,
}
_SENT = {
    "/t/{name}/api/chat": {"question": _QUESTION},
    "/t/{name}/api/search": {"question": _QUESTION, "limit": 3},
    "/t/{name}/api/sources/texts": {"title": "Summer hours", "text": "In August we open at nine."},
    "/t/{name}/api/sources/addresses": {"address": "https://www.bakery.example/", "whole_site": True},
    **inbox_examples.SENT,
    **agent_shapes.SENT,
    **member_examples.SENT,
    **export_shapes.SENT,
    **rights_shapes.SENT,
    **retention_shapes.SENT,
    **billing_shapes.SENT,
    **erasure_shapes.SENT,
}
_FAILURES = {
    400: ("The request cannot be understood.", Problem("bad_request", "The question is empty.")),
    401: (
        "Nobody is signed in, and there is no valid API key.",
        Problem("sign_in_needed", "Please sign in.", "Programs send an API key: Authorization: Bearer ruma_…"),
    ),
    403: (
        "The role or the API key may not do this.",
        Problem("forbidden", "Your role may not do this.", "An owner can make you editor."),
    ),
    413: (
        "A file is larger than the operator's setting max_file_mb allows.",
        Problem("too_large", "film.pdf is larger than 50 MB, which is the most that is taken.", "Split it."),
    ),
    429: (
        "Too much was asked in too short a time; the header Retry-After says when again.",
        Problem("too_many", "That were many questions in a short time.", "Ask again in 4 seconds."),
    ),
    404: (
        "There is no such tenant, document or conversation.",
        Problem("not_found", "There is nothing at this address."),
    ),
    409: (
        "Something must be done first, such as adding documents.",
        Problem("not_ready", "There are no documents yet.", "ruma ingest FOLDER"),
    ),
    503: (
        "The language model, or a server that had to be asked, did not do it.",
        Problem("model_failed", "The language model stopped.", "Ask again."),
    ),
}
_STREAM = """event: evidence
data: {"citations":[{"number":1,"title":"Delivery","quote":"Delivery in Marrowby town costs …"}],"is_declined":false}

event: token
data: {"text":"Delivery in Marrowby town costs £2.50"}

event: done
data: {"text":"Delivery in Marrowby town costs £2.50, … [1]","citations":[…],"conversation":"fZ0m…"}

"""


def answers_with(shape: type, *failures: int) -> dict[int, ResponseSpec]:
    """Describe what a route answers: its shape with an example, and the failures besides 500."""
    described = {
        200: ResponseSpec(
            shape,
            generate_examples=False,
            description=(shape.__doc__ or "").strip(),
            examples=[Example(value=_EXAMPLES[shape])],
        )
    }
    for status in failures:
        described[status] = _failure(status)
    return described


def fails_with(*failures: int) -> dict[int, ResponseSpec]:
    """Describe the failures of a route that answers with nothing."""
    return {status: _failure(status) for status in failures}


def describe_api(routes: Sequence[ControllerRouterHandler], dependencies: Dependencies) -> dict[str, Any]:
    """Return the OpenAPI document of the routes.

    They are described apart from the server: the framework would else add pages of its own, with their own errors.
    """
    app = Litestar(
        route_handlers=routes,
        openapi_config=OpenAPIConfig(
            title="Ruma",
            version=__version__,
            description="Ask a tenant's agent, and read what it answers from. Every failure has the same shape.",
            use_handler_docstrings=True,
        ),
        dependencies=dependencies,
    )
    schema = app.openapi_schema.to_schema()
    for path, example in _SENT.items():
        operation = next(schema["paths"][path][way] for way in ("post", "patch", "put") if way in schema["paths"][path])
        body = operation["requestBody"]["content"]["application/json"]
        body["examples"] = {"question": {"value": example}}
    _close_bodies(schema)
    _describe_bytes(schema["paths"])
    chat = schema["paths"]["/t/{name}/api/chat"]["post"]
    chat["responses"]["200"]["content"]["text/event-stream"] = {"schema": {"type": "string"}, "example": _STREAM}
    return schema


def _close_bodies(schema: dict[str, Any]) -> None:
    """Say that a body has no further field; what OpenAI's clients send may have."""
    for path, ways in schema["paths"].items():
        for way in ways.values():
            body = way.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            if "$ref" in body and "/v1/" not in path:
                schema["components"]["schemas"][body["$ref"].rpartition("/")[2]]["additionalProperties"] = False


def _describe_bytes(paths: dict[str, Any]) -> None:
    """Say what is no JSON: the files that come in, which the framework never sees, and those that go out."""
    file = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"file": {"type": "array", "items": file}}, "required": ["file"]}
    uploads = paths["/t/{name}/api/sources/uploads"]
    for method, kind, shape in (("put", "application/octet-stream", file), ("post", "multipart/form-data", form)):
        uploads[method]["requestBody"] = {"required": True, "content": {kind: {"schema": shape}}}
    original = paths["/t/{name}/api/documents/{document_id}/original"]["get"]["responses"]
    export = paths["/t/{name}/api/conversations/{conversation_id}/export"]["get"]["responses"]
    kinds: dict[str, Any] = {kind: {"schema": {"type": "string"}} for kind in ("text/plain", "text/csv")}
    example = {"conversation": {"value": inbox_examples.EXPORTED}}
    kinds["application/json"] = {"schema": {"type": "object"}, "examples": example}
    export["200"] = {"description": "The file.", "content": kinds}
    for path in ("conversation/export", "visitor/export", "exports/{export_id}/file"):
        answers = paths[f"/t/{{name}}/api/{path}"]["get"]["responses"]
        answers["200"] = {"description": "The file.", "content": {"application/octet-stream": {"schema": file}}}
    line = retention_shapes.EXPORTED
    log = paths["/t/{name}/api/audit/export"]["get"]["responses"]
    lines = {"application/x-ndjson": {"schema": {"type": "string"}, "examples": {"entry": {"value": line}}}}
    log["200"] = {"description": "The file.", "content": {**lines, "text/csv": {"schema": {"type": "string"}}}}
    receipt = paths["/t/{name}/api/erasures/{erasure_id}/receipt"]["get"]["responses"]
    receipt["200"] = {"description": "The file.", "content": {"application/octet-stream": {"schema": file}}}
    original["200"] = {"description": "The file.", "content": {"application/octet-stream": {"schema": file}}}


def _failure(status: int) -> ResponseSpec:
    description, problem = _FAILURES[status]
    return ResponseSpec(
        Failure, generate_examples=False, description=description, examples=[Example(value=Failure(problem))]
    )
