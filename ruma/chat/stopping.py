"""Stops an answer from another thread than the one that waits for its next piece.

A generator cannot be closed while it is at work, and before its first word a model is at work for long.
"""

from collections.abc import Iterator
from contextlib import suppress


class StoppedError(Exception):
    """The answer was stopped while a thread waited for its next piece; nothing of it is kept."""


class Pieces(Iterator[str]):
    """The pieces that a model writes; once they are closed, whoever waits for the next one gets StoppedError."""

    def __init__(self, pieces: Iterator[str]) -> None:
        """Take the model's own iterator, whose `close` may be called from any thread."""
        self._pieces = pieces
        self._is_closed = False

    def __next__(self) -> str:
        """Return the next piece."""
        piece = next(self._pieces, None)
        if self._is_closed:
            raise StoppedError
        if piece is None:
            raise StopIteration
        return piece

    def close(self) -> None:
        """Stop the model."""
        self._is_closed = True
        close = getattr(self._pieces, "close", None)
        if close is not None:
            with suppress(ValueError):  # a plain generator at work: it is stopped when it has its next piece
                close()


class Tokens(Iterator[str]):
    """The text of an answer, piece by piece; closing it stops the model, from whichever thread."""

    def __init__(self, text: Iterator[str], pieces: Pieces) -> None:
        """Take the text as it is completed, and the model's pieces that it is made from."""
        self._text, self._pieces = text, pieces

    def __next__(self) -> str:
        """Return the next piece of the text."""
        return next(self._text)

    def close(self) -> None:
        """Stop: what was not said is not said, and nothing is kept of the answer."""
        self._pieces.close()
        close = getattr(self._text, "close", None)
        if close is not None:
            with suppress(ValueError):  # at work in another thread, which finds the pieces closed
                close()
