"""Receipts of deleted tenants: drafted in the home before a deletion begins, signed when nothing of the tenant is left.

A deletion that is killed is finished by the next command or server, and so is its receipt.
"""

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ruma.config import Settings
from ruma.errors import KeyStoreError, StoreError
from ruma.tenant.audit import current_actor
from ruma.tenant.clock import now
from ruma.tenant.erasing.erasures import not_covered
from ruma.tenant.erasing.receipts import (
    Check,
    NotCovered,
    Receipt,
    SignedReceipt,
    installation_seed,
    read_draft,
    read_receipt,
    receipts_folder,
    sign,
    write_draft,
)
from ruma.tenant.erasing.remains import find_tenant_remains
from ruma.tenant.erasing.traces import data_tables
from ruma.tenant.manifest import Manifest
from ruma.tenant.private_files import make_private_folder, read_private_file, write_new_file
from ruma.tenant.tenant import Tenant

_OPEN = ".open-"
_STALE_SECONDS = 3600
_COUNTED = ("document", "chunk", "source", "upload", "conversation", "message", "member", "api_key", "audit")


@dataclass(frozen=True)
class DeletedTenant:
    """The receipt of a deleted tenant, and the file that it was written to."""

    signed: SignedReceipt
    path: Path


def describe_tenant(tenant: Tenant) -> tuple[dict[str, int], tuple[NotCovered, ...]]:
    """Return what a tenant holds, counted, and what its deletion will not reach, as far as only it knows."""
    with tenant.reading() as db:
        present = set(data_tables(db))
        counted = [table for table in _COUNTED if table in present]
        counts = {table: db.execute(f"select count(*) from {table}").fetchone()[0] for table in counted}
        return counts, not_covered(db, "tenant")


def open_tenant_receipt(
    settings: Settings, manifest: Manifest, counts: dict[str, int], missed: tuple[NotCovered, ...]
) -> Receipt:
    """Write down that a tenant is to be deleted, before anything is, and return the receipt's draft.

    Raises:
        KeyStoreError: It cannot be written; then nothing is deleted.
    """
    actor = current_actor()
    receipt = Receipt(
        number=secrets.token_hex(8),
        tenant_name=manifest.name,
        tenant_id=manifest.tenant_id,
        kind="tenant",
        numbers=(),
        by_kind=actor.kind,
        by_number=actor.id,
        asked_at=now(),
        done_at="",
        counts={what: count for what, count in counts.items() if count},
        checks=(),
        not_covered=missed,
        fingerprints={"key_item": manifest.key_item},
    )
    folder = receipts_folder(settings)
    make_private_folder(folder)
    installation_seed(settings)
    write_new_file(folder / f"{_OPEN}{receipt.number}.json", write_draft(receipt).encode())
    return receipt


def close_tenant_receipt(settings: Settings, draft: Receipt, memory: Check) -> DeletedTenant:
    """Look whether anything of a deleted tenant is left, and sign and write its receipt.

    Raises:
        KeyStoreError: The receipt cannot be written; the next command tries again.
    """
    looked_at, left = find_tenant_remains(settings, draft.tenant_id, str(draft.fingerprints.get("key_item", "")))
    keys = [one for one in left if ".key" in one or "keyring" in one]
    others = len(left) - len(keys)
    said = f"; {'; '.join(left)}." if left else "."
    checks = (
        Check("key", 1, len(keys), "Its key is in no key source that this machine has." if not keys else f"Left{said}"),
        Check(
            "directory",
            looked_at,
            others,
            f"Of {looked_at:,} names in the home none belongs to it." if not others else f"Left{said}",
        ),
        memory,
    )
    signed = sign(replace(draft, done_at=now(), checks=checks), installation_seed(settings), "installation")
    stamp = "".join(letter for letter in signed.receipt.done_at if letter.isdigit())
    path = receipts_folder(settings) / f"{stamp}-{draft.number}.json"
    # One that was killed here has written the receipt, and not taken the draft away yet.
    written = next(receipts_folder(settings).glob(f"[0-9]*-{draft.number}.json"), None)
    if written:
        path, signed = written, read_receipt(read_private_file(written).decode())
    else:
        write_new_file(path, signed.to_json().encode())
    for open_one in receipts_folder(settings).glob(f"{_OPEN}*.json"):
        # Also one of a deletion of this tenant that was killed before it began.
        with suppress(KeyStoreError, ValueError, KeyError):
            if read_draft(read_private_file(open_one).decode()).tenant_id == draft.tenant_id:
                open_one.unlink(missing_ok=True)
    return DeletedTenant(signed, path)


def finish_tenant_receipts(settings: Settings) -> None:
    """Write the receipts of deletions that were killed and have been finished since."""
    folder = receipts_folder(settings)
    try:
        drafts = sorted(folder.glob(f"{_OPEN}*.json"))
    except OSError:
        return
    memory = Check("memory", 0, 0, "The program was started anew since, so it remembers nothing of it.")
    for path in drafts:
        # One that cannot be finished waits: no other command needs it.
        with suppress(KeyStoreError, StoreError, FileNotFoundError, ValueError, KeyError):
            draft = read_draft(read_private_file(path).decode())
            state = _state_of(settings, draft)
            if state == "alive" and time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink()  # nothing was deleted, and nobody is about to
            elif state == "gone":
                close_tenant_receipt(settings, draft, memory)


def _state_of(settings: Settings, draft: Receipt) -> str:
    """Return whether a tenant is `alive`, `going` or `gone`."""
    for folder in settings.tenants_folder.iterdir():
        if draft.tenant_id in folder.name:
            return "going"
        with suppress(OSError):
            if draft.tenant_id in (folder / "tenant.toml").read_text(encoding="utf-8", errors="replace"):
                return "alive"
    return "gone"
