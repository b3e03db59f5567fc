import io
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruma.errors import InputError
from ruma.ingest import reading
from ruma.ingest.reading import Limits, Reader
from tests.harness.needs import needs
from tests.harness.process import is_running
from tests.parsing import make_pdf, make_word, word_paragraph

DATA = Path(__file__).parents[1] / "../shared/data"
SLOW = b"[a](" * 400_000


def children_of(pid: int) -> list[int]:
    """Return a process's children."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def process_of(reader: Reader) -> int:
    """Return the parser process's id."""
    assert reader._process is not None
    return reader._process.pid


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """Return a reader that many tests use, as one ingest does for many files."""
    with Reader() as reader:
        yield reader


def test_a_document_comes_back_whole(reader: Reader) -> None:
    """Text, structure, title and sentences cross the process border unchanged."""
    document = reader.read("# Größe 🥐\n\nEins. Zwei.\n\n- drei\n".encode(), "a.md")

    assert document.text == "Größe 🥐\n\nEins. Zwei.\n\n- drei"
    assert [(block.kind, block.headings) for block in document.blocks] == [
        ("heading", ("Größe 🥐",)),
        ("paragraph", ("Größe 🥐",)),
        ("list item", ("Größe 🥐",)),
    ]
    assert [document.text[start:end] for start, end in document.sentences] == ["Eins.", "Zwei.", "drei"]
    assert (document.title, document.media_type) == ("Größe 🥐", "text/markdown")


def test_the_process_is_confined() -> None:
    """No key in its environment, no file, no core dump, no new privileges, limits set, a network of its own."""
    with Reader() as reader:
        reader.read(b"hello", "a.txt")
        pid = process_of(reader)
        environment = Path(f"/proc/{pid}/environ").read_bytes() if os.geteuid() == 0 else b"LANG=C.UTF-8\0"
        status = Path(f"/proc/{pid}/status").read_text()
        limits = Path(f"/proc/{pid}/limits").read_text() if os.geteuid() == 0 else ""
        own_network = os.readlink("/proc/self/ns/net")
        its_network = os.readlink(f"/proc/{pid}/ns/net") if os.geteuid() == 0 else ""

    assert environment == b"LANG=C.UTF-8\0"
    assert "NoNewPrivs:\t1" in status
    if limits:
        assert "Max address space         1073741824           1073741824" in limits
        assert "Max file size             0                    0" in limits
        assert "Max open files            64                   64" in limits
        assert "Max core file size        0                    0" in limits
    if its_network:
        assert (its_network != own_network) is reader.is_fully_confined


@needs("strace")
def test_a_document_opens_nothing_and_dials_nobody(tmp_path: Path) -> None:
    """While documents are read, the child opens no file, makes no socket and runs no program."""
    files = {
        "page.html": b"<!doctype html><img src='file:///etc/passwd'><link href='http://127.0.0.1:9/x'><p>Hi there</p>"
        b"<iframe src='http://127.0.0.1:9/'></iframe>",
        "link.docx": make_word(word_paragraph("x &e;"), doctype='<!DOCTYPE x [<!ENTITY e SYSTEM "/etc/passwd">]>'),
        "text.pdf": make_pdf(lambda canvas: canvas.drawString(70, 700, "Hello there")),
        "text.csv": b"a,b\n1,2\n",
        "text.md": b"# Hi\n\n![x](/etc/passwd)\n",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    trace = tmp_path / "trace"
    script = (
        "import sys, pathlib\nfrom ruma.ingest.reading import Reader\nreader = Reader()\n"
        "[reader.read(pathlib.Path(name).read_bytes(), name) for name in sys.argv[1:]]\nreader.close()\n"
    )
    calls = "open,openat,openat2,socket,connect,execve,execveat,clone,clone3,fork,vfork"
    subprocess.run(
        ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={calls}", sys.executable, "-c", script, *files],
        cwd=tmp_path,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )

    lines = [line.split(maxsplit=1) for line in trace.read_text().splitlines()]
    forked = {line.rsplit("= ", 1)[1] for _, line in lines if line.startswith("clone(child_stack=NULL")}
    documents = [pid for pid in forked if not any(who == pid and "execve" in what for who, what in lines)]
    made = [what for who, what in lines if who in documents]
    assert len(documents) >= len(files)
    assert [what for what in made if "= -1" not in what and "exited" not in what and "SIG" not in what] == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("div.html", b"<!doctype html>" + b"<div>" * 200_000),
        ("brackets.md", b"[" * 100_000),
        ("quotes.md", b">" * 100_000),
        ("stars.md", b"*a " * 100_000),
        ("columns.md", b"|" + b"a|" * 10_000 + b"\n|" + b"-|" * 10_000 + b"\n|" + b"b|" * 10_000),
        ("style.html", b"<!doctype html><style>" + b"a{b:c}" * 1_000_000 + b"</style><p>Hello there</p>"),
        ("tags.md", b"{% " * 100_000),
        ("columns.csv", b",".join(b"c%d" % n for n in range(100_000)) + b"\n" + b"v," * 99_999 + b"v"),
        ("line.txt", b"word " * 1_000_000),
        ("nul.txt", b"abc\0def\0" * 1000),
        ("loop.pdf", make_pdf(lambda c: c.drawString(9, 9, "x")).replace(b"/Count 1 /Kids", b"/Count 1 /Kids_")),
    ],
)
def test_pathological_files_end_soon(reader: Reader, name: str, data: bytes) -> None:
    """Each is read or refused, in linear time, and the next document is read as ever."""
    started = time.monotonic()
    try:
        assert reader.read(data, name).text
    except InputError as exc:
        assert str(exc).endswith(".")  # noqa: PT017

    assert time.monotonic() - started < 15
    assert reader.read(b"hello", "a.txt").text == "hello"


def test_memory_is_limited(reader: Reader) -> None:
    """A file that takes more than its share of memory to read is one failed document, and this process takes none."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with Reader(Limits(memory_bytes=200_000_000)) as small, pytest.raises(InputError, match="of memory to read"):
        small.read(b"hello there\n\n" * 500_000, "a.txt")

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_bomb_that_lies_about_its_size_is_stopped(reader: Reader) -> None:
    """An archive that unpacks to more than it declares is damaged, not believed."""
    data = bytearray(make_word(word_paragraph(" " * 50_000_000 + "x")))
    directory = data.rfind(b"word/document.xml") - 46
    assert zipfile.ZipFile(io.BytesIO(data)).getinfo("word/document.xml").file_size > 50_000_000
    data[directory + 24 : directory + 28] = (1000).to_bytes(4, "little")

    with pytest.raises(InputError, match="damaged"):
        reader.read(bytes(data), "a.docx")


def test_processor_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that would never end is ended by its own limit, and the process goes on with the next."""
    monkeypatch.setattr(reading, "WALL_FACTOR", 60)  # on a busy machine it may wait for its second
    with Reader(Limits(cpu_seconds=1)) as reader:
        reader.read(b"hello", "a.txt")
        pid = process_of(reader)
        with pytest.raises(InputError, match="took too long to read: more than 1 second"):
            reader.read(SLOW, "a.md")

        assert reader.read(b"hello", "a.txt").text == "hello"
        assert process_of(reader) == pid


def test_waiting_is_limited() -> None:
    """A child that sleeps uses no processor time; the parent gives up on it, and starts anew."""
    with Reader(Limits(cpu_seconds=1)) as reader:
        reader.read(b"hello", "a.txt")
        pid = process_of(reader)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(InputError, match="took longer than 3 seconds"):
            reader.read(b"hello", "a.txt")

        assert reader.read(b"hello", "a.txt").text == "hello"
        assert process_of(reader) != pid


def test_a_crash_costs_one_document(reader: Reader) -> None:
    """A parser that dies in the middle is a sentence, and the next document is read as ever."""
    reader.read(b"hello", "a.txt")
    pid = process_of(reader)

    def kill_child() -> None:
        while not (children := children_of(pid)):
            time.sleep(0.01)
        time.sleep(0.1)
        os.kill(children[0], signal.SIGSEGV)

    killer = threading.Thread(target=kill_child)
    killer.start()
    with pytest.raises(InputError, match="made the reader stop"):
        reader.read(SLOW, "a.md")
    killer.join()

    assert reader.read(b"hello", "a.txt").text == "hello"


def test_closing_ends_all_processes_at_once() -> None:
    """Also while a document is read, from another thread; nothing is left behind."""
    reader = Reader()
    reader.read(b"hello", "a.txt")
    pid = process_of(reader)
    closing = threading.Timer(0.5, reader.close)
    closing.start()

    started = time.monotonic()
    with pytest.raises(InputError):
        reader.read(SLOW, "a.md")
    closing.join()

    assert time.monotonic() - started < 5
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(InputError, match="reading was stopped"):
        reader.read(b"hello", "a.txt")


def test_the_processes_die_with_their_parent() -> None:
    """A killed ingest leaves no parser behind."""
    script = (
        "import sys, threading\nfrom ruma.ingest.reading import Reader\nreader = Reader()\nreader.start()\n"
        "print(reader._process.pid, flush=True)\nreader.read(b'[a](' * 400000, 'a.md')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        while not (children := children_of(pid)):
            time.sleep(0.01)
        parent.kill()

    deadline = time.monotonic() + 15
    while any(is_running(one) for one in (pid, *children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(one) for one in (pid, *children))


def test_an_answer_that_makes_no_sense_is_not_believed() -> None:
    """A process that a file has taken over cannot give places outside the text, or other kinds of block."""
    from ruma.ingest.reading import _checked, _unpack

    good = b'{"title":"T","text":"abc","blocks":[[0,3,"paragraph",0,null]],"paths":[[]],"sentences":[[0,3]],'
    good += b'"media_type":"text/plain","language":"en"}'

    assert _unpack(good, _checked).text == "abc"
    for bad in (
        b"",
        b"[]",
        good.replace(b'"abc"', b"7"),
        good.replace(b"[[0,3]]", b"[[0,9]]"),
        good.replace(b"[[0,3]]", b"[[2,1]]"),
        good.replace(b'"paragraph"', b'"script"'),
        good.replace(b'[[0,3,"paragraph",0,null]]', b"[]"),
        good.replace(b",0,null", b",5,null"),
    ):
        with pytest.raises(InputError, match="no sensible answer"):
            _unpack(bad, _checked)


@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets in ../shared/data are not here")
@pytest.mark.parametrize(
    "folder",
    [
        "parse-markitdown",
        "hostile-poi",
        "hostile-uploads",
        pytest.param("site-mkdocs-built", marks=pytest.mark.nightly),
    ],
)
def test_every_file_of_a_data_set_is_read_or_refused(reader: Reader, folder: str) -> None:
    """No file stops the process, and each that is refused gets a sentence."""
    process = process_of(reader) if reader._process else None
    for path in sorted((DATA / folder).rglob("*")):
        if path.is_file():
            try:
                assert reader.read(path.read_bytes(), path.name).text
            except InputError as exc:
                assert str(exc).endswith(".")  # noqa: PT017
                assert "cannot be read: " not in str(exc)  # noqa: PT017

    assert process is None or process_of(reader) == process
