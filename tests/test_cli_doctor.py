import json
import re
from pathlib import Path
from typing import Any

import pytest

from ruma.cli.diagnosis import find_old_packages
from ruma.config import load_settings
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.sources import add_source
from tests.making import EMBEDDER, make_document
from tests.running import run


def examine() -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Return the exit code and the findings by subject."""
    result = run("doctor", "--json")
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(result.stdout)["findings"]:
        found.setdefault(finding["subject"], []).append(finding)
    return result.exit_code, found


def statuses(findings: list[dict[str, Any]]) -> set[str]:
    """Return the statuses of some findings."""
    return {finding["status"] for finding in findings}


def make_tenant() -> None:
    """Make a tenant with one document."""
    home = Home(load_settings())
    home.create("acme")
    with home.open("acme") as tenant:
        source = add_source(tenant, "folder", "/shop")
        document = make_document("hours.md", "We open at nine.")
        store_document(tenant, source.id, document, embedder_id=EMBEDDER.id)


def test_a_new_machine_is_well() -> None:
    """Nothing is set up yet, which is no problem: notices say what to do, and the exit code is 0."""
    code, found = examine()

    assert code == 0
    assert statuses(found["packages"]) == statuses(found["database"]) == {"well"}
    assert found["home"][0]["hint"]
    assert found["embedding model"][0]["status"] == "notice"
    assert "problem" not in {status for findings in found.values() for status in statuses(findings)}


def test_a_tenant_that_is_whole_is_well() -> None:
    """Every tenant is examined, and says how many documents are whole."""
    make_tenant()

    code, found = examine()

    assert code == 0
    assert found["tenant acme"][0]["text"] == "1 document, all whole"
    assert statuses(found["home"]) == {"well"}


def test_a_damaged_original_is_a_problem_with_the_documents_name() -> None:
    """A damaged file ends with 1 and a line that names the document and what to do."""
    make_tenant()
    (file,) = (load_settings().tenants_folder / "acme" / "files").iterdir()
    file.write_bytes(file.read_bytes()[:-1])

    result = run("doctor")

    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if "tenant acme" in line]
    assert line.startswith("PROBLEM")
    assert "hours.md" in line
    assert "→" in line


def test_a_tenant_without_its_key_does_not_stop_the_others() -> None:
    """One tenant that cannot be opened is one problem; the next is still examined."""
    make_tenant()
    home = Home(load_settings())
    created = home.create("other")
    (load_settings().keys_folder / f"{created.id}.key").unlink()

    code, found = examine()

    assert code == 1
    assert statuses(found["tenant acme"]) == {"well"}
    assert statuses(found["tenant other"]) == {"problem"}
    assert "ruma tenant recover other" in found["tenant other"][0]["hint"]


def test_a_home_that_others_can_read_is_a_problem() -> None:
    """A home open to other users of the machine is told, with the command that closes it."""
    home = load_settings().home
    home.mkdir(mode=0o700)
    home.chmod(0o755)

    code, found = examine()

    assert code == 1
    assert found["home"][0]["hint"] == f"chmod 700 {home}"


def test_a_named_key_source_that_is_not_there_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """All sources are listed with a word why; one that the settings name and that is missing is a problem."""
    code, found = examine()
    assert code == 0
    assert {name for name in found if name.startswith("key source ")} == {
        f"key source {name}" for name in ("credential", "keyring", "command", "file", "passphrase", "machine")
    }

    monkeypatch.setenv("RUMA_KEY_SOURCE", "keyring")
    code, found = examine()
    assert code == 1
    assert statuses(found["key source"]) == {"problem"}


def test_an_old_package_is_named_with_the_version_it_must_have() -> None:
    """A package below its minimum, or a missing one, is told; versions are compared as numbers."""
    assert find_old_packages({"typer": "0.9.1", "rich": "14"}) == []
    assert find_old_packages({"no-such-package-of-ruma": "1.0"}) == ["no-such-package-of-ruma is missing"]
    (old,) = find_old_packages({"typer": "999.0"})
    assert re.fullmatch(r"typer is [\d.]+, and 999.0 is needed", old)


def test_a_broken_setting_is_one_line() -> None:
    """With settings that cannot be read there is nothing to examine, and the sentence says so."""
    home = load_settings().home
    home.mkdir()
    (home / "ruma.toml").write_text("colour = 1")

    result = run("doctor")

    assert result.exit_code == 1
    assert "colour" in result.stderr


def test_an_embedder_that_is_not_there_does_not_stop_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that fails is a problem of its own, and those after it still run."""
    monkeypatch.setenv("RUMA_EMBEDDER", str(tmp_path / "nowhere"))

    code, found = examine()

    assert code == 1
    assert statuses(found["embedder"]) == {"problem"}
    assert "parser process" in found
