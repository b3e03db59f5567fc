"""Tenants are served in turn, whoever leaves frees the place, and a line that is full says so."""

import asyncio

import pytest

from ruma.errors import TooManyError
from ruma.server.seats import Seats


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def take(seats: Seats, tenant: str, order: list[str]) -> None:
    """Take a seat and note who did."""
    await seats.take(tenant)
    order.append(tenant)


def test_tenants_are_served_in_turn() -> None:
    """One that sends many waits for itself: another's single question comes after one of them, not after all."""

    async def run() -> list[str]:
        seats, order = Seats(1, most_waiting=99, most_of_one=99), list[str]()
        await seats.take("busy")
        tasks = [asyncio.create_task(take(seats, name, order)) for name in ["busy"] * 4 + ["small", "small", "third"]]
        await settle()
        for _ in tasks:
            seats.release()
            await settle()
        return order

    assert asyncio.run(run()) == ["busy", "small", "third", "busy", "small", "busy", "busy"]


def test_who_leaves_the_line_frees_the_place() -> None:
    """A waiting one that is cancelled is passed over, and one that is cancelled with its seat gives it on."""

    async def run() -> tuple[list[str], int]:
        seats, order = Seats(1, most_waiting=99, most_of_one=99), list[str]()
        await seats.take("a")
        leaving = asyncio.create_task(take(seats, "a", order))
        late = asyncio.create_task(take(seats, "b", order))
        staying = asyncio.create_task(take(seats, "c", order))
        await settle()
        leaving.cancel()
        await settle()
        seats.release()
        late.cancel()  # in the same moment in which the seat is given to it
        await settle()
        is_seated = staying.done()
        staying.cancel()
        return order, seats.waiting if is_seated else -1

    assert asyncio.run(run()) == (["c"], 0)


def test_no_seat_is_lost_with_who_was_given_it() -> None:
    """Whoever is given a seat in the moment of leaving hands it on: where nobody waits, the next one finds it free."""

    async def run() -> list[int]:
        seats, places = Seats(1, most_waiting=99, most_of_one=99), list[int]()
        for leaves_first in (True, False):
            await seats.take("a")
            leaving = asyncio.create_task(seats.take("b"))
            await settle()
            for step in (leaving.cancel, seats.release) if leaves_first else (seats.release, leaving.cancel):
                step()
            await settle()
            places += [seats.place_of("c"), seats.waiting]
        return places

    assert asyncio.run(asyncio.wait_for(run(), 10)) == [0, 0, 0, 0]


def test_a_seat_that_is_free_needs_no_line() -> None:
    """As many as there are seats sit at once, and the place in the line is told to the others."""

    async def run() -> list[int]:
        seats = Seats(2, most_waiting=99, most_of_one=99)
        places = [seats.place_of("a")]
        await seats.take("a")
        await seats.take("a")
        places.append(seats.place_of("b"))
        tasks = [asyncio.create_task(seats.take(name)) for name in ("a", "a", "b")]
        await settle()
        places += [seats.place_of("a"), seats.place_of("c")]
        for task in tasks:
            task.cancel()
        await settle()
        return [*places, seats.waiting]

    assert asyncio.run(run()) == [0, 1, 4, 3, 0]


@pytest.mark.parametrize(("waiting", "tenant"), [(["a", "a"], "a"), (["a", "b", "c"], "d")])
def test_a_full_line_says_so(waiting: list[str], tenant: str) -> None:
    """Beyond the most of one tenant, or of all, the next one is refused and told when to come again."""

    async def run() -> None:
        seats = Seats(1, most_waiting=3, most_of_one=2)
        await seats.take("x")
        tasks = [asyncio.create_task(seats.take(name)) for name in waiting]
        await settle()
        try:
            with pytest.raises(TooManyError) as caught:
                seats.check_room(tenant)
            assert caught.value.retry_seconds >= 1
            assert f"busy: {seats.place_of(tenant)} questions would" in str(caught.value)
            seats.check_room("somebody" if len(waiting) < 3 else tenant)
        except TooManyError:
            assert len(waiting) == 3
        finally:
            for task in tasks:
                task.cancel()
            await settle()

    asyncio.run(run())
