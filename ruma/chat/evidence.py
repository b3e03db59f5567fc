"""Chooses the sentences that answer a question, or none: the gate that lets the agent say that it does not know."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ruma.chat.searching import Findings, FoundPassage
from ruma.chat.words import is_question, mark_stems, split_words

Floats = NDArray[np.float32]

GATE = 0.98
"""The support below which nothing is quoted: the best passage's score and `BEST_SENTENCE_WEIGHT` of the best
sentence's. 4 in 100 answerable questions of squad2-dev are declined, and 9 in 100 of another field answered. A dozen
other features together (gaps, agreement of the lists, rare words) and boosted trees over them did no better."""

GATES = {"lenient": 0.90, "balanced": GATE, "strict": 1.08}
"""The same for each strictness of an agent."""

BEST_SENTENCE_WEIGHT = 0.3
"""More declines paraphrased questions of small indexes, less answers more questions of another field."""

PASSAGES = 5
"""Passages whose sentences are compared: the answer is in one of them for 97 in 100 questions."""

# A sentence's score is its cosine to the question plus these parts, tuned on half of squad2-dev.
COVERAGE_WEIGHT = 0.8
"""Of the share of the question's idf that the sentence holds."""

CONTEXT_WEIGHT = 0.4
"""Of the share that only its heading or the sentence before hold: "It", "there" and "the price" go back to these."""

PASSAGE_WEIGHT = 0.5
"""Of its passage's score."""

NUMBER_BONUS = 0.15
"""For a sentence with a number that is not in the question, where the question asks for one."""

MARGIN = 0.3
"""How far below the best sentence another may be and still be quoted. Beyond it 2 in 100 add the answer."""

NARROWED = 10
"""Passages for a follow-up that are looked at for what it says itself."""

OWN_COSINE = 0.3
"""From this cosine of a follow-up alone to one of its sentences, a passage fits it."""

OWN_COVERAGE = 0.3
"""Or from this share of the idf of what the follow-up names. Of short questions from another field, asked with "and"
in doc2dial's dialogues, 45 in 100 passed the gate without the two, and 4 do; of the dialogues' own, 93 and 82."""

SAME = 0.9
"""The share of words from which two sentences count as the same one."""


@dataclass(frozen=True)
class Citation:
    """A place in a document that supports an answer."""

    number: int
    document_id: int
    document: str
    """The document's name in its source."""
    title: str
    heading: str
    page: int | None
    start: int
    end: int
    """The character span in the document's text."""
    quote: str
    """The text of that span, word for word."""
    score: float = 0.0
    """How well it fits the question; comparable within one answer."""


@dataclass(frozen=True)
class Sentence:
    """A sentence that may answer the question: a span of a passage's text."""

    passage: FoundPassage
    first: int
    """The place of its first sentence in the passage; before `last` where a question goes before its answer."""
    last: int
    score: float

    @property
    def span(self) -> tuple[int, int]:
        """The character span in the passage's text."""
        sentences = self.passage.chunk.sentences
        return sentences[self.first][0], sentences[self.last][1]

    @property
    def text(self) -> str:
        """The text, word for word."""
        start, end = self.span
        return self.passage.chunk.text[start:end]


def choose_evidence(ranked: Sequence[Sentence], *, limit: int, margin: float = MARGIN) -> tuple[Citation, ...]:
    """Return the places of the best sentences, numbered from 1; neighbours of one paragraph become one place.

    Args:
        ranked: The sentences, best first.
        limit: Sentences at most.
        margin: How far below the best one they may be.
    """
    kept: list[Sentence] = []
    for sentence in ranked:
        if len(kept) == limit or sentence.score < ranked[0].score - margin:
            break
        if not any(_is_same(sentence, other) for other in kept):
            kept.append(sentence)
    return tuple(_cite(number, sentence) for number, sentence in enumerate(_join_neighbours(kept), 1))


def rank_sentences(found: Findings, *, asks_number: bool) -> list[Sentence]:
    """Return the sentences of the best passages, the likeliest answer first."""
    passages = found.passages[:PASSAGES]
    headings = mark_stems([f"{one.chunk.title} {one.chunk.heading}" for one in passages], found.stems)
    sentences = [
        one
        for passage, heading in zip(passages, headings, strict=True)
        for one in _score(passage, heading, found, asks_number)
    ]
    return sorted(sentences, key=lambda sentence: -sentence.score)


def measure_support(found: Findings, ranked: Sequence[Sentence]) -> float:
    """Return how well the best passage and the best sentence fit the question: what the gate looks at."""
    if not ranked:
        return 0.0
    return found.passages[0].score + BEST_SENTENCE_WEIGHT * ranked[0].score


def narrow(found: Findings, stems: Collection[str], vector: Floats) -> Findings:
    """Return the findings with only the passages that also fit what a follow-up itself says.

    The gate belongs to a turn: without this, "and who won the cup?" after a question about opening hours would be
    answered with the opening hours. A follow-up that names nothing new ("how much is it?") keeps them all.

    Args:
        found: The passages for the follow-up and the earlier question together.
        stems: What the follow-up names and the earlier question did not.
        vector: Of the follow-up alone.
    """
    named = np.array([one in stems for one in found.stems], np.bool_)
    if not named.any():
        return found
    least = OWN_COVERAGE * float(found.weights[named].sum())

    def fits(passage: FoundPassage) -> bool:
        if float((passage.chunk.sentence_vectors @ vector).max(initial=-1.0)) >= OWN_COSINE:
            return True
        held = (passage.marks.any(axis=0) | _heading_marks(passage, found)) & named
        return float(found.weights[held].sum()) >= least

    return replace(found, passages=tuple(passage for passage in found.passages[:NARROWED] if fits(passage)))


def _score(passage: FoundPassage, heading: NDArray[np.bool_], found: Findings, asks_number: bool) -> Iterator[Sentence]:
    """Yield the sentences of a passage; `heading` (stems,) says which of the question's its title and headings hold."""
    chunk = passage.chunk
    texts = [chunk.text[start:end] for start, end in chunk.sentences]
    weights = found.weights / max(float(found.weights.sum()), 1e-9)
    for place, text in enumerate(texts):
        # A question is no answer, however near it is to the visitor's own.
        if is_question(text):
            continue
        first, marks, cosine = place, passage.marks[place], float(passage.sentence_cosines[place])
        before = passage.marks[place - 1] if place else np.zeros_like(marks)
        if place and is_question(texts[place - 1]):
            # What follows a question answers it, so what that question is near to counts for the answer.
            first, marks, cosine = place - 1, marks | before, max(cosine, float(passage.sentence_cosines[place - 1]))
        score = cosine + COVERAGE_WEIGHT * float(marks @ weights) + PASSAGE_WEIGHT * passage.score
        score += CONTEXT_WEIGHT * float((~marks & (heading | before)) @ weights)
        if asks_number and has_new_number(text, found.stems):
            score += NUMBER_BONUS
        yield Sentence(passage, first, place, score)


def _heading_marks(passage: FoundPassage, found: Findings) -> NDArray[np.bool_]:
    marks: NDArray[np.bool_] = mark_stems([f"{passage.chunk.title} {passage.chunk.heading}"], found.stems)[0]
    return marks


def has_new_number(text: str, known: Sequence[str]) -> bool:
    """Return whether a text has a number that is not among the known words."""
    return any(word[0].isdecimal() and word not in known for word in split_words(text))


def _is_same(one: Sentence, other: Sentence) -> bool:
    if one.passage is other.passage and one.first <= other.last and other.first <= one.last:
        return True
    mine, others = set(split_words(one.text)), set(split_words(other.text))
    return len(mine & others) >= SAME * max(len(mine | others), 1)


def _join_neighbours(kept: Sequence[Sentence]) -> list[Sentence]:
    """Return the sentences with neighbours of one paragraph joined, at the place of the better one."""
    joined: list[Sentence] = []
    for sentence in kept:
        for place, other in enumerate(joined):
            if (both := _joined(sentence, other)) is not None:
                joined[place] = both
                break
        else:
            joined.append(sentence)
    return joined


def _joined(one: Sentence, other: Sentence) -> Sentence | None:
    first, second = sorted((one, other), key=lambda sentence: sentence.first)
    if first.passage is not second.passage or first.last + 1 != second.first:
        return None
    if "\n" in first.passage.chunk.text[first.span[1] : second.span[0]]:
        return None
    return Sentence(first.passage, first.first, second.last, max(one.score, other.score))


def _cite(number: int, sentence: Sentence) -> Citation:
    chunk = sentence.passage.chunk
    start, end = sentence.span
    return Citation(
        number=number,
        document_id=chunk.document_id,
        document=chunk.document_name,
        title=chunk.title,
        heading=chunk.heading,
        page=chunk.page,
        start=chunk.start + start,
        end=chunk.start + end,
        quote=sentence.text,
        score=round(sentence.score, 4),
    )
