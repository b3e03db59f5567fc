"""Power cuts: copies of a database in use, and files as a disk could hold them, have all that was acknowledged."""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.tenant.database import FILE_NAME, open_database
from ruma.tenant.home import Home
from tests.harness import replay
from tests.harness.needs import needs
from tests.harness.oracle import check_tenant
from tests.harness.process import STORE, environ_of
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
        assert db.execute("pragma cipher_integrity_check").fetchall() == []
        assert db.execute("pragma foreign_key_check").fetchall() == []
        return {row[0] for row in db.execute("select name from document")}
    finally:
        db.close()


@pytest.mark.parametrize("copies", [8, pytest.param(500, marks=pytest.mark.nightly)])
def test_a03_copies_without_the_shared_index_while_four_write(home: Path, tmp_path: Path, copies: int) -> None:
    """A copy of the two files at any moment opens, is whole, and has every document that was acknowledged before."""
    chance, copied = random.Random(3), list[tuple[Path, set[str]]]()
    plans = [[f"w{writer}-{number}" for number in range(max(25, copies // 2))] for writer in range(4)]
    outputs = [tmp_path / f"acked{writer}" for writer in range(4)]
    processes = []
    for plan, output in zip(plans, outputs, strict=True):
        with open(output, "wb") as file:
            processes.append(subprocess.Popen([*STORE, "acme", *plan], env=environ_of(home), stdout=file))
    folder = home / "tenants/acme"
    try:
        while not all(output.stat().st_size for output in outputs):
            time.sleep(0.01)
        while len(copied) < copies and any(process.poll() is None for process in processes):
            time.sleep(chance.random() * 0.05)
            # Power goes for all of them at one moment; what each of them was just doing is half done.
            for process in processes:
                process.send_signal(signal.SIGSTOP)
            acked = {word for output in outputs for word in output.read_text().split()}
            copy = tmp_path / f"copy{len(copied)}"
            copy.mkdir()
            for name in (FILE_NAME, LOG):
                if (folder / name).exists():  # the last one that ends takes the log with it
                    shutil.copyfile(folder / name, copy / name)
            copied.append((copy, acked))
            for process in processes:
                process.send_signal(signal.SIGCONT)
        assert [process.wait(timeout=120) for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
            process.wait()

    assert len(copied) >= min(copies, 5)
    everything = {name for plan in plans for name in plan}
    for copy, acked in copied:
        found = documents_in(copy, home)
        assert acked <= found <= everything
        assert len(found - acked) <= 8, "more than what was in flight"
    assert set(check_tenant(home, "acme")) == everything


@needs("strace")
@pytest.mark.parametrize("cuts", [12, pytest.param(300, marks=pytest.mark.nightly)])
def test_a04_lost_and_torn_writes(home: Path, tmp_path: Path, cuts: int) -> None:
    """Whatever of the writes that were not synced a disk lost or tore, the tenant opens with all acknowledged."""
    steps = ["a", "b", "a=2", "c", "d=7", "e"]
    names, folder = (FILE_NAME, LOG), home / "tenants/acme"
    start = {name: (folder / name).read_bytes() if (folder / name).exists() else b"" for name in names}
    trace = tmp_path / "trace"
    command = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "10000", "-e", f"trace={replay.TRACED}"]
    environment = environ_of(home, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    subprocess.run([*command, "-o", str(trace), *STORE, "acme", *steps], env=environment, check=True, timeout=120)
    recorded = replay.read_trace(trace, set(names))
    states, chance = states_after(steps), random.Random(4)
    assert replay.acknowledged(recorded, len(recorded)) == steps
    assert sum(step.call == "fsync" for step in recorded) > len(steps)
    shutil.copytree(home, tmp_path / "end")

    seen = set[int]()
    for _ in range(cuts):
        moment = chance.randrange(len(recorded) + 1)
        for name, content in replay.cut(recorded, start, moment, chance).items():
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
