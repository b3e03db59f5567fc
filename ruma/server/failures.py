"""The one place that turns a failure into a response: a status for each error, one JSON shape, one page.

Messages of errors that name files or keys of this machine are for its operator: they go to the log.
"""

import logging
import math
import re
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from litestar import Request, Response
from litestar.enums import MediaType
from litestar.exceptions import HTTPException
from litestar.exceptions import ValidationException as InvalidRequest
from litestar.response import Redirect

from ruma import errors
from ruma.server.access import Principal
from ruma.server.rendering import render

log = logging.getLogger("ruma.server")

STATUS: dict[type[errors.RumaError], tuple[int, str]] = {
    errors.RumaError: (500, "failed"),
    errors.InputError: (400, "bad_request"),
    errors.TooLargeError: (413, "too_large"),
    errors.NotFoundError: (404, "not_found"),
    errors.NotReadyError: (409, "not_ready"),
    errors.ConflictError: (409, "conflict"),
    errors.HeldError: (409, "held"),
    errors.SignInError: (401, "sign_in_needed"),
    errors.ForbiddenError: (403, "forbidden"),
    errors.TermsError: (403, "terms_needed"),
    errors.TooManyError: (429, "too_many"),
    errors.ModelError: (503, "model_failed"),
    errors.MailError: (503, "mail_failed"),
    errors.BillingError: (503, "billing_failed"),
    errors.NoCustomerError: (503, "no_customer"),
    errors.KeyStoreError: (500, "key_store_failed"),
    errors.KeyMissingError: (500, "key_missing"),
    errors.WrongKeyError: (500, "wrong_key"),
    errors.StoreError: (500, "store_failed"),
    errors.DiskFullError: (507, "disk_full"),
    errors.DamagedError: (500, "store_damaged"),
    errors.WrongTenantError: (500, "wrong_tenant"),
    errors.NotEncryptedError: (500, "not_encrypted"),
}
"""The HTTP status and the code of every error that a person can act on."""

REFUSALS = {
    400: ("bad_request", ""),
    403: ("cross_site", ""),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address cannot be used with that method."),
    413: ("too_large", "The request is too large."),
    415: ("not_json", ""),
    421: ("wrong_host", ""),
}
"""The code and the message of what the framework refuses by itself; an empty message leaves the one it gave."""


_API = re.compile(r"/t/[^/]*/(api|v1)/")


@dataclass(frozen=True)
class Problem:
    """What went wrong, and what to do about it."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Failure:
    """The body of every answer that is a failure."""

    error: Problem


def describe_failure(exc: BaseException) -> tuple[int, Problem]:
    """Return the HTTP status of a failure and what its reader may know; write the rest to the log."""
    if isinstance(exc, errors.RumaError):
        status, code = next(STATUS[kind] for kind in type(exc).__mro__ if kind in STATUS)
        if status < 500:
            return status, Problem(code, str(exc), exc.hint)
        log.error("%s: %s %s", type(exc).__name__, exc, exc.hint)
        if status == 503 and "/" not in str(exc):
            return status, Problem(code, str(exc), exc.hint)
        return status, Problem(code, "The agent cannot answer at the moment.", "The server's log says why.")
    if isinstance(exc, HTTPException) and exc.status_code < 500:
        code, message = REFUSALS.get(exc.status_code, ("refused", ""))
        return exc.status_code, Problem(code, message or _sentence(exc))
    log.error("A bug: %s", describe_bug(exc))
    return 500, Problem("bug", "Something went wrong in the server.", "The server's log says where.")


def respond_to_failure(request: Request[Any, Any, Any], exc: Exception) -> Response[Any]:
    """Answer any failure of any route: a page to a browser that opens one, JSON to everything else."""
    status, problem = describe_failure(exc)
    headers = dict(exc.headers or {}) if isinstance(exc, HTTPException) else {}
    if isinstance(exc, errors.TooManyError):
        headers["retry-after"] = str(max(1, math.ceil(exc.retry_seconds)))
    page = page_to_go_to(request, exc)
    if page:
        if "hx-request" in request.headers:
            # Followed by the script of the open page, a redirect would put the one page inside the other.
            return Response(b"", status_code=200, headers={"hx-redirect": page})
        return Redirect(page, status_code=303)
    if wants_page(request):
        page = render(
            "error.html", status=status, message=problem.message, hint=problem.hint, way_on=members_overview(request)
        )
        return Response(page, status_code=status, media_type=MediaType.HTML, headers=headers)
    return Response(Failure(problem), status_code=status, media_type=MediaType.JSON, headers=headers)


def page_to_go_to(request: Request[Any, Any, Any], exc: Exception) -> str:
    """Return the page on which a person does what is missing: signs in, or accepts the terms; empty for all else."""
    if isinstance(exc, errors.TermsError) and wants_page(request):
        return f"/t/{request.url.path.split('/')[2]}/terms"
    return sign_in_page(request) if isinstance(exc, errors.SignInError) else ""


def members_overview(request: Request[Any, Any, Any]) -> str:
    """Return the page from which a member who is signed in goes on; empty for everybody else."""
    principal: Principal | None = request.scope.get("ruma_principal")  # type: ignore[assignment]
    is_member = principal is not None and principal.session is not None
    return f"/t/{quote(request.path_params['name'])}/overview" if is_member else ""


def sign_in_page(request: Request[Any, Any, Any]) -> str:
    """Return the address of the page to sign in on, with the way back; empty where no person opened a page."""
    parts = request.url.path.split("/")
    if not wants_page(request) or parts[:2] != ["", "t"] or len(parts) < 3:
        return ""
    # A change is not sent a second time: who signs in lands on the page that it was made on.
    back = f"?next={quote(_open_page(request, parts[2]))}" if request.method == "GET" else ""
    return f"/t/{parts[2]}/sign-in{back}"


def _open_page(request: Request[Any, Any, Any], tenant: str) -> str:
    """Return the path of the page that is open: what its script asks for may be a part of it only."""
    shown = ""
    with suppress(ValueError):
        shown = urlsplit(request.headers.get("hx-current-url", "")).path
    return shown if shown.startswith(f"/t/{tenant}/") else request.url.path


def describe_bug(exc: BaseException) -> str:
    """Return the types and the places of an exception and its causes, without their messages.

    A message could hold words of a document or of a question, and no log may.
    """
    lines: list[str] = []
    seen: list[BaseException] = []
    found: BaseException | None = exc
    while found is not None and found not in seen:
        seen.append(found)
        lines += [type(found).__name__, *(line.rstrip() for line in traceback.format_tb(found.__traceback__))]
        found = found.__cause__ or found.__context__
    return "\n".join(lines)


def wants_page(request: Request[Any, Any, Any]) -> bool:
    """Tell whether the reader is a person who opened an address in a browser."""
    is_opened = "text/html" in request.headers.get("accept", "") or "hx-request" in request.headers
    return is_opened and not _API.match(request.url.path)


def _sentence(exc: HTTPException) -> str:
    if isinstance(exc, InvalidRequest) and isinstance(exc.extra, list) and exc.extra:
        # The first is enough; its message names types, never the value that was sent.
        first = exc.extra[0]
        return f"{first.get('key', 'The request')}: {first.get('message', 'cannot be understood')}."
    text = exc.detail.strip() or "The request cannot be understood"
    return text if text.endswith(".") else f"{text}."
