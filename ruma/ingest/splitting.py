"""Blocks to chunks that tile the text: by structure first, then by sentences, and only at last by tokens.

A chunk never has more tokens than the embedder reads at once, so no text is silently cut.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ruma.ingest.parsed import Block, ParsedDocument
from ruma.models.vectors import Embedder, Passage, join_passage

PREFIX_TOKENS = 48
"""The most tokens of title and headings that are put before a chunk's text."""

RESERVED_TOKENS = 8
"""Left free for the special tokens, and for the words that some models want before a passage."""
MOST_CHARACTERS = 4_000
"""A tokenizer may take a very long word for one token: so a chunk has a limit in characters too."""

SEPARATOR = " \u203a "

_LEAD_IN_TOKENS = 40
_WINDOW = 20_000
_CLOSE = 12
_LEAST_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document as it is stored, and what of it is embedded."""

    start: int
    end: int
    text: str
    heading: str
    """The headings above it, "Delivery" and "Prices" joined by SEPARATOR; the document's title is not repeated."""
    page: int | None
    sentences: tuple[tuple[int, int], ...]
    """Character spans in the chunk's text."""
    prefix: str
    body: int
    """Where in the text the embedded part begins: the headings before it are in the prefix."""

    @property
    def passage(self) -> Passage:
        """What the embedder is given."""
        shifted = tuple((start - self.body, end - self.body) for start, end in self.sentences)
        return Passage(self.prefix, self.text[self.body :], shifted)


def split(document: ParsedDocument, embedder: Embedder) -> list[Chunk]:
    """Return the chunks of a document, in order; joined, their texts are its text."""
    splitter = _Splitter(document, embedder)
    cuts = [cut for section in _sections(document.blocks) for cut in splitter.cut(section)]
    return list(splitter.chunks(cuts))


@dataclass(frozen=True, slots=True)
class _Section:
    """The blocks under one heading and on one page."""

    headings: list[Block]
    blocks: list[Block]

    @property
    def start(self) -> int:
        return (self.headings or self.blocks)[0].start

    @property
    def page(self) -> int | None:
        return (self.blocks or self.headings)[0].page

    @property
    def path(self) -> tuple[str, ...]:
        return (self.blocks or self.headings)[-1].headings


@dataclass(frozen=True, slots=True)
class _Heading:
    """What stands above a section."""

    prefix: str
    shown: str
    tokens: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """A span that is not cut any further."""

    start: int
    end: int
    tokens: int
    """With those of the list marker before it."""
    is_bound: bool = False
    """Whether it should stay with the piece before it."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where a chunk begins, and where what is embedded of it begins."""

    start: int
    body: int
    page: int | None
    heading: _Heading


def _sections(blocks: Sequence[Block]) -> Iterator[_Section]:
    """Give the blocks under each heading; headings with nothing between them begin one section together."""
    headings: list[Block] = []
    body: list[Block] = []
    for block in blocks:
        is_heading = block.kind == "heading"
        if body and (is_heading or block.page != body[0].page or block.headings != body[0].headings):
            yield _Section(headings, body)
            headings, body = [], []
        (headings if is_heading else body).append(block)
    if headings or body:
        yield _Section(headings, body)


class _Splitter:
    """Splits one document for one embedder."""

    def __init__(self, document: ParsedDocument, embedder: Embedder) -> None:
        self._text = document.text
        self._title = document.title
        self._sentences = document.sentences
        self._starts = [start for start, _ in document.sentences]
        self._block_starts = {block.start for block in document.blocks}
        self._embedder = embedder
        self._headings: dict[tuple[str, ...], _Heading] = {}

    def cut(self, section: _Section) -> list[_Cut]:
        """Return where the chunks of a section begin."""
        heading = self._headings.get(section.path)
        if heading is None:
            heading = self._headings[section.path] = _describe(self._title, section.path, self._embedder)
        if not section.blocks:
            # Headings alone are embedded as text: nothing else of the chunk would be.
            return [_Cut(section.start, section.start, section.page, heading)]
        limit = self._embedder.max_tokens - RESERVED_TOKENS - heading.tokens
        while True:
            groups = _pack(self._pieces(section.blocks, limit), limit)
            over = max(self._excess(group, heading.prefix, limit) for group in groups)
            if over <= 0 or limit <= _LEAST_TOKENS:
                break
            # Cut in other places, a text may have a few tokens more than it has as a whole.
            limit = max(_LEAST_TOKENS, limit - over - 1)
        first, *others = [group[0].start for group in groups]
        cuts = [_Cut(section.start, first, section.page, heading)]
        return cuts + [_Cut(start, start, section.page, heading) for start in others]

    def chunks(self, cuts: Sequence[_Cut]) -> Iterator[Chunk]:
        """Give the chunks that begin at the cuts; the first begins where the text does."""
        edges = [0, *(self._line_start(cut.start) for cut in cuts[1:]), len(self._text)]
        for cut, start, end in zip(cuts, edges, edges[1:], strict=False):
            body = max(cut.body, start)
            yield Chunk(
                start=start,
                end=end,
                text=self._text[start:end],
                heading=cut.heading.shown,
                page=cut.page,
                sentences=tuple((first - start, last - start) for first, last in self._within(body, end)),
                prefix=cut.heading.prefix,
                body=body - start,
            )

    def _within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Give the sentences in a span, and the parts in it of one too long for one chunk."""
        at = bisect_left(self._starts, start)
        if at and self._sentences[at - 1][1] > start:
            yield start, min(self._sentences[at - 1][1], end)
        for first, last in self._sentences[at : bisect_left(self._starts, end)]:
            yield first, min(last, end)

    def _line_start(self, place: int) -> int:
        """Return where the line of a block begins: its marker is part of the same chunk."""
        return self._text.rfind("\n", 0, place) + 1 if place in self._block_starts else place

    def _excess(self, group: Sequence[_Piece], prefix: str, limit: int) -> int:
        """Return how many tokens a chunk has too many; it is counted exactly only where it may be."""
        if sum(piece.tokens for piece in group) < limit - _CLOSE:
            return 0
        joined, _ = join_passage(prefix, self._text[group[0].start : group[-1].end])
        return self._embedder.count_tokens(joined) + RESERVED_TOKENS - self._embedder.max_tokens

    def _pieces(self, blocks: Sequence[Block], limit: int) -> list[_Piece]:
        """Return the blocks as pieces; one that is too long for a chunk as its sentences, or parts of these."""
        tokens = self._token_starts(blocks[0].start, blocks[-1].end)
        pieces: list[_Piece] = []
        lead: Block | None = None
        before = blocks[0].start
        for block in blocks:
            count = _count(tokens, before, block.end)
            before = block.end
            if count > limit or block.end - block.start > MOST_CHARACTERS:
                pieces += self._split_block(block, tokens, limit)
                lead = None
                continue
            is_bound = lead is not None and self._leads_to(lead, block)
            pieces.append(_Piece(block.start, block.end, count, is_bound))
            is_lead = block.kind == "paragraph" and count <= _LEAD_IN_TOKENS
            lead = block if is_lead or (is_bound and block.kind == "list item") else None
        return pieces

    def _leads_to(self, lead: Block, block: Block) -> bool:
        """Tell whether a block says little without the one before it: the items of a list, or an answer."""
        if lead.kind == "list item":
            return block.kind == "list item"
        return self._text[lead.end - 1] in ":?\uff1a\uff1f"

    def _split_block(self, block: Block, tokens: Sequence[int], limit: int) -> Iterator[_Piece]:
        within = self._starts[bisect_left(self._starts, block.start) : bisect_left(self._starts, block.end)]
        edges = [block.start, *within[1:], block.end]
        for start, end in pairwise(edges):
            yield from self._split_span(start, end, tokens, limit)

    def _split_span(self, start: int, end: int, tokens: Sequence[int], limit: int) -> Iterator[_Piece]:
        """Cut a span where words end, each part within the limits."""
        while start < end:
            at = bisect_left(tokens, start) + limit
            stop = min(end, start + MOST_CHARACTERS, tokens[at] if at < len(tokens) else end)
            if stop < end:
                stop = self._word_start(start, stop)
            yield _Piece(start, stop, max(1, _count(tokens, start, stop)))
            start = stop

    def _word_start(self, start: int, stop: int) -> int:
        """Return the last place before *stop* where a clause or a word begins, if it is not far back."""
        for marks in ("; ", ", ", " "):
            found = self._text.rfind(marks, start + (stop - start) // 2, stop)
            if found > 0:
                return found + len(marks)
        return stop

    def _token_starts(self, start: int, end: int) -> list[int]:
        """Return where each token of a span begins; long spans are read in windows cut between words."""
        starts: list[int] = []
        while start < end:
            stop = min(end, start + _WINDOW)
            if stop < end:
                space = max(self._text.rfind(mark, start + 1, stop) for mark in " \n")
                stop = space if space > 0 else stop
            starts += (start + first for first, _ in self._embedder.token_spans(self._text[start:stop]))
            start = stop
        return starts


def _pack(pieces: Sequence[_Piece], limit: int) -> list[list[_Piece]]:
    """Put pieces together to chunks of much the same size, as few as the limit allows."""
    total = sum(piece.tokens for piece in pieces)
    target = total / max(1, -(-total // limit))
    groups: list[list[_Piece]] = []
    size = 0
    for unit in _units(pieces, limit):
        tokens = sum(piece.tokens for piece in unit)
        is_new = not groups or size + tokens > limit or size + tokens / 2 > target
        if is_new or unit[-1].end - groups[-1][0].start > MOST_CHARACTERS:
            groups.append([])
            size = 0
        groups[-1] += unit
        size += tokens
    return groups


def _units(pieces: Sequence[_Piece], limit: int) -> Iterator[list[_Piece]]:
    """Give the pieces in bundles that stay together: a lead-in and what it leads to, as far as they fit."""
    unit: list[_Piece] = []
    size = 0
    for piece in pieces:
        size += piece.tokens
        if unit and piece.is_bound and size <= limit and piece.end - unit[0].start <= MOST_CHARACTERS:
            unit.append(piece)
            continue
        if unit:
            yield unit
        unit, size = [piece], piece.tokens
    yield unit


def _count(tokens: Sequence[int], start: int, end: int) -> int:
    return bisect_left(tokens, end) - bisect_left(tokens, start)


def _describe(title: str, path: tuple[str, ...], embedder: Embedder) -> _Heading:
    """Return what stands above a section; in the prefix title and nearest heading come before the others."""
    headings = [*path]
    while headings and headings[0].casefold() == title.casefold():
        headings.pop(0)
    parts = [part for part in (title, *headings) if part]
    most = min(PREFIX_TOKENS, embedder.max_tokens // 4)
    while len(parts) > 2 and embedder.count_tokens(SEPARATOR.join(parts)) > most:
        parts.pop(1)
    prefix = SEPARATOR.join(parts)
    tokens = embedder.count_tokens(prefix)
    if tokens > most:
        room = max(1, most // len(parts) - 2)
        prefix = SEPARATOR.join(_shortened(part, room, embedder) for part in parts)
        tokens = embedder.count_tokens(prefix)
    if tokens > most:
        prefix, tokens = "", 0
    return _Heading(prefix, SEPARATOR.join(headings), tokens)


def _shortened(text: str, tokens: int, embedder: Embedder) -> str:
    spans = embedder.token_spans(text)
    return text if len(spans) <= tokens else text[: spans[tokens - 1][1]]
