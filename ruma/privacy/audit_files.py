"""The audit log as a file that can be taken elsewhere: a JSON value a line, or a table."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from typing import Literal

from ruma.privacy.conversation_files import neutral_cell
from ruma.tenant.audit import ActorKind, AuditEntry, list_audit, note_now
from ruma.tenant.tenant import Tenant

AuditFormat = Literal["jsonl", "csv"]

_AT_ONCE = 5000
_COLUMNS = ("entry", "at", "actor", "network", "action", "subject", "details", "hash")


def export_audit(
    tenant: Tenant,
    form: AuditFormat,
    *,
    thing: str = "",
    actor: tuple[ActorKind, int] | None = None,
    subject: str = "",
    since: date | None = None,
    until: date | None = None,
) -> bytes:
    """Return the entries to which all of this applies, the oldest first; that they were taken out is an entry itself.

    As JSON, each line has all that its hash is made of; in a table, cells that would calculate begin with a quote.
    """
    note_now(tenant, "audit.exported", format=form)
    found = list(_read(tenant, thing, actor, subject, since, until))
    found.reverse()
    if form == "jsonl":
        return "".join(json.dumps(asdict(one), ensure_ascii=True) + "\n" for one in found).encode()
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(_COLUMNS)
    for one in found:
        details = " ".join(f"{name}={value}" for name, value in one.details.items())
        row = [str(one.id), one.at, one.actor.label, one.actor.network, one.action, one.subject, details, one.hash]
        table.writerow([neutral_cell(cell) for cell in row])
    return written.getvalue().encode()


def _read(
    tenant: Tenant,
    thing: str,
    actor: tuple[ActorKind, int] | None,
    subject: str,
    since: date | None,
    until: date | None,
) -> Iterator[AuditEntry]:
    before: int | None = None
    while True:
        part = list_audit(
            tenant,
            before=before,
            limit=_AT_ONCE,
            thing=thing,
            actor=actor,
            subject=subject,
            since=since,
            until=until,
        )
        yield from part
        if len(part) < _AT_ONCE:
            return
        before = part[-1].id
