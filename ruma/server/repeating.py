"""Lets a write be sent twice and be done once: `Idempotency-Key` on the API.

A key counts for one member or API key, and is looked at only after these were let in.
"""

import hashlib
from typing import Any

from litestar import Request, Response
from litestar.concurrency import sync_to_thread
from litestar.enums import MediaType, ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ruma.errors import InputError, NotFoundError
from ruma.server.access import Principal, principal_of
from ruma.server.guarding import SAFE_METHODS
from ruma.tenant.kept_responses import claim_response, keep_response, release_claim
from ruma.tenant.tenant import Tenant

HEADER = "idempotency-key"
_LONGEST_KEY = 200
_MOST_BYTES = 100_000


async def repeat_response(request: Request[Any, Any, Any]) -> Response[bytes] | None:
    """Return the answer that this write got before, and None where it is to be done now.

    A route with the option `repeats=False` is done anew each time: its answer holds a secret. One with
    `repeats="unread"` takes files: what was asked is told by the address and the size, and no body is read for it.

    Raises:
        InputError: The key is too long, or was used for another request.
        ConflictError: The same write is being done right now.
    """
    key = request.headers.get(HEADER, "")
    principal = principal_of(request)
    repeats: bool | str = request.route_handler.opt.get("repeats", True)
    if not key or not repeats or principal.kind == "visitor" or request.method in SAFE_METHODS:
        return None
    if len(key) > _LONGEST_KEY:
        raise InputError(f"An idempotency key has at most {_LONGEST_KEY} characters.")
    tenant = await sync_to_thread(request.app.state.resources.tenant, request.path_params["name"])
    asked = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    if repeats == "unread":
        asked.update(request.headers.get("content-length", "").encode())
    else:
        asked.update(await request.body())
    key_hash = hashlib.sha256(f"{_owner(principal)}\n{key}".encode()).digest()
    kept = await sync_to_thread(claim_response, tenant, key_hash, asked.digest())
    if kept is None:
        # A file that did not come in whole must be able to come again: of files, only what was done is kept.
        most_status = 299 if repeats == "unread" else 499
        request.scope["ruma_claim"] = (tenant, key_hash, most_status)  # type: ignore[typeddict-unknown-key]
        return None
    return Response(
        kept.body, status_code=kept.status, media_type=MediaType.JSON, headers={"idempotent-replayed": "true"}
    )


class KeepsResponses(ASGIMiddleware):
    """Keeps the answer of a write whose key was claimed; an answer that says "try again" is let go."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Serve one request."""
        status, body = 500, b""

        async def note(message: Message) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body" and "ruma_claim" in scope:
                body += message.get("body", b"")
            await send(message)

        try:
            await next_app(scope, receive, note)
        finally:
            claim: tuple[Tenant, bytes, int] | None = scope.get("ruma_claim")  # type: ignore[assignment]
            if claim:
                await sync_to_thread(_settle, *claim, status, body)


def _settle(tenant: Tenant, key_hash: bytes, most_status: int, status: int, body: bytes) -> None:
    try:
        if status <= most_status and status not in (409, 429) and len(body) <= _MOST_BYTES:
            keep_response(tenant, key_hash, status, body)
        else:
            release_claim(tenant, key_hash)
    except NotFoundError:
        pass  # the tenant was removed meanwhile, and with it what was kept


def _owner(principal: Principal) -> str:
    return f"member {principal.member.id}" if principal.member else f"key {principal.key.id if principal.key else ''}"
