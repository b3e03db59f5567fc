import ast
import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from ruma.cli.output import (
    Flow,
    clean,
    duration,
    note,
    one_line,
    plural,
    print_content,
    print_json,
    print_table,
    print_text,
    shorten,
    show_box,
    size,
)
from tests.harness.process import ROOT, RUMA, environ_of

ATTACKS = [
    "\x1b]52;c;cm0gLXJm\x07",  # writes the clipboard
    "\x1b]8;;http://attacker.example\x1b\\free cake\x1b]8;;\x1b\\",  # a link under other words
    "price: 5\rprice: 1",  # writes over what stands there
    "\x1b[2J\x1b[H",
    "\x9b31m\x9d0;title\x9c",
    "a\x08b\x7fc\x00d",
    "\u202egnp.exe\u202c \u2066x\u2069",
]


class Terminal(io.StringIO):
    """A text file that says it is a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


def acting(text: str) -> list[str]:
    """Return the characters a terminal would act on."""
    return re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_terminal_is_given_nothing_to_act_on(attack: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever prints text from outside prints it without its control characters, escape and carriage return."""
    flow = Flow()

    print_text(attack)
    note(attack)
    print_table(["name"], [[attack]])
    show_box(attack, [attack])
    print_json({"text": attack})
    for char in attack:
        flow.write(char)
    flow.end()

    printed = capsys.readouterr()
    assert acting(printed.out + printed.err) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_h58_a_file_is_cleaned_on_a_terminal_and_exact_in_a_pipe(attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What visitors wrote acts on nobody's terminal, and a program that reads it gets every character."""
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        monkeypatch.setattr(sys, "stdout", stream)
        print_content(attack)

    assert acting(terminal.getvalue()) == []
    assert pipe.getvalue() == attack


def test_h58_nothing_else_prints() -> None:
    """Outside of the module that cleans text, what a command prints itself is cleaned there, or is our own words."""
    found = []
    for file in (ROOT / "ruma" / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.echo", "print", "sys.stdout.write"):
                said = ast.unparse(node.args[0])
                is_ours = isinstance(node.args[0], ast.Constant) or said == "f'ruma {__version__}'"
                if file.name != "output.py" and not is_ours and not re.search(r"clean\(|ensure_ascii=True", said):
                    found.append(f"{file.name}: {said}")

    assert found == []


def test_json_still_holds_what_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON escapes what a terminal would act on, so that a program still reads the very same text."""
    texts = [*ATTACKS, "£2.50 – café", "\udcff"]

    print_json(texts)

    printed = capsys.readouterr().out
    assert json.loads(printed) == texts
    assert "£2.50 – café" in printed


def test_plain_text_is_left_alone() -> None:
    """Letters of every script, line ends and tabs pass; Windows line ends become plain ones."""
    text = "Brötchen\t£2.50 – 面包 🥐\nनान\n"

    assert clean(text) == text
    assert clean("one\r\ntwo\x0bthree") == "one\ntwo\nthree"
    assert clean("caf\udce9") == "caf?"


def test_one_line_has_no_line_ends() -> None:
    """A name with line ends cannot look like two names."""
    assert one_line(" a\n\n b\tc\r\n") == "a b c"
    assert shorten("one two three four", 12) == "one two…"
    assert shorten("x" * 20, 5) == "xxxx…"


def test_a_stream_wraps_at_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a streamed answer is broken between words, wherever its pieces begin and end."""
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "24")
    monkeypatch.setenv("TERM", "xterm")

    with redirect_stdout(terminal):
        flow = Flow(indent=2)
        for piece in ["Deliv", "ery in Marr", "owby to", "wn costs £2.50, and is free f", "rom £20.\n\nBye"]:
            flow.write(piece)
        flow.end()

    lines = terminal.getvalue().split("\n")
    assert max(map(len, lines)) <= 24
    assert [line.strip() for line in lines] == [
        "Delivery in Marrowby",
        "town costs £2.50, and",
        "is free from £20.",
        "",
        "Bye",
        "",
    ]
    assert all(line.startswith("  ") for line in lines if line)


def test_what_a_program_reads_is_never_folded(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe a row is one line and a paragraph is one line, however long."""
    long = "word " * 100

    print_text(long)
    print_table(["a", "b"], [[long, 1]])

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert long.strip() in lines[0]
    assert long.strip() in lines[2]


def test_no_color_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR a terminal gets no colour."""
    monkeypatch.setenv("TERM", "xterm-256color")
    printed = {}
    for is_set in (False, True):
        terminal = Terminal()
        if is_set:
            monkeypatch.setenv("NO_COLOR", "1")
        with redirect_stdout(terminal):
            print_text("red", style="red")
        printed[is_set] = terminal.getvalue()

    assert "\x1b[31m" in printed[False]
    assert "31m" not in printed[True]


def test_numbers_are_written_for_people() -> None:
    """Sizes, times and counts come with units that a person would use."""
    assert [size(n) for n in (0, 999, 1500, 23_000_000, 4.2e9)] == ["0 bytes", "999 bytes", "1.5 KB", "23 MB", "4.2 GB"]
    assert [duration(n) for n in (0.0123, 2.25, 125)] == ["12 ms", "2.2 s", "2 min 05 s"]
    assert [plural(n, "document") for n in (0, 1, 2000)] == ["0 documents", "1 document", "2,000 documents"]


def test_a_full_disk_behind_the_output_is_one_sentence(tmp_path: Path) -> None:
    """No traceback, and no exit code that says that all went well."""
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*RUMA, "plan", "list"],
            env=environ_of(tmp_path),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )

    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: The output cannot be written: the disk that it goes to is full.")
    assert len(ended.stderr.splitlines()) == 2
