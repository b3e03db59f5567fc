"""The whole command `ruma ingest` under faults: killed, stopped, twice at once, on full and read-only disks."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.tenant.home import Home
from tests.harness.disk import on_small_disk
from tests.harness.needs import needs
from tests.harness.oracle import check_modes, check_tenant
from tests.harness.process import RUMA, environ_of, is_running, ruma
from tests.harness.residue import find_plaintext, make_canaries
from tests.harness.strace import Run, every_point


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a PDF of twelve pages and some smaller documents."""
    folder = tmp_path_factory.mktemp("documents")
    breads = ["rye", "wheat", "spelt", "oat", "barley", "corn", "millet", "rice", "potato", "onion", "olive", "plain"]
    write_pdf(
        folder / "guide.pdf", [f"{bread.title()} bread is baked at {3 + len(bread)} o'clock." for bread in breads]
    )
    for number in range(4):
        (folder / f"note{number}.md").write_text(f"# Note {number}\n\nOn day {number} we open at {number + 6}.\n")
    (folder / "prices.csv").write_text("bread,price\nrye,4\nwheat,3\n")
    return folder


def write_pdf(path: Path, pages: list[str], title: str = "") -> None:
    """Write a PDF with one line in the middle of each page."""
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(path))
    canvas.setTitle(title or path.stem)
    for text in pages:
        canvas.drawString(72, 400, text)
        canvas.showPage()
    canvas.save()


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a folder, by name."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with an empty tenant acme, and keep a copy for `put_back`."""
    Home(Settings(home=tmp_path / "home", key_source="machine")).create("acme")
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    return tmp_path / "home"


def put_back(home: Path) -> None:
    """Put the home back as it was."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(home.with_name("copy"), home)


@needs("strace")
@pytest.mark.parametrize(
    ("call", "every"),
    [
        pytest.param("fsync", 12, id="fsync"),
        pytest.param("rename", 4, id="rename"),
        pytest.param("fsync", 1, id="fsync-all", marks=pytest.mark.nightly),
        pytest.param("rename", 1, id="rename-all", marks=pytest.mark.nightly),
        pytest.param("pwrite64", 7, id="pwrite64-all", marks=pytest.mark.nightly),
    ],
)
def test_a01_killed_while_ingesting(home: Path, folder: Path, tmp_path: Path, call: str, every: int) -> None:
    """Each document is there whole or not at all, and the same command again completes it without a duplicate."""
    expected = hashes(folder)

    def check(point: int, run: Run) -> None:
        assert check_tenant(home, "acme").items() <= expected.items()
        again = ruma("ingest", folder, "--json", home=home)
        assert again.returncode == 0, again.stderr
        assert len(json.loads(again.stdout)["documents"]) == len(expected)
        assert check_tenant(home, "acme") == expected

    every_point(
        [*RUMA, "ingest", str(folder)],
        call,
        every=every,
        env=environ_of(home),
        trace=tmp_path / "trace",
        fresh=lambda: put_back(home),
        check=check,
    )


@pytest.mark.parametrize(
    "seconds", [pytest.param(0.1, marks=pytest.mark.nightly), 0.5, pytest.param(0.9, marks=pytest.mark.nightly), 1.3]
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_a09_stopped_while_ingesting(home: Path, folder: Path, tmp_path: Path, seconds: float, number: int) -> None:
    """Stopped at any moment the command ends within seconds, without a traceback, leaving whole documents."""
    many = tmp_path / "many"
    many.mkdir()
    for copy in range(200):
        shutil.copy(folder / "guide.pdf", many / f"guide{copy}.pdf")
    process = subprocess.Popen(
        [*RUMA, "ingest", str(many)], env=environ_of(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(seconds)
    children = children_of(process.pid)

    assert process.poll() is None, "it ended before it could be stopped"
    process.send_signal(number)
    _, said = process.communicate(timeout=10)

    # Before the program's own first line Python speaks for itself, and dies of the signal, or cannot start itself.
    is_python = process.returncode == -number or "Fatal Python error: init_" in said
    assert is_python or process.returncode == 128 + number, said
    assert is_python or "Traceback" not in said
    deadline = time.monotonic() + 5
    while any(is_running(child) for child in children):
        assert time.monotonic() < deadline, "a process of the command goes on"
        time.sleep(0.02)
    assert check_tenant(home, "acme").items() <= hashes(many).items()


def children_of(process: int) -> list[int]:
    """Return the children of a process."""
    found = []
    with suppress(OSError):  # it ended meanwhile
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def test_two_ingests_at_once(home: Path, folder: Path) -> None:
    """Two commands that read the same folder into one tenant both end well, and each document is there once."""
    command = [*RUMA, "ingest", str(folder)]
    processes = [
        subprocess.Popen(command, env=environ_of(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]

    results = [(process.communicate(timeout=60), process.returncode) for process in processes]

    assert [code for _, code in results] == [0, 0], results
    assert check_tenant(home, "acme") == hashes(folder)
    listed = json.loads(ruma("sources", "list", "--json", home=home).stdout)
    assert [source["documents"] for source in listed] == [len(hashes(folder))]


def test_two_first_ingests_at_once(tmp_path: Path, folder: Path) -> None:
    """Where there is no tenant yet, two commands at once make one, and both end well or say what was in the way."""
    home = tmp_path / "home"
    command = [*RUMA, "ingest", str(folder)]
    processes = [
        subprocess.Popen(command, env=environ_of(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]

    results = [(process.communicate(timeout=60), process.returncode) for process in processes]

    assert 0 in [code for _, code in results], results
    assert not any("Traceback" in said for (_, said), _ in results)
    (name,) = Home(Settings(home=home)).names()
    assert check_tenant(home, name) == hashes(folder)


@needs("userns")
@pytest.mark.nightly
def test_a05_full_temporary_folder_and_output(home: Path, folder: Path, tmp_path: Path) -> None:
    """A full temporary folder stops no ingest, nor does a full disk under what it prints."""
    command = " ".join([*RUMA, "ingest", str(folder)])
    script = f'head -c 1m /dev/zero > "$TMPDIR/ballast" 2>/dev/null; {command} > /dev/full 2>&1'
    temporary = tmp_path / "temporary"

    on_small_disk(["sh", "-c", script], temporary, "64k", env=environ_of(home, TMPDIR=str(temporary)))

    (name,) = Home(Settings(home=home)).names()
    assert check_tenant(home, name) == hashes(folder)


@needs("userns")
def test_a07_read_only_home(home: Path, folder: Path) -> None:
    """On a disk that cannot be written, ingesting says so in words, and changes nothing."""
    script = 'mount --bind "$RUMA_HOME" "$RUMA_HOME" && mount -o remount,ro,bind "$RUMA_HOME" && exec "$@"'

    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *RUMA, "ingest", str(folder)],
        env=environ_of(home),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert re.search("(?i)read-only|cannot be written", run.stderr + run.stdout)
    assert check_tenant(home, "acme") == {}


class Watcher(threading.Thread):
    """Copies what a process and its children have open but no name for, every 20 ms: there plaintext would hide."""

    def __init__(self, process: int, seen: Path) -> None:
        """Watch a process."""
        super().__init__(daemon=True)
        self.process, self.seen, self.rounds, self.is_ended = process, seen, 0, threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self.is_ended.wait(0.02):
            self.rounds += 1
            for process in [self.process, *children_of(self.process)]:
                self._look(process)

    def _look(self, process: int) -> None:
        try:
            (self.seen / f"environ-{process}").write_bytes(Path(f"/proc/{process}/environ").read_bytes())
            for link in Path(f"/proc/{process}/fd").iterdir():
                target = os.readlink(link)
                if target.endswith("(deleted)") and "memfd:" not in target:  # the parser's own is in memory only
                    (self.seen / f"fd-{process}-{link.name}-{self.rounds}").write_bytes(link.read_bytes())
        except OSError:
            pass  # it closed or ended meanwhile


def write_canaries(folder: Path, words: list[str]) -> None:
    """Write documents of every format with canaries in their text, titles, headings, cells and names."""
    import docx

    folder.mkdir()
    name, title, heading, body, cell, page = words
    write_pdf(
        folder / f"{name}.pdf",
        [f"The page says {page}.", "Another one says no more than this.", "The end of it."],
        title,
    )
    (folder / "a.html").write_text(f"<title>{title}</title><h1>{heading}</h1><p>It is {body}.</p>")
    (folder / "a.md").write_text(f"# {heading}\n\nIt is {body}.\n")
    (folder / "a.csv").write_text(f"{title},price\n{cell},3\n")
    (folder / "a.txt").write_text(f"{body} " * 2000)
    document = docx.Document()
    document.core_properties.title = title
    document.add_heading(heading)
    document.add_paragraph(f"It is {body}.")
    document.save(str(folder / "a.docx"))


@pytest.mark.parametrize("end", ["done", "killed"])
def test_b15_nothing_is_readable_on_the_disk(tmp_path: Path, end: str) -> None:
    """While documents of each format are ingested and asked about, and afterwards, no word of them lies open."""
    words, asked = make_canaries(6), make_canaries(1)
    home, folder, scratch, seen = (tmp_path / name for name in ("home", "documents", "scratch", "seen"))
    write_canaries(folder, words)
    scratch.mkdir()
    seen.mkdir()
    places = environ_of(
        home, TMPDIR=str(scratch), XDG_CACHE_HOME=str(scratch), XDG_DATA_HOME=str(scratch), HOME=str(scratch)
    )
    process = subprocess.Popen(
        [*RUMA, "ingest", str(folder)], env=places, cwd=scratch, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    watcher = Watcher(process.pid, seen)
    watcher.start()
    if end == "killed":
        while not [*home.rglob("files/*")] and process.poll() is None:
            time.sleep(0.005)
        process.kill()
    process.wait(timeout=60)
    watcher.is_ended.set()
    watcher.join()
    if end == "done":
        assert process.returncode == 0
        for command in ("search", "ask"):
            run = subprocess.run(
                [*RUMA, command, f"what is {asked[0]} {words[3]}"],
                env=places,
                cwd=scratch,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert run.returncode == 0, run.stderr
            assert words[3] in run.stdout or command == "ask"  # which may decline such a question

    found = find_plaintext([home, scratch, seen, Path("/dev/shm")], [*words, *asked])

    assert watcher.rounds > 5
    assert (seen / f"environ-{process.pid}").stat().st_size
    assert found == {}
    assert set(find_plaintext([folder], words)) >= {words[0], words[1], words[2], words[3], words[4]}
    check_modes(home)


def test_g53_hostile_file_names(home: Path, tmp_path: Path) -> None:
    """Names that are paths, options, controls or no text are data; links out of the folder are not followed."""
    folder = tmp_path / "documents"
    (folder / "inside").mkdir(parents=True)
    names = [
        b"x..%2f..%2fx.txt", b"x\\..\\x.txt", b"-rf.txt", b"a\nb.txt", b"\x1b[2J.txt", b"\xff\xfe.txt", b"~.txt",
        b"\xe2\x80\xaetxt.exe.txt", b"$HOME.txt", b"`id`.txt", b"'; drop table document; --.txt",
        "cafe\u0301.txt".encode(),
        "caf\u00e9.txt".encode(), b"CON.txt", b" .txt", b"x .txt", b"%s%n.txt", b"x" * 251 + b".txt",
    ]  # fmt: skip
    for number, name in enumerate(names):
        (folder / os.fsdecode(name)).write_text(f"The number is {number}.")
    secret = tmp_path / "secret.txt"
    secret.write_text("Not for anyone.")
    (folder / "link.txt").symlink_to(secret)
    (folder / "passwd.txt").symlink_to("/etc/passwd")
    (folder / "up").symlink_to(tmp_path)
    (folder / "inside" / "loop").symlink_to(folder)

    run = ruma("ingest", folder, "--json", home=home)

    outcomes = json.loads(run.stdout)["documents"]
    assert "Traceback" not in run.stderr
    assert len([one for one in outcomes if one["status"] == "added"]) == len(names)
    stored = check_tenant(home, "acme")
    assert set(stored.values()) == {
        hashlib.sha256(f"The number is {at}.".encode()).hexdigest() for at in range(len(names))
    }
    assert hashlib.sha256(secret.read_bytes()).hexdigest() not in stored.values()
    assert "\x1b" not in ruma("sources", "show", "1", home=home).stdout


@needs("strace")
def test_g53_nothing_is_written_outside_the_home(home: Path, folder: Path, tmp_path: Path) -> None:
    """While documents are ingested, no process of the command opens a file outside the home for writing."""
    trace = tmp_path / "trace"
    subprocess.run(
        [
            "strace",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-o",
            trace,
            "-e",
            "trace=openat,rename,unlink,mkdir",
            *RUMA,
            "ingest",
            folder,
        ],
        env=environ_of(home, PYTHONDONTWRITEBYTECODE="1"),
        check=True,
        capture_output=True,
        timeout=60,
    )

    changed = set()
    for line in trace.read_text(errors="replace").splitlines():
        if "openat(" in line and not re.search("O_WRONLY|O_RDWR|O_CREAT", line):
            continue
        if " = -1 " not in line and (found := re.search(r'"((?:[^"\\]|\\.)*)"', line)):
            changed.add(found[1])
    changed = {path for path in changed if "/__pycache__/" not in path}  # Python's own, of the program's files
    inside = {path for path in changed if path.startswith(str(home))}

    assert len(inside) > len(hashes(folder))
    assert changed - inside <= {"/dev/null", "/dev/tty"}, changed - inside


def test_the_scratch_folder_is_where_it_is_looked_for() -> None:
    """The variable by which the tests above move temporary files is the one that Python obeys."""
    run = subprocess.run(
        [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"],
        env={**os.environ, "TMPDIR": "/dev/shm"},
        capture_output=True,
        text=True,
    )

    assert run.stdout.strip() == "/dev/shm"
    assert tempfile.gettempdir()
