"""What reading a document gives: plain text, and where its headings, paragraphs, items and rows lie in it."""

import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

from ruma.errors import InputError

Kind = Literal["heading", "paragraph", "list item", "table row", "code"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MAX_TEXT = 50_000_000
"""The most characters that are taken from one document: about 10,000 printed pages."""

MAX_PAGES = 20_000
"""The most pages of one PDF file."""

MAX_TITLE = 300
_NO_TITLES = {"contents", "table of contents", "inhalt", "inhaltsverzeichnis", "sommaire", "índice", "indice"}
DEEPEST_INDENT = 8
LONGEST_HEADING = 200
"""A longer heading is a paragraph in disguise."""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, heading, list item, table row or piece of code: a span of the document's text."""

    start: int
    end: int
    kind: Kind
    headings: tuple[str, ...] = ()
    """The headings that it lies under, the outermost first; a heading's own is the last."""
    page: int | None = None


@dataclass(frozen=True)
class ParsedDocument:
    """The plain text of a document and its structure, in the order of reading."""

    title: str
    text: str
    blocks: tuple[Block, ...]
    sentences: tuple[tuple[int, int], ...] = ()
    """Character spans that can be quoted, in order: sentences, and whole items, rows and lines of code."""
    media_type: str = "text/plain"
    language: str = ""
    """As the document says, "de" or "en-GB"; may be empty."""


class TextBuilder:
    """Collects a document's blocks in the order of reading, and lays them out as plain text.

    What it is given is cleaned first, so that nothing invisible gets into the index or onto a page.
    """

    def __init__(self) -> None:
        """Begin with an empty text."""
        self.page: int | None = None
        self._parts: list[str] = []
        self._length = 0
        self._blocks: list[Block] = []
        self._path: list[tuple[int, str]] = []
        self._headings: list[tuple[int, str]] = []
        self._tight = ""

    @property
    def is_empty(self) -> bool:
        """Whether no block has been added yet."""
        return not self._blocks

    @property
    def main_heading(self) -> str:
        """The first of the highest headings, or nothing."""
        telling = (heading for heading in self._headings if heading[1].casefold() not in _NO_TITLES)
        return min(telling, default=(0, ""), key=lambda heading: heading[0])[1]

    def heading(self, level: int, text: str) -> None:
        """Add a heading; it stands above what follows until one of the same or a higher level."""
        text = clean_line(text)
        if len(text) > LONGEST_HEADING:
            self.paragraph(text)
        if not 0 < len(text) <= LONGEST_HEADING:
            return
        self._path = [(above, title) for above, title in self._path if above < level]
        self._path.append((level, text))
        self._headings.append((level, text))
        self._add("heading", text)

    @contextmanager
    def section(self) -> Iterator[None]:
        """Let the headings that are added inside stand above nothing that comes after."""
        path = self._path
        yield
        self._path = path

    def paragraph(self, text: str, *, is_tight: bool = False) -> None:
        """Add a paragraph; a line break in it is kept. Tight ones follow each other without an empty line."""
        self._add("paragraph", clean_lines(text), tight="line" if is_tight else "")

    def item(self, text: str, *, marker: str = "- ", depth: int = 0) -> None:
        """Add a list item; its marker and indent lie before the block, not in it."""
        self._add("list item", clean_lines(text), before="  " * min(depth, DEEPEST_INDENT) + marker, tight="list")

    def end_group(self) -> None:
        """Let an empty line come before the next block, also if it is one more item or row."""
        self._tight = ""

    def row(self, text: str) -> None:
        """Add a table row that was put into words."""
        self._add("table row", clean_line(text), tight="table")

    def code(self, text: str) -> None:
        """Add text whose line breaks and indents mean something."""
        self._add("code", clean_code(text))

    def finish(self, title: str, *, media_type: str, language: str = "") -> ParsedDocument:
        """Return what was collected."""
        return ParsedDocument(
            title=clean_line(title)[:MAX_TITLE],
            text="".join(self._parts),
            blocks=tuple(self._blocks),
            media_type=media_type,
            language=language,
        )

    def _add(self, kind: Kind, text: str, *, before: str = "", tight: str = "") -> None:
        if not text:
            return
        if self._blocks:
            before = ("\n" if tight and tight == self._tight else "\n\n") + before
        self._tight = tight
        start = self._length + len(before)
        self._length = start + len(text)
        if self._length > MAX_TEXT:
            raise InputError(f"has more than {MAX_TEXT // 1_000_000} million characters of text.")
        self._parts += (before, text)
        headings = tuple(title for _, title in self._path)
        self._blocks.append(Block(start, self._length, kind, headings, self.page))


# Controls, soft hyphens, zero-width and direction marks, tags, lone surrogates, and the letters that only an
# icon font draws: what a reader would not see, but a search or a model would. The joiners U+200C and U+200D
# stay, since scripts and emoji need them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\ue000-\uf8ff\U000e0000-\U000e007f]"
)
_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")


def clean(text: str) -> str:
    """Return a text without what nobody can see, its accents composed and its line ends all the same."""
    text = _LINE_END.sub("\n", text)
    text = _UNSEEN.sub("", text)
    return unicodedata.normalize("NFC", text)


def clean_line(text: str) -> str:
    """Return a text as one line with single spaces."""
    return " ".join(clean(text).split())


def clean_lines(text: str) -> str:
    """Return a text with its line breaks, single spaces in the lines, and no empty lines."""
    text = clean(text)
    if "\n" not in text:
        return " ".join(text.split())
    return "\n".join(line for line in (" ".join(line.split()) for line in text.split("\n")) if line)


def clean_code(text: str) -> str:
    """Return a text with its indents, without empty lines around it or spaces at the ends of lines."""
    lines = [line.rstrip() for line in clean(text).expandtabs(4).split("\n")]
    return "\n".join(lines).strip("\n")
