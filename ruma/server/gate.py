"""Which connections come in, and how many: counted before a byte is read, with no proxy in front."""

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from enum import Enum
from ipaddress import ip_network

from ruma.server.addresses import Address, PublicAddress
from ruma.tenant.people.networks import network_of

log = logging.getLogger("ruma.server")

WARN_SECONDS = 60.0
"""A reason to refuse connections is logged once in this time: those who are refused could fill a disk with it."""


class Entry(Enum):
    """What becomes of a new connection."""

    SERVED = "served"
    BUSY = "busy"
    """Its request is read and answered with 503, for more connections are open than are served."""
    CUT = "cut"
    """It is closed at once, unread."""


class Gate:
    """Counts the connections of one server. Used by the event loop alone."""

    def __init__(
        self,
        *,
        most: int,
        per_address: int | None = None,
        public: PublicAddress | None = None,
        only_proxies: bool = False,
    ) -> None:
        """Take the limits.

        Args:
            most: How many connections are served at once; a tenth more are told that there are too many.
            per_address: How many one address may have. Trusted proxies bring everyone's, so they are not counted.
            public: Knows the trusted proxies.
            only_proxies: Let in none but the trusted proxies and this machine: what is said here is not encrypted.
        """
        self._most, self._per_address, self._only_proxies = most, per_address, only_proxies
        self.public = public or PublicAddress()
        self._open = 0
        self._by_network: Counter[str] = Counter()
        self._waiting: OrderedDict[object, Callable[[], object]] = OrderedDict()
        self._warned: dict[str, float] = {}

    @property
    def count(self) -> int:
        """How many connections are open."""
        return self._open

    def enter(self, address: Address | None) -> Entry:
        """Decide on a new connection. One that is not cut must `leave` later."""
        network = _network(address)
        is_proxy = address is not None and self.public.is_trusted(address)
        if self._only_proxies and not is_proxy and not (address and address.is_loopback):
            self._warn(
                "stranger",
                f"Cut a connection from {network_of(str(address))}: no proxy in the setting behind_proxy is there.",
            )
            return Entry.CUT
        if self._per_address is not None and not is_proxy and self._by_network[network] >= self._per_address:
            place = network_of(str(address))
            self._warn("address", f"Cut a connection from {place}: one address there has {self._per_address} already.")
            return Entry.CUT
        if self._open >= self._most:
            self._warn("full", f"{self._open} connections are open, and no more are served at once.")
            self._make_room()
        if self._open >= self._most + max(1, self._most // 10):
            return Entry.CUT
        self._open += 1
        self._by_network[network] += 1
        return Entry.SERVED if self._open <= self._most else Entry.BUSY

    def leave(self, address: Address | None) -> None:
        """Count a connection that came in no more."""
        network = _network(address)
        self._open -= 1
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]

    def wait(self, connection: object, cut: Callable[[], object]) -> None:
        """Note that a connection has no request, so that it may be cut where others need its place."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = cut

    def work(self, connection: object) -> None:
        """Note that a connection has a request, or is gone."""
        self._waiting.pop(connection, None)

    def _make_room(self) -> None:
        # Who has said nothing for longest goes first: a flood of silent connections drives itself out, and a
        # browser, which asks within a moment, stays.
        if self._waiting:
            _, cut = self._waiting.popitem(last=False)
            cut()

    def _warn(self, kind: str, text: str) -> None:
        if time.monotonic() - self._warned.get(kind, -WARN_SECONDS) >= WARN_SECONDS:
            self._warned[kind] = time.monotonic()
            log.warning("%s", text)


def _network(address: Address | None) -> str:
    # Who has one IPv6 address has 2⁶⁴ of them.
    if address is None or address.version == 4:
        return str(address or "")
    return str(ip_network((address, 64), strict=False))
