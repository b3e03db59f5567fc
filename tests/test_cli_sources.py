import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ruma.config import load_settings
from ruma.server.listener import only_server
from ruma.tenant.background import NICENESS
from tests.harness.process import RUMA, environ_of
from tests.running import read_json, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with three documents."""
    folder = tmp_path / "shop"
    (folder / "more").mkdir(parents=True)
    (folder / "hours.md").write_text("# Hours\n\nOn Sundays we open at nine.\n")
    (folder / "more" / "prices.csv").write_text("Product,Price\nWalnut loaf,£5.20\nBaguette,£2.10\n")
    (folder / "parking.txt").write_text("Parking is free for the first hour.\n")
    return folder


def test_the_first_ingest_makes_the_tenant(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no tenant at all one is made, its recovery key shown and the fallback key source named, and only then."""
    monkeypatch.setenv("RUMA_KEY_SOURCE", "auto")
    first = run("ingest", folder)
    second = run("ingest", folder)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert [one["name"] for one in read_json("tenant", "list")] == ["main"]
    assert "Recovery key of main" in first.stderr
    assert first.stderr.count("no keyring") == 1
    assert "Recovery key" not in first.stdout + second.output


def test_an_ingest_beside_a_server_lets_answers_go_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lowers its own priority where a server holds the home, and nowhere else."""
    lowered: list[int] = []
    monkeypatch.setattr(os, "nice", lowered.append)
    alone = run("ingest", folder)
    with only_server(load_settings(), "http://127.0.0.1:1"):
        assert lowered == []
        beside = run("ingest", folder)
    after = run("ingest", folder)

    assert [one.exit_code for one in (alone, beside, after)] == [0, 0, 0]
    assert lowered == [NICENESS]


def test_the_first_ingest_takes_the_name_that_is_given(folder: Path) -> None:
    """The first tenant may be named; later, an unknown name is a slip and makes nothing."""
    first = run("ingest", folder, "--tenant", "acme")
    slip = run("ingest", folder, "--tenant", "amce")

    assert first.exit_code == 0
    assert slip.exit_code == 1
    assert "ruma tenant create amce" in slip.stderr
    assert [one["name"] for one in read_json("tenant", "list")] == ["acme"]


def test_a_location_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    """A wrong path is told before a tenant is made or a model prepared."""
    result = run("ingest", tmp_path / "nowhere")

    assert result.exit_code == 1
    assert "nowhere" in result.stderr
    assert not load_settings().home.exists()


def test_a_table_says_what_was_done(folder: Path) -> None:
    """The summary counts added, changed, unchanged and failed documents of each source."""
    run("ingest", folder)
    (folder / "hours.md").write_text("# Hours\n\nOn Sundays we open at ten.\n")
    (folder / "new.txt").write_text("Something new.\n")

    result = run("ingest", folder)

    header, row = result.stdout.splitlines()
    assert header.split() == ["source", "added", "changed", "unchanged", "failed", "chunks"]
    assert row.split() == [str(folder), "1", "1", "2", "0", "2"]
    assert "4 documents in" in result.stderr


def test_a_document_that_fails_is_named_with_the_reason(folder: Path) -> None:
    """One bad file ends with 1 and a sentence; the others are in."""
    (folder / "empty.md").write_text("")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))

    result = run("ingest", folder)

    assert result.exit_code == 1
    failed = [line for line in result.stdout.splitlines() if line.startswith("Failed: ")]
    assert len(failed) == 2
    assert any("empty.md is empty." in line for line in failed)
    assert any("picture.png" in line and "PNG" in line for line in failed)
    assert read_json("sources", "list")[0]["documents"] == 3


def test_outcomes_come_as_data(folder: Path) -> None:
    """`--json` prints one outcome a document and nothing else on standard output."""
    (folder / "empty.md").write_text("")

    result = run("ingest", folder, "--json")

    data = json.loads(result.stdout)
    assert result.exit_code == 1
    assert data["tenant"] == "main"
    outcomes = {one["name"]: one["status"] for one in data["documents"]}
    assert outcomes == {
        "empty.md": "failed",
        "hours.md": "added",
        "more/prices.csv": "added",
        "parking.txt": "added",
    }


def test_a_text_comes_from_standard_input() -> None:
    """`ruma ingest -` reads a text under the name it is given; the same name replaces it."""
    first = run("ingest", "-", "--name", "news.md", typed="# News\n\nWe bake rye bread now.\n")
    second = run("ingest", "-", "--name", "news.md", typed="# News\n\nWe bake spelt bread now.\n")

    assert (first.exit_code, second.exit_code) == (0, 0)
    (source,) = read_json("sources", "list")
    assert (source["kind"], source["location"], source["documents"]) == ("text", "news.md", 1)
    assert "spelt" in run("search", "which bread").stdout


def test_what_is_gone_from_a_folder_is_removed_when_asked(folder: Path) -> None:
    """Without --remove-missing a document stays, with it the document goes and the table has a column for it."""
    run("ingest", folder)
    (folder / "parking.txt").unlink()

    kept = run("ingest", folder)
    removed = run("ingest", folder, "--remove-missing")

    assert "removed" not in kept.stdout
    assert removed.stdout.splitlines()[0].split()[4] == "removed"
    assert read_json("sources", "list")[0]["documents"] == 2


def test_an_empty_folder_is_no_error(tmp_path: Path) -> None:
    """A folder without documents is told, and is no failure."""
    (tmp_path / "empty").mkdir()

    result = run("ingest", tmp_path / "empty")

    assert result.exit_code == 0
    assert "There is no document to read there." in result.stderr


def test_sources_are_listed_shown_and_removed(folder: Path) -> None:
    """A source is found by its number or its location, shows its documents, and goes with all of them."""
    run("ingest", folder)
    run("ingest", folder / "hours.md")

    shown = read_json("sources", "show", folder)
    receipt = folder.parent / "receipt.json"
    removed = run("sources", "remove", "1", "--receipt", receipt)

    assert [one["name"] for one in shown["documents"]] == ["hours.md", "more/prices.csv", "parking.txt"]
    assert removed.stdout.startswith("Erased the documents 1, 2 and 3 on")
    assert run("verify-erasure", receipt).exit_code == 0
    assert [one["kind"] for one in read_json("sources", "list")] == ["file"]
    assert run("sources", "remove", "1").exit_code == 1


def test_a_source_shows_the_numbers_that_other_commands_take(folder: Path) -> None:
    """The table of a source's documents begins with their numbers, by which `sources text` finds one."""
    run("ingest", folder)

    heading, *rows = run("sources", "show", "1").stdout.splitlines()
    number, name = rows[-1].split()[:2]

    assert heading.split()[:2] == ["number", "document"]
    assert name == "parking.txt"
    assert run("sources", "text", number).stdout.strip() == (folder / "parking.txt").read_text().strip()


def test_names_with_control_bytes_are_shown_harmlessly(folder: Path) -> None:
    """A file name or a text with escape sequences reaches the terminal without them."""
    (folder / "evil\x1b]52;c;aGk=\x07\r.txt").write_text("Harmless \x1b[31mtext\x9b2J of an evil file.\n")

    outputs = [run("ingest", folder), run("sources", "show", "1"), run("search", "evil file")]

    for result in outputs:
        assert not {"\x1b", "\x07", "\r", "\x9b"} & set(result.output)


def test_search_finds_passages_with_their_place(folder: Path) -> None:
    """The best passage comes first, with its document and heading; JSON has the whole text and the scores."""
    run("ingest", folder)

    printed = run("search", "When do you open on Sundays?")
    found = read_json("search", "When do you open on Sundays?", "--limit", "2")

    assert printed.stdout.startswith("1. hours.md")
    assert "On Sundays we open at nine." in printed.stdout
    assert len(found) == 2
    assert found[0]["document"] == "hours.md"
    assert found[0]["score"] >= found[1]["score"]


def test_searching_nothing_is_a_problem_with_a_hint() -> None:
    """Without documents search says what to do."""
    run("tenant", "create", "acme")

    result = run("search", "anything")

    assert result.exit_code == 1
    assert "ruma ingest" in result.stderr


def test_an_ingest_that_is_stopped_goes_on_later(tmp_path: Path) -> None:
    """Ctrl-C ends with 130 and a sentence; what was stored is whole, and the same command does the rest."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(150):
        (folder / f"{number:03}.md").write_text(f"# Number {number}\n\n" + f"Sentence about {number}. " * 30)
    run("tenant", "create", "main")
    home = load_settings().home
    command = subprocess.Popen(
        [*RUMA, "ingest", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ_of(home),
    )
    files = load_settings().tenants_folder / "main" / "files"
    deadline = time.monotonic() + 30
    while len(list(files.iterdir())) < 10 and time.monotonic() < deadline:
        time.sleep(0.02)
    command.send_signal(signal.SIGINT)
    _, printed = command.communicate(timeout=30)
    stored = read_json("sources", "list")[0]["documents"]

    rest = json.loads(run("ingest", folder, "--json").stdout)["documents"]

    assert command.returncode == 130
    assert "Stopped." in printed
    assert "Traceback" not in printed
    assert 10 <= stored < 150
    assert sum(one["status"] == "unchanged" for one in rest) == stored
    assert sum(one["status"] == "added" for one in rest) == 150 - stored
