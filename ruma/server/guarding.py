"""What every request must be, and what every response must carry, before any route is looked at.

A page from elsewhere that is open in the same browser must reach nothing: neither by a name of its own that
resolves to this machine, nor by posting a form to it.
"""

from collections.abc import Sequence, Set
from dataclasses import fields, is_dataclass
from typing import Any
from urllib.parse import urlsplit

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import ClientException, HTTPException, PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler
from litestar.types import HTTPScope

from ruma.errors import InputError
from ruma.server.addresses import PublicAddress, is_loopback

CONTENT_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
_MEMBERS = {
    "trusted-types 'none'": "trusted-types default",
    "frame-ancestors 'none'": "frame-ancestors 'none'; frame-src 'self'",
}
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


class WrongHostException(HTTPException):
    """The request names a host that is not this machine."""

    status_code = 421


class NotJsonException(HTTPException):
    """The body of the request is not said to be JSON."""

    status_code = 415


class CarefulRequest(Request[Any, Any, Any]):
    """A request whose body may be anything: what no decoder expects is the sender's mistake and not a bug."""

    async def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ClientException: It is not, is not UTF-8, or is nested without end.
            InputError: It has a field that the route does not know: a mistyped one would be left out in silence.
        """
        try:
            sent = await super().json()
        except (UnicodeDecodeError, RecursionError) as exc:
            raise ClientException("The body is not JSON.") from exc
        wanted = self.route_handler.parsed_data_field
        if wanted and is_dataclass(wanted.annotation) and isinstance(sent, dict) and not _takes_more(self):
            names = [one.name for one in fields(wanted.annotation)]
            if unknown := next((name for name in sent if name not in names), None):
                raise InputError(f"There is no field {unknown[:80]!r} here.", hint=f"Fields: {', '.join(names)}.")
        return sent


def _takes_more(request: CarefulRequest) -> bool:
    # Clients of OpenAI's API send fields that only other servers look at.
    return bool(request.route_handler.opt.get("takes_more"))


def member_policy() -> str:
    """Return the content policy of members' pages: htmx turns pages of ours into markup, and a preview is framed."""
    policy = CONTENT_POLICY
    for usual, theirs in _MEMBERS.items():
        policy = policy.replace(usual, theirs)
    return policy


def check_request(scope: HTTPScope, public: PublicAddress) -> None:
    """Refuse what a page from elsewhere could send.

    Raises:
        WrongHostException: The Host header is neither the public host nor a name of this machine.
        PermissionDeniedException: A request that changes something comes from another site.
    """
    hosts = _header(scope, b"host")
    host = hosts[0].lower() if len(hosts) == 1 else ""
    if host in public.hosts:
        origins = {public.origin}
    elif is_loopback(_name_of(f"http://{host}")):
        # A proxy may pass requests on under the name that it knows this server by.
        origins = {f"http://{host}", f"https://{host}", public.origin}
    else:
        raise WrongHostException(
            "This server does not answer to that name: its operator names the right one with the setting public_url."
            if public.hosts
            else "This server answers only to the names of this machine, such as 127.0.0.1."
        )
    if scope["method"] not in SAFE_METHODS and not _is_same_origin(scope, origins):
        raise PermissionDeniedException("This request comes from another site.")


def require_json(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Refuse a body of another type: a form on another site could send one without asking first.

    Raises:
        NotJsonException: The Content-Type header does not say JSON.
    """
    kind = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise NotJsonException("The body must be JSON, with the header Content-Type: application/json.")


def guarded_headers(headers: Sequence[tuple[bytes, bytes]], *, is_secure: bool) -> list[tuple[bytes, bytes]]:
    """Return a response's headers with the security headers that it does not set itself.

    Args:
        headers: The response's own.
        is_secure: Whether people reach the server through TLS alone: then browsers are told never to come otherwise.
    """
    present = {name.lower() for name, _ in headers}
    wanted = SECURITY_HEADERS | ({"strict-transport-security": "max-age=31536000"} if is_secure else {})
    extra = [(name.encode(), value.encode()) for name, value in wanted.items()]
    return [*headers, *(pair for pair in extra if pair[0] not in present)]


def _is_same_origin(scope: HTTPScope, allowed: Set[str]) -> bool:
    sites, origins = _header(scope, b"sec-fetch-site"), _header(scope, b"origin")
    if any(site != "same-origin" for site in sites):
        return False
    # A form posted under `Referrer-Policy: no-referrer` has the origin "null"; the browser's own word stands.
    return all((origin == "null" and sites) or origin.lower() in allowed for origin in origins)


def _header(scope: HTTPScope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _name_of(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it raises on a port that is none
        return (parts.hostname or "") if not parts.username and not parts.path and not parts.query else ""
    except ValueError:
        return ""
