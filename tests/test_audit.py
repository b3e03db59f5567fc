import subprocess
import sys
import threading
from datetime import date, timedelta

import pytest

from ruma.config import Settings
from ruma.tenant.audit import (
    act_as,
    acting_as,
    check_audit,
    current_actor,
    list_audit,
    list_things,
    note,
    remove_oldest,
)
from ruma.tenant.home import Home
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

    newest, oldest, created = list_audit(tenant)
    assert (created.action, created.actor.kind) == ("tenant.created", "ruma")

    assert (oldest.actor.kind, oldest.actor.id, oldest.actor.network) == ("member", 7, "203.0.113.0/24")
    assert (oldest.action, oldest.details) == ("agent.changed", {"settings": "greeting"})
    assert newest.actor.kind == "ruma"
    assert current_actor().kind == "member"


def test_a_whole_log_is_found_whole(tenant: Tenant) -> None:
    """The check gives the hash of the newest entry."""
    note_three(tenant)

    check = check_audit(tenant)

    assert (check.entries, check.broken_at, check.removed) == (4, None, 0)
    assert check.head == list_audit(tenant, limit=1)[0].hash


@pytest.mark.parametrize(
    ("statement", "broken_at"),
    [
        ("update audit set subject = 'document 9' where id = 2", 2),
        ("update audit set at = '2020-01-01T00:00:00Z' where id = 1", 1),
        ("update audit set actor_id = 4 where id = 3", 3),
        ("delete from audit where id = 2", 3),
        ("delete from audit where id = 1", 2),
        ("update audit set id = 12 where id = 4", 12),
        ("update audit_start set last_id = 1", 1),
        ("update audit_start set hash = zeroblob(31)", 1),
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

    assert check_audit(tenant).entries == 4


def test_entries_taken_off_the_end_are_found_by_a_hash_that_was_written_down(tenant: Tenant) -> None:
    """The chain that is left is whole; that the head is missing shows what is gone."""
    note_three(tenant)
    head = check_audit(tenant).head
    assert check_audit(tenant, head=head).has_head
    note_three(tenant)
    assert check_audit(tenant, head=head).has_head

    tamper(tenant, "delete from audit where id > 2")

    check = check_audit(tenant, head=head)
    assert (check.broken_at, check.has_head) == (None, False)


def test_the_oldest_go_and_the_rest_still_holds_together(tenant: Tenant) -> None:
    """What is left rests on the last that went, whose hash is still known, and numbers go on."""
    note_three(tenant)
    last_to_go = list_audit(tenant)[1]

    with tenant.writing() as db:
        assert remove_oldest(db, last_to_go.id) == 3
        assert remove_oldest(db, last_to_go.id) == 0
        note(db, "agent.changed")

    check = check_audit(tenant, head=last_to_go.hash)
    assert (check.entries, check.removed, check.broken_at, check.has_head) == (2, 3, None, True)
    tamper(tenant, "delete from audit where id = 4")
    assert check_audit(tenant).broken_at == 5


def test_a_log_of_which_everything_went_goes_on(tenant: Tenant) -> None:
    """The next entry rests on the last that went."""
    with tenant.writing() as db:
        remove_oldest(db, 10)
    assert check_audit(tenant).entries == 0

    note_three(tenant)

    check = check_audit(tenant)
    assert (check.entries, check.removed, check.broken_at) == (3, 1, None)


def test_entries_of_another_tenant_fit_nowhere(tenant: Tenant, settings: Settings) -> None:
    """A whole log that is copied over, with what it rests on, is found: each hash holds the tenant's own id."""
    note_three(tenant)
    with tenant.reading() as db:
        rows = db.execute("select * from audit").fetchall()
    home = Home(settings)
    home.create("other")
    with home.open("other") as other:
        tamper(other, "delete from audit")
        with other.writing() as db:
            for row in rows:
                db.execute("insert into audit values (?, ?, ?, ?, ?, ?, ?, ?, ?)", list(row))

        assert check_audit(other).broken_at == 1


def test_entries_are_found_by_what_and_who_and_when(tenant: Tenant) -> None:
    """Each filter alone and all together, and page after page; a thing is no beginning of another's name."""
    with acting_as("member", 3), tenant.writing() as db:
        for action in ("member.invited", "members.counted", "member.removed"):
            note(db, action, "member 9")
    note_three(tenant)
    today = date.fromisoformat(list_audit(tenant)[0].at[:10])

    assert [one.action for one in list_audit(tenant, thing="member")] == ["member.removed", "member.invited"]
    assert [one.action for one in list_audit(tenant, thing="member.invited")] == ["member.invited"]
    assert len(list_audit(tenant, actor=("member", 3))) == 3
    assert list_audit(tenant, actor=("member", 4)) == []
    assert len(list_audit(tenant, subject="member 9", thing="member")) == 2
    assert len(list_audit(tenant, since=today, until=today)) == 7
    assert list_audit(tenant, since=today + timedelta(days=1)) == []
    assert list_audit(tenant, until=today - timedelta(days=1)) == []
    assert [one.id for one in list_audit(tenant, before=3)] == [2, 1]
    assert list_things(tenant) == ["document", "member", "members", "tenant"]


def test_two_who_write_at_once_make_one_chain(tenant: Tenant) -> None:
    """No number is given twice and no entry rests on another than the one before."""

    def work() -> None:
        for _ in range(50):
            with tenant.writing() as db:
                note(db, "agent.changed")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    check = check_audit(tenant)
    assert (check.entries, check.broken_at) == (201, None)


KILLED = """
import os, signal, sys
from ruma.config import load_settings
from ruma.tenant.audit import note
from ruma.tenant.home import Home
with Home(load_settings()).open("acme") as tenant:
    for number in range(50):
        with tenant.writing() as db:
            note(db, "agent.changed")
            if number == 20:
                os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_between_an_entry_and_its_deed_leaves_neither(tenant: Tenant) -> None:
    """An entry is part of the transaction that does what it tells of."""
    killed = subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert killed.returncode == -9

    note_three(tenant)

    check = check_audit(tenant)
    assert (check.entries, check.broken_at) == (24, None)


def test_what_stands_in_an_entry_cannot_break_it(tenant: Tenant) -> None:
    """Line ends, escapes, quotes and other characters are data (test 71)."""
    nasty = 'a\r\nb\x1b[2J"}\u202e\x00\ud83d'.encode("utf-8", "replace").decode() + "\U0001f35e"
    with tenant.writing() as db:
        note(db, "agent.changed", nasty, settings=nasty)

    entry = list_audit(tenant)[0]
    assert (entry.subject, entry.details) == (nasty, {"settings": nasty})
    assert check_audit(tenant).broken_at is None
