"""Word (.docx): paragraphs, lists and tables in the order of reading, headings by their style.

Nothing that the file links to is followed, and its declared sizes are checked before it is unpacked.
"""

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ruma.errors import InputError
from ruma.ingest.formats.rows import describe_row, is_header
from ruma.ingest.parsed import ParsedDocument, TextBuilder, clean_line

if TYPE_CHECKING:
    from docx.document import Document
    from lxml.etree import _Element  # type: ignore[import-untyped]

MAX_UNPACKED = 300_000_000
MAX_MEMBERS = 5_000
MAX_RATIO = 200
_RATIO_FROM = 20_000_000

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_FORMULA_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_BULLET = re.compile(r"\s*[•●▪◦‣·\uf0b7\uf0a7]\s*")
_HEADING = re.compile(r"heading (\d)$", re.I)
# Deleted text, field codes, the second form of a text box, and what belongs to nested blocks.
_SKIPPED = {f"{_W}del", f"{_W}moveFrom", f"{_W}instrText", f"{_W}pPr", f"{_W}rPr", f"{_MC}Fallback", f"{_W}txbxContent"}
_TRANSPARENT = {f"{_W}{tag}" for tag in ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag")}
_MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def read(data: bytes) -> ParsedDocument:
    """Return a Word file as a document.

    Raises:
        InputError: It is damaged, or would unpack to more than a document has.
    """
    check_sizes(data)
    from docx import Document
    from docx.opc.exceptions import OpcError
    from lxml.etree import XMLSyntaxError

    try:
        document = Document(io.BytesIO(data))
        builder = TextBuilder()
        title = _Walker(document, builder).walk()
    except (
        OpcError,
        XMLSyntaxError,
        KeyError,
        ValueError,
        AttributeError,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as exc:
        raise InputError("cannot be read as a Word file; it may be damaged.") from exc
    properties = clean_line(_read_title(document))
    properties = "" if properties.casefold() == "word document" else properties
    return builder.finish(title or builder.main_heading or properties, media_type=_MEDIA_TYPE)


def check_sizes(data: bytes) -> None:
    """Refuse an archive that says it unpacks to too much.

    Raises:
        InputError: It does, or it is encrypted, or no archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as exc:
        raise InputError("is a damaged Word file.") from exc
    total = sum(member.file_size for member in members)
    if total > MAX_UNPACKED or len(members) > MAX_MEMBERS:
        raise InputError(f"expands to more than {MAX_UNPACKED // 1_000_000} MB or {MAX_MEMBERS:,} parts.")
    if total > _RATIO_FROM and total > MAX_RATIO * len(data):
        raise InputError(f"expands to more than {MAX_RATIO} times its size.")
    if any(member.flag_bits & 1 for member in members):
        raise InputError("is protected by a password; save it without one.")


def _read_title(document: "Document") -> str:
    try:
        return document.core_properties.title or ""
    except (KeyError, ValueError, AttributeError):
        return ""


class _Walker:
    """Walks the body of a document once."""

    def __init__(self, document: "Document", builder: TextBuilder) -> None:
        self._body: _Element = document.element.body
        self._builder = builder
        self._levels, self._list_styles = _read_styles(document)
        self._is_bulleted = _read_numbering(document)
        self._counts: Counter[tuple[str, int]] = Counter()
        self._title = ""

    def walk(self) -> str:
        """Add everything, and return the text in the style "Title", or nothing."""
        self._blocks(self._body)
        return self._title

    def _blocks(self, parent: "_Element") -> None:
        for element in parent:
            if element.tag == f"{_W}p":
                self._paragraph(element)
            elif element.tag == f"{_W}tbl":
                self._table(element)
            elif element.tag in _TRANSPARENT and not _is_contents(element):
                self._blocks(element)

    def _paragraph(self, element: "_Element") -> None:
        text = "".join(_texts(element))
        style = _style_of(element)
        level = _own_level(element, self._levels.get(style))
        if level == 0 and not self._title:
            self._title = clean_line(text)
        if level is not None:
            self._builder.heading(max(level, 1), text)
        elif bullet := _BULLET.match(text):
            self._builder.item(text[bullet.end() :])
        elif (numbering := self._numbering(element, style)) and text.strip():
            self._builder.item(text, marker=self._marker(*numbering), depth=min(numbering[1], 8))
        else:
            self._builder.paragraph(text)
        for box in element.iter(f"{_W}txbxContent"):
            if next(box.iterancestors(f"{_MC}Fallback"), None) is None:
                self._blocks(box)

    def _numbering(self, element: "_Element", style: str) -> tuple[str, int] | None:
        found = element.find(f"{_W}pPr/{_W}numPr")
        number, level = self._list_styles.get(style, ("", 0)), 0
        if found is None:
            return number if number[0] else None
        identifier, depth = found.find(f"{_W}numId"), found.find(f"{_W}ilvl")
        name = identifier.get(f"{_W}val", "0") if identifier is not None else number[0]
        level = _number(depth.get(f"{_W}val")) if depth is not None else number[1]
        return (name, level) if name not in ("", "0") else None

    def _marker(self, number: str, level: int) -> str:
        if self._is_bulleted.get((number, level), True):
            return "- "
        self._counts[number, level] += 1
        for deeper in range(level + 1, 9):
            self._counts.pop((number, deeper), None)
        return f"{self._counts[number, level]}. "

    def _table(self, element: "_Element") -> None:
        rows = [list(_row_cells(row)) for row in element.iter(f"{_W}tr") if _owner(row, "tbl") is element]
        if max(map(len, rows), default=0) < 2 or element.find(f".//{_W}tbl") is not None:
            for cell in (cell for row in rows for cell, _ in row):
                self._blocks(cell)
            return
        described = [[text for cell, span in row for text in (_cell_text(cell), *[""] * (span - 1))] for row in rows]
        described = [row for row in described if any(row)]
        header: list[str] = []
        if described and is_header(described[0], described[1:]):
            header = described.pop(0)
        self._builder.end_group()
        for row in described:
            self._builder.row(describe_row(header, row))


def _texts(element: "_Element") -> Iterator[str]:
    """Give the text of a paragraph as it is shown: insertions in, deletions and field codes out."""
    for child in element:
        tag = child.tag
        if tag in _SKIPPED:
            continue
        if tag in (f"{_W}t", _FORMULA_TEXT):
            yield child.text or ""
        elif tag in (f"{_W}tab", f"{_W}ptab"):
            yield " "
        elif tag in (f"{_W}br", f"{_W}cr"):
            yield "\n"
        elif tag == f"{_W}noBreakHyphen":
            yield "-"
        elif tag == f"{_W}r" and _is_hidden(child):
            continue
        else:
            yield from _texts(child)


def _is_hidden(run: "_Element") -> bool:
    vanish = run.find(f"{_W}rPr/{_W}vanish")
    return vanish is not None and vanish.get(f"{_W}val", "1") not in ("0", "false")


def _is_contents(element: "_Element") -> bool:
    """Tell whether a content control is the table of contents: a list of the headings that follow anyway."""
    gallery = element.find(f"{_W}sdtPr/{_W}docPartObj/{_W}docPartGallery")
    return gallery is not None and "table of contents" in (gallery.get(f"{_W}val") or "").lower()


def _style_of(element: "_Element") -> str:
    found = element.find(f"{_W}pPr/{_W}pStyle")
    return found.get(f"{_W}val", "") if found is not None else ""


def _own_level(element: "_Element", level: int | None) -> int | None:
    found = element.find(f"{_W}pPr/{_W}outlineLvl")
    if level is None and found is not None and (outline := _number(found.get(f"{_W}val"))) < 9:
        return outline + 1
    return level


def _read_styles(document: "Document") -> tuple[dict[str, int], dict[str, tuple[str, int]]]:
    """Return which styles are headings, of which level (0 is the title), and which number their paragraphs."""
    root = _related(document, "styles")
    if root is None:
        return {}, {}
    levels: dict[str, int] = {}
    lists: dict[str, tuple[str, int]] = {}
    parents: dict[str, str] = {}
    for style in root.iter(f"{_W}style"):
        name, identifier = _value(style, "name"), style.get(f"{_W}styleId") or ""
        parents[identifier] = _value(style, "basedOn")
        outline = _value(style, f"pPr/{_W}outlineLvl")
        if name.lower() == "title":
            levels[identifier] = 0
        elif heading := _HEADING.match(name):
            levels[identifier] = int(heading[1])
        elif outline and _number(outline) < 9:
            levels[identifier] = _number(outline) + 1
        if number := _value(style, f"pPr/{_W}numPr/{_W}numId"):
            lists[identifier] = (number, _number(_value(style, f"pPr/{_W}numPr/{_W}ilvl")))
        elif name.lower().startswith("list bullet"):
            lists[identifier] = ("bullet", 0)
    for identifier in parents:
        _inherit(identifier, parents, levels)
        _inherit(identifier, parents, lists)
    return levels, {style: number for style, number in lists.items() if style not in levels}


def _related(document: "Document", name: str) -> "_Element | None":
    """Return the root of the part that holds the styles or the numbering; a file may have none."""
    from docx.opc.constants import RELATIONSHIP_TYPE

    kinds = {"styles": RELATIONSHIP_TYPE.STYLES, "numbering": RELATIONSHIP_TYPE.NUMBERING}
    try:
        return getattr(document.part.part_related_by(kinds[name]), "element", None)
    except (KeyError, ValueError):
        return None


def _inherit(identifier: str, parents: dict[str, str], values: dict[str, Any]) -> None:
    seen, above = {identifier}, parents.get(identifier, "")
    while identifier not in values and above and above not in seen:
        if above in values:
            values[identifier] = values[above]
        seen.add(above)
        above = parents.get(above, "")


def _read_numbering(document: "Document") -> dict[tuple[str, int], bool]:
    """Return for each list and depth whether it has bullets instead of numbers."""
    root = _related(document, "numbering")
    if root is None:
        return {}
    formats = {
        (abstract.get(f"{_W}abstractNumId"), level.get(f"{_W}ilvl")): _value(level, "numFmt")
        for abstract in root.iter(f"{_W}abstractNum")
        for level in abstract.iter(f"{_W}lvl")
    }
    bulleted: dict[tuple[str, int], bool] = {}
    for number in root.iter(f"{_W}num"):
        abstract = _value(number, "abstractNumId")
        for (name, depth), kind in formats.items():
            if name == abstract:
                bulleted[number.get(f"{_W}numId") or "", _number(depth)] = kind in ("bullet", "none", "")
    return bulleted


def _row_cells(row: "_Element") -> Iterator[tuple["_Element", int]]:
    """Give the cells of a row and how many columns each spans; one that goes on from above counts as empty."""
    for cell in row.iter(f"{_W}tc"):
        if _owner(cell, "tr") is row:
            yield cell, max(1, min(_number(_value(cell, f"tcPr/{_W}gridSpan")) or 1, 50))


def _cell_text(cell: "_Element") -> str:
    paragraphs = (clean_line("".join(_texts(paragraph))) for paragraph in cell.iter(f"{_W}p"))
    return " ".join(text for text in paragraphs if text)


def _owner(element: "_Element", tag: str) -> "_Element | None":
    return next(element.iterancestors(f"{_W}{tag}"), None)


def _value(element: "_Element", path: str) -> str:
    found = element.find(f"{_W}{path}")
    return (found.get(f"{_W}val") or "") if found is not None else ""


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 6 else 0
