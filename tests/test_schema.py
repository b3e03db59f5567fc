import hashlib
import secrets
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.tenant import schema
from ruma.tenant.conversing.conversations import read_conversation, resume_conversation
from ruma.tenant.database import FILE_NAME, _connect, create_database
from ruma.tenant.home import Home
from tests.harness.residue import find_residue, make_canaries

AGENT = (1, "Crumb", "Hello!", "", "No.", "auto", "", "[]")
MESSAGE = "insert into message (conversation_id, role, text, mode, is_declined, created_at) values (?, ?, ?, ?, ?, ?)"


OldHome = tuple[Settings, bytes, list[str]]


@pytest.fixture
def old_home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> OldHome:
    """Return the settings of a home whose tenant version 0.1.0 wrote, its key, and its conversations' secrets."""
    settings = Settings(home=settings.home, key_source="machine")
    Home(settings).create("acme")
    with Home(settings).open("acme") as tenant:
        folder, key, tenant_id = tenant.folder, tenant.key, tenant.id
    for file in folder.glob(f"{FILE_NAME}*"):
        file.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(schema, "STEPS", schema.STEPS[:1])
        create_database(folder, key, tenant_id)
    ids = [secrets.token_urlsafe(9) + canary for canary in make_canaries(3)]
    db = _connect(folder / FILE_NAME, key)
    db.execute("insert into agent values (?, ?, ?, ?, ?, ?, ?, ?)", AGENT)
    db.execute("insert into source (kind, location, added_at) values ('folder', '/made/up', '2026-01-01T00:00:00Z')")
    db.execute(
        "insert into document values (1, 1, 'a.md', 'A', 'text/plain', 'h', '1', 23, 'o', '2026-01-01T00:00:00Z')"
    )
    db.execute("insert into chunk values (1, 1, 0, 22, '', null, 'Cakes are baked daily.', x'')")
    for place, secret in enumerate(ids):
        db.execute("insert into conversation values (?, ?)", [secret, f"2026-01-0{place + 1}T08:00:00Z"])
        for turn in range(place):
            at = f"2026-01-0{place + 1}T09:0{turn}:00Z"
            db.execute(MESSAGE, [secret, "visitor", f"Question {turn} of {place}?", "", 0, at])
            number = db.execute(MESSAGE, [secret, "agent", "", "quote", turn, at]).lastrowid
            db.execute("insert into citation values (?, 1, 1, 0, 22)", [number])
    db.close()
    # An original for the document's row: what has none is reported as damage elsewhere, and is not the point here.
    (folder / "files" / "o").write_bytes(b"")
    return settings, key.raw, ids


def folder_of(settings: Settings) -> Path:
    """Return the tenant's folder."""
    return settings.tenants_folder / "acme"


def test_conversations_of_the_first_version_keep_all_they_hold(old_home: OldHome) -> None:
    """After the migration each secret opens its own conversation, with its messages and quotes in their order."""
    settings, _, ids = old_home

    with Home(settings).open("acme") as tenant:
        found = [resume_conversation(tenant, secret).id for secret in ids]
        assert found == [1, 2, 3]
        stored = [read_conversation(tenant, number).messages for number in found if number]
        with tenant.reading() as db:
            rows = db.execute("select channel, started_at, last_at, questions, declined from conversation").fetchall()

    assert [len(messages) for messages in stored] == [0, 2, 4]
    assert [message.text for message in stored[2]] == [
        "Question 0 of 2?",
        "Cakes are baked daily. [1]",
        "Question 1 of 2?",
        "Cakes are baked daily. [1]",
    ]
    assert stored[2][1].citations[0].quote == "Cakes are baked daily."
    assert rows[0] == ("page", "2026-01-01T08:00:00Z", "2026-01-01T08:00:00Z", 0, 0)
    assert rows[2] == ("page", "2026-01-03T08:00:00Z", "2026-01-03T09:01:00Z", 2, 1)


def test_messages_of_the_first_version_are_found_by_their_words(old_home: OldHome) -> None:
    """The search over conversations knows the old ones too."""
    settings, _, _ = old_home

    with Home(settings).open("acme") as tenant, tenant.reading() as db:
        found = db.execute("select count(*) from message_fts where message_fts match 'question'").fetchone()

    assert found == (3,)


def test_no_secret_of_the_first_version_stays_in_the_file(old_home: OldHome) -> None:
    """The secrets stood there as they are; afterwards only their hashes do, in no page and no frame anything else."""
    settings, key, ids = old_home
    assert set(find_residue(folder_of(settings), key, ids)) == set(ids), "the search proves nothing"

    with Home(settings).open("acme") as tenant, tenant.reading() as db:
        hashes = [row[0] for row in db.execute("select secret_hash from conversation order by id")]

    assert hashes == [hashlib.sha256(secret.encode()).digest() for secret in ids]
    assert find_residue(folder_of(settings), key, ids) == {}
