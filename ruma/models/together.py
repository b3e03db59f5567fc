"""Does in one go what several threads ask for at the same time."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(eq=False)
class _Asked(Generic[Item, Found]):
    item: Item
    found: Found | None = None
    failure: BaseException | None = None
    is_done: bool = False
    asleep: threading.Lock = field(default_factory=threading.Lock)
    """Held while its thread sleeps: until it is done, or until its thread is the one that does the next go."""


class Together(Generic[Item, Found]):
    """Gathers what is asked for while an earlier go is under way; who comes alone waits for nobody.

    There is no thread of its own: one of those who wait does the next go for all of them.
    """

    def __init__(
        self, do: Callable[[Sequence[Item]], Sequence[Found]], size: Callable[[Item], int], *, most: int, lanes: int
    ) -> None:
        """Take how it is done.

        Args:
            do: Does it with several items.
            size: Of an item: the longest waiting is done next, and with it those that are most nearly of its size.
            most: So many items in one go.
            lanes: So many goes at the same time.
        """
        self._do, self._size, self._most, self._free = do, size, most, lanes
        self._waiting: list[_Asked[Item, Found]] = []
        self._lock = threading.Lock()

    def ask(self, item: Item) -> Found:
        """Return what is found for an item; what the go raises, everybody in it gets."""
        mine: _Asked[Item, Found] = _Asked(item)
        with self._lock:
            leads = self._free > 0
            if leads:
                self._free -= 1
            else:
                self._waiting.append(mine)
                mine.asleep.acquire()
        if not leads:
            mine.asleep.acquire()
        if not mine.is_done:
            self._lead(mine)
        if mine.failure is not None:
            raise mine.failure
        return mine.found  # type: ignore[return-value]  # what is done and has not failed was found

    def _lead(self, mine: _Asked[Item, Found]) -> None:
        """Do a go of one's own with those most nearly of its size; whoever waits longest then has the lane."""
        with self._lock:
            size = self._size(mine.item)
            nearest = sorted(self._waiting, key=lambda asked: abs(self._size(asked.item) - size))
            go = [mine, *nearest[: self._most - 1]]
            self._waiting = [asked for asked in self._waiting if asked not in go]
        try:
            for asked, found in zip(go, self._do([asked.item for asked in go]), strict=True):
                asked.found = found
        except BaseException as exc:  # whatever ended it, nobody in it was found anything
            for asked in go:
                asked.failure = exc
        with self._lock:
            woken = go[1:]
            if self._waiting:
                woken.append(self._waiting.pop(0))
            else:
                self._free += 1
            for asked in go:
                asked.is_done = True
        # Nobody else is woken: each that wakes takes the interpreter from one that has something to do.
        for asked in woken:
            asked.asleep.release()
