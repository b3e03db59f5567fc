"""What belongs to a thing in the database: its rows, the rows that hang on them, and what stands in them.

Found by walking the foreign keys, so that a table which comes later belongs to it without being named here.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from ruma.errors import StoreError
from ruma.tenant.database import memory_database
from ruma.tenant.erasing.residue import Fingerprints, find_in_contents

if TYPE_CHECKING:
    from sqlite_utils import Database

Kind = Literal["document", "conversation", "visitor", "member"]
ROOTS: Mapping[Kind, str] = {
    "document": "document",
    "conversation": "conversation",
    "visitor": "conversation",
    "member": "member",
}
"""The table in which a thing of each kind is a row: a visitor is the conversations of one person."""

INDEXES: Mapping[str, str] = {"chunk": "chunk_fts", "message": "message_fts"}
"""The full-text index of a table; its words are split by the same rules."""

TOKENIZER = "porter unicode61 remove_diacritics 2"

_OWNED_ALL_THE_SAME = {("document", "upload")}
"""What a foreign key lets live on, and goes nevertheless: an upload is named after its document."""

# These hold one of a few values, or a time: what many rows hold is nobody's trace.
_COMMON = {
    "browser", "channel", "etag", "keeping", "kind", "language", "last_modified", "media_type", "mode", "origin",
    "outcome", "place", "purpose", "reader", "role", "state", "text_version", "theme", "version", "website", "scopes",
}  # fmt: skip

_BATCH_ROWS = 200

Rows = dict[str, list[int]]


def find_rows(db: "Database", kind: Kind, numbers: Sequence[int]) -> Rows:
    """Return the rows of a thing by table, the thing's own first; the numbers that are not there are left out."""
    found: Rows = {}
    waiting = [(ROOTS[kind], "rowid", list(numbers))]
    children = _children(db)
    while waiting:
        table, column, parents = waiting.pop()
        marks = ",".join("?" * len(parents))
        rows = (
            [row[0] for row in _chunked(db, f"select rowid from {table} where {column} in", parents)] if marks else []
        )
        new = sorted(set(rows) - set(found.get(table, ())))
        if not new:
            continue
        found.setdefault(table, []).extend(new)
        waiting += [(child, key, new) for child, key in children.get(table, ())]
    return found


def read_values(db: "Database", rows: Rows) -> Iterator[tuple[str, str | bytes]]:
    """Yield what stands in rows, with its table: texts and bytes, not what many rows have in common."""
    for table, numbers in rows.items():
        columns = trace_columns(db, table)
        if columns:
            listed = ", ".join(f'"{column}"' for column in columns)
            for row in _chunked(db, f"select {listed} from {table} where rowid in", numbers):
                yield from ((table, value) for value in row if value)


def trace_columns(db: "Database", table: str) -> list[str]:
    """Return the columns of a table that hold what somebody wrote, or what was made from it."""
    columns = db.execute(f"select name, lower(type) from pragma_table_info('{table}')").fetchall()
    return [
        name
        for name, kind in columns
        if kind in ("text", "blob")
        and name not in _COMMON
        and not name.endswith(("_at", "_since", "_on"))
        and name != "at"
    ]


def data_tables(db: "Database") -> list[str]:
    """Return the tables that hold rows of the tenant: those of the full-text indexes hold words of others."""
    shadows = ("_data", "_idx", "_content", "_docsize", "_config")
    names = [row[0] for row in db.execute("select name from sqlite_master where type = 'table' order by name")]
    indexes = set(INDEXES.values())
    inner = {f"{index}{ending}" for index in indexes for ending in shadows}
    return [name for name in names if name not in indexes | inner and not name.startswith(("sqlite_", "_sqlite"))]


def check_rows_gone(db: "Database", rows: Rows) -> int:
    """Make sure, in the transaction that deleted them, that rows and their words are gone; return how many were.

    Raises:
        StoreError: One of them is still there; nothing of the transaction may be kept.
    """
    looked_for = 0
    for table, numbers in rows.items():
        places = [(table, "rowid")]
        if table in INDEXES:
            places.append((f"{INDEXES[table]}_docsize", "id"))
        for place, column in places:
            if list(_chunked(db, f"select 1 from {place} where {column} in", numbers)):
                raise StoreError(f"A row of {place} is still there after it was deleted. Nothing was erased.")
            looked_for += len(numbers)
    return looked_for


def find_in_rows(db: "Database", looked_for: Fingerprints, places: Collection[int]) -> dict[int, list[tuple[str, int]]]:
    """Return in which living rows pieces stand, by their place in `pieces`: each as table and row.

    Args:
        db: A connection that reads.
        looked_for: The fingerprints.
        places: Which of them.
    """
    kept = sorted(places)
    some = Fingerprints(looked_for.secret, looked_for.pieces[kept], looked_for.terms[:0])
    found: dict[int, list[tuple[str, int]]] = {}
    for table in data_tables(db):
        if table.startswith(("erasure", "receipt_signer")):
            continue
        rows = _row_contents(db, table)
        while batch := list(islice(rows, _BATCH_ROWS)):
            for place, which in find_in_contents([content for _, content in batch], some):
                found.setdefault(kept[place], []).append((table, batch[which][0]))
    return found


def split_words(texts: Sequence[str]) -> set[str]:
    """Return the words of texts as the full-text index keeps them. Nothing of it reaches the disk."""
    db = memory_database()
    try:
        db.execute(f"create virtual table words using fts5 (text, content='', tokenize=\"{TOKENIZER}\")")
        db.execute("create virtual table listed using fts5vocab (words, 'row')")
        for text in texts:
            db.execute("insert into words (text) values (?)", [text])
        return {row[0] for row in db.execute("select term from listed")}
    finally:
        db.close()


def find_unused(db: "Database", words: set[str]) -> list[str]:
    """Return which words stand in no full-text index any more."""
    lists = [word_list(db, index) for index in INDEXES.values()]
    is_used = " or ".join(f"exists (select 1 from {name} where term = :word)" for name in lists)
    return [word for word in sorted(words) if not db.execute(f"select {is_used}", {"word": word}).fetchone()[0]]


def word_list(db: "Database", index: str, kind: Literal["row", "instance"] = "row") -> str:
    """Return the table that lists an index's words, made for this connection alone; it holds nothing."""
    name = f"{index}_{kind}_words"
    db.execute(f"create virtual table if not exists temp.{name} using fts5vocab (main, {index}, {kind})")
    return f"temp.{name}"


def _row_contents(db: "Database", table: str) -> Iterator[tuple[int, bytes]]:
    """Yield every row of a table with all its texts and bytes."""
    columns = db.execute(f"select name, lower(type) from pragma_table_info('{table}')").fetchall()
    listed = ", ".join(f'"{name}"' for name, kind in columns if kind in ("text", "blob"))
    if listed:
        is_rowless = (
            "without rowid" in db.execute("select lower(sql) from sqlite_master where name = ?", [table]).fetchone()[0]
        )
        for number, *values in db.execute(f"select {'0' if is_rowless else 'rowid'}, {listed} from {table}"):
            parts = (
                value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value for value in values if value
            )
            yield number, b"\0".join(parts)


def _children(db: "Database") -> dict[str, list[tuple[str, str]]]:
    """Return the tables that hang on each table, with the column that says on which row."""
    children: dict[str, list[tuple[str, str]]] = {}
    for table in data_tables(db):
        sql = f"""select "table", "from", on_delete from pragma_foreign_key_list('{table}')"""
        for parent, column, on_delete in db.execute(sql).fetchall():
            if on_delete != "SET NULL" or (parent, table) in _OWNED_ALL_THE_SAME:
                children.setdefault(parent, []).append((table, column))
    return children


def _chunked(db: "Database", sql: str, numbers: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query that ends with a list of numbers, however long that is."""
    for at in range(0, len(numbers), 500):
        some = numbers[at : at + 500]
        yield from db.execute(f"{sql} ({','.join('?' * len(some))})", list(some)).fetchall()
