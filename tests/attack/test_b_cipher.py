"""A database library that stands in the cipher's place and has none: nothing begins, and nothing is written with it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ruma.tenant import schema
from ruma.tenant.database import FILE_NAME, create_database
from ruma.tenant.home import Home
from tests.backing import BackedUp, make_backed_up
from tests.harness.keyrings import snapshot
from tests.harness.process import ROOT, environ_of
from tests.harness.residue import find_plaintext, make_canaries
from tests.running import run

SHADOW = "from sqlite3 import *\nfrom sqlite3 import dbapi2\nError = dbapi2.Error\n"
WORD = make_canaries(1)[0]
OPENERS = {"_connect", "library_versions", "memory_database"}
"""The functions of `ruma/tenant/database.py` that connect; all but the first to nothing but memory."""

CONNECTING = re.compile(r"(?<!def )\b(?:connect|Database)\(")
IMPORTING = re.compile(r"^\s*(?:import|from) (\w*sql\w*)|import_module\(\W*(\w*sql\w*)", re.MULTILINE)
OPENING = re.compile(r"(?i)\b(attach\s+(database\b|['?:{])|vacuum\s.*into)")
"""The statements of SQL that open a file."""


@pytest.fixture
def backed_up(tmp_path: Path) -> BackedUp:
    """Return a home with a tenant, a backup and an export of it, and another tenant that an older version wrote."""
    made = make_backed_up(tmp_path, documents=1, conversations=1)
    made.make()
    (tmp_path / "secret").write_text(made.secret.recovery_text())
    (tmp_path / "a.txt").write_text(f"We say {WORD} here.\n")
    for file in (tmp_path / "secret", tmp_path / "a.txt"):
        file.chmod(0o600)
    assert run("export", tmp_path / "whole.zip", "-t", "acme").exit_code == 0
    Home(made.settings).create("older")
    with Home(made.settings).open("older") as tenant:
        folder, key, tenant_id = tenant.folder, tenant.key, tenant.id
    for file in folder.glob(f"{FILE_NAME}*"):
        file.unlink()
    create_database(folder, key, tenant_id, steps=[schema.first_tables.__name__])
    return made


def test_b22_every_command_refuses_a_library_without_a_cipher(backed_up: BackedUp, tmp_path: Path) -> None:
    """Whatever opens, makes, copies, changes or serves a database says what is wrong, and writes no byte."""
    backups, secret = str(backed_up.folder), str(tmp_path / "secret")
    site = tmp_path / "site"
    (site / "sqlcipher3").mkdir(parents=True)
    (site / "sqlcipher3/__init__.py").write_text(SHADOW)
    commands = [
        ["tenant", "create", "b2"],
        ["tenant", "show", "acme"],
        ["tenant", "show", "older"],  # which would change its tables
        ["ingest", str(tmp_path / "a.txt"), "-t", "acme"],
        ["ingest", str(tmp_path / "a.txt"), "-t", "older"],
        ["search", WORD, "-t", "acme"],
        ["sources", "list", "-t", "acme"],
        ["erase", "document", "1", "-t", "acme", "--yes"],
        ["retention", "-t", "acme"],
        ["audit", "verify", "-t", "acme"],
        ["keys", "rotate", "acme"],
        ["keys", "reseal", "acme"],
        ["export", str(tmp_path / "new.zip"), "-t", "acme"],
        ["import", str(tmp_path / "whole.zip"), "-t", "b3"],
        ["backup", "make", backups],
        ["backup", "verify", backups, "--secret-file", secret],
        ["restore", backups, "--as", "b4", "--secret-file", secret],
        ["serve", "--port", "0"],
        ["doctor"],
    ]
    before = snapshot(tmp_path)

    done = subprocess.run(
        [sys.executable, "-m", "tests.harness.several"],
        env=environ_of(backed_up.settings.home, PYTHONPATH=f"{site}:{ROOT}", TMPDIR=str(site)),
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert done.returncode == 0, done.stderr
    for words, (code, said) in zip(commands, json.loads(done.stdout), strict=True):
        assert code == 1, (words, said)
        assert f"library {site}/sqlcipher3/__init__.py has no cipher" in " ".join(said.split()), (words, said)
    left = {name: content for name, content in snapshot(tmp_path).items() if "__pycache__" not in name}
    assert left.keys() - before.keys() <= {"home/server.lock"}
    assert {name: content for name, content in left.items() if name in before} == before
    assert find_plaintext([backed_up.settings.home, backed_up.folder, site], [WORD]) == {}


def test_b22_only_one_function_opens_a_database() -> None:
    """No other line of Ruma does: each one that did could forget the key, the cipher or the owner."""
    connecting, importing = set[str](), set[str]()
    for file in (ROOT / "ruma").rglob("*.py"):
        name, text = str(file.relative_to(ROOT / "ruma")), file.read_text(encoding="utf-8")
        assert not OPENING.search(text), name
        connecting |= {f"{name}:{function_at(text, found.start())}" for found in CONNECTING.finditer(text)}
        libraries = {library for found in IMPORTING.finditer(text) for library in found.groups() if library}
        importing |= {name for _ in libraries - {"sqlite_utils"}}

    assert importing == {"tenant/database.py"}
    assert connecting == {f"tenant/database.py:{one}" for one in OPENERS}


def function_at(text: str, place: int) -> str:
    """Return the name of the function in which a place of a module is."""
    return re.findall(r"^(?: *)def (\w+)", text[:place], re.MULTILINE)[-1]
