"""Questions that the business answers in its own words."""

from functools import partial
from typing import Annotated

from litestar import Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from ruma.ingest.pairs import save_pair
from ruma.privacy.erasing import erase_pair
from ruma.server.access import READ, WRITE
from ruma.server.agent_shapes import NewPair, PairList, PairText, pair_of
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.api.documents import receipt_header
from ruma.server.guarding import require_json
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.knowledge.pairs import find_pairs, read_pair
from ruma.tenant.tenant import Tenant

MOST_PAIRS = 1000


@get("/pairs", policy=READ, sync_to_thread=True, responses=answers_with(PairList, 400, 401, 403, 404))
def show_pairs(
    tenant: NamedDependency[Tenant],
    search: Annotated[str, QueryParameter(max_length=200)] = "",
    offset: Annotated[int, QueryParameter(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_PAIRS)] = 100,
) -> PairList:
    """List the questions with their answers, or those that hold the words of `search`."""
    found = find_pairs(tenant, search, offset=offset, limit=limit)
    return PairList([pair_of(one) for one in found.pairs], found.total)


@post(
    "/pairs",
    policy=WRITE,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(PairText, 400, 401, 403, 404, 409),
)
def add_pair(
    data: JSONBody[NewPair], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> PairText:
    """Answer a question in these words from now on."""
    return pair_of(read_pair(tenant, save_pair(data.question, data.answer, tenant, resources.embedder())))


@get("/pairs/{pair_id:int}", policy=READ, sync_to_thread=True, responses=answers_with(PairText, 400, 401, 403, 404))
def show_pair(tenant: NamedDependency[Tenant], pair_id: Number) -> PairText:
    """Return a question with its answer."""
    return pair_of(read_pair(tenant, pair_id))


@put(
    "/pairs/{pair_id:int}",
    policy=WRITE,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(PairText, 400, 401, 403, 404, 409),
)
def change_pair(
    data: JSONBody[NewPair], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], pair_id: Number
) -> PairText:
    """Put these words in the place of a pair; the new one has a new number, and nothing is left of the old one."""
    changed = save_pair(data.question, data.answer, tenant, resources.embedder(), replaced=pair_id)
    return pair_of(read_pair(tenant, changed))


@delete("/pairs/{pair_id:int}", policy=WRITE, sync_to_thread=True, responses=fails_with(400, 401, 403, 404, 409))
def remove_one_pair(
    tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], pair_id: Number
) -> Response[None]:
    """Erase a pair, with what visitors were answered from it. The header `X-Ruma-Receipt` has the erasure's number."""
    return receipt_header(erase_pair(tenant, pair_id, forget=partial(resources.forget, tenant)))


ROUTES = (show_pairs, show_pair, add_pair, change_pair, remove_one_pair)
"""The routes of this module."""
