"""Does in one go what several threads ask for at the same time."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass
class _Asked(Generic[Item, Found]):
    item: Item
    found: Found | None = None
    failure: BaseException | None = None
    is_done: bool = False


class Together(Generic[Item, Found]):
    """Gathers what is asked for while an earlier go is under way; who comes alone waits for nobody.

    There is no thread of its own: one of those who wait does the next go for all of them.
    """

    def __init__(self, do: Callable[[Sequence[Item]], Sequence[Found]], *, most: int, lanes: int) -> None:
        """Take what is done with up to `most` items, and how many goes there may be at the same time."""
        self._do, self._most, self._free = do, most, lanes
        self._waiting: list[_Asked[Item, Found]] = []
        self._changed = threading.Condition()

    def ask(self, item: Item) -> Found:
        """Return what is found for an item; what the go raises, everybody in it gets."""
        mine: _Asked[Item, Found] = _Asked(item)
        with self._changed:
            self._waiting.append(mine)
        while not mine.is_done:
            self._lead_or_wait(mine)
        if mine.failure is not None:
            raise mine.failure
        return mine.found  # type: ignore[return-value]  # what is done and has not failed was found

    def _lead_or_wait(self, mine: _Asked[Item, Found]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: mine.is_done or (self._free and self._waiting))
            if mine.is_done:
                return
            go, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            self._free -= 1
        try:
            for asked, found in zip(go, self._do([asked.item for asked in go]), strict=True):
                asked.found = found
        except BaseException as exc:  # whatever ended it, nobody in it was found anything
            for asked in go:
                asked.failure = exc
        finally:
            with self._changed:
                for asked in go:
                    asked.is_done = True
                self._free += 1
                self._changed.notify_all()
