"""Answers to writes that named an idempotency key, so that a write which is sent twice is done once.

As in the IETF's draft "The Idempotency-Key HTTP Header Field". They are kept for a day, and go at once when anything
of the tenant is deleted: they may repeat its words.
"""

import time
from dataclasses import dataclass

from ruma.errors import ConflictError, InputError
from ruma.tenant.tenant import Tenant

KEPT_SECONDS = 24 * 3600
_ABANDONED_SECONDS = 120
"""After how long a write that never ended counts as not done: the process that did it is gone."""

_PENDING = 0


@dataclass(frozen=True)
class KeptResponse:
    """An answer that was given before."""

    status: int
    body: bytes


def claim_response(tenant: Tenant, key_hash: bytes, request_hash: bytes) -> KeptResponse | None:
    """Return the answer that was given for this key, or claim the key for the write that now begins.

    Raises:
        ConflictError: The same write is being done right now.
        InputError: The key was used for another request.
    """
    time_now = time.time()
    with tenant.writing() as db:
        db.execute(
            "delete from kept_response where kept_at not between ? and ? or (status = ? and kept_at < ?)",
            [time_now - KEPT_SECONDS, time_now + 60, _PENDING, time_now - _ABANDONED_SECONDS],
        )
        row = db.execute(
            "select request_hash, status, body from kept_response where key_hash = ?", [key_hash]
        ).fetchone()
        if row is None:
            db.execute(
                "insert into kept_response values (?, ?, ?, ?, ?)", [key_hash, request_hash, _PENDING, b"", time_now]
            )
            return None
    if row[0] != request_hash:
        raise InputError("This idempotency key was used for another request.", hint="Make a new key for each write.")
    if row[1] == _PENDING:
        raise ConflictError("This write is being done right now.", hint="Send it again in a moment for its answer.")
    return KeptResponse(row[1], row[2])


def keep_response(tenant: Tenant, key_hash: bytes, status: int, body: bytes) -> None:
    """Keep the answer to a write whose key was claimed."""
    with tenant.writing() as db:
        db.execute("update kept_response set status = ?, body = ? where key_hash = ?", [status, body, key_hash])


def release_claim(tenant: Tenant, key_hash: bytes) -> None:
    """Let a write be tried again under its key: it failed, or its answer is not to be kept."""
    with tenant.writing() as db:
        db.execute("delete from kept_response where key_hash = ?", [key_hash])
