"""Asking the agent, and searching what it answers from."""

from typing import Any

from litestar import Request, Response, post
from litestar.background_tasks import BackgroundTask
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from litestar.response import Stream

from ruma.chat.searching import search
from ruma.errors import InputError
from ruma.server.access import CHAT, VISITOR, principal_of, tenant_of
from ruma.server.api.describing import answers_with
from ruma.server.asking import answer_events, begin_in_turn, finish, say_errors
from ruma.server.events import encode_event
from ruma.server.guarding import require_json
from ruma.server.resources import Resources
from ruma.server.shapes import Done, Passages, Question, SearchQuestion, passage_of
from ruma.tenant.tenant import Tenant

EVENT_STREAM = "text/event-stream"
MOST_PASSAGES = 50


@post(
    "/chat",
    policy=VISITOR,
    repeats=False,
    status_code=200,
    guards=[require_json],
    responses=answers_with(Done, 400, 401, 404, 409, 429, 503),
)
async def chat(
    request: Request[Any, Any, Any],
    name: FromPath[str],
    data: JSONBody[Question],
) -> Response[Any]:
    """Answer a question from the tenant's documents.

    With `Accept: text/event-stream` the answer comes as it is made: one event `evidence` at once, then `token`
    for each piece of text, then `done` with the whole answer, or `error`. Without it, it comes as one JSON object,
    the same as the data of `done`. Members, and programs that may read, also learn how well the evidence fits.
    Closing the connection stops the answer; nothing of it is kept.
    """
    # Everyone's visitors ask this: of five dependencies, each would be a task of its own in the event loop.
    tenant, principal = await tenant_of(request, name), principal_of(request)
    resources, seats, limits = request.app.state.resources, request.app.state.seats, request.app.state.limits
    limits.take_question(tenant, principal, visitor=data.conversation or "")
    begun = await begin_in_turn(request, data, tenant, principal, resources, seats)
    if EVENT_STREAM not in request.headers.get("accept", ""):
        return Response(await finish(request, begun, seats))
    told = say_errors(answer_events(begun, seats))
    if begun.is_whole:
        whole = b"".join([encode_event(event) async for event in told])
        return Response(whole, media_type=EVENT_STREAM)
    return Stream(
        (encode_event(event) async for event in told),
        media_type=EVENT_STREAM,
        headers={"x-accel-buffering": "no"},
        background=BackgroundTask(told.aclose),
    )


@post(
    "/search",
    policy=CHAT,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(Passages, 400, 401, 403, 404, 409),
)
def search_passages(
    data: JSONBody[SearchQuestion],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
) -> Passages:
    """Return the passages that fit a question best, without an answer."""
    if not 1 <= data.limit <= MOST_PASSAGES:
        raise InputError(f"The limit must be 1 to {MOST_PASSAGES}, not {data.limit}.")
    found = search(data.question, tenant, resources.embedder(), limit=data.limit)
    return Passages([passage_of(tenant, one) for one in found])


ROUTES = (chat, search_passages)
"""The routes of this module."""
