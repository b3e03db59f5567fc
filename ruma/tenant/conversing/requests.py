"""The register of what people ask about their data and a person must answer: each with its date, and who did what."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ruma.errors import ConflictError, NotFoundError
from ruma.tenant.audit import current_actor, note
from ruma.tenant.clock import now
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

RequestKind = Literal["access", "correction", "deletion", "export", "withdrawal", "objection"]
KINDS: tuple[RequestKind, ...] = get_args(RequestKind)
Origin = Literal["visitor", "member", "operator"]
RequestState = Literal["open", "done", "refused"]
STATES: tuple[RequestState, ...] = get_args(RequestState)

_COLUMNS = """id, kind, origin, contact, note, conversation_id, received_on, due_on, extended_because, state, closed_at,
    outcome"""


@dataclass(frozen=True)
class RightsRequest:
    """One request. Dates are days, as 2026-03-31."""

    id: int
    kind: RequestKind
    origin: Origin
    """Who entered it: the visitor through the widget, or who got it by mail."""
    contact: str
    """How to reach who asks."""
    note: str
    conversation_id: int | None
    """The conversation that it came from, while that is there."""
    received_on: str
    due_on: str
    extended_because: str
    """Why it takes longer than a month; empty where it does not."""
    state: RequestState
    closed_at: str | None
    outcome: str


@dataclass(frozen=True)
class RequestStep:
    """Something that was done about a request."""

    at: str
    by: str
    """A member or a key by number, as `member 3`; or `visitor`, `operator`."""
    what: str
    note: str


@dataclass(frozen=True)
class RequestCounts:
    """How many requests are open, and how many of those are overdue."""

    open: int
    overdue: int


def add_request(
    tenant: Tenant,
    *,
    kind: RequestKind,
    origin: Origin,
    contact: str,
    text: str,
    received_on: str,
    due_on: str,
    conversation_id: int | None = None,
) -> RightsRequest:
    """Enter a request, and return it."""
    with tenant.writing() as db:
        stored = db.execute(
            """insert into rights_request (kind, origin, contact, note, conversation_id, received_on, due_on)
               values (?, ?, ?, ?, ?, ?, ?)""",
            [kind, origin, contact, text, conversation_id, received_on, due_on],
        )
        number = stored.lastrowid or 0
        _step(db, number, "received")
        note(db, "request.received", f"request {number}", kind=kind)
        return _read(db, number)


@dataclass(frozen=True)
class RequestPage:
    """Some of the requests in their order, and how many there are in all."""

    requests: tuple[RightsRequest, ...]
    total: int


def list_requests(
    tenant: Tenant, *, with_closed: bool = False, offset: int = 0, limit: int | None = None
) -> RequestPage:
    """Return requests: the open ones by their dates, then the closed ones where asked for, the newest first.

    Args:
        tenant: Whose register it is.
        with_closed: Whether closed requests are among them.
        offset: How many in that order come before the first one that is returned.
        limit: How many are returned at most; None returns all.
    """
    where = "true" if with_closed else "state = 'open'"
    with tenant.reading() as db:
        total = db.execute(f"select count(*) from rights_request where {where}").fetchone()[0]
        rows = db.execute(
            f"""select {_COLUMNS} from rights_request where {where}
                order by state <> 'open', iif(state = 'open', due_on, null), closed_at desc,
                iif(state = 'open', id, -id) limit ? offset ?""",
            [-1 if limit is None else limit, offset],
        ).fetchall()
    return RequestPage(tuple(RightsRequest(*row) for row in rows), total)


def read_request(tenant: Tenant, request_id: int) -> tuple[RightsRequest, list[RequestStep]]:
    """Return a request and what was done about it, the oldest first.

    Raises:
        NotFoundError: There is none of that number.
    """
    with tenant.reading() as db:
        rows = db.execute(
            "select at, by, what, note from rights_request_step where request_id = ? order by id", [request_id]
        ).fetchall()
        return _read(db, request_id), [RequestStep(*row) for row in rows]


def extend_request(tenant: Tenant, request_id: int, *, due_on: str, reason: str) -> RightsRequest:
    """Give a request a later date, once.

    Raises:
        NotFoundError: There is none of that number.
        ConflictError: It is closed, or was extended already.
    """
    with tenant.writing() as db:
        found = _read_open(db, request_id)
        if found.extended_because:
            raise ConflictError(f"The request {request_id} was extended already, and it can be only once.")
        db.execute(
            "update rights_request set due_on = ?, extended_because = ?, is_reminded = 0 where id = ?",
            [due_on, reason, request_id],
        )
        _step(db, request_id, "extended", reason)
        note(db, "request.extended", f"request {request_id}")
        return _read(db, request_id)


def close_request(tenant: Tenant, request_id: int, *, state: RequestState, outcome: str) -> RightsRequest:
    """Close a request, and return it.

    Raises:
        NotFoundError: There is none of that number.
        ConflictError: It is closed already.
    """
    with tenant.writing() as db:
        _read_open(db, request_id)
        db.execute(
            "update rights_request set state = ?, outcome = ?, closed_at = ? where id = ?",
            [state, outcome, now(), request_id],
        )
        _step(db, request_id, state, outcome)
        note(db, "request.closed", f"request {request_id}", state=state)
        return _read(db, request_id)


def count_requests(tenant: Tenant, today: str) -> RequestCounts:
    """Return how many requests are open and how many are overdue: quick enough for every page."""
    with tenant.reading() as db:
        row = db.execute(
            "select count(*), coalesce(sum(due_on < ?), 0) from rights_request where state = 'open'", [today]
        ).fetchone()
    return RequestCounts(*row)


def take_reminders(tenant: Tenant, until: str) -> list[RightsRequest]:
    """Return the open requests that are due by a day and nobody was reminded of, and note that somebody is now."""
    with tenant.reading() as db:
        due = "state = 'open' and due_on <= ? and not is_reminded"
        if not db.execute(f"select 1 from rights_request where {due} limit 1", [until]).fetchone():
            return []
    with tenant.writing() as db:
        rows = db.execute(f"select {_COLUMNS} from rights_request where {due} order by due_on, id", [until]).fetchall()
        db.execute(f"update rights_request set is_reminded = 1 where {due}", [until])
    return [RightsRequest(*row) for row in rows]


def _read(db: "Database", request_id: int) -> RightsRequest:
    row = db.execute(f"select {_COLUMNS} from rights_request where id = ?", [request_id]).fetchone()
    if row is None:
        raise NotFoundError(f"There is no request {request_id}.", hint="`ruma requests list` lists them.")
    return RightsRequest(*row)


def _read_open(db: "Database", request_id: int) -> RightsRequest:
    found = _read(db, request_id)
    if found.state != "open":
        raise ConflictError(f"The request {request_id} is closed already.")
    return found


def _step(db: "Database", request_id: int, what: str, text: str = "") -> None:
    actor = current_actor()
    by = f"{actor.kind} {actor.id}" if actor.id else actor.kind
    db.execute(
        "insert into rights_request_step (request_id, at, by, what, note) values (?, ?, ?, ?, ?)",
        [request_id, now(), by, what, text],
    )
