"""Looks at the server as a visitor and a member would, for the check of the privacy policy."""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol
from urllib.parse import quote, urlencode, urlsplit

from ruma.config import Settings
from ruma.errors import InputError, NotFoundError
from ruma.privacy.policy_pages import Page, find_own
from ruma.privacy.policy_parts import Facts, System
from ruma.server.addresses import is_loopback, public_address
from ruma.server.request_log import RequestLog
from ruma.tenant.home import Home
from ruma.tenant.people.members import create_member, find_member, remove_member
from ruma.tenant.policy_evidence import set_session_times
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ruma.server.app import Application

_STRANGER = "203.0.113.77"
_HOST = "127.0.0.1"
_TRIAL = "policy-check@ruma.invalid"
_IDLE_SECONDS, _LIFE_SECONDS = 30 * 60, 12 * 3600
"""How long sessions live, as the policy says it."""


class Ask(Protocol):
    """Asks the application, or a running server, and returns what it answers; redirects are not followed."""

    def __call__(self, path: str, *, form: Mapping[str, str] | None = None, cookie: str = "") -> Page:
        """Get an address, or post a form to it."""


@dataclass(frozen=True)
class Answers:
    """What is found out by asking."""

    pages: tuple[Page, ...]
    signed_in: Page
    account: Page
    sessions_end: str
    transport: str
    asked: str = ""
    """The address of the running server."""


def look_at_system(home: Home, tenant: Tenant, facts: Facts, answers: Answers | None = None) -> System:
    """Return what the checks need: real answers of the application, or of a running server where it was asked.

    Of the application nothing of the tenant is changed: the member who signs in is in a home that is thrown away.
    """
    lines: list[str] = []
    with _application(home) as app:
        logged = partial(_ask, RequestLog(app, app.state.public, lines.append))
        pages = see_pages(logged, tenant, facts) if answers is None else (logged(_privacy(tenant)),)
    if answers is None:
        answers = Answers(pages, *_try_elsewhere(home.settings, tenant.name), "")
    return System(
        tenant=tenant,
        facts=facts,
        pages=answers.pages,
        signed_in=answers.signed_in,
        account=answers.account,
        log_line=lines[0],
        sessions_end=answers.sessions_end,
        transport=_find_transport(home.settings) or answers.transport,
        own_hosts=_own_hosts(facts, answers.asked),
        asked=answers.asked,
    )


def see_pages(ask: Ask, tenant: Tenant, facts: Facts) -> tuple[Page, ...]:
    """Return what visitors are shown, the policy first, with each script, style and picture that comes along."""
    home = f"/t/{quote(tenant.name)}"
    paths = [_privacy(tenant), f"{home}/widget.js", f"{home}/sign-in"]
    if facts.agent.websites:
        paths.append(f"{home}/widget")
    if facts.agent.is_published:
        paths.append(home)
    found: dict[str, Page] = {}
    while paths:
        path = paths.pop(0)
        page = found[path.partition("?")[0]] = ask(path)
        paths += [one for one in find_own(page) if one not in found and one not in paths]
    return tuple(found.values())


def try_sessions(tenant: Tenant, ask: Ask) -> tuple[Page, Page, str]:
    """Sign a made-up member of the tenant in, who is removed again.

    Returns:
        The answer to signing in, the page of the account, or of the terms that come before it, and what does not end
        in time; empty where everything does.
    """
    home, password = f"/t/{quote(tenant.name)}", secrets.token_urlsafe(24)
    with suppress(NotFoundError):  # a check that was killed could not
        remove_member(tenant, find_member(tenant, _TRIAL).id)
    member = create_member(tenant, email=_TRIAL, name="Check of the policy", role="viewer", password=password)
    try:
        sign_in = partial(ask, f"{home}/sign-in", form={"email": _TRIAL, "password": password})
        page = sign_in()
        account = ask(f"{home}/account", cookie=_cookie_of(page))
        if account.header("location").endswith("/terms"):
            account = ask(f"{home}/terms", cookie=_cookie_of(page))
        return page, account, _find_endless(tenant, member.id, sign_in, partial(ask, f"{home}/account"))
    finally:
        remove_member(tenant, member.id)


def _privacy(tenant: Tenant) -> str:
    return f"/t/{quote(tenant.name)}/privacy?canary=canary"


def _own_hosts(facts: Facts, asked: str) -> frozenset[str]:
    known = [facts.settings.public_url, f"//{facts.settings.host}", asked, *facts.agent.websites, f"//{_HOST}"]
    return frozenset(urlsplit(address).hostname or "" for address in known)


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


def _try_elsewhere(settings: Settings, name: str) -> tuple[Page, Page, str]:
    """Try sessions in a home that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="ruma-policy-") as folder:
        home = Home(replace(settings, home=Path(folder), key_source="machine"))
        home.create(name)
        with home.open(name) as tenant, _application(home) as app:
            return try_sessions(tenant, partial(_ask, app))


def _cookie_of(page: Page) -> str:
    return page.cookies[0].partition(";")[0] if page.cookies else ""


def _find_endless(tenant: Tenant, member_id: int, sign_in: Callable[[], Page], look: Callable[..., Page]) -> str:
    now = time.time()
    old, idle = now - _LIFE_SECONDS - 60, now - _IDLE_SECONDS - 60
    for started_at, seen_at, what in ((old, now, "begun"), (idle, idle, "used")):
        cookie = _cookie_of(sign_in())  # a session of its own: one that is over is removed when it is used
        if not _is_in(look(cookie=cookie)):
            return "Nobody could sign in, so nothing could be checked."
        set_session_times(tenant, member_id, started_at=started_at, seen_at=seen_at)
        if _is_in(look(cookie=cookie)):
            return f"A session that was {what} {round((now - started_at) / 60)} minutes ago still lets a member in."
    return ""


def _is_in(page: Page) -> bool:
    return page.status == 200 or page.header("location").endswith("/terms")


def _find_transport(settings: Settings) -> str:
    try:
        public = public_address(settings, settings.port)
    except InputError as exc:
        return str(exc)
    is_private = is_loopback(settings.host) or settings.tls_cert or public.trusted_proxies
    return "" if is_private else "Others can reach the server without encryption."


def _ask(app: Any, path: str, *, form: Mapping[str, str] | None = None, cookie: str = "") -> Page:
    """Return what an application answers to one request, as it would be sent."""
    return asyncio.run(_ask_async(app, path, form, cookie))


async def _ask_async(app: Any, path: str, form: Mapping[str, str] | None, cookie: str) -> Page:
    place, _, query = path.partition("?")
    body = urlencode(form or {}).encode()
    headers = [(b"host", _HOST.encode()), (b"user-agent", b"canary"), (b"accept", b"text/html")]
    if cookie:
        headers.append((b"cookie", cookie.encode()))
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
