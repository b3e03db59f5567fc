"""Lines on pages to headings, paragraphs and rows: by their size, weight, place and length."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from ruma.ingest.formats.tables import Line, find_tables
from ruma.ingest.parsed import TextBuilder

_ITEM = re.compile(r"([•‣▪●○◦■□➢✓]|[-–*·](?=\s)|\(?\d{1,2}[.)](?=\s|[A-Z])|\(?[a-z]\)(?=\s))\s*(?=\S)")
_PAGE_NUMBER = re.compile(r"(?:page|seite|p\.)?\s*[-–—|]?\s*\d{1,4}\s*(?:(?:of|von|/|-)\s*\d{1,4})?\s*[-–—|]?", re.I)
_LEADER = re.compile(r"(?:\s?\.){4,}|_{4,}|(?:\s?…){2,}")
_SENTENCE_END = (".", "!", "?", ":", ";", "”", '"', "。")
_WORD = re.compile(r"[\w-]+")
_NUMBER = re.compile(r"\(?(?:\d{1,2}|[a-z]|[ivx]{1,4})?(?:\.\d{1,2})*[.)]?")
_HEADING_SCALE = 1.12
_MOST_HEADINGS = 0.3
_TELLING = 40
_LONGEST_HEADING = 120
_DEEPEST_BY_SIZE = 4
_WIDE_GAP = 1.35
_SHORT = 0.62
_PROSE = 0.25
_EDGE_LINES = 2
_LEAST_REPEATS = 3


def add_pages(pages: Sequence[Sequence[Line]], builder: TextBuilder) -> None:
    """Add the text of pages to a builder, each block with the number of the page that it begins on."""
    repeated = _find_repeated(pages)
    shown = [_without_margins(page, repeated) for page in pages]
    joiner = _Joiner(_Fonts([line for page in shown for line in page]), builder)
    for number, lines in enumerate(shown, 1):
        joiner.add_page(number, lines)
    joiner.flush()


class _Fonts:
    """What the sizes and weights of a document's lines mean."""

    def __init__(self, lines: Sequence[Line]) -> None:
        sizes: Counter[float] = Counter()
        for line in lines:
            # A long note in small letters is not the body of a form, nor are as many headings as lines.
            sizes[line.size] += min(len(line.text), _TELLING)
        self.body = sizes.most_common(1)[0][0] if sizes else 0.0
        bigger = {size for size in sizes if size > self.body * _HEADING_SCALE}
        letters = sum(len(line.text) for line in lines if line.size in bigger)
        if letters > _MOST_HEADINGS * sum(len(line.text) for line in lines):
            bigger = set()
        self._levels = {size: level for level, size in enumerate(sorted(bigger, reverse=True), 1)}
        bold = sum(line.is_bold for line in lines)
        self._is_bold_rare = bold <= _MOST_HEADINGS * len(lines)
        self.words = Counter(word for line in lines for word in _WORD.findall(line.text.lower()))

    def is_large(self, line: Line) -> bool:
        """Whether only headings are as large as this line."""
        return line.size in self._levels

    def heading_level(self, lines: Sequence[Line], text: str) -> int | None:
        """Return the level of a heading, or nothing for other text."""
        if len(text) > _LONGEST_HEADING or lines[0].is_row or sum(map(str.isalpha, text)) < len(text) / 3:
            return None
        if level := self._levels.get(lines[0].size):
            return min(level, _DEEPEST_BY_SIZE)
        is_alone = len(lines) == 1 and len(text) < 80 and not text.endswith((".", ",", ";", ":"))
        if lines[0].is_bold and self._is_bold_rare and is_alone and lines[0].size >= self.body:
            return _DEEPEST_BY_SIZE + 1
        return None


class _Joiner:
    """Joins lines to blocks, across the end of a page where a sentence goes on."""

    def __init__(self, fonts: _Fonts, builder: TextBuilder) -> None:
        self._fonts = fonts
        self._builder = builder
        self._open: list[Line] = []
        self._page = 1

    def add_page(self, number: int, lines: Sequence[Line]) -> None:
        """Add the lines of the next page."""
        pitch, width = _usual_pitch(lines), _usual_length(lines)
        tables = find_tables(lines)
        for index, line in enumerate(lines):
            if index in tables:
                self.flush()
                self._builder.page = number
                self._builder.row(tables[index])
                continue
            if self._open and not self._goes_on(line, pitch, width, is_same_page=self._page == number):
                self.flush()
            if not self._open:
                self._page = number
            self._open.append(line)
            if self._page != number:
                # What went on from the last page is one block of that page, and no longer.
                self.flush()
        if self._open and self._open[-1].text.endswith(_SENTENCE_END):
            self.flush()

    def flush(self) -> None:
        """Add the open lines as one block."""
        if not self._open:
            return
        lines, self._open = self._open, []
        self._builder.page = self._page
        text = _LEADER.sub(" … ", self._join([line.text for line in lines]))
        if (level := self._fonts.heading_level(lines, text)) is not None:
            self._builder.heading(level, text)
        elif item := _ITEM.match(text):
            marker = "-" if not any(map(str.isalnum, item[1])) else item[1]
            self._builder.item(text[item.end() :], marker=marker + " ")
        elif lines[0].is_row:
            self._builder.row(text)
        elif any(map(str.isalnum, text)):
            self._builder.paragraph(text)

    def _goes_on(self, line: Line, pitch: float, width: float, *, is_same_page: bool) -> bool:
        """Tell whether a line belongs to the block of the open ones."""
        last, is_lower = self._open[-1], line.text[:1].islower()
        if _NUMBER.fullmatch(last.text) and is_same_page:
            return True
        if _ITEM.match(line.text) or line.is_row or last.is_row:
            return False
        if abs(line.size - last.size) > 0.06 * last.size or line.is_bold != last.is_bold:
            return is_same_page and is_lower and last.text.endswith("-")
        is_ended = last.text.endswith(_SENTENCE_END)
        is_short = len(last.text) < _SHORT * width
        drop = last.y - line.y
        if not is_same_page or drop < 0 or (pitch and drop > _WIDE_GAP * pitch):
            return not is_ended and is_lower and not is_short
        if self._fonts.is_large(line):
            return True
        return is_lower or (width > 0 and not is_short)

    def _join(self, texts: list[str]) -> str:
        joined = texts[0]
        for text in texts[1:]:
            if joined.endswith(("-", "\u2010")) and joined[-2:-1].isalpha() and text[:1].islower():
                joined = self._join_hyphen(joined, text)
            else:
                joined = f"{joined} {text}"
        return joined

    def _join_hyphen(self, before: str, after: str) -> str:
        """Join a word that was cut at the end of a line; a hyphen that is also written elsewhere stays."""
        head, tail = _WORD.findall(before[:-1])[-1], _WORD.match(after)
        compound = f"{head}-{tail[0] if tail else ''}".lower()
        return before + after if self._fonts.words[compound] else before[:-1] + after


def _usual_pitch(lines: Sequence[Line]) -> float:
    gaps = Counter(
        round(above.y - below.y)
        for above, below in pairwise(lines)
        if above.size == below.size and 0 < above.y - below.y < 4 * max(above.size, 1)
    )
    return float(gaps.most_common(1)[0][0]) if gaps else 0.0


def _usual_length(lines: Sequence[Line]) -> float:
    """Return how long a full line of prose is; 0 for a page of lines that stand alone, as on a receipt."""
    plain = [line.text for line in lines if not line.is_row]
    if sum(text[0].islower() for text in plain) < _PROSE * len(plain) or not plain:
        return 0.0
    return float(sorted(map(len, plain))[int(0.8 * len(plain))])


def _find_repeated(pages: Sequence[Sequence[Line]]) -> set[str]:
    """Return what stands at the top or foot of most pages, its numbers left out."""
    counts: Counter[str] = Counter()
    for page in pages:
        counts.update({_shape(line.text) for line in (*page[:_EDGE_LINES], *page[-_EDGE_LINES:])})
    least = max(_LEAST_REPEATS, 0.5 * len(pages))
    return {shape for shape, count in counts.items() if count >= least}


def _without_margins(page: Sequence[Line], repeated: set[str]) -> list[Line]:
    kept = list(page)
    for end in (0, -1):
        for _ in range(_EDGE_LINES):
            if kept and (_shape(kept[end].text) in repeated or _PAGE_NUMBER.fullmatch(kept[end].text)):
                kept.pop(end)
    return kept


def _shape(text: str) -> str:
    return re.sub(r"\d+", "#", text.lower())
