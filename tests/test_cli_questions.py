import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ruma.config import load_settings
from ruma.tenant.agents import change_agent
from ruma.tenant.home import Home
from tests.fakes import BrokenGenerator, EchoGenerator
from tests.harness.process import environ_of
from tests.running import read_json, run

QUESTION = "How much does delivery to Marrowby cost?"
SENTENCE = "Delivery to Marrowby costs £2.50."


def writing(text: str) -> EchoGenerator:
    """Return a language model that always writes this."""
    return EchoGenerator(lambda _turns: text)


@pytest.fixture(autouse=True)
def documents(tmp_path: Path) -> None:
    """Make a tenant with two documents."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "delivery.md").write_text(f"# Delivery\n\n## Delivery to Marrowby\n\n{SENTENCE}\n")
    (folder / "hours.md").write_text(
        "# Hours\n\n## The shop\n\nOn Fridays the shop is open until six.\n\nOn Sundays the shop is open until noon.\n"
    )
    run("ingest", folder)


def test_an_answer_is_quoted_with_its_place() -> None:
    """The answer and its citations are data, the times are not."""
    result = run("ask", QUESTION, "--mode", "quote")

    assert result.exit_code == 0
    assert SENTENCE in result.stdout
    assert "[1] delivery.md › Delivery to Marrowby" in result.stdout
    assert "whole answer" in result.stderr
    assert "whole answer" not in result.stdout


def test_an_answer_comes_as_data() -> None:
    """`--json` has the text, the evidence, the citations with their places, and the times."""
    data = read_json("ask", QUESTION, "--mode", "quote")

    assert data["mode"] == "quote"
    assert not data["is_declined"]
    citation = data["citations"][0]
    assert citation["document"] == "delivery.md"
    assert citation["heading"] == "Delivery to Marrowby"
    assert SENTENCE in citation["quote"]
    assert data["seconds"]["whole"] > 0


def test_what_the_documents_do_not_say_is_declined() -> None:
    """A question of another field gets the agent's own words, no citation, and exit code 0."""
    run("agent", "set", "--decline", "Please call us about that.")

    result = run("ask", "Who painted the ceiling?")

    assert result.exit_code == 0
    assert result.stdout.strip() == "Please call us about that."


def test_a_model_writes_after_the_evidence() -> None:
    """In write mode the best sentence of the documents is shown first, then what the model writes."""
    result = run("ask", QUESTION, "--mode", "write", generator=writing("It costs £2.50 [1]."))

    assert result.exit_code == 0
    assert result.stdout.index(SENTENCE) < result.stdout.index("It costs £2.50 [1].")
    assert "echo writes:" in result.stderr
    assert "[1] delivery.md" in result.stdout


def test_a_model_that_was_removed_writes_nothing_and_stops_nothing() -> None:
    """In mode `auto` the answer is quoted, and the note says why; only to write with it is an error."""
    with Home(load_settings()).open("main") as tenant:
        change_agent(tenant, model="removed")

    quoted, written = (run("ask", QUESTION, *mode, generator=None) for mode in ((), ("--mode", "write")))

    assert (quoted.exit_code, written.exit_code) == (0, 1)
    assert SENTENCE in quoted.stdout
    assert "no language model named 'removed'. So the answer is quoted." in quoted.stderr
    assert "no language model named 'removed'" in written.stderr


def test_what_a_model_writes_reaches_the_terminal_harmlessly() -> None:
    """Escape sequences that a model writes, also in pieces, are shown as text."""
    attack = "See \x1b ]8;;http://x \x1b[2J \r \x9b31m [1]."

    result = run("ask", QUESTION, "--mode", "write", generator=writing(attack))

    assert not {"\x1b", "\r", "\x9b"} & set(result.output)


def test_a_question_comes_from_standard_input() -> None:
    """`ruma ask -` reads the question, however long, and `search -` too."""
    asked = run("ask", "-", "--mode", "quote", typed=QUESTION + "\n")
    long = run("ask", "-", "--mode", "quote", typed="word " * 20_000)

    assert SENTENCE in asked.stdout
    assert long.exit_code in (0, 1)
    assert "Traceback" not in long.output
    assert run("search", "-", typed=QUESTION).stdout.startswith("1. delivery.md")


@pytest.mark.parametrize("question", ["", "   "])
def test_an_empty_question_is_a_problem(question: str) -> None:
    """Nothing to answer is a sentence, not a crash."""
    result = run("ask", question)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")


def test_a_mode_that_is_none_is_a_problem() -> None:
    """Modes are quote, write and auto."""
    assert run("ask", QUESTION, "--mode", "shout").exit_code == 1


def test_asking_before_there_are_documents_says_what_to_do() -> None:
    """A tenant without documents is not ready, and the hint names the command."""
    run("tenant", "create", "empty")

    result = run("ask", QUESTION, "--tenant", "empty")

    assert result.exit_code == 1
    assert "ruma ingest" in result.stderr


def test_a_conversation_goes_on_over_several_lines() -> None:
    """`ruma chat` answers line after line, shows the sources of the last answer, and begins anew."""
    first, second = "When is the shop open on Fridays?", "And on Sundays?"
    lines = [first, "/sources", second, "/new", "/sources", "/help", "/nonsense", ""]

    result = run("chat", "--mode", "quote", typed="\n".join(lines) + "\n")

    assert result.exit_code == 0
    assert "On Fridays the shop is open until six. [1]" in result.stdout
    assert "“On Fridays the shop is open until six.”" in result.stdout
    assert "On Sundays the shop is open until noon. [1]" in result.stdout
    assert "A new conversation begins." in result.stderr
    assert "The last answer has no sources." in result.stderr
    assert "There is no command /nonsense." in result.stderr
    assert "Ctrl-D" in result.stderr


def test_a_conversation_greets_as_the_agent() -> None:
    """The agent's name, greeting and questions begin the conversation."""
    run("agent", "set", "--name", "Crumb", "--greeting", "Good morning!", "--question", "What is new?")

    result = run("chat", typed="")

    assert "Crumb: Good morning!" in result.stdout
    assert "- What is new?" in result.stdout


def test_a_conversation_survives_a_problem() -> None:
    """An answer that breaks off is told as that, and the next question is asked."""
    typed = f"{QUESTION}\n{QUESTION}\n"

    result = run("chat", "--mode", "write", typed=typed, generator=BrokenGenerator(after=2))

    assert result.exit_code == 0
    assert result.stderr.count("Error: ") == 2
    assert result.stdout.count(SENTENCE) >= 2


def test_nothing_of_a_conversation_is_written_outside_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no history file: what was typed lives in the tenant's directory alone."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    (tmp_path / "user").mkdir()

    run("chat", "--mode", "quote", typed=QUESTION + "\n")

    assert list((tmp_path / "user").iterdir()) == []
    assert json.loads(run("tenant", "list", "--json").stdout)


SLOW_CHAT = """
from ruma.cli.main import app
from ruma.cli.parts import Openers
from tests.fakes import EchoGenerator, HashEmbedder
slow = EchoGenerator(lambda turns: "one two three " * 1000, delay=0.05)
app(["chat", "--mode", "write"], obj=Openers(lambda _: HashEmbedder(), lambda *_: slow), prog_name="ruma")
"""
IN_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def test_ctrl_c_stops_the_answer_and_not_the_program() -> None:
    """In a terminal: Ctrl-C ends an answer that would take minutes, the next line works, Ctrl-D leaves with 0."""
    shown = b""

    def wait_for(text: str) -> None:
        nonlocal shown
        assert terminal.stdout is not None
        while text.encode() not in shown:
            ready, _, _ = select.select([terminal.stdout], [], [], 10)
            piece = os.read(terminal.stdout.fileno(), 4096) if ready else b""
            if not piece:
                terminal.kill()
                pytest.fail(f"{text!r} did not come: {shown!r}")
            shown += piece
        shown = shown.partition(text.encode())[2]

    with subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, sys.executable, "-c", SLOW_CHAT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ_of(load_settings().home, TERM="dumb"),
    ) as terminal:
        assert terminal.stdin is not None
        for typed, answer in [
            (b"", "\r\n> "),
            (QUESTION.encode() + b"\n", "one two three"),
            (b"\x03", "(stopped; this answer is not kept)\r\n\r\n> "),
            (b"\x03", "Ctrl-D leaves.\r\n> "),
            (b"/help\n", "leave\r\n> "),
            (b"\x04", "\r\n"),
        ]:
            time.sleep(0.3)  # readline shows its prompt a moment before it listens for signals
            os.write(terminal.stdin.fileno(), typed)
            wait_for(answer)
        try:
            assert terminal.wait(20) == 0
        finally:
            terminal.kill()
    assert b"Traceback" not in shown
