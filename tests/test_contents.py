import io
import re
import zipfile
from typing import Any

from ruma.privacy.exporting import write_export
from ruma.tenant.copying.contents import FLAT, LEFT_OUT, NESTED, Scope
from ruma.tenant.tenant import Tenant

MADE_BY_FTS = ("_fts_data", "_fts_idx", "_fts_docsize", "_fts_config", "_fts_content")


def columns_of(tenant: Tenant) -> set[str]:
    """Return every column of the database, as table.column."""
    with tenant.reading() as db:
        tables = [
            row[0]
            for row in db.execute("select name from sqlite_schema where type = 'table'").fetchall()
            if not row[0].startswith("sqlite_") and not row[0].endswith(MADE_BY_FTS)
        ]
        return {f"{table}.{row[1]}" for table in tables for row in db.execute(f"pragma table_info({table})").fetchall()}


def test_every_column_is_exported_or_left_out_with_a_reason(tenant: Tenant) -> None:
    """A new table or column fails here until `ruma/tenant/copying/contents.py` exports it or says why not."""
    exported = {f"{table.name}.{column}" for table in (*FLAT, *NESTED) for column in table.columns.split()}
    stored = columns_of(tenant)

    left_out = {column for column in stored if column in LEFT_OUT or column.partition(".")[0] in LEFT_OUT}
    assert stored - exported - left_out == set(), "named nowhere"
    assert exported - stored == set(), "exported and not there"
    assert exported & left_out == set(), "exported and left out"
    gone = {name for name in LEFT_OUT if name not in stored and not any(one.startswith(f"{name}.") for one in stored)}
    assert gone == set(), "left out and not there"


def test_every_value_that_is_stored_is_in_the_export(tenant: Tenant) -> None:
    """Each text column of each exported table holds a mark of its own, and every mark is in the export's JSON."""
    marks: dict[str, str] = {}
    with tenant.writing() as db:
        db.execute("pragma defer_foreign_keys = on")
        for table in (*FLAT, *NESTED):
            if table.name in ("search_index", "audit"):
                continue
            fill(db, table.name, table.columns.split(), marks)

        # Rows of one document and one conversation belong together.
        for sql in LINKS:
            db.execute(sql)
    taken = io.BytesIO()

    write_export(tenant, Scope(), taken)

    del marks["terms_acceptance.version"]
    found = zipfile.ZipFile(taken)
    everything = "".join(found.read(name).decode() for name in found.namelist() if name.startswith("data/"))
    assert {column for column, mark in marks.items() if mark not in everything} == set()


LINKS = (
    "update message set conversation_id = (select max(id) from conversation)",
    "update citation set message_id = (select max(id) from message), document_id = null",
    "update feedback set message_id = (select max(id) from message)",
    "update document set source_id = (select max(id) from source)",
    "update chunk set document_id = (select max(id) from document)",
    "update vector set chunk_id = (select max(id) from chunk)",
    "update terms_acceptance set version = (select max(version) from terms)",
    "update sentence_vector set chunk_id = (select max(id) from chunk)",
)


def fill(db: Any, table: str, columns: list[str], marks: dict[str, str]) -> None:
    """Give a table one row in which every text is a mark; what a constraint decides is as it must be."""
    made = db.execute("select sql from sqlite_schema where name = ?", [table]).fetchone()[0]
    is_single = "check (id = 1)" in made
    info = db.execute(f"pragma table_info({table})").fetchall()
    values: dict[str, object] = {}
    for _, name, kind, is_needed, default, _ in info:
        column = f"{table}.{name}"
        choice = re.search(rf"\b{name} in \('([^']+)'", made)
        if choice:
            values[name] = choice[1]
        elif kind == "TEXT" and name in columns and not (default or "").startswith("'["):
            values[name] = marks[column] = f"mark-{table}-{name}-end"
        elif name == "id" and table not in ("agent", "profile"):
            continue
        elif is_needed and default is None:
            values[name] = {"TEXT": f"{table} {name}", "BLOB": b"", "INTEGER": 1, "REAL": 1.0}[kind]
    if is_single:
        changes = ", ".join(f'"{name}" = ?' for name in values)
        db.execute(f"update {table} set {changes}", list(values.values()))
        return
    marked = ", ".join("?" * len(values))
    names = ", ".join(f'"{name}"' for name in values)
    db.execute(f"insert into {table} ({names}) values ({marked})", list(values.values()))
