"""The agent and the embedding model for programs that speak OpenAI's API: the same answers in its shapes."""

import base64
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from litestar import Request, Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.response import Stream
from litestar.serialization import encode_json

from ruma.errors import InputError, NotFoundError
from ruma.models.vectors import Embedder
from ruma.server.access import CHAT, Principal
from ruma.server.agent_shapes import (
    AnswerMessage,
    Choice,
    Completion,
    CompletionRequest,
    Embedding,
    EmbeddingList,
    EmbeddingRequest,
    EmbeddingUsage,
    ModelInfo,
    ModelList,
    SentMessage,
    Usage,
)
from ruma.server.api.describing import answers_with
from ruma.server.asking import answer_events, begin_in_turn, finish, say_errors
from ruma.server.events import BEAT, Event
from ruma.server.guarding import require_json
from ruma.server.limits import Limits
from ruma.server.resources import Resources
from ruma.server.seats import Turns
from ruma.server.shapes import Done, Question
from ruma.tenant.tenant import Tenant

AGENT = "agent"
"""The name of the one model that chats."""

MOST_TEXTS, MOST_CHARACTERS = 256, 8_000
"""How many texts are embedded in one request, and how long each may be."""


@dataclass(frozen=True)
class Counted:
    """A completion that is being made: its id, its time, and what counts its words."""

    id: str
    created: int
    prompt_tokens: int
    embedder: Embedder

    def usage(self, text: str) -> Usage:
        """Return how many pieces question and answer have."""
        written = self.embedder.count_tokens(text)
        return Usage(self.prompt_tokens, written, self.prompt_tokens + written)


@get("/models", policy=CHAT, sync_to_thread=True, responses=answers_with(ModelList, 400, 401, 403, 404))
def show_models(tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]) -> ModelList:
    """List what can be named as a model: the agent, and the embedding model."""
    return ModelList([ModelInfo(AGENT), ModelInfo(resources.embedder().id)])


@post(
    "/chat/completions",
    policy=CHAT,
    takes_more=True,
    status_code=200,
    guards=[require_json],
    responses=answers_with(Completion, 400, 401, 403, 404, 409, 429, 503),
)
async def complete(
    request: Request[Any, Any, Any],
    data: JSONBody[CompletionRequest],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    seats: NamedDependency[Turns],
    limits: NamedDependency[Limits],
) -> Response[Any]:
    """Answer the last message from the tenant's documents.

    The answer is the agent's: messages of the role system, and settings such as temperature, are not looked at.
    The citations are in the field `citations` of the message, or of the last piece of a stream.
    """
    if data.model != AGENT:
        raise NotFoundError(f"There is no model {data.model[:80]!r}.", hint=f"The agent is called {AGENT!r} here.")
    if data.n not in (None, 1):
        raise InputError("There is one answer to a question: n must be 1.")
    asked = read_questions(data.messages)
    limits.take_question(tenant, principal)
    begun = await begin_in_turn(
        request,
        Question(asked[-1], channel="api"),
        tenant,
        principal,
        resources,
        seats,
        earlier=asked[:-1],
        is_kept=bool(data.store),
    )
    embedder = resources.embedder()
    counted = Counted(
        f"chatcmpl-{secrets.token_hex(12)}",
        int(time.time()),
        await sync_to_thread(embedder.count_tokens, "\n".join(asked)),
        embedder,
    )
    if not data.stream:
        done = await finish(request, begun, seats)
        return Response(_completion(done, counted, is_kept=bool(data.store)) if done else None)
    told = say_errors(answer_events(begun, seats))
    has_usage = data.stream_options is not None and data.stream_options.include_usage
    return Stream(
        _chunks(told, counted, has_usage=has_usage, is_kept=bool(data.store)),
        media_type="text/event-stream",
        headers={"x-accel-buffering": "no"},
        background=BackgroundTask(told.aclose),
    )


@post(
    "/embeddings",
    policy=CHAT,
    takes_more=True,
    status_code=200,
    guards=[require_json],
    responses=answers_with(EmbeddingList, 400, 401, 403, 404, 429),
)
async def embed(
    data: JSONBody[EmbeddingRequest],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    seats: NamedDependency[Turns],
    limits: NamedDependency[Limits],
) -> EmbeddingList:
    """Turn texts into vectors of unit length, with the model that the documents are searched by."""
    embedder = resources.embedder()
    if data.model not in (embedder.id, embedder.id.partition("@")[0]):
        raise NotFoundError(f"There is no embedding model {data.model[:80]!r}.", hint=f"There is {embedder.id}.")
    if data.dimensions not in (None, embedder.dimension):
        raise InputError(f"The vectors of this model have {embedder.dimension} numbers, and no other number of them.")
    texts = read_texts(data.input)
    limits.take_question(tenant, principal)
    seats.finding.check_room(tenant.id)
    async with seats.finding.of(tenant.id):
        vectors, tokens = await sync_to_thread(_embed, texts, embedder)
    found = [
        Embedding(place, _in_base64(one) if data.encoding_format == "base64" else one.tolist())
        for place, one in enumerate(vectors)
    ]
    return EmbeddingList(found, embedder.id, EmbeddingUsage(tokens, tokens))


def read_questions(messages: list[SentMessage]) -> list[str]:
    """Return what was asked, oldest first; the last is the question.

    Raises:
        InputError: The last message is no question of a visitor's.
    """
    asked = [_text(message) for message in messages if message.role == "user"]
    if not messages or messages[-1].role != "user":
        raise InputError('The last message must be the question, with the role "user".')
    return asked


def read_texts(sent: str | list[Any]) -> list[str]:
    """Return the texts to embed.

    Raises:
        InputError: They are no texts, or too many, or too long.
    """
    texts = [sent] if isinstance(sent, str) else sent
    if any(isinstance(one, int | list) for one in texts):
        raise InputError("Texts are embedded here, and no arrays of token numbers.", hint="Send the text itself.")
    if not texts or not all(isinstance(one, str) and one.strip() for one in texts):
        raise InputError("The input must be a text, or a list of texts, and none of them empty.")
    if len(texts) > MOST_TEXTS or max(map(len, texts)) > MOST_CHARACTERS:
        raise InputError(f"Send at most {MOST_TEXTS} texts of at most {MOST_CHARACTERS:,} characters.")
    return list(texts)


def _text(message: SentMessage) -> str:
    if isinstance(message.content, list):
        parts = (part.get("text") for part in message.content if part.get("type") == "text")
        return "\n".join(part for part in parts if isinstance(part, str))
    return message.content or ""


def _embed(texts: list[str], embedder: Embedder) -> tuple[list[np.ndarray[Any, np.dtype[np.float32]]], int]:
    return [embedder.embed_question(one) for one in texts], sum(embedder.count_tokens(one) for one in texts)


def _in_base64(vector: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _completion(done: Done, counted: Counted, *, is_kept: bool) -> Completion:
    message = AnswerMessage(
        done.text, done.citations, done.is_declined, done.mode, done.conversation if is_kept else None
    )
    return Completion(counted.id, counted.created, [Choice(message)], counted.usage(done.text))


async def _chunks(
    events: AsyncGenerator[Event, None], counted: Counted, *, has_usage: bool, is_kept: bool
) -> AsyncGenerator[bytes, None]:
    """Give an answer as the pieces of a stream in OpenAI's shape; a failure on the way is its last piece."""
    told = ""
    async with aclosing(events):
        yield _chunk(counted, {"role": "assistant", "content": ""})
        async for event in events:
            if event is BEAT or event.name == "waiting":
                yield b": waiting\n\n"
            elif event.name == "token":
                told += event.data.text
                yield _chunk(counted, {"content": event.data.text})
            elif event.name == "error":
                yield b"data: %s\n\n" % encode_json(event.data)
                return
            elif event.name == "done":
                extra = {
                    "citations": [asdict(one) for one in event.data.citations],
                    "is_declined": event.data.is_declined,
                    "mode": event.data.mode,
                    "conversation": event.data.conversation if is_kept else None,
                }
                yield _chunk(counted, extra, finish_reason="stop")
    if has_usage:
        yield _chunk(counted, None, usage=asdict(counted.usage(told)))
    yield b"data: [DONE]\n\n"


def _chunk(counted: Counted, delta: dict[str, Any] | None, *, finish_reason: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}]
    shape = {
        "id": counted.id,
        "object": "chat.completion.chunk",
        "created": counted.created,
        "model": AGENT,
        "choices": choices,
        **more,
    }
    return b"data: %s\n\n" % encode_json(shape)


ROUTES = (show_models, complete, embed)
"""The routes of this module."""
