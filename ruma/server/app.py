"""The whole server as one ASGI application. The only place where its parts are put together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, Router, get
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.types import Message, Receive, Scope, Send

from ruma.errors import RumaError
from ruma.server.access import READ, Principal, check_access, principal_of, tenant_of
from ruma.server.addresses import PublicAddress
from ruma.server.api.describing import describe_api
from ruma.server.api.health import show_health
from ruma.server.api.routes import openai_api, tenant_api
from ruma.server.billing import SeenEvents
from ruma.server.chores import do_chores
from ruma.server.failures import respond_to_failure
from ruma.server.guarding import CarefulRequest, check_request, guarded_headers
from ruma.server.limits import Limits
from ruma.server.pages import (
    account,
    agent,
    audit,
    billing,
    chat,
    conversations,
    correcting,
    data,
    erasures,
    exports,
    my_data,
    overview,
    pairs,
    people,
    privacy,
    rights,
    settings,
    signing_in,
    sources,
    trial,
    usage,
    widget,
)
from ruma.server.resources import OpenEmbedder, OpenGenerator, Resources
from ruma.server.seats import Turns
from ruma.server.uploading import Intake
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant

MAX_BODY = 1_000_000
"""The largest request in bytes; a question is far smaller, and nothing else is sent yet."""

MAX_FINDING = 12
"""How many questions are looked up at once. Some wait for the embedder, which reads them in one go, while others
search: with five, the last of two hundred questions that come together wait a fifth longer."""

MAX_WRITING = 8
"""How many answers a language model writes at once; who comes later waits, with the evidence to read."""


_PAGES = (
    chat.show_home,
    chat.show_chat,
    chat.ask,
    chat.show_document_page,
    chat.show_static,
    sources.show_sources,
    sources.show_source_list,
    sources.add_text,
    sources.add_address,
    sources.remove_source,
    sources.remove_document,
    sources.retry,
    correcting.show_correction,
    correcting.correct,
    sources.discard,
    widget.show_widget_script,
    widget.show_widget_frame,
    widget.show_look,
    *agent.AGENT,
    *pairs.PAIRS,
    trial.show_trial,
    *signing_in.DOORS,
    *account.ACCOUNT,
    *people.PEOPLE,
    overview.show_overview,
    *usage.USAGE,
    *conversations.INBOX_PAGES,
    *settings.SETTINGS,
    *billing.BILLING,
    *privacy.PRIVACY,
    my_data.show_my_data,
    *exports.EXPORT_PAGES,
    *rights.RIGHTS,
    *erasures.ERASURE_PAGES,
    *data.DATA,
    *audit.AUDIT,
)


def _pages() -> Router:
    # In a router of their own: two handlers of one address that are given to the application one by one are both
    # registered again with the second, and a thread's result would be a thread.
    return Router("/", route_handlers=list(_PAGES))


class Application(Litestar):
    """Litestar with a door: what every request must be, and what every response carries, is decided here.

    It stands before the routes, so it holds for addresses that do not exist and for failures too.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, or the start and the end of the server."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        asked = scope
        if scope["method"] == "HEAD":
            # To the routes a HEAD is a GET, so none is left unguarded; uvicorn leaves out the body.
            scope = {**scope, "method": "GET"}
        public: PublicAddress = self.state.public
        send = _adding_headers(send, public)
        try:
            check_request(scope, public)
        except HTTPException as exc:
            scope["litestar_app"] = self
            await _refuse(scope, receive, send, exc)
            return
        await super().__call__(scope, receive, send)
        # For the log, which stands around this.
        asked.update({name: scope[name] for name in ("path_template", "ruma_tenant") if name in scope})


def _adding_headers(send: Send, public: PublicAddress) -> Send:
    async def send_guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = guarded_headers(list(message["headers"]), is_secure=public.is_secure)
        await send(message)

    return send_guarded


def create_app(
    home: Home, open_embedder: OpenEmbedder, open_generator: OpenGenerator, *, public: PublicAddress | None = None
) -> Application:
    """Return the server of a home. Models are opened when they are first needed, the embedder at the start.

    Args:
        home: Whose tenants to serve.
        open_embedder: Opens the embedder.
        open_generator: Opens the language model of a name.
        public: Where the server is reached; without it, on this machine alone.
    """
    resources = Resources(home, open_embedder, open_generator)
    limits = Limits(visitor_questions=home.settings.visitor_questions, tenant_questions=home.settings.tenant_questions)
    seen_events = SeenEvents()
    seats = Turns(finding=MAX_FINDING, writing=MAX_WRITING)
    intake = Intake()

    @asynccontextmanager
    async def keep_open(_: Litestar) -> AsyncIterator[None]:
        await sync_to_thread(resources.warm)
        await sync_to_thread(resources.uploads.start, home.names())
        await sync_to_thread(resources.addresses.start, home.names())
        resources.start_forgetting()
        await sync_to_thread(resources.exports.start, home.names())
        chores = asyncio.create_task(do_chores(resources, (public or PublicAddress()).origin))
        resources.daily.start()
        try:
            yield
        finally:
            chores.cancel()
            await asyncio.gather(chores, return_exceptions=True)
            seats.close()
            await sync_to_thread(resources.close)

    failures: dict[int | type[Exception], Any] = {
        kind: respond_to_failure for kind in (RumaError, HTTPException, Exception)
    }
    return Application(
        route_handlers=[_pages(), show_health, show_openapi, tenant_api(), openai_api()],
        dependencies={
            "resources": Provide(lambda: resources, sync_to_thread=False),
            "limits": Provide(lambda: limits, sync_to_thread=False),
            "principal": Provide(principal_of_request, sync_to_thread=False),
            "seats": Provide(lambda: seats, sync_to_thread=False),
            "seen_events": Provide(lambda: seen_events, sync_to_thread=False),
            "intake": Provide(lambda: intake, sync_to_thread=False),
            "tenant": Provide(tenant_of_request),
        },
        guards=[check_access],
        state=State(
            {"resources": resources, "limits": limits, "seats": seats, "public": public or PublicAddress()},
        ),
        exception_handlers=failures,
        lifespan=[keep_open],
        request_class=CarefulRequest,
        request_max_body_size=MAX_BODY,
        openapi_config=None,
        logging_config=None,
    )


def principal_of_request(request: Request[Any, Any, Any]) -> Principal:
    """Return who asks."""
    return principal_of(request)


async def tenant_of_request(request: Request[Any, Any, Any], name: FromPath[str]) -> Tenant:
    """Return the tenant of that name."""
    return await tenant_of(request, name)


@get("/t/{name:str}/api/openapi.json", policy=READ, include_in_schema=False, sync_to_thread=True)
def show_openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Describe the API."""
    app = request.app
    if "description" not in app.state:  # it takes half a second and is the same for everybody
        app.state.description = describe_api([show_health, tenant_api(), openai_api()], app.dependencies)
    description: dict[str, Any] = app.state.description
    return description


async def _refuse(scope: Scope, receive: Receive, send: Send, exc: HTTPException) -> None:
    request: Request[Any, Any, Any] = Request(scope, receive, send)
    response = respond_to_failure(request, exc).to_asgi_response(app=None, request=request)
    await response(scope, receive, send)
