"""How much may be asked in how short a time: by tenant, by visitor and by address, each counted apart.

What is counted is forgotten when the server stops; tries at secrets are another thing (`ruma.tenant.people.attempts`).
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable

from ruma.errors import TooManyError
from ruma.server.access import Principal
from ruma.tenant.people.networks import network_of
from ruma.tenant.tenant import Tenant

MOST_KEYS = 50_000
"""How many askers a limit remembers; those not heard of for longest are forgotten first."""


class Limit:
    """Lets each key through so many times a minute, several at once where it was quiet before (a token bucket)."""

    def __init__(self, per_minute: int, *, burst: int | None = None) -> None:
        """Set the rate; *burst* is how many may come at once, without it a minute's worth."""
        self._rate = per_minute / 60
        self._burst = float(burst or per_minute)
        self._filled: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: Hashable) -> float:
        """Count one and return 0.0; or count nothing and return after how many seconds there is room."""
        with self._lock:
            time_now = time.monotonic()
            left, at = self._filled.pop(key, (self._burst, time_now))
            left = min(self._burst, left + (time_now - at) * self._rate)
            wait = 0.0 if left >= 1 else (1 - left) / self._rate
            self._filled[key] = (left if wait else left - 1, time_now)
            while len(self._filled) > MOST_KEYS:
                self._filled.popitem(last=False)
        return wait


class Limits:
    """The limits of one server."""

    def __init__(self, *, visitor_questions: int, tenant_questions: int) -> None:
        """Take the questions a minute that one visitor, or one address, and that one tenant may ask."""
        self._by_tenant = Limit(tenant_questions)
        self._by_visitor = Limit(visitor_questions)
        self._by_address = Limit(visitor_questions)

    def take_question(self, tenant: Tenant, principal: Principal, *, visitor: str = "") -> None:
        """Count a question, or something else that a visitor sends.

        An address is counted for all tenants together; members and API keys count for their tenant alone. What one
        visitor may not ask does not count for the tenant: else one of them could use up what all may ask.

        Raises:
            TooManyError: One of the limits is reached.
        """
        wait = 0.0
        if principal.kind == "visitor":
            wait = self._by_address.take(network_of(principal.address))
            if visitor and not wait:
                wait = self._by_visitor.take((tenant.id, hashlib.sha256(visitor.encode()).digest()))
        wait = wait or self._by_tenant.take(tenant.id)
        if wait:
            raise TooManyError(
                "That were many questions in a short time.",
                hint=f"Ask again in {wait:.0f} seconds." if wait > 1.5 else "Ask again in a second.",
                retry_seconds=wait,
            )
