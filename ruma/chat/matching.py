"""Matches a question with one that the business has answered itself: its words go before all that is found.

Numbers and method: docs/explanation/measurements.md.
"""

import re

import numpy as np

from ruma.chat.evidence import Citation
from ruma.chat.searching import MAX_QUESTION
from ruma.chat.understanding import Understood
from ruma.chat.words import content_words, fold, split_words, stem
from ruma.errors import NotFoundError
from ruma.models.vectors import Embedder
from ruma.tenant.knowledge.documents import check_embedder
from ruma.tenant.knowledge.pairs import Pair, load_pair_index, read_pair
from ruma.tenant.tenant import Tenant

NEAR = 0.74
"""The cosine of the two questions from which they count as the same one. Of another field's questions none comes
near it; of those about the pair's own topic that ask something else, 1 in 100 does, and every second rephrasing.
What falls short is searched for like anything else, and finds the pair among the documents."""

SHARED = 0.2
"""The share of words, of both together, that they must have in common besides: nearness alone also joins opposites."""

EXCHANGED = 0.75
"""The cosine of the two words that these need where the questions differ in one word each: *deliver* and *delivery*
have 0.86, *lunch* and *breakfast* 0.72, though whole questions with them are nearer than most rephrasings."""

TURNING = re.compile(
    r"\b(out|off|not?|never|without|before|after|nicht|keine?n?|ohne|pas|sans|avant|apres|sin|antes|despues"
    r"|nao|sem|depois|non|senza|prima|dopo|niet|geen|zonder)\b"
)
"""Words, folded, that turn a question into another, though no search looks for them: check-in and check-out."""


def match_pair(understood: Understood, tenant: Tenant, embedder: Embedder) -> tuple[Pair, float] | None:
    """Return the pair whose question is the one that was asked, and how near the two are; None where there is none.

    A question that leans back on an earlier one matches only word for word: with the earlier question before it,
    "and on Sundays?" would be answered with the answer to that once more.

    Raises:
        NotReadyError: Another embedder made the tenant's vectors.
    """
    asked = understood.own
    if len(asked) > MAX_QUESTION:
        return None
    index = load_pair_index(tenant)
    if not index.ids:
        return None
    check_embedder(tenant, embedder.id)
    words = split_words(asked)
    for place, question in enumerate(index.questions):
        if words and words == split_words(question):
            return _read(tenant, index.ids[place], 1.0)
    if understood.earlier:
        return None
    return _nearest(asked, tenant, embedder)


def _nearest(asked: str, tenant: Tenant, embedder: Embedder) -> tuple[Pair, float] | None:
    index = load_pair_index(tenant)
    cosines = index.vectors @ embedder.embed_question(asked)
    for place in np.argsort(-cosines)[:3].tolist():
        if cosines[place] < NEAR:
            return None
        if _is_alike(asked, index.questions[place], embedder):
            return _read(tenant, index.ids[place], float(cosines[place]))
    return None


def cite_pair(pair: Pair) -> Citation:
    """Return the place of a pair's whole answer."""
    return Citation(
        number=1,
        document_id=pair.id,
        document=pair.question,
        title=pair.question,
        heading="",
        page=None,
        start=0,
        end=len(pair.answer),
        quote=pair.answer,
    )


def _is_alike(asked: str, question: str, embedder: Embedder) -> bool:
    """Tell whether two near questions ask the same, by the words that they share and those that only one has."""
    mine, theirs = ({stem(word): word for word in content_words(text)} for text in (asked, question))
    if 2 * len(mine.keys() & theirs.keys()) < SHARED * (len(mine) + len(theirs)):
        return False
    numbers = {word for word in split_words(question) if word[0].isdecimal()}
    if not numbers <= set(split_words(asked)):
        return False
    only_mine, only_theirs = mine.keys() - theirs.keys(), theirs.keys() - mine.keys()
    if len(only_mine) > 1 or len(only_theirs) > 1:
        return True  # one asked in other words; to look at each of them would lose more than half of the right ones
    if set(TURNING.findall(fold(asked))) != set(TURNING.findall(fold(question))):
        return False
    if not only_mine or not only_theirs:
        return True
    one, other = embedder.embed_question(mine[only_mine.pop()]), embedder.embed_question(theirs[only_theirs.pop()])
    return float(one @ other) >= EXCHANGED


def _read(tenant: Tenant, pair_id: int, score: float) -> tuple[Pair, float] | None:
    try:
        return read_pair(tenant, pair_id), score
    except NotFoundError:  # removed since the questions were read
        return None
