"""The agent, as visitors meet it."""

from dataclasses import asdict

from litestar import get, patch
from litestar.di import NamedDependency
from litestar.params import JSONBody

from ruma.models.catalogue import find_model
from ruma.server.access import READ, VISITOR, WRITE
from ruma.server.agent_shapes import AgentChange, AgentSettings, settings_of
from ruma.server.api.describing import answers_with
from ruma.server.guarding import require_json
from ruma.server.resources import Resources
from ruma.server.shapes import AgentInfo
from ruma.tenant.agents import change_agent, read_agent
from ruma.tenant.knowledge.index import count_chunks
from ruma.tenant.tenant import Tenant


@get("/agent", policy=VISITOR, sync_to_thread=True, responses=answers_with(AgentInfo, 400, 401, 404))
def show_agent(tenant: NamedDependency[Tenant]) -> AgentInfo:
    """Return the agent as visitors meet it."""
    agent = read_agent(tenant)
    return AgentInfo(agent.name, agent.greeting, list(agent.questions), count_chunks(tenant) > 0)


@get("/agent/settings", policy=READ, sync_to_thread=True, responses=answers_with(AgentSettings, 400, 401, 403, 404))
def show_agent_settings(tenant: NamedDependency[Tenant]) -> AgentSettings:
    """Return all of the agent's settings."""
    return settings_of(read_agent(tenant))


@patch(
    "/agent/settings",
    policy=WRITE,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(AgentSettings, 400, 401, 403, 404),
)
def edit_agent(
    tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], data: JSONBody[AgentChange]
) -> AgentSettings:
    """Change some of the agent's settings; they hold from the next question on."""
    if data.model:
        find_model(resources.home.settings, data.model)
    changes = {name: value for name, value in asdict(data).items() if value is not None}
    for name in ("questions", "websites"):
        if name in changes:
            changes[name] = tuple(changes[name])
    return settings_of(change_agent(tenant, **changes))


ROUTES = (show_agent, show_agent_settings, edit_agent)
"""The routes of this module."""
