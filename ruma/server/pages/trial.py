"""The page to try the agent on: each answer with its evidence, its scores and its times."""

from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from ruma.chat.answering import Answer
from ruma.errors import NotFoundError, RumaError
from ruma.server.access import READ, WRITE, Principal, principal_of
from ruma.server.asking import answer_events, begin_in_turn
from ruma.server.events import collect
from ruma.server.failures import Problem, describe_failure
from ruma.server.limits import Limits
from ruma.server.pages.shell import first, read_form, show_member_page
from ruma.server.resources import Resources
from ruma.server.seats import Turns
from ruma.server.shapes import Place, Question, place_of
from ruma.tenant.agents import read_agent
from ruma.tenant.knowledge.index import count_chunks
from ruma.tenant.tenant import Tenant

MODES = {"": "As the agent is set up", "quote": "Quote", "write": "Write"}
MODE_WORDS = {"quote": "Quoted", "write": "Written", "pair": "Your own answer"}
STEPS = {
    "understand": "Understand",
    "match": "Compare with your own answers",
    "search": "Search",
    "evidence": "Choose the evidence",
    "write": "Write",
}


@dataclass(frozen=True)
class Tried:
    """One answer, and how it came about."""

    answer: Answer
    places: list[Place]
    conversation: str

    @property
    def total(self) -> float:
        """The seconds of all steps."""
        return sum(self.answer.seconds.values())


@get("/t/{name:str}/try", policy=READ, sync_to_thread=True, include_in_schema=False)
def show_trial(request: Request[Any, Any, Any], tenant: NamedDependency[Tenant]) -> Response[str]:
    """Show the page."""
    return _page(request, tenant)


@post("/t/{name:str}/try", policy=READ, include_in_schema=False)
async def try_question(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    seats: NamedDependency[Turns],
    limits: NamedDependency[Limits],
) -> Response[str]:
    """Answer a question and show how. It belongs to no visitor, and is counted nowhere."""
    fields = await read_form(request)
    question, mode = first(fields, "question"), first(fields, "mode")
    conversation = first(fields, "conversation")
    asked = Question(
        question,
        conversation=conversation or None,
        mode=mode if mode in ("quote", "write") else None,  # type: ignore[arg-type]
        channel="trial",
    )
    try:
        limits.take_question(tenant, principal)
        begun = await begin_in_turn(asked, tenant, principal, resources, seats)
        await collect(request, answer_events(begun, seats))
    except NotFoundError:  # what it belongs to was deleted: the next one begins anew
        return await sync_to_thread(_page, request, tenant, asked=asked, problem=_gone())
    except RumaError as exc:
        return await sync_to_thread(_page, request, tenant, asked=asked, problem=describe_failure(exc)[1])
    places = [place_of(tenant, one) for one in begun.answer.citations]
    tried = Tried(begun.answer, places, begun.conversation.secret)
    return await sync_to_thread(_page, request, tenant, tried=tried, asked=asked)


TRIAL = (show_trial, try_question)


def _gone() -> Problem:
    return Problem("not_found", "What was tried before is not there any more.", "Ask again to begin anew.")


def _page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    *,
    tried: Tried | None = None,
    asked: Question | None = None,
    problem: Problem | None = None,
) -> Response[str]:
    return show_member_page(
        "trial.html",
        request,
        tenant,
        current="try",
        status=400 if problem else 200,
        problem=problem,
        agent=read_agent(tenant),
        has_documents=count_chunks(tenant) > 0,
        tried=tried,
        question=asked.question if asked and problem else "",
        asked_question=asked.question if asked else "",
        mode=(asked.mode if asked else "") or "",
        modes=list(MODES.items()),
        mode_words=MODE_WORDS,
        steps=STEPS,
        may_write=principal_of(request).may(WRITE),
    )
