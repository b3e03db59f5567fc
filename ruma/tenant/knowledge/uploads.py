"""What was handed over to be read: sealed as it comes in, kept until it was read, with what became of it.

An upload whose bytes are still coming in has no row, so one that breaks off leaves no name anywhere. Whoever
receives or reads one holds a lock on its file, which ends with the process: what nobody holds was interrupted.
"""

import os
import secrets
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ruma.errors import ConflictError, NotFoundError, TooLargeError
from ruma.tenant.audit import current_actor, note
from ruma.tenant.clock import now
from ruma.tenant.database import translated
from ruma.tenant.erasing.erasure import ask_erasure, finish_erasure
from ruma.tenant.keys.data_key import Key
from ruma.tenant.keys.file_keys import find_file_key, keep_file_key
from ruma.tenant.knowledge.originals import read_original
from ruma.tenant.locked_files import lock_file, open_locked, remove_unheld
from ruma.tenant.private_files import sync_folder
from ruma.tenant.tenant import Tenant

Kind = Literal["upload", "text", "page", "site"]
FILES: tuple[Kind, ...] = ("upload", "text")
ADDRESSES: tuple[Kind, ...] = ("page", "site")
"""What is handed over as the address of a web page or of a whole website: the bytes are the address, too."""

State = Literal["waiting", "reading", "done", "failed"]

UNFINISHED: tuple[State, ...] = ("waiting", "reading", "failed")
MOST_TRIES = 3
LAST_MOMENTS = 20
"""How often a failed upload is looked at, 0.05 s apart, that is still held."""

LONGEST_NAME = 255
_NAMELESS = "unnamed"
_LOOKED_AT = 50
_SELECT = (
    "select id, kind, name, size_bytes, sealed_id, state, reason, document_id, added_by, added_at, ended_at from upload"
)


@dataclass(frozen=True)
class Upload:
    """A file, a text or an address that was handed over."""

    id: int
    kind: Kind
    name: str
    size_bytes: int
    sealed_id: str
    state: State
    reason: str
    """Why it failed, continuing the sentence that begins with the name; of a website that was read, sentences that say
    what of it was not."""

    document_id: int | None
    added_by: str
    added_at: str
    ended_at: str | None


class Receiving:
    """Takes an upload's bytes as they come in. Left without `finish`, nothing of it stays."""

    def __init__(self, tenant: Tenant, name: str, *, kind: Kind, added_by: str, most_bytes: int) -> None:
        """Use `begin_upload`."""
        self.size_bytes = 0
        self._tenant = tenant
        # An address is written in its one way already, and is no shorter than it is.
        self._name = name if kind in ADDRESSES else clean_upload_name(name)
        self._kind, self._added_by = kind, added_by
        self._most_bytes = most_bytes
        self._sealed_id, self._key = secrets.token_hex(16), Key.random()
        self._final = tenant.uploads_folder / self._sealed_id
        self._sealer = open_locked(self._final.with_suffix(".part"), self._key)
        self._is_open = True

    def __enter__(self) -> "Receiving":
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()

    def write(self, block: bytes) -> None:
        """Seal the next bytes.

        Raises:
            TooLargeError: There are more than allowed. Nothing of it is kept.
            StoreError: The disk is full, or the tenant was removed meanwhile.
        """
        self.size_bytes += len(block)
        if self.size_bytes > self._most_bytes:
            self.abandon()
            most = self._most_bytes // 1_000_000
            raise TooLargeError(
                f"{self._name} is larger than {most:,} MB, which is the most that is taken.",
                hint="Split it, or ask the operator to raise the setting max_file_mb.",
            )
        self._sealer.write(block)

    def finish(self) -> Upload:
        """Keep what came in, durably, to be read next.

        Raises:
            NotFoundError: The tenant was removed meanwhile.
            StoreError: The disk is full, or the database cannot be used.
        """
        is_committing = False
        try:
            self._sealer.finish()
            with self._tenant.writing() as db:
                by = [self._added_by, current_actor().member_id]
                row = [self._kind, self._name, self.size_bytes, self._sealed_id, *by, now()]
                upload_id = db.execute(
                    """insert into upload (kind, name, size_bytes, sealed_id, state, added_by, added_by_id, added_at)
                       values (?, ?, ?, ?, 'waiting', ?, ?, ?)""",
                    row,
                ).lastrowid
                keep_file_key(db, self._sealed_id, self._key)
                note(db, "upload.added", f"upload {upload_id}", kind=self._kind)
                self._final.with_suffix(".part").rename(self._final)
                sync_folder(self._final.parent)
                is_committing = True
        except BaseException:
            # A commit that failed can have stored the row all the same; where it did not, the file is swept.
            if not is_committing:
                self._final.unlink(missing_ok=True)
                self.abandon()
            raise
        self._is_open = False
        self._sealer.close()
        return find_upload(self._tenant, int(upload_id or 0))

    def abandon(self) -> None:
        """Take away what came in, unless it was finished."""
        if self._is_open:
            self._is_open = False
            self._sealer.abandon()


class Taken:
    """An upload that is being read, by nobody else as long as this is open."""

    def __init__(self, tenant: Tenant, upload: Upload, lock: int) -> None:
        """Use `take_upload`."""
        self.upload = upload
        self._tenant = tenant
        self._lock: int | None = lock

    def __enter__(self) -> "Taken":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
            DamagedError: The sealed file is missing or was altered.
        """
        return b"".join(read_upload(self._tenant, self.upload))

    def is_wanted(self) -> bool:
        """Tell whether nobody discarded it meanwhile, as one may with an address."""
        with self._tenant.reading() as db:
            return db.execute("select 1 from upload where id = ?", [self.upload.id]).fetchone() is not None

    def finish(self, remark: str = "") -> None:
        """Note that it was read, with a remark, and take its bytes away: the document has them now."""
        with self._tenant.writing() as db:
            # Of a document only the last upload is remembered; the earlier ones say nothing that is still true.
            db.execute(
                """update upload set state = 'done', reason = :remark, ended_at = :now, document_id = (
                       select document.id from document join source on source.id = document.source_id
                       where source.kind = upload.kind and source.location = upload.name
                       and document.name = upload.name and upload.kind <> 'site') where id = :id""",
                {"id": self.upload.id, "now": now(), "remark": remark},
            )
            db.execute(
                """delete from upload where state = 'done' and id != :id
                   and document_id = (select document_id from upload where id = :id)""",
                {"id": self.upload.id},
            )
            if self.upload.kind in ADDRESSES:
                sql = "delete from upload where kind = ? and name = ? and id < ? and state in ('done', 'failed')"
                db.execute(sql, [self.upload.kind, self.upload.name, self.upload.id])
            note(db, "upload.read", f"upload {self.upload.id}")
        path = self._tenant.uploads_folder / self.upload.sealed_id
        with translated(path):
            path.unlink(missing_ok=True)

    def fail(self, reason: str) -> None:
        """Note why it could not be read. Its bytes stay, to be tried again."""
        sql = "update upload set state = 'failed', reason = ?, ended_at = ? where id = ?"
        with self._tenant.writing() as db:
            db.execute(sql, [reason, now(), self.upload.id])
            note(db, "upload.failed", f"upload {self.upload.id}")

    def put_back(self) -> None:
        """Let it be read from the start later, as if it had not been taken."""
        with self._tenant.writing() as db:
            db.execute("update upload set state = 'waiting', tries = tries - 1 where id = ?", [self.upload.id])

    def release(self) -> None:
        """Let go of it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def begin_upload(tenant: Tenant, name: str, *, kind: Kind, added_by: str, most_bytes: int) -> Receiving:
    """Return what takes an upload's bytes as they come in: only ciphertext reaches the disk.

    Args:
        name: What the sender calls it. It is data: no file is ever named after it.
        added_by: Who hands it over, for people to read.
        most_bytes: The largest that is taken, counted as it comes in, whatever was announced.

    Raises:
        NotFoundError: The tenant's directory is gone.
        StoreError: The disk is full or read-only.
    """
    tenant.check_present()
    with translated(tenant.uploads_folder):
        tenant.uploads_folder.mkdir(mode=0o700, exist_ok=True)
    return Receiving(tenant, name, kind=kind, added_by=added_by, most_bytes=most_bytes)


def receive_upload(
    tenant: Tenant, name: str, blocks: Iterable[bytes], *, kind: Kind, added_by: str, most_bytes: int
) -> Upload:
    """Keep an upload, sealed as *blocks* come in, to be read next. It is kept whole, or nothing of it.

    Raises:
        TooLargeError: It is larger than allowed.
        NotFoundError: The tenant's directory is gone.
        StoreError: The disk is full, or the database cannot be used.
    """
    with begin_upload(tenant, name, kind=kind, added_by=added_by, most_bytes=most_bytes) as receiving:
        for block in blocks:
            receiving.write(block)
        return receiving.finish()


def clean_upload_name(name: str) -> str:
    """Return a name as it is stored: composed accents, one line, no longer than a file's name may be."""
    printable = "".join(" " if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") else letter for letter in name)
    clean = unicodedata.normalize("NFC", printable).strip()
    if len(clean) > LONGEST_NAME:  # the suffix says what it is
        stem, dot, suffix = clean.rpartition(".")
        end = f"{dot}{suffix}" if stem and len(suffix) < 10 else ""
        clean = clean[: LONGEST_NAME - len(end)] + end
    return clean or _NAMELESS


def list_uploads(tenant: Tenant, states: Sequence[State] = UNFINISHED, *, limit: int = 200) -> list[Upload]:
    """Return the uploads in these states, the newest first; without any given, those that are no documents yet."""
    marks = ",".join("?" * len(states))
    with tenant.reading() as db:
        rows = db.execute(f"{_SELECT} where state in ({marks}) order by id desc limit ?", [*states, limit]).fetchall()
    return [Upload(*row) for row in rows]


def count_uploads(tenant: Tenant, kinds: Sequence[Kind] = (*FILES, *ADDRESSES)) -> dict[State, int]:
    """Return how many uploads of these kinds are in each state."""
    counts: dict[State, int] = dict.fromkeys(("waiting", "reading", "done", "failed"), 0)
    with tenant.reading() as db:
        marks = ",".join("?" * len(kinds))
        sql = f"select state, count(*) from upload where kind in ({marks}) group by state"
        counts.update(dict(db.execute(sql, list(kinds)).fetchall()))
    return counts


def find_upload(tenant: Tenant, upload_id: int) -> Upload:
    """Return an upload.

    Raises:
        NotFoundError: The tenant has no such upload.
    """
    with tenant.reading() as db:
        row = db.execute(f"{_SELECT} where id = ?", [upload_id]).fetchone()
    if row is None:
        raise NotFoundError("This upload is not there any more.")
    return Upload(*row)


def read_upload(tenant: Tenant, upload: Upload) -> Iterator[bytes]:
    """Return an upload's bytes, block by block, as long as it was not read or discarded.

    Raises:
        DamagedError: The sealed file is missing or was altered; raised while reading.
    """
    return read_original(tenant.uploads_folder / upload.sealed_id, find_file_key(tenant, upload.sealed_id))


def find_unread(tenant: Tenant, kind: Kind, name: str) -> Upload | None:
    """Return the upload of that kind and name that waits or is being read; None where there is none."""
    with tenant.reading() as db:
        sql = f"{_SELECT} where kind = ? and name = ? and state in ('waiting', 'reading') order by id limit 1"
        row = db.execute(sql, [kind, name]).fetchone()
    return Upload(*row) if row else None


def take_upload(tenant: Tenant, kinds: Sequence[Kind] = FILES) -> Taken | None:
    """Return the oldest upload of these kinds that waits and that nobody reads, or that was interrupted; or None.

    One that was begun three times without an end fails here: it may be what ends the server.
    """
    with tenant.reading() as db:
        marks = ",".join("?" * len(kinds))
        sql = f"{_SELECT} where state in ('waiting', 'reading') and kind in ({marks}) order by id limit ?"
        waiting = [Upload(*row) for row in db.execute(sql, [*kinds, _LOOKED_AT]).fetchall()]
    for upload in waiting:
        try:
            lock = lock_file(tenant.uploads_folder / upload.sealed_id)
        except FileNotFoundError:
            _mark_lost(tenant, upload)
            continue
        if lock is None:
            continue
        taken = Taken(tenant, upload, lock)
        try:
            if _mark_reading(tenant, upload):
                return taken
        except BaseException:
            taken.release()
            raise
        taken.release()
    return None


def has_waiting_files(folder: Path) -> bool:
    """Tell, without the tenant's key, whether uploads may wait in a tenant's directory."""
    try:
        return any(not name.endswith(".part") for name in os.listdir(folder / "uploads"))
    except OSError:
        return False


def retry_upload(tenant: Tenant, upload_id: int) -> Upload:
    """Let an upload that failed be read again.

    Raises:
        NotFoundError: The tenant has no such upload.
        ConflictError: It did not fail.
    """
    with tenant.writing() as db:
        sql = "update upload set state = 'waiting', reason = '', tries = 0, ended_at = null"
        changed = db.execute(f"{sql} where id = ? and state = 'failed'", [upload_id]).rowcount
        if changed:
            note(db, "upload.retried", f"upload {upload_id}")
    upload = find_upload(tenant, upload_id)
    if not changed:
        raise ConflictError(f"{upload.name} did not fail, so there is nothing to try again.")
    return upload


def discard_upload(tenant: Tenant, upload_id: int) -> None:
    """Take an upload away that is no document yet, its name and its bytes; the reading of an address is ended.

    Raises:
        NotFoundError: The tenant has no such upload.
        ConflictError: It is being read at this moment, or is a document already.
    """
    upload = find_upload(tenant, upload_id)
    if upload.state == "done":
        raise ConflictError(f"{upload.name} was read; remove its document.")
    with suppress(FileNotFoundError):
        # What has failed is held for a moment longer by who read it.
        tries = LAST_MOMENTS if upload.state == "failed" else 1
        lock = lock_file(tenant.uploads_folder / upload.sealed_id)
        while lock is None and (tries := tries - 1):
            time.sleep(0.05)
            lock = lock_file(tenant.uploads_folder / upload.sealed_id)
        if lock is not None:
            os.close(lock)
        elif upload.kind not in ADDRESSES:
            raise ConflictError(
                f"{upload.name} is being read at this moment.", hint="Remove its document when that is done."
            )
    with tenant.writing() as db:
        if db.execute("delete from upload where id = ? and state != 'done'", [upload_id]).rowcount:
            note(db, "upload.discarded", f"upload {upload_id}")
        ask_erasure(db)
    sweep_uploads(tenant)
    finish_erasure(tenant)


def sweep_uploads(tenant: Tenant) -> None:
    """Take away sealed bytes that no upload names and nobody is writing: what an interruption left."""
    with translated(tenant.uploads_folder):
        try:
            names = os.listdir(tenant.uploads_folder)
        except FileNotFoundError:
            return
        if not names:
            return
        # With the write lock no upload is between its rename and its commit.
        with tenant.writing() as db:
            known = {row[0] for row in db.execute("select sealed_id from upload where state != 'done'")}
            for name in set(names) - known:
                remove_unheld(tenant.uploads_folder / name)


def _mark_reading(tenant: Tenant, upload: Upload) -> bool:
    with tenant.writing() as db:
        row = db.execute("select state, tries from upload where id = ?", [upload.id]).fetchone()
        if row is None or row[0] not in ("waiting", "reading"):
            return False
        if row[1] < MOST_TRIES:
            db.execute("update upload set state = 'reading', tries = tries + 1 where id = ?", [upload.id])
            return True
        reason = f"was given up: reading it was begun {MOST_TRIES} times and never came to an end."
        sql = "update upload set state = 'failed', reason = ?, ended_at = ? where id = ?"
        db.execute(sql, [reason, now(), upload.id])
        note(db, "upload.failed", f"upload {upload.id}")
    return False


def _mark_lost(tenant: Tenant, upload: Upload) -> None:
    """Note that an upload's bytes are gone; one that was finished, discarded or sealed anew meanwhile stays."""
    sql = """update upload set state = 'failed', reason = ?, ended_at = ?
             where id = ? and sealed_id = ? and state in ('waiting', 'reading')"""
    with tenant.writing() as db:
        is_there = (tenant.uploads_folder / upload.sealed_id).exists()
        lost = ["was lost before it could be read; add it again.", now(), upload.id, upload.sealed_id]
        if not is_there and db.execute(sql, lost).rowcount:
            note(db, "upload.failed", f"upload {upload.id}")
