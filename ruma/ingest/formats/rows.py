"""Table rows as sentences: one that says its columns' names can be found, and quoted, without the table."""

import re
from collections.abc import Sequence

_LIKE_DATA = re.compile(r"[\d.,:%€$£¥+\-/ ()]+|.*@.*\..*|https?://.*|true|false|yes|no", re.I)
_LONGEST_NAME = 60
_ENDS = (".", "!", "?", "…", "。", ":")


def is_header(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Tell whether a table's first row names its columns."""
    cells = list(first)
    while cells and not cells[-1]:
        cells.pop()
    named = [cell for cell in cells if cell]
    if len(named) < 2 or not others or len(named) < len(cells) - 1:
        return False
    if len({cell.casefold() for cell in named}) < len(named):
        return False
    return all(len(cell) <= _LONGEST_NAME and not _LIKE_DATA.fullmatch(cell) for cell in named)


def describe_row(header: Sequence[str], cells: Sequence[str]) -> str:
    """Return a row as "Header: value; Header: value."; without a header, two cells are a name and its value."""
    if not header and len(cells) == 2 and all(cells):
        return _ended(f"{cells[0].rstrip(':')}: {cells[1]}")
    parts = []
    for number, cell in enumerate(cells):
        name = header[number].rstrip(":") if number < len(header) else ""
        if cell:
            parts.append(f"{name}: {cell}" if name and name != cell else cell)
    return _ended("; ".join(part.rstrip(".") if part is not parts[-1] else part for part in parts))


def _ended(text: str) -> str:
    return text if not text or text.endswith(_ENDS) else text + "."
