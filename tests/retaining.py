"""A machine whose clock and whose starts a test sets, and conversations of chosen times."""

import time
from datetime import UTC, datetime

from ruma.config import Settings
from ruma.privacy.retention import Enforced, enforce
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.keeping.believed_time import Machine
from ruma.tenant.tenant import Tenant

DAY = 86400.0


class TestMachine:
    """A machine whose clock and whose own count of seconds a test moves, together or apart."""

    __test__ = False

    def __init__(self) -> None:
        """Begin now."""
        self.wall, self.boot, self.seconds = time.time(), "first", 1000.0

    def goes_on(self, days: float) -> "TestMachine":
        """Let time pass."""
        self.wall += days * DAY
        self.seconds += days * DAY
        return self

    def jumps(self, days: float) -> "TestMachine":
        """Set the clock alone."""
        self.wall += days * DAY
        return self

    def restarts(self, boot: str, off_days: float = 0.0) -> "TestMachine":
        """Switch the machine off and on again."""
        self.wall += off_days * DAY
        self.boot, self.seconds = boot, 10.0
        return self

    @property
    def says(self) -> Machine:
        """What it says now."""
        return Machine(self.wall, self.boot, self.seconds)


def chat(tenant: Tenant, *, at: float | None = None, text: str = "Are you open?") -> int:
    """Store a conversation, dated as the clock said then, and return its number."""
    conversation = begin_conversation()
    add_exchange(tenant, conversation, text, "Yes.", mode="write", is_declined=False, citations=[])
    if at is not None:
        stamp = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
        with tenant.writing() as db:
            db.execute(
                "update conversation set started_at = :at, last_at = :at where id = :id",
                {"at": stamp, "id": conversation.id},
            )
            db.execute("update message set created_at = ? where conversation_id = ?", [stamp, conversation.id])
    return conversation.id or 0


def numbers(tenant: Tenant) -> list[int]:
    """Return the conversations that are there."""
    with tenant.reading() as db:
        return [row[0] for row in db.execute("select id from conversation order by id")]


def run(tenant: Tenant, settings: Settings, machine: TestMachine, *, trusts_clock: bool = False) -> Enforced:
    """Enforce the plan."""
    return enforce(tenant, settings, machine=machine.says, trusts_clock=trusts_clock)


def run_daily(tenant: Tenant, settings: Settings, machine: TestMachine, days: int, *, every: int = 1) -> None:
    """Let days pass with a run in each, or in every so many of them."""
    for _ in range(0, days, every):
        run(tenant, settings, machine.goes_on(every))
