"""The tenant's ledger of connections: what the program opened for it, and why."""

from contextlib import suppress
from dataclasses import dataclass

from ruma.connections import Attempt, Ending
from ruma.errors import RumaError
from ruma.tenant.audit import Actor, current_actor
from ruma.tenant.tenant import Tenant

READS_SOURCE = "a source is read"
"""Why a website is asked for a page that the tenant named as a source, or that such a website links to."""


@dataclass(frozen=True)
class Connection:
    """One connection that was opened for the tenant."""

    id: int
    attempt: Attempt
    ending: Ending
    actor: Actor
    """Whose action it was opened for."""


@dataclass(frozen=True)
class Recipient:
    """Where connections went, and how often."""

    host: str
    port: int
    purpose: str
    connections: int
    bytes_out: int
    bytes_in: int
    last_at: str


class TenantLedger:
    """Writes connections down in a tenant's database, as the action of whoever acts where this is made."""

    def __init__(self, tenant: Tenant) -> None:
        """Remember who acts: the connection may be opened later and by another thread."""
        self._tenant, self._actor = tenant, current_actor()

    def begin(self, attempt: Attempt) -> int:
        """Write a row, and return its number.

        Raises:
            NotFoundError: The tenant is gone, and nothing is opened for it any more.
            StoreError: The database cannot be written.
        """
        row = [attempt.at, attempt.purpose, attempt.host, attempt.port, self._actor.kind, self._actor.id]
        with self._tenant.writing() as db:
            sql = "insert into connection (at, purpose, host, port, actor_kind, actor_id) values (?, ?, ?, ?, ?, ?)"
            return int(db.execute(sql, row).lastrowid or 0)

    def end(self, number: int, ending: Ending) -> None:
        """Complete the row; where the tenant went meanwhile, so did the row."""
        row = [ending.outcome, ending.reason, ending.address, ending.bytes_out, ending.bytes_in, ending.milliseconds]
        with suppress(RumaError), self._tenant.writing() as db:
            db.execute(
                """update connection set outcome = ?, reason = ?, address = ?, bytes_out = ?, bytes_in = ?,
                   milliseconds = ? where id = ?""",
                [*row, number],
            )


def list_connections(tenant: Tenant, *, before: int | None = None, limit: int = 100) -> list[Connection]:
    """Return connections, the newest first; *before* takes only those with smaller numbers."""
    with tenant.reading() as db:
        rows = db.execute(
            """select id, at, purpose, host, port, outcome, reason, address, bytes_out, bytes_in, milliseconds,
               actor_kind, actor_id from connection where id < ? order by id desc limit ?""",
            [before or 2**62, limit],
        ).fetchall()
    return [Connection(row[0], Attempt(*row[1:5]), Ending(*row[5:11]), Actor(row[11], row[12])) for row in rows]


def list_recipients(tenant: Tenant) -> list[Recipient]:
    """Return everyone to whom a connection was opened for this tenant, and how much went there."""
    with tenant.reading() as db:
        rows = db.execute(
            """select host, port, purpose, count(*), sum(bytes_out), sum(bytes_in), max(at) from connection
               where outcome <> 'refused' group by host, port, purpose order by max(at) desc"""
        ).fetchall()
    return [Recipient(*row) for row in rows]
