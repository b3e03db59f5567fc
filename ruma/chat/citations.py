"""Checks what a model wrote against the evidence that it was given."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ruma.chat.evidence import Citation
from ruma.chat.words import content_words, split_words, stem

_MARKER = re.compile(r"\s*\[(\d{1,3})\]")
_BEGINNING = re.compile(r"\s*(\[\d{0,3})?\Z")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?!\[)|\n+")

SUPPORT = 0.5
"""The share of a sentence's content words that the evidence must hold: the rest may be the model's phrasing."""


@dataclass(frozen=True)
class Checked:
    """What a check of a written answer found."""

    dropped: tuple[int, ...] = ()
    """Numbers that were cited and are not in the evidence; they were taken out of the text."""

    unsupported: tuple[str, ...] = ()
    """Sentences whose words or numbers the evidence does not hold."""


class CitationFilter:
    """Lets an answer through piece by piece and takes out citations of what is not in the evidence.

    A marker may come in several pieces: what could be the beginning of one is held back until it is known.
    """

    def __init__(self, count: int) -> None:
        """Take how many pieces of evidence there are, numbered from 1."""
        self.dropped: list[int] = []
        self._count = count
        self._held = ""

    def add(self, piece: str) -> str:
        """Return what can be shown now."""
        text = self._held + piece
        shown = _BEGINNING.search(text)
        self._held = text[shown.start() :] if shown else ""
        return self._clean(text[: len(text) - len(self._held)])

    def end(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return self._clean(held).rstrip()

    def _clean(self, text: str) -> str:
        return _MARKER.sub(self._keep_known, text)

    def _keep_known(self, marker: re.Match[str]) -> str:
        number = int(marker[1])
        if 1 <= number <= self._count:
            return marker[0]
        self.dropped.append(number)
        return ""


def cited_in(text: str, evidence: Sequence[Citation]) -> tuple[Citation, ...]:
    """Return the pieces of evidence that a text cites, in the order of their numbers."""
    numbers = {int(number) for number in _MARKER.findall(text)}
    return tuple(citation for citation in evidence if citation.number in numbers)


def find_unsupported(text: str, evidence: Sequence[Citation], question: str) -> tuple[str, ...]:
    """Return the sentences of a written answer that the evidence does not hold.

    Words and numbers are compared, not meanings: what passes may still be wrong, what fails was made up or
    said in quite other words. Numbers may also come from the question.
    """
    known = {stem(word) for citation in evidence for word in _words_of(citation)}
    numbers = {word for word in known if word[0].isdecimal()} | set(split_words(question))
    return tuple(sentence for sentence in _sentences(text) if not _is_supported(sentence, known, numbers))


def _is_supported(sentence: str, known: set[str], numbers: set[str]) -> bool:
    words = [stem(word) for word in content_words(sentence)]
    if any(word[0].isdecimal() and word not in numbers for word in words):
        return False
    plain = [word for word in words if not word[0].isdecimal()]
    return not plain or sum(word in known for word in plain) >= SUPPORT * len(plain)


def _words_of(citation: Citation) -> list[str]:
    return split_words(f"{citation.title} {citation.heading} {citation.quote}")


def _sentences(text: str) -> list[str]:
    parts = (_MARKER.sub("", part).strip() for part in _SENTENCE_END.split(text))
    return [part for part in parts if any(letter.isalnum() for letter in part)]
