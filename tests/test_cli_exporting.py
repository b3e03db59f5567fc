import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyrage
import pytest

from ruma.cli.exporting import _write
from ruma.cli.unfinished import noted, remove_unfinished
from ruma.config import load_settings
from ruma.tenant.home import Home
from ruma.tenant.keys import envelopes
from tests.running import read_json, run
from tests.test_exporting import talk

PASSWORD = "seven loaves under the oak"
READER = Path(__file__).parents[1] / "examples" / "read_export.py"


@pytest.fixture(autouse=True)
def filled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make a tenant with two documents and two conversations."""
    monkeypatch.setattr(envelopes, "WORK", 10)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "hours.md").write_text("# Hours\n\nWe open at nine.\n")
    (tmp_path / "texts" / "prices.md").write_text("# Prices\n\nA loaf costs £3.\n")
    run("tenant", "create", "acme")
    run("ingest", "texts")
    with Home(load_settings()).open("acme") as tenant:
        for _ in range(2):
            talk(tenant)


def read(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the example without anything of ours in reach."""
    return subprocess.run([sys.executable, "-I", READER, *words], capture_output=True, text=True, check=False)


def test_an_export_is_written_for_its_owner_alone_and_read_without_ruma() -> None:
    """The file has mode 0600, and the example, which knows the standard library alone, reads all of it."""
    made = run("export", "acme.zip")

    assert made.exit_code == 0, made.output
    assert "2 documents, 2 conversations" in made.stdout
    assert Path("acme.zip").stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in Path().glob(".*.part")] == []
    assert "2 documents" in read("acme.zip").stdout
    assert "visitor: Do you deliver?" in read("acme.zip", "conversations").stdout
    assert "A loaf costs £3." in read("acme.zip", "documents").stdout
    assert read("acme.zip", "check").stdout == "The export is whole.\n"


def test_an_export_with_a_password_is_a_file_of_age(tmp_path: Path) -> None:
    """Another program opens it, the example says how, and Ruma imports it."""
    Path("word").write_text(PASSWORD + "\n")

    made = run("export", "acme.zip.age", "--password-file", "word")
    moved = run("import", "acme.zip.age", "--password-file", "word", "--tenant", "moved")

    assert (made.exit_code, moved.exit_code) == (0, 0), moved.output
    data = Path("acme.zip.age").read_bytes()
    Path("opened.zip").write_bytes(pyrage.passphrase.decrypt(data, PASSWORD))
    assert read("opened.zip", "check").stdout == "The export is whole.\n"
    assert "age --decrypt" in read("acme.zip.age").stderr
    assert "Recovery key of moved" in moved.stderr
    asked = [read_json("ask", "A loaf costs what?", "-t", name)["text"] for name in ("acme", "moved")]
    assert asked[0] == asked[1]
    assert "£3" in asked[0]


def test_a_mistake_writes_nothing() -> None:
    """A file that is there, a weak password, nobody of that name and two people at once are refused in a sentence."""
    Path("there.zip").write_text("mine")
    Path("weak").write_text("1234567890")

    for words in (
        ("export", "there.zip"),
        ("export", "new.zip", "--password-file", "weak"),
        ("export", "new.zip", "--password-file", "nowhere"),
        ("export", "new.zip", "--visitor", "no@example.com"),
        ("export", "new.zip", "--visitor", "x"),
        ("export", "new.zip", "--member", "no@example.com"),
        ("export", "new.zip", "--member", "1", "--visitor", "1"),
        ("export", "nowhere/new.zip"),
        ("import", "there.zip"),
        ("import", "nowhere.zip"),
    ):
        result = run(*words)
        assert (result.exit_code, result.stdout) == (1, ""), words
        assert result.stderr.startswith("Error: "), words

    assert Path("there.zip").read_text() == "mine"
    assert sorted(entry.name for entry in Path().iterdir()) == ["home", "texts", "there.zip", "weak"]


def test_one_visitor_is_exported_by_number() -> None:
    """Only that conversation is in the file."""
    made = read_json("export", "one.zip", "--visitor", "2")

    assert made["scope"] == {"kind": "visitor", "conversations": [2]}
    with zipfile.ZipFile("one.zip") as found:
        rows = found.read("data/conversations/0001.jsonl").splitlines()
    assert [json.loads(row)["id"] for row in rows] == [2]


def test_a_text_is_printed_and_corrected() -> None:
    """What is printed can be edited and put back, and is answered from."""
    number = next(one["id"] for one in read_json("sources", "show", "1")["documents"] if one["name"] == "prices.md")
    text = run("sources", "text", number).stdout
    Path("corrected.txt").write_text(text.replace("£3", "£4"))

    made = run("sources", "correct", number, "corrected.txt")

    assert made.exit_code == 0, made.output
    assert "£4" in read_json("ask", "What does a loaf cost?")["text"]
    assert "unchanged" in str(read_json("ingest", "texts"))
    assert "£4" in read_json("ask", "What does a loaf cost?")["text"]


def test_what_a_killed_export_left_in_clear_goes_with_the_next_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without nameless files it has a name; that of a command which still writes is left alone."""
    monkeypatch.delattr(os, "O_TMPFILE")
    home, folder = load_settings().home, Path("elsewhere")
    folder.mkdir()

    def write_and_die(sink: Any) -> dict[str, Any]:
        sink.write(b"in clear")
        sink.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    child = os.fork()
    if not child:
        try:
            _write(home, folder / "acme.zip", "", write_and_die)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert [one.read_bytes() for one in folder.iterdir()] == [b"in clear"], "nothing was left: this proves nothing"
    at_work = folder / ".other.zip.01234567.part"
    at_work.touch()

    with noted(home, at_work):
        assert run("tenant", "list").exit_code == 0
        assert list(folder.iterdir()) == [at_work]

    at_work.unlink()
    assert run("export", "acme.zip").exit_code == 0
    assert [one.name for one in Path().glob(".*.part")] == list((home / "unfinished").iterdir()) == []


def test_a_file_that_was_to_be_kept_is_not_removed_for_what_a_note_says(tmp_path: Path) -> None:
    """A note that names anything but a part removes nothing, and one of a disk that is away waits for it."""
    home, kept, away = load_settings().home, tmp_path / "kept.zip", tmp_path / "away"
    kept.touch()
    away.mkdir()
    (home / "unfinished").mkdir(mode=0o700)
    for number, part in enumerate([kept, away / ".acme.zip.01234567.part"]):
        (home / "unfinished" / str(number)).write_text(str(part))
    away.rename(tmp_path / "unmounted")

    remove_unfinished(home)
    assert kept.exists()

    (tmp_path / "unmounted").rename(away)
    (away / ".acme.zip.01234567.part").touch()
    remove_unfinished(home)
    assert list(away.iterdir()) == []
