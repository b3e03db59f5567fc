"""The tables of a tenant's database, as an append-only list of migrations."""

import hashlib
import re
import secrets
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

FORMAT = 2
"""The version of the tenant directory as a whole; a newer one is refused. In 2 the manifest names the key's item and
the database's file."""


def first_tables(db: "Database") -> None:
    """Make every table of version 0.1.0."""
    for statement in _script("first_tables"):
        db.execute(statement)


def accounts_and_inbox(db: "Database") -> None:
    """Make the tables for members, uploads and the inbox; conversations so far keep their secrets, hashed."""
    for statement in _script("accounts_and_inbox"):
        db.execute(statement)
    numbers = {}
    for secret, started_at in db.execute("select id, started_at from old_conversation order by started_at").fetchall():
        row = [hashlib.sha256(secret.encode()).digest(), started_at, started_at]
        sql = "insert into conversation (secret_hash, channel, started_at, last_at) values (?, 'page', ?, ?)"
        numbers[secret] = db.execute(sql, row).lastrowid
    for secret, number in numbers.items():
        db.execute(
            """insert into message (id, conversation_id, role, text, mode, is_declined, created_at)
               select id, ?, role, text, mode, is_declined, created_at from old_message where conversation_id = ?""",
            [number, secret],
        )
    db.execute("insert into citation select * from old_citation")
    db.execute(
        """update conversation set
           questions = (select count(*) from message where conversation_id = conversation.id and role = 'visitor'),
           declined = (select count(*) from message where conversation_id = conversation.id and is_declined),
           last_at = coalesce((select max(created_at) from message where conversation_id = conversation.id), last_at)"""
    )
    for table in ("old_citation", "old_message", "old_conversation"):
        db.execute(f"drop table {table}")
    # The old rows held the secrets themselves.
    db.execute("insert into pending_erasure (asked_at) values (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))")


def audit_log(db: "Database") -> None:
    """Make the table of what was done by whom."""
    for statement in _script("audit_log"):
        db.execute(statement)


def backups(db: "Database") -> None:
    """Make the table of the backups that hold the tenant."""
    for statement in _script("backups"):
        db.execute(statement)


def retention_and_holds(db: "Database") -> None:
    """Make the tables of what is kept how long, and of what must be kept."""
    for statement in _script("retention_and_holds"):
        db.execute(statement)


def consent_and_requests(db: "Database") -> None:
    """Make the tables of what visitors and members agreed to, and of what they ask about their data."""
    for statement in _script("consent_and_requests"):
        db.execute(statement)


def exports(db: "Database") -> None:
    """Make the table of exports."""
    for statement in _script("exports"):
        db.execute(statement)


def key_rotation(db: "Database") -> None:
    """Make the tables of keys that stay when the data key is rotated."""
    for statement in _script("key_rotation"):
        db.execute(statement)
    db.execute("insert into page_key values (1, ?)", [secrets.token_bytes(32)])


def connections(db: "Database") -> None:
    """Make the ledger of connections, and the tables of what the privacy policy said and whether it was true."""
    for statement in _script("connections"):
        db.execute(statement)


def erasure_receipts(db: "Database") -> None:
    """Make the tables of what was erased, and note by number who wrote, added or made something."""
    for statement in _script("erasure_receipts"):
        db.execute(statement)


STEPS = (
    first_tables,
    accounts_and_inbox,
    audit_log,
    backups,
    retention_and_holds,
    consent_and_requests,
    exports,
    key_rotation,
    connections,
    erasure_receipts,
)


def migrations() -> "Migrations":
    """Return the migrations, oldest first; only ever add to STEPS."""
    from sqlite_utils import Migrations

    history = Migrations("ruma")
    for step in STEPS:
        history()(step)
    return history


def _script(name: str) -> list[str]:
    """Return the statements of a file in `tables/`."""
    script = files(__package__).joinpath("tables", f"{name}.sql").read_text(encoding="utf-8")
    # `executescript` would commit the migration's transaction before it begins.
    lines = (line for line in script.splitlines() if not line.lstrip().startswith("--"))
    # A statement ends where the next line is not indented: a trigger has statements inside.
    parts = re.split(r";\n(?! )", "\n".join(lines) + "\n")
    return [statement for part in parts if (statement := part.strip(" \n;"))]
