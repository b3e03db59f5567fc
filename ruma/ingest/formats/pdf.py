"""PDF: the text of each page as lines with their size and place, joined to headings, paragraphs and rows."""

import io
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ruma.errors import InputError
from ruma.ingest.formats.lines import add_pages
from ruma.ingest.formats.tables import Line
from ruma.ingest.parsed import MAX_PAGES, ParsedDocument, TextBuilder, clean_line

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

_JUNK_TITLES = ("microsoft word", "microsoft powerpoint", "untitled", "powerpoint ", "document", "print", "unbenannt")
_LETTERS = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st", "\uf0b7": "•", "\uf0a7": "▪"}
"""Ligatures, and the bullets of symbol fonts."""

_SPREAD = str.maketrans(_LETTERS)
_LETTER_WIDTH = 0.5
_CELL_GAP = 1.2
_WORD_GAP = 0.8
_MARKER = re.compile(r"[^\w$€£]|\(?\w{1,2}[.)]")
_LONGEST_CELL = 60
_SAME_HEIGHT = 0.3


class Piece(NamedTuple):
    """Text as a PDF draws it: in one go, in one font."""

    text: str
    size: float
    is_bold: bool
    x: float
    y: float
    is_level: bool
    is_first: bool = False
    """Whether the text was set anew before it: a word, a cell or a line begins."""


def read(data: bytes) -> ParsedDocument:
    """Return a PDF file as a document, its pages numbered from 1.

    Raises:
        InputError: It is encrypted or damaged, or has no text: scanned pages are pictures.
    """
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError, PyPdfError

    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise InputError("is protected by a password; save it without one.")
        if len(reader.pages) > MAX_PAGES:
            raise InputError(f"has more than {MAX_PAGES:,} pages.")
        pages = [_read_page(page) for page in reader.pages]
        title = _find_title(reader, pages)
    except (DependencyError, FileNotDecryptedError) as exc:
        raise InputError("is encrypted; save it without encryption.") from exc
    except LimitReachedError as exc:
        raise InputError("has parts that expand to more than a PDF should hold.") from exc
    except PyPdfError as exc:
        raise InputError("cannot be read as a PDF; it may be damaged.") from exc
    builder = TextBuilder()
    add_pages(pages, builder)
    if builder.is_empty:
        raise InputError("has no text that can be found; it may be scanned.")
    return builder.finish(title or builder.main_heading, media_type="application/pdf")


def _find_title(reader: "PdfReader", pages: list[list[Line]]) -> str:
    """Return the title in the file's properties, if its words are also on the first pages.

    Often it is a template's or another file's, which nobody saw when it was printed.
    """
    properties = reader.metadata
    title = clean_line(str(properties.get("/Title") or "")) if properties else ""
    if title.casefold().startswith(_JUNK_TITLES):
        return ""
    shown = " ".join(line.text for page in pages[:2] for line in page).casefold()
    return title if title and all(word in shown for word in title.casefold().split()) else ""


def _read_page(page: "PageObject") -> list[Line]:
    """Return the lines of a page in the order in which it draws them."""
    rows: list[list[Piece]] = [[]]

    def take(text: str, cm: Any, tm: Any, font: Any, size: float) -> None:
        x, y, scale, is_level = _place(cm, tm)
        is_bold = "bold" in str((font or {}).get("/BaseFont", "")).lower()
        for number, part in enumerate(text.translate(_SPREAD).split("\n")):
            if number:
                rows.append([])
            if part.strip() or (part and rows[-1]):
                rows[-1].append(Piece(part, size * scale, is_bold, x, y, is_level))

    page.extract_text(visitor_text=take)
    joined: list[list[Piece]] = []
    for row in rows:
        if row and joined and _is_beside(joined[-1], row):
            joined[-1] += (row[0]._replace(is_first=True), *row[1:])
        elif row:
            joined.append(row)
    level = sum(row[0].is_level for row in joined)
    if 2 * level > len(joined):
        # What stands upright on a page of level lines is a stamp in its margin.
        joined = [row for row in joined if row[0].is_level]
    return [line for row in joined if (line := _as_line(row)).text]


def _is_beside(row: list[Piece], other: list[Piece]) -> bool:
    """Tell whether two rows of pieces are one on the page, as the cells of a table are drawn apart."""
    last, first = row[-1], other[0]
    return first.is_level and first.x > last.x and abs(first.y - last.y) < _SAME_HEIGHT * max(first.size, 1.0)


def _place(cm: Any, tm: Any) -> tuple[float, float, float, bool]:
    """Return where a piece of text begins on the page, how much its font is scaled, and if it is level."""
    try:
        x = tm[4] * cm[0] + tm[5] * cm[2] + cm[4]
        y = tm[4] * cm[1] + tm[5] * cm[3] + cm[5]
        across, up = abs(tm[0] * cm[0] + tm[1] * cm[2]), abs(tm[0] * cm[1] + tm[1] * cm[3])
        return float(x), float(y), float(max(across, up)) or 1.0, bool(across >= up)
    except (TypeError, IndexError, OverflowError):
        return 0.0, 0.0, 1.0, True


def _as_line(row: list[Piece]) -> Line:
    cells: list[list[Piece]] = []
    last: Piece | None = None
    for piece in row:
        if last is None or (piece.text.strip() and _is_apart(last, piece)):
            cells.append([])
        cells[-1].append(piece)
        last = piece if piece.text.strip() else last
    texts = [_joined(cell) for cell in cells]
    longest = max(row, key=lambda piece: len(piece.text))
    return Line(
        text=" ".join(texts),
        size=round(longest.size, 1) or 1.0,
        is_bold=all(piece.is_bold for piece in row if piece.text.strip()),
        y=row[0].y,
        cells=tuple(texts),
        columns=tuple(cell[0].x for cell in cells),
        pieces=tuple((piece.x, piece.text.strip()) for piece in row if piece.text.strip()),
    )


def _joined(pieces: list[Piece]) -> str:
    return clean_line("".join(f" {piece.text}" if piece.is_first else piece.text for piece in pieces))


def _is_apart(before: Piece, after: Piece) -> bool:
    """Tell whether two pieces of a line stand as far apart as the cells of a table.

    How wide a piece is drawn is not known: the longer it is, the wider the gap must be.
    """
    letters = len(before.text.strip())
    if _MARKER.fullmatch(before.text.strip()):
        return False
    gap = after.x - before.x - letters * before.size * _LETTER_WIDTH
    least = _WORD_GAP if after.is_first else _CELL_GAP
    return letters <= _LONGEST_CELL and gap > before.size * (least + letters * 0.05) > 0
