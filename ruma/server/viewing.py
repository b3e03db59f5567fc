"""A stored document as a readable page: headings, pages, paragraphs, items, and the cited words marked.

A document is stored as plain text; what is shown here is that text and nothing else, so a citation's span can
be marked to the character.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from ruma.ingest.splitting import SEPARATOR
from ruma.tenant.knowledge.documents import Document

PART = 100_000
"""The characters of a document that one page shows, about 40 printed pages; the rest has links."""

_LONGEST_HEADING = 300
_ROW = re.compile(r"[^:;\n]{1,60}: [^;\n]+(?:; [^:;\n]{1,60}: [^;\n]+)+")
_LABEL = re.compile(r"(?:^|; )([^:;\n]{1,60}:) ")
_ITEM = re.compile(r"( *)(-|[0-9]{1,4}[.)]) ")


@dataclass(frozen=True)
class Piece:
    """A stretch of text that is cited as a whole, or not at all."""

    text: str
    is_cited: bool
    labels: tuple[tuple[int, int], ...] = ()
    """Where in it the labels of a table row stand."""

    @property
    def parts(self) -> Iterator[tuple[str, bool]]:
        """The text in stretches, and whether each is a label."""
        at = 0
        for start, end in self.labels:
            yield self.text[at:start], False
            yield self.text[start:end], True
            at = end
        yield self.text[at:], False


@dataclass(frozen=True)
class Block:
    """One line or paragraph of the page. A `page` block says where a page of the original begins."""

    kind: Literal["heading", "page", "paragraph", "item", "line"]
    pieces: tuple[Piece, ...]
    level: int = 0
    """How deep a heading or an item lies, from 0."""
    marker: str = ""


@dataclass(frozen=True)
class View:
    """What a page shows of a document."""

    blocks: tuple[Block, ...]
    part: int
    parts: int


def view_document(document: Document, start: int | None, end: int | None, part: int | None = None) -> View:
    """Return the part of a document that holds the cited span, or the one asked for, from 1.

    A span that lies outside the text, as after the document was changed, marks nothing.
    """
    text = document.text
    cuts = _cuts(text)
    span = (start or 0, min(end or 0, len(text)))
    if part is None:
        part = 1 + max(i for i, cut in enumerate(cuts[:-1]) if cut <= span[0] or i == 0)
    part = min(max(part, 1), len(cuts) - 1)
    blocks = _blocks(document, cuts[part - 1], cuts[part], span)
    return View(tuple(blocks), part, len(cuts) - 1)


def _cuts(text: str) -> list[int]:
    # Parts end where lines end, so that no sentence is shown in two halves; a text without lines, where words do.
    cuts = [0]
    while len(text) - cuts[-1] > PART * 1.5:
        first, last = cuts[-1] + PART, cuts[-1] + 2 * PART
        ends = (text.find(end, first, last) + 1 for end in ("\n", " "))
        cuts.append(next((end for end in ends if end), min(last, len(text))))
    return cuts if cuts[-1] == len(text) and len(cuts) > 1 else [*cuts, len(text)]


def _blocks(document: Document, first: int, last: int, span: tuple[int, int]) -> Iterator[Block]:
    text, levels = document.text, _heading_levels(document)
    pages = _page_starts(document)
    for at, stop in _lines(text, first, last):
        while pages and pages[0][0] <= at:
            _, page = pages.pop(0)
            if not pages or pages[0][0] > at:
                yield Block("page", (Piece(f"Page {page}", is_cited=False),))
        is_repeated = at == 0 and text[:stop] == document.title and not span[0] < min(span[1], stop)
        if not is_repeated:  # the page has the title above the text
            yield _block(text, at, stop, span, levels)


def _block(text: str, at: int, stop: int, span: tuple[int, int], levels: dict[str, int]) -> Block:
    line = text[at:stop]
    is_alone = text[max(at - 2, 0) : at] in ("\n\n", "") and text[stop : stop + 2] in ("\n\n", "")
    if is_alone and line in levels:
        return Block("heading", _pieces(text, at, stop, span), level=levels[line])
    if found := _ITEM.match(line):
        pieces = _pieces(text, at + found.end(), stop, span)
        return Block("item", pieces, min(len(found[1]) // 2, 5), "" if found[2] == "-" else found[2])
    return Block("paragraph" if is_alone else "line", _pieces(text, at, stop, span))


def find_labels(line: str) -> list[tuple[int, int]]:
    """Return where the labels stand in a table row that was put into words, "Product: bread; Price: £3."

    chat.js finds them by the same rule.
    """
    return [found.span(1) for found in _LABEL.finditer(line)] if _ROW.fullmatch(line) else []


def _lines(text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    at = first
    for line in text[first:last].split("\n"):
        if line.strip():
            yield at, at + len(line)
        at += len(line) + 1


def _pieces(text: str, at: int, stop: int, span: tuple[int, int]) -> tuple[Piece, ...]:
    labels = [(at + start, at + end) for start, end in find_labels(text[at:stop])]
    start, end = max(at, span[0]), min(stop, span[1])
    edges = [at, start, end, stop] if start < end else [at, stop, stop, stop]
    found = [_piece(text, first, last, labels, first == start < end) for first, last in pairwise(edges)]
    return tuple(piece for piece in found if piece.text)


def _piece(text: str, first: int, last: int, labels: list[tuple[int, int]], is_cited: bool) -> Piece:
    inside = [(max(start, first) - first, min(end, last) - first) for start, end in labels]
    return Piece(text[first:last], is_cited, tuple((start, end) for start, end in inside if start < end))


def _heading_levels(document: Document) -> dict[str, int]:
    levels: dict[str, int] = {}
    for _, _, heading, _ in document.chunks:
        for depth, title in enumerate(heading.split(SEPARATOR)):
            if 0 < len(title) <= _LONGEST_HEADING:
                levels.setdefault(title, min(depth, 3))
    return levels


def _page_starts(document: Document) -> list[tuple[int, int]]:
    starts: list[tuple[int, int]] = []
    for start, _, _, page in document.chunks:
        if page is not None and (not starts or starts[-1][1] != page):
            starts.append((start, page))
    return starts
