"""Erases a thing within a tenant, proves it and writes the receipt: in a transaction, then in the file.

What is left half-way by a killed process is finished when the tenant is next opened: the receipt is signed only when
nothing is left to be done.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ruma.errors import HeldError, NotFoundError
from ruma.tenant.audit import current_actor, note
from ruma.tenant.clock import now
from ruma.tenant.database import translated
from ruma.tenant.erasing.erasure import ask_erasure, delete_rows, finish_erasure
from ruma.tenant.erasing.receipts import (
    Check,
    ErasedKind,
    Kept,
    NotCovered,
    Receipt,
    find_receipt,
    read_draft,
    sign,
    tenant_seed,
    write_draft,
)
from ruma.tenant.erasing.residue import (
    Fingerprints,
    LogState,
    find_in_pages,
    make_fingerprints,
    read_log,
)
from ruma.tenant.erasing.traces import (
    ROOTS,
    Kind,
    Rows,
    check_rows_gone,
    find_in_rows,
    find_rows,
    find_unused,
    read_values,
    split_words,
)
from ruma.tenant.keeping.holds import check_documents_not_held, check_not_held, is_held
from ruma.tenant.knowledge.uploads import sweep_uploads
from ruma.tenant.people.members import check_owner_left, read_row, simplify_email
from ruma.tenant.private_files import sync_folder
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlite_utils import Database

_GONE = {
    "document": "This document is not there any more.",
    "conversation": "This conversation is not there any more.",
    "visitor": "One of these conversations is not there any more.",
    "member": "This member is not there any more.",
}
_NO_MEMORY = Check("memory", 0, 0, "No language model ran in this process, so none remembers anything of it.")
Forget = Callable[[], Check]
"""Makes the running program's memory forget the tenant, and says so."""


@dataclass(frozen=True)
class _Removed:
    """What the transaction took away."""

    id: int
    """The number of the receipt."""
    pages: set[int] | None
    """The pages that it wrote, which are those that held something of it; None where that is not known any more."""


def forget_nothing() -> Check:
    """Say that no language model runs in this process."""
    return _NO_MEMORY


def erase(
    tenant: Tenant, kind: Kind, numbers: Sequence[int], *, forget: Forget = forget_nothing, keys_to: int | None = None
) -> Kept:
    """Erase a document, conversations or a member with everything that came from it, and return the receipt.

    Args:
        tenant: Whose it is.
        kind: What it is; a visitor is a number of conversations.
        numbers: Which.
        forget: Makes the running program's memory forget it.
        keys_to: The member who takes over the API keys of an erased member; without one they end.

    Returns:
        The receipt; not signed yet where a reader of the old state keeps it in the file. A running server, or whatever
        opens the tenant next, finishes it then.

    Raises:
        NotFoundError: One of them is not there; nothing was erased.
        HeldError: A legal hold is on it.
        ConflictError: Nobody would be left who can manage the tenant.
    """
    if kind in ("document", "member"):  # conversations have holds of their own, too
        check_not_held(tenant)
    removed = _remove(tenant, kind, numbers, keys_to)
    files = _check_files(tenant, *_unlink_files(tenant, removed.id))
    tenant.vectors = tenant.pairs = None
    return _finish(tenant, removed, files, forget())


def opened_anew() -> Check:
    """Say that the tenant was opened anew: what had it in memory forgot it when it was erased, or has ended."""
    return Check("memory", 0, 0, "The tenant was opened anew since, which remembers nothing of it.")


def finish_erasures(tenant: Tenant, *, forget: Forget = opened_anew, after_seconds: int = 0) -> None:
    """Finish what killed processes and readers of the old state left: erasures that have no signed receipt yet.

    Args:
        tenant: Whose they are.
        forget: Makes the running program's memory forget them.
        after_seconds: Leaves those alone that were asked for more lately: they are being finished just now.
    """
    with tenant.reading() as db:
        sql = """select id from erasure where receipt is null
                 and (:seconds = 0 or asked_at <= strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-' || :seconds || ' seconds'))
                 order by id"""
        waiting = [row[0] for row in db.execute(sql, {"seconds": after_seconds})]
    if not waiting:
        return
    memory = forget()
    for number in waiting:
        # Which of the files were there is not known any more: the one that was killed may have removed some.
        files, _ = _unlink_files(tenant, number)
        _finish(tenant, _Removed(number, None), _check_files(tenant, files, len(files)), memory)


def read_fingerprints(tenant: Tenant, number: str) -> Fingerprints:
    """Return what can be looked for of an erasure, by its receipt's number.

    Raises:
        NotFoundError: The tenant has no such erasure.
    """
    with tenant.reading() as db:
        rows = db.execute("select draft, secret, pieces, terms from erasure").fetchall()
    for draft, secret, pieces, terms in rows:
        if json.loads(draft)["number"] == number:
            return _fingerprints_of(secret, pieces, terms)
    raise NotFoundError(
        f"The tenant {tenant.name} has no record of the erasure {number}.",
        hint="What can be looked for is kept with the tenant, as long as its receipts are.",
    )


def last_erasure(tenant: Tenant) -> int:
    """Return the number of the last erasure: whoever keeps something in memory compares it with the last one seen."""
    with tenant.reading() as db:
        return int(db.execute("select coalesce(max(id), 0) from erasure").fetchone()[0])


def is_there(tenant: Tenant, kind: Literal["conversation", "member"], number: int) -> bool:
    """Tell whether something was not erased: whoever still does something about it asks before."""
    with tenant.reading() as db:
        return db.execute(f"select 1 from {ROOTS[kind]} where id = ?", [number]).fetchone() is not None


def _remove(tenant: Tenant, kind: Kind, numbers: Sequence[int], keys_to: int | None) -> _Removed:
    """Delete the rows, and write the receipt's draft, in one transaction."""
    numbers = sorted(set(numbers))
    with _keeping_log(tenant) as before:
        with tenant.writing() as db:
            rows = find_rows(db, kind, numbers)
            if not numbers or len(next(iter(rows.values()), ())) != len(numbers):
                raise NotFoundError(_GONE[kind])
            _check_held(db, kind, numbers)
            traces = list(read_values(db, rows))
            counts = {table: len(found) for table, found in rows.items()}
            files = _sealed_files(db, rows)
            exports = _delete_exports(db, tenant)
            traces += [("file_key", key) for key in _file_keys(db, files)]
            more, removal = _delete(db, kind, numbers, keys_to)
            traces += [("", value) for value in removal]
            ask_erasure(db)
            db.execute("update search_index set revision = revision + 1")
            checked = check_rows_gone(db, rows)
            files += exports
            counts = {**counts, **more, "sealed_file": len(files)}
            number = _write_draft(db, tenant, kind, numbers, counts, traces, files, checked)
        pages = read_log(tenant.database_file).pages_since(before)
    return _Removed(number, pages)


@contextmanager
def _keeping_log(tenant: Tenant) -> Iterator[LogState]:
    """Keep what is written to the log from now on in it, so that it says afterwards which pages a transaction wrote.

    Those are the pages that the rows lay on: a deletion writes every page that it takes something from.
    """
    with tenant.reading() as db:
        db.execute("select revision from search_index").fetchone()  # from here on a reader needs this log
        yield read_log(tenant.database_file)


def _delete(
    db: "Database", kind: Kind, numbers: Sequence[int], keys_to: int | None
) -> tuple[dict[str, int], list[str]]:
    """Delete a thing; return what else went by what it was, and which other texts went."""
    if kind == "document":
        return _delete_documents(db, numbers)
    if kind == "member":
        return _delete_member(db, numbers[0], keys_to)
    for number in numbers:
        db.execute("delete from conversation where id = ?", [number])
    _delete_visitor_links(db)
    return {}, []


def _delete_visitor_links(db: "Database") -> None:
    """Delete the one-time links of addresses that no conversation has any more."""
    linked = db.execute("select distinct email from visitor_link").fetchall()
    if linked:  # in Python: SQLite folds the case of ASCII alone
        named = db.execute(
            """select distinct visitor_email from conversation
               where (visitor_name <> '' or visitor_email <> '') and visitor_email <> ''"""
        )
        left = {simplify_email(email) for (email,) in named}
        for (email,) in linked:
            if email not in left:
                db.execute("delete from visitor_link where email = ?", [email])


def _delete_documents(db: "Database", numbers: Sequence[int]) -> tuple[dict[str, int], list[str]]:
    check_documents_not_held(db, numbers)
    gone: list[str] = []
    answers = sources = 0
    for number in numbers:
        row = db.execute("select source_id from document where id = ?", [number]).fetchone()
        told = db.execute(
            """select text from message where text <> '' and mode in ('write', 'pair')
               and id in (select message_id from citation where document_id = ?)""",
            [number],
        ).fetchall()
        gone += [text for (text,) in told]
        answers += len(told)
        delete_rows(db, [number])
        source = db.execute(
            """delete from source where id = ? and not exists (select 1 from document where source_id = source.id)
               returning location""",
            [row[0]],
        ).fetchone()
        if source:
            sources += 1
            gone.append(source[0])
    return {"answer": answers, "source": sources}, gone


def _delete_member(db: "Database", number: int, keys_to: int | None) -> tuple[dict[str, int], list[str]]:
    member = read_row(db, number)
    names = [member.name, member.email]
    mine = {"id": number, "name": member.name}
    heir = read_row(db, keys_to) if keys_to is not None else None
    of_member = "(created_by_id = :id or (created_by_id = 0 and created_by = :name))"
    if heir is not None and heir.id != number:
        values = {**mine, "heir": heir.id, "heirs_name": heir.name}
        sql = f"update api_key set created_by = :heirs_name, created_by_id = :heir where {of_member}"
        counts = {"api_key_handed_over": db.execute(sql, values).rowcount}
    else:
        counts = {"api_key": db.execute(f"delete from api_key where {of_member}", mine).rowcount}
    counts["name_in_reply"] = db.execute(
        "update message set author = '', author_id = 0 where author_id = :id or (author_id = 0 and author = :name)",
        mine,
    ).rowcount
    counts["name_at_upload"] = db.execute(
        """update upload set added_by = '', added_by_id = 0
           where added_by_id = :id or (added_by_id = 0 and added_by = :name)""",
        mine,
    ).rowcount
    counts["name_at_export"] = db.execute("update export set asked_by = '' where asked_by = ?", [member.name]).rowcount
    db.execute("delete from link where email = ? or member_id = ?", [member.email, number])
    db.execute("delete from member where id = ?", [number])
    check_owner_left(db, member)
    return counts, names


def _check_held(db: "Database", kind: Kind, numbers: Sequence[int]) -> None:
    if kind not in ("conversation", "visitor"):
        return
    held = [number for number in numbers if is_held(db, number)]
    if held:
        raise HeldError(
            f"A legal hold is on {'conversation' if len(held) == 1 else 'conversations'} "
            f"{', '.join(map(str, held))}. Nothing was erased.",
            hint="It can be erased when the hold has been ended.",
        )


def _write_draft(
    db: "Database",
    tenant: Tenant,
    kind: Kind,
    numbers: Sequence[int],
    counts: dict[str, int],
    traces: list[tuple[str, str | bytes]],
    files: list[str],
    checked: int,
) -> int:
    texts = [value for _, value in traces if isinstance(value, str)]
    unused = find_unused(db, split_words(texts))
    looked_for = make_fingerprints((value for _, value in traces), unused)
    actor, time = current_actor(), now()
    receipt = Receipt(
        number=secrets.token_hex(8),
        tenant_name=tenant.name,
        tenant_id=tenant.id,
        kind=kind,
        numbers=tuple(numbers),
        by_kind=actor.kind,
        by_number=actor.id,
        asked_at=time,
        done_at="",
        counts={name: count for name, count in counts.items() if count},
        checks=(
            Check("rows", checked, 0, f"Of {checked:,} rows and index entries none is in the database any more."),
            Check(
                "words",
                len(unused),
                0,
                f"Words that stood nowhere else: {len(unused):,}. The full-text index lists none of them.",
            ),
        ),
        not_covered=not_covered(db, kind),
        fingerprints={"pieces": len(looked_for.pieces), "words": len(looked_for.terms), "sha256": looked_for.digest},
    )
    row = [time, write_draft(receipt), looked_for.secret, _bytes(looked_for.pieces), _bytes(looked_for.terms)]
    stored = db.execute(
        "insert into erasure (asked_at, draft, secret, pieces, terms, files) values (?, ?, ?, ?, ?, ?)",
        [*row, json.dumps(files)],
    )
    number = stored.lastrowid or 0
    note(db, f"{kind}.erased", f"{kind} {numbers[0]}", receipt=number, count=len(numbers))
    return number


def not_covered(db: "Database", kind: ErasedKind) -> tuple[NotCovered, ...]:
    """Return what an erasure does not reach: the same for all, and what is known of this tenant."""
    backups = tuple(row[0] for row in db.execute("select made_at from backup order by made_at"))
    text = "Backups that were made before hold it until they are deleted."
    found = [
        NotCovered("backups", text if backups else f"{text} None is known of.", backups),
        _dated("exports", db, "export.made", "Exports that were taken away before may hold it."),
        NotCovered("blocks", "Freed disk blocks may hold encrypted bytes of it until they are used again."),
        NotCovered("memory", "Freed memory of a running server may hold pieces of it until it is used again."),
        NotCovered("recovery-key", "Whoever has an old copy of the directory can read it with the recovery key."),
    ]
    if kind == "document":
        text = (
            "A file that it was read from, where that lies outside of Ruma: the next `ruma ingest` would read it again."
        )
        found.append(NotCovered("files", text))
    if kind == "member":
        text = (
            "Counters of failed sign-ins hold a keyed hash for up to 90 days; entries of the audit log hold a number."
        )
        found.append(NotCovered("register", text))
    if kind in ("tenant", "member") and db.execute("select customer from billing").fetchone()[0]:
        text = (
            "Stripe keeps its own record of what was paid, and of what a member entered on its pages. What is paid for "
            "there goes on until it is ended there."
        )
        found.append(NotCovered("billing", text))
    if kind in ("conversation", "visitor"):
        found.append(NotCovered("mail", "Mails that were sent, to the visitor or about the conversation."))
        text = "The register of requests about data keeps what was asked, and how it was answered."
        found.append(NotCovered("register", text))
    return tuple(found)


def _dated(what: str, db: "Database", action: str, text: str) -> NotCovered:
    times = [row[0] for row in db.execute("select at from audit where action = ? order by id", [action])]
    return NotCovered(what, text if times else f"{text} None is known of.", tuple(times))


def _sealed_files(db: "Database", rows: Rows) -> list[str]:
    """Return the sealed files of documents and uploads that go, by their place in the tenant's directory."""
    found = []
    for table, column, folder in (("document", "original_id", "files"), ("upload", "sealed_id", "uploads")):
        for number in rows.get(table, ()):
            where = " and state <> 'done'" if table == "upload" else ""
            row = db.execute(f"select {column} from {table} where id = ?{where}", [number]).fetchone()
            found += [f"{folder}/{row[0]}"] if row else []
    return found


def _file_keys(db: "Database", files: Sequence[str]) -> list[bytes]:
    """Return the keys of sealed files: they go with the rows, and nothing opens the files from then on."""
    sql = "select raw from file_key where file_id = ?"
    found = (db.execute(sql, [file.rpartition("/")[2]]).fetchone() for file in files)
    return [row[0] for row in found if row]


def _delete_exports(db: "Database", tenant: Tenant) -> list[str]:
    """Delete the exports that wait to be fetched, of which any can hold it; they can be made again. Return their files.

    A member's holds what the member wrote to visitors, and a visitor's names the members who wrote, and documents.
    """
    rows = db.execute("delete from export returning sealed_id").fetchall()
    return [f"exports/{row[0]}" for row in rows if (tenant.exports_folder / row[0]).exists()]


def _unlink_files(tenant: Tenant, number: int) -> tuple[list[str], int]:
    """Take the sealed files away, durably; return which they were and how many were there."""
    with tenant.reading() as db:
        files = json.loads(db.execute("select files from erasure where id = ?", [number]).fetchone()[0])
    were_there = 0
    for file in files:
        path = tenant.folder / file
        with translated(path):
            with suppress(FileNotFoundError):
                path.unlink()
                were_there += 1
            if path.parent.exists():
                sync_folder(path.parent)
    sweep_uploads(tenant)
    if files:
        with tenant.writing() as db:  # their names go too, before the log is emptied
            db.execute("update erasure set files = '[]' where id = ?", [number])
            ask_erasure(db)  # once more, where opening the tenant has just emptied it after a kill
    return files, were_there


def _finish(tenant: Tenant, removed: _Removed, files: Check | None, memory: Check) -> Kept:
    """Take what was deleted out of the file, look whether it is, and sign the receipt.

    Where a reader of the old state is in the way the receipt stays unsigned.
    """
    if not finish_erasure(tenant):
        return find_receipt(tenant, removed.id)
    with tenant.reading() as db:
        row = db.execute(
            "select draft, secret, pieces, terms from erasure where id = ? and receipt is null", [removed.id]
        ).fetchone()
    if row is None:  # another process was quicker
        return find_receipt(tenant, removed.id)
    draft = read_draft(row[0])
    pages = _check_pages(tenant, _fingerprints_of(*row[1:]), removed.pages)
    checks = (*draft.checks, pages, *([files] if files else []), memory)
    receipt = replace(draft, done_at=now(), checks=checks)
    with tenant.writing() as db:
        signed = sign(receipt, tenant_seed(db), "tenant")
        sql = "update erasure set receipt = ? where id = ? and receipt is null"
        db.execute(sql, [signed.to_json(), removed.id])
    return find_receipt(tenant, removed.id)


def _check_pages(tenant: Tenant, looked_for: Fingerprints, pages: set[int] | None) -> Check:
    hits, looked_at = find_in_pages(tenant.database_file, tenant.key.raw, looked_for, only=pages)
    elsewhere: set[int] = set()
    if hits:
        with tenant.reading() as db:
            elsewhere = set(find_in_rows(db, looked_for, set(hits)))
    left = hits.keys() - elsewhere
    which = "every page of the database" if pages is None else "the pages that the erasure wrote"
    said = "none holds a piece of it" if not left else f"{len(left)} pieces of it are still there"
    if elsewhere:
        said += f", but for {len(elsewhere)} that stand in other records too"
    text = (
        f"The write-ahead log was emptied; {which} and every frame of the log, {looked_at:,} pages, were decrypted: "
        f"of {len(looked_for.pieces):,} pieces {said}."
    )
    return Check("pages", looked_at, len(left), text)


def _check_files(tenant: Tenant, files: list[str], were_there: int) -> Check | None:
    if not files:
        return None
    left = sum((tenant.folder / file).exists() for file in files)
    missing = len(files) - were_there
    text = f"{len(files)} sealed {'file is' if len(files) == 1 else 'files are'} gone from the directory."
    if left:
        text = f"{left} of {len(files)} sealed files are still in the directory."
    if missing:
        text += f" {missing} of them {'was' if missing == 1 else 'were'} not there to be removed: look for a copy."
    return Check("originals", len(files), left, text, missing=missing)


def _fingerprints_of(secret: bytes, pieces: bytes, terms: bytes) -> Fingerprints:
    return Fingerprints(
        secret, np.frombuffer(pieces, "<u8").astype(np.uint64), np.frombuffer(terms, "<u8").astype(np.uint64)
    )


def _bytes(numbers: "NDArray[np.uint64]") -> bytes:
    return numbers.astype("<u8").tobytes()
