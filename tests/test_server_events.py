import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any

import pytest

from ruma.server import events
from ruma.server.events import BEAT, Event, encode_event, in_one_thread


class Pieces(Iterator[str]):
    """Gives pieces, and remembers which threads used it and when it was closed."""

    def __init__(self, *pieces: str | Exception) -> None:
        """Take the pieces; an exception among them is raised in its turn."""
        self._pieces = list(pieces)
        self.threads: set[int] = set()
        self.closed = threading.Event()

    def __next__(self) -> str:
        """Return the next piece."""
        self.threads.add(threading.get_ident())
        if not self._pieces:
            raise StopIteration
        piece = self._pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        """Remember it."""
        self.closed.set()


class Stuck(Pieces):
    """Gives nothing until it is closed, like a model that is still reading."""

    def __next__(self) -> str:
        """Wait to be closed."""
        self.closed.wait(10)
        raise StopIteration


def nothing() -> None:
    """Find nothing wrong."""


async def read(
    items: Any, seats: asyncio.Semaphore | None = None, check: Callable[[], object] = nothing, most: int = 1000
) -> list[str]:
    """Read at most so many pieces, then leave."""
    found: list[str] = []
    async with aclosing(in_one_thread(items, seats or asyncio.Semaphore(), check)) as pieces:
        while len(found) < most:
            try:
                found.append(await anext(pieces))
            except StopAsyncIteration:
                break
    return found


def test_pieces_come_in_order_from_one_other_thread() -> None:
    """All pieces arrive; they are made in one thread that is not the server's, and closed."""
    items = Pieces("a", "b", "c")

    assert asyncio.run(read(items)) == ["a", "b", "c"]
    assert len(items.threads) == 1
    assert threading.get_ident() not in items.threads
    assert items.closed.is_set()


def test_what_goes_wrong_reaches_the_reader() -> None:
    """An error in the middle, also one that frameworks take for the end, is raised after the pieces before it."""
    items = Pieces("a", ValueError("too long"))

    with pytest.raises(ValueError, match="too long"):
        asyncio.run(read(items))

    assert items.closed.is_set()


def test_a_reader_who_leaves_closes_the_items() -> None:
    """Between two pieces, the items are closed at once."""
    items = Pieces(*"abcdefgh")

    assert asyncio.run(read(items, most=2)) == ["a", "b"]
    assert items.closed.wait(1)


def test_a_reader_who_leaves_before_the_first_piece_closes_the_items() -> None:
    """A model that is still reading is stopped too, and its seat is free again."""
    items = Stuck()

    async def leave() -> float:
        seats = asyncio.Semaphore()
        with suppress(TimeoutError):
            await asyncio.wait_for(read(items, seats), 0.1)
        begun = time.monotonic()
        await asyncio.wait_for(seats.acquire(), 5)
        return time.monotonic() - begun

    assert asyncio.run(leave()) < 1
    assert items.closed.is_set()


def test_a_generator_is_stopped_at_its_next_piece() -> None:
    """A plain generator that cannot be closed while it works is closed when it has its next piece."""
    closed = threading.Event()

    def work() -> Iterator[str]:
        try:
            while True:
                time.sleep(0.05)
                yield "piece"
        finally:
            closed.set()

    items = work()
    asyncio.run(read(items, most=1))

    assert closed.wait(1)
    assert next(items, "nothing more") == "nothing more"


def test_the_items_are_checked_while_they_come() -> None:
    """What the check raises ends the stream: a tenant that is removed meanwhile says nothing more."""
    left = [1, 1]

    def check() -> None:
        left.pop()

    with pytest.raises(IndexError):
        asyncio.run(read(Pieces(*"abcd"), check=check))


def test_readers_who_wait_take_no_thread() -> None:
    """Twenty readers who wait for one seat start no threads, and one who leaves makes the model do nothing."""
    waiting = [Pieces("never") for _ in range(20)]

    async def wait() -> int:
        seats = asyncio.Semaphore()
        await seats.acquire()
        before = threading.active_count()
        readers = [asyncio.create_task(read(items, seats)) for items in waiting]
        await asyncio.sleep(0.05)
        more = threading.active_count() - before
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        return more

    assert asyncio.run(wait()) == 0
    assert not any(items.threads for items in waiting)
    assert all(items.closed.is_set() for items in waiting)


def test_silence_is_broken_by_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes for a while the reader gets an empty piece, and the pieces after it."""
    monkeypatch.setattr(events, "BEAT_SECONDS", 0.02)

    def slow() -> Iterator[str]:
        time.sleep(0.1)
        yield "at last"

    found = asyncio.run(read(slow()))

    assert found[0] == ""
    assert [piece for piece in found if piece] == ["at last"]


def test_an_event_is_one_block_of_the_stream() -> None:
    """Line ends in a text cannot end an event or begin another one."""
    event = Event("token", {"text": "one\n\nevent: done\ndata: {}\r\n"})

    assert encode_event(event) == b'event: token\ndata: {"text":"one\\n\\nevent: done\\ndata: {}\\r\\n"}\n\n'
    assert encode_event(BEAT) == b": waiting\n\n"


class Reader:
    """A request whose reader leaves when told to."""

    def __init__(self, *, leaves: bool) -> None:
        """Say whether the reader leaves at once, or never."""
        self._leaves = leaves

    async def receive(self) -> dict[str, str]:
        """Return the message that a reader has left."""
        if not self._leaves:
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}


@pytest.mark.parametrize("leaves", [False, True])
def test_an_answer_in_one_piece_also_ends_with_its_reader(leaves: bool) -> None:
    """Who stays gets all events without the beats; who leaves stops the answer."""
    ended = threading.Event()

    async def say() -> AsyncGenerator[Event, None]:
        try:
            yield Event("evidence", 1)
            yield BEAT
            if leaves:
                await asyncio.sleep(60)
            yield Event("done", 2)
        finally:
            ended.set()

    found = asyncio.run(events.collect(Reader(leaves=leaves), say()))  # type: ignore[arg-type]

    assert [event.name for event in found] == ([] if leaves else ["evidence", "done"])
    assert ended.is_set()


def test_what_goes_wrong_in_one_piece_is_raised() -> None:
    """Nothing has been sent yet, so a failure still gets its status."""

    async def fail() -> AsyncGenerator[Event, None]:
        yield Event("evidence", 1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(events.collect(Reader(leaves=False), fail()))  # type: ignore[arg-type]
