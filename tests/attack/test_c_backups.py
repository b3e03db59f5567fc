"""Backups killed anywhere, on full disks and looked at while they run: none is half there, and nothing is in clear."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ruma.privacy.restoring import choose_snapshot, try_restore
from ruma.tenant.documents import store_document
from ruma.tenant.sources import add_source
from ruma.tenant.uploads import receive_upload
from tests.backing import BackedUp, make_backed_up, store_numbered
from tests.harness.disk import on_small_disk
from tests.harness.needs import needs
from tests.harness.process import RUMA, environ_of, ruma
from tests.harness.residue import find_plaintext, make_canaries, needles
from tests.harness.strace import Run, every_point
from tests.making import EMBEDDER, make_document


@pytest.fixture
def backed_up(tmp_path: Path) -> BackedUp:
    """Return a home with one backup, and a document more since then; copies are kept for `put_back`."""
    made = make_backed_up(tmp_path, documents=3, conversations=5)
    made.make()
    with made.home.open("acme") as tenant:
        store_numbered(tenant, 50)
    for name in ("home", "backups"):
        shutil.copytree(tmp_path / name, tmp_path / "copy" / name)
    return made


def put_back(backed_up: BackedUp) -> None:
    """Put the home and the backups back as they were."""
    for folder in (backed_up.settings.home, backed_up.folder):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(folder.parent / "copy" / folder.name, folder)


@needs("strace")
@pytest.mark.parametrize(
    ("call", "fault", "every"),
    [
        pytest.param("rename", "signal=SIGKILL", 4, id="rename"),
        pytest.param("fsync", "error=EIO", 12, id="failing"),
        pytest.param("write", "error=ENOSPC", 1, id="full-all", marks=pytest.mark.nightly),
        *[
            pytest.param(call, "signal=SIGKILL", 1, id=f"{call}-all", marks=pytest.mark.nightly)
            for call in ("rename", "fsync", "write", "unlink", "pwrite64")
        ],
    ],
)
def test_a02_a06_a_backup_that_is_killed_or_fails_anywhere(
    backed_up: BackedUp, tmp_path: Path, call: str, fault: str, every: int
) -> None:
    """The former backup is whole, the new one is there whole or not at all, and the next command makes one."""

    def check(point: int, run: Run) -> None:
        folder = backed_up.reading()
        counts = [try_restore(backed_up.home, folder, one).documents for one in folder.snapshots()]
        assert counts in ([3], [3, 4])
        if run.returncode == 0:
            assert len(counts) == 2
        else:
            assert "Traceback" not in run.stderr
        made = backed_up.make()
        assert made.damaged == ()
        assert try_restore(backed_up.home, backed_up.reading(), made.snapshot).documents == 4
        assert not list(backed_up.folder.rglob("*.part"))

    every_point(
        [*RUMA, "backup", "make", str(backed_up.folder)],
        call,
        fault=fault,
        every=every,
        env=environ_of(backed_up.settings.home),
        trace=tmp_path / "trace",
        fresh=lambda: put_back(backed_up),
        check=check,
    )


@needs("strace")
@pytest.mark.parametrize("call", ["unlink", pytest.param("fsync", marks=pytest.mark.nightly)])
def test_a02_a_removal_that_is_killed_anywhere(backed_up: BackedUp, tmp_path: Path, call: str) -> None:
    """Every backup that is still listed can be restored."""
    backed_up.make()
    for folder in (backed_up.settings.home, backed_up.folder):
        shutil.rmtree(tmp_path / "copy" / folder.name)
        shutil.copytree(folder, tmp_path / "copy" / folder.name)

    def check(point: int, run: Run) -> None:
        folder = backed_up.reading()
        assert [try_restore(backed_up.home, folder, one).documents for one in folder.snapshots()] in ([3, 4], [4])

    every_point(
        [*RUMA, "backup", "prune", str(backed_up.folder), "--keep-daily", "1"],
        call,
        every=5,
        env=environ_of(backed_up.settings.home),
        trace=tmp_path / "trace",
        fresh=lambda: put_back(backed_up),
        check=check,
    )


@needs("userns")
def test_a05_a_full_disk_under_the_backups(tmp_path: Path) -> None:
    """The error says that it is full; the backup before is listed and can be restored; with space the next succeeds."""
    made = make_backed_up(tmp_path, documents=3, conversations=5)
    shutil.rmtree(made.folder)
    with made.home.open("acme") as tenant:
        source = add_source(tenant, "folder", "/made/up")
        large = [os.urandom(600_000).hex()]
    home, ready = made.settings.home, tmp_path / "ready"
    text = tmp_path / "large.txt"
    text.write_text(large[0])
    backup = " ".join([*RUMA, "backup"])
    script = f"""
        {backup} init {made.folder} --json > {tmp_path}/init.json || exit 9
        python3 -c "import json; print(json.load(open('{tmp_path}/init.json'))['secret'])" > {tmp_path}/secret
        {backup} make {made.folder} > /dev/null; echo "first $?"
        touch {ready}; while [ -e {ready} ]; do sleep 0.05; done
        {backup} make {made.folder} > /dev/null 2> {tmp_path}/error; echo "full $?"
        {backup} list {made.folder} --json > {tmp_path}/list.json; echo "list $?"
        {backup} verify {made.folder} --secret-file {tmp_path}/secret > /dev/null; echo "verify $?"
        mount -o remount,size=8m {made.folder}
        {backup} make {made.folder} > /dev/null; echo "second $?"
        {backup} verify {made.folder} --secret-file {tmp_path}/secret --json > {tmp_path}/counts.json; echo "verify $?"
    """
    with made.home.open("acme") as tenant:

        def add() -> None:
            while not ready.exists():
                time.sleep(0.05)
            store_document(tenant, source.id, make_document("large", text.read_text()), embedder_id=EMBEDDER.id)
            ready.unlink()

        import threading

        adding = threading.Thread(target=add)
        adding.start()
        run = on_small_disk(["sh", "-c", script], made.folder, "1m", env=environ_of(home))
        adding.join()

    assert run.stdout.split("\n")[:-1] == ["first 0", "full 1", "list 0", "verify 0", "second 0", "verify 0"], (
        run.stderr
    )
    assert re.search(r"Error: The disk of .* is full; the backups that are there", (tmp_path / "error").read_text())
    assert len(json.loads((tmp_path / "list.json").read_text())) == 1
    assert json.loads((tmp_path / "counts.json").read_text())[0]["counts"]["documents"] == 4


def test_a09_a_backup_that_is_interrupted(backed_up: BackedUp) -> None:
    """Ctrl-C and SIGTERM end it within seconds, with a code, and the former backup can be restored."""
    codes = []
    for moment, number in enumerate((signal.SIGINT, signal.SIGTERM)):
        put_back(backed_up)
        command = [*RUMA, "backup", "make", str(backed_up.folder)]
        with subprocess.Popen(
            command, env=environ_of(backed_up.settings.home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None and not (backed_up.folder / "lock").stat().st_size:
                time.sleep(0.3 + moment * 0.2)
                process.send_signal(number)
            codes.append(process.wait(timeout=10))
        folder = backed_up.reading()
        assert [try_restore(backed_up.home, folder, one).documents for one in folder.snapshots()] in ([3], [3, 4])

    assert codes[0] in (0, 130, -signal.SIGINT)
    assert codes[1] in (0, 143, -signal.SIGTERM)


def open_files(process: int) -> set[str]:
    """Return what a process has open, deleted files included."""
    found = set()
    for descriptor in Path(f"/proc/{process}/fd").glob("*"):
        try:
            found.add(os.readlink(descriptor))
        except OSError:
            continue
    return found


def test_c30_nothing_of_a_backup_is_in_clear(tmp_path: Path) -> None:
    """While 20 MB are backed up and restored no file but sealed ones is open, and no word is found on the disk."""
    made = make_backed_up(tmp_path, documents=1, conversations=1)
    words = make_canaries(4)
    with made.home.open("acme") as tenant:
        source = add_source(tenant, "folder", "/made/up")
        document = make_document(words[0], f"It says {words[1]} here. ", title=words[2])
        store_document(tenant, source.id, document, embedder_id=EMBEDDER.id)
        block = f"{words[3]} ".encode() * 40_000
        receive_upload(tenant, words[0], [block] * 20, kind="upload", added_by="Ada", most_bytes=99_000_000)
    secret, scratch = tmp_path / "secret", tmp_path / "scratch"
    secret.write_text(made.secret.recovery_text())
    scratch.mkdir()
    allowed = (str(made.settings.home), str(made.folder), "/dev/null", "pipe:", "socket:", "anon_inode:", "/proc/")
    strange, samples = set[str](), 0

    for words_of in (["make", made.folder], ["verify", made.folder, "--secret-file", secret]):
        with subprocess.Popen(
            [*RUMA, "backup", *map(str, words_of)],
            env=environ_of(made.settings.home, TMPDIR=str(scratch)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while process.poll() is None:
                for name in open_files(process.pid):
                    is_ours = name.startswith(allowed) and not (
                        name.endswith("(deleted)") and "/tenant.db-" not in name
                    )
                    if not is_ours and re.search(r"/(tmp|shm|memfd)|\(deleted\)", name):
                        strange.add(name)
                samples += 1
                time.sleep(0.01)
            printed = "".join(process.communicate())
        assert process.returncode == 0, printed
        assert not any(form.decode() in printed for word in words for form in needles(word) if form.isascii())

    assert samples > 20
    assert strange == set()
    places = [made.settings.home, made.folder, scratch, Path("/dev/shm")]
    assert find_plaintext(places, words) == {}
    (scratch / "planted").write_text(words[1])
    assert find_plaintext(places, words) == {words[1]: [str(scratch / "planted")]}


def test_c30_neither_the_live_key_nor_a_guess_reads_a_backup(backed_up: BackedUp) -> None:
    """What can read the living tenant cannot read its backup; only the folder's own secret can."""
    with backed_up.home.open("acme") as tenant:
        key = tenant.key.recovery_text()
    for secret, code in (
        (key, 1),
        ("A" * 55, 1),
        ("", 1),
        (backed_up.secret.recovery_text(), 0),
    ):
        run = ruma("backup", "verify", backed_up.folder, home=backed_up.settings.home, typed=f"{secret}\n")
        assert run.returncode == code, run.stderr
        assert "Traceback" not in run.stderr
        assert not secret or secret not in run.stdout + run.stderr

    assert choose_snapshot(backed_up.reading().snapshots()).number == 1
