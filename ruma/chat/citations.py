"""Checks what a language model wrote against the evidence that it was given."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ruma.chat.evidence import Citation
from ruma.chat.words import split_words, stem, subject_words

SUPPORTED = 0.6
"""The share of a sentence's words that the evidence must hold. Written answers join and reorder, and say "is open"
for "opens"; a sentence that shares less than this with its passage says something else."""

MARK = re.compile(r"[ \t]*\[(?=[^\]]{1,30}\])\s*(\d+(?:\s*[,;]\s*\d+)*)\s*\]")
"""The mark of a citation with the space before it: [1], [1, 2]. What is longer is no mark."""

_UNFINISHED = re.compile(r"[ \t]*(?:\[[\d\s,;]{0,30})?$")
_SENTENCE = re.compile(r"\S.*?(?:[.!?…。！？]+[\"'”»)]*(?:\s*\[\d+\])*(?=\s|$)|(?=\n)|$)")  # noqa: RUF001
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True)
class CheckedSentence:
    """A sentence of a written answer, and whether the evidence supports it."""

    text: str
    """Without its marks."""

    citations: tuple[int, ...]
    """The numbers that it cites; where it cites none, the one that supports it best."""

    is_supported: bool
    """Whether those hold its numbers and most of its words."""


class MarkFilter:
    """Drops marks such as [7] that no evidence has from a text that comes in pieces.

    What may become a mark is held back until it is one or is none.
    """

    def __init__(self, numbers: Collection[int]) -> None:
        """Take the numbers that exist."""
        self._numbers = numbers
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what can be shown after one more piece."""
        text = self._held + piece
        unfinished = _UNFINISHED.search(text)
        cut = unfinished.start() if unfinished else len(text)
        self._held = text[cut:]
        return MARK.sub(self._known, text[:cut])

    def end(self) -> str:
        """Return what was held back, once the text has ended."""
        held, self._held = self._held, ""
        return MARK.sub(self._known, held)

    def _known(self, mark: re.Match[str]) -> str:
        kept = [number for number in _numbers(mark[1]) if number in self._numbers]
        space = " " if mark[0][0] in " \t" else ""
        return space + "".join(f"[{number}]" for number in kept) if kept else ""


def check_text(text: str, evidence: Sequence[Citation]) -> tuple[CheckedSentence, ...]:
    """Return the sentences of a written answer, each with what supports it."""
    return tuple(_check(match[0], evidence) for match in _SENTENCE.finditer(text) if subject_words(match[0]))


def cited_numbers(checked: Sequence[CheckedSentence]) -> set[int]:
    """Return the numbers of all evidence that the sentences rest on."""
    return {number for sentence in checked for number in sentence.citations}


def _check(sentence: str, evidence: Sequence[Citation]) -> CheckedSentence:
    marked = {number for mark in MARK.finditer(sentence) for number in _numbers(mark[1])}
    text = MARK.sub("", sentence).strip()
    cited = [one for one in evidence if one.number in marked]
    if cited:
        numbers = tuple(one.number for one in cited)
        return CheckedSentence(text, numbers, _supports(" ".join(map(_whole, cited)), text))
    best = max(evidence, key=lambda one: _share(_whole(one), text), default=None)
    if best is not None and _supports(_whole(best), text):
        return CheckedSentence(text, (best.number,), is_supported=True)
    return CheckedSentence(text, (), is_supported=False)


def _supports(evidence: str, sentence: str) -> bool:
    has_numbers = set(_NUMBER.findall(sentence)) <= set(_NUMBER.findall(evidence))
    return has_numbers and _share(evidence, sentence) >= SUPPORTED


def _share(evidence: str, sentence: str) -> float:
    words = set(map(stem, subject_words(sentence)))
    return len(words & set(map(stem, split_words(evidence)))) / max(len(words), 1)


def _whole(citation: Citation) -> str:
    return f"{citation.title} {citation.heading} {citation.quote}"


def _numbers(marks: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", marks)]
