"""Every command that changes something of a tenant leaves an entry in its audit log; the commands are the program's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from ruma.cli.main import app
from ruma.config import Settings
from ruma.tenant.audit import list_audit
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.people.members import create_member
from ruma.tenant.tenant import Tenant
from tests.running import run

READING = {
    "search", "ask", "chat", "ledger", "verify-erasure", "doctor", "config", "serve", "policy", "retention",
    "sources list", "sources show", "sources text", "pairs list", "tenant list", "tenant show", "members list",
    "api-keys list", "agent show", "widget line", "widget check", "requests list", "requests show", "models list",
    "keys", "keys check-recovery", "backup list", "backup verify", "erase list", "erase show", "plan list", "hold list",
    "audit list", "audit verify", "conversations list", "conversations show", "usage", "members sessions",
    "billing",
}  # fmt: skip
"""Commands that show something: asking and looking leave no entry."""

OF_THE_MACHINE = {
    "models add", "models use", "models remove", "keys rotate-master", "keys unpack",
    "backup init", "backup join",
    "backup prune", "backup remove", "tenant delete",
}  # fmt: skip
"""What belongs to no tenant, or leaves none that could have a log."""

ELSEWHERE = {
    "demo", "init", "import", "tenant create", "restore", "tenant recover", "keys rotate", "keys reseal", "keys move",
    "keys pack",
    "backup make", "members link", "billing refresh",
}  # fmt: skip
"""What is long to set up: the tests of each look at what it does to a tenant."""


def commands(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[str]:
    """Give the words of every command."""
    command = command or typer.main.get_command(app)
    inner = getattr(command, "commands", None) or {}
    if not inner or (words and command.invoke_without_command):
        yield " ".join(words)
    for name, one in inner.items():
        yield from commands(one, (*words, name))


def test_every_command_that_changes_something_is_noted(settings: Settings, tenant: Tenant, tmp_path: Path) -> None:
    """Each is used once; a new one fails here until it stands in one of the lists."""
    (tmp_path / "hours.txt").write_text("We open at nine.\n")
    (tmp_path / "corrected.txt").write_text("We open at ten.\n")
    file, corrected = tmp_path / "hours.txt", tmp_path / "corrected.txt"
    settings.home.mkdir(exist_ok=True)
    (settings.home / "ruma.toml").write_text("[plans.short]\nconversations = 30\n")
    used = set[str]()
    numbers = []
    for _ in "abcde":
        chat = begin_conversation()
        add_exchange(tenant, chat, "What?", "This.", mode="write", is_declined=False, citations=[])
        numbers.append(chat.id or 0)
    for name in ("ada", "bo", "cy"):
        create_member(tenant, email=f"{name}@acme.example", name=name, role="owner", password="seven loaves, oak")
    quiet = []
    for words in (
        ["ingest", file], ["sources", "correct", "1", corrected], ["erase", "document", "2", "--yes"],
        ["ingest", file], ["sources", "remove", file],
        ["pairs", "add", "Do you deliver?", "Yes."], ["pairs", "remove", "4"],
        ["members", "invite", "di@acme.example", "--role", "editor"], ["members", "reset", "bo@acme.example"],
        ["tenant", "set", "acme", "--business", "Bakery"], ["members", "correct", "bo@acme.example", "--name", "Bob"],
        ["members", "sign-out", "bo@acme.example"],
        ["conversations", "correct", numbers[4], "--name", "Jo"], ["conversations", "withdraw", numbers[4]],
        ["conversations", "close", numbers[4]], ["conversations", "reopen", numbers[4]],
        ["conversations", "export", numbers[4]], ["conversations", "delete", numbers[4], "--yes"],
        ["members", "role", "bo@acme.example", "editor"], ["members", "disable", "bo@acme.example"],
        ["members", "enable", "bo@acme.example"], ["members", "remove", "bo@acme.example", "--yes"],
        ["erase", "member", "cy@acme.example", "--yes"],
        ["api-keys", "create", "shop", "--scope", "chat"], ["api-keys", "revoke", "1"],
        ["agent", "set", "--name", "Crumb"], ["agent", "set", "--keeping", "unless_refused"],
        ["requests", "add", "access", "jo@example.com"], ["requests", "extend", "1", "Much."],
        ["requests", "close", "1", "Sent."],
        ["hold", "set", "A case.", "--conversation", numbers[0]], ["hold", "end", "1"],
        ["erase", "conversation", numbers[1], "--yes"], ["erase", "visitor", numbers[2], "--yes"],
        ["plan", "set", "acme", "short"],
        ["export", tmp_path / "all.zip"],
        ["audit", "export"],
    ):  # fmt: skip
        before = list_audit(tenant, limit=1)[0].id
        done = run(*words)
        name = " ".join(map(str, words[:2])) if words[0] not in ("ingest", "export") else str(words[0])
        used.add(name)
        if done.exit_code or list_audit(tenant, limit=1)[0].id == before:
            quiet.append(f"{words}: {done.exit_code} {done.output}")
    assert not quiet, "\n".join(quiet)
    assert sorted(used | READING | OF_THE_MACHINE | ELSEWHERE) == sorted(set(commands()))


def test_a_cut_list_says_that_there_is_more() -> None:
    """Nobody takes the newest entries for all of them."""
    run("tenant", "create", "acme")
    run("agent", "set", "--name", "Crumb")

    cut, whole = run("audit", "list", "--limit", "1"), run("audit", "list")

    assert "agent.changed" in cut.stdout
    assert "tenant.created" not in cut.stdout
    assert "there are more" in cut.stderr
    assert "tenant.created" in whole.stdout
    assert whole.stderr == ""
