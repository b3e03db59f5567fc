"""How an answer reaches its reader: at once, piece by piece, and no longer than they stay.

The pieces come from a thread of their own, which also closes their iterator; a reader who waits for a seat
waits without a thread. So a reader who leaves frees the model, and readers who wait freeze nothing.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from litestar import Request
from litestar.concurrency import sync_to_thread
from litestar.serialization import encode_json

from ruma.server.access import CHECK_SECONDS
from ruma.server.seats import TenantSeats

BEAT_SECONDS = 15.0


@dataclass(frozen=True)
class Event:
    """One event of an answer: `evidence`, `waiting`, `token`, `done` or `error`, with what it says."""

    name: str
    data: Any


BEAT = Event("", None)
"""Nothing new; sent as a comment, so that nothing between here and the reader takes the stream for dead."""


def encode_event(event: Event) -> bytes:
    """Return an event as it is written in an event stream."""
    if event is BEAT:
        return b": waiting\n\n"
    return b"event: %s\ndata: %s\n\n" % (event.name.encode(), encode_json(event.data))


async def in_one_thread(
    items: Iterator[str], seats: TenantSeats, check: Callable[[], object]
) -> AsyncGenerator[str, None]:
    """Wait for a seat, then iterate and close the items in one thread, for as long as this is iterated.

    An empty string is given where nothing came for a while. A seat is taken until the thread has ended, since
    until then the model is busy.

    Args:
        items: What is iterated. Closed in every case; a generator that is at work, when it has its next item.
        seats: One is taken for each iteration.
        check: Called before each item is given, and while none comes; what it raises ends the iteration.
    """
    queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
    stop = threading.Event()
    pump = partial(_pump, items, check, stop, _caller(asyncio.get_running_loop()), queue, seats)
    try:
        await seats.acquire()
        threading.Thread(target=pump, name="answer", daemon=True).start()
        async for item in _read(queue, check):
            yield item
    finally:
        stop.set()
        # What waits for its next item is woken by this; a plain generator at work cannot be, and stops after it.
        with suppress(ValueError):
            _close(items)


def _pump(
    items: Iterator[str],
    check: Callable[[], object],
    stop: threading.Event,
    call: Callable[..., None],
    queue: asyncio.Queue[tuple[str, Any]],
    seats: TenantSeats,
) -> None:
    last: tuple[str, Any] = ("end", None)
    try:
        try:
            for item in items:
                if stop.is_set():
                    break
                check()
                if item:
                    call(queue.put_nowait, ("item", item))
        finally:
            _close(items)
    except Exception as exc:  # the reader must be told, whatever it is
        last = ("error", exc)
    call(seats.release)
    call(queue.put_nowait, last)


def _caller(loop: asyncio.AbstractEventLoop) -> Callable[..., None]:
    def call(function: Callable[..., object], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server is gone, and nobody reads
            loop.call_soon_threadsafe(function, *arguments)

    return call


def _close(items: Iterator[str]) -> None:
    close = getattr(items, "close", None)
    if close is not None:
        close()


async def _read(queue: asyncio.Queue[tuple[str, Any]], check: Callable[[], object]) -> AsyncGenerator[str, None]:
    silent_since = time.monotonic()
    while True:
        try:
            kind, value = await asyncio.wait_for(queue.get(), min(CHECK_SECONDS, BEAT_SECONDS))
        except TimeoutError:
            await sync_to_thread(check)
            if time.monotonic() - silent_since < BEAT_SECONDS:
                continue
            kind, value = "item", ""
        silent_since = time.monotonic()
        if kind == "error":
            raise value
        if kind == "end":
            return
        yield value


async def collect(request: Request[Any, Any, Any], events: AsyncGenerator[Event, None]) -> list[Event]:
    """Return all events of an answer; a reader who leaves before the last one ends them."""

    async def read_all() -> list[Event]:
        async with aclosing(events):
            return [event async for event in events if event is not BEAT]

    async def notice_leaving() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    reading = asyncio.create_task(read_all())
    leaving = asyncio.create_task(notice_leaving())
    try:
        await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else []
    finally:
        for task in (reading, leaving):
            task.cancel()
        await asyncio.gather(reading, leaving, return_exceptions=True)
