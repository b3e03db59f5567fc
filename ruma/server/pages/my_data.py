"""The page that shows a visitor everything with their e-mail address, once a one-time link has proven it."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.enums import MediaType

from ruma.server.access import PUBLIC
from ruma.server.pages.widget import look_address, page_language, words_in
from ruma.server.rendering import render
from ruma.server.resources import Resources
from ruma.tenant.agents import read_agent
from ruma.tenant.tenant import Tenant


@get("/t/{name:str}/my-data", policy=PUBLIC, sync_to_thread=True, include_in_schema=False)
def show_my_data(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[str]:
    """Show the page. It is the same for everyone: what a link opens, its script asks for."""
    agent = read_agent(tenant)
    page = render(
        "my_data.html",
        tenant=tenant.name,
        agent=agent,
        look=look_address(tenant, agent),
        has_mail=resources.outbox.is_set_up,
        **words_in(tenant, page_language(request, agent)),
    )
    return Response(page, media_type=MediaType.HTML)
