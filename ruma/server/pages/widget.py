"""The widget: the script that a business's website loads, the frame that it opens, and the colours of both.

The script is a file that is the same for everyone, with the tenant's look and allowed websites written into it, so a
visitor's browser asks for one thing before the chat is opened. It holds nothing that the website may not know.
"""

import hashlib
import json
import re
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.params import QueryParameter

from ruma.errors import NotFoundError
from ruma.privacy.consent import TEXT_NAMES, consent_text
from ruma.server.access import PUBLIC
from ruma.server.addresses import PublicAddress, is_loopback
from ruma.server.guarding import CONTENT_POLICY
from ruma.server.languages import FALLBACK, accepted_languages, choose_language, read_words, speak
from ruma.server.look import DARK, LIGHT, colours_on, read_colour, write_colour, write_look
from ruma.server.rendering import read_script, render
from ruma.server.resources import NOTHING_HERE
from ruma.tenant.agents import THEMES, Agent, read_agent
from ruma.tenant.conversing.consents import LEFT_SECONDS, read_keeping
from ruma.tenant.tenant import Tenant

_ORIGIN = re.compile(r"https?://(?:[a-z0-9-]+\.)*[a-z0-9-]+(?::[0-9]{1,5})?")
_FILLED = '"CONFIG"'


@get("/t/{name:str}/widget.js", policy=PUBLIC, sync_to_thread=True, include_in_schema=False)
def show_widget_script(request: Request[Any, Any, Any], tenant: NamedDependency[Tenant]) -> Response[bytes]:
    """Give the script that puts the agent's button on a website."""
    agent = read_agent(tenant)
    settings = json.dumps(_script_settings(agent, own_origin(request), tenant.name))
    # As an object that inherits nothing, whatever the website has done to the objects of its page.
    content = read_script("widget.js").replace(_FILLED, '{"__proto__":null,' + settings[1:]).encode()
    return _keepable(request, content, "text/javascript")


@get("/t/{name:str}/widget", policy=PUBLIC, sync_to_thread=True, include_in_schema=False)
def show_widget_frame(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    lang: Annotated[str, QueryParameter(max_length=40)] = "",
    preview: Annotated[str, QueryParameter(max_length=1)] = "",
) -> Response[str]:
    """Show the chat in its frame: to the websites that the tenant allowed, and as a preview in members' pages.

    Raises:
        NotFoundError: No website is allowed.
    """
    is_preview = preview == "1"
    agent = Agent() if is_preview else read_agent(tenant)
    if not agent.websites and not is_preview:
        raise NotFoundError(NOTHING_HERE)
    language = _language(request, agent, lang)
    page = render(
        "frame.html",
        tenant=tenant.name,
        agent=agent,
        initial=initial_of(agent),
        look=look_address(tenant, agent),
        has_mail=request.app.state.resources.outbox.is_set_up,
        websites=json.dumps(agent.websites),
        is_preview=is_preview,
        **words_in(tenant, language),
    )
    return Response(page, media_type=MediaType.HTML, headers=_frame_headers(() if is_preview else agent.websites))


@get("/t/{name:str}/look.css", policy=PUBLIC, sync_to_thread=True, include_in_schema=False)
def show_look(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    accent: Annotated[str, QueryParameter(pattern="^([0-9a-fA-F]{6})?$")] = "",
    theme: Annotated[str, QueryParameter(max_length=10)] = "",
) -> Response[bytes]:
    """Give the agent's colours; with an accent and a theme, how those would look."""
    agent = read_agent(tenant)
    is_trial = bool(accent) and theme in THEMES
    look = write_look(f"#{accent}", theme) if is_trial else write_look(agent.accent, agent.theme)
    return _keepable(request, look.encode(), "text/css")


def look_address(tenant: Tenant, agent: Agent) -> str:
    """Return the address of the agent's colours; it changes with them."""
    version = hashlib.sha256(f"{agent.accent} {agent.theme}".encode()).hexdigest()[:12]
    return f"/t/{quote(tenant.name)}/look.css?v={version}"


def words_in(tenant: Tenant, language: str) -> dict[str, Any]:
    """Return what a template of the chat needs to speak a language and to ask what a visitor agrees to in it."""
    return {
        "language": language,
        "say": speak(language),
        "words": json.dumps(read_words()[language]),
        "keeping": read_keeping(tenant),
        "left_minutes": LEFT_SECONDS // 60,
        "texts": {name: consent_text(name, language).words for name in TEXT_NAMES},
    }


def page_language(request: Request[Any, Any, Any], agent: Agent) -> str:
    """Return the language for a visitor's page: one that the browser asks for, else the agent's."""
    return _language(request, agent, "")


def initial_of(agent: Agent) -> str:
    """Return the letter that stands for the agent."""
    return next((letter for letter in agent.name if letter.isalnum()), "·").upper()


def _language(request: Request[Any, Any, Any], agent: Agent, wanted: str) -> str:
    return choose_language(wanted, *accepted_languages(request.headers.get("accept-language", "")), agent.language)


def _script_settings(agent: Agent, origin: str, tenant: str) -> dict[str, Any]:
    colours = []
    for surface in (LIGHT, DARK):
        found = colours_on(surface, read_colour(agent.accent))
        colours.append([found["fill"], found["fill-strong"], found["on-fill"], write_colour(surface.page)])
    return {
        "origin": origin,
        "address": f"{origin}/t/{quote(tenant)}",
        "websites": list(agent.websites),
        "position": "left" if agent.position == "left" else "right",
        "theme": agent.theme,
        "colours": colours,
        "language": choose_language(agent.language, FALLBACK),
        "words": {code: [words["open"], words["close"]] for code, words in read_words().items()},
        "title": {code: speak(code)("frame_title", name=agent.name) for code in read_words()},
    }


def own_origin(request: Request[Any, Any, Any]) -> str:
    """Return the origin that visitors reach this server by."""
    # On this machine alone the server has several names, and the page's visitor used one of them; a server that is
    # reached from outside has one, whatever a proxy says.
    public: PublicAddress = request.app.state.public
    if not is_loopback(urlsplit(public.origin).hostname or ""):
        return public.origin
    return f"{request.scope['scheme']}://{request.headers['host'].lower()}"


def _frame_headers(websites: tuple[str, ...]) -> dict[str, str]:
    framers = " ".join(["'self'", *(one for one in websites if _ORIGIN.fullmatch(one))])
    return {
        "content-security-policy": CONTENT_POLICY.replace("frame-ancestors 'none'", f"frame-ancestors {framers}"),
        # A website that isolates itself shows only frames that carry both.
        "cross-origin-resource-policy": "cross-origin",
        "cross-origin-embedder-policy": "require-corp",
        # No device of the visitor's is any concern of the chat.
        "permissions-policy": "camera=(), microphone=(), geolocation=(), display-capture=(), payment=(), usb=()",
    }


def _keepable(request: Request[Any, Any, Any], content: bytes, media_type: str) -> Response[bytes]:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"cache-control": "public, max-age=300", "etag": etag, "cross-origin-resource-policy": "cross-origin"}
    if request.headers.get("if-none-match", "") == etag:
        return Response(b"", status_code=304, headers=headers, media_type=media_type)
    return Response(content, headers=headers, media_type=media_type)
