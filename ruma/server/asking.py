"""From a question to the events of its answer."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

from litestar import Request
from litestar.exceptions import HTTPException

from ruma.chat.answering import Answer, answer
from ruma.errors import NotFoundError, TooManyError
from ruma.models.generator import Generator
from ruma.privacy.consent import choose
from ruma.server.access import CHECK_SECONDS, READ, Principal
from ruma.server.events import BEAT, Event, collect, in_one_thread
from ruma.server.failures import Failure, describe_failure
from ruma.server.languages import choose_language
from ruma.server.resources import Resources
from ruma.server.seats import Turns
from ruma.server.shapes import Done, Evidence, Mode, Question, Token, Waiting, place_of
from ruma.tenant.agents import Agent, read_agent
from ruma.tenant.conversing.consents import read_keeping
from ruma.tenant.conversing.conversations import Channel, OpenConversation, begin_conversation, resume_conversation
from ruma.tenant.knowledge.documents import check_documents_present
from ruma.tenant.people.attempts import note_wrong_secret
from ruma.tenant.tenant import Tenant


class LeftException(HTTPException):
    """Whoever asked has left before it was their turn, and reads no response."""

    status_code = 499
    detail = "The reader has left."


@dataclass(frozen=True)
class Begun:
    """An answer whose evidence is known and whose text is still to come, where a model writes it."""

    answer: Answer
    conversation: OpenConversation
    tenant: Tenant
    check: Callable[[], None]
    """Raises once whoever asks may read on no longer, or a document that the answer comes from is gone."""
    has_scores: bool = False
    """Whether whoever asks is told how well the evidence fits."""
    pieces: tuple[str, ...] | None = None
    """The whole text, where no model writes it: it is there, and stored, with the evidence. Else None."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is still to come."""
        return self.pieces is not None


def begin_answer(
    asked: Question,
    tenant: Tenant,
    principal: Principal,
    resources: Resources,
    *,
    earlier: Sequence[str] = (),
    is_kept: bool = True,
) -> Begun:
    """Find the evidence for a question, and the text where that is quoted. What can fail predictably fails here.

    Args:
        asked: The question.
        tenant: Whose agent answers.
        principal: Who asks.
        resources: The models.
        earlier: What was asked before, where the caller keeps the conversation.
        is_kept: Whether the exchange becomes part of a conversation.

    Raises:
        InputError: The question is empty or too long.
        NotFoundError: The conversation is not there any more.
        NotReadyError: There are no documents yet.
        ModelError: The language model cannot be started.
    """
    with resources.answering():
        agent = read_agent(tenant)
        mode = asked.mode or agent.mode
        generator = _find_generator(mode, agent, resources)
        if asked.conversation:
            conversation = resume_own(tenant, principal, asked.conversation)
        else:
            conversation = open_conversation(
                tenant, agent, principal, asked.channel, asked.website, asked.language, asked.keep, asked.analytics
            )
        reply = answer(
            asked.question,
            tenant=tenant,
            embedder=resources.embedder(),
            generator=generator,
            conversation=conversation if is_kept else None,
            earlier=earlier,
            mode=mode,
            agent=agent,
        )
    website = asked.website if asked.website in agent.websites else ""
    check = _watch_evidence(tenant, reply, principal.watch(tenant, website=website))
    # Quoting waits for no model: to come back for the text would cost more than the text does.
    pieces = None if reply.is_to_be_written else tuple(piece for piece in reply.tokens if piece)
    return Begun(reply, conversation, tenant, check, principal.may(READ), pieces)


def open_conversation(
    tenant: Tenant,
    agent: Agent,
    principal: Principal,
    channel: Channel,
    website: str,
    language: str,
    keep: bool | None = None,
    analytics: bool | None = None,
) -> OpenConversation:
    """Return a new conversation. What a visitor's browser says of itself is noted only where it can be true.

    On the chat page and in the widget it is kept and counted as its visitor chose; what was not chosen is off, unless
    the business keeps what nobody refuses. A program has its own way to ask, and says what it was told.
    """
    if channel == "trial" and principal.kind != "member":
        channel = "api"
    is_asked = channel in ("page", "widget")
    is_kept_unasked = not is_asked or read_keeping(tenant) == "unless_refused"
    is_kept = is_kept_unasked if keep is None else keep
    is_counted = is_kept and (not is_asked if analytics is None else analytics)
    shown = choose_language(language)
    choices = [choose("keep", is_kept, shown)] if is_kept != is_kept_unasked else []
    choices += [choose("analytics", True, shown)] if is_counted and analytics else []
    return begin_conversation(
        channel,
        website=website if website in agent.websites else "",
        language=language[:20],
        is_kept=is_kept,
        is_counted=is_counted,
        choices=tuple(choices),
    )


def resume_own(tenant: Tenant, principal: Principal, secret: str) -> OpenConversation:
    """Return the conversation that a secret opens; a wrong one is counted against where it came from.

    Raises:
        NotFoundError: There is none.
        TooManyError: Secrets were guessed at from there.
    """
    try:
        return resume_conversation(tenant, secret)
    except NotFoundError:
        note_wrong_secret(tenant, "conversation", address=principal.address)
        raise


async def begin_in_turn(
    request: Request[Any, Any, Any],
    asked: Question,
    tenant: Tenant,
    principal: Principal,
    resources: Resources,
    seats: Turns,
    *,
    earlier: Sequence[str] = (),
    is_kept: bool = True,
) -> Begun:
    """Begin an answer when it is the tenant's turn.

    Raises:
        LeftException: Whoever asked left before; nothing is stored.
        TooManyError: Too many questions wait already, for their evidence or for the language model.
        RumaError: As `begin_answer`.
    """
    seats.finding.check_room(tenant.id)
    async with seats.finding.of(tenant.id):
        if await _has_left(request):
            raise LeftException
        begin = partial(begin_answer, asked, tenant, principal, resources, earlier=earlier, is_kept=is_kept)
        begun = await asyncio.get_running_loop().run_in_executor(seats.threads, copy_context().run, begin)
    if not begun.is_whole:
        try:
            seats.writing.check_room(tenant.id)
        except TooManyError:
            begun.answer.tokens.close()
            raise
    return begun


async def _has_left(request: Request[Any, Any, Any]) -> bool:
    """Tell whether the connection is closed; its body must have been read."""
    leaving = asyncio.ensure_future(request.receive())
    await asyncio.sleep(0)
    return not leaving.cancel()


def _find_generator(mode: str, agent: Agent, resources: Resources) -> Generator | None:
    if mode == "quote":
        return None
    try:
        return resources.generator(agent.model)
    except NotFoundError:
        if mode == "auto":  # a model that was removed may not write, and visitors are answered all the same
            return None
        raise


def _watch_evidence(tenant: Tenant, reply: Answer, check_reader: Callable[[], None]) -> Callable[[], None]:
    """Return a check of the reader and, four times a second at most, of the documents that are written from."""
    document_ids = {one.document_id for one in reply.citations}
    checked = time.monotonic()

    def check() -> None:
        nonlocal checked
        check_reader()
        if time.monotonic() - checked >= CHECK_SECONDS:
            checked = time.monotonic()
            check_documents_present(tenant, document_ids)

    return check


def _mode(reply: Answer) -> Mode:
    return "write" if reply.mode == "write" else "pair" if reply.mode == "pair" else "quote"


async def answer_events(begun: Begun, seats: Turns) -> AsyncGenerator[Event, None]:
    """Give the events of an answer; what fails on the way is raised."""
    reply, tenant = begun.answer, begun.tenant
    measured = {"support": reply.support, "needed": reply.needed} if begun.has_scores else {}
    yield Event(
        "evidence",
        Evidence(
            citations=[place_of(tenant, citation, has_score=begun.has_scores) for citation in reply.citations],
            is_declined=reply.is_declined,
            mode=_mode(reply),
            question=reply.understood,
            seconds=dict(reply.seconds),
            **measured,
        ),
    )
    for piece in begun.pieces or ():
        yield Event("token", Token(piece))
    if not begun.is_whole:
        if place := seats.writing.place_of(tenant.id):
            yield Event("waiting", Waiting(place))
        async with aclosing(in_one_thread(reply.tokens, seats.writing.of(tenant.id), begun.check)) as tokens:
            async for text in tokens:
                yield Event("token", Token(text)) if text else BEAT
    yield Event(
        "done",
        Done(
            text=reply.text,
            citations=[place_of(tenant, citation, has_score=begun.has_scores) for citation in reply.cited],
            is_declined=reply.is_declined,
            mode=_mode(reply),
            seconds=dict(reply.seconds),
            # One that could not be stored, on a full disk, cannot be gone on with.
            conversation=begun.conversation.secret if begun.conversation.id else "",
            message_id=reply.message_id or 0,
            is_kept=begun.conversation.is_kept,
            **measured,
        ),
    )


async def finish(request: Request[Any, Any, Any], begun: Begun, seats: Turns) -> Done | None:
    """Return the whole answer once it is there; None where its reader left before."""
    events = answer_events(begun, seats)
    told = [event async for event in events] if begun.is_whole else await collect(request, events)
    done: Done | None = told[-1].data if told else None
    return done


async def say_errors(events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    """Give the same events, and an `error` event in place of what is raised: the status is already sent."""
    async with aclosing(events):
        try:
            async for event in events:
                yield event
        except Exception as exc:  # the reader must be told, whatever it is
            yield Event("error", Failure(describe_failure(exc)[1]))
