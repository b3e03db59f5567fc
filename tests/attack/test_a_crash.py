"""Crashes, full and failing disks: nothing acknowledged is lost, and nothing is seen by halves."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ruma.config import Settings
from ruma.errors import StoreError
from ruma.tenant.erasing.receipts import read_receipt
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.uploads import list_uploads
from ruma.tenant.tenant import Tenant
from tests.harness.needs import needs
from tests.harness.oracle import check_modes, check_tenant
from tests.harness.process import RUMA, STORE, UPLOAD, environ_of, ruma, store
from tests.harness.storing import states_after
from tests.harness.strace import Run, every_point
from tests.making import EMBEDDER, make_document

STEPS = ["a=2", "b", "-old", "c"]


def some(call: str, every: int) -> list[object]:
    """Return the parameters for some of the points of a call now, and for all of them in the nightly run.

    With every run only the calls that make something last, or visible: the others, too, are the nightly run's.
    """
    marks = () if call in ("fsync", "rename") else pytest.mark.nightly
    return [
        pytest.param(call, every, id=call, marks=marks),
        pytest.param(call, 1, id=f"{call}-all", marks=pytest.mark.nightly),
    ]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home whose tenant acme has two documents, and keep a copy for `put_back`."""
    home = tmp_path / "home"
    Home(Settings(home=home, key_source="machine")).create("acme")
    assert store(home, "old", "a").returncode == 0
    shutil.copytree(home, tmp_path / "copy", symlinks=True)
    return home


def put_back(home: Path) -> None:
    """Put the home back as it was."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(home.with_name("copy"), home, symlinks=True)


def check_steps(home: Path, acked: list[str]) -> None:
    """Assert that exactly the acknowledged steps were taken, or the one in flight as well, and nothing by halves."""
    states = states_after(STEPS, states_after(["old", "a"])[-1])
    assert acked == STEPS[: len(acked)]
    assert check_tenant(home, "acme") in states[len(acked) : len(acked) + 2]


@needs("strace")
@pytest.mark.parametrize(
    ("call", "every"), [*some("fsync", 16), *some("rename", 6), *some("unlink", 10), *some("pwrite64", 120)]
)
def test_a02_killed_at_any_write_of_documents(home: Path, tmp_path: Path, call: str, every: int) -> None:
    """The tenant has the acknowledged documents, each whole, and what was left undone can be done again."""

    def check(point: int, run: Run) -> None:
        check_steps(home, run.stdout.split())

    every_point(
        [*STORE, "acme", *STEPS],
        call,
        every=every,
        env=environ_of(home),
        trace=tmp_path / "trace",
        fresh=lambda: put_back(home),
        check=check,
    )
    assert store(home, *STEPS).returncode == 0
    assert check_tenant(home, "acme") == states_after(STEPS, states_after(["old", "a"])[-1])[-1]


@needs("strace")
@pytest.mark.parametrize(
    ("call", "every"), [*some("fsync", 24), *some("rename", 6), *some("unlink", 6), *some("pwrite64", 160)]
)
def test_a02_killed_at_any_write_of_uploads(home: Path, tmp_path: Path, call: str, every: int) -> None:
    """What was acknowledged as kept waits whole or is a document; what was discarded is gone; nothing lies about."""
    steps = ["x", "y", "+", "z", "-", "+"]
    states: list[set[str]] = [set(), {"x"}, {"x", "y"}, {"y"}, {"y", "z"}, {"z"}, set()]
    read: list[set[str]] = [set(), set(), set(), {"x"}, {"x"}, {"x"}, {"x", "z"}]

    def check(point: int, run: Run) -> None:
        done = len(run.stdout.split())
        documents = set(check_tenant(home, "acme")) - {"old", "a"}
        with Home(Settings(home=home)).open("acme") as tenant:
            waiting = {one.name for one in list_uploads(tenant)}
        assert waiting in states[done : done + 2]
        # One that was being read may be a document already, and wait to be read once more, which changes nothing.
        assert documents in read[done : done + 2]

    every_point(
        [*UPLOAD, "acme", *steps],
        call,
        every=every,
        env=environ_of(home),
        trace=tmp_path / "trace",
        fresh=lambda: put_back(home),
        check=check,
    )


@needs("strace")
@pytest.mark.parametrize(
    ("call", "every"),
    [*some("fsync", 14), *some("rename", 1), *some("link", 2), *some("unlink", 12), *some("mkdir", 6)],
)
def test_a02_killed_at_any_write_of_a_new_tenant(tmp_path: Path, call: str, every: int) -> None:
    """The tenant is there whole, or nothing of it is, its key included, and it can be made again."""
    home = tmp_path / "home"

    def check(point: int, run: Run) -> None:
        names = Home(Settings(home=home)).names()
        if "Made the tenant acme" in run.stderr:
            assert names == ["acme"]
        if not names:
            assert not list((home / "tenants").glob("*"))
            assert not {file.name for file in (home / "keys").glob("*.key")} - {"machine.key"}
            Home(Settings(home=home, key_source="machine")).create("acme")
        assert check_tenant(home, "acme") == {}

    every_point(
        [*RUMA, "tenant", "create", "acme"],
        call,
        every=every,
        env=environ_of(home),
        trace=tmp_path / "trace",
        fresh=lambda: shutil.rmtree(home, ignore_errors=True),
        check=check,
    )


@needs("strace")
@pytest.mark.parametrize(
    ("call", "every"),
    [
        *some("fsync", 2),
        *some("rename", 1),
        *some("unlink", 4),
        *some("unlinkat", 2),
        *some("rmdir", 1),
        *[
            pytest.param(call, 1, id=f"{call}-all", marks=pytest.mark.nightly)
            for call in ("pwrite64", "write", "ftruncate", "link", "mkdir")
        ],
    ],
)
def test_c23_killed_at_any_moment_of_deleting_a_tenant(home: Path, tmp_path: Path, call: str, every: int) -> None:
    """The tenant is as it was, or the next command finishes its deletion: never half, and its key goes first."""

    def check(point: int, run: Run) -> None:
        is_key_gone = not [file for file in (home / "keys").glob("*.key") if file.name != "machine.key"]
        if (home / "tenants/acme").exists():
            assert not is_key_gone
            assert check_tenant(home, "acme") == states_after(["old", "a"])[-1]
            return
        if not [*home.rglob("tenant.db")]:
            assert is_key_gone
        listed = ruma("tenant", "list", "--json", home=home)
        assert json.loads(listed.stdout) == []
        left = [file for file in home.rglob("*") if file.is_file() and file.name not in {"machine.key", "lock"}]
        assert {file.parent for file in left} <= {home / "receipts"}
        receipts = list((home / "receipts").glob("2*.json"))
        assert len(receipts) == 1, "the command that finished the deletion wrote no receipt, or a second one"
        assert read_receipt(receipts[0].read_text()).receipt.is_complete

    every_point(
        [*RUMA, "tenant", "delete", "acme", "--yes"],
        call,
        every=every,
        env=environ_of(home),
        trace=tmp_path / "trace",
        fresh=lambda: put_back(home),
        check=check,
    )


@needs("strace")
@pytest.mark.parametrize(
    ("call", "fault", "every"),
    [
        pytest.param("fsync", "error=EIO", 4, id="fsync"),
        pytest.param("pwrite64", "error=ENOSPC", 40, id="full"),
        pytest.param("fsync", "error=EIO", 1, id="fsync-all", marks=pytest.mark.nightly),
        pytest.param("pwrite64", "error=EIO", 1, id="pwrite64-all", marks=pytest.mark.nightly),
        pytest.param("pwrite64", "error=ENOSPC", 1, id="full-all", marks=pytest.mark.nightly),
    ],
)
def test_a06_failing_disk(home: Path, tmp_path: Path, call: str, fault: str, every: int) -> None:
    """A write of a file that failed is never acknowledged, is an error in words, and leaves the previous state."""
    trace = tmp_path / "trace"

    def check(point: int, run: Run) -> None:
        lines = trace.read_text().splitlines()
        at = next(number for number, line in enumerate(lines) if "(INJECTED)" in line)
        file = re.search(r"<([^>]*)>", lines[at])
        assert file
        if not Path(file[1]).is_dir():  # SQLite ignores a failed fsync of a folder, by design
            assert not [line for line in lines[at:] if re.search(r" write\(1<", line)], (
                f"acknowledged after {lines[at]}"
            )
            is_done = len(run.stdout.split()) == len(STEPS)  # what fails while closing is still in the log
            assert is_done or re.search(r"ruma\.errors\.(StoreError|DiskFullError|DamagedError): ", run.stderr), (
                run.stderr
            )
        acked = run.stdout.split()
        check_steps(home, acked)

    every_point(
        [*STORE, "acme", *STEPS],
        call,
        fault=fault,
        every=every,
        env=environ_of(home),
        trace=trace,
        fresh=lambda: put_back(home),
        check=check,
    )


@needs("userns")
@pytest.mark.parametrize(
    "args", [["tenant", "create", "b2"], ["tenant", "list"], ["tenant", "delete", "acme", "--yes"]]
)
def test_a07_read_only_home(home: Path, args: list[str]) -> None:
    """On a disk that cannot be written a command works or says so in words, and changes nothing."""
    script = 'mount --bind "$RUMA_HOME" "$RUMA_HOME" && mount -o remount,ro,bind "$RUMA_HOME" && exec "$@"'

    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *RUMA, *args],
        env=environ_of(home),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode in ({0, 1} if args[1] == "list" else {1})
    assert "Traceback" not in run.stderr
    if run.returncode:
        assert re.search("(?i)read-only|cannot be written|cannot be used", run.stderr), run.stderr
    assert check_tenant(home, "acme") == states_after(["old", "a"])[-1]


def test_a07_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    """With a umask that hides nothing, no file and no folder of a home can be read by others."""
    home = tmp_path / "home"
    before = os.umask(0)
    try:
        assert ruma("tenant", "create", "acme", home=home).returncode == 0
        assert store(home, "a").returncode == 0
    finally:
        os.umask(before)

    check_modes(home)


def test_a09_interrupted_while_storing(home: Path) -> None:
    """Ctrl-C and SIGTERM at five moments leave whole documents only."""
    for moment, number in enumerate([signal.SIGINT, signal.SIGTERM] * 2):
        put_back(home)
        with subprocess.Popen(
            [*STORE, "acme", *STEPS * 50],
            env=environ_of(home),
            stdout=subprocess.PIPE,
            text=True,
            stderr=subprocess.DEVNULL,
        ) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(0.003 * moment)
            process.send_signal(number)
            process.communicate(timeout=20)
        assert process.returncode != 0
        assert set(check_tenant(home, "acme")) <= {"a", "b", "c", "old"}


class InterruptedTenant(Tenant):
    """A tenant whose every write is done, and interrupted before anyone knows."""

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """Commit, then raise."""
        with super().writing() as db:
            yield db
        raise KeyboardInterrupt


def test_a09_interrupted_at_the_commit(home: Path) -> None:
    """A document whose commit was done when Ctrl-C came is there with its original."""
    with Home(Settings(home=home)).open("acme") as opened:
        source = add_source(opened, "folder", "/made/up")
        with (
            InterruptedTenant(opened.name, opened.id, opened.folder, opened.key) as tenant,
            pytest.raises(KeyboardInterrupt),
        ):
            store_document(tenant, source.id, make_document("late", "Just so. "), embedder_id=EMBEDDER.id)

    assert "late" in check_tenant(home, "acme")


def write_orphan(tenant: Tenant) -> None:
    """Write a vector of no chunk, which is found out when it is committed."""
    with tenant.writing() as db:
        db.execute("pragma defer_foreign_keys = on")
        db.execute("insert into vector values (12345, x'00')")


def test_a06_a_failed_commit_leaves_the_connection_usable(home: Path) -> None:
    """After a commit that the database refused, the next write of the same open tenant works."""
    with Home(Settings(home=home)).open("acme") as tenant:
        with pytest.raises(StoreError):
            write_orphan(tenant)
        source = add_source(tenant, "folder", "/made/up")
        store_document(tenant, source.id, make_document("later", "Just so. "), embedder_id=EMBEDDER.id)

    assert "later" in check_tenant(home, "acme")


def test_a14_several_writers(home: Path) -> None:
    """Four processes that write to one tenant at once all succeed, wait for each other, and lose nothing."""
    plans = [[f"w{writer}-{number}" for number in range(15)] for writer in range(4)]
    processes = [
        subprocess.Popen([*STORE, "acme", *plan], env=environ_of(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for plan in plans
    ]

    results = [(process.communicate(timeout=60), process.returncode) for process in processes]

    assert [code for _, code in results] == [0] * 4, results
    expected = states_after([step for plan in plans for step in plan], states_after(["old", "a"])[-1])[-1]
    assert check_tenant(home, "acme") == expected


def test_a14_the_shared_index_is_removed_live(home: Path) -> None:
    """When somebody removes the -shm file under an open tenant, nothing that was stored is lost."""
    with Home(Settings(home=home)).open("acme") as tenant:
        source = add_source(tenant, "folder", "/made/up")
        store_document(tenant, source.id, make_document("b", "Before. "), embedder_id=EMBEDDER.id)
        (home / "tenants/acme/tenant.db-shm").unlink()
        store_document(tenant, source.id, make_document("c", "After. "), embedder_id=EMBEDDER.id)

    assert set(check_tenant(home, "acme")) == {"old", "a", "b", "c"}
