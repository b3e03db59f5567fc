"""The agent, as visitors meet it."""

from litestar import get
from litestar.di import NamedDependency

from ruma.server.access import VISITOR
from ruma.server.api.describing import answers_with
from ruma.server.shapes import AgentInfo
from ruma.tenant.agents import read_agent
from ruma.tenant.index import count_chunks
from ruma.tenant.tenant import Tenant


@get("/agent", policy=VISITOR, sync_to_thread=True, responses=answers_with(AgentInfo, 400, 401, 404))
def show_agent(tenant: NamedDependency[Tenant]) -> AgentInfo:
    """Return the agent as visitors meet it."""
    agent = read_agent(tenant)
    return AgentInfo(agent.name, agent.greeting, list(agent.questions), count_chunks(tenant) > 0)
