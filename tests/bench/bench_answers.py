"""Answering in the documents' own words: is the answer in what is quoted, and is a question of another field declined?

Run: python -m tests.bench.bench_answers [QUESTIONS]

QUESTIONS is the most that are taken from each set; without it all are.
"""

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ruma.chat.answering import QUOTED
from ruma.chat.evidence import GATE, GATES, choose_evidence, measure_support, narrow, rank_sentences
from ruma.chat.searching import find
from ruma.chat.understanding import asks_number, understand
from ruma.config import load_settings
from ruma.models.embedder import Embedder, open_embedder
from ruma.tenant.tenant import Tenant
from tests.bench.question_sets import Question, halves, indexed, normalise, read_questions

Scores = NDArray[np.float64]
FIRST, TWO, QUOTED_FIRST, QUOTED_ANY, COSINE_FIRST, SUPPORT = range(6)


def main() -> None:
    """Print, for squad2-dev, where the answer is; then for several indexes what is declined."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else sys.maxsize
    embedder = open_embedder(load_settings())
    squad = read_questions("squad2-dev", is_answerable=True)
    nearly = read_questions("squad2-dev", is_answerable=False)
    clapnq = read_questions("clapnq-dev")
    with indexed("squad2-dev", embedder) as tenant:
        chosen = list(range(0, len(squad), max(1, -(-len(squad) // most))))
        scores = _measure([squad[place] for place in chosen], tenant, embedder)
        _show_places(scores, halves(len(squad))[chosen])
        print("\nDeclined, of the questions asked of an index:")
        _show_declined("squad2-dev", "its own (to reach: under 0.05)", scores)
        foreign = _measure(_some(clapnq, most), tenant, embedder)
        _show_declined("squad2-dev", "clapnq-dev's (to reach: at least 0.90)", foreign)
        _show_declined("squad2-dev", "near misses, unanswerable", _measure(_some(nearly, 1000), tenant, embedder))
    for index, others in (("clapnq-dev", "squad2-dev"), ("stackfaq", "clapnq-dev"), ("doc2dial-val", "clapnq-dev")):
        with indexed(index, embedder) as tenant:
            for name in (index, others):
                asked = [one for one in read_questions(name, is_answerable=True) if not one.earlier]
                _show_declined(
                    index, "its own" if name == index else f"{name}'s", _measure(_some(asked, 300), tenant, embedder)
                )
            if index == "doc2dial-val":
                _show_follow_ups(tenant, embedder)


def _some(questions: Sequence[Question], most: int) -> list[Question]:
    return list(questions[:: max(1, -(-len(questions) // most))])


def _measure(questions: Sequence[Question], tenant: Tenant, embedder: Embedder) -> Scores:
    """Return a row a question: is an answer in the place, and how well it is supported."""
    rows = []
    for question in questions:
        found = find(question.text, tenant, embedder)
        ranked = rank_sentences(found, asks_number=asks_number(question.text))
        support = measure_support(found, ranked)
        quotes = [] if support < GATE else [one.quote for one in choose_evidence(ranked, limit=QUOTED)]
        answers = [normalise(answer) for answer in question.answers]
        holds = [any(answer in normalise(sentence.text) for answer in answers) for sentence in ranked[:2]]
        quoted = [any(answer in normalise(quote) for answer in answers) for quote in quotes]
        nearest = max(
            (
                (cosine, passage.chunk.text[start:end])
                for passage in found.passages[:5]
                for cosine, (start, end) in zip(passage.sentence_cosines.tolist(), passage.chunk.sentences, strict=True)
            ),
            default=(0.0, ""),
        )[1]
        by_cosine = any(answer in normalise(nearest) for answer in answers)
        rows.append((any(holds[:1]), any(holds), any(quoted[:1]), any(quoted), by_cosine, support))
    return np.array(rows, float)


def _show_places(scores: Scores, held_out: NDArray[np.bool_]) -> None:
    print(f"squad2-dev, all its paragraphs indexed, {len(scores)} answerable questions: the answer is in")
    for label, column in (
        ("the sentence of the highest cosine (baseline)", COSINE_FIRST),
        ("the first sentence (to reach: 0.78)", FIRST),
        ("the first two (to reach: 0.87)", TWO),
        ("the first quote of an answer, none if declined", QUOTED_FIRST),
        ("any quote of an answer, none if declined", QUOTED_ANY),
    ):
        tuned, kept = scores[~held_out, column].mean(), scores[held_out, column].mean()
        print(f"  {label:48} {scores[:, column].mean():.4f}  (tuned half {tuned:.4f}, held out {kept:.4f})", flush=True)


def _show_declined(index: str, questions: str, scores: Scores) -> None:
    declined = {name: float((scores[:, SUPPORT] < gate).mean()) for name, gate in GATES.items()}
    shown = "  ".join(f"{name} {share:.4f}" for name, share in declined.items())
    print(f"  {index:13} {questions:40} {len(scores):5}  {shown}", flush=True)


def _show_follow_ups(tenant: Tenant, embedder: Embedder) -> None:
    """Print what the gate lets through with and without the look at what a follow-up itself says."""
    later = [one for one in read_questions("doc2dial-val", is_answerable=True) if one.earlier][::4]
    others = [one.text for one in read_questions("clapnq-dev") + read_questions("stackfaq")]
    foreign = iter([text for text in others if len(text.split()) <= 8])
    rows = []
    for question in later:
        for is_own, text in ((True, question.text), (False, f"and {next(foreign, '')}")):
            understood = understand(text, question.earlier)
            if understood.earlier and understood.own_stems:
                found = find(understood.text, tenant, embedder)
                narrowed = narrow(found, understood.own_stems, embedder.embed_question(understood.own))
                supports = [measure_support(one, rank_sentences(one, asks_number=False)) for one in (found, narrowed)]
                rows.append((is_own, *(support >= GATE for support in supports)))
    for is_own, label in ((True, "the dialogues' own"), (False, "of another field")):
        table = np.array([row[1:] for row in rows if row[0] == is_own], float)
        both, narrowed_share = table.mean(axis=0)
        print(f"  follow-ups that name something, {label}, {len(table)}: answered {narrowed_share:.4f}")
        print(f"{'':34} by the gate for both questions together {both:.4f}", flush=True)


if __name__ == "__main__":
    main()
