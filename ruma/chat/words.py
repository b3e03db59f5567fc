"""Words as the full-text index sees them, and which of them a question is about.

The only module that stems: the index does it with Porter's rules, so the same rules are used here.
"""

import re
import threading
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import snowballstemmer
from numpy.typing import NDArray

from ruma.chat.languages import guess_language

MAX_TERMS = 64
"""Words of a question that are searched for. Of the test sets' questions one in a thousand has more."""

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_WORD = re.compile(r"[^\W_]+")
_END = re.compile("\0")
_PORTER = snowballstemmer.stemmer("porter")
_ONE_AT_A_TIME = threading.Lock()  # a stemmer holds the word that it works on


def fold(text: str) -> str:
    """Return text in small letters without accents, as the full-text index stores it."""
    if text.isascii():
        return text.lower()
    return _NOT_ASCII.sub(_drop_accents, unicodedata.normalize("NFD", text.lower()))


def _drop_accents(found: re.Match[str]) -> str:
    return "".join([letter for letter in found[0] if not unicodedata.combining(letter)])


def split_words(text: str) -> list[str]:
    """Return the words of a text, folded, in order."""
    return _WORD.findall(fold(text))


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Return the stem of a folded word."""
    with _ONE_AT_A_TIME:
        return str(_PORTER.stemWord(word))


def forget_words() -> None:
    """Forget every word that was stemmed: of questions and of passages, those of a name among them."""
    stem.cache_clear()
    stem("")  # or the stemmer would hold the last one


def subject_words(text: str) -> list[str]:
    """Return the different words of a text that are no stop words of its language, in order."""
    words = split_words(text)
    stop_words = guess_language(words).stop_words
    return list(dict.fromkeys(word for word in words if word not in stop_words))


def content_words(text: str) -> list[str]:
    """Return the words that a question is searched by: at most `MAX_TERMS`, and all kinds where it has no others.

    "Who are you?" has stop words alone.
    """
    return (subject_words(text) or list(dict.fromkeys(split_words(text))))[:MAX_TERMS]


def group_by_stem(words: Sequence[str]) -> dict[str, str]:
    """Return the first word of each stem, by stem and in order."""
    firsts: dict[str, str] = {}
    for word in words:
        firsts.setdefault(stem(word), word)
    return firsts


def mark_stems(texts: Sequence[str], stems: Sequence[str]) -> NDArray[np.bool_]:
    """Return which stems each text holds: one row a text, one column a stem.

    A stem is the beginning of its word, but for an e, i or l at its end ("bakeri" of "bakery"), so only words that
    begin so are looked at: stemming every word of 30 passages would take as long as the rest of a search.
    """
    marks = np.zeros((len(texts), len(stems)), np.bool_)
    # All texts in one go, each with its end marked: to look for the next one costs more than to look through one.
    whole = "".join([fold(text).replace("\0", " ") + "\0" for text in texts])
    ends = [found.start() for found in _END.finditer(whole)]
    for column, one in enumerate(stems):
        beginning = (one[:-1] if one.endswith(("e", "i", "l")) else one) or one
        at = whole.find(beginning)
        while at >= 0:
            word = _WORD.match(whole, at)
            if word is None or (at and whole[at - 1].isalnum()) or stem(word[0]) != one:
                at = whole.find(beginning, at + 1)
                continue
            row = bisect_left(ends, at)
            marks[row, column] = True
            at = whole.find(beginning, ends[row])
    return marks


def is_question(text: str) -> bool:
    """Return whether a sentence ends as a question does."""
    return text.rstrip("\"'»”’)]*_ \n").endswith(("?", "？", "؟"))
