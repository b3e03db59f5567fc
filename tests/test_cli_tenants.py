import json
import re
from pathlib import Path

import pytest

from ruma.config import load_settings
from tests.running import read_json, run

RECOVERY_KEY = re.compile(r"\b(?:[0-9A-Z]{5}-){10}[0-9A-Z]{5}\b")


def test_a_new_tenant_shows_its_recovery_key_once() -> None:
    """Creating shows the recovery key in a box on standard error, and no later command does."""
    created = run("tenant", "create", "acme")
    later = run("tenant", "show", "acme").output + run("tenant", "list").output

    assert created.exit_code == 0
    assert created.stdout == ""
    assert len(RECOVERY_KEY.findall(created.stderr)) == 1
    assert "Recovery key of acme" in created.stderr
    assert RECOVERY_KEY.findall(later) == []


def test_the_fallback_key_source_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a machine has no keyring, creating a tenant says so, and where the key is kept instead."""
    monkeypatch.setenv("RUMA_KEY_SOURCE", "auto")
    printed = run("tenant", "create", "acme").stderr

    lines = [line for line in printed.splitlines() if "no keyring" in line]
    assert len(lines) == 1
    assert str(load_settings().keys_folder) in lines[0]


def test_a_named_key_source_is_taken_or_fails() -> None:
    """Under --key-source keyring a machine without one makes no tenant, and says which sources there are."""
    result = run("tenant", "create", "acme", "--key-source", "keyring")

    assert result.exit_code == 1
    assert "keyring" in result.stderr
    assert "--key-source" in result.stderr
    assert read_json("tenant", "list") == []


def test_tenants_are_listed_and_shown_as_data() -> None:
    """Lists and details come as a table or as JSON on standard output."""
    run("tenant", "create", "acme")
    run("tenant", "create", "other")

    listed, shown = read_json("tenant", "list"), read_json("tenant", "show", "acme")

    assert [one["name"] for one in listed] == ["acme", "other"]
    assert shown["name"] == "acme"
    assert shown["documents"] == 0
    assert Path(shown["directory"]).is_dir()
    assert "acme" in run("tenant", "list").stdout
    assert shown["id"] in run("tenant", "show", "acme").stdout


def test_the_business_is_described_by_command() -> None:
    """Name, website and addresses, each checked, with the policy written anew; what is not given stays."""
    run("init", "acme")

    told = run("tenant", "set", "--business", "Marrowby Bakery", "--website", "bakery.example")
    contact = read_json("tenant", "set", "acme", "--contact", "hello@bakery.example")

    assert "Marrowby Bakery" in told.stdout
    assert contact == {
        "business_name": "Marrowby Bakery",
        "website": "https://bakery.example",
        "contact_email": "hello@bakery.example",
        "notify_email": "",
    }
    assert contact.items() <= read_json("tenant", "show", "acme").items()
    assert "hello@bakery.example" in run("policy").stdout
    assert "This is no mail address." in run("tenant", "set", "--contact", "nobody").stderr
    assert "nothing to change" in run("tenant", "set").stderr


def test_an_empty_list_is_no_error() -> None:
    """Without tenants the list is empty on standard output, and standard error says what to do."""
    result = run("tenant", "list")

    assert (result.exit_code, result.stdout) == (0, "")
    assert "ruma ingest" in result.stderr
    assert read_json("tenant", "list") == []


@pytest.mark.parametrize("typed", ["other\n", "\n", ""])
def test_deleting_needs_the_name_typed(typed: str) -> None:
    """Another name, none, or no terminal at all: nothing is deleted."""
    run("tenant", "create", "acme")

    result = run("tenant", "delete", "acme", typed=typed)

    assert result.exit_code == 1
    assert [one["name"] for one in read_json("tenant", "list")] == ["acme"]


def test_deleting_prints_a_receipt() -> None:
    """With the name typed the tenant is gone, and the receipt says what was checked and what is not covered."""
    run("tenant", "create", "acme")
    folder = Path(read_json("tenant", "show", "acme")["directory"])

    result = run("tenant", "delete", "acme", typed="acme\n")

    assert result.exit_code == 0
    assert not folder.exists()
    assert "Its key is in no key source" in result.stdout
    assert "none belongs to it" in result.stdout
    assert "Not covered:" in result.stdout
    (receipt,) = (folder.parents[1] / "receipts").glob("2*.json")
    assert run("verify-erasure", str(receipt)).exit_code == 0


def test_yes_deletes_without_asking() -> None:
    """A script deletes with --yes and gets the receipt as JSON."""
    run("tenant", "create", "acme")

    result = run("tenant", "delete", "acme", "--yes", "--json")

    receipt = json.loads(result.stdout)["receipt"]
    assert receipt["erased"] == {"kind": "tenant", "numbers": []}
    assert receipt["is_complete"]
    assert result.stderr == ""


def test_a_lost_key_comes_back_with_the_recovery_key() -> None:
    """The key is gone, the tenant cannot be opened; the recovery key on standard input opens it again."""
    recovery_key = read_json("tenant", "create", "acme")["recovery_key"]
    for file in load_settings().keys_folder.glob("*.key"):
        file.unlink()
    lost = run("tenant", "show", "acme")

    recovered = run("tenant", "recover", "acme", typed=recovery_key.lower() + "\n")

    assert lost.exit_code == 1
    assert "ruma tenant recover acme" in lost.stderr
    assert recovered.exit_code == 0
    assert read_json("tenant", "show", "acme")["name"] == "acme"


def test_a_slip_in_the_recovery_key_is_noticed() -> None:
    """A mistyped recovery key changes nothing and is never repeated."""
    recovery_key = read_json("tenant", "create", "acme")["recovery_key"]
    wrong = recovery_key[:-1] + ("0" if recovery_key[-1] != "0" else "1")

    result = run("tenant", "recover", "acme", typed=wrong + "\n")

    assert result.exit_code == 1
    assert wrong not in result.output
    assert run("tenant", "show", "acme").exit_code == 0


@pytest.mark.parametrize("name", ["../x", "Acme", "a b", "\x1b[31m", "-", "x" * 41, "admin"])
def test_a_name_that_cannot_be_is_refused_in_one_sentence(name: str) -> None:
    """A name that breaks the policy is refused without a traceback and without control characters."""
    result = run("tenant", "create", "--", name)

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "\x1b" not in result.output


def test_several_tenants_must_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two tenants a command wants a name, and takes it from the option or from RUMA_TENANT."""
    run("tenant", "create", "acme")
    run("tenant", "create", "other")

    unnamed = run("sources", "list")
    named = run("sources", "list", "--tenant", "other")
    monkeypatch.setenv("RUMA_TENANT", "acme")
    by_environment = run("sources", "list")

    assert unnamed.exit_code == 1
    assert "acme, other" in unnamed.stderr
    assert "--tenant" in unnamed.stderr
    assert (named.exit_code, by_environment.exit_code) == (0, 0)


def test_the_only_tenant_need_not_be_named() -> None:
    """With one tenant no command wants its name; with none it says what makes one."""
    before = run("sources", "list")
    run("tenant", "create", "acme")
    after = run("sources", "list")

    assert before.exit_code == 1
    assert "There is no tenant yet." in before.stderr
    assert "ruma ingest" in before.stderr
    assert after.exit_code == 0
