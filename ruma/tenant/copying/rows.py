"""All rows of a tenant, table by table, as lines of JSON; and back into an empty database.

The order is always the same, and the lines are cut into pieces where their own content says so: rows that did not
change give the same pieces again, whatever was added or removed before and after them.
"""

import base64
import json
import math
import re
import zlib
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from ruma.errors import DamagedError, StoreError
from ruma.tenant.database import pragma
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

LEFT_OUT: Mapping[str, str] = {
    "_sqlite_migrations": "which steps of the schema were made; they are made again",
    "ruma_identity": "whose database it is; a restored tenant has a number of its own",
    "session": "who was signed in must not be signed in again",
    "link": "a one-time link must not work again",
    "attempt": "failed tries of some minutes",
    "kept_response": "copies of answers to programs, kept for a day",
    "pending_erasure": "what was still to be cleaned from the old file",
    "export": "copies of what is backed up, made to be fetched within days; a backup does not hold their files",
    "file_key": "the keys of sealed files, which are sealed anew",
    "page_key": "a restored tenant makes addresses and form tokens of its own",
    "backup": "the backups; a restored tenant knows of those in the folder that it comes from",
}
"""The tables that a backup does not hold, and why."""

_PIECE_BYTES = 512 * 1024
_SMALLEST, _LARGEST = _PIECE_BYTES // 4, _PIECE_BYTES * 4
_SEALED_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Table:
    """A table with its columns, in the order of its rows."""

    name: str
    columns: tuple[str, ...]
    order: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """Some rows of a table, one after the other: each is a line, an array in JSON."""

    table: str
    rows: int
    lines: bytes


def list_tables(tenant: Tenant) -> list[Table]:
    """Return the tables that a backup holds, each after those that its rows point to.

    Indexes and full text are not among them: they are made again from the rows.
    """
    with tenant.reading() as db:
        kinds = db.execute("select name, type from pragma_table_list where schema = 'main'").fetchall()
        names = sorted(name for name, kind in kinds if kind == "table" and name not in LEFT_OUT)
        kept = [name for name in names if name == "sqlite_sequence" or not name.startswith("sqlite_")]
        return [_describe(db, name) for name in _parents_first(db, kept)]


def read_pieces(tenant: Tenant, table: Table) -> Iterator[Piece]:
    """Return all rows of a table, in pieces of about half a MB that are the same where the rows are."""
    columns, order = (", ".join(f'"{name}"' for name in names) for names in (table.columns, table.order))
    lines, size, rows = [], 0, 0
    with tenant.reading() as db:
        for row in db.execute(f'select {columns} from "{table.name}" order by {order}'):
            line = _line(row)
            lines.append(line)
            size, rows = size + len(line), rows + 1
            # A row of one byte in half a million is the last of its piece: no row before or after it has a say.
            is_cut = size >= _SMALLEST and zlib.crc32(line) * _PIECE_BYTES < len(line) << 32
            if is_cut or size >= _LARGEST:
                yield Piece(table.name, rows, b"".join(lines))
                lines, size, rows = [], 0, 0
    if lines:
        yield Piece(table.name, rows, b"".join(lines))


def empty_tables(tenant: Tenant, tables: Sequence[Table]) -> None:
    """Take out of a new database what making it put in, so that it can be filled."""
    with tenant.writing() as db:
        for table in reversed(tables):
            db.execute(f'delete from "{table.name}"')


def write_piece(tenant: Tenant, table: Table, lines: bytes) -> int:
    """Store the rows of a piece, and return how many those were.

    Raises:
        DamagedError: A line is no row that this table takes.
    """
    marks = ", ".join("?" * len(table.columns))
    columns = ", ".join(f'"{name}"' for name in table.columns)
    rows = [_row(line, table) for line in lines.split(b"\n")[:-1]]
    try:
        with tenant.writing() as db:
            if table.name == "sqlite_sequence":  # which other rows have filled meanwhile
                db.execute("delete from sqlite_sequence")
            db.conn.executemany(f'insert into "{table.name}" ({columns}) values ({marks})', rows)
    except (StoreError, ValueError, OverflowError) as exc:
        raise DamagedError(f"The rows of the table {table.name} cannot be stored: {exc}") from exc
    return len(rows)


def rebuild_index(tenant: Tenant) -> None:
    """Make the full text of the chunks from the rows; that of the messages was made with them."""
    with tenant.writing() as db:
        db.execute(
            """insert into chunk_fts (rowid, title, heading, text)
               select chunk.id, document.title, chunk.heading, chunk.text
               from chunk join document on document.id = chunk.document_id order by chunk.id"""
        )


def check_rows(tenant: Tenant) -> None:
    """Raise DamagedError unless the rows of a filled database fit each other as Ruma writes them.

    Raises:
        DamagedError: A row belongs to none, a vector has another length, a name could be a path.
    """
    with tenant.reading() as db:
        for check, good in (("foreign_key_check", []), ("integrity_check", [("ok",)]), ("cipher_integrity_check", [])):
            if pragma(db, check) != good:
                raise DamagedError(f"The rows do not fit each other: the database fails its {check}.")
        ids = [*db.execute("select original_id from document"), *db.execute("select sealed_id from upload")]
        if not all(_SEALED_NAME.fullmatch(row[0]) for row in ids):
            raise DamagedError("The rows name an original as Ruma names none.")
        wrong = db.execute(
            """select count(*) from chunk, search_index
               left join vector on vector.chunk_id = chunk.id
               left join sentence_vector on sentence_vector.chunk_id = chunk.id
               where coalesce(length(vector), 0) <> dimension + 4 or length(sentences) % 8 <> 0
               or coalesce(length(vectors), 0) <> (length(sentences) / 8 + 1) * (dimension + 4)"""
        ).fetchone()[0]
    if wrong:
        raise DamagedError(f"{wrong} chunks have vectors that do not fit them.")
    with tenant.writing() as db:
        for index in ("chunk_fts", "message_fts"):
            db.execute(f"insert into {index} ({index}) values ('integrity-check')")


def _describe(db: "Database", name: str) -> Table:
    found = db.execute("select name, pk from pragma_table_info(?)", [name]).fetchall()
    columns = tuple(column for column, _ in found)
    key = tuple(column for column, place in sorted(found, key=lambda row: row[1]) if place)
    return Table(name, columns, key or (("name",) if name == "sqlite_sequence" else ("rowid",)))


def _parents_first(db: "Database", names: list[str]) -> list[str]:
    parents = {
        name: {row[0] for row in db.execute('select "table" from pragma_foreign_key_list(?)', [name])} for name in names
    }
    ordered: list[str] = []
    while len(ordered) < len(names):
        ready = [name for name in names if name not in ordered and parents[name] - {name} <= {*ordered, *LEFT_OUT}]
        # SQLite fills the table of its counters as rows come, so what the backup holds of it is stored last.
        ordered += [name for name in ready if name != "sqlite_sequence"] or ready
    return ordered


def _line(row: Iterable[Any]) -> bytes:
    return f"[{','.join([_AS_TEXT[type(value)](value) for value in row])}]\n".encode()


def _of_float(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError("a number that is none")
    return repr(value)


# By hand, since a whole JSON encoder looks at every character of the vectors: 100,000 chunks take 4 s instead of 10.
_AS_TEXT: Mapping[type, Callable[[Any], str]] = {
    bytes: lambda value: f'{{"b":"{b2a_base64(value, newline=False).decode()}"}}',
    str: encode_basestring,
    int: repr,
    float: _of_float,
    type(None): lambda _: "null",
}


def _row(line: bytes, table: Table) -> list[Any]:
    try:
        row = json.loads(line)
        if not isinstance(row, list) or len(row) != len(table.columns):
            raise ValueError(f"not {len(table.columns)} values")
        return [_value(value) for value in row]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise DamagedError(f"A row of the table {table.name} cannot be read.") from exc


def _value(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1:
        return base64.b64decode(value["b"], validate=True)
    if value is not None and type(value) not in (str, int, float):
        raise TypeError(type(value))
    return value
