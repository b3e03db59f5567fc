"""HTML: the main content of a page as a reader sees it, without navigation and what is hidden.

The parser loads nothing, knows no DTD and no entity of the page's own, and gives up at a depth of 256
elements; so the walker may recurse.
"""

import re
from typing import TYPE_CHECKING

from ruma.errors import InputError
from ruma.ingest.decoding import decode
from ruma.ingest.formats.content import find_content
from ruma.ingest.formats.rows import describe_row, is_header
from ruma.ingest.formats.text import add_text
from ruma.ingest.parsed import ParsedDocument, TextBuilder, clean_line

if TYPE_CHECKING:
    from lxml.html import HtmlElement, HTMLParser  # type: ignore[import-untyped]

NEVER_SHOWN = {
    "script", "style", "template", "noscript", "svg", "canvas", "iframe", "object", "embed", "audio", "video", "map",
    "head", "title", "meta", "link", "select", "option", "datalist", "input", "textarea", "dialog",
}  # fmt: skip
_BLOCKS = {
    "address", "article", "aside", "blockquote", "body", "center", "dd", "details", "dialog", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "html", "li", "main", "nav", "ol", "p",
    "pre", "section", "summary", "table", "ul", "hr", "menu", "legend", "search", "optgroup",
}  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_QUESTION_LEVEL, _FOLDED_LEVEL = 7, 8
_LONGEST_QUESTION = 150
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_HIDDEN_CLASS = re.compile(r"(?:^|[\s_-])(?:sr-only|visually-?hidden|screen-reader-text|headerlink|hash-link)\b")
_PERMALINKS = {"#", "¶", "§", "🔗", "\u200b", ""}
_FILE_NAME = re.compile(r"[\w.%-]+\.(?:png|jpe?g|gif|svg|webp)|image|img|photo|picture|logo|icon", re.I)
_SUPERSCRIPTS = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_BREAK, _PICTURE = "\x1e", "\x1d"
"""Stand for a line break and for the edges of a picture's description; cleaning takes both out of a text."""

_EMPTY_LINE = re.compile(rf"{_BREAK}\s*{_BREAK}[\s{_BREAK}]*")
_PICTURES = re.compile(f"{_PICTURE}([^{_PICTURE}]*){_PICTURE}")


def read(data: bytes) -> ParsedDocument:
    """Return an HTML file as a document.

    Raises:
        InputError: The page is nested so deeply that the parser would drop the rest.
    """
    root = parse(decode(data, is_markup=True))
    title, roots = find_content(root)
    builder = TextBuilder()
    for content in roots:
        _Walker(builder).walk(content)
    return builder.finish(
        title or builder.main_heading,
        media_type="text/html",
        language=root.get("lang") or root.get("{http://www.w3.org/XML/1998/namespace}lang") or "",
    )


def read_markup(markup: str, builder: TextBuilder) -> None:
    """Add all the text of a piece of HTML to a builder, nothing of it taken for navigation."""
    if markup.strip():
        _Walker(builder).walk(parse(f"<html><body>{markup}</body></html>"))


def parse(markup: str) -> "HtmlElement":
    """Return the tree of a page.

    Raises:
        InputError: The page breaks a limit of the parser, which then leaves out the rest.
    """
    from lxml import etree, html  # type: ignore[import-untyped]

    parser = html.HTMLParser(encoding="utf-8", no_network=True, huge_tree=False, remove_comments=True, remove_pis=True)
    try:
        root = html.document_fromstring(markup.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, AssertionError) as exc:
        _check_log(parser)
        raise InputError("has no text that can be found.") from exc
    _check_log(parser)
    return root


def _check_log(parser: "HTMLParser") -> None:
    for entry in parser.error_log:
        if entry.type_name == "ERR_NO_MEMORY":
            raise MemoryError
        if entry.level_name == "FATAL":
            raise InputError("is nested too deeply to read, or has a part that is too large.")


def is_shown(element: "HtmlElement") -> bool:
    """Tell whether a reader sees an element, as far as the page itself says so."""
    tag = element.tag
    if not isinstance(tag, str) or tag in NEVER_SHOWN:
        return False
    if (element.get("hidden") is not None and element.get("hidden") != "until-found") or (
        (style := element.get("style")) and _HIDDEN_STYLE.search(style)
    ):
        return False
    # On a block it usually means "folded away": the answers of an accordion are content.
    if element.get("aria-hidden") == "true" and tag not in _BLOCKS:
        return False
    return not ((names := element.get("class")) and _HIDDEN_CLASS.search(names))


class _Walker:
    """Walks a tree once, and adds each block to the builder when it ends."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self._words: list[str] = []
        self._lists: list[int | None] = []
        self._marker = ""

    def walk(self, element: "HtmlElement") -> None:
        """Add the blocks of an element and what is in it."""
        self._children(element)
        self._flush()

    def _children(self, element: "HtmlElement") -> None:
        if element.text:
            self._words.append(element.text)
        for child in element:
            if is_shown(child):
                self._element(child)
            if child.tail:
                self._words.append(child.tail)

    def _element(self, element: "HtmlElement") -> None:
        tag = element.tag
        if tag in _HEADINGS:
            self._flush()
            self._builder.heading(_HEADINGS[tag], inline_text(element))
        elif tag in ("ul", "ol", "menu"):
            self._list(element)
        elif tag == "li":
            self._item(element)
        elif tag == "table":
            self._flush()
            self._table(element)
        elif tag == "dl":
            self._flush()
            self._definitions(element)
        elif tag == "details":
            self._details(element)
        elif tag == "pre":
            self._flush()
            self._preformatted(element)
        elif tag in _BLOCKS:
            self._flush()
            if tag == "p" and (question := _bold_question(element)):
                self._builder.heading(_QUESTION_LEVEL, question)
                return
            self._children(element)
            self._flush()
        elif any(found.tag in _BLOCKS or found.tag in _HEADINGS for found in element.iterdescendants()):
            self._children(element)
        else:
            self._words += _texts(element)

    def _preformatted(self, element: "HtmlElement") -> None:
        """Read what was laid out by hand: code where something says so, else a text file inside a page."""
        text = "".join(_texts(element, is_code=True))
        if len(element) or element.get("class"):
            self._builder.code(text)
        else:
            add_text(self._builder, text)

    def _flush(self) -> None:
        """End the current paragraph or item."""
        words, self._words = self._words, []
        for text in _EMPTY_LINE.split(_described("".join(words))):
            paragraph = _collapsed(text)
            if paragraph and self._lists:
                marker, self._marker = self._marker or "  ", ""
                self._builder.item(paragraph, marker=marker, depth=len(self._lists) - 1)
            elif paragraph:
                self._builder.paragraph(paragraph)

    def _list(self, element: "HtmlElement") -> None:
        self._flush()
        start = element.get("start", "1")
        self._lists.append(int(start) if element.tag == "ol" and start.isdecimal() and len(start) < 9 else None)
        if element.tag == "ol" and self._lists[-1] is None:
            self._lists[-1] = 1
        self._children(element)
        self._flush()
        self._lists.pop()
        self._marker = ""
        if not self._lists:
            self._builder.end_group()

    def _item(self, element: "HtmlElement") -> None:
        self._flush()
        number = self._lists[-1] if self._lists else None
        self._marker = "- " if number is None else f"{number}. "
        if number is not None:
            self._lists[-1] = number + 1
        self._children(element)
        self._flush()

    def _details(self, element: "HtmlElement") -> None:
        """Read what can be folded away: its summary is the heading of it, and of nothing after it."""
        self._flush()
        with self._builder.section():
            for child in element.iterchildren("summary"):
                self._builder.heading(_FOLDED_LEVEL, inline_text(child))
                child.clear(keep_tail=True)
            self._children(element)
            self._flush()

    def _definitions(self, element: "HtmlElement") -> None:
        term = ""
        for child in element.iter("dt", "dd"):
            if not is_shown(child) or next(child.iterancestors("dl"), None) is not element:
                continue
            if child.tag == "dt":
                self._pending_term(term)
                term = inline_text(child)
            elif any(found.tag in _BLOCKS and found.tag not in ("p", "div") for found in child.iterdescendants()):
                self._pending_term(term)
                self._children(child)
                self._flush()
                term = ""
            else:
                text = inline_text(child)
                self._builder.item(_defined(term, text))
                term = ""
        self._pending_term(term)

    def _pending_term(self, term: str) -> None:
        if term:
            self._builder.paragraph(term)

    def _table(self, element: "HtmlElement") -> None:
        rows = [row for row in element.iter("tr") if next(row.iterancestors("table"), None) is element]
        if caption := next((inline_text(found) for found in element.iterchildren("caption")), ""):
            self._builder.paragraph(caption)
        if _is_layout(element, rows):
            for row in rows:
                self._layout_row(row)
            return
        described = [cells for row in rows if is_shown(row) and any(cells := _cells(row))]
        if not described:
            return
        header: list[str] = []
        if _names_columns(rows) or is_header(described[0], described[1:]):
            header = described.pop(0)
        self._builder.end_group()
        for cells in described:
            self._builder.row(describe_row(header, cells))
        if not described:
            self._builder.row(describe_row([], header))

    def _layout_row(self, row: "HtmlElement") -> None:
        for cell in row:
            if is_shown(cell):
                self._children(cell)
                self._flush()


def _bold_question(element: "HtmlElement") -> str:
    """Return the text of a paragraph that is a question in bold letters and nothing else: a heading in disguise."""
    if len(element) != 1 or element[0].tag not in ("strong", "b") or (element.text or "").strip():
        return ""
    text = inline_text(element)
    is_question = text.endswith("?") and len(text) <= _LONGEST_QUESTION
    return text if is_question and not (element[0].tail or "").strip() else ""


def _is_layout(element: "HtmlElement", rows: "list[HtmlElement]") -> bool:
    """Tell whether a table only places things on the page."""
    if element.get("role") == "presentation" or max((len(row) for row in rows), default=0) < 2:
        return True
    return any(found.tag == "table" or found.tag in _HEADINGS for found in element.iterdescendants())


def _names_columns(rows: "list[HtmlElement]") -> bool:
    cells = [cell for cell in rows[0] if cell.tag in ("td", "th")]
    return len(rows) > 1 and len(cells) > 1 and all(cell.tag == "th" for cell in cells)


def _defined(term: str, text: str) -> str:
    if not term:
        return text
    return f"{term} {text}" if term.endswith("?") else f"{term.rstrip(':')}: {text}"


def _cells(row: "HtmlElement") -> list[str]:
    cells: list[str] = []
    for cell in row:
        if cell.tag in ("td", "th"):
            span = cell.get("colspan", "1")
            cells.append(inline_text(cell) if is_shown(cell) else "")
            cells += [""] * (min(int(span), 50) - 1 if span.isdecimal() and len(span) < 4 else 0)
    return cells


def inline_text(element: "HtmlElement") -> str:
    """Return the text of an element as one line."""
    return clean_line(_described("".join(_texts(element))).replace(_BREAK, " "))


def _texts(element: "HtmlElement", *, is_code: bool = False) -> list[str]:
    parts: list[str] = []
    tag = element.tag
    if tag == "br":
        return ["\n" if is_code else _BREAK]
    if tag == "img":
        return [_describe_image(element)]
    if _is_permalink(element):
        return []
    if tag == "sup":
        return [_superscript(element)]
    edge = "" if is_code else " " if tag in _BLOCKS or tag in ("td", "th", "tr") or tag in _HEADINGS else ""
    parts.append(edge)
    if tag == "q":
        parts.append("“")
    if element.text:
        parts.append(element.text)
    for child in element:
        if is_shown(child):
            parts += _texts(child, is_code=is_code)
        if child.tail:
            parts.append(child.tail)
    if tag == "q":
        parts.append("”")
    parts.append(edge)
    return parts


def _describe_image(element: "HtmlElement") -> str:
    described = clean_line(element.get("alt") or "")
    return "" if _FILE_NAME.fullmatch(described) else f"{_PICTURE}{described}{_PICTURE}"


def _is_permalink(element: "HtmlElement") -> bool:
    if element.tag != "a" or not (element.get("href") or "").startswith("#"):
        return False
    return len(element) == 0 and (element.text or "").strip() in _PERMALINKS


def _superscript(element: "HtmlElement") -> str:
    text = clean_line("".join(element.itertext()))
    if element.find(".//a") is not None:  # the number of a footnote
        return ""
    return text.translate(_SUPERSCRIPTS) if text.strip("0123456789+-") == "" else f"{text}"


def _collapsed(text: str) -> str:
    if _BREAK not in text:
        return " ".join(text.split())
    return "\n".join(line for line in (" ".join(part.split()) for part in text.split(_BREAK)) if line)


def _described(text: str) -> str:
    """Return a text with the descriptions of its pictures only where there is nothing else."""
    if _PICTURE not in text:
        return text
    without = _PICTURES.sub(" ", text)
    return without if without.replace(_BREAK, "").strip() else _PICTURES.sub(r" \1 ", text)
