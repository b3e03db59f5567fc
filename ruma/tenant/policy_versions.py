"""Every text of the privacy policy that was ever in force, and what its last check found."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ruma.errors import NotFoundError
from ruma.tenant.audit import note
from ruma.tenant.clock import now
from ruma.tenant.tenant import Tenant


@dataclass(frozen=True)
class Version:
    """One text of the policy, in force from its time on until the next one's."""

    id: int
    since: str
    text: str
    """As Markdown, without its date."""


@dataclass(frozen=True)
class LastCheck:
    """What the last check of the policy found."""

    checked_at: str
    findings: list[dict[str, Any]]

    @property
    def is_true(self) -> bool:
        """Whether no statement was found untrue."""
        return all(finding["is_true"] is not False for finding in self.findings)


def note_version(tenant: Tenant, text: str) -> Version:
    """Keep a text of the policy where it is another than the last one, and return the version in force."""
    body_hash = hashlib.sha256(text.encode()).digest()
    with tenant.reading() as db:
        last = db.execute("select id, since, body_hash from policy_version order by id desc limit 1").fetchone()
    if last and last[2] == body_hash:
        return Version(last[0], last[1], text)
    with tenant.writing() as db:
        last = db.execute("select id, since, body_hash from policy_version order by id desc limit 1").fetchone()
        if last and last[2] == body_hash:
            return Version(last[0], last[1], text)
        since = now()
        sql = "insert into policy_version (since, text, body_hash) values (?, ?, ?)"
        number = int(db.execute(sql, [since, text, body_hash]).lastrowid or 0)
        note(db, "policy.changed", f"policy {number}")
    return Version(number, since, text)


def find_version(tenant: Tenant, text: str) -> Version:
    """Return the version in force where it has this text; else the one that the text would be, which is not kept."""
    with tenant.reading() as db:
        last = db.execute("select id, since, text from policy_version order by id desc limit 1").fetchone()
    return Version(*last) if last and last[2] == text else Version((last[0] if last else 0) + 1, now(), text)


def list_versions(tenant: Tenant) -> list[Version]:
    """Return every version, the newest first."""
    with tenant.reading() as db:
        rows = db.execute("select id, since, text from policy_version order by id desc").fetchall()
    return [Version(*row) for row in rows]


def read_version(tenant: Tenant, number: int) -> Version:
    """Return one version.

    Raises:
        NotFoundError: There is none of that number.
    """
    with tenant.reading() as db:
        row = db.execute("select id, since, text from policy_version where id = ?", [number]).fetchone()
    if row is None:
        raise NotFoundError(f"The privacy policy has no version {number}.")
    return Version(*row)


def keep_check(tenant: Tenant, findings: list[dict[str, Any]]) -> LastCheck:
    """Keep what a check found, in place of what the one before did."""
    checked_at = now()
    with tenant.writing() as db:
        db.execute("insert or replace into policy_check values (1, ?, ?)", [checked_at, json.dumps(findings)])
        failed = sum(finding["is_true"] is False for finding in findings)
        note(db, "policy.checked", "", statements=len(findings), untrue=failed)
    return LastCheck(checked_at, findings)


def read_check(tenant: Tenant) -> LastCheck | None:
    """Return what the last check found; None where there was none."""
    with tenant.reading() as db:
        row = db.execute("select checked_at, findings from policy_check").fetchone()
    return LastCheck(row[0], json.loads(row[1])) if row else None
