"""Plain text: paragraphs by empty lines, wrapped lines joined again, lists and underlined headings seen."""

import re

from ruma.ingest.decoding import decode
from ruma.ingest.parsed import ParsedDocument, TextBuilder, clean

WRAPPED = 50
"""A line at least this long, without an end of sentence, goes on in the next; shorter ones stand alone."""

ITEM = re.compile(r"\s*([-*+•·–]|\(?\d{1,3}[.)]|[a-z]\))\s+(?=\S)")
_UNDERLINE = re.compile(r"\s*([=\-~*_#])\1{2,}\s*$")
_LONGEST_HEADING = 80


def read(data: bytes) -> ParsedDocument:
    """Return a plain text file as a document."""
    builder = TextBuilder()
    add_text(builder, decode(data))
    return builder.finish(builder.main_heading, media_type="text/plain")


def add_text(builder: TextBuilder, text: str) -> None:
    """Add plain text to a builder, an empty line being the end of a paragraph."""
    for paragraph in re.split(r"\n[ \t]*(?:\n[ \t]*)+", clean(text).strip("\n")):
        _add_paragraph(builder, paragraph.split("\n"))


def _add_paragraph(builder: TextBuilder, lines: list[str]) -> None:
    """Add the lines between two empty ones: a heading, a list, wrapped text, or lines that stand alone."""
    lines = [line for line in lines if line.strip()]
    if len(lines) > 1 and _UNDERLINE.match(lines[1]) and _is_heading(lines[0]):
        builder.heading(1 if "=" in lines[1] else 2, lines[0])
        lines = lines[2:]
    lines = [line for line in lines if not _UNDERLINE.match(line)]
    if len(lines) == 1 and _is_heading(lines[0]) and lines[0].isupper():
        builder.heading(2, lines[0])
        return
    for first, text in _join_lines(lines):
        if first:
            builder.item(text, marker=first + " ")
        else:
            builder.paragraph(text, is_tight=True)


def _join_lines(lines: list[str]) -> list[tuple[str, str]]:
    """Return (list marker or nothing, text) for each item and paragraph in consecutive lines."""
    joined: list[tuple[str, list[str]]] = []
    is_open = False
    for line in lines:
        item = ITEM.match(line)
        if item:
            joined.append(("-" if not item[1].isalnum() and len(item[1]) == 1 else item[1], [line[item.end() :]]))
        elif joined and is_open:
            joined[-1][1].append(line.strip())
        else:
            joined.append(("", [line.strip()]))
        is_open = len(line) >= WRAPPED or bool(joined[-1][0] and line.startswith(" "))
    return [(marker, " ".join(parts)) for marker, parts in joined]


def _is_heading(line: str) -> bool:
    line = line.strip()
    return 2 < len(line) <= _LONGEST_HEADING and line[-1] not in ".,;!" and any(map(str.isalpha, line))
