"""Looks at the server as a visitor and a member would, for the check of the privacy policy."""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlencode

from ruma.config import Settings
from ruma.errors import InputError
from ruma.privacy.policy import Facts
from ruma.privacy.policy_check import Page, System
from ruma.server.addresses import PublicAddress, is_loopback, public_address
from ruma.server.request_log import RequestLog
from ruma.tenant.home import Home
from ruma.tenant.people.members import create_member
from ruma.tenant.people.sessions import IDLE_SECONDS, LIFE_SECONDS, begin_session, find_session
from ruma.tenant.policy_evidence import set_session_times
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ruma.server.app import Application

_STRANGER = "203.0.113.77"
_HOST = "127.0.0.1"


def look_at_system(home: Home, tenant: Tenant, facts: Facts, *, pages: tuple[Page, ...] | None = None) -> System:
    """Return what the checks need: real answers of the application, and of one with a member who signs in.

    Nothing of the tenant is changed: the member is made in a home of its own, which is thrown away.

    Args:
        home: Whose application is asked.
        tenant: Whose policy is checked.
        facts: What the policy was written from.
        pages: What a running server answered, where it was asked instead.
    """
    lines: list[str] = []
    with _application(home) as app:
        public: PublicAddress = app.state.public
        logged = RequestLog(app, public, lines.append)
        asked = tuple(_ask(logged, path) for path in page_paths(tenant, facts))
    signed_in, sessions_end = _try_sessions(home.settings, tenant.name)
    return System(
        tenant=tenant,
        facts=facts,
        pages=pages or asked,
        signed_in=signed_in,
        log_line=lines[0],
        sessions_end=sessions_end,
        transport=_find_transport(home.settings),
    )


def page_paths(tenant: Tenant, facts: Facts) -> list[str]:
    """Return the addresses of what visitors are shown."""
    home = f"/t/{quote(tenant.name)}"
    paths = [f"{home}/privacy?canary=canary", f"{home}/widget.js", f"{home}/look.css", f"{home}/sign-in"]
    if facts.agent.websites:
        paths.append(f"{home}/widget")
    return [*paths, home] if facts.agent.is_published else paths


@contextmanager
def _application(home: Home) -> "Iterator[Application]":
    # The application imports the pages, and a page calls this.
    from ruma.server.app import create_app

    app = create_app(home, _open_nothing, lambda _: None)
    try:
        yield app
    finally:
        app.state.resources.close()


def _open_nothing() -> NoReturn:
    raise InputError("No model is needed to look at pages.")


def _try_sessions(settings: Settings, name: str) -> tuple[Page, str]:
    """Sign a made-up member in, in a home that is thrown away; return the answer and what does not end in time."""
    password = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="ruma-policy-") as folder:
        home = Home(replace(settings, home=Path(folder), key_source="machine"))
        home.create(name)
        with home.open(name) as tenant, _application(home) as app:
            member = create_member(tenant, email="trial@example.com", name="Trial", role="viewer", password=password)
            form = {"email": "trial@example.com", "password": password}
            page = _ask(app, f"/t/{quote(name)}/sign-in", form)
            return page, _find_endless(tenant, member.id)


def _find_endless(tenant: Tenant, member_id: int) -> str:
    secret, now = begin_session(tenant, member_id), time.time()
    if find_session(tenant, secret) is None:
        return "No session could be begun, so nothing could be checked."
    set_session_times(tenant, started_at=now - LIFE_SECONDS - 60, seen_at=now)
    is_endless = find_session(tenant, secret) is not None
    set_session_times(tenant, started_at=now - IDLE_SECONDS - 60, seen_at=now - IDLE_SECONDS - 60)
    is_never_idle = find_session(tenant, secret) is not None
    if (IDLE_SECONDS, LIFE_SECONDS) != (30 * 60, 12 * 3600):
        return f"Sessions end after {IDLE_SECONDS} seconds without use and after {LIFE_SECONDS} in any case."
    return "Sessions go on for longer." if is_endless or is_never_idle else ""


def _find_transport(settings: Settings) -> str:
    try:
        public = public_address(settings, settings.port)
    except InputError as exc:
        return str(exc)
    is_private = is_loopback(settings.host) or settings.tls_cert or public.trusted_proxies
    return "" if is_private else "Others can reach the server without encryption."


def _ask(app: Any, path: str, form: Mapping[str, str] | None = None) -> Page:
    """Return what an application answers to one request, as it would be sent."""
    return asyncio.run(_ask_async(app, path, form))


async def _ask_async(app: Any, path: str, form: Mapping[str, str] | None) -> Page:
    place, _, query = path.partition("?")
    body = urlencode(form or {}).encode()
    headers = [(b"host", _HOST.encode()), (b"user-agent", b"canary")]
    if form is not None:
        headers += [
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"content-length", str(len(body)).encode()),
        ]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET" if form is None else "POST",
        "scheme": "http",
        "path": place,
        "raw_path": place.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": headers,
        "client": (_STRANGER, 40000),
        "server": (_HOST, 80),
        "extensions": {},
        "state": {},
    }
    sent: list[Any] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if waiting:
            return waiting.pop()
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    head = next(one for one in sent if one["type"] == "http.response.start")
    content = b"".join(one.get("body", b"") for one in sent if one["type"] == "http.response.body")
    pairs = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in head["headers"])
    return Page(place, head["status"], pairs, content.decode("utf-8", "replace"))
