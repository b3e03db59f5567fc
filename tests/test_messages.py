"""Messages between the server and the model process: whole, in order, and nothing but JSON objects."""

import socket
import threading
from collections.abc import Iterator

import pytest

from ruma.models import messages
from ruma.models.messages import Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """Return a channel and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    with theirs:
        yield channel, theirs
    channel.close()


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, socket.socket]) -> None:
    """However the bytes are cut on the way, and whatever the texts hold."""
    channel, theirs = ends
    sent = [{"text": "a\nb"}, {"text": "\ud800 👩‍👩‍👧"}, {"text": "x" * 200_000}, {}]
    writer = Channel(theirs)
    thread = threading.Thread(target=lambda: writer.send(*sent))
    thread.start()
    received = [channel.receive(5) for _ in sent]
    thread.join()

    assert received == sent


def test_messages_of_several_threads_do_not_mix(ends: tuple[Channel, socket.socket]) -> None:
    """Each message is one line, whoever sends at the same time."""
    channel, theirs = ends
    writer = Channel(theirs)
    threads = [
        threading.Thread(target=lambda number=number: [writer.send({"n": str(number) * 5000}) for _ in range(20)])
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    received = [channel.receive(5) for _ in range(80)]
    for thread in threads:
        thread.join()

    assert all(message and len(set(message["n"])) == 1 for message in received)


@pytest.mark.parametrize(
    "data", [b"no JSON\n", b"[1]\n", b'"text"\n', b"[" * 100_000 + b"\n", b"\xff\xfe\n", b"{} x\n"]
)
def test_anything_else_ends_the_conversation(ends: tuple[Channel, socket.socket], data: bytes) -> None:
    """A process that was taken over cannot make the server stumble: what is no message ends it."""
    channel, theirs = ends
    theirs.sendall(data)

    with pytest.raises(EOFError):
        channel.receive(5)


def test_a_line_without_an_end_is_not_collected_for_ever(
    ends: tuple[Channel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message longer than any real one ends the conversation before the memory does."""
    monkeypatch.setattr(messages, "MAX_LINE_BYTES", 1000)
    channel, theirs = ends
    theirs.sendall(b"x" * 5000)

    with pytest.raises(EOFError, match="too long"):
        channel.receive(5)


def test_silence_and_the_end_are_told_apart(ends: tuple[Channel, socket.socket]) -> None:
    """No message in time is None; the end is an error, also for whoever sends."""
    channel, theirs = ends

    assert channel.receive(0.01) is None
    theirs.close()
    with pytest.raises(EOFError):
        channel.receive(5)
    with pytest.raises(EOFError):
        channel.send({"text": "x" * 300_000})
