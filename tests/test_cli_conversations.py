from collections.abc import Iterator
from pathlib import Path

import pytest

from ruma.config import load_settings
from ruma.privacy.consent import choose
from ruma.tenant.audit import list_audit
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant
from tests.running import read_json, run


@pytest.fixture
def tenant() -> Iterator[Tenant]:
    """Return a tenant with a conversation that is kept and counted, one that is kept, and one that is not."""
    run("init", "acme")
    with Home(load_settings()).open("acme") as tenant:
        for name, keep, count in (
            ("Do you deliver?", True, True),
            ("Open on Sundays?", True, False),
            ("x", False, False),
        ):
            choices = tuple(choose(one, True, "en") for one, is_on in (("keep", keep), ("analytics", count)) if is_on)
            chat = begin_conversation("widget", language="en", is_kept=keep, is_counted=count, choices=choices)
            add_exchange(tenant, chat, name, "I do not know.", mode="quote", is_declined=True, citations=[])
        yield tenant


def test_conversations_are_listed_shown_corrected_exported_and_deleted(tenant: Tenant, tmp_path: Path) -> None:
    """From the list to nothing left, with who did it in the log; what is not kept is not there."""
    assert [one["id"] for one in read_json("conversations", "list")["conversations"]] == [2, 1]
    assert "Do you deliver?" in run("conversations", "list", "--text", "deliver", "--state", "unanswered").stdout
    assert "no such conversation" in run("conversations", "list", "--since", "2999-01-01").stderr

    corrected = run("conversations", "correct", 1, "--name", "Ana", "--email", "ana@example.com")
    shown = run("conversations", "show", 1).stdout
    assert "name Ana, address ana@example.com" in corrected.stderr
    assert "Visitor: Ana ana@example.com" in shown
    assert "agreed to keep (text keep-1 in en)" in shown
    assert read_json("conversations", "show", 1)["consent"]["is_counted"] is True

    file = tmp_path / "one.csv"
    assert run("conversations", "export", 1, file, "--format", "csv").exit_code == 0
    assert "Do you deliver?" in file.read_text()
    assert "is there already" in run("conversations", "export", 1, file).stderr
    assert run("conversations", "export", 1).stdout.startswith("Conversation 1\n")

    assert "is closed" in run("conversations", "close", 1).stderr
    assert "is open again" in run("conversations", "reopen", 1).stderr
    assert "Erased" in run("conversations", "delete", 1, "--yes").stdout
    assert [one["id"] for one in read_json("conversations", "list")["conversations"]] == [2]
    done = {(one.action, one.actor.kind) for one in list_audit(tenant)}
    assert {("visitor.corrected", "operator"), ("conversation.exported", "operator")} <= done


def test_a_consent_is_taken_back_for_a_visitor(tenant: Tenant) -> None:
    """The numbers lose the conversation at once, the conversation stays, and it is not done twice."""
    assert read_json("usage")["usage"]["questions"] == 1
    counted = run("usage", "--days", 2).stdout
    assert "Do you deliver?" in counted
    assert counted.count("-") >= 4  # two days

    assert "in no statistics any more" in run("conversations", "withdraw", 1).stderr

    assert read_json("usage") == {**read_json("usage"), "unanswered": []}
    assert read_json("usage")["usage"]["questions"] == 0
    assert "took back analytics (text analytics-1 in en)" in run("conversations", "show", 1).stdout
    assert "Conversation 1 is in no statistics." in run("conversations", "withdraw", 1).stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["show", "3"], "not there any more"),
        (["correct", "3", "--name", "Eve"], "not there any more"),
        (["withdraw", "3"], "not there any more"),
        (["export", "3"], "not there any more"),
        (["correct", "1"], "nothing to correct"),
        (["list", "--state", "lost"], "no state 'lost'"),
        (["export", "1", "--format", "pdf"], "cannot be exported as 'pdf'"),
    ],
)
def test_what_cannot_be_done_is_said(tenant: Tenant, words: list[str], says: str) -> None:
    """Of a conversation that is not kept nobody learns anything, and a slip of the pen gets one sentence."""
    refused = run("conversations", *words)

    assert refused.exit_code == 1
    assert says in refused.stderr
    assert refused.stdout == ""
