import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import pytest

from ruma.config import Settings
from ruma.errors import ConflictError, InputError, NotFoundError
from ruma.privacy.erasing import erase_conversation
from ruma.privacy.retention import describe, enforce, is_due
from ruma.server.daily import DailyWorker
from ruma.tenant.audit import check_audit, list_audit, note
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation, read_conversation
from ruma.tenant.erasing.erasure import ask_erasure, finish_erasure, marking_words
from ruma.tenant.home import Home
from ruma.tenant.keeping.holds import check_not_held, end_hold, holds_on, list_holds, set_hold
from ruma.tenant.keeping.plans import shorten
from ruma.tenant.knowledge.uploads import receive_upload
from ruma.tenant.tenant import Tenant
from tests.harness.process import ruma
from tests.harness.residue import find_residue, make_canaries
from tests.retaining import DAY, TestMachine, chat, numbers, run, run_daily


@pytest.fixture
def machine() -> TestMachine:
    """Return a machine that says the truth."""
    return TestMachine()


def test_a_conversation_goes_when_its_days_are_over_and_no_sooner(
    tenant: Tenant, settings: Settings, machine: TestMachine
) -> None:
    """The plan's number counts from the last message on, to the second."""
    old = chat(tenant, at=machine.wall - 180 * DAY - 60)
    young = chat(tenant, at=machine.wall - 180 * DAY + 60)

    done = run(tenant, settings, machine)

    assert numbers(tenant) == [young]
    assert done.removed == {"conversations": 1, "technical": 0, "exports": 0, "receipts": 0, "audit": 0}
    with pytest.raises(NotFoundError):
        read_conversation(tenant, old)
    entry = list_audit(tenant)[0]
    assert (entry.action, entry.subject, entry.details) == ("retention.removed", "conversations", {"records": 1})


def test_what_goes_is_gone_from_the_file(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """No page and no frame of the log holds its words any more, nor does the index."""
    words = ["qzvkmwbtrlxhdpfnscgyjq", "wmtzkvqpxbrdlhnfscgjyw"]
    for word in words:
        chat(tenant, at=machine.wall - 400 * DAY, text=f"Do you know {word}?")
    assert set(find_residue(tenant.folder, tenant.key.raw, words)) == set(words), "the search proves nothing"

    run(tenant, settings, machine)

    assert find_residue(tenant.folder, tenant.key.raw, words) == {}


def test_a_look_removes_nothing_and_names_what_would_go(
    tenant: Tenant, settings: Settings, machine: TestMachine
) -> None:
    """With its number and how many there are; the oldest of each kind stands beside the plan."""
    old = chat(tenant, at=machine.wall - 200 * DAY)
    chat(tenant)

    kept = describe(tenant, settings, machine.says)

    conversations = kept.kinds[0]
    assert (conversations.kind, conversations.days, conversations.records, conversations.due) == (
        "conversations",
        180,
        2,
        1,
    )
    assert conversations.oldest == conversations.due_oldest[0] == f"conversation {old}"
    assert numbers(tenant) == [old, old + 1]
    assert kept.last_run.ran_at is None

    run(tenant, settings, machine)
    kept = describe(tenant, settings, machine.says)
    assert (kept.kinds[0].due, kept.last_run.removed) == (0, {"conversations": 1})
    assert kept.last_run.ran_at is not None


def test_technical_data_goes(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """Sessions, tries and the names of who handed something over go after their days; the upload itself stays."""
    from tests.serving import sign_in

    sign_in(tenant)
    receive_upload(tenant, "a.txt", [b"text"], kind="upload", added_by="Ada", most_bytes=100)
    with tenant.writing() as db:
        db.execute("update upload set state = 'failed', added_at = '2020-01-01T00:00:00Z'")
        db.execute("update session set started_at = started_at - 40 * 86400")
        for at in ("2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"):
            db.execute("insert into attempt values (?, 1, 0.0, ?)", [at.encode(), at])
        db.execute("insert into link values (x'00', 'invitation', null, 'bo@acme.example', 'editor', 1.0, 2.0)")
        db.execute("insert into kept_response values (x'00', x'00', 200, x'00', 1.0)")

    assert run(tenant, settings, machine).removed["technical"] == 4

    with tenant.reading() as db:
        assert db.execute("select name, added_by from upload").fetchall() == [("a.txt", "")]
        for table in ("session", "attempt", "link", "kept_response"):
            assert db.execute(f"select count(*) from {table}").fetchone() == (0,), table


def test_what_had_a_shorter_time_of_its_own_goes(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """Answers that are repeated and visitors' links, though nothing else is over; of a clock that was ahead, too."""
    chat(tenant)
    times = {"01": 1.0, "02": machine.wall, "03": machine.wall + 9 * DAY}
    with tenant.writing() as db:
        for name, at in times.items():
            db.execute(f"insert into kept_response values (x'{name}', x'00', 200, x'00', ?)", [at])
            if at <= machine.wall:
                db.execute(f"insert into visitor_link values (x'{name}', 'bo@home.example', 1.0, ?)", [at])

    assert not any(run(tenant, settings, machine).removed.values())

    with tenant.reading() as db:
        assert db.execute("select hex(key_hash) from kept_response").fetchall() == [("02",)]
        assert db.execute("select hex(secret_hash) from visitor_link").fetchall() == [("02",)]


def test_the_oldest_of_the_audit_log_go_and_the_chain_holds(
    tenant: Tenant, settings: Settings, machine: TestMachine
) -> None:
    """What was done a year and a day ago is gone; what is left can be checked."""
    run(tenant, settings, machine)
    run_daily(tenant, settings, machine, 2)
    with tenant.writing() as db:
        note(db, "agent.changed")
    machine.goes_on(363)
    run(tenant, settings, machine.restarts("second"), trusts_clock=True)
    assert check_audit(tenant).removed == 1, "what was there when the first mark was made"

    run(tenant, settings, machine.goes_on(4))

    check = check_audit(tenant)
    assert (check.removed, check.broken_at) == (2, None)


def test_a_held_conversation_stays_and_cannot_be_deleted(
    tenant: Tenant, settings: Settings, machine: TestMachine
) -> None:
    """With a reason that owners read; when the hold ends it goes like the others."""
    held, other = (chat(tenant, at=machine.wall - 300 * DAY) for _ in range(2))
    hold = set_hold(tenant, "Case 4711,\n asked for by the court", conversation_id=held)
    assert hold.reason == "Case 4711, asked for by the court"

    run(tenant, settings, machine)
    assert numbers(tenant) == [held] != [other]
    assert describe(tenant, settings, machine.says).kinds[0].held == 1
    with pytest.raises(ConflictError, match="legal hold is on"):
        erase_conversation(tenant, held)
    assert holds_on(tenant, held) == [hold]

    end_hold(tenant, hold.id)
    run(tenant, settings, machine)
    assert numbers(tenant) == []
    assert list_holds(tenant, with_ended=True) == [], "the reason may name people, and goes with what it kept"
    actions = {entry.action: entry for entry in list_audit(tenant)}
    assert actions["hold.set"].subject == actions["hold.ended"].subject == f"conversation {held}"
    assert "4711" not in json.dumps([entry.details for entry in list_audit(tenant)])


def test_a_held_tenant_keeps_everything(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """Also what is only technical, and the audit log."""
    kept = chat(tenant, at=machine.wall - 300 * DAY)
    with tenant.writing() as db:
        db.execute("insert into attempt values (x'00', 1, 0.0, '2020-01-01T00:00:00Z')")
    hold = set_hold(tenant, "Case 4711")

    assert not any(run(tenant, settings, machine).removed.values())
    with pytest.raises(ConflictError):
        check_not_held(tenant)
    with pytest.raises(ConflictError):
        erase_conversation(tenant, kept)
    end_hold(tenant, hold.id)
    check_not_held(tenant)

    removed = run(tenant, settings, machine).removed
    assert {kind for kind, count in removed.items() if count} == {"conversations", "technical"}


def test_a_hold_with_a_last_day_ends_by_itself(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """When that day is over by the time that is believed, not by a clock that jumped."""
    held = chat(tenant, at=machine.wall - 300 * DAY)
    run(tenant, settings, machine)  # nothing is held yet, so it goes; the next one is held
    held = chat(tenant, at=machine.wall - 300 * DAY)
    last = date.fromtimestamp(machine.wall) + timedelta(days=3)
    set_hold(tenant, "Case 4711", conversation_id=held, until=last)

    run(tenant, settings, machine.jumps(400))
    assert len(list_holds(tenant)) == 1
    machine.jumps(-400)
    run_daily(tenant, settings, machine, 3)
    assert len(list_holds(tenant)) == 1, "its last day is not over"
    run_daily(tenant, settings, machine, 1)

    assert list_holds(tenant) == []
    assert len(list_holds(tenant, with_ended=True)) == 1, "what was held is known as long as the audit log"
    run(tenant, settings, machine.goes_on(370))
    assert list_holds(tenant, with_ended=True) == []


@pytest.mark.parametrize("reason", ["", " \n ", "x" * 501])
def test_a_hold_needs_a_reason(tenant: Tenant, reason: str) -> None:
    """Who ends it must know what it was for."""
    with pytest.raises(InputError, match="needs a reason"):
        set_hold(tenant, reason)
    with pytest.raises(NotFoundError):
        set_hold(tenant, "Case 4711", conversation_id=99)
    with pytest.raises(NotFoundError):
        end_hold(tenant, 1)


def test_whoever_chats_waits_for_no_removal(
    tenant: Tenant, settings: Settings, machine: TestMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal of many goes in short writes: others write between them, and what they write is kept."""
    monkeypatch.setattr("ruma.tenant.keeping.retention.BATCH_SECONDS", 0)
    for _ in range(150):
        chat(tenant, at=machine.wall - 300 * DAY)
    run_for = threading.Event()
    waited: list[float] = []

    def talk() -> None:
        while not run_for.is_set():
            started = time.perf_counter()
            chat(tenant)
            waited.append(time.perf_counter() - started)
            time.sleep(0.02)

    talking = threading.Thread(target=talk)
    talking.start()
    writes = []
    done = enforce(tenant, settings, machine=machine.says, give_way=lambda: writes.append(1))
    run_for.set()
    talking.join()

    assert done.removed["conversations"] == 150
    assert len(numbers(tenant)) == len(waited)
    assert len(writes) > 3
    assert max(waited) < 5


def test_who_writes_again_meanwhile_is_kept(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """A conversation that was found to be over and goes on before it is its turn does not go."""
    from ruma.tenant.keeping.retention import due_conversations, remove_conversations

    run(tenant, settings, machine)
    run(tenant, settings, machine.goes_on(1))
    conversation = begin_conversation()
    add_exchange(tenant, conversation, "Open?", "Yes.", mode="write", is_declined=False, citations=[])
    with tenant.writing() as db:
        db.execute("update conversation set last_at = '2020-01-01T00:00:00Z'")
    belief = describe(tenant, settings, machine.says).belief
    due = due_conversations(tenant, 180, belief)
    assert remove_conversations(tenant, [*due, conversation.id or 0], 180, belief) == (len(due) + 1, 0)
    assert numbers(tenant) == [conversation.id]


def test_what_is_held_meanwhile_is_kept(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """A hold that is set after a conversation was found to be over, and before it is its turn, keeps it."""
    from ruma.tenant.keeping.retention import due_conversations, remove_audit, remove_conversations

    old = chat(tenant, at=machine.wall - 300 * DAY)
    belief = describe(tenant, settings, machine.says).belief
    due = due_conversations(tenant, 180, belief)
    hold = set_hold(tenant, "Case 4711", conversation_id=old)
    assert (due, remove_conversations(tenant, due, 180, belief)) == ([old], (1, 0))

    end_hold(tenant, hold.id)
    hold = set_hold(tenant, "Case 4712")
    late = describe(tenant, settings, machine.says).belief
    late = replace(late, now=late.now + 400 * DAY, wall=late.wall + 400 * DAY)
    assert (remove_conversations(tenant, due, 180, belief), remove_audit(tenant, 365, late)) == ((1, 0), 0)
    end_hold(tenant, hold.id)
    assert remove_conversations(tenant, due, 180, belief) == (1, 1)
    assert remove_audit(tenant, 365, late) > 0


def test_an_interrupted_run_goes_on(
    tenant: Tenant, settings: Settings, machine: TestMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went is gone and written down, what did not go yet goes next time, and the run counts as not done."""
    monkeypatch.setattr("ruma.tenant.keeping.retention.BATCH_SECONDS", 0)
    for _ in range(60):
        chat(tenant, at=machine.wall - 300 * DAY)

    class Interrupted(Exception):
        pass

    def interrupt() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        enforce(tenant, settings, machine=machine.says, give_way=interrupt)
    left = len(numbers(tenant))
    assert 0 < left < 60
    assert describe(tenant, settings, machine.says).last_run.ran_at is None
    assert list_audit(tenant, thing="retention")[0].details == {"records": 60 - left}

    assert run(tenant, settings, machine).removed["conversations"] == left


KILLED = """
import os, signal, sys
from ruma.config import load_settings
from ruma.privacy.retention import enforce
from ruma.tenant.keeping import retention
from ruma.tenant.home import Home
retention.BATCH_SECONDS = 0
settings = load_settings()
with Home(settings).open("acme") as tenant:
    enforce(tenant, settings, give_way=lambda: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_run_goes_on(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """What went is out of the file when the tenant is opened next, the log holds together, and the next run ends it."""
    words = make_canaries(1)
    for number in range(60):
        chat(tenant, at=machine.wall - 300 * DAY, text="Are you open?" if number else f"Do you know {words[0]}?")

    killed = subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert killed.returncode == -9
    assert 0 < len(numbers(tenant)) < 60
    assert set(find_residue(tenant.folder, tenant.key.raw, words)) == set(words), "the search proves nothing"
    with Home(settings).open("acme"):
        assert find_residue(tenant.folder, tenant.key.raw, words) == {}

    run(tenant, settings, machine)
    assert numbers(tenant) == []
    assert check_audit(tenant).broken_at is None
    assert sum(int(one.details["records"]) for one in list_audit(tenant, thing="retention")) == 60


def test_a_removal_that_fails_leaves_an_index_that_forgets(tenant: Tenant) -> None:
    """Words were only to be marked within it; what is erased afterwards is out of the index at once."""
    words = make_canaries(1)
    number = chat(tenant, text=f"Do you know {words[0]}?")
    chat(tenant)

    def fail() -> None:
        with tenant.writing() as db, marking_words(db):
            db.execute("delete from conversation")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert set(find_residue(tenant.folder, tenant.key.raw, words)) == set(words), "the search proves nothing"

    with tenant.writing() as db:
        db.execute("delete from conversation where id = ?", [number])
        ask_erasure(db)
    assert finish_erasure(tenant)
    assert find_residue(tenant.folder, tenant.key.raw, words) == {}


def until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.02)


def test_a_running_server_keeps_the_plan(tenant: Tenant, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its start and then once a day; a tenant that cannot be opened keeps the others from nothing."""
    monkeypatch.setattr("ruma.server.daily.START_SECONDS", 0.0)
    monkeypatch.setattr("ruma.server.daily.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("ruma.server.daily.LONGEST_PAUSE", 0.05)
    home = Home(settings)
    chat(tenant, at=time.time() - 300 * DAY)
    worker = DailyWorker(settings, lambda: ["gone", "acme"], home.open, lambda: True)
    worker.start()
    try:
        until(lambda: describe(tenant, settings).last_run.ran_at is not None)
        assert numbers(tenant) == []
        chat(tenant, at=time.time() - 300 * DAY)
        with tenant.writing() as db:  # as if a day had gone; what was stored before the marks goes by its date
            db.execute("delete from retention_mark")
            db.execute("update retention set ran_at = ran_at - 86401")
        until(lambda: numbers(tenant) == [])
        until(lambda: not is_due(tenant))
    finally:
        worker.stop()


def test_shorter_days_count_with_the_next_run(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """An owner's choice is enforced like the operator's."""
    chat(tenant, at=machine.wall - 50 * DAY)
    run(tenant, settings, machine)
    assert len(numbers(tenant)) == 1

    shorten(tenant, settings, {"conversations": 30})
    run(tenant, settings, machine)

    assert numbers(tenant) == []


WHY_KEPT = {
    "file_key": "goes with its file",
    "page_key": "the keys of the database's pages",
    "agent": "the business's own settings",
    "profile": "the business's own settings",
    "ruma_identity": "the tenant's number",
    "consent_setting": "the business's own settings",
    "terms": "texts of the operator's",
    "source": "what the business gave, until it removes it",
    "document": "what the business gave, until it removes it",
    "chunk": "goes with its document",
    "vector": "goes with its document",
    "sentence_vector": "goes with its document",
    "search_index": "a counter",
    "pending_erasure": "a time, until the file is clean",
    "member": "as long as the person is a member; the time last seen is overwritten",
    "recovery_code": "goes with its member",
    "terms_acceptance": "goes with its member",
    "api_key": "until it is revoked; the time last used is overwritten",
    "receipt_signer": "the key of the receipts",
    "policy_version": "texts of the policy, without a person",
    "policy_check": "one row, without a person",
    "retention": "one row, without a person",
    "backup": "as long as the backup is there",
    "billing": "one row: who pays, until the tenant goes",
    "_sqlite_migrations": "the steps of the database",
    "audit_start": "one row, without a person",
    "message": "goes with its conversation",
    "citation": "goes with its conversation",
    "feedback": "goes with its conversation",
    "consent": "goes with its conversation",
    "rights_request_step": "goes with its request",
}
"""Tables of which retention removes nothing, and why."""

REMOVED = {
    "conversation",
    "session",
    "attempt",
    "upload",
    "link",
    "kept_response",
    "audit",
    "hold",
    "retention_mark",
    "export",
    "erasure",
    "connection",
    "rights_request",
    "visitor_link",
}
"""Tables of which retention removes what is over."""


def test_every_table_is_either_removed_from_or_has_a_reason(tenant: Tenant) -> None:
    """Who adds a table has thought about how long its rows are kept."""
    with tenant.reading() as db:
        tables = {name for name in db.table_names() if "_fts" not in name and not name.startswith("sqlite_")}

    assert tables == REMOVED | set(WHY_KEPT)
    assert not REMOVED & set(WHY_KEPT)


def test_the_command_lists_and_removes(settings: Settings) -> None:
    """Of all tenants, or of one; as text and as JSON."""
    home = Home(settings)
    for name in ("acme", "bakery"):
        home.create(name)
        with home.open(name) as tenant:
            chat(tenant, at=time.time() - 300 * DAY)

    listed = ruma("retention", "--dry-run", home=settings.home)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("conversation 1") == 2
    found = json.loads(ruma("retention", "--dry-run", "--json", "-t", "acme", home=settings.home).stdout)
    assert (list(found), found["acme"]["kinds"][0]["due"]) == (["acme"], 1)

    done = ruma("retention", home=settings.home)
    assert (done.returncode, done.stdout) == (
        0, "acme: removed 1 conversations.\nbakery: removed 1 conversations.\n",
    )  # fmt: skip
    with home.open("acme") as tenant:
        assert list_audit(tenant)[0].actor.kind == "operator"
