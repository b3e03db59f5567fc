import threading
from collections.abc import Iterator

import pytest

from ruma.chat.stopping import Pieces, StoppedError, Tokens


class Stuck(Iterator[str]):
    """Gives one word, and then nothing until it is closed, like a model that is still reading."""

    def __init__(self) -> None:
        """Begin with the word."""
        self.closed = threading.Event()
        self.waits = threading.Event()
        self._words = ["One"]

    def __next__(self) -> str:
        """Return the word, or wait."""
        if self._words:
            return self._words.pop()
        self.waits.set()
        self.closed.wait(5)
        raise StopIteration

    def close(self) -> None:
        """Wake whoever waits."""
        self.closed.set()


def complete(pieces: Pieces, kept: list[str]) -> Iterator[str]:
    """Give the pieces, and keep the text when they have ended."""
    text = ""
    for piece in pieces:
        text += piece
        yield piece
    kept.append(text)


def test_an_answer_that_ends_is_kept() -> None:
    """Without a stop the text is the pieces, and what follows them is done."""
    kept: list[str] = []
    pieces = Pieces(iter(["a", "", "b"]))

    assert list(Tokens(complete(pieces, kept), pieces)) == ["a", "", "b"]
    assert kept == ["ab"]


def test_another_thread_can_stop_one_that_waits() -> None:
    """Closing wakes the thread that waits for the model, with an error, and nothing is kept."""
    model, kept, ended = Stuck(), [], []  # type: ignore[var-annotated]
    pieces = Pieces(model)
    tokens = Tokens(complete(pieces, kept), pieces)

    def read() -> None:
        with pytest.raises(StoppedError):
            list(tokens)
        ended.append(True)

    thread = threading.Thread(target=read)
    thread.start()
    assert model.waits.wait(5)
    tokens.close()
    thread.join(2)

    assert ended == [True]
    assert kept == []


def test_closing_between_two_pieces_stops_the_model() -> None:
    """A reader who has enough closes the answer: the model is told, and there is no more text."""
    model, kept = Stuck(), []  # type: ignore[var-annotated]
    pieces = Pieces(model)
    tokens = Tokens(complete(pieces, kept), pieces)

    assert next(tokens) == "One"
    tokens.close()

    assert model.closed.is_set()
    assert next(tokens, "nothing more") == "nothing more"
    assert kept == []
