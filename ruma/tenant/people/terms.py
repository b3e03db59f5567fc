"""Which terms of use the members have accepted, and when. What the terms say is the operator's."""

from dataclasses import dataclass

from ruma.tenant.audit import note
from ruma.tenant.clock import now
from ruma.tenant.tenant import Tenant


@dataclass(frozen=True)
class Terms:
    """The terms of use in force."""

    version: str
    text: str
    """What they say; empty where they are on a page elsewhere."""
    url: str
    """The address of that page; empty where they are a text."""


@dataclass(frozen=True)
class Acceptance:
    """That a member accepted a version of the terms."""

    member_id: int
    version: str
    accepted_at: str


def has_accepted(tenant: Tenant, member_id: int, version: str) -> bool:
    """Tell whether a member has accepted a version: quick enough for every request."""
    with tenant.reading() as db:
        sql = "select 1 from terms_acceptance where member_id = ? and version = ?"
        return db.execute(sql, [member_id, version]).fetchone() is not None


def accept_terms(tenant: Tenant, member_id: int, terms: Terms) -> None:
    """Store that a member accepts the terms, with the text as it is now. Accepting twice is accepting once."""
    time = now()
    with tenant.writing() as db:
        db.execute("insert or ignore into terms values (?, ?, ?, ?)", [terms.version, terms.text, terms.url, time])
        stored = db.execute("insert or ignore into terms_acceptance values (?, ?, ?)", [member_id, terms.version, time])
        if stored.rowcount:
            note(db, "terms.accepted", f"member {member_id}", version=terms.version)


def list_acceptances(tenant: Tenant) -> list[Acceptance]:
    """Return every acceptance, the newest first."""
    with tenant.reading() as db:
        rows = db.execute(
            "select member_id, version, accepted_at from terms_acceptance order by accepted_at desc, member_id"
        ).fetchall()
    return [Acceptance(*row) for row in rows]
