"""Does in one go what several threads ask for at the same time."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(eq=False)
class _Asked(Generic[Item, Found]):
    item: Item
    found: Found | None = None
    failure: BaseException | None = None
    is_done: bool = False


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
            first = self._size(self._waiting[0].item)
            ordered = sorted(self._waiting, key=lambda asked: abs(self._size(asked.item) - first))
            go = ordered[: self._most]
            self._waiting = [asked for asked in self._waiting if asked not in go]
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
