"""Says whether what a receipt tells is true now: its signature, and that nothing of what was erased is left."""

from dataclasses import dataclass
from typing import Literal

from ruma.errors import NotFoundError
from ruma.tenant.erasing.receipts import (
    Receipt,
    SignedReceipt,
    installation_public_key,
    is_signature_right,
    public_key_of,
)
from ruma.tenant.erasing.remains import Remains, find_remains, find_tenant_remains
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant

Outcome = Literal["clean", "not clean", "wrong signature", "wrong tenant"]
_SHOWN = 10
_NAMES = {"message": "message", "chunk": "passage", "chunk_fts": "passage"}


@dataclass(frozen=True)
class Verdict:
    """What came of verifying a receipt."""

    outcome: Outcome
    text: str
    """The outcome as a sentence."""
    notes: tuple[str, ...] = ()
    """What else there is to know: where the same words stand, and what was looked through."""

    @property
    def is_clean(self) -> bool:
        """Whether the receipt is genuine and nothing is left."""
        return self.outcome == "clean"


def verify_erasure(home: Home, signed: SignedReceipt) -> Verdict:
    """Check a receipt's signature, then look through everything that remains.

    Within a tenant every page of its database and log is decrypted; of a deleted tenant the whole home and the key
    sources are searched.

    Raises:
        KeyStoreError: The key of the tenant cannot be had.
        StoreError: Its database cannot be read.
    """
    if not is_signature_right(signed):
        return Verdict("wrong signature", "The signature does not fit: the receipt was changed after it was signed.")
    receipt = signed.receipt
    if receipt.kind == "tenant":
        if signed.public_key != installation_public_key(home.settings):
            return Verdict("wrong signature", "The receipt was signed by another installation of Ruma than this one.")
        return _verify_deletion(home, receipt)
    name = next((one.name for one in home.tenants() if one.id == receipt.tenant_id), None)
    if name is None:
        return Verdict(
            "wrong tenant",
            f"There is no tenant with the id {receipt.tenant_id} here: the receipt is of another installation, "
            "or the tenant was deleted.",
        )
    with home.open(name) as tenant:
        return verify_in_tenant(tenant, signed)


def verify_in_tenant(tenant: Tenant, signed: SignedReceipt) -> Verdict:
    """Check a receipt of something that was erased within a tenant.

    Raises:
        StoreError: The database cannot be read.
    """
    receipt = signed.receipt
    if receipt.tenant_id != tenant.id:
        return Verdict("wrong tenant", f"The receipt is of another tenant than {tenant.name}.")
    if not is_signature_right(signed) or signed.public_key != public_key_of(tenant):
        return Verdict("wrong signature", f"The receipt was not signed by the tenant {tenant.name}.")
    try:
        found = find_remains(tenant, receipt.number, receipt.kind, receipt.numbers)
    except NotFoundError as exc:
        return Verdict("not clean", f"It cannot be checked. {exc}", (exc.hint,))
    looked = (
        f"Decrypted and looked through: {found.pages:,} pages of the database and its log, and {found.words:,} words "
        f"of the full-text indexes, for {receipt.fingerprints.get('pieces', 0):,} pieces and "
        f"{receipt.fingerprints.get('words', 0):,} words."
    )
    notes = (looked, *_elsewhere(found))
    if found.digest != receipt.fingerprints.get("sha256"):
        return Verdict("not clean", "What is to be looked for was changed since the receipt was signed.", notes)
    problem = _problem(found, receipt)
    if problem:
        return Verdict("not clean", f"Not clean: {problem}", notes)
    if not receipt.is_complete:
        return Verdict("not clean", "Nothing is found now, but the receipt itself says that a step failed.", notes)
    return Verdict("clean", f"Clean: nothing of {describe_erased(receipt)} is left in the tenant {tenant.name}.", notes)


def describe_erased(receipt: Receipt) -> str:
    """Return what was erased, in words: `document 3`, `the conversations 4 and 7`."""
    if receipt.kind == "tenant":
        return f"the tenant {receipt.tenant_name}"
    numbers = [str(number) for number in receipt.numbers]
    if len(numbers) > 10:
        numbers = [*numbers[:9], f"{len(numbers) - 9} more"]
    listed = f"{', '.join(numbers[:-1])} and {numbers[-1]}" if len(numbers) > 1 else numbers[0]
    if receipt.kind != "visitor":
        return f"the {receipt.kind}s {listed}" if len(numbers) > 1 else f"{receipt.kind} {listed}"
    return f"the visitor of the conversations {listed}" if len(numbers) > 1 else f"the visitor of conversation {listed}"


def _verify_deletion(home: Home, receipt: Receipt) -> Verdict:
    looked_at, left = find_tenant_remains(
        home.settings, receipt.tenant_id, str(receipt.fingerprints.get("key_item", ""))
    )
    looked = f"Looked at: {looked_at:,} names in {home.settings.home}, and the key sources of this machine."
    if left:
        return Verdict("not clean", f"Not clean: {'; '.join(left[:_SHOWN])}.", (looked,))
    if not receipt.is_complete:
        return Verdict("not clean", "Nothing is found now, but the receipt itself says that a step failed.", (looked,))
    text = f"Clean: the tenant {receipt.tenant_name} has no key, no directory and no file here."
    return Verdict("clean", text, (looked,))


def _problem(found: Remains, receipt: Receipt) -> str:
    if found.left_rows:
        return f"{receipt.kind} {found.left_rows[0]} is in the database."
    if found.places:
        shown = [f"page {one.page} of {one.file} ({one.kind})" for one in found.places[:_SHOWN]]
        more = f" and {len(found.places) - _SHOWN} more" if len(found.places) > _SHOWN else ""
        return f"pieces of it are in {', '.join(shown)}{more}."
    if found.left_words:
        return f"a full-text index still holds {found.left_words} of its words, which stand nowhere else."
    return ""


def _elsewhere(found: Remains) -> tuple[str, ...]:
    if not found.elsewhere:
        return ()
    shown = [f"{_NAMES.get(table, table.replace('_', ' '))} {row}" for table, row in found.elsewhere[:_SHOWN]]
    more = f" and {len(found.elsewhere) - _SHOWN} more" if len(found.elsewhere) > _SHOWN else ""
    return (f"The same words stand in records that were not erased, or were stored since: {', '.join(shown)}{more}.",)
