"""Texts to calibrate and to measure with: prose of our own and Python's documentation, never a tenant's."""

import random
from functools import cache
from importlib import import_module
from pathlib import Path

SAMPLES = 40
"""How many texts engines are compared on."""

_SAMPLE_LENGTH = 700


def calibration_texts(count: int) -> list[str]:
    """Return texts of every length, shortest first, those of `sample_texts` left out.

    Half are of our own: names, prices, places, questions and other languages, which the documentation lacks,
    raise the lowest cosine that questions reach from 0.989 to 0.996.
    """
    sentences = Path(__file__).with_name("calibration.txt").read_text(encoding="utf-8").splitlines()
    chance = random.Random(1)  # The same texts each time, so that two compilations are alike.
    paragraphs = [text for place, text in enumerate(_documentation()) if place % 3]
    half = count // 2 if paragraphs else 0
    texts = [paragraphs[place * len(paragraphs) // half] for place in range(half)]
    rest = count - half
    texts += [" ".join(chance.sample(sentences, 1 + place * 9 // rest)) for place in range(rest)]
    return sorted(texts, key=len)


def sample_texts() -> list[str]:
    """Return texts of a chunk's length, to compare engines on."""
    paragraphs = [text for place, text in enumerate(_documentation()) if not place % 3]
    random.Random(2).shuffle(paragraphs)
    text = " ".join(paragraphs)
    return [text[place * _SAMPLE_LENGTH : (place + 1) * _SAMPLE_LENGTH] for place in range(SAMPLES)]


@cache
def _documentation() -> list[str]:
    try:
        topics = dict(import_module("pydoc_data.topics").topics)
    except ImportError:  # Some systems package Python without it.
        topics = {name: str(value.__doc__) for name, value in vars(random).items()}
    parts = (" ".join(part.split()) for topic in topics.values() for part in topic.split("\n\n"))
    return sorted({part for part in parts if 80 < len(part) < 1500}, key=len)
