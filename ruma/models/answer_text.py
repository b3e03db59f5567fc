"""The text of an answer from the pieces that a model writes: whole characters, and nothing after its end."""

import codecs
from collections.abc import Sequence


class AnswerText:
    """Turns pieces of bytes into text that can be shown at once.

    A token may hold a part of a character, or of a marker that ends the answer; such a beginning is held back
    until it is known what it is.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Take the texts that end an answer, for models whose markers are mere text."""
        self.is_ended = False
        self._stops = tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._has_begun = False

    def add(self, piece: bytes) -> str:
        """Return what can be shown now."""
        text = self._held + self._decoder.decode(piece)
        if not self._has_begun:
            text = text.lstrip()
        self._has_begun = bool(text)
        ends = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if ends:
            self.is_ended, self._held = True, ""
            return text[: min(ends)].rstrip()
        shown = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[shown:]
        return text[:shown]

    def end(self) -> str:
        """Return what was held back; half a character at the end is dropped."""
        held, self._held = self._held, ""
        return "" if self.is_ended else held


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of *text* may be the beginning of *stop*."""
    return next((size for size in range(len(stop) - 1, 0, -1) if text.endswith(stop[:size])), 0)
