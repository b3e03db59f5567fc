"""The doors: signing in and out, setting a tenant up, joining it, and a new password. They work without scripts."""

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal
from urllib.parse import quote

from litestar import Request, Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.concurrency import sync_to_thread
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Redirect

from ruma.business.mail import Outbox
from ruma.business.notices import reset_notice
from ruma.errors import ConflictError, InputError, RumaError, SignInError, TooManyError
from ruma.server.access import OWN, PUBLIC, Principal, cookie_name
from ruma.server.failures import Problem, describe_failure
from ruma.server.hashing import in_password_thread
from ruma.server.pages.shell import first, lead_to, load_anew, read_form, show_door
from ruma.server.resources import Resources
from ruma.tenant.people.attempts import count_attempt
from ruma.tenant.people.entry import enter_by_code, enter_by_password, guarding_link
from ruma.tenant.people.joining import accept_invitation, make_reset_link, reset_password, set_up_owner
from ruma.tenant.people.links import Link, make_link, peek_link
from ruma.tenant.people.members import Member, check_member_name, find_member, fold_email, simplify_email
from ruma.tenant.people.passwords import check_password
from ruma.tenant.people.sessions import begin_session, end_session, find_session
from ruma.tenant.profile import read_profile
from ruma.tenant.tenant import Tenant

Kind = Literal["setup", "invitation", "reset"]
_BROWSERS = [("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox", "Firefox"), ("Chrom", "Chrome"), ("Safari", "Safari")]
_SYSTEMS = [("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS")]


@get("/t/{name:str}/sign-in", policy=PUBLIC, sync_to_thread=True, include_in_schema=False)
def show_sign_in(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    back: Annotated[str, QueryParameter(name="next", max_length=500)] = "",
) -> Response[Any]:
    """Ask for the address and the password; lead on who is signed in already."""
    secret = request.cookies.get(cookie_name(tenant.name), "")
    if secret and find_session(tenant, secret):
        return Redirect(_safe(tenant, back), status_code=303)
    return _sign_in_page(request, tenant, back=back)


@post("/t/{name:str}/sign-in", policy=PUBLIC, include_in_schema=False)
async def sign_in(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[Any]:
    """Let the member in, or ask for the second factor."""
    sent = await read_form(request)
    email, back = first(sent, "email"), first(sent, "next")
    try:
        member = await in_password_thread(enter_by_password, tenant, email, _password(sent), address=principal.address)
    except (SignInError, TooManyError) as exc:
        return await sync_to_thread(_sign_in_page, request, tenant, exc, email=email, back=back)
    if member.has_second_factor:
        step = await sync_to_thread(make_link, tenant, "second-step", member_id=member.id)
        return await sync_to_thread(show_door, "second_step.html", request, tenant, step=step, back=back)
    return await sync_to_thread(let_in, request, tenant, principal, member, back)


@post("/t/{name:str}/sign-in/code", policy=PUBLIC, include_in_schema=False)
async def sign_in_by_code(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[Any]:
    """Let the member in who gave the password and now the code."""
    sent = await read_form(request)
    step, back = first(sent, "step"), first(sent, "next")
    try:
        member = await sync_to_thread(enter_by_code, tenant, step, first(sent, "code"), address=principal.address)
    except (SignInError, TooManyError) as exc:
        status, problem = describe_failure(exc)
        page = await sync_to_thread(
            show_door, "second_step.html", request, tenant, status=status, problem=problem, step=step, back=back
        )
        return _saying_when(page, exc)
    return await sync_to_thread(let_in, request, tenant, principal, member, back)


@post("/t/{name:str}/sign-out", policy=OWN, include_in_schema=False, sync_to_thread=True, without_terms=True)
def sign_out(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[Any]:
    """End the session, here and in the browser."""
    if principal.session:
        end_session(tenant, principal.session.member.id, principal.session.id)
    return leave(request, tenant, done="signed-out")


def leave(request: Request[Any, Any, Any], tenant: Tenant, *, done: str) -> Response[Any]:
    """Lead whoever's session is over to the door, and take the cookie out of their browser."""
    response = load_anew(request, lead_to(tenant, "sign-in", done=done))
    response.set_cookie(Cookie(**{**_cookie(tenant, ""), "max_age": 0}))
    return response


@get("/t/{name:str}/setup/{secret:str}", policy=PUBLIC, sync_to_thread=True, include_in_schema=False)
def show_setup(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    secret: FromPath[str],
) -> Response[str]:
    """Ask for the first owner's name, address and password."""
    return _join_page(request, tenant, "setup", _peek(tenant, "setup", secret, principal))


@post("/t/{name:str}/setup/{secret:str}", policy=PUBLIC, include_in_schema=False)
async def set_up(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    secret: FromPath[str],
) -> Response[Any]:
    """Make the first owner, and let the owner in."""
    return await _join(request, tenant, principal, "setup", secret)


@get("/t/{name:str}/invitation/{secret:str}", policy=PUBLIC, sync_to_thread=True, include_in_schema=False)
def show_invitation(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    secret: FromPath[str],
) -> Response[str]:
    """Ask who was invited for a name and a password."""
    return _join_page(request, tenant, "invitation", _peek(tenant, "invitation", secret, principal))


@post("/t/{name:str}/invitation/{secret:str}", policy=PUBLIC, include_in_schema=False)
async def join(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    secret: FromPath[str],
) -> Response[Any]:
    """Make the member who was invited, and let the member in."""
    return await _join(request, tenant, principal, "invitation", secret)


@get("/t/{name:str}/reset", policy=PUBLIC, sync_to_thread=True, include_in_schema=False)
def show_reset_request(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[str]:
    """Ask for the address of who forgot the password."""
    return show_door("reset.html", request, tenant, has_mail=resources.outbox.is_set_up, is_sent=False)


@post("/t/{name:str}/reset", policy=PUBLIC, status_code=200, include_in_schema=False)
async def ask_reset(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
) -> Response[str]:
    """Mail a link to a member of that address; the answer is the same where there is none, and comes before."""
    email = first(await read_form(request), "email")
    status, problem, refused = 200, None, None
    try:
        await sync_to_thread(count_attempt, tenant, "reset", account=simplify_email(email), address=principal.address)
    except TooManyError as exc:
        refused, (status, problem) = exc, describe_failure(exc)
    page = await sync_to_thread(
        show_door,
        "reset.html",
        request,
        tenant,
        status=status,
        problem=problem,
        has_mail=resources.outbox.is_set_up,
        is_sent=problem is None,
    )
    if problem is None and resources.outbox.is_set_up:
        origin: str = request.app.state.public.origin
        page.background = BackgroundTask(sync_to_thread, _mail_reset, tenant, resources.outbox, origin, email)
    return _saying_when(page, refused)


@get("/t/{name:str}/reset/{secret:str}", policy=PUBLIC, sync_to_thread=True, include_in_schema=False)
def show_reset(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    secret: FromPath[str],
) -> Response[str]:
    """Ask for a new password."""
    return _join_page(request, tenant, "reset", _peek(tenant, "reset", secret, principal))


@post("/t/{name:str}/reset/{secret:str}", policy=PUBLIC, include_in_schema=False)
async def reset(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    secret: FromPath[str],
) -> Response[Any]:
    """Set the new password, and lead to the door: a link that was stolen passes no second factor."""
    return await _join(request, tenant, principal, "reset", secret)


DOORS = (
    show_sign_in,
    sign_in,
    sign_in_by_code,
    sign_out,
    show_setup,
    set_up,
    show_invitation,
    join,
    show_reset_request,
    ask_reset,
    show_reset,
    reset,
)


def let_in(
    request: Request[Any, Any, Any], tenant: Tenant, principal: Principal, member: Member, back: str = ""
) -> Redirect:
    """Begin a session for a member and return what leads on, with the session's cookie."""
    secret = begin_session(
        tenant,
        member.id,
        browser=name_browser(request.headers.get("user-agent", "")),
        address=principal.address,
        old=request.cookies.get(cookie_name(tenant.name)),
    )
    response = Redirect(_safe(tenant, back), status_code=303)
    response.set_cookie(Cookie(**_cookie(tenant, secret)))
    return response


def name_browser(user_agent: str) -> str:
    """Return what is kept of what a browser says of itself: its name and its system's, to tell sessions apart."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "A browser")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "Linux" if "Linux" in user_agent else "")
    return f"{browser} on {system}" if system else browser


async def _join(
    request: Request[Any, Any, Any], tenant: Tenant, principal: Principal, kind: Kind, secret: str
) -> Response[Any]:
    sent = await read_form(request)
    link = await sync_to_thread(_peek, tenant, kind, secret, principal)
    problems = await sync_to_thread(_find_problems, tenant, link, sent)
    problem, status = None, 400
    if not problems:
        try:
            member = await in_password_thread(_make_member, tenant, link, secret, sent)
        except (InputError, ConflictError) as exc:
            status, problem = describe_failure(exc)
        else:
            if kind == "reset":
                return lead_to(tenant, "sign-in", done="password")
            return await sync_to_thread(let_in, request, tenant, principal, member)
    return await sync_to_thread(_join_page, request, tenant, kind, link, sent, problems, problem, status)


def _make_member(tenant: Tenant, link: Link, secret: str, sent: dict[str, list[str]]) -> Member:
    password, name = _password(sent), first(sent, "name")
    if link.purpose == "setup":
        return set_up_owner(tenant, secret, email=first(sent, "email"), name=name, password=password)
    if link.purpose == "invitation":
        return accept_invitation(tenant, secret, name=name, password=password)
    return reset_password(tenant, secret, password)


def _find_problems(tenant: Tenant, link: Link, sent: dict[str, list[str]]) -> dict[str, str]:
    """Return what is wrong with which field, all of it at once."""
    name, email = first(sent, "name"), first(sent, "email") or link.email
    if link.purpose == "reset":
        member = find_member(tenant, link.member_id or 0)
        name, email = member.name, member.email
    problems = {}
    checks: dict[str, Callable[[], object]] = {
        "name": lambda: check_member_name(name),
        "email": lambda: fold_email(email),
        "password": lambda: check_password(_password(sent), email=email, name=name),
    }
    for field, check in checks.items():
        try:
            check()
        except InputError as exc:
            problems[field] = f"{exc} {exc.hint}".strip()
    return problems


def _peek(tenant: Tenant, kind: Kind, secret: str, principal: Principal) -> Link:
    with guarding_link(tenant, principal.address):
        return peek_link(tenant, kind, secret)


def _join_page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    kind: Kind,
    link: Link,
    sent: dict[str, list[str]] | None = None,
    problems: dict[str, str] | None = None,
    problem: Problem | None = None,
    status: int = 200,
) -> Response[str]:
    if kind == "reset":
        link = Link("reset", link.member_id, find_member(tenant, link.member_id or 0).email, "")
    values = {"name": first(sent or {}, "name"), "email": first(sent or {}, "email")}
    return show_door(
        "join.html",
        request,
        tenant,
        status=status,
        problem=problem,
        kind=kind,
        link=link,
        values=values,
        problems=problems or {},
    )


def _sign_in_page(
    request: Request[Any, Any, Any], tenant: Tenant, exc: RumaError | None = None, *, email: str = "", back: str = ""
) -> Response[str]:
    status, problem = describe_failure(exc) if exc else (200, None)
    page = show_door("sign_in.html", request, tenant, status=status, problem=problem, email=email, back=back)
    return _saying_when(page, exc)


def _saying_when(page: Response[str], exc: RumaError | None) -> Response[str]:
    if isinstance(exc, TooManyError):
        page.headers["retry-after"] = str(math.ceil(exc.retry_seconds))
    return page


def _mail_reset(tenant: Tenant, outbox: Outbox, origin: str, email: str) -> None:
    try:
        secret = make_reset_link(tenant, email)
        member = find_member(tenant, email)
    except RumaError:
        return  # nobody of that address signs in here, and nobody is told so
    # To the address that is stored, never to the one that was typed: they can look alike and differ.
    notice = reset_notice(read_profile(tenant), origin=origin, tenant=tenant.name, to=member.email, secret=secret)
    outbox.post(notice, tenant)


def _password(sent: dict[str, list[str]]) -> str:
    return sent.get("password", [""])[0]  # blanks around it belong to it


def _safe(tenant: Tenant, back: str) -> str:
    """Return the page to go to: the one that was asked for if it is one of this tenant's, else the overview."""
    home = f"/t/{quote(tenant.name)}/"
    return (
        back if re.fullmatch(rf"{re.escape(home)}[\w/.~-]*", back, re.ASCII) and ".." not in back else f"{home}overview"
    )


def _cookie(tenant: Tenant, secret: str) -> dict[str, Any]:
    return {
        "key": cookie_name(tenant.name),
        "value": secret,
        "path": "/",
        "secure": True,
        "httponly": True,
        "samesite": "lax",
    }
