from collections.abc import Sequence

import numpy as np
import pytest

from ruma.chat.evidence import (
    BEST_SENTENCE_WEIGHT,
    CONTEXT_WEIGHT,
    COVERAGE_WEIGHT,
    GATE,
    NUMBER_BONUS,
    PASSAGE_WEIGHT,
    choose_evidence,
    has_new_number,
    measure_support,
    narrow,
    rank_sentences,
)
from ruma.chat.searching import Findings, FoundPassage
from ruma.chat.words import mark_stems
from ruma.tenant.knowledge.index import StoredChunk, pack_spans
from ruma.tenant.knowledge.vectors import pack

STEMS = ("open", "sundai")


def make_passage(
    *sentences: str,
    gap: str = " ",
    title: str = "",
    heading: str = "",
    score: float = 1.0,
    cosines: Sequence[float] = (),
    document_id: int = 1,
    start: int = 100,
) -> FoundPassage:
    """Return a passage of these sentences, with their cosines to the question."""
    text = gap.join(sentences)
    spans, at = [], 0
    for sentence in sentences:
        spans.append((at, at + len(sentence)))
        at += len(sentence) + len(gap)
    none = np.zeros((1, 4), np.float32)
    vectors = np.array([[cosine, 0, 0, 0] for cosine in cosines or [0.5] * len(sentences)], np.float32).reshape(-1, 4)
    whole, parts = pack(none), pack(np.vstack([none, vectors]))
    chunk = StoredChunk(
        document_id, document_id, "a.md", title, "/a", heading, 3, start, text, pack_spans(spans), whole, parts
    )
    return FoundPassage(chunk, score, 0.5, 1.0, vectors[:, 0], mark_stems(sentences, STEMS))


def make_findings(*passages: FoundPassage, weights: Sequence[float] = (1.0, 3.0)) -> Findings:
    """Return the passages for the question "open on Sundays", of which Sunday is the rarer word."""
    vector = np.array([1, 0, 0, 0], np.float32)
    return Findings(vector, STEMS, np.array(weights, np.float32), passages)


def quotes(*passages: FoundPassage, limit: int = 3, asks_number: bool = False) -> list[str]:
    """Return what is quoted of the passages."""
    ranked = rank_sentences(make_findings(*passages), asks_number=asks_number)
    return [citation.quote for citation in choose_evidence(ranked, limit=limit)]


def test_a_sentence_s_score_is_made_of_the_parts_that_are_documented() -> None:
    """Cosine, coverage, what heading and sentence before add, the passage, and a number where one is asked for."""
    passage = make_passage("On Sundays we rest.", "We open at 9.", score=0.8, cosines=(0.2, 0.4))

    first, second = rank_sentences(make_findings(passage), asks_number=True)

    assert second.score == pytest.approx(0.2 + COVERAGE_WEIGHT * 0.75 + PASSAGE_WEIGHT * 0.8)
    expected = 0.4 + COVERAGE_WEIGHT * 0.25 + CONTEXT_WEIGHT * 0.75 + PASSAGE_WEIGHT * 0.8 + NUMBER_BONUS
    assert first.score == pytest.approx(expected)
    assert first.text == "We open at 9."


def test_a_heading_says_what_its_sentences_are_about() -> None:
    """The words that only the heading has count too, if less than a sentence's own."""
    under = make_passage("We open at 9.", heading="Sundays")
    alone = make_passage("We open at 10.", document_id=2)

    ranked = rank_sentences(make_findings(alone, under), asks_number=False)

    assert [sentence.text for sentence in ranked] == ["We open at 9.", "We open at 10."]


def test_the_gate_looks_at_the_best_passage_and_the_best_sentence() -> None:
    """Both must be good for the sum to reach it; nothing at all is no support."""
    findings = make_findings(make_passage("Open on Sundays.", score=0.6), make_passage("Rye.", score=0.1))
    ranked = rank_sentences(findings, asks_number=False)

    assert measure_support(findings, ranked) == pytest.approx(0.6 + BEST_SENTENCE_WEIGHT * ranked[0].score)
    assert measure_support(findings, ranked) > GATE
    assert measure_support(make_findings(), []) == 0


def test_a_question_in_a_document_is_quoted_only_with_its_answer() -> None:
    """A list of frequent questions holds the visitor's own words, and they answer nothing."""
    passage = make_passage("Are you open on Sundays?", "Yes, until noon.", "Dogs are welcome.", cosines=(0.9, 0.1, 0.1))

    assert quotes(passage, limit=1) == ["Are you open on Sundays? Yes, until noon."]
    assert quotes(make_passage("Are you open on Sundays?")) == []


def test_neighbours_are_quoted_together_in_the_order_of_the_text() -> None:
    """Two sentences of one paragraph read well as one quote, and the better one decides where it stands."""
    passage = make_passage("We open on Sundays.", "Sundays end at noon.", cosines=(0.5, 0.7))

    assert quotes(passage) == ["We open on Sundays. Sundays end at noon."]


def test_rows_and_items_are_not_run_together() -> None:
    """What stands on lines of its own is quoted on its own."""
    passage = make_passage("Open Sunday: 8 to 12", "Open Sunday in May: 8 to 13", gap="\n", cosines=(0.5, 0.6))

    assert quotes(passage) == ["Open Sunday in May: 8 to 13", "Open Sunday: 8 to 12"]


def test_the_same_sentence_of_two_documents_is_quoted_once() -> None:
    """A footer that every page has says no more the second time."""
    sentence = "We are open on Sundays from 8 to 12."

    assert quotes(make_passage(sentence), make_passage(sentence + " ", document_id=2)) == [sentence]


def test_only_sentences_near_the_best_are_quoted_and_no_more_than_the_limit() -> None:
    """A second quote must have a chance to be the answer."""
    passage = make_passage("Open on Sundays.", "Dogs are welcome.", gap="\n")
    many = make_passage(*(f"Open on Sundays at {hour}." for hour in ("dawn", "noon", "dusk", "night")), gap="\n")

    assert quotes(passage) == ["Open on Sundays."]
    assert len(quotes(many, limit=3)) == 3


def test_a_citation_is_the_exact_place_in_the_document() -> None:
    """Its span is counted in the document's text, not in the chunk's."""
    passage = make_passage("We bake.", "Open on Sundays.", gap="\n", title="Shop", heading="Hours", start=40)

    (citation,) = choose_evidence(rank_sentences(make_findings(passage), asks_number=False), limit=1)

    assert (citation.number, citation.document_id, citation.document) == (1, 1, "a.md")
    assert (citation.title, citation.heading, citation.page) == ("Shop", "Hours", 3)
    assert (citation.start, citation.end, citation.quote) == (49, 65, "Open on Sundays.")


@pytest.mark.parametrize(
    ("text", "known", "has"),
    [("In 1998.", ["1066"], True), ("In 1066.", ["1066"], False), ("Never.", [], False), ("At 7:30", [], True)],
)
def test_a_number_counts_where_the_question_does_not_name_it(text: str, known: list[str], has: bool) -> None:
    """The year in the question is not the year that was asked for."""
    assert has_new_number(text, known) is has


def test_a_follow_up_keeps_the_passages_that_fit_what_it_says_itself() -> None:
    """By its words, or by its meaning alone; the rest fits only the question before."""
    by_word = make_passage("Closed on Sunday.", document_id=1)
    by_meaning = make_passage("The weekend is free.", document_id=2, cosines=(0.31,))
    neither = make_passage("We open at 9.", document_id=3, cosines=(0.2,))
    own = np.array([1, 0, 0, 0], np.float32)
    findings = make_findings(*(neither, by_meaning, make_passage("Closed on Sunday.", cosines=(0.0,)), by_word))

    kept = narrow(findings, {"sundai"}, own).passages

    assert [passage.chunk.text for passage in kept] == [
        "The weekend is free.",
        "Closed on Sunday.",
        "Closed on Sunday.",
    ]


def test_a_follow_up_that_names_nothing_new_keeps_all_passages() -> None:
    """ "How much is it?" can only be about what was asked before."""
    findings = make_findings(make_passage("We open at 9.", cosines=(0.0,)))

    assert narrow(findings, frozenset(), np.zeros(4, np.float32)) is findings
    assert narrow(findings, {"unknown"}, np.zeros(4, np.float32)) is findings


def test_a_passage_without_sentences_does_not_stand_in_the_way() -> None:
    """A chunk may be a heading alone, which cannot be quoted."""
    empty = make_passage(title="Sundays", score=2.0)

    assert quotes(empty, make_passage("Open on Sundays.")) == ["Open on Sundays."]
    assert narrow(make_findings(empty), {"open"}, np.zeros(4, np.float32)).passages == ()
