"""A new version's first start, killed anywhere: the tenant is as it was or as it will be, and a copy is kept."""

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ruma.config import Settings
from ruma.errors import StoreError
from ruma.tenant import database, schema
from ruma.tenant.conversing.conversations import read_conversation
from ruma.tenant.database import BEFORE_UPGRADE, FILE_NAME, _connect, create_database, open_database
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents, remove_documents
from ruma.tenant.tenant import Tenant
from tests.backing import store_numbered
from tests.harness import replay
from tests.harness.needs import needs
from tests.harness.process import STORE, environ_of
from tests.harness.strace import Run, every_point

FIRST = schema.first_tables.__name__
QUESTIONS = 40


@pytest.fixture
def old_home(tmp_path: Path) -> Path:
    """Return a home whose tenant version 0.1.0 wrote, with conversations; and keep a copy for `put_back`."""
    home = tmp_path / "home"
    settings = Settings(home=home, key_source="machine")
    Home(settings).create("acme")
    with Home(settings).open("acme") as tenant:
        folder, key, tenant_id = tenant.folder, tenant.key, tenant.id
    for file in folder.glob(f"{FILE_NAME}*"):
        file.unlink()
    create_database(folder, key, tenant_id, steps=[FIRST])
    db = _connect(folder / FILE_NAME, key)
    db.execute("insert into agent values (1, 'Crumb', 'Hello!', '', 'No.', 'auto', '', '[]')")
    db.execute("insert into conversation values ('secret', '2026-01-01T08:00:00Z')")
    for number in range(QUESTIONS):
        db.execute(
            """insert into message (conversation_id, role, text, mode, is_declined, created_at)
               values ('secret', 'visitor', ?, '', 0, '2026-01-01T09:00:00Z')""",
            [f"Question {number}? " * 20],
        )
    db.close()
    shutil.copytree(home, tmp_path / "copy", symlinks=True)
    return home


def put_back(home: Path) -> None:
    """Put the home back as it was."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(home.with_name("copy"), home, symlinks=True)


def steps_of(file: Path, tenant: Tenant) -> list[str]:
    """Return the steps that a database has, after reading every page of it."""
    db = _connect(file, tenant.key)
    try:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert db.execute("select tenant_id from ruma_identity").fetchall() == [(tenant.id,)]
        return [row[0] for row in db.execute("select name from _sqlite_migrations order by id")]
    finally:
        db.close()


def check_upgrade(home: Path, probe: Tenant, looked: Path) -> int:
    """Check an upgrade that was cut short, let the next start finish it, and return how many steps it had taken."""
    shutil.copytree(probe.folder, looked)  # to be looked into: whoever opens a database changes its log
    try:
        steps = steps_of(looked / FILE_NAME, probe)
        assert steps == [step.__name__ for step in schema.STEPS][: len(steps)]
        if (looked / BEFORE_UPGRADE).exists():
            assert steps_of(looked / BEFORE_UPGRADE, probe) == [FIRST]
        elif len(steps) < len(schema.STEPS):  # it had not begun
            assert steps == [FIRST]
            before = home.with_name("copy") / "tenants/acme" / FILE_NAME
            assert (probe.folder / FILE_NAME).read_bytes() == before.read_bytes()
    finally:
        shutil.rmtree(looked)
    with Home(Settings(home=home)).open("acme") as opened:
        stored = read_conversation(opened, 1).messages
        assert [one.text for one in stored] == [f"Question {number}? " * 20 for number in range(QUESTIONS)]
        assert not list(opened.folder.glob("*.part*"))
    with pytest.MonkeyPatch.context() as patched:  # the old version again
        patched.setattr(database, "STEPS", schema.STEPS[:1])
        with pytest.raises(StoreError, match=r"newer version of Ruma: 0\.\S+ does not know its \w+"):
            Home(Settings(home=home)).open("acme")
    return len(steps)


@needs("strace")
@pytest.mark.parametrize(
    ("call", "every"),
    [
        pytest.param("fsync", 12, id="fsync"),
        pytest.param("fsync", 1, id="fsync-all", marks=pytest.mark.nightly),
        pytest.param("pwrite64", 1, id="pwrite64-all", marks=pytest.mark.nightly),
    ],
)
def test_a08_killed_at_any_moment_of_an_upgrade(old_home: Path, tmp_path: Path, call: str, every: int) -> None:
    """Before anything is changed there is a whole copy; the next start goes on; nothing that was stored is lost."""
    with Home(Settings(home=old_home)).open("acme") as tenant:
        probe = Tenant(tenant.name, tenant.id, tenant.folder, tenant.key)

    def check(point: int, run: Run) -> None:
        check_upgrade(old_home, probe, tmp_path / "looked")

    every_point(
        [*STORE, "acme"],
        call,
        every=every,
        env=environ_of(old_home),
        trace=tmp_path / "trace",
        fresh=lambda: put_back(old_home),
        check=check,
    )


@needs("strace")
@pytest.mark.parametrize("cuts", [5, pytest.param(300, marks=pytest.mark.nightly)])
def test_a08_a_power_cut_at_any_moment_of_an_upgrade(old_home: Path, tmp_path: Path, cuts: int) -> None:
    """Whatever of the writes that were not synced a disk lost or tore, and whichever names, the next start goes on."""
    with Home(Settings(home=old_home)).open("acme") as tenant:
        probe = Tenant(tenant.name, tenant.id, tenant.folder, tenant.key)
    put_back(old_home)
    start = {file.name: file.read_bytes() for file in probe.folder.glob(f"{FILE_NAME}*")}
    names = rf"acme|{FILE_NAME}(-wal)?|{BEFORE_UPGRADE}(\.\w+\.part)?"
    recorded = replay.record([*STORE, "acme"], tmp_path / "trace", names, env=environ_of(old_home))
    renamed = next(number for number, step in enumerate(recorded) if step.to == BEFORE_UPGRADE)
    assert recorded[renamed - 1].call == recorded[renamed + 1].call == "fsync"

    chance, seen = random.Random(8), set[int]()
    for number in range(cuts):
        # Every second one after the copy was made, where the tables are changed.
        moment = chance.randrange(renamed if number % 2 else 0, len(recorded) + 1)
        put_back(old_home)
        for name, content in replay.cut(recorded, start, moment, chance, folder="acme").items():
            (probe.folder / name).write_bytes(content)
        seen.add(check_upgrade(old_home, probe, tmp_path / "looked"))

    assert len(seen) > 1, "the cuts were all before the first step, or behind the last one"


@pytest.fixture
def upgraded(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tenant]:
    """Return a tenant with a document that a newer version has just opened."""
    store_numbered(tenant, 1)
    tenant.close()

    def add_column(db: Any) -> None:
        db.execute("alter table source add column colour text not null default 'green'")

    steps = (*schema.STEPS, add_column)
    monkeypatch.setattr(schema, "STEPS", steps)
    monkeypatch.setattr(database, "STEPS", steps)
    with Home(Settings(home=tenant.folder.parents[1])).open("acme") as opened:
        yield opened


def test_a08_the_copy_is_the_tenant_as_it_was(upgraded: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put in the place of the database, the copy opens with the version before and holds everything."""
    monkeypatch.setattr(schema, "STEPS", schema.STEPS[:-1])
    monkeypatch.setattr(database, "STEPS", schema.STEPS)
    folder = upgraded.folder
    upgraded.close()
    with pytest.raises(StoreError, match="does not know its add_column"):
        open_database(folder, upgraded.key, upgraded.id)

    (folder / BEFORE_UPGRADE).rename(folder / FILE_NAME)

    with Home(Settings(home=folder.parents[1])).open("acme") as tenant:
        assert [one.name for one in list_documents(tenant)] == ["d1"]


def test_a08_the_copy_goes_with_an_erasure_and_after_a_week(upgraded: Tenant) -> None:
    """What is erased is not left in the copy, and a tenant in which nothing is erased does not keep it for ever."""
    copy = upgraded.folder / BEFORE_UPGRADE
    shutil.copy(copy, copy.with_suffix(".kept"))
    assert os.stat(copy).st_mode & 0o077 == 0

    remove_documents(upgraded, [one.id for one in list_documents(upgraded)])
    is_gone_with_erasure = not copy.exists()
    home, found = Home(Settings(home=upgraded.folder.parents[1])), []
    for days in (6.9, 7.1):
        shutil.copy(copy.with_suffix(".kept"), copy)
        os.utime(copy, (time.time() - days * 86400,) * 2)
        home.open("acme").close()
        found.append(copy.exists())

    assert is_gone_with_erasure
    assert found == [True, False]
