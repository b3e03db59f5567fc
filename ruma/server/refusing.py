"""What a visitor may do and a legal hold refuses: it goes into the register, where a person answers it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from litestar import Request

from ruma.errors import HeldError
from ruma.privacy.requests import receive_refused
from ruma.server.chores import post_request_notices
from ruma.server.resources import Resources
from ruma.tenant.tenant import Tenant


@contextmanager
def entering_refusals(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    kind: Literal["deletion", "withdrawal"],
    conversation_id: int,
    *,
    contact: str = "",
) -> Iterator[None]:
    """Enter a HeldError that leaves the block as a request, tell the owners, and say to the visitor when it is due.

    Raises:
        HeldError: It was refused.
    """
    try:
        yield
    except HeldError as exc:
        resources: Resources = request.app.state.resources
        taken = receive_refused(tenant, kind=kind, conversation_id=conversation_id, contact=contact)
        if taken:
            post_request_notices(tenant, resources.outbox, request.app.state.public.origin, [taken])
        due = f" You will be answered by {taken.due_on}." if taken else ""
        raise HeldError(str(exc), hint=f"The business has been told what you want.{due}") from exc
