"""What the API takes and gives about what is kept, legal holds and the audit log, with an example of each."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ruma.config import KINDS, Plan
from ruma.privacy.retention import Kept
from ruma.tenant.audit import AuditCheck, AuditEntry
from ruma.tenant.keeping.holds import Hold
from ruma.tenant.keeping.retention import Kind


@dataclass(frozen=True)
class PlanDays:
    """For how many days what is stored is kept at most."""

    name: str
    conversations: int
    technical: int
    audit: int
    exports: int
    receipts: int


@dataclass(frozen=True)
class KindKept:
    """One kind beside what the plan promises. The oldest is the proof that it is kept no longer."""

    kind: Kind
    days: int
    records: int
    oldest_at: str | None
    oldest: str
    due: int
    """How many the next run removes."""
    held: int
    """How many are over, and stay because of a legal hold."""


@dataclass(frozen=True)
class HoldInfo:
    """A legal hold: what must be kept, whatever the plan or anybody says."""

    id: int
    conversation_id: int | None
    """The conversation that is kept; null keeps everything."""
    reason: str
    set_by: str
    """`member 3`, `key 2` or `operator`."""
    set_at: str
    until: str | None
    """The last day; null goes on until somebody ends it."""
    ended_at: str | None


@dataclass(frozen=True)
class RetentionState:
    """What is kept, for how long that is promised, and what was removed last."""

    plan: PlanDays
    """The days in force: the operator's plan, or fewer where an owner chose so."""
    is_plan_known: bool
    """Whether the operator has that plan still; else it goes on as it was last."""
    kinds: list[KindKept]
    holds: list[HoldInfo]
    last_run_at: str | None
    removed: dict[str, int]
    next_run_at: str | None
    clock: Literal["right", "ahead", "behind"]
    """Whether the machine's clock can be right; nothing is removed by one that cannot."""


@dataclass(frozen=True)
class DaysChange:
    """Fewer days than the operator's plan has; what is left out stays, and the plan's own number undoes it."""

    conversations: int | None = None
    technical: int | None = None
    audit: int | None = None
    exports: int | None = None
    receipts: int | None = None


@dataclass(frozen=True)
class NewHold:
    """What must be kept, and why."""

    reason: str
    conversation_id: int | None = None
    until: str | None = None
    """The last day, as 2026-12-31."""


@dataclass(frozen=True)
class HoldList:
    """The holds, the newest first."""

    holds: list[HoldInfo]


@dataclass(frozen=True)
class AuditEntryInfo:
    """One thing that was done. Nobody's name and no text stands in it."""

    id: int
    at: str
    actor: str
    """`member 3`, `key 2`, `operator`, `visitor` or `ruma`."""
    actor_name: str
    """The member's or the key's name now; empty where they are gone, or there is none."""
    network: str
    action: str
    subject: str
    hash: str
    details: dict[str, str | int | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditPage:
    """Entries, the newest first; `before` of the next page is the number of the last."""

    entries: list[AuditEntryInfo]


@dataclass(frozen=True)
class AuditState:
    """What computing the hash of every entry anew has found."""

    is_whole: bool
    entries: int
    removed: int
    """How many of the oldest went because their time was over."""
    head: str
    """The hash of the newest entry: written down elsewhere, it shows later that nothing was taken off the end."""
    broken_at: int | None
    has_head: bool | None
    """Whether there is an entry of the hash that was asked for; null where none was."""


def plan_of(plan: Plan) -> PlanDays:
    """Return a plan as the API shows it."""
    return PlanDays(plan.name, *(getattr(plan, kind) for kind in KINDS))


def hold_of(hold: Hold) -> HoldInfo:
    """Return a hold as the API shows it."""
    set_by = f"{hold.set_by_kind} {hold.set_by_id}" if hold.set_by_id else hold.set_by_kind
    return HoldInfo(hold.id, hold.conversation_id, hold.reason, set_by, hold.set_at, hold.until, hold.ended_at)


def state_of(kept: Kept) -> RetentionState:
    """Return what is kept as the API shows it."""
    kinds = [
        KindKept(one.kind, one.days, one.records, one.oldest_at, one.oldest, one.due, one.held) for one in kept.kinds
    ]
    return RetentionState(
        plan_of(kept.plan),
        kept.is_plan_known,
        kinds,
        [hold_of(one) for one in kept.holds],
        kept.last_run.ran_at,
        kept.last_run.removed,
        kept.next_run_at,
        kept.belief.doubt or "right",
    )


def entry_of(entry: AuditEntry, names: dict[tuple[str, int], str]) -> AuditEntryInfo:
    """Return an entry as the API shows it, with the name that its actor has now."""
    name = names.get((entry.actor.kind, entry.actor.id), "")
    return AuditEntryInfo(
        entry.id,
        entry.at,
        entry.actor.label,
        name,
        entry.actor.network,
        entry.action,
        entry.subject,
        entry.hash,
        entry.details,
    )


def check_of(check: AuditCheck) -> AuditState:
    """Return a check as the API shows it."""
    is_whole = check.broken_at is None and check.has_head is not False
    return AuditState(is_whole, check.entries, check.removed, check.head, check.broken_at, check.has_head)


_AT, _HASH = "2026-03-02T09:15:04Z", "7d0c6c3f0a5b1e7c59a8a4f1b0a2d6e3f4c5b6a79881726354a5b6c7d8e9f001"
_HOLD = HoldInfo(1, 12, "Case 4711, asked for by the court", "member 1", _AT, "2026-12-31", None)
_ENTRY = AuditEntryInfo(
    118,
    _AT,
    "member 1",
    "Ada Miller",
    "203.0.113.0/24",
    "role.changed",
    "member 2",
    _HASH,
    {"before": "editor", "role": "viewer"},
)

EXAMPLES: dict[type, Any] = {
    RetentionState: RetentionState(
        PlanDays("standard", 180, 30, 365, 7, 1095),
        True,
        [KindKept("conversations", 180, 2412, "2025-09-04T11:20:09Z", "conversation 291", 3, 0)],
        [_HOLD],
        "2026-03-01T03:10:00Z",
        {"conversations": 14},
        "2026-03-02T03:10:00Z",
        "right",
    ),
    HoldInfo: _HOLD,
    HoldList: HoldList([_HOLD]),
    AuditPage: AuditPage([_ENTRY]),
    AuditState: AuditState(True, 118, 0, _HASH, None, None),
}
SENT: dict[str, Any] = {
    "/t/{name}/api/retention": {"conversations": 90},
    "/t/{name}/api/holds": {"reason": _HOLD.reason, "conversation_id": 12, "until": "2026-12-31"},
}
EXPORTED = (
    '{"id": 1, "at": "2026-03-02T09:15:04Z", "actor": {"kind": "operator", "id": 0, "network": ""}, '
    '"action": "tenant.created", "subject": "", "details": {}, "hash": "7d0c6c3f…"}\n'
)
"""A line of an export of the audit log."""
