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
from ruma.tenant.copying.backup_folder import open_with_secret
from ruma.tenant.keys.data_key import Key
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.uploads import receive_upload
from tests.backing import BackedUp, make_backed_up
from tests.harness.disk import on_small_disk
from tests.harness.needs import needs
from tests.harness.process import RUMA, STORE, environ_of, ruma
from tests.harness.residue import find_plaintext, make_canaries, needles
from tests.harness.strace import Run, every_point
from tests.making import EMBEDDER, make_document

ROOT = Path(__file__).parents[2]
WORD = make_canaries(1)[0]


@pytest.fixture
def backed_up(tmp_path: Path) -> BackedUp:
    """Return a home with one backup, and a document more since then; copies are kept for `put_back`."""
    made = make_backed_up(tmp_path, documents=3, conversations=5)
    made.make()
    with made.home.open("acme") as tenant:
        document = make_document(f"{WORD}.txt", f"It says {WORD} here. ", title=WORD)
        store_document(tenant, add_source(tenant, "folder", "/made/up").id, document, embedder_id=EMBEDDER.id)
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
        pytest.param("rename", "signal=SIGKILL", 8, id="rename"),
        pytest.param("fsync", "error=EIO", 30, id="failing"),
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
    """The former backup is whole, the new one is there whole or not at all, and the next command makes one.

    No word of what it was writing lies about in clear (test 30).
    """

    def check(point: int, run: Run) -> None:
        assert find_plaintext([backed_up.settings.home, backed_up.folder], [WORD]) == {}
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
@pytest.mark.nightly
@pytest.mark.parametrize("call", ["unlink", "fsync"])
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
        env=environ_of(backed_up.settings.home),
        trace=tmp_path / "trace",
        fresh=lambda: put_back(backed_up),
        check=check,
    )


@needs("userns")
@pytest.mark.nightly
def test_a05_a_full_disk_under_the_backups(tmp_path: Path) -> None:
    """The error says that it is full; the backup before is listed and can be restored; with space the next succeeds."""
    made = make_backed_up(tmp_path, documents=3, conversations=5)
    shutil.rmtree(made.folder)
    (tmp_path / "large.txt").write_text("\n\n".join(f"Word {os.urandom(400).hex()}." for _ in range(1500)))
    backup = " ".join([*RUMA, "backup"])
    script = f"""
        cd {Path.cwd()}
        {backup} init {made.folder} --json > {tmp_path}/init.json || exit 9
        python3 -c "import json; print(json.load(open('{tmp_path}/init.json'))['secret'])" > {tmp_path}/secret
        {backup} make {made.folder} > /dev/null; echo "first $?"
        {" ".join(RUMA)} ingest {tmp_path}/large.txt > /dev/null 2>&1; echo "ingest $?"
        {backup} make {made.folder} > /dev/null 2> {tmp_path}/error; echo "full $?"
        {backup} verify {made.folder} --secret-file {tmp_path}/secret --json > {tmp_path}/before.json; echo "verify $?"
        mount -o remount,size=8m {made.folder}
        {backup} make {made.folder} > /dev/null; echo "second $?"
        cp -r {made.folder} {tmp_path}/saved
    """

    run = on_small_disk(["sh", "-c", script], made.folder, "1m", env=environ_of(made.settings.home))

    codes = ["first 0", "ingest 0", "full 1", "verify 0", "second 0"]
    assert run.stdout.split("\n")[:-1] == codes, run.stderr
    assert re.search(r"Error: The disk of .* is full; the backups that are there", (tmp_path / "error").read_text())
    assert json.loads((tmp_path / "before.json").read_text())[0]["counts"]["documents"] == 3
    secret = Key.from_recovery_text((tmp_path / "secret").read_text())
    folder = open_with_secret(tmp_path / "saved", secret)
    assert [try_restore(made.home, folder, one).documents for one in folder.snapshots()] == [3, 4]


def test_a14_backups_of_a_tenant_that_others_write_to(tmp_path: Path) -> None:
    """Each backup is one moment: what was stored before it began is in it, and nothing of it is there by halves."""
    made = make_backed_up(tmp_path, documents=2, conversations=5)
    acked, found = tmp_path / "acked", list[tuple[int, int, int]]()
    steps = [f"w{number}" for number in range(60)] + ["-w3", "w5=2"] * 5
    with (
        open(acked, "wb") as output,
        subprocess.Popen([*STORE, "acme", *steps], env=environ_of(made.settings.home), stdout=output) as process,
    ):
        while process.poll() is None and not acked.read_text():
            time.sleep(0.01)
        while process.poll() is None and len(found) < 4:
            before = len(acked.read_text().split())
            snapshot = made.make().snapshot
            after = len(acked.read_text().split())
            found.append((before, try_restore(made.home, made.reading(), snapshot).documents - 2, after))
        assert process.wait(timeout=60) == 0

    assert len(found) > 1
    assert found[-1][2] > found[0][0]
    for before, documents, after in found:
        assert min(before, 59) <= documents <= after + 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a09_a_backup_that_is_interrupted(backed_up: BackedUp, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM in the middle of a file end it at once, and the former backup can be restored."""
    with backed_up.home.open("acme") as tenant:
        receive_upload(tenant, "large", [os.urandom(1 << 20)] * 50, kind="upload", added_by="A", most_bytes=99_000_000)
    with subprocess.Popen(
        [*RUMA, "backup", "make", str(backed_up.folder)],
        env=environ_of(backed_up.settings.home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not any(file.stat().st_size > 1 << 20 for file in backed_up.folder.rglob("*.part")):
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(number)
        code = process.wait(timeout=10)

    assert code in ({130, -signal.SIGINT} if number == signal.SIGINT else {143, -signal.SIGTERM})
    folder = backed_up.reading()
    assert [try_restore(backed_up.home, folder, one).documents for one in folder.snapshots()] == [3]


ENCRYPTED = r"/tenant\.db-|/\.building-[0-9a-f]+ "
"""What may be open and gone: the log of an encrypted database, and the folder of a trial restore that has ended."""


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
    allowed = (
        str(ROOT),
        str(made.settings.home),
        str(made.folder),
        "/dev/null",
        "pipe:",
        "socket:",
        "anon_inode:",
        "/proc/",
    )
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
                    is_ours = name.startswith(allowed) and ("(deleted)" not in name or re.search(ENCRYPTED, name))
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
    for secret, code in ((key, 1), (backed_up.secret.recovery_text(), 0)):
        run = ruma("backup", "verify", backed_up.folder, home=backed_up.settings.home, typed=f"{secret}\n")
        assert run.returncode == code, run.stderr
        assert "Traceback" not in run.stderr
        assert secret not in run.stdout + run.stderr

    assert choose_snapshot(backed_up.reading().snapshots()).number == 1
