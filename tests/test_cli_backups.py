from pathlib import Path

import pytest

from ruma.config import load_settings
from ruma.privacy.erasing import erase_document
from ruma.tenant.home import Home
from tests.backing import store_numbered
from tests.running import read_json, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of backups of a home with two tenants, with one backup of each; its secret lies beside it."""
    home = Home(load_settings())
    for name in ("acme", "beta"):
        home.create(name)
    with home.open("acme") as tenant:
        store_numbered(tenant, 1)
    folder = tmp_path / "backups"
    secret = read_json("backup", "init", folder)["secret"]
    (tmp_path / "secret").write_text(secret + "\n")
    assert run("backup", "make", folder).exit_code == 0
    return folder


def test_all_tenants_are_backed_up_and_listed_without_the_secret(folder: Path) -> None:
    """Without a name every tenant has a backup; the list tells whose they are, and how large."""
    listed = read_json("backup", "list", folder)
    named = read_json("backup", "make", folder, "--tenant", "beta")["backups"]

    assert [one["tenant"] for one in listed] == ["acme", "beta"]
    assert all(one["stored_bytes"] >= one["new_bytes"] > 0 for one in listed)
    assert [one["tenant"] for one in named] == ["beta"]
    assert "acme" in run("backup", "list", folder).stdout


def test_one_tenant_that_fails_does_not_keep_the_others(folder: Path) -> None:
    """A tenant whose key is lost is named, the other one is backed up, and the command ends with 1."""
    home = Home(load_settings())
    (home.settings.keys_folder / f"{home.tenants()[0].id}.key").unlink()

    result = run("backup", "make", folder)

    assert result.exit_code == 1
    assert "beta: " in result.stdout
    assert "acme was not backed up" in result.stderr


def test_a_backup_is_tried_and_restored(folder: Path) -> None:
    """The trial says what it compared; the restored tenant has a new recovery key; a taken name is refused."""
    secret = ("--secret-file", folder.with_name("secret"))
    tried = read_json("backup", "verify", folder, *secret)
    restored = read_json("restore", folder, "--tenant", "acme", "--as", "again", *secret)
    taken = run("restore", folder, "--tenant", "acme", *secret)
    unnamed = run("restore", folder, *secret)
    told = run("restore", folder, "--tenant", "beta", "--as", "third", typed=folder.with_name("secret").read_text())

    assert [one["counts"]["documents"] for one in tried] == [1, 0]
    assert restored["restored"]["name"] == "again"
    assert Home(load_settings()).names() == ["acme", "again", "beta", "third"]
    assert (taken.exit_code, unnamed.exit_code, told.exit_code) == (1, 1, 0)
    assert "There is a tenant acme already." in taken.stderr
    assert "several tenants: acme, beta" in unnamed.stderr
    assert "Recovery key of third" in told.stderr


@pytest.mark.parametrize("option", ["--reapply-erasures", "--no-reapply-erasures"])
def test_restoring_says_what_was_erased_since(folder: Path, option: str) -> None:
    """Later erasures are named, done again or not."""
    with Home(load_settings()).open("acme") as tenant:
        erase_document(tenant, 1)

    secret = ("--secret-file", folder.with_name("secret"))
    result = run("restore", folder, "--tenant", "acme", "--as", "again", option, *secret)

    assert result.exit_code == 0
    assert ("Erased again" in result.stderr) == (option == "--reapply-erasures")
    assert ("what they erased is back" in result.stderr) == (option == "--no-reapply-erasures")


def test_backups_are_removed_by_age_by_name_and_by_tenant(folder: Path) -> None:
    """What is kept must be said, the newest stays, and what is named goes after a yes."""
    for _ in range(2):
        read_json("backup", "make", folder)
    nothing_said = run("backup", "prune", folder)
    pruned = run("backup", "prune", folder, "--keep-daily", 1)
    nothing_to_do = run("backup", "prune", folder, "--keep-daily", 1)
    left = [one["name"] for one in read_json("backup", "list", folder)]
    refused = run("backup", "remove", folder, left[0], typed="no\n")
    unknown = run("backup", "remove", folder, "000009-acme-abcdef", "--yes")
    removed = run("backup", "remove", folder, "--tenant", "acme", typed="yes\n")

    assert "Nothing says which backups to keep" in nothing_said.stderr
    assert "Removed 4 backups" in pruned.stderr
    assert "No backup had to go." in nothing_to_do.stderr
    assert [name[:11] for name in left] == ["000005-acme", "000006-beta"]
    assert (refused.exit_code, unknown.exit_code, removed.exit_code) == (1, 1, 0)
    assert [one["tenant"] for one in read_json("backup", "list", folder)] == ["beta"]


def test_another_home_joins(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that does not know the folder is told how to join, and then writes to it."""
    monkeypatch.setenv("RUMA_HOME", str(tmp_path / "other"))
    Home(load_settings()).create("gamma")
    unknown = run("backup", "make", folder)
    joined = run("backup", "join", folder, "--secret-file", folder.with_name("secret"))
    made = run("backup", "make", folder)

    assert f"ruma backup join {folder}" in unknown.stderr
    assert (unknown.exit_code, joined.exit_code, made.exit_code) == (1, 0, 0)
