"""What a server does for its tenants behind those who answer: threads that give way, and whose turn it is."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

NICENESS = 10
"""How far such a thread, and what it starts, stands back for those that answer."""

_LOOK_SECONDS = 0.05


class Stopped(Exception):
    """The thread was told to stop."""


class Background:
    """A thread that stands back for those who answer, and ends when it is told to."""

    def __init__(self, name: str, run: Callable[[], None], is_busy: Callable[[], bool]) -> None:
        """Take its name, what it does, and the question whether somebody waits for an answer."""
        self._name, self._run, self._is_busy = name, run, is_busy
        self._stop_asked = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop_asked.is_set()

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._stand_back, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tell it to stop, and return when it has."""
        self._stop_asked.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def sleep(self, seconds: float) -> None:
        """Wait, in the thread, so long or until it is told to stop."""
        self._stop_asked.wait(seconds)

    def give_way(self, longest: float) -> None:
        """Wait, in the thread, while somebody waits for an answer, for so many seconds at most.

        Raises:
            Stopped: It was told to stop.
        """
        until = time.monotonic() + longest
        while not self.is_stopping and self._is_busy() and time.monotonic() < until:
            self.sleep(min(longest / 4, _LOOK_SECONDS))
        if self.is_stopping:
            raise Stopped

    def _stand_back(self) -> None:
        # On Linux each thread has a niceness of its own, and hands it down to what it starts.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        self._run()


class WaitingTenants:
    """The names of tenants for which something waits, each once, in the order in which they came."""

    def __init__(self) -> None:
        self._names: deque[str] = deque()
        self._changed = threading.Condition()
        self.is_closed = False
        """Whether nobody is to take a name any more."""

    def add(self, name: str) -> None:
        """Put a tenant behind the others, unless it waits already."""
        with self._changed:
            if name not in self._names:
                self._names.append(name)
            self._changed.notify_all()

    def take(self, seconds: float | None) -> str | None:
        """Return the first name; none if it is closed, or where none comes within so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._names or self.is_closed, timeout=seconds)
            return None if self.is_closed or not self._names else self._names.popleft()

    def close(self) -> None:
        """Wake who waits for a name, and give out no more."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()
