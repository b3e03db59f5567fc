"""A member's own account: name, password, second factor, and where the member is signed in."""

from functools import partial
from typing import Any

import segno
from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from ruma.errors import ConflictError, InputError, RumaError, SignInError
from ruma.privacy.consent import STORAGE
from ruma.privacy.erasing import erase_member
from ruma.server.access import OWN, Principal
from ruma.server.failures import Problem, describe_failure
from ruma.server.hashing import in_password_thread
from ruma.server.pages.shell import first, lead_to, load_anew, read_form, show_member_page
from ruma.server.pages.signing_in import leave, let_in
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.conversing.corrections import correct_email
from ruma.tenant.people.entry import confirm_password
from ruma.tenant.people.members import Member, change_member, change_password, find_member
from ruma.tenant.people.second_factor import (
    count_recovery_codes,
    disable_second_factor,
    enable_second_factor,
    factor_address,
    is_factor_secret,
    new_factor_secret,
    replace_recovery_codes,
)
from ruma.tenant.people.sessions import end_all_sessions, end_session, list_sessions
from ruma.tenant.people.terms import list_acceptances
from ruma.tenant.tenant import Tenant


@get("/t/{name:str}/account", policy=OWN, sync_to_thread=True, include_in_schema=False)
def show_account(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[str]:
    """Show the account."""
    return _account_page(request, tenant, principal)


@post("/t/{name:str}/account/name", policy=OWN, status_code=200, include_in_schema=False)
async def change_name(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[Any]:
    """Change the member's name."""
    sent = await read_form(request)
    try:
        await sync_to_thread(change_member, tenant, _member(principal).id, name=first(sent, "name"))
    except InputError as exc:
        problems = {"name": str(exc)}
        return await sync_to_thread(_account_page, request, tenant, principal, problems=problems, status=400)
    return lead_to(tenant, "account", done="saved")


@post("/t/{name:str}/account/email", policy=OWN, status_code=200, include_in_schema=False)
async def change_email(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[Any]:
    """Change the address that the member signs in with, after the password was asked for."""
    sent = await read_form(request)
    problems: dict[str, str] = {}
    status = 400
    if found := await in_password_thread(_confirm, tenant, principal, sent):
        status, problems = found[0], {"email_password": found[1].message}
    else:
        try:
            await sync_to_thread(correct_email, tenant, _member(principal).id, first(sent, "email"))
        except (InputError, ConflictError) as exc:
            problems = {"email": f"{exc} {exc.hint}".strip()}
    if problems:
        return await sync_to_thread(_account_page, request, tenant, principal, problems=problems, status=status)
    return lead_to(tenant, "account", done="saved")


@post("/t/{name:str}/account/password", policy=OWN, status_code=200, include_in_schema=False)
async def set_password(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[Any]:
    """Set a new password; every other browser is signed out, and this one goes on in a new session."""
    sent = await read_form(request)
    member = _member(principal)
    problem = await in_password_thread(_confirm, tenant, principal, sent)
    if problem:
        problems = {"password": problem[1].message}
        return await sync_to_thread(_account_page, request, tenant, principal, problems=problems, status=problem[0])
    try:
        await in_password_thread(change_password, tenant, member.id, sent.get("new_password", [""])[0])
    except InputError as exc:
        problems = {"new_password": f"{exc} {exc.hint}"}
        return await sync_to_thread(_account_page, request, tenant, principal, problems=problems, status=400)
    here = f"/t/{tenant.name}/account"
    return load_anew(request, await sync_to_thread(let_in, request, tenant, principal, member, here))


@get("/t/{name:str}/account/second-factor", policy=OWN, sync_to_thread=True, include_in_schema=False)
def show_second_factor(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[Any]:
    """Show a new secret as a picture, to be read by an app."""
    if _member(principal).has_second_factor:
        return lead_to(tenant, "account")
    return _factor_page(request, tenant, principal, new_factor_secret())


@post("/t/{name:str}/account/second-factor", policy=OWN, status_code=200, include_in_schema=False)
async def set_second_factor(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[Any]:
    """Switch the second factor on, and show the recovery codes, this once."""
    sent = await read_form(request)
    secret = first(sent, "secret")
    problem = await in_password_thread(_confirm, tenant, principal, sent)
    if not problem:
        try:
            codes = await sync_to_thread(
                enable_second_factor, tenant, _member(principal).id, secret, first(sent, "code")
            )
        except RumaError as exc:
            problem = describe_failure(exc)
        else:
            return await sync_to_thread(_codes_page, request, tenant, codes)
    status, shown = problem
    secret = secret if is_factor_secret(secret) else new_factor_secret()
    return await sync_to_thread(_factor_page, request, tenant, principal, secret, shown, status)


@post("/t/{name:str}/account/second-factor/change", policy=OWN, status_code=200, include_in_schema=False)
async def change_second_factor(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[Any]:
    """Switch the second factor off, or show new recovery codes, which void the old ones."""
    sent = await read_form(request)
    member, problem = _member(principal), await in_password_thread(_confirm, tenant, principal, sent)
    if not problem:
        try:
            if first(sent, "do") == "off":
                await sync_to_thread(disable_second_factor, tenant, member.id)
                return lead_to(tenant, "account", done="saved")
            codes = await sync_to_thread(replace_recovery_codes, tenant, member.id)
            return await sync_to_thread(_codes_page, request, tenant, codes)
        except RumaError as exc:
            problem = describe_failure(exc)
    status, shown = problem
    return await sync_to_thread(_account_page, request, tenant, principal, problem=shown, status=status)


@post("/t/{name:str}/account/sessions/{session_id:int}/end", policy=OWN, sync_to_thread=True, include_in_schema=False)
def end_one_session(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    session_id: Number,
) -> Response[Any]:
    """End one of the member's sessions."""
    end_session(tenant, _member(principal).id, session_id)
    return load_anew(request, lead_to(tenant, "account", done="saved"))


@post("/t/{name:str}/account/sessions/end", policy=OWN, sync_to_thread=True, include_in_schema=False)
def end_every_session(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]
) -> Response[Any]:
    """Sign the member out everywhere, here too."""
    end_all_sessions(tenant, _member(principal).id)
    return load_anew(request, lead_to(tenant, "sign-in", done="signed-out"))


@post("/t/{name:str}/account/remove", policy=OWN, status_code=200, include_in_schema=False, without_terms=True)
async def remove_account(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
) -> Response[Any]:
    """Erase the member's own account, after the password was asked for; also of one who does not accept the terms."""
    problem = await in_password_thread(_confirm, tenant, principal, await read_form(request))
    if not problem:
        try:
            await sync_to_thread(_erase, tenant, principal, resources)
            return leave(request, tenant, done="left")
        except ConflictError as exc:  # the last owner, or a legal hold
            problem = describe_failure(exc)
    status, shown = problem
    text = f"{shown.message} {shown.hint}".strip()
    problems = {"remove_password": text}
    return await sync_to_thread(_account_page, request, tenant, principal, problems=problems, status=status)


ACCOUNT = (
    show_account,
    change_name,
    change_email,
    set_password,
    show_second_factor,
    set_second_factor,
    change_second_factor,
    end_one_session,
    end_every_session,
    remove_account,
)


def draw_code(text: str) -> tuple[int, str]:
    """Return the size of a QR code with its quiet edge, and the path of its dark squares: no markup from elsewhere."""
    rows = [bytes(row) for row in segno.make(text, micro=False).matrix_iter(border=4)]
    path = "".join(f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark)
    return len(rows), path


def _member(principal: Principal) -> Member:
    if principal.member is None:
        raise SignInError("Please sign in.")
    return principal.member


def _erase(tenant: Tenant, principal: Principal, resources: Resources) -> None:
    erase_member(tenant, _member(principal).id, forget=partial(resources.forget, tenant))


def _confirm(tenant: Tenant, principal: Principal, sent: dict[str, list[str]]) -> tuple[int, Problem] | None:
    try:
        password = sent.get("password", [""])[0]
        confirm_password(tenant, _member(principal), password, address=principal.address)
    except SignInError as exc:
        return 400, describe_failure(exc)[1]  # who asks is known, so this is not the way to the door
    except RumaError as exc:
        return describe_failure(exc)
    return None


def _account_page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    principal: Principal,
    *,
    problem: Problem | None = None,
    problems: dict[str, str] | None = None,
    status: int = 200,
) -> Response[str]:
    member = find_member(tenant, _member(principal).id)
    page = show_member_page(
        "account.html",
        request,
        tenant,
        current="account",
        status=status,
        problem=problem,
        member=member,
        sessions=list_sessions(tenant, member.id),
        this_session=principal.session.id if principal.session else 0,
        codes_left=count_recovery_codes(tenant, member.id),
        problems=problems or {},
        storage=[one for one in STORAGE if one.who == "member"],
        accepted=[one for one in list_acceptances(tenant) if one.member_id == member.id],
    )
    return _stay(page)


def _factor_page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    principal: Principal,
    secret: str,
    problem: Problem | None = None,
    status: int = 200,
) -> Response[str]:
    size, path = draw_code(factor_address(tenant, _member(principal).id, secret))
    page = show_member_page(
        "second_factor.html",
        request,
        tenant,
        current="account",
        status=status,
        problem=problem,
        secret=secret,
        size=size,
        path=path,
    )
    return _stay(page)


def _codes_page(request: Request[Any, Any, Any], tenant: Tenant, codes: list[str]) -> Response[str]:
    return _stay(show_member_page("recovery_codes.html", request, tenant, current="account", codes=codes))


def _stay(page: Response[str]) -> Response[str]:
    # What a form was sent to is no page of its own: the browser must not note it as one.
    page.headers["hx-push-url"] = "false"
    return page
