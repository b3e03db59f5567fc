"""Finding the right documents: words alone, vectors alone and both fused, nDCG@10 on five question sets.

Run: python -m tests.bench.bench_retrieval [QUESTIONS]

QUESTIONS is the most that are taken from each set; without it all are.
"""

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ruma.chat.searching import find
from ruma.chat.understanding import understand
from ruma.chat.words import content_words
from ruma.config import load_settings
from ruma.models.embedder import Embedder, open_embedder
from ruma.tenant.knowledge.index import load_passages, search_vectors, search_words
from ruma.tenant.tenant import Tenant
from tests.bench.question_sets import Question, halves, indexed, ndcg, read_questions

SETS = ("squad2-dev", "clapnq-dev", "stackfaq", "cisi", "doc2dial-val")
LISTED = 40
"""Chunks of each list alone; more than ten documents in every case."""


def main() -> None:
    """Print each set's three figures for the half that was tuned on, the held-out half, and both."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else sys.maxsize
    embedder = open_embedder(load_settings())
    print(f"nDCG@10, {embedder.engine}\n{'':14} {'half':9} questions   words  vectors   fused    gain")
    gains = []
    for name in SETS:
        questions = read_questions(name, is_answerable=True)
        held_out = halves(len(questions))
        with indexed(name, embedder) as tenant:
            chosen = _spread(len(questions), most)
            scores = np.array([_score(questions[place], tenant, embedder) for place in chosen])
            for half, kept in (("tuned", ~held_out[chosen]), ("held out", held_out[chosen]), ("both", None)):
                gains.append(_show(name, half, scores if kept is None else scores[kept]))
            if name == "doc2dial-val":
                _compare_follow_ups(questions[:: max(1, len(questions) // 1000)], tenant, embedder)
    for place, half in enumerate(("tuned", "held out", "both")):
        print(f"gain on average, {half}: {np.mean(gains[place::3]):+.4f} (to reach: +0.02, and none below 0)")


def _spread(count: int, most: int) -> list[int]:
    return list(range(0, count, max(1, -(-count // most))))


def _score(question: Question, tenant: Tenant, embedder: Embedder) -> tuple[float, float, float]:
    found = find(question.text, tenant, embedder)
    words = [number for number, _ in search_words(tenant, content_words(question.text), LISTED)]
    vectors = [number for number, _ in search_vectors(tenant, found.vector, LISTED)]
    names = {chunk.id: chunk.document_name for chunk in load_passages(tenant, list({*words, *vectors}))}
    return (
        ndcg([names[number] for number in words], question.relevant),
        ndcg([names[number] for number in vectors], question.relevant),
        ndcg([passage.chunk.document_name for passage in found.passages], question.relevant),
    )


def _show(name: str, half: str, scores: NDArray[np.float64]) -> float:
    words, vectors, fused = scores.mean(axis=0)
    gain = float(fused - max(words, vectors))
    print(f"{name:14} {half:9} {len(scores):9} {words:7.4f}  {vectors:7.4f} {fused:7.4f} {gain:+7.4f}", flush=True)
    return gain


def _compare_follow_ups(questions: Sequence[Question], tenant: Tenant, embedder: Embedder) -> None:
    """Print what reading a question together with the one it goes back to changes."""
    later = [one for one in questions if one.earlier]
    pairs = []
    for question in later:
        understood = understand(question.text, question.earlier)
        texts = (question.text, understood.text)
        orders = [[one.chunk.document_name for one in find(text, tenant, embedder).passages] for text in texts]
        pairs.append((bool(understood.earlier), *(ndcg(order, question.relevant) for order in orders)))
    joined = np.array([pair[1:] for pair in pairs if pair[0]])
    alone, understood_all = np.array([pair[1:] for pair in pairs]).mean(axis=0)
    print(
        f"{'':14} later questions: alone {alone:.4f}, understood {understood_all:.4f}; of {len(pairs)}, {len(joined)}"
    )
    print(
        f"{'':14} were read with an earlier one: alone {joined[:, 0].mean():.4f}, understood {joined[:, 1].mean():.4f}"
    )


if __name__ == "__main__":
    main()
