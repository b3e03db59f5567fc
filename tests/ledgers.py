"""A ledger of connections in memory."""

from ruma.connections import Attempt, Ending


class MemoryLedger:
    """Keeps what was written down."""

    def __init__(self) -> None:
        """Begin empty."""
        self.attempts: list[Attempt] = []
        self.endings: dict[int, Ending] = {}

    def begin(self, attempt: Attempt) -> int:
        """Keep it, and return its place."""
        self.attempts.append(attempt)
        return len(self.attempts) - 1

    def end(self, number: int, ending: Ending) -> None:
        """Keep it."""
        self.endings[number] = ending
