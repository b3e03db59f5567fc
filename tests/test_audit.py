import pytest

from ruma.tenant.audit import act_as, acting_as, check_audit, current_actor, list_audit, note
from ruma.tenant.tenant import Tenant


def note_three(tenant: Tenant) -> None:
    """Note three things that were done."""
    with tenant.writing() as db:
        for number in (1, 2, 3):
            note(db, "document.removed", f"document {number}", chunks=number)


def tamper(tenant: Tenant, *statements: str) -> None:
    """Change the table as someone with the key could, past its triggers."""
    with tenant.writing() as db:
        for trigger in ("audit_is_final", "audit_goes_oldest_first"):
            db.execute(f"drop trigger {trigger}")
        for statement in statements:
            db.execute(statement)


def test_an_entry_says_who_did_what_from_where(tenant: Tenant) -> None:
    """The actor of the request stands in it, with the address shortened."""
    act_as("member", 7, address="203.0.113.77")
    with tenant.writing() as db:
        note(db, "agent.changed", settings="greeting")
    with acting_as("ruma"), tenant.writing() as db:
        note(db, "retention.enforced", conversations=2)

    newest, oldest = list_audit(tenant)

    assert (oldest.actor.kind, oldest.actor.id, oldest.actor.network) == ("member", 7, "203.0.113.0/24")
    assert (oldest.action, oldest.details) == ("agent.changed", {"settings": "greeting"})
    assert newest.actor.kind == "ruma"
    assert current_actor().kind == "member"


def test_a_whole_log_is_found_whole(tenant: Tenant) -> None:
    """The check gives the hash of the newest entry."""
    note_three(tenant)

    check = check_audit(tenant)

    assert (check.entries, check.broken_at) == (3, None)
    assert check.head == list_audit(tenant, limit=1)[0].hash


@pytest.mark.parametrize(
    ("statement", "broken_at"),
    [
        ("update audit set subject = 'document 9' where id = 2", 2),
        ("update audit set at = '2020-01-01T00:00:00Z' where id = 1", 1),
        ("update audit set actor_id = 4 where id = 3", 3),
        ("delete from audit where id = 2", 3),
        ("update audit set id = 12 where id = 3", 12),
    ],
)
def test_what_is_changed_by_hand_is_found(tenant: Tenant, statement: str, broken_at: int) -> None:
    """Whoever has the key may change the rows; the chain shows where."""
    note_three(tenant)

    tamper(tenant, statement)

    assert check_audit(tenant).broken_at == broken_at


def test_entries_are_neither_changed_nor_taken_out_by_mistake(tenant: Tenant) -> None:
    """The database refuses it, except for the oldest ones, once retention has moved the start."""
    note_three(tenant)

    for statement in ("update audit set subject = ''", "delete from audit where id = 2"):
        with pytest.raises(Exception, match="cannot be"), tenant.writing() as db:
            db.execute(statement)

    assert check_audit(tenant).entries == 3
