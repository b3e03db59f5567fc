import io
import json
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest

from ruma.config import Settings
from ruma.errors import ConflictError, InputError, NotFoundError, StoreError
from ruma.privacy.export_jobs import ExportWorker
from ruma.privacy.exporting import write_export
from ruma.privacy.retention import remove_old_exports
from ruma.tenant.audit import list_audit
from ruma.tenant.copying.contents import Scope
from ruma.tenant.copying.exports import (
    MOST_WAITING,
    Making,
    ask_export,
    fetch_export,
    find_export,
    list_exports,
    remove_export,
    take_export,
)
from ruma.tenant.home import Home
from ruma.tenant.keeping.believed_time import Machine
from ruma.tenant.keeping.holds import end_hold, set_hold
from ruma.tenant.keys import envelopes
from ruma.tenant.keys.envelopes import BLOCK, EnvelopeWriter, make_envelope, open_envelope
from ruma.tenant.tenant import Tenant
from tests.harness.residue import find_plaintext, make_canaries
from tests.serving import DELIVERY, store

PASSWORD = "seven loaves under the oak"


@pytest.fixture(autouse=True)
def quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretch passwords less: half a second for each is the point elsewhere."""
    monkeypatch.setattr(envelopes, "WORK", 10)


def make(tenant: Tenant) -> None:
    """Make the export that waits."""
    making = take_export(tenant)
    assert making
    with making:
        write_export(tenant, making.export.scope, making)
        making.finish()


def taken(tenant: Tenant) -> Making:
    """Return the export that waits, taken to be made."""
    making = take_export(tenant)
    assert making
    return making


def names_in(tenant: Tenant) -> list[str]:
    """Return the names of the files in the folder of exports."""
    return sorted(os.listdir(tenant.exports_folder))


def test_an_export_is_made_sealed_and_fetched(tenant: Tenant) -> None:
    """What is fetched is the zip; what lies on the disk holds none of its words."""
    canary = make_canaries(1)[0]
    store(tenant, "delivery.md", canary, DELIVERY)
    asked = ask_export(tenant, Scope(), asked_by="Ada")
    assert asked.state == "waiting"

    make(tenant)

    done = find_export(tenant, asked.id)
    data = b"".join(fetch_export(tenant, asked.id))
    assert (done.state, done.size_bytes) == ("done", len(data))
    assert canary in zipfile.ZipFile(io.BytesIO(data)).read("documents/000001.html").decode()
    assert find_plaintext([tenant.folder], [canary]) == {}
    assert names_in(tenant) == [done.sealed_id]


def test_an_export_with_a_password_opens_with_it_in_another_program(tenant: Tenant) -> None:
    """Another implementation of age opens it, and neither password nor key is left in the database."""
    asked = ask_export(tenant, Scope(), asked_by="Ada", password=PASSWORD)

    make(tenant)

    data = b"".join(fetch_export(tenant, asked.id))
    opened = pyrage.passphrase.decrypt(data, PASSWORD)
    assert zipfile.ZipFile(io.BytesIO(opened)).testzip() is None
    with tenant.reading() as db:
        assert db.execute("select envelope_head, envelope_key from export").fetchone() == (None, None)


@pytest.mark.parametrize("password", ["short", "password123", "qwertyuiop"])
def test_an_export_takes_no_password_that_is_easy_to_guess(tenant: Tenant, password: str) -> None:
    """A weak one is refused before anything is noted."""
    with pytest.raises(InputError):
        ask_export(tenant, Scope(), asked_by="Ada", password=password)

    assert list_exports(tenant) == []


def test_an_export_that_broke_off_is_made_again_from_its_start(tenant: Tenant) -> None:
    """A killed process leaves a part that nobody takes for an export; the next one that looks makes it anew."""
    asked = ask_export(tenant, Scope(), asked_by="Ada")
    broken = take_export(tenant)
    assert broken
    broken.write(b"half of it")
    os.close(broken._sealer.fileno())  # the lock ends as with the process

    with pytest.raises(ConflictError):
        fetch_export(tenant, asked.id)
    assert names_in(tenant) == [f"{asked.sealed_id}.part"]
    make(tenant)

    assert find_export(tenant, asked.id).state == "done"
    assert names_in(tenant) == [asked.sealed_id]
    with pytest.raises(OSError, match="Bad file"):
        broken._sealer.close()


def test_nobody_else_makes_an_export_that_is_being_made(tenant: Tenant) -> None:
    """A second worker finds nothing to do."""
    ask_export(tenant, Scope(), asked_by="Ada")
    with taken(tenant):
        assert take_export(tenant) is None


def test_an_export_that_ends_the_server_is_given_up(tenant: Tenant) -> None:
    """After three beginnings without an end it fails, with the reason."""
    asked = ask_export(tenant, Scope(), asked_by="Ada")
    for _ in range(3):
        with taken(tenant):
            pass

    assert take_export(tenant) is None
    assert find_export(tenant, asked.id).state == "failed"


def test_an_export_that_is_removed_while_it_is_made_leaves_nothing(tenant: Tenant) -> None:
    """Removing wins: the file that was being written is gone, and no row names it."""
    asked = ask_export(tenant, Scope(), asked_by="Ada")
    with taken(tenant) as making:
        write_export(tenant, Scope(), making)
        remove_export(tenant, asked.id)
        with pytest.raises(NotFoundError):
            making.finish()

    assert (list_exports(tenant), names_in(tenant)) == ([], [])


def test_old_exports_go_with_their_files(tenant: Tenant, settings: Settings) -> None:
    """After its days an export is removed, and one that is younger stays."""
    for _ in range(2):
        ask_export(tenant, Scope(), asked_by="Ada")
        make(tenant)
    with tenant.writing() as db:
        db.execute("update export set made_at = '2020-01-01T00:00:00Z' where id = 1")

    assert remove_old_exports(tenant, settings) == 1

    left = list_exports(tenant)
    assert [one.id for one in left] == [2]
    assert names_in(tenant) == [left[0].sealed_id]
    assert list_audit(tenant, limit=1)[0].action == "export.removed"


def test_a_clock_that_jumps_removes_no_export(tenant: Tenant, settings: Settings) -> None:
    """An export goes when its days have gone by, whatever the clock said in between, and stays while all is held."""
    ask_export(tenant, Scope(), asked_by="Ada")
    make(tenant)
    day, begun = 86400.0, Machine(time.time(), "first", 1000.0)

    def remove(*, wall_days: float, days: float) -> int:
        machine = Machine(begun.wall + wall_days * day, begun.boot, begun.boot_seconds + days * day)
        return remove_old_exports(tenant, settings, machine)

    assert remove(wall_days=0, days=0) == 0
    assert remove(wall_days=400, days=0.1) == 0  # far ahead
    assert remove(wall_days=-400, days=0.2) == 0  # and far behind
    assert remove(wall_days=6.9, days=6.9) == 0
    hold = set_hold(tenant, "a case")
    assert remove(wall_days=7.1, days=7.1) == 0
    end_hold(tenant, hold.id)
    assert remove(wall_days=7.2, days=7.2) == 1
    assert (list_exports(tenant), names_in(tenant)) == ([], [])


def test_only_so_many_exports_wait(tenant: Tenant) -> None:
    """Nobody fills the disk by asking."""
    for _ in range(MOST_WAITING):
        ask_export(tenant, Scope(), asked_by="Ada")

    with pytest.raises(ConflictError):
        ask_export(tenant, Scope(), asked_by="Ada")


@pytest.fixture
def worker(tenant: Tenant, settings: Settings) -> Iterator[ExportWorker]:
    """Return a worker that runs."""
    worker = ExportWorker(settings, lambda _: tenant)
    yield worker
    worker.stop()


def until_done(tenant: Tenant, export_id: int) -> str:
    """Wait for the end of an export and return its state."""
    for _ in range(500):
        state = find_export(tenant, export_id).state
        if state in ("done", "failed"):
            return state
        time.sleep(0.01)
    return "late"


def test_a_server_that_starts_makes_what_waited(tenant: Tenant, worker: ExportWorker) -> None:
    """An export that was asked for before a restart is made after it."""
    asked = ask_export(tenant, Scope(), asked_by="Ada")

    worker.start(["acme"])

    assert until_done(tenant, asked.id) == "done"


def test_a_full_disk_fails_the_export_and_says_so(
    tenant: Tenant, worker: ExportWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason names the disk and no path; the worker goes on with the next one."""

    def full(*_: Any) -> None:
        raise StoreError("The disk is full: /secret/path cannot be written.")

    asked = ask_export(tenant, Scope(), asked_by="Ada")
    with monkeypatch.context() as patched:
        patched.setattr(Making, "write", full)
        worker.start(["acme"])
        assert until_done(tenant, asked.id) == "failed"
    found = find_export(tenant, asked.id)
    assert "disk" in found.reason
    assert "/secret" not in found.reason
    again = ask_export(tenant, Scope(), asked_by="Ada")
    worker.notify("acme")

    assert until_done(tenant, again.id) == "done"


def test_an_envelope_that_was_altered_does_not_open(tmp_path: Path) -> None:
    """Another password, a changed byte, a missing end and blocks that changed places are all noticed."""
    taken = io.BytesIO()
    writer = EnvelopeWriter(make_envelope(PASSWORD), taken.write)
    content = os.urandom(3 * BLOCK)
    writer.write(content)
    writer.finish()
    data = taken.getvalue()
    start, sealed = len(data) - 3 * (BLOCK + 16), BLOCK + 16

    assert open_envelope(io.BytesIO(data), PASSWORD).read() == content
    assert open_envelope(io.BytesIO(pyrage.passphrase.encrypt(content, PASSWORD)), PASSWORD).read() == content
    swapped = data[:start] + data[start + sealed : start + 2 * sealed] + data[start : start + sealed] + data[-sealed:]
    for bad in (data[:-1], data[:-sealed], data[: start + 5] + b"x" + data[start + 6 :], swapped):
        with pytest.raises((InputError, StoreError)):
            open_envelope(io.BytesIO(bad), PASSWORD).read()
    for password in ("", PASSWORD + " "):
        with pytest.raises(InputError, match="not the password"):
            open_envelope(io.BytesIO(data), password)


def test_the_export_is_of_one_moment(tenant: Tenant) -> None:
    """What is stored while an export is being written is not in it, and what is removed meanwhile is said to be."""
    first = store(tenant, "a.md", "Delivery", DELIVERY)
    assert first == 1
    taken, steps = io.BytesIO(), 0
    other = Home(Settings(home=tenant.folder.parents[1])).open("acme")

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == 1:
            store(other, "b.md", "New", DELIVERY)
            from ruma.tenant.knowledge.documents import remove_documents

            remove_documents(other, [first])

    about = write_export(tenant, Scope(), taken, step=step)
    other.close()

    found = zipfile.ZipFile(taken)
    rows = [json.loads(line) for line in found.read("data/documents/0001.jsonl").splitlines()]
    assert [row["name"] for row in rows] == ["a.md"]
    assert about["originals"][0]["problem"].startswith("missing")
    assert not [name for name in found.namelist() if name.startswith("originals/")]
