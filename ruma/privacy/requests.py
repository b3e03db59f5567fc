"""Requests about data that a person must answer, and by when.

The date is that of the General Data Protection Regulation (EU) 2016/679, Article 12(3): within one month of the
receipt, which two further months may extend where a request is complex, if who asks is told why within the first.
Months are counted as in Regulation (EEC, Euratom) 1182/71, Article 3: to the same day of the month, or to its last.
"""

import calendar
from datetime import UTC, date, datetime, timedelta

from ruma.errors import InputError
from ruma.tenant.conversing.inbox import clean_text
from ruma.tenant.conversing.requests import (
    KINDS,
    Origin,
    RequestKind,
    RequestState,
    RightsRequest,
    add_request,
    close_request,
    extend_request,
    list_requests,
    read_request,
    take_reminders,
)
from ruma.tenant.profile import clean_line
from ruma.tenant.tenant import Tenant

MONTHS, FURTHER_MONTHS = 1, 2
REMIND_DAYS = 7
"""So many days before the date of a request somebody is reminded of it."""

LONGEST_NOTE = 4000
REFUSED = "The visitor did this in the chat, and a legal hold on the conversation refused it."
"""What stands with a request that came so."""


def today() -> date:
    """Return the day it is, in UTC."""
    return datetime.now(UTC).date()


def months_after(day: date, months: int) -> date:
    """Return the day so many months later: of the same number, or the last of its month where there is none."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def receive_request(
    tenant: Tenant,
    *,
    kind: str,
    origin: Origin,
    contact: str = "",
    note: str = "",
    received_on: date | None = None,
    conversation_id: int | None = None,
) -> RightsRequest:
    """Enter a request with the date by which it must be answered, and return it.

    Args:
        tenant: Whose data it is about.
        kind: Which right is meant.
        origin: Who enters it.
        contact: How to reach who asks: an e-mail address, a telephone number, a postal address.
        note: What is asked, in their words.
        received_on: The day that it came; without it, today.
        conversation_id: The conversation that it came from.

    Raises:
        InputError: There is no such right, something is too long, nobody could be answered, or it came in the future.
    """
    wanted = _known(kind)
    contact = clean_line(contact, "contact")
    note = clean_text(note, "note", LONGEST_NOTE) if note.strip() else ""
    if not contact and conversation_id is None:
        raise InputError("Without a contact nobody can be answered.", hint="Give an e-mail address, for one.")
    received = received_on or today()
    if received > today() + timedelta(days=1):
        raise InputError(f"The request cannot have come on {received}: that is in the future.")
    return add_request(
        tenant,
        kind=wanted,
        origin=origin,
        contact=contact,
        text=note,
        received_on=received.isoformat(),
        due_on=months_after(received, MONTHS).isoformat(),
        conversation_id=conversation_id,
    )


def receive_refused(tenant: Tenant, *, kind: str, conversation_id: int, contact: str = "") -> RightsRequest | None:
    """Enter what a legal hold refuses a visitor, so that a person answers it, and return it.

    Returns:
        None where the same stands in the register and is open.
    """
    for one in list_requests(tenant).requests:
        if (one.kind, one.origin, one.conversation_id) == (kind, "visitor", conversation_id):
            return None
    return receive_request(
        tenant, kind=kind, origin="visitor", contact=contact, note=REFUSED, conversation_id=conversation_id
    )


def extend(tenant: Tenant, request_id: int, *, reason: str) -> RightsRequest:
    """Give a request two further months, and return it. Who asked must be told the reason within the first month.

    Raises:
        InputError: There is no reason, or it is too long.
        NotFoundError: There is no such request.
        ConflictError: It is closed, or was extended already.
    """
    reason = clean_text(reason, "reason", LONGEST_NOTE)
    found, _ = read_request(tenant, request_id)
    due = months_after(date.fromisoformat(found.received_on), MONTHS + FURTHER_MONTHS)
    return extend_request(tenant, request_id, due_on=due.isoformat(), reason=reason)


def close(tenant: Tenant, request_id: int, *, outcome: str, is_refused: bool = False) -> RightsRequest:
    """Close a request with what was done about it, or why it was refused, and return it.

    Raises:
        InputError: Nothing is said about the outcome, or it is too long.
        NotFoundError: There is no such request.
        ConflictError: It is closed already.
    """
    state: RequestState = "refused" if is_refused else "done"
    outcome = clean_text(outcome, "outcome", LONGEST_NOTE)
    return close_request(tenant, request_id, state=state, outcome=outcome)


def take_due_soon(tenant: Tenant) -> list[RightsRequest]:
    """Return the open requests that are due within a week or overdue, each of them once."""
    return take_reminders(tenant, (today() + timedelta(days=REMIND_DAYS)).isoformat())


def _known(kind: str) -> RequestKind:
    for one in KINDS:
        if one == kind:
            return one
    raise InputError(f"There is no request of the kind {kind[:80]!r}.", hint=f"Kinds: {', '.join(KINDS)}.")
