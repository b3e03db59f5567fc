"""What has been kept for as long as the plan says, and its removal, a few rows at a time.

How old a row is, its date does not say alone: a clock may have been wrong when it was written. Marks, made once a
day, hold the highest number of each kind. What is numbered no higher is as old as the mark at least; what is numbered
higher is younger than it.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ruma.config import Plan
from ruma.tenant.audit import note, remove_oldest
from ruma.tenant.erasing.erasure import ask_erasure, marking_words
from ruma.tenant.keeping.believed_time import Belief, Machine, as_stored, believe
from ruma.tenant.keeping.holds import HELD, end_due_holds, forget_ended_holds, is_all_held
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

Kind = Literal["conversations", "technical", "audit", "exports", "receipts"]

DAY = 86400.0
BATCH_SECONDS = 0.02
"""How long one write of a removal goes on; storing it takes about as long again. Who chats waits for both."""

_AT_ONCE = 25
"""Conversations that one statement removes."""

_MARK_SECONDS = 20 * 3600.0


@dataclass(frozen=True)
class Limit:
    """What of a kind is over: numbered no higher than `sure`, or no higher than `most` and dated before `before`."""

    sure: int
    most: int
    before: float
    """Seconds since 1970."""

    @property
    def values(self) -> dict[str, Any]:
        """The limit as the statements name it."""
        return {"sure": self.sure, "most": self.most, "cut": as_stored(self.before)}


@dataclass(frozen=True)
class KindState:
    """How one kind stands against the plan."""

    kind: Kind
    days: int
    """What the plan promises at most."""
    records: int
    oldest_at: str | None
    oldest: str
    """The oldest, as a kind and a number; empty where there is none."""
    due: int
    """How many the next run removes."""
    due_oldest: tuple[str, ...]
    """The first of those, as kinds and numbers."""
    held: int = 0
    """How many are over, and kept because of a legal hold."""


@dataclass(frozen=True)
class LastRun:
    """The last time that the plan was enforced."""

    ran_at: str | None
    removed: dict[str, int]
    seconds_ago: float


def make_marks(db: "Database", belief: Belief) -> None:
    """Note, inside a write and once a day, what there is now."""
    newest = db.execute("select max(at) from retention_mark").fetchone()[0]
    if newest is None or belief.now - newest >= _MARK_SECONDS:
        for table in _marked(Plan()):
            last = db.execute(f"select coalesce(max(id), 0) from {table}").fetchone()[0]
            db.execute("insert or replace into retention_mark values (?, ?, ?)", [table, belief.now, last])


def drop_marks(db: "Database", plan: Plan, belief: Belief) -> None:
    """Forget, inside a write, the marks that are older than anything that is kept: of each kind the newest is left."""
    for table, days in _marked(plan).items():
        db.execute(
            """delete from retention_mark where kind = :kind and at < (
                   select max(at) from retention_mark where kind = :kind and at <= :cut)""",
            {"kind": table, "cut": belief.now - days * DAY},
        )


def limit_of(db: "Database", table: str, days: int, belief: Belief) -> Limit:
    """Return what of a table is over, inside a read or write."""
    cut = belief.now - days * DAY
    sql = "select last_id from retention_mark where kind = ? and at {} ? order by at {} limit 1"
    sure = db.execute(sql.format("<=", "desc"), [table, cut]).fetchone()
    most = db.execute(sql.format(">", "asc"), [table, cut]).fetchone()
    return Limit(sure[0] if sure else 0, most[0] if most else 2**62, belief.careful - days * DAY)


def describe_kinds(tenant: Tenant, plan: Plan, belief: Belief) -> tuple[KindState, ...]:
    """Return how each kind stands against the plan."""
    with tenant.reading() as db:
        return (
            _describe_conversations(db, plan.conversations, limit_of(db, "message", plan.conversations, belief)),
            _describe_rows(db, "technical", plan.technical, belief),
            _describe_rows(db, "audit", plan.audit, belief),
            _describe_rows(db, "exports", plan.exports, belief),
            _describe_rows(db, "receipts", plan.receipts, belief),
        )


def due_conversations(tenant: Tenant, days: int, belief: Belief) -> list[int]:
    """Return the conversations that are over and not held, by number."""
    with tenant.reading() as db:
        values = limit_of(db, "message", days, belief).values
        return [row[0] for row in db.execute(f"{_DUE} and not ({HELD}) order by id", values).fetchall()]


def remove_conversations(tenant: Tenant, due: Sequence[int], days: int, belief: Belief) -> tuple[int, int]:
    """Remove the first of these conversations, in one short write.

    Returns:
        How many were looked at, and how many of those went: one that was held, went or goes on meanwhile does not.
    """
    looked_at = removed = 0
    among = "id in (select value from json_each(:numbers))"
    sql = f"delete from conversation where {among} and not ({HELD}) and not {_NEWER} :most)"
    with tenant.writing() as db, marking_words(db):
        values, until = limit_of(db, "message", days, belief).values, time.monotonic() + BATCH_SECONDS
        for at in range(0, len(due), _AT_ONCE):
            numbers = list(due[at : at + _AT_ONCE])
            removed += db.execute(sql, {"numbers": json.dumps(numbers), **values}).rowcount
            looked_at += len(numbers)
            if time.monotonic() > until:
                break
        if removed:
            note(db, "retention.removed", "conversations", records=removed)
    return looked_at, removed


def remove_rows(tenant: Tenant, kind: Literal["technical", "receipts"], days: int, belief: Belief) -> int:
    """Remove what is over of a kind, and what has ended by itself; return how many rows the first were."""
    with tenant.writing() as db:
        if is_all_held(db):
            return 0
        removed = _delete_rows(db, kind, days, belief)
        if kind == "technical":
            for statement in _ENDED:
                db.execute(statement, {"yesterday": belief.careful - DAY, "future": belief.now + 2 * DAY})
        _note(db, kind, removed)
    return removed


def _delete_rows(db: "Database", kind: Kind, days: int, belief: Belief) -> int:
    removed = 0
    for one in _ROWS[kind]:
        values = _values(db, one, days, belief)
        removed += db.execute(f"{one.remove} where {one.is_there} and {_over(one)}", values).rowcount
    return removed


def due_exports(tenant: Tenant, days: int, belief: Belief) -> list[int]:
    """Return the exports that are over, by number: each has a file, so they are removed one by one."""
    (one,) = _ROWS["exports"]
    with tenant.reading() as db:
        if is_all_held(db):
            return []
        sql = f"select id from export where {one.is_there} and {_over(one)}"
        return [row[0] for row in db.execute(sql, _values(db, one, days, belief)).fetchall()]


def remove_audit(tenant: Tenant, days: int, belief: Belief) -> int:
    """Remove the entries of the audit log and of the ledger that are over, and return how many.

    What is left of the log can be checked still.
    """
    with tenant.writing() as db:
        if is_all_held(db):
            return 0
        removed = remove_oldest(db, _last_audit(db, limit_of(db, "audit", days, belief)))
        removed += _delete_rows(db, "audit", days, belief)
        _note(db, "audit", removed)
    return removed


def begin_run(tenant: Tenant, plan: Plan, machine: Machine, *, trusts_clock: bool) -> Belief:
    """Return what time a run goes by, after what goes by the day is done: marks are made, and holds end."""
    with tenant.writing() as db:
        belief = believe(db, machine, trusts_clock=trusts_clock)
        end_due_holds(db, as_stored(belief.careful)[:10])
        forget_ended_holds(db, as_stored(belief.careful - plan.audit * DAY))
        make_marks(db, belief)
    return belief


def end_run(tenant: Tenant, plan: Plan, belief: Belief, removed: dict[str, int]) -> None:
    """Note that everything that was over is gone."""
    with tenant.writing() as db:
        drop_marks(db, plan, belief)
        counts = json.dumps({kind: count for kind, count in removed.items() if count})
        db.execute("update retention set ran_at = ?, removed = ?", [belief.now, counts])


def keep_time(tenant: Tenant, machine: Machine) -> Belief:
    """Note how time goes on, and return what is believed of it."""
    with tenant.writing() as db:
        return believe(db, machine)


def read_last_run(tenant: Tenant, belief: Belief) -> LastRun:
    """Return when the plan was enforced last, and what went then."""
    with tenant.reading() as db:
        ran_at, removed = db.execute("select ran_at, removed from retention").fetchone()
    return LastRun(as_stored(ran_at) if ran_at else None, json.loads(removed), belief.now - ran_at)


_NEWER = "exists (select 1 from message where conversation_id = conversation.id and id >"
# The first half finds by the date, with an index. The other is for those whose date lies in the future, as they were
# written while the clock was ahead: only these, and those that are held, still have messages of such low numbers.
_DUE = f"""select id from conversation where id in (
    select id from conversation where last_at < :cut and not {_NEWER} :most)
    union
    select conversation_id from message as old where id <= :sure
        and not exists (select 1 from message where conversation_id = old.conversation_id and id > :sure))"""


@dataclass(frozen=True)
class _Rows:
    """What one table has of a kind, as pieces of SQL."""

    table: str
    name: str
    """What one of them is called, in front of its number."""
    date: str
    """Since when it is kept, as ISO 8601."""
    remove: str = ""
    is_there: str = "true"
    number: str = "id"


_ATTEMPTS = _Rows("attempt", "try", "noted_at", "delete from attempt", number="")
_ROWS: dict[str, tuple[_Rows, ...]] = {
    "technical": (
        _Rows("session", "session", "strftime('%Y-%m-%dT%H:%M:%SZ', started_at, 'unixepoch')", "delete from session"),
        _ATTEMPTS,
        _Rows(
            "upload",
            "upload",
            "added_at",
            "update upload set added_by = ''",
            "added_by <> '' and state in ('done', 'failed')",
        ),
    ),
    "exports": (_Rows("export", "export", "coalesce(made_at, asked_at)", is_there="state in ('done', 'failed')"),),
    "receipts": (
        _Rows("rights_request", "request", "closed_at", "delete from rights_request", "closed_at is not null"),
        _Rows("erasure", "receipt", "asked_at", "delete from erasure", "receipt is not null"),
    ),
    "audit": (_Rows("connection", "connection", "at", "delete from connection"),),
}
"""What is removed row by row. Conversations go with all that hangs on them, and the audit log from its start."""

_ENDED = (
    "delete from link where ends_at < :yesterday",
    "delete from visitor_link where ends_at < :yesterday",
    "delete from kept_response where kept_at < :yesterday or kept_at > :future",
)
"""What had its own, shorter time, should nobody have come by to end it."""


def _marked(plan: Plan) -> dict[str, int]:
    """Return the tables whose numbers marks hold, and for how many days each is kept."""
    rows = {one.table: int(getattr(plan, kind)) for kind, found in _ROWS.items() for one in found if one.number}
    return {**rows, "message": plan.conversations, "audit": plan.audit}


def _over(one: _Rows) -> str:
    if not one.number:
        # Without a number only the date is left; one in the future is of a clock that was wrong.
        return f"({one.date} < :cut or {one.date} > :future)"
    return f"({one.number} <= :sure or ({one.number} <= :most and {one.date} < :cut))"


def _values(db: "Database", one: _Rows, days: int, belief: Belief) -> dict[str, Any]:
    return {**limit_of(db, one.table, days, belief).values, "future": as_stored(belief.now + 2 * DAY)}


def _describe_conversations(db: "Database", days: int, limit: Limit) -> KindState:
    records, oldest_at = db.execute("select count(*), min(last_at) from conversation").fetchone()
    oldest = db.execute("select id from conversation where last_at = ? order by id limit 1", [oldest_at]).fetchone()
    due, held = (
        [row[0] for row in db.execute(f"{_DUE} and {condition} order by last_at, id", limit.values).fetchall()]
        for condition in (f"not ({HELD})", f"({HELD})")
    )
    return KindState(
        "conversations",
        days,
        records,
        oldest_at,
        f"conversation {oldest[0]}" if oldest else "",
        len(due),
        tuple(f"conversation {one}" for one in due[:5]),
        len(held),
    )


def _describe_rows(db: "Database", kind: Kind, days: int, belief: Belief) -> KindState:
    records, oldest, due = 0, list[tuple[str, str]](), list[tuple[str, str]]()
    if kind == "audit":
        records, oldest, due = _find_entries(db, limit_of(db, "audit", days, belief))
    for one in _ROWS[kind]:
        records += db.execute(f"select count(*) from {one.table} where {one.is_there}").fetchone()[0]
        name = f"'{one.name} ' || {one.number}" if one.number else f"'{one.name}'"
        there = f"select {one.date}, {name} from {one.table} where {one.is_there}"
        oldest += db.execute(f"{there} order by 1 limit 1").fetchall()
        due += db.execute(f"{there} and {_over(one)}", _values(db, one, days, belief)).fetchall()
    at, found = min(oldest, default=(None, ""))
    if is_all_held(db):
        return KindState(kind, days, records, at, found, 0, (), len(due))
    return KindState(kind, days, records, at, found, len(due), tuple(name for _, name in sorted(due)[:5]))


def _find_entries(db: "Database", limit: Limit) -> tuple[int, list[tuple[str, str]], list[tuple[str, str]]]:
    """Return how many entries the audit log has, the oldest, and those that are over."""
    there = "select at, 'entry ' || id from audit"
    records = db.execute("select count(*) from audit").fetchone()[0]
    oldest = db.execute(f"{there} order by id limit 1").fetchall()
    return records, oldest, db.execute(f"{there} where id <= ?", [_last_audit(db, limit)]).fetchall()


def _last_audit(db: "Database", limit: Limit) -> int:
    """Return the number of the last entry that is over: the log is cut there, so all before it must be over too."""
    first_kept = db.execute("select id from audit where at >= :cut or id > :most order by id limit 1", limit.values)
    row = first_kept.fetchone()
    last = row[0] - 1 if row else (db.execute("select max(id) from audit").fetchone()[0] or 0)
    return max(last, limit.sure)


def _note(db: "Database", kind: Kind, removed: int) -> None:
    if removed:
        note(db, "retention.removed", kind, records=removed)
        ask_erasure(db)
