"""Who is served next where not all can be at once: tenants in turn, each tenant's own in the order they came.

So a tenant that sends a hundred questions delays its own, and a tenant with one hardly waits for it.
"""

import asyncio
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ruma.errors import TooManyError


class Seats:
    """A number of seats, and the line before them. For use in one event loop."""

    def __init__(self, count: int, *, most_waiting: int, most_of_one: int) -> None:
        """Set the seats, how many may wait in all, and how many of one tenant."""
        self._free = count
        self._most_waiting = most_waiting
        self._most_of_one = most_of_one
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(line) for line in self._lines.values())

    def check_room(self, tenant_id: str) -> None:
        """Raise TooManyError where the line is full: said before an answer begins, so that it has a status."""
        of_tenant = len(self._lines.get(tenant_id, ()))
        if self.waiting >= self._most_waiting or of_tenant >= self._most_of_one:
            raise TooManyError(
                f"The agent is busy: {self.place_of(tenant_id)} questions would be answered before this one.",
                hint="Ask again in 10 seconds.",
                retry_seconds=10,
            )

    def of(self, tenant_id: str) -> "TenantSeats":
        """Return the seats as one tenant's questions take them."""
        return TenantSeats(self, tenant_id)

    def place_of(self, tenant_id: str) -> int:
        """Return how many would be served before a tenant's next question; 0 where a seat is free."""
        if self._free > 0:
            return 0
        own = len(self._lines.get(tenant_id, ()))
        others = (len(line) for name, line in self._lines.items() if name != tenant_id)
        return own + 1 + sum(min(count, own + 1) for count in others)

    async def take(self, tenant_id: str) -> None:
        """Wait for a seat and take it."""
        if self._free > 0:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(tenant_id, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # the seat was given just as its taker left
            else:
                self._leave(tenant_id, turn)
            raise

    def release(self) -> None:
        """Give a seat back: to the tenant whose turn it is."""
        while self._lines:
            tenant_id, line = self._lines.popitem(last=False)
            turn = line.popleft()
            if line:
                self._lines[tenant_id] = line  # at the end: the others come first
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _leave(self, tenant_id: str, turn: "asyncio.Future[None]") -> None:
        line = self._lines.get(tenant_id, deque())
        if turn in line:
            line.remove(turn)
        if not line:
            self._lines.pop(tenant_id, None)


@dataclass(frozen=True)
class TenantSeats:
    """The seats, as one tenant's questions take them."""

    seats: Seats
    tenant_id: str

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *_: object) -> None:
        self.release()

    async def acquire(self) -> None:
        """Wait for a seat and take it."""
        await self.seats.take(self.tenant_id)

    def release(self) -> None:
        """Give it back."""
        self.seats.release()


class Turns:
    """The lines of a server: for finding evidence, which takes the processor, for writing, and for asking Stripe."""

    def __init__(self, *, finding: int, writing: int) -> None:
        """Set how many answers are begun at once, and how many a language model writes at once."""
        self.finding = Seats(finding, most_waiting=1000, most_of_one=400)
        self.writing = Seats(writing, most_waiting=200, most_of_one=50)
        # One at a time: what Stripe answered last is what is written last, and a slow answer holds no second thread.
        self.asking_stripe = Seats(1, most_waiting=200, most_of_one=3)
        # Threads of their own: a page, or the check of who asks, waits for none of them.
        self.threads = ThreadPoolExecutor(finding, "find")
        """One a seat for finding."""

    def at_stripe(self, tenant_id: str) -> "TenantSeats":
        """Return the place of an owner who wants to be led to Stripe.

        Raises:
            TooManyError: Too many wait already.
        """
        try:
            self.asking_stripe.check_room(tenant_id)
        except TooManyError as exc:
            text = "Stripe is being asked already."
            raise TooManyError(text, hint="Try again in 10 seconds.", retry_seconds=exc.retry_seconds) from exc
        return self.asking_stripe.of(tenant_id)

    def close(self) -> None:
        """Let the threads end."""
        self.threads.shutdown(wait=False)
