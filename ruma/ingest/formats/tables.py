"""A line as a PDF draws it, and the tables that lines make: rows whose cells begin where a header's do."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from ruma.ingest.formats.rows import describe_row, is_header

_LEAST_ROWS = 2
_ALIGNED = 0.35
_NEAR = 1.6


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a page."""

    text: str
    size: float
    is_bold: bool
    y: float
    cells: tuple[str, ...] = ()
    """Its parts, where they stand apart like the cells of a table."""

    columns: tuple[float, ...] = ()
    """Where on the page each cell begins."""

    pieces: tuple[tuple[float, str], ...] = ()
    """All that it was drawn in, each with the place where it begins."""

    @property
    def is_row(self) -> bool:
        """Whether it looks like a row of a table."""
        return len(self.cells) > 1


def find_tables(lines: Sequence[Line]) -> dict[int, str]:
    """Return for each line of a table its row in words; nothing for its header and for the rest of a cell."""
    found: dict[int, str] = {}
    at = 0
    while at < len(lines):
        rows = _rows_under(lines, at) if lines[at].is_row else []
        cells = [row for _, row in rows if row is not None]
        if len(cells) >= _LEAST_ROWS and _has_header(lines[at], [lines[index] for index, row in rows if row], cells):
            found[at] = ""
            found.update((index, describe_row(lines[at].cells, row) if row else "") for index, row in rows)
            at += len(rows)
        at += 1
    return found


def _rows_under(lines: Sequence[Line], header: int) -> list[tuple[int, list[str] | None]]:
    """Return the lines under a header that fit its columns: index and cells, or None for the rest of a cell."""
    rows: list[tuple[int, list[str] | None]] = []
    last: list[str] | None = None
    for index in range(header + 1, len(lines)):
        cells, columns = _fit(lines[header], lines[index])
        is_near = lines[index - 1].y - lines[index].y < _NEAR * lines[index].size
        if cells is not None:
            rows.append((index, cells))
            last = cells
        elif last is not None and len(columns) == 1 and columns[0] > 0 and is_near:
            last[columns[0]] = f"{last[columns[0]]} {lines[index].text}"
            rows.append((index, None))
        else:
            break
    return rows


def _fit(header: Line, line: Line) -> tuple[list[str] | None, list[int]]:
    """Return a line's text by the header's columns, if it is a row of its table, and the columns that it uses."""
    room = _ALIGNED * line.size
    cells = [""] * len(header.columns)
    begun: set[int] = set()
    used: list[int] = []
    for x, text in line.pieces:
        column = bisect_right(header.columns, x + room) - 1
        if column < 0:
            return None, []
        cells[column] = f"{cells[column]} {text}".strip()
        if abs(x - header.columns[column]) <= room:
            begun.add(column)
        if column not in used:
            used.append(column)
    if len(begun) > 1 and (line.is_row or len(begun) == len(cells)):
        return cells, used
    # Numbers that end in one line begin in different places.
    return (list(line.cells) if len(line.cells) == len(cells) else None), used if begun else []


def _has_header(header: Line, lines: Sequence[Line], rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first of some rows names the columns; two columns may as well be names and values."""
    if not is_header(header.cells, rows) or any(map(str.isdigit, header.text)):
        return False
    is_set_off = header.is_bold and not any(line.is_bold for line in lines)
    are_amounts = all(any(map(str.isdigit, row[-1])) for row in rows)
    return is_set_off or are_amounts or len(header.cells) > 2
