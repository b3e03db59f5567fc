"""Power cuts: copies of a database in use, and files as a disk could hold them, have all that was acknowledged."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.tenant.database import FILE_NAME, open_database
from ruma.tenant.home import Home
from tests.harness import replay
from tests.harness.forking import STORING, Forked
from tests.harness.needs import needs
from tests.harness.oracle import check_tenant
from tests.harness.process import ROOT, STORE, environ_of
from tests.harness.storing import states_after

LOG = f"{FILE_NAME}-wal"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with an empty tenant."""
    Home(Settings(home=tmp_path / "home", key_source="machine")).create("acme")
    return tmp_path / "home"


def documents_in(folder: Path, home: Path) -> set[str]:
    """Return the documents in a copy of the database, after reading every page of it."""
    with Home(Settings(home=home)).open("acme") as tenant:
        db = open_database(folder, tenant.key, tenant.id)
    try:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        # The next check looks at the database's file alone, in which pages may be missing that the log has.
        assert db.execute("pragma wal_checkpoint(truncate)").fetchall() == [(0, 0, 0)]
        assert db.execute("pragma cipher_integrity_check").fetchall() == []
        assert db.execute("pragma foreign_key_check").fetchall() == []
        return {row[0] for row in db.execute("select name from document")}
    finally:
        db.close()


ORDERS = ("frozen", "database first", "log first")


@needs("strace")
@pytest.mark.parametrize("copies", [9, pytest.param(500, marks=pytest.mark.nightly)])
def test_a03_copies_without_the_shared_index_while_four_write(home: Path, tmp_path: Path, copies: int) -> None:
    """A copy of the two files at any moment opens, is whole, and has every document that was acknowledged before.

    One file is copied before the other, and no power cut can do everything that may happen in between. SQLite makes
    the log durable before a checkpoint moves pages out of it, and the database before the log is begun anew. So a log
    from before with a database that a checkpoint reached later is on no disk, nor is a database from before with a log
    that was begun anew. While the files are copied, either all four writers stand still, or somebody reads the state
    from before: then no newer page can be moved, and the log only grows. What a disk may do to writes of one moment,
    in whichever order, test 4 tries.
    """
    copied = list[tuple[Path, str, set[str]]]()
    # More than they can do in this time: the end of the last writer takes the log away.
    plans = [[f"w{writer}-{number}" for number in range(10 * copies)] for writer in range(4)]
    outputs = [tmp_path / f"acked{writer}" for writer in range(4)]
    with writers(home, plans, outputs) as processes:
        while not all(output.stat().st_size for output in outputs):
            time.sleep(0.01)
        while len(copied) < copies:
            assert [process.poll() for process in processes] == [None] * 4
            order, copy = ORDERS[len(copied) % 3], tmp_path / f"copy{len(copied)}"
            copy.mkdir()
            copied.append((copy, order, copy_files(home, copy, order, processes, outputs)))
            time.sleep(0.05)

    everything = {name for plan in plans for name in plan}
    for copy, order, acked in copied:
        found = documents_in(copy, home)
        assert acked <= found <= everything
        assert order != "frozen" or len(found - acked) <= 8, "more than what was in flight"
    assert len({len(acked) for _, _, acked in copied}) > copies / 3, "the writers hardly wrote"
    done = {word for output in outputs for word in output.read_text().split()}
    assert done <= set(check_tenant(home, "acme")) <= everything


@contextmanager
def writers(home: Path, plans: list[list[str]], outputs: list[Path]) -> Iterator[list[Forked]]:
    """Give processes that store documents at the same time, each fsync of theirs delayed."""
    processes, tracers = list[Forked](), list[subprocess.Popen[bytes]]()
    delay = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=5000"]
    try:
        for plan, output in zip(plans, outputs, strict=True):
            with open(output, "wb") as said, open(os.devnull, "wb") as nothing:
                more = {"stdout": said.fileno(), "stderr": nothing.fileno()}
                processes.append(Forked([STORING, "acme", *plan], env=environ_of(home), cwd=ROOT, **more))
            tracers.append(subprocess.Popen([*delay, "-p", str(processes[-1].pid)]))
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for tracer in tracers:
            tracer.wait(timeout=20)


def copy_files(home: Path, copy: Path, order: str, processes: list[Forked], outputs: list[Path]) -> set[str]:
    """Copy the database and its log, and return what was acknowledged before."""
    folder, names = home / "tenants/acme", [FILE_NAME, LOG]
    with ExitStack() as stack:
        if order == "frozen":
            for process in processes:
                process.send_signal(signal.SIGSTOP)
                stack.callback(process.send_signal, signal.SIGCONT)
        else:
            tenant = stack.enter_context(Home(Settings(home=home)).open("acme"))
            stack.enter_context(tenant.reading()).execute("select count(*) from document").fetchone()
        acked = {word for output in outputs for word in output.read_text().split()}
        for name in names if order == "database first" else reversed(names):
            # By another process: to close a file here would take the reader's locks.
            subprocess.run(["cp", "--reflink=never", folder / name, copy], check=True)
    return acked


@needs("strace")
@pytest.mark.parametrize("cuts", [12, pytest.param(300, marks=pytest.mark.nightly)])
def test_a04_lost_and_torn_writes(home: Path, tmp_path: Path, cuts: int) -> None:
    """Whatever of the writes that were not synced a disk lost or tore, the tenant opens with all acknowledged."""
    steps = ["a", "b", "a=2", "c", "d=7", "e"]
    names, folder = (FILE_NAME, LOG), home / "tenants/acme"
    start = {name: (folder / name).read_bytes() if (folder / name).exists() else b"" for name in names}
    traced = "|".join(("acme", *names))
    recorded = replay.record([*STORE, "acme", *steps], tmp_path / "trace", traced, env=environ_of(home))
    states, chance = states_after(steps), random.Random(4)
    assert replay.acknowledged(recorded, len(recorded)) == steps
    assert sum(step.call == "fsync" for step in recorded) > len(steps)
    shutil.copytree(home, tmp_path / "end")

    seen = set[int]()
    for _ in range(cuts):
        moment = chance.randrange(len(recorded) + 1)
        for name in names:
            (folder / name).unlink(missing_ok=True)
        for name, content in replay.cut(recorded, start, moment, chance, folder="acme").items():
            (folder / name).write_bytes(content)
        for other in folder.glob("*-shm"):
            other.unlink()
        done = len(replay.acknowledged(recorded, moment))
        shutil.copytree(tmp_path / "end/tenants/acme/files", folder / "files", dirs_exist_ok=True)
        found = names_and_hashes(home)
        assert found in states[done : done + 2]
        seen.add(done)

    assert len(seen) > 3, "the cuts were all at the same place"


def names_and_hashes(home: Path) -> dict[str, str]:
    """Return the documents in the database, whose every page is read."""
    with Home(Settings(home=home)).open("acme") as tenant, tenant.unbound() as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert db.execute("pragma cipher_integrity_check").fetchall() == []
        return dict(db.execute("select name, content_hash from document").fetchall())


def test_a04_the_replay_finds_what_it_is_made_to_find(tmp_path: Path) -> None:
    """A write that was synced is always there; one that was not is there, lost or torn; and nothing else is."""
    steps = [
        replay.Step("pwrite64", "db", b"a" * 1024, 0),
        replay.Step("fsync", "db"),
        replay.Step("pwrite64", "db", b"b" * 1024, 512),
    ]

    found = {replay.cut(steps, {"db": b""}, 3, random.Random(seed))["db"] for seed in range(100)}

    assert {content[:512] for content in found} == {b"a" * 512}
    whole, torn = b"a" * 512 + b"b" * 1024, b"a" * 512 + b"b" * 512
    assert found == {b"a" * 1024, whole, torn}
    assert {replay.cut(steps, {"db": b""}, 0, random.Random(seed))["db"] for seed in range(9)} == {b""}
