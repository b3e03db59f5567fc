"""What a tenant's files and rows show: the facts that statements of the privacy policy are held against."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ruma.tenant.keeping.holds import HELD
from ruma.tenant.raw_files import read_blocks
from ruma.tenant.tenant import Tenant

PLAIN = ("tenant.toml",)
"""The one file that is not encrypted: the manifest, which has no data."""

_SHARED_MEMORY = "-shm"
"""An index of page numbers that SQLite keeps beside a write-ahead log: it holds no content."""

_WAL_HEAD, _PAGE_HEAD = 32, 24
_SAMPLE = 16384
_BLOCK = 1 << 20
_LEAST_SAMPLE = 1024
_LEAST_ENTROPY = 7.0
"""Bits a byte: 16 KB of ciphertext have 7.98, of text 4 to 5, of SQLite's pages less than 6."""


def readable_files(tenant: Tenant) -> list[str]:
    """Return the files of the tenant's directory that are not encrypted, by name, the manifest left out."""
    return [
        str(file.relative_to(tenant.folder))
        for file in _files(tenant)
        if file.name not in PLAIN and not file.name.endswith(_SHARED_MEMORY) and not _is_sealed(tenant, file)
    ]


def files_with_key(tenant: Tenant) -> list[str]:
    """Return the files of the tenant's directory that hold its key, in any of the forms it is written in."""
    raw = tenant.key.raw
    forms = [raw, raw.hex().encode(), raw.hex().upper().encode(), tenant.key.recovery_text().encode()]
    return [str(file.relative_to(tenant.folder)) for file in _files(tenant) if _holds(tenant, file, forms)]


def list_tables(tenant: Tenant) -> dict[str, list[str]]:
    """Return the names of the tables with their columns, without those that SQLite keeps for itself."""
    with tenant.reading() as db:
        names = [
            name
            for (name,) in db.execute("select name from sqlite_master where type = 'table' order by name").fetchall()
            if not name.startswith(("sqlite_", "chunk_fts", "message_fts", "_sqlite"))
        ]
        return {name: [row[1] for row in db.execute(f"pragma table_info({name})").fetchall()] for name in names}


def owner_of_rows(tenant: Tenant) -> list[str]:
    """Return the ids of the tenants that the database says it belongs to."""
    with tenant.reading() as db:
        return [row[0] for row in db.execute("select tenant_id from ruma_identity").fetchall()]


def count_weak_passwords(tenant: Tenant) -> int:
    """Return how many members' passwords are kept as anything but an Argon2id hash."""
    with tenant.reading() as db:
        sql = "select count(*) from member where password_hash <> '' and password_hash not like '$argon2id$%'"
        return int(db.execute(sql).fetchone()[0])


def stored_networks(tenant: Tenant) -> set[str]:
    """Return every network address that rows hold."""
    with tenant.reading() as db:
        rows = db.execute("select address from session union select address from audit").fetchall()
    return {row[0] for row in rows if row[0]}


def oldest_records(tenant: Tenant) -> dict[str, str]:
    """Return the oldest time of each kind that a plan has days for; what is held by law left out."""
    queries = {
        "conversations": """select min(last_at) from conversation where id not in
            (select conversation_id from hold where ended_at is null and conversation_id is not null)""",
        "technical": """select min(at) from (
            select strftime('%Y-%m-%dT%H:%M:%SZ', started_at, 'unixepoch') as at from session
            union all select noted_at from attempt
            union all select added_at from upload where added_by <> '' and state in ('done', 'failed'))""",
        "audit": "select min(at) from (select at from audit union all select at from connection)",
        "exports": "select min(coalesce(made_at, asked_at)) from export where state in ('done', 'failed')",
        "receipts": """select min(at) from (
            select closed_at as at from rights_request
            union all select asked_at from erasure where receipt is not null)""",
    }
    with tenant.reading() as db:
        found = {kind: db.execute(query).fetchone()[0] for kind, query in queries.items()}
    return {kind: at for kind, at in found.items() if at}


def oldest_passing(tenant: Tenant) -> str | None:
    """Return the time of the last message of the oldest conversation that is neither kept nor held; None for none."""
    with tenant.reading() as db:
        found: str | None = db.execute(
            f"select min(last_at) from conversation where is_kept = 0 and not ({HELD})"
        ).fetchone()[0]
    return found


def is_held_whole(tenant: Tenant) -> bool:
    """Tell whether everything of the tenant must be kept by law for now."""
    with tenant.reading() as db:
        sql = "select count(*) from hold where ended_at is null and conversation_id is null"
        return bool(db.execute(sql).fetchone()[0])


def set_session_times(tenant: Tenant, member_id: int, *, started_at: float, seen_at: float) -> None:
    """Write when a member's sessions began and were last used: for the trial of how long they live."""
    with tenant.writing() as db:
        sql = "update session set started_at = ?, seen_at = ? where member_id = ?"
        db.execute(sql, [started_at, seen_at, member_id])


def _files(tenant: Tenant) -> Iterator[Path]:
    return (file for file in sorted(tenant.folder.rglob("*")) if file.is_file() and not file.is_symlink())


def _is_sealed(tenant: Tenant, file: Path) -> bool:
    head = next(_blocks(tenant, file, _WAL_HEAD + _PAGE_HEAD + _SAMPLE), b"")
    if b"SQLite format 3\0" in head:
        return False
    # A log has heads of its own that are not secret; what comes after the first is a page.
    sample = head[_WAL_HEAD + _PAGE_HEAD :] if file.name.endswith("-wal") else head
    return len(sample) < _LEAST_SAMPLE or _entropy(sample) >= _LEAST_ENTROPY


def _entropy(sample: bytes) -> float:
    counts = Counter(sample)
    return -sum(count / len(sample) * math.log2(count / len(sample)) for count in counts.values())


def _holds(tenant: Tenant, file: Path, forms: list[bytes]) -> bool:
    longest, before = max(len(form) for form in forms), b""
    for block in _blocks(tenant, file, _BLOCK):
        if any(form in before + block for form in forms):
            return True
        before = block[-longest:]
    return False


def _blocks(tenant: Tenant, file: Path, size: int) -> Iterator[bytes]:
    if file.name.startswith(tenant.manifest.database):
        yield from read_blocks(file, size)
        return
    with file.open("rb") as opened:
        yield from iter(lambda: opened.read(size), b"")
