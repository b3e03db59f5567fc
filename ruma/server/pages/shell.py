"""The frame of members' pages: what every one of them needs, and how it answers a form."""

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from litestar import Request, Response
from litestar.enums import MediaType
from litestar.exceptions import HTTPException
from litestar.response import Redirect

from ruma.errors import InputError
from ruma.privacy.requests import today
from ruma.server.access import MANAGE, Principal, principal_of
from ruma.server.failures import Problem
from ruma.server.guarding import member_policy
from ruma.server.rendering import render
from ruma.tenant.agents import read_agent
from ruma.tenant.conversing.inbox import count_waiting
from ruma.tenant.conversing.requests import count_requests
from ruma.tenant.tenant import Tenant

FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 200

NOTICES = {
    "saved": "Saved.",
    "added": "Added.",
    "removed": "Removed.",
    "sent": "Sent.",
    "asked": "Asked for. It is being made, and is listed here.",
    "mailed": "Sent, and on its way by mail.",
    "unread": "Marked as not read.",
    "deleted": "Deleted. The receipt is under Privacy, Erasures.",
    "erased": "Erased. This is the receipt.",
    "paid": "Thank you. The plan is yours as soon as Stripe says that it is paid, mostly within a minute.",
    "closed": "Closed.",
    "opened": "Opened again.",
    "signed-out": "You are signed out.",
    "left": "Your account is erased.",
    "password": "Your password is changed. Sign in with the new one.",
}
"""What a page says after a change led back to it, by the word in its address (`?done=saved`)."""


class NotAFormException(HTTPException):
    """The body of the request is not said to be a form."""

    status_code = 415


def show_member_page(
    template: str,
    request: Request[Any, Any, Any],
    tenant: Tenant,
    *,
    current: str,
    status: int = 200,
    problem: Problem | None = None,
    **values: Any,
) -> Response[str]:
    """Return a member's page.

    Args:
        template: A template that extends `member.html`.
        request: The request that is answered.
        tenant: Whose page it is.
        current: The place in the navigation that it belongs to.
        status: The HTTP status.
        problem: What stands on top as having failed.
        values: What else the template needs.
    """
    principal = principal_of(request)
    member = principal.member
    page = render(
        template,
        tenant=tenant.name,
        agent_name=read_agent(tenant).name,
        member_name=member.name if member else "",
        role=member.role if member else "",
        csrf=principal.csrf,
        current=current,
        waiting={"conversations": count_waiting(tenant), "data": _open_requests(tenant, principal)},
        notice=NOTICES.get(request.query_params.get("done", "")),
        problem=problem,
        **values,
    )
    headers = {"content-security-policy": member_policy()}
    return Response(page, status_code=status, media_type=MediaType.HTML, headers=headers)


def _open_requests(tenant: Tenant, principal: Principal) -> int:
    return count_requests(tenant, today().isoformat()).open if principal.may(MANAGE) else 0


def show_door(
    template: str,
    request: Request[Any, Any, Any],
    tenant: Tenant,
    *,
    status: int = 200,
    problem: Problem | None = None,
    **values: Any,
) -> Response[str]:
    """Return a page from before one is signed in, made of a template that extends `door.html`."""
    page = render(
        template,
        tenant=tenant.name,
        agent_name=read_agent(tenant).name,
        notice=NOTICES.get(request.query_params.get("done", "")),
        problem=problem,
        **values,
    )
    return Response(page, status_code=status, media_type=MediaType.HTML)


def lead_to(tenant: Tenant, place: str, *, done: str = "", **query: str) -> Redirect:
    """Return a redirect to a member's page of a tenant, after a form was done (303: the browser gets it anew)."""
    query = {**query, **({"done": done} if done else {})}
    return Redirect(f"/t/{quote(tenant.name)}/{place}{'?' + urlencode(query) if query else ''}", status_code=303)


def load_anew(request: Request[Any, Any, Any], redirect: Redirect) -> Response[Any]:
    """Return a redirect after which the browser loads a page whole: what the last one held of its session is over."""
    if "hx-request" not in request.headers:
        return redirect
    return Response(None, status_code=200, headers={"hx-redirect": redirect.url}, cookies=redirect.cookies)


async def read_form(request: Request[Any, Any, Any]) -> dict[str, list[str]]:
    """Return the fields of a form that was sent; the values of one name in their order.

    The body is read as it is: the framework's own reader would also take files, and write them to the disk.

    Raises:
        NotAFormException: It is not said to be a form.
        InputError: It has more fields than any form of ours.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise NotAFormException("The body must be a form.")
    try:
        pairs = parse_qsl(
            (await request.body()).decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS
        )
    except ValueError as exc:
        raise InputError("The form has too many fields.") from exc
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def first(fields: dict[str, list[str]], name: str) -> str:
    """Return the first value of a field, without blanks around it; empty where it was not sent."""
    return fields.get(name, [""])[0].strip()
