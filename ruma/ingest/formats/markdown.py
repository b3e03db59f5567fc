"""Markdown: turned into HTML in memory, and read as that, so that one walker knows headings, lists and tables.

What site generators add (front matter, template tags, attributes, admonitions) is taken out first: a
visitor would not see it either.
"""

import re
from functools import cache
from typing import TYPE_CHECKING

from ruma.ingest.decoding import decode
from ruma.ingest.formats.html import read_markup
from ruma.ingest.parsed import ParsedDocument, TextBuilder

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_FRONT_MATTER = re.compile(r"\A\ufeff?(---|\+\+\+)[ \t]*\r?\n(.*?)\r?\n(?:\1|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.S)
_FIELD = re.compile(r"^(title|lang|language)\s*[:=]\s*(.+?)\s*$", re.M | re.I)
_FENCE = re.compile(r"\s{0,3}(?:[-*+>]\s*|\d+[.)]\s*)*(`{3,}|~{3,})")
_ADMONITION = re.compile(r"(\s*)(?:!!!|\?\?\?\+?|===)\s+(?:[\w-]+\s*)*(?:\"(.*)\")?\s*$")
_CONTAINER = re.compile(r"\s*:::+\s*(?:[\w-]+)?\s*(?:\[(.*)\]|(.*))$")
_CALLOUT = re.compile(r"(\s*>\s*)\[![\w-]+\][+-]?")
_ATTRIBUTES = re.compile(r"\{:[^{}\n]*\}|(?<=[)\]\w\s*`])\{[#.][\w\s.#=\"-]*\}")
_TEMPLATE = re.compile(r"(`+)[^`\n][^\n]*?\1|\{%(?s:.){0,600}?%\}|\{\{(?s:.){0,300}?\}\}|\{#(?s:.){0,600}?#\}")
_FOOTNOTE = re.compile(r"^\[\^[^\]\s]+\]:\s*|\[\^[^\]\s]+\]")
_TASK = re.compile(r"^(\s*(?:[-*+]|\d+[.)])\s+)\[[ xX]\]\s+")
_MODULE = re.compile(r"^(?:import\s.+\sfrom\s+['\"].*|export\s+(?:const|default)\s.*)$")


def read(data: bytes) -> ParsedDocument:
    """Return a Markdown file as a document."""
    text = decode(data).replace("\r\n", "\n").replace("\r", "\n")
    fields: dict[str, str] = {}
    if front := _FRONT_MATTER.match(text):
        fields = {name.lower(): _unquote(value) for name, value in _FIELD.findall(front[2])}
        text = text[front.end() :]
    builder = TextBuilder()
    read_markup(_parser().render(_without_tags(text)), builder)
    return builder.finish(
        fields.get("title") or builder.main_heading,
        media_type="text/markdown",
        language=fields.get("lang") or fields.get("language") or "",
    )


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def _unquote(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return "" if value in {"|", ">", "|-", ">-"} else value


def _without_tags(text: str) -> str:
    """Return Markdown without what is not Markdown; code in fences stays as it is."""
    done: list[str] = []
    prose: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if not mark and not fence:
            prose.append(line)
            continue
        if mark and not fence:
            fence = mark[1]
        elif mark and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        done += _clean_prose(prose)
        done.append(line)
        prose = []
    return "\n".join(done + _clean_prose(prose))


def _clean_prose(lines: list[str]) -> list[str]:
    """Return lines outside of code, template tags taken out and what admonitions hold moved to the left."""
    text = "\n".join(lines)
    if "{" in text:
        lines = _TEMPLATE.sub(_untagged, text).split("\n")
    cleaned: list[str] = []
    indent = -1
    for line in lines:
        if indent >= 0 and line.strip() and len(line) - len(line.lstrip()) <= indent:
            indent = -1
        if opened := _ADMONITION.match(line):
            indent = len(opened[1])
            cleaned += (f"{opened[1]}**{opened[2]}**" if opened[2] else "", "")
            continue
        line = _clean_line(line)
        cleaned.append(line[4:] if indent >= 0 and line[indent : indent + 4] == "    " else line)
    return cleaned if lines else []


def _untagged(found: re.Match[str]) -> str:
    # Inline code is kept, and so is what only looks like a tag, since it runs over an empty line.
    return found[0] if found[1] or "\n\n" in found[0] else ""


def _clean_line(line: str) -> str:
    if "{" in line:
        line = _ATTRIBUTES.sub("", line)
    if "[" in line:
        line = _CALLOUT.sub(r"\1", line)
        line = _FOOTNOTE.sub("", line)
        line = _TASK.sub(r"\1", line)
    if ":::" in line and (container := _CONTAINER.match(line)):
        label = (container[1] or container[2] or "").strip()
        return f"**{label}**\n" if label else ""
    return "" if line.startswith(("import ", "export ")) and _MODULE.match(line) else line
