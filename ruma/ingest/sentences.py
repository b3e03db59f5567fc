"""Where the quotable pieces of a document are: its sentences, and items, rows and lines of code as a whole."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from ruma.ingest.parsed import Block

LONGEST_WHOLE = 250
"""An item or row up to this length is one piece; a longer one is cut into its sentences."""

LONGEST_QUESTION = 150
"""A paragraph up to this length that is one question stands above its answer like a heading."""

_SENTENCE_WITHIN = re.compile(r"[.!?]\s")

# A few frequent words tell languages apart well enough to know their abbreviations.
_FREQUENT = {
    code: words.split()
    for code, words in {
        "en": "the and of to is in for you that with are on",
        "de": "der die und das ist nicht ein eine mit für auf sie",
        "fr": "le la les et des est une pour dans vous que pas",
        "es": "el los las y una para con por que es del su",
        "it": "il gli di che per una con non sono della nel",
        "nl": "de het een en van is dat op te voor niet met",
        "pt": "os as uma para com não que do da em",
        "pl": "jak w na nie się z jest do że od po dla",
    }.items()
}
_SAMPLE = 20_000
_LEAST_VOTES = 4
_WORD = re.compile(r"[^\W\d_]+")
_CODE = re.compile(r"[a-z]{2}")

# "5 p.m. Monday" and "9 a.m. EST" go on; so does an initial or a bare number before the rest.
_HOUR = re.compile(r"\d\s?[ap]\.m\.$", re.I)
_AFTER_HOUR = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun|weekday|weekend|[ecmp][sd]?t\b|gmt|utc)", re.I)
_NUMBERING = re.compile(r"\(?(?:\d{1,3}|[a-zA-Z])[.)]$")


def guess_language(text: str, declared: str = "") -> str:
    """Return the two-letter code of a text's language: as declared, else by its words, else English."""
    if _CODE.match(declared.lower()):
        return declared[:2].lower()
    counts = Counter(_WORD.findall(text[:_SAMPLE].lower()))
    votes = {code: sum(counts[word] for word in words) for code, words in _FREQUENT.items()}
    best = max(votes, key=lambda code: votes[code])
    return best if votes[best] >= _LEAST_VOTES and votes[best] > votes["en"] else "en"


def find_sentences(text: str, blocks: Sequence[Block], language: str) -> list[tuple[int, int]]:
    """Return the character spans of a document's quotable pieces, in order.

    Headings are none, nor is a question that the next block answers: it would be found instead of the answer.
    """
    found: list[tuple[int, int]] = []
    for block, after in zip_longest(blocks, blocks[1:]):
        if block.kind == "heading" or _only_asks(text, block, after):
            continue
        is_short = block.end - block.start <= LONGEST_WHOLE
        if block.kind in ("list item", "table row") and is_short and "\n" not in text[block.start : block.end]:
            found.append((block.start, block.end))
            continue
        for start, end in _lines(text, block.start, block.end):
            if block.kind == "code":
                found.append((start, end))
            else:
                found += _split(text, start, end, language)
    return found


def _only_asks(text: str, block: Block, after: Block | None) -> bool:
    if (
        block.kind != "paragraph"
        or after is None
        or after.kind == "heading"
        or block.end - block.start > LONGEST_QUESTION
    ):
        return False
    shown = text[block.start : block.end]
    return shown.endswith("?") and "\n" not in shown and not _SENTENCE_WITHIN.search(shown)


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Give the lines of a span: a line break that was kept means something."""
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        if (span := _trimmed(text, start, stop)) is not None:
            yield span
        start = stop + 1


def _split(text: str, start: int, end: int, language: str) -> list[tuple[int, int]]:
    from sentencex import get_sentence_boundaries

    spans: list[tuple[int, int]] = []
    for boundary in get_sentence_boundaries(language, text[start:end]):
        span = _trimmed(text, start + boundary["start_index"], start + boundary["end_index"])
        if span is None:
            continue
        if spans and _goes_on(text[spans[-1][0] : spans[-1][1]], text[span[0] : span[1]]):
            spans[-1] = (spans[-1][0], span[1])
        else:
            spans.append(span)
    return spans


def _goes_on(before: str, after: str) -> bool:
    if not any(map(str.isalnum, after[:40])) or _NUMBERING.fullmatch(before):
        return True
    return bool(_HOUR.search(before[-8:]) and _AFTER_HOUR.match(after))


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if end > start else None
