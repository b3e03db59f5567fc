"""The page to try the agent on: each answer as it comes, with its evidence, its scores and its times.

The page asks as every other program does, by `POST /t/NAME/api/chat`, which tells members how the answer came about.
"""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from ruma.server.access import READ, WRITE, principal_of
from ruma.server.pages.shell import show_member_page
from ruma.tenant.agents import read_agent
from ruma.tenant.knowledge.index import count_chunks
from ruma.tenant.tenant import Tenant

STEPS = {
    "understand": "Understand",
    "match": "Compare with your own answers",
    "search": "Search",
    "evidence": "Choose the evidence",
    "write": "Write",
}


@get("/t/{name:str}/try", policy=READ, sync_to_thread=True, include_in_schema=False)
def show_trial(request: Request[Any, Any, Any], tenant: NamedDependency[Tenant]) -> Response[str]:
    """Show the page. What is tried on it belongs to no visitor, and is counted nowhere."""
    return show_member_page(
        "trial.html",
        request,
        tenant,
        current="try",
        agent=read_agent(tenant),
        has_documents=count_chunks(tenant) > 0,
        steps=STEPS,
        may_write=principal_of(request).may(WRITE),
    )
