"""CSV and its kin: every row becomes a line "Header: value; Header: value.", so that it can be quoted alone."""

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable

from ruma.errors import InputError
from ruma.ingest.decoding import decode
from ruma.ingest.formats.rows import describe_row, is_header
from ruma.ingest.parsed import ParsedDocument, TextBuilder, clean_line

LARGEST_CELL = 1_000_000
_DELIMITERS = ",;\t|"
_SAMPLE_ROWS = 50
_TITLE_ROWS = 1
_DECLARED = re.compile(r"sep=(.)\r?\n", re.I)


def read(data: bytes) -> ParsedDocument:
    """Return a table of separated values as a document of one line a row.

    Raises:
        InputError: It has a cell too large to be one; a quote may not be closed.
    """
    text = decode(data).replace("\0", "")
    delimiter = ""
    if declared := _DECLARED.match(text):
        delimiter, text = declared[1], text[declared.end() :]
    delimiter = delimiter or _find_delimiter(text)
    csv.field_size_limit(LARGEST_CELL)
    builder = TextBuilder()
    try:
        rows = (
            [clean_line(cell) for cell in row] for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        )
        _add_rows(builder, (row for row in rows if any(row)))
    except csv.Error as exc:
        raise InputError("cannot be read as CSV; a quote may not be closed.") from exc
    return builder.finish("", media_type="text/csv")


def _add_rows(builder: TextBuilder, rows: Iterable[list[str]]) -> None:
    remaining = iter(rows)
    sample = list(itertools.islice(remaining, _TITLE_ROWS + 2))
    # What stands alone above the table is its title.
    if len(sample) > 2 and sum(map(bool, sample[0])) == 1 and is_header(sample[1], sample[2:]):
        builder.paragraph(" ".join(sample.pop(0)))
    header: list[str] = []
    if sample and is_header(sample[0], sample[1:]):
        header = sample.pop(0)
    for row in itertools.chain(sample, remaining):
        builder.row(describe_row(header, row))
    if builder.is_empty and header:
        builder.row(describe_row([], header))


def _find_delimiter(text: str) -> str:
    """Return the delimiter that gives most sample rows the same number of cells, more than one."""
    sample = text[:100_000].splitlines(keepends=True)[:_SAMPLE_ROWS]
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        try:
            counts = Counter(len(row) for row in csv.reader(sample, delimiter=delimiter) if row)
        except csv.Error:
            continue
        cells, rows = max(counts.items(), key=lambda one: (one[1], one[0]), default=(1, 0))
        score = rows / max(1, sum(counts.values())) * (cells > 1) + min(cells, 9) / 100
        if score > best_score and cells > 1:
            best, best_score = delimiter, score
    return best
