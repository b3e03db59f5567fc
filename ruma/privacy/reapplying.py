"""Erases again what a restored backup brought back: the receipts of later erasures say what that was."""

from collections.abc import Iterable
from dataclasses import dataclass

from ruma.errors import ConflictError, NotFoundError, RumaError
from ruma.tenant.erasing.erasures import erase
from ruma.tenant.erasing.receipts import Receipt, list_receipts
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant


@dataclass(frozen=True)
class Reapplied:
    """A later erasure, and whether it was done again."""

    number: str
    """The receipt's."""
    kind: str
    asked_at: str
    again: int
    """How many documents, conversations or members were there again, and are erased."""
    problem: str = ""
    """Why it was not done again."""


def receipts_in_home(home: Home, tenant_id: str) -> list[Receipt]:
    """Return the receipts of the tenant with this id, where it is still there and can be opened."""
    for info in home.tenants():
        if info.id == tenant_id:
            try:
                with home.open(info.name) as tenant:
                    return [kept.signed.receipt for kept in reversed(list_receipts(tenant)) if kept.signed]
            except RumaError:
                return []
    return []


def later_receipts(tenant: Tenant, receipts: Iterable[Receipt]) -> list[Receipt]:
    """Return those that a restored tenant does not have itself, the oldest first: they came after the backup."""
    known = {kept.signed.receipt.number for kept in list_receipts(tenant) if kept.signed}
    later = {one.number: one for one in receipts if one.number not in known and one.kind != "tenant"}
    return sorted(later.values(), key=lambda one: one.asked_at)


def reapply(tenant: Tenant, receipts: Iterable[Receipt]) -> list[Reapplied]:
    """Erase again what these receipts say, as far as it is there.

    Numbers are never given twice, so what a number names is what was erased.
    """
    return [_reapply(tenant, receipt) for receipt in receipts]


def _reapply(tenant: Tenant, receipt: Receipt) -> Reapplied:
    kind, again, problem = receipt.kind, 0, ""
    # One by one: what came after the backup is not there, and must not keep the others.
    for number in receipt.numbers:
        if kind == "tenant":
            break
        try:
            erase(tenant, kind, [number])
            again += 1
        except NotFoundError:
            continue
        except ConflictError as exc:  # a legal hold, or the last owner
            problem = str(exc)
    return Reapplied(receipt.number, receipt.kind, receipt.asked_at, again, problem)
