import threading
from collections.abc import Sequence

import pytest

from ruma.models.together import Together


class Work:
    """Doubles numbers as soon as it may."""

    def __init__(self) -> None:
        """Take note of every go."""
        self.goes: list[list[int]] = []
        self.has_begun, self.may_go = threading.Event(), threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        """Do one go."""
        self.goes.append(list(numbers))
        self.has_begun.set()
        assert self.may_go.wait(10)
        if 13 in numbers:
            raise ValueError("thirteen")
        return [2 * number for number in numbers]


def ask_all(together: Together[int, int], work: Work, numbers: Sequence[int]) -> list[int | str]:
    """Ask the first number, and the others while it is worked on; return what each got."""
    got: dict[int, int | str] = {}

    def ask(number: int) -> None:
        try:
            got[number] = together.ask(number)
        except ValueError as exc:
            got[number] = str(exc)

    threads = [threading.Thread(target=ask, args=(number,)) for number in numbers]
    threads[0].start()
    assert work.has_begun.wait(10)
    for place, thread in enumerate(threads[1:], 1):
        thread.start()
        while len(together._waiting) < place:  # so that they come in this order
            pass
    work.may_go.set()
    for thread in threads:
        thread.join(10)
    return [got[number] for number in numbers]


def test_who_waits_is_served_together() -> None:
    """What comes while one go is under way shares the next ones, as many as may, in order."""
    work = Work()
    together = Together(work, lambda _: 0, most=3, lanes=1)

    assert ask_all(together, work, [1, 2, 3, 4, 5]) == [2, 4, 6, 8, 10]
    assert work.goes == [[1], [2, 3, 4], [5]]


def test_who_waits_longest_is_next_with_those_of_its_size() -> None:
    """The longest waiting is never passed over; beside it go those that are most nearly of its size."""
    work = Work()
    together = Together(work, abs, most=2, lanes=1)

    assert ask_all(together, work, [1, 20, 3, 21, 4]) == [2, 40, 6, 42, 8]
    assert work.goes == [[1], [20, 21], [3, 4]]


def test_a_failure_is_told_to_everybody_in_it_and_to_nobody_else() -> None:
    """A go that fails fails for those in it; the next one is done."""
    work = Work()
    together = Together(work, lambda _: 0, most=2, lanes=1)

    assert ask_all(together, work, [1, 12, 13, 14]) == [2, "thirteen", "thirteen", 28]
    work.goes.clear()
    assert together.ask(7) == 14


@pytest.mark.parametrize("lanes", [1, 2])
def test_as_many_goes_as_there_are_lanes(lanes: int) -> None:
    """A second one who comes meanwhile goes at once where there is a lane, and waits where there is none."""
    work = Work()
    together = Together(work, lambda _: 0, most=4, lanes=lanes)
    threads = [threading.Thread(target=together.ask, args=(number,)) for number in (1, 2)]
    threads[0].start()
    assert work.has_begun.wait(10)
    work.has_begun.clear()
    threads[1].start()

    assert work.has_begun.wait(0.3) == (lanes == 2)

    work.may_go.set()
    for thread in threads:
        thread.join(10)
