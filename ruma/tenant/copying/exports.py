"""Exports that were asked for: made in the background, sealed in the tenant's own directory, there to be fetched.

A file that is being made has another name and a lock, so one that broke off is never taken for one that is done.
"""

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from ruma.errors import ConflictError, NotFoundError
from ruma.tenant.audit import note
from ruma.tenant.clock import now
from ruma.tenant.copying.contents import Scope, check_scope
from ruma.tenant.database import translated
from ruma.tenant.erasing.erasure import ask_erasure, finish_erasure
from ruma.tenant.keys.data_key import Key
from ruma.tenant.keys.envelopes import Envelope, EnvelopeWriter, make_envelope
from ruma.tenant.keys.file_keys import find_file_key, keep_file_key
from ruma.tenant.knowledge.originals import read_original
from ruma.tenant.locked_files import lock_file, open_locked, remove_unheld
from ruma.tenant.people.passwords import check_password
from ruma.tenant.private_files import sync_folder
from ruma.tenant.tenant import Tenant

State = Literal["waiting", "making", "done", "failed"]
MOST_WAITING = 5
MOST_TRIES = 3
_GONE = "This export is not there any more."
_SELECT = """select id, kind, member_id, conversations, state, reason, size_bytes, has_password, asked_by, asked_at,
    made_at, sealed_id from export"""


@dataclass(frozen=True)
class Export:
    """An export that was asked for."""

    id: int
    scope: Scope
    state: State
    reason: str
    """Why it failed."""
    size_bytes: int
    has_password: bool
    """Whether the file is one of age, which opens with the password that was given."""
    asked_by: str
    asked_at: str
    made_at: str | None
    sealed_id: str

    @property
    def file_name(self) -> str:
        """What a browser saves it as."""
        whose = {"tenant": "all", "member": "member", "visitor": "visitor"}[self.scope.kind]
        return f"ruma-{whose}-{(self.made_at or self.asked_at)[:10]}.zip{'.age' if self.has_password else ''}"

    def ends_on(self, days: int) -> str:
        """Return the day on which it is removed, where exports are kept for so many days."""
        made = datetime.fromisoformat(self.made_at or self.asked_at)
        return (made + timedelta(days=days)).date().isoformat()


class Making:
    """An export that is being made, by nobody else as long as this is open. Left without `finish`, no file stays."""

    def __init__(self, tenant: Tenant, export: Export, envelope: Envelope | None) -> None:
        """Use `take_export`."""
        self.export, self.size_bytes, self._key = export, 0, Key.random()
        self._tenant = tenant
        self._final = tenant.exports_folder / export.sealed_id
        self._sealer = open_locked(self._final.with_suffix(".part"), self._key)
        self._is_open = True
        self._envelope = EnvelopeWriter(envelope, self._seal) if envelope else None

    def __enter__(self) -> "Making":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_open:
            self._is_open = False
            self._sealer.abandon()

    def write(self, data: bytes) -> None:
        """Seal the next bytes.

        Raises:
            StoreError: The disk is full.
        """
        if self._envelope:
            self._envelope.write(data)
        else:
            self._seal(data)

    def finish(self) -> None:
        """Let the file be fetched from now on, if it was not removed meanwhile.

        Raises:
            NotFoundError: It, or the tenant, was removed.
            StoreError: The disk is full.
        """
        if self._envelope:
            self._envelope.finish()
        self._sealer.finish()
        part, is_committing = self._final.with_suffix(".part"), False
        try:
            with self._tenant.writing() as db:
                changed = db.execute(
                    """update export set state = 'done', size_bytes = ?, made_at = ?, envelope_head = null,
                       envelope_key = null where id = ? and state = 'making'""",
                    [self.size_bytes, now(), self.export.id],
                ).rowcount
                if not changed:
                    raise NotFoundError(_GONE)
                keep_file_key(db, self.export.sealed_id, self._key)
                note(db, "export.made", f"export {self.export.id}", kind=self.export.scope.kind)
                ask_erasure(db)  # the key of its password
                part.rename(self._final)
                sync_folder(self._final.parent)
                is_committing = True
        except BaseException:
            # A commit that failed can have stored the row all the same; where it did not, the file is swept.
            if not is_committing:
                self._final.unlink(missing_ok=True)
            raise
        self._is_open = False
        self._sealer.close()
        finish_erasure(self._tenant)

    def fail(self, reason: str) -> None:
        """Note why it could not be made."""
        sql = "update export set state = 'failed', reason = ?, envelope_head = null, envelope_key = null where id = ?"
        with self._tenant.writing() as db:
            db.execute(sql, [reason, self.export.id])
            ask_erasure(db)

    def put_back(self) -> None:
        """Let it be made from its start later, as if it had not been begun."""
        with self._tenant.writing() as db:
            db.execute("update export set state = 'waiting', tries = tries - 1 where id = ?", [self.export.id])

    def _seal(self, data: bytes) -> None:
        self.size_bytes += len(data)
        self._sealer.write(data)


def ask_export(tenant: Tenant, scope: Scope, *, asked_by: str, password: str = "") -> Export:
    """Note that an export is wanted; whoever serves the tenant makes it.

    Args:
        scope: What of the tenant it shall hold.
        asked_by: Who wants it, for people to read.
        password: What the file opens with (see `envelopes`); without one it is a plain zip. It is not kept.

    Raises:
        NotFoundError: The member, or every conversation of the visitor, is not there.
        InputError: The password is too easy to guess.
        ConflictError: As many as may wait do so.
    """
    check_scope(tenant, scope)
    if password:
        check_password(password, name=tenant.name)
    envelope = make_envelope(password) if password else None
    with translated(tenant.exports_folder):
        tenant.exports_folder.mkdir(mode=0o700, exist_ok=True)
    with tenant.writing() as db:
        waiting = db.execute("select count(*) from export where state in ('waiting', 'making')").fetchone()[0]
        if waiting >= MOST_WAITING:
            raise ConflictError(f"{waiting} exports wait to be made.", hint="Wait for one of them, or remove one.")
        row = {
            "kind": scope.kind,
            "member_id": scope.member_id,
            "conversations": json.dumps(scope.conversations),
            "state": "waiting",
            "sealed_id": secrets.token_hex(16),
            "has_password": int(envelope is not None),
            "envelope_head": envelope and envelope.head,
            "envelope_key": envelope and envelope.key,
            "asked_by": asked_by,
            "asked_at": now(),
        }
        inserted: Any = db.table("export").insert(row).last_pk
        export_id = int(inserted)
        note(db, "export.asked", f"export {export_id}", kind=scope.kind, has_password=bool(password))
    return find_export(tenant, export_id)


def list_exports(tenant: Tenant) -> list[Export]:
    """Return the exports, the newest first."""
    with tenant.reading() as db:
        return [_export(row) for row in db.execute(f"{_SELECT} order by id desc").fetchall()]


def find_export(tenant: Tenant, export_id: int) -> Export:
    """Return an export.

    Raises:
        NotFoundError: There is none of that number.
    """
    with tenant.reading() as db:
        row = db.execute(f"{_SELECT} where id = ?", [export_id]).fetchone()
    if row is None:
        raise NotFoundError(_GONE)
    return _export(row)


def fetch_export(tenant: Tenant, export_id: int) -> Iterator[bytes]:
    """Return the bytes of an export's file, block by block, and note that it was fetched.

    Raises:
        NotFoundError: There is none of that number.
        ConflictError: It is not made yet.
        DamagedError: The sealed file was altered; raised while reading.
    """
    export = find_export(tenant, export_id)
    if export.state != "done":
        raise ConflictError("This export is not made yet.", hint=export.reason or "Wait until its state is done.")
    blocks = read_original(tenant.exports_folder / export.sealed_id, find_file_key(tenant, export.sealed_id))
    with tenant.writing() as db:
        note(db, "export.fetched", f"export {export_id}")
    return blocks


def take_export(tenant: Tenant) -> Making | None:
    """Return the oldest export that waits and that nobody makes, or that was interrupted; None where there is none."""
    with tenant.reading() as db:
        rows = db.execute(f"{_SELECT} where state in ('waiting', 'making') order by id").fetchall()
    for export in map(_export, rows):
        if not _clear_part(tenant, export):
            continue
        envelope = _mark_making(tenant, export)
        if envelope is not None:
            return Making(tenant, export, envelope if export.has_password else None)
    return None


def remove_export(tenant: Tenant, export_id: int) -> None:
    """Remove an export with its file, also while it is being made.

    Raises:
        NotFoundError: There is none of that number.
    """
    with tenant.writing() as db:
        if not db.execute("delete from export where id = ?", [export_id]).rowcount:
            raise NotFoundError(_GONE)
        note(db, "export.removed", f"export {export_id}")
        ask_erasure(db)
    sweep_exports(tenant)
    finish_erasure(tenant)


def may_have_exports(folder: Path) -> bool:
    """Tell, without the tenant's key, whether exports may lie or wait in a tenant's directory."""
    return (folder / "exports").is_dir()


def sweep_exports(tenant: Tenant) -> None:
    """Take away sealed files that no export names and nobody is writing."""
    with translated(tenant.exports_folder):
        try:
            names = os.listdir(tenant.exports_folder)
        except FileNotFoundError:
            return
        if not names:
            return
        # With the write lock no export is between its rename and its commit.
        with tenant.writing() as db:
            known = {row[0] for row in db.execute("select sealed_id from export where state = 'done'")}
            for name in set(names) - known:
                remove_unheld(tenant.exports_folder / name)


def _clear_part(tenant: Tenant, export: Export) -> bool:
    """Take away what an interruption left of a file; False where somebody is writing it."""
    part = (tenant.exports_folder / export.sealed_id).with_suffix(".part")
    try:
        lock = lock_file(part)
    except FileNotFoundError:
        return True
    if lock is None:
        return False
    part.unlink(missing_ok=True)
    os.close(lock)
    return True


def _mark_making(tenant: Tenant, export: Export) -> Envelope | None:
    """Note that an export is being made, and return the envelope of its file; None where it shall not be made."""
    with tenant.writing() as db:
        sql = "select tries, envelope_head, envelope_key from export where id = ? and state in ('waiting', 'making')"
        row = db.execute(sql, [export.id]).fetchone()
        if row is None:
            return None
        if row[0] < MOST_TRIES:
            db.execute("update export set state = 'making', tries = tries + 1 where id = ?", [export.id])
            return Envelope(row[1] or b"", row[2] or b"")
        reason = f"Making it was begun {MOST_TRIES} times and never came to an end."
        sql = "update export set state = 'failed', reason = ?, envelope_head = null, envelope_key = null where id = ?"
        db.execute(sql, [reason, export.id])
        ask_erasure(db)
    return None


def _export(row: Any) -> Export:
    id, kind, member_id, conversations, state, reason, size, has_password, *rest = row
    scope = Scope(kind, member_id, tuple(json.loads(conversations)))
    return Export(id, scope, state, reason, size, bool(has_password), *rest)
