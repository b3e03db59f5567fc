"""What time it is as far as retention believes it, so that a clock that jumps removes nothing and keeps nothing.

The machine's count of seconds since it was started (which no clock setting moves) says how much time has gone at
least. A clock that is further ahead of that than it can be is believed when it has said so steadily for a day, or
when the operator says that it is right; until then time goes on by the count. Time never goes back.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sqlite_utils import Database

TOLERANCE_SECONDS = 3600.0
"""How far a clock may be set right, or summer time be mistaken, without a doubt."""

OFF_SECONDS = 2 * 86400.0
"""How long a machine may have been off without a doubt."""

STEADY_SECONDS = 86400.0
"""How long a clock that is far ahead must go on steadily before it is believed."""


@dataclass(frozen=True)
class Machine:
    """What the machine says: its clock, in seconds since 1970, and how long it has run since which start."""

    wall: float
    boot: str
    boot_seconds: float


@dataclass(frozen=True)
class Belief:
    """The time that is believed, in seconds since 1970."""

    now: float
    wall: float
    doubt: Literal["", "ahead", "behind"] = ""
    """Whether the clock is further ahead or behind than it can be."""
    doubt_ends_in: float = 0.0
    """After how many seconds a clock that is ahead is believed if it goes on so."""

    @property
    def careful(self) -> float:
        """The earlier of the time that is believed and the clock's."""
        return min(self.now, self.wall)


def read_machine() -> Machine:
    """Return what the machine says now."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return Machine(time.time(), boot, time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, AttributeError):
        # Without Linux's own names for it, each process counts for itself.
        return Machine(time.time(), f"process {id(time)}", time.monotonic())


def believe(db: "Database", machine: Machine, *, trusts_clock: bool = False) -> Belief:
    """Return what time it is, and note it, inside a write.

    Args:
        db: A connection that is writing.
        machine: What the machine says.
        trusts_clock: The operator says that the clock is right.
    """
    at, boot, seconds, *doubted = db.execute(
        "select believed_at, boot, boot_seconds, doubted_boot, doubted_seconds, doubted_offset from retention"
    ).fetchone()
    if not at:
        # The first time: no later than the newest thing that is stored allows, and no later than the clock says.
        at, boot = min(_newest(db) or machine.wall, machine.wall), ""
    is_same = boot == machine.boot and machine.boot_seconds >= seconds
    least = at + (machine.boot_seconds - seconds if is_same else 0.0)
    most = least + (TOLERANCE_SECONDS if is_same else OFF_SECONDS)
    belief = Belief(max(least, machine.wall), machine.wall)
    doubted_since = ("", 0.0, 0.0)
    if trusts_clock:
        belief = Belief(machine.wall, machine.wall)
        _move_marks(db, min(0.0, machine.wall - least))
    elif machine.wall < least - TOLERANCE_SECONDS:
        belief = Belief(least, machine.wall, "behind")
    elif machine.wall > most:
        offset = machine.wall - machine.boot_seconds
        is_steady = doubted[0] == machine.boot and abs(doubted[2] - offset) <= TOLERANCE_SECONDS
        doubted_since = tuple(doubted) if is_steady else (machine.boot, machine.boot_seconds, offset)
        left = doubted_since[1] + STEADY_SECONDS - machine.boot_seconds
        if left > 0:
            belief = Belief(least, machine.wall, "ahead", left)
        else:
            doubted_since = ("", 0.0, 0.0)
    db.execute(
        """update retention set believed_at = ?, boot = ?, boot_seconds = ?,
           doubted_boot = ?, doubted_seconds = ?, doubted_offset = ?""",
        [belief.now, machine.boot, machine.boot_seconds, *doubted_since],
    )
    return belief


def as_stored(seconds: float) -> str:
    """Return a time as most tables hold it, ISO 8601 in UTC; a time that no calendar has is the first that it has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "0001-01-01T00:00:00Z"


def from_stored(text: str) -> float:
    """Return a time of a table in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def _newest(db: "Database") -> float:
    asked = db.execute("select max(created_at) from message").fetchone()[0] or ""
    done = db.execute("select at from audit order by id desc limit 1").fetchone()
    newest = max(asked, done[0] if done else "")
    return from_stored(newest) if newest else 0.0


def _move_marks(db: "Database", seconds: float) -> None:
    """Let the marks stay as old as they were when the time that is believed is set back."""
    if seconds:
        rows = db.execute("select kind, at, last_id from retention_mark").fetchall()
        db.execute("delete from retention_mark")
        for kind, at, last_id in rows:
            db.execute("insert into retention_mark values (?, ?, ?)", [kind, at + seconds, last_id])
