"""What the API takes and gives about erasures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ruma.errors import ConflictError, InputError
from ruma.privacy.verifying import Verdict
from ruma.tenant.conversing.visitors import Mention, VisitorRef, parse_visitor
from ruma.tenant.erasing.receipts import Kept, SignedReceipt


@dataclass(frozen=True)
class CheckMade:
    """One thing that was looked at after erasing."""

    what: str
    looked_at: int
    found: int
    """How many of them still held something of it."""
    missing: int
    """How many were not there to be removed."""
    text: str


@dataclass(frozen=True)
class OutOfReach:
    """A place that the erasure does not reach."""

    what: str
    text: str
    dates: list[str]


@dataclass(frozen=True)
class ErasureInfo:
    """An erasure, as its receipt tells it."""

    id: int
    asked_at: str
    is_finished: bool
    """False while something has still to be done; then what follows is empty."""
    is_complete: bool = False
    """Whether every check found nothing."""
    kind: str = ""
    numbers: list[int] = field(default_factory=list)
    """The document, the member, or the conversations."""
    by_kind: str = ""
    by_number: int = 0
    done_at: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    checks: list[CheckMade] = field(default_factory=list)
    not_covered: list[OutOfReach] = field(default_factory=list)


@dataclass(frozen=True)
class ErasureList:
    """What was erased, the newest first, and the public key that signs the receipts."""

    erasures: list[ErasureInfo]
    public_key: str
    """Ed25519, in hexadecimal; empty before the first."""


@dataclass(frozen=True)
class VisitorErased:
    """Which visitor to erase: everybody with an address, or the conversations that are named."""

    email: str = ""
    conversations: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class MentionFound:
    """A place in a conversation where words were found."""

    conversation_id: int
    place: str
    excerpt: str
    at: str


@dataclass(frozen=True)
class MentionList:
    """Where words were found, the newest first."""

    mentions: list[MentionFound]


@dataclass(frozen=True)
class ErasureVerdict:
    """What came of looking again: `clean`, `not clean`, `wrong signature` or `wrong tenant`."""

    outcome: str
    text: str
    notes: list[str]


def erasure_of(kept: Kept) -> ErasureInfo:
    """Return an erasure as the API gives it."""
    if kept.signed is None:
        return ErasureInfo(kept.id, kept.asked_at, is_finished=False)
    receipt = kept.signed.receipt
    return ErasureInfo(
        id=kept.id,
        asked_at=kept.asked_at,
        is_finished=True,
        is_complete=receipt.is_complete,
        kind=receipt.kind,
        numbers=list(receipt.numbers),
        by_kind=receipt.by_kind,
        by_number=receipt.by_number,
        done_at=receipt.done_at,
        counts=receipt.counts,
        checks=[CheckMade(one.what, one.looked_at, one.found, one.missing, one.text) for one in receipt.checks],
        not_covered=[OutOfReach(one.what, one.text, list(one.dates)) for one in receipt.not_covered],
    )


def mention_of(mention: Mention) -> MentionFound:
    """Return a place as the API gives it."""
    return MentionFound(**asdict(mention))


def verdict_of(verdict: Verdict) -> ErasureVerdict:
    """Return a verdict as the API gives it."""
    return ErasureVerdict(verdict.outcome, verdict.text, list(verdict.notes))


def visitors_of(wanted: VisitorErased) -> list[VisitorRef]:
    """Return whom a request means.

    Raises:
        InputError: It means nobody.
    """
    found = [VisitorRef(conversation=number) for number in wanted.conversations]
    if wanted.email.strip():
        found.append(parse_visitor(wanted.email))
    if not found:
        raise InputError("Nobody is named.", hint="Give an address, or the numbers of conversations.")
    return found


def signed_of(kept: Kept) -> SignedReceipt:
    """Return the signed receipt.

    Raises:
        ConflictError: There is none yet.
    """
    if kept.signed is None:
        raise ConflictError(
            "This erasure is not finished: somebody still reads the old state.", hint="Look again in a minute."
        )
    return kept.signed


ERASED = ErasureInfo(
    3,
    "2026-03-02T09:15:04Z",
    True,
    True,
    "visitor",
    [12, 17],
    "member",
    1,
    "2026-03-02T09:15:04Z",
    {"conversation": 2, "message": 8},
    [CheckMade("rows", 18, 0, 0, "Of 18 rows and index entries none is in the database any more.")],
    [OutOfReach("backups", "Backups that were made before hold it until they are deleted.", ["2026-03-01T03:00:00Z"])],
)
EXAMPLES: dict[type, Any] = {
    ErasureInfo: ERASED,
    ErasureList: ErasureList([ERASED], "9f2c1e6a0b7d4f3895ce1ab2d0347f619f2c1e6a0b7d4f3895ce1ab2d0347f61"),
    MentionList: MentionList([MentionFound(12, "message", "I am Jo Miller and", "2026-03-01T10:00:00Z")]),
    ErasureVerdict: ErasureVerdict("clean", "Clean: nothing of it is left.", ["Decrypted: 210 pages."]),
}
SENT: dict[str, Any] = {"/t/{name}/api/erasures/visitor": {"email": "jo@example.com"}}
