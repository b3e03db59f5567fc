import json
from datetime import timedelta

from ruma.privacy.requests import months_after, today
from tests.running import run


def test_requests_are_entered_listed_and_closed() -> None:
    """From one that came by post to the date, the extension, and the outcome; a closed one stays in the register."""
    run("init", "acme")
    came = today() - timedelta(days=40)

    entered = run("requests", "add", "deletion", "ana@example.com", "--note", "All of it.", "--received", f"{came}")
    listed = run("requests", "list")
    extended = run("requests", "extend", "1", "Many letters.")
    closed = run("requests", "close", "1", "Deleted conversation 17.")
    shown = json.loads(run("requests", "show", "1", "--json").stdout)

    assert f"request 1. It is due on {months_after(came, 1)}." in entered.stdout
    assert "OVERDUE" in listed.stdout
    assert f"{months_after(came, 3)}" in extended.stdout
    assert "closed: done" in closed.stdout
    assert [(step["what"], step["by"]) for step in shown["steps"]] == [
        ("received", "operator"),
        ("extended", "operator"),
        ("done", "operator"),
    ]
    assert json.loads(run("requests", "list", "--json").stdout) == []
    assert len(json.loads(run("requests", "list", "--closed", "--json").stdout)) == 1
    assert "Deleted conversation 17." in run("requests", "show", "1").stdout


def test_what_cannot_be_done_is_said() -> None:
    """One sentence each, and a code that is not 0."""
    run("init", "acme")

    for words in (["show", "9"], ["close", "9", "Done."], ["add", "gossip", "a@example.com"], ["add", "access", " "]):
        refused = run("requests", *words)
        assert refused.exit_code == 1, words
        assert refused.stderr.startswith("Error: "), words
    assert "No request is open." in run("requests", "list").stderr
