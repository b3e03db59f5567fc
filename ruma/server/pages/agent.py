"""The page of the agent: how it speaks, answers and looks, and where visitors meet it."""

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from ruma.errors import InputError, NotFoundError
from ruma.models.catalogue import find_model, list_models
from ruma.server.access import READ, WRITE, principal_of
from ruma.server.failures import Problem, describe_failure
from ruma.server.host_page import script_line
from ruma.server.pages.shell import first, lead_to, read_form, show_member_page
from ruma.server.pages.widget import own_origin
from ruma.server.resources import Resources
from ruma.tenant.agents import MOST_QUESTIONS, MOST_WEBSITES, Agent, change_agent, read_agent
from ruma.tenant.tenant import Tenant

CHOICES: dict[str, list[tuple[str, str]]] = {
    "mode": [
        ("auto", "Automatic: write where the language model is good enough, else quote"),
        ("quote", "Quote: your documents' own words"),
        ("write", "Write: a language model writes from your documents"),
    ],
    "strictness": [
        ("lenient", "Lenient: answers sooner, and is wrong more often"),
        ("balanced", "Balanced"),
        ("strict", "Strict: would rather say that it does not know"),
    ],
    "tone": [("friendly", "Friendly"), ("formal", "Formal"), ("plain", "Plain")],
    "theme": [("auto", "As the visitor's device"), ("light", "Light"), ("dark", "Dark")],
    "position": [("right", "Right"), ("left", "Left")],
}
LANGUAGES = [
    ("", "The visitor's"),
    ("en", "English"),
    ("de", "German"),
    ("fr", "French"),
    ("es", "Spanish"),
    ("pt", "Portuguese"),
    ("it", "Italian"),
    ("nl", "Dutch"),
    ("pl", "Polish"),
]
_TEXTS = ("name", "greeting", "instructions", "decline", "accent", "language", "model", *CHOICES)
_LISTS, _SWITCHES = ("questions", "websites"), ("is_published", "offers_person")
_NAMED = {"website": "websites", "colour": "accent", "language": "language"}


@get("/t/{name:str}/agent", policy=READ, sync_to_thread=True, include_in_schema=False)
def show_agent_page(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[str]:
    """Show the page."""
    agent = read_agent(tenant)
    sent: dict[str, Any] = {**asdict(agent), **{name: "\n".join(getattr(agent, name)) for name in _LISTS}}
    return _page(request, tenant, resources, agent, sent)


@post("/t/{name:str}/agent", policy=WRITE, include_in_schema=False)
async def save_agent(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[Any]:
    """Store what the form holds."""
    fields = await read_form(request)
    sent: dict[str, Any] = {name: first(fields, name) for name in (*_TEXTS, *_LISTS)}
    sent |= {name: first(fields, name) == "yes" for name in _SWITCHES}
    changes = {**sent, **{name: tuple(sent[name].splitlines()) for name in _LISTS}}
    agent = await sync_to_thread(read_agent, tenant)
    try:
        if sent["model"] not in ("", agent.model):
            await sync_to_thread(find_model, resources.home.settings, sent["model"])
        await sync_to_thread(change_agent, tenant, **changes)
    except (InputError, NotFoundError) as exc:
        status, problem = describe_failure(exc)
        return await sync_to_thread(_page, request, tenant, resources, agent, sent, problem, status)
    return lead_to(tenant, "agent", done="saved")


AGENT = (show_agent_page, save_agent)


def _page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    resources: Resources,
    agent: Agent,
    sent: dict[str, Any],
    problem: Problem | None = None,
    status: int = 200,
) -> Response[str]:
    home = f"{own_origin(request)}/t/{quote(tenant.name)}"
    languages = LANGUAGES
    if sent["language"] not in dict(LANGUAGES):
        languages = [*LANGUAGES, (sent["language"], sent["language"])]
    return show_member_page(
        "agent.html",
        request,
        tenant,
        current="agent",
        status=status,
        problem=problem,
        agent=agent,
        sent=sent,
        wrong={_named(problem): f"{problem.message} {problem.hint}".strip()} if problem else {},
        choices=CHOICES,
        languages=languages,
        models=_models(resources, sent["model"]),
        most_questions=MOST_QUESTIONS,
        most_websites=MOST_WEBSITES,
        line=script_line(home),
        public_address=f"{home}/",
        may_write=principal_of(request).may(WRITE),
    )


def _models(resources: Resources, chosen: str) -> list[tuple[str, str]]:
    """Return the language models that can be chosen; the chosen one is among them, whether it is still there or not."""
    names = [model.name for model in list_models(resources.home.settings)]
    gone = [(chosen, f"{chosen} (not there any more)")] if chosen and chosen not in names else []
    return [("", "The operator’s"), *((name, name) for name in names), *gone]


def _named(problem: Problem) -> str:
    """Return the field that a problem is about, by the words that name it."""
    for name in (*_TEXTS, *_LISTS):
        if f"agent's {name} " in problem.message or f" {name} at most" in problem.message:
            return name
    return next((name for word, name in _NAMED.items() if word in problem.message), "")
