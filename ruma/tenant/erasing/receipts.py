"""Receipts of erasures: what they say, how they are signed, and where they are kept.

A receipt holds numbers, counts and dates, and nothing of what was erased. It is signed with Ed25519 (RFC 8032, by
libsodium): with the tenant's own key, which lies in its database; that of a deleted tenant with the installation's
key, which lies in the home.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ruma.config import Settings
from ruma.errors import DamagedError, InputError, NotFoundError
from ruma.tenant.private_files import make_private_folder, read_private_file, write_new_file
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

FORMAT = "ruma erasure receipt 1"
ErasedKind = Literal["document", "conversation", "visitor", "member", "tenant"]
Signer = Literal["tenant", "installation"]
LARGEST = 4_000_000
_SIGNED = b"ruma erasure receipt v1\n"
_SEED_FILE = "signing.key"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at after erasing."""

    what: str
    """`rows`, `words`, `pages`, `log`, `originals`, `memory`, `key`, `directory` or `names`."""
    looked_at: int
    """How many rows, words, pages, files or places."""
    found: int
    """How many of them still held something of it: 0, or the erasure is not complete."""
    text: str
    """The same as a sentence."""
    missing: int = 0
    """How many of them were not there to be removed: a step that finds nothing is no success."""


@dataclass(frozen=True)
class NotCovered:
    """A place that the erasure does not reach."""

    what: str
    """`backups`, `exports`, `recovery-key`, `copies`, `blocks`, `files`, `mail`, `register`, `billing` or
    `keyring`."""
    text: str
    dates: tuple[str, ...] = ()
    """When those were made that are known of."""


@dataclass(frozen=True)
class Receipt:
    """What was erased, when and by whom, how it was checked, and what it does not reach."""

    number: str
    """Random; tells this receipt from every other."""
    tenant_name: str
    tenant_id: str
    kind: ErasedKind
    numbers: tuple[int, ...]
    """The document, the member, or the conversations; empty for a tenant."""
    by_kind: str
    """`operator`, `member`, `key`, `visitor` or `ruma`."""
    by_number: int
    """The member's or the key's number; 0 for the others."""
    asked_at: str
    done_at: str
    counts: Mapping[str, int]
    """How many rows and files went, by what they were."""
    checks: tuple[Check, ...]
    not_covered: tuple[NotCovered, ...]
    fingerprints: Mapping[str, int | str] = field(default_factory=dict)
    """How many `pieces` and `words` can be looked for later, and the `sha256` of their fingerprints; of a tenant, the
    name under which a key source would keep its key (`key_item`)."""

    @property
    def is_complete(self) -> bool:
        """Whether every check found nothing, and every step something to do."""
        return not any(check.found or check.missing for check in self.checks)


@dataclass(frozen=True)
class SignedReceipt:
    """A receipt with its signature."""

    receipt: Receipt
    signed_by: Signer
    public_key: str
    """Ed25519, 32 bytes in hexadecimal."""
    signature: str
    """64 bytes in hexadecimal."""

    def to_json(self) -> str:
        """Return the file that a person keeps."""
        data = {
            "format": FORMAT,
            "receipt": _plain(self.receipt),
            "signed_by": self.signed_by,
            "public_key": self.public_key,
            "signature": self.signature,
        }
        return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


@dataclass(frozen=True)
class Kept:
    """A receipt as it is kept with the tenant."""

    id: int
    asked_at: str
    signed: SignedReceipt | None
    """None while something has still to be done: then the next command or server finishes it."""


def sign(receipt: Receipt, seed: bytes, signed_by: Signer) -> SignedReceipt:
    """Return a receipt with its signature."""
    from nacl.signing import SigningKey

    key = SigningKey(seed)
    signature = key.sign(_message(receipt, signed_by)).signature
    return SignedReceipt(receipt, signed_by, bytes(key.verify_key).hex(), signature.hex())


def is_signature_right(signed: SignedReceipt) -> bool:
    """Tell whether the receipt is what the owner of its public key signed."""
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    try:
        key, signature = VerifyKey(bytes.fromhex(signed.public_key)), bytes.fromhex(signed.signature)
        key.verify(_message(signed.receipt, signed.signed_by), signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True


def read_receipt(text: str) -> SignedReceipt:
    """Return the receipt that a file holds; its signature is not looked at.

    Raises:
        InputError: It is no receipt.
    """
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise InputError("This receipt was written by a newer version of Ruma.", hint="Update Ruma.")
        return _signed_of(data)
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise InputError("This is no receipt of an erasure.", hint="Give the JSON file, as it was handed out.") from exc


def public_key_of(tenant: Tenant) -> str | None:
    """Return the public half of the key that signs a tenant's receipts; None before the first."""
    with tenant.reading() as db:
        row = db.execute("select seed from receipt_signer").fetchone()
    return _public_half(row[0]) if row else None


def list_receipts(tenant: Tenant, *, before: int | None = None, limit: int | None = None) -> list[Kept]:
    """Return the receipts that are kept, the newest first.

    Args:
        tenant: Whose they are.
        before: Only those with a lower number.
        limit: How many at most; None returns all.
    """
    with tenant.reading() as db:
        rows = db.execute(
            "select id, asked_at, receipt from erasure where id < ? order by id desc limit ?",
            [before or 2**63 - 1, -1 if limit is None else limit],
        ).fetchall()
    return [Kept(row[0], row[1], read_receipt(row[2]) if row[2] else None) for row in rows]


def find_receipt(tenant: Tenant, receipt_id: int) -> Kept:
    """Return a receipt by its number in the list.

    Raises:
        NotFoundError: There is none.
    """
    with tenant.reading() as db:
        row = db.execute("select id, asked_at, receipt from erasure where id = ?", [receipt_id]).fetchone()
    if row is None:
        raise NotFoundError("There is no such receipt.", hint="`ruma erase list` lists them.")
    return Kept(row[0], row[1], read_receipt(row[2]) if row[2] else None)


def tenant_seed(db: "Database") -> bytes:
    """Return the seed of the tenant's signing key, made with its first receipt, inside a write."""
    import secrets

    db.execute("insert into receipt_signer values (1, ?) on conflict do nothing", [secrets.token_bytes(32)])
    return bytes(db.execute("select seed from receipt_signer").fetchone()[0])


def receipts_folder(settings: Settings) -> Path:
    """Return the folder for receipts of deleted tenants."""
    return settings.home / "receipts"


def installation_seed(settings: Settings) -> bytes:
    """Return the seed of the installation's signing key, a private file, made when it is first needed.

    Raises:
        KeyStoreError: It cannot be written, or others have access to it.
    """
    import secrets

    folder = receipts_folder(settings)
    make_private_folder(folder)
    path = folder / _SEED_FILE
    if not path.exists():
        write_new_file(path, secrets.token_bytes(32).hex().encode())
    try:
        seed = bytes.fromhex(read_private_file(path).decode("ascii").strip())
    except ValueError:
        seed = b""
    if len(seed) != 32:
        raise DamagedError(f"{path} is no signing key.", hint="Remove it: the next receipt makes a new one.")
    return seed


def installation_public_key(settings: Settings) -> str | None:
    """Return the public half of the installation's signing key; None before the first receipt."""
    if not (receipts_folder(settings) / _SEED_FILE).exists():
        return None
    return _public_half(installation_seed(settings))


def write_draft(receipt: Receipt) -> str:
    """Return a receipt as it is kept until it is signed."""
    return json.dumps(_plain(receipt))


def read_draft(text: str) -> Receipt:
    """Return the receipt of a draft."""
    return _receipt_of(json.loads(text))


def _public_half(seed: bytes) -> str:
    from nacl.signing import SigningKey

    return bytes(SigningKey(seed).verify_key).hex()


def _message(receipt: Receipt, signed_by: Signer) -> bytes:
    """Return what is signed: the receipt in one way of writing it, sorted and without blanks."""
    content = json.dumps(
        {"receipt": _plain(receipt), "signed_by": signed_by}, ensure_ascii=False, sort_keys=True, separators=(",", ":")
    )
    return _SIGNED + hashlib.sha256(content.encode()).digest()


def _plain(receipt: Receipt) -> dict[str, Any]:
    data = asdict(receipt)
    by = {"kind": data.pop("by_kind"), "number": data.pop("by_number")}
    tenant = {"name": data.pop("tenant_name"), "id": data.pop("tenant_id")}
    erased = {"kind": data.pop("kind"), "numbers": list(data.pop("numbers"))}
    return {
        "number": data.pop("number"),
        "tenant": tenant,
        "erased": erased,
        "by": by,
        **data,
        "checks": list(data["checks"]),
        "not_covered": [{**one, "dates": list(one["dates"])} for one in data["not_covered"]],
        "is_complete": receipt.is_complete,
    }


def _receipt_of(data: dict[str, Any]) -> Receipt:
    return Receipt(
        number=data["number"],
        tenant_name=data["tenant"]["name"],
        tenant_id=data["tenant"]["id"],
        kind=data["erased"]["kind"],
        numbers=tuple(data["erased"]["numbers"]),
        by_kind=data["by"]["kind"],
        by_number=data["by"]["number"],
        asked_at=data["asked_at"],
        done_at=data["done_at"],
        counts=dict(data["counts"]),
        checks=tuple(Check(**one) for one in data["checks"]),
        not_covered=tuple(NotCovered(one["what"], one["text"], tuple(one["dates"])) for one in data["not_covered"]),
        fingerprints=dict(data["fingerprints"]),
    )


def _signed_of(data: dict[str, Any]) -> SignedReceipt:
    receipt = _receipt_of(data["receipt"])
    # What was written into the file beside what is signed must not look as if it were.
    is_whole = _plain(receipt) == data["receipt"]
    return SignedReceipt(receipt, data["signed_by"], data["public_key"], data["signature"] if is_whole else "")
