"""Slows down whoever guesses at a secret, by account and by network, and locks nobody out.

After some failures each further one must wait, twice as long each time up to a limit. Time is the machine's monotonic
clock, and what is stored is the wait that is left: neither a restart nor a clock that jumps shortens it. Who has
signed in from a network before goes in a lane of their own, so that strangers who guess at an account delay each
other and not its owner.

No flood of made-up accounts makes a failure forgotten: where there are too many records, those with the fewest
failures are folded into some that many share, and whoever comes anew begins where theirs stands.
"""

import heapq
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from ruma.errors import NotFoundError, SignInError, TooManyError
from ruma.tenant.audit import note
from ruma.tenant.clock import now
from ruma.tenant.people.networks import network_of
from ruma.tenant.tenant import Tenant

What = Literal["sign-in", "second-step", "reset", "link", "api-key", "conversation", "request", "visitor-link"]
FREE_ACCOUNT, FREE_NETWORK = 5, 20
"""Failures after which waiting begins: people mistype, and an office shares one network."""

LONGEST_WAIT = 60.0
_LONGEST_SECOND_STEP = 600.0
"""A code has six digits, so guessing must be slower: whoever guesses knows the password already."""

_FORGET_AFTER = 24 * 3600.0
_MOST = 10_000
_SHARED = 4096
_SHARED_NAME = b"shared"
_KNOWN_DAYS = 90
_NOTED_AN_HOUR = 60
_FAILED: dict[What, str] = {"sign-in": "sign-in.failed", "second-step": "second-step.failed"}
_opening = threading.Lock()


@dataclass
class _Record:
    failures: int
    ready_at: float
    noted_at: float

    def take_up(self, other: "_Record") -> None:
        """Be at least as strict as another record."""
        self.failures = max(self.failures, other.failures)
        self.ready_at = max(self.ready_at, other.ready_at)
        self.noted_at = max(self.noted_at, other.noted_at)


@dataclass(frozen=True)
class _Booking:
    subject: bytes
    free: int
    longest: float
    before: float
    """When the next try was allowed before this one was booked."""
    after: float


class Attempts:
    """The failed tries of one tenant: all of them in memory, each failure also in the tenant's database."""

    def __init__(self, tenant: Tenant) -> None:
        """Take up the waits that were left when the tenant was closed."""
        self._lock = threading.Lock()
        self._noted: deque[float] = deque()
        started = time.monotonic()
        with tenant.writing() as db:
            oldest = f"-{_KNOWN_DAYS} days"
            db.execute(
                "delete from attempt where not failures and noted_at < strftime('%Y-%m-%dT%H:%M:%SZ', 'now', ?)",
                [oldest],
            )
            rows = db.execute("select subject, failures, wait_seconds from attempt order by noted_at").fetchall()
        self._known = dict.fromkeys(row[0] for row in rows if not row[1])  # the oldest stand first
        self._records: dict[bytes, _Record] = {}
        self._shared: dict[bytes, _Record] = {}
        for subject, failures, wait in rows:
            if failures:
                kept = self._shared if subject.startswith(_SHARED_NAME) else self._records
                kept[subject] = _Record(failures, started + wait, started)

    def is_known(self, subject: bytes) -> bool:
        """Tell whether somebody has signed in who is remembered so."""
        return subject in self._known

    def book(self, lanes: list[tuple[bytes, int]], longest: float) -> list[_Booking]:
        """Count a try in each lane before it is made, so that fifty at once are not all the first.

        Raises:
            TooManyError: One of the lanes must still wait; nothing is counted.
        """
        time_now = time.monotonic()
        with self._lock:
            ready_at = max(self._ready_at(subject, time_now) for subject, _ in lanes)
            if ready_at > time_now:
                raise _too_many(ready_at - time_now)
            return [self._count(subject, free, longest, time_now) for subject, free in lanes]

    def take_back(self, booking: _Booking) -> None:
        """Uncount a try that was no failure."""
        with self._lock:
            record = self._records.get(booking.subject)
            if record is None:
                return
            record.failures -= 1
            if record.ready_at == booking.after:
                record.ready_at = booking.before
            if record.failures <= 0:
                del self._records[booking.subject]

    def forget(self, subject: bytes) -> bool:
        """Forget a lane's failures, and tell whether there was more than the try that was booked."""
        with self._lock:
            record = self._records.pop(subject, None)
        return record is not None and record.failures > 1

    def remember(self, subject: bytes) -> list[bytes]:
        """Know who signed in, and return who is known no more, beyond the most that are."""
        with self._lock:
            self._known[subject] = None
            forgotten = list(self._known)[: max(0, len(self._known) - _MOST)]
            for one in forgotten:
                del self._known[one]
        return forgotten

    def rows(self, subjects: list[bytes]) -> list[tuple[bytes, int, float]]:
        """Return what is to be stored of some records: their failures, and the wait that is left."""
        time_now = time.monotonic()
        with self._lock:
            found = [(one, self._records.get(one) or self._shared.get(one)) for one in subjects]
            return [(subject, one.failures, max(0.0, one.ready_at - time_now)) for subject, one in found if one]

    def take_note(self, subject: bytes) -> bool:
        """Tell whether the newest failure of a lane is to stand in the audit log.

        The first, second, fourth, eighth … do, and so many an hour in all: guessing must not fill the log.
        """
        time_now = time.monotonic()
        with self._lock:
            record = self._records.get(subject)
            while self._noted and time_now - self._noted[0] > 3600:
                self._noted.popleft()
            is_due = record is not None and record.failures & (record.failures - 1) == 0
            if is_due and len(self._noted) < _NOTED_AN_HOUR:
                self._noted.append(time_now)
                return True
            return False

    def fold(self) -> tuple[list[bytes], list[bytes]]:
        """Fold the records with the fewest failures into shared ones where there are too many.

        Returns:
            Which records are no more, and which shared ones took them up.
        """
        with self._lock:
            if len(self._records) <= _MOST:
                return [], []
            # A tenth more than must go, so that a flood is not sorted again for each of its tries.
            count = len(self._records) - _MOST + _MOST // 10
            folded = heapq.nsmallest(count, self._records, key=lambda one: self._records[one].failures)
            for subject in folded:
                record = self._records.pop(subject)
                self._shared.setdefault(_share_of(subject), _Record(0, 0.0, 0.0)).take_up(record)
        return folded, list({_share_of(subject) for subject in folded})

    def _find(self, subject: bytes, time_now: float) -> _Record | None:
        record = self._records.get(subject) or self._shared.get(_share_of(subject))
        if record is not None and time_now - record.noted_at > _FORGET_AFTER:
            record.failures, record.ready_at = 0, 0.0
        return record

    def _ready_at(self, subject: bytes, time_now: float) -> float:
        record = self._find(subject, time_now)
        return record.ready_at if record is not None else 0.0

    def _count(self, subject: bytes, free: int, longest: float, time_now: float) -> _Booking:
        found = self._find(subject, time_now) or _Record(0, 0.0, time_now)
        before = found.ready_at
        record = _Record(found.failures + 1, before, time_now)
        if record.failures >= free:
            record.ready_at = time_now + min(2.0 ** min(record.failures - free, 20), longest)
        self._records[subject] = record
        return _Booking(subject, free, longest, before, record.ready_at)


def _share_of(subject: bytes) -> bytes:
    # Of a keyed hash, so that nobody can choose whose record theirs is folded into.
    return _SHARED_NAME + (int.from_bytes(subject[:4], "big") % _SHARED).to_bytes(2, "big")


@contextmanager
def guard_attempt(tenant: Tenant, what: What, *, account: str = "", address: str) -> Iterator[None]:
    """Make one try at a secret inside; a SignInError or NotFoundError that leaves it counts as a failure.

    A success makes the account's failures forgotten, but not the network's: else whoever has an account could
    guess at others' as fast as they like.

    Raises:
        TooManyError: It came too soon after failures from there, or at that account; nothing was tried.
    """
    attempts, network = _attempts_of(tenant), network_of(address)
    known = _subject(tenant, what, "known", account, network)
    lane = "known" if account and attempts.is_known(known) else "any"
    of_network = _subject(tenant, what, lane, "", network)
    lanes = [(of_network, FREE_NETWORK)]
    if account:
        lanes.append((_subject(tenant, what, lane, account, ""), FREE_ACCOUNT))
    longest = _LONGEST_SECOND_STEP if what == "second-step" else LONGEST_WAIT
    bookings = attempts.book(lanes, longest)
    try:
        yield
    except (SignInError, NotFoundError):
        _store(tenant, attempts, [booking.subject for booking in bookings], noted=_FAILED.get(what, ""))
        raise
    except BaseException:
        for booking in bookings:
            attempts.take_back(booking)
        raise
    attempts.take_back(bookings[0])
    if account:
        _welcome(tenant, attempts, bookings[1].subject, known if what == "sign-in" else None)


def note_wrong_secret(tenant: Tenant, what: What, *, address: str) -> None:
    """Count a secret of 256 bits that was wrong: an API key, a link, a conversation's secret.

    Only wrong ones are ever refused here. Such secrets cannot be guessed, and one program with a revoked key must
    not shut out the others of its network.

    Raises:
        TooManyError: There were many of them from that network.
    """
    count_attempt(tenant, what, address=address)


def count_attempt(tenant: Tenant, what: What, *, account: str = "", address: str) -> None:
    """Count what must not be done often, whether it succeeds or not: a mail that is asked for.

    Raises:
        TooManyError: It was asked for too often from that network, or for that account.
    """
    attempts = _attempts_of(tenant)
    lanes = [(_subject(tenant, what, "any", "", network_of(address)), FREE_NETWORK)]
    if account:
        lanes.append((_subject(tenant, what, "any", account, ""), FREE_ACCOUNT))
    attempts.book(lanes, LONGEST_WAIT)
    _store(tenant, attempts, [subject for subject, _ in lanes])


def _attempts_of(tenant: Tenant) -> Attempts:
    with _opening:
        if tenant.attempts is None:
            tenant.attempts = Attempts(tenant)
        return tenant.attempts


def _welcome(tenant: Tenant, attempts: Attempts, account: bytes, known: bytes | None) -> None:
    had_failures = attempts.forget(account)
    is_new = known is not None and not attempts.is_known(known)
    gone = attempts.remember(known) if known is not None and is_new else []
    if had_failures or is_new:
        with tenant.writing() as db:
            for subject in (account, *gone):
                db.execute("delete from attempt where subject = ?", [subject])
            if is_new:
                db.execute("insert or replace into attempt values (?, 0, 0.0, ?)", [known, now()])


def _store(tenant: Tenant, attempts: Attempts, subjects: list[bytes], *, noted: str = "") -> None:
    folded, shared = attempts.fold()
    with tenant.writing() as db:
        if noted and attempts.take_note(subjects[0]):
            note(db, noted, "", failures=attempts.rows(subjects[:1])[0][1])
        for row in attempts.rows([*subjects, *shared]):
            db.execute("insert or replace into attempt values (?, ?, ?, ?)", [*row, now()])
        for subject in folded:
            db.execute("delete from attempt where subject = ?", [subject])


def _subject(tenant: Tenant, *parts: str) -> bytes:
    # Keyed, so that nobody can try addresses against what is stored.
    return tenant.page_key.derive(b"ruma attempt", "\0".join(parts).encode("utf-8", "replace"))


def _too_many(seconds: float) -> TooManyError:
    shown = max(1, round(seconds + 0.5))
    said = "1 second" if shown == 1 else f"{shown} seconds"
    return TooManyError(f"Too many tries. Wait {said} and try again.", retry_seconds=seconds)
