"""The pages of questions and answers: what the business answers in its own words."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from ruma.errors import ConflictError, InputError, NotFoundError
from ruma.ingest.pairs import MOST_ANSWER, MOST_QUESTION, save_pair
from ruma.privacy.erasing import erase_pair
from ruma.server.access import READ, WRITE, principal_of
from ruma.server.failures import Problem, describe_failure
from ruma.server.pages.shell import first, lead_to, read_form, show_member_page
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.knowledge.pairs import Pair, find_pairs, read_pair
from ruma.tenant.tenant import Tenant

ON_A_PAGE = 50


@dataclass(frozen=True)
class Draft:
    """A pair as it stands in the form."""

    question: str = ""
    answer: str = ""
    conversation: str = ""
    """The number of the conversation that it should improve."""


@get("/t/{name:str}/pairs", policy=READ, sync_to_thread=True, include_in_schema=False)
def show_pairs(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    search: Annotated[str, QueryParameter(max_length=200)] = "",
    page: Annotated[int, QueryParameter(ge=1, le=1_000_000)] = 1,
) -> Response[str]:
    """Show the list."""
    found = find_pairs(tenant, search, offset=(page - 1) * ON_A_PAGE, limit=ON_A_PAGE)
    before = (page - 1) * ON_A_PAGE
    last = before + len(found.pairs)
    return show_member_page(
        "pairs.html",
        request,
        tenant,
        current="pairs",
        pairs=found.pairs,
        total=found.total,
        search=search,
        first=before + 1,
        last=last,
        previous=_url(tenant, search, page - 1) if page > 1 else "",
        next=_url(tenant, search, page + 1) if last < found.total else "",
        may_write=principal_of(request).may(WRITE),
    )


@get("/t/{name:str}/pairs/new", policy=WRITE, sync_to_thread=True, include_in_schema=False)
def show_new_pair(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    question: Annotated[str, QueryParameter(max_length=8000)] = "",
    conversation: Annotated[str, QueryParameter(name="from", max_length=20)] = "",
) -> Response[str]:
    """Show the form for a new pair; a conversation's page leads here to improve an answer."""
    return _form(request, tenant, Draft(question[:MOST_QUESTION], "", conversation))


@post("/t/{name:str}/pairs/new", policy=WRITE, include_in_schema=False)
async def add_pair(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[Any]:
    """Store a new pair."""
    return await _save(request, tenant, resources, None)


@get("/t/{name:str}/pairs/{pair_id:int}", policy=READ, sync_to_thread=True, include_in_schema=False)
def show_pair(request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], pair_id: Number) -> Response[str]:
    """Show a pair, to change it."""
    pair = read_pair(tenant, pair_id)
    return _form(request, tenant, Draft(pair.question, pair.answer), pair)


@post("/t/{name:str}/pairs/{pair_id:int}", policy=WRITE, include_in_schema=False)
async def change_pair(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    pair_id: Number,
) -> Response[Any]:
    """Put what the form holds in the place of a pair."""
    return await _save(request, tenant, resources, await sync_to_thread(read_pair, tenant, pair_id))


@post("/t/{name:str}/pairs/{pair_id:int}/remove", policy=WRITE, sync_to_thread=True, include_in_schema=False)
def remove_one_pair(
    tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], pair_id: Number
) -> Response[Any]:
    """Erase a pair."""
    try:
        erase_pair(tenant, pair_id, forget=partial(resources.forget, tenant))
    except NotFoundError:
        return lead_to(tenant, "pairs")  # somebody else was quicker
    return lead_to(tenant, "pairs", done="removed")


PAIRS = (show_pairs, show_new_pair, add_pair, show_pair, change_pair, remove_one_pair)


async def _save(
    request: Request[Any, Any, Any], tenant: Tenant, resources: Resources, pair: Pair | None
) -> Response[Any]:
    fields = await read_form(request)
    draft = Draft(first(fields, "question"), fields.get("answer", [""])[0], first(fields, "conversation"))
    embedder = await sync_to_thread(resources.embedder)
    replaced = pair.id if pair else None
    try:
        await sync_to_thread(save_pair, draft.question, draft.answer, tenant, embedder, replaced=replaced)
    except (InputError, ConflictError) as exc:
        _, problem = describe_failure(exc)
        return await sync_to_thread(_form, request, tenant, draft, pair, problem)
    if draft.conversation.isdecimal():
        return lead_to(tenant, f"conversations/{draft.conversation}", done="saved")
    return lead_to(tenant, "pairs", done="saved" if pair else "added")


def _form(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    draft: Draft,
    pair: Pair | None = None,
    problem: Problem | None = None,
) -> Response[str]:
    wrong = "" if problem is None else "answer" if "answer is" in problem.message else "question"
    if problem and "answer has" in problem.message:
        wrong = "answer"
    return show_member_page(
        "pair.html",
        request,
        tenant,
        current="pairs",
        status=400 if problem else 200,
        draft=draft,
        pair=pair,
        wrong={wrong: f"{problem.message} {problem.hint}".strip()} if problem else {},
        most_question=MOST_QUESTION,
        most_answer=MOST_ANSWER,
        may_write=principal_of(request).may(WRITE),
    )


def _url(tenant: Tenant, search: str, page: int) -> str:
    query = {name: value for name, value in (("search", search), ("page", page if page > 1 else "")) if value}
    return f"/t/{quote(tenant.name)}/pairs{'?' + urlencode(query) if query else ''}"
