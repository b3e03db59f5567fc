import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from ruma.errors import ConflictError, InputError, NotFoundError
from ruma.privacy.consent import TEXT_NAMES, choose, consent_text, old_text, read_texts
from ruma.server.languages import read_words
from ruma.tenant.audit import list_audit
from ruma.tenant.conversing.consents import (
    LEFT_SECONDS,
    LOOK_SECONDS,
    PASSING_SECONDS,
    change_consent,
    change_keeping,
    end_passing,
    note_presence,
    read_consent,
    read_keeping,
)
from ruma.tenant.conversing.conversations import OpenConversation, add_exchange, begin_conversation, resume_conversation
from ruma.tenant.conversing.inbox import (
    ask_for_person,
    close_conversation,
    count_inbox,
    list_conversations,
    read_for_member,
    read_for_visitor,
    reply,
)
from ruma.tenant.conversing.usage import count_usage, list_unanswered
from ruma.tenant.keeping.holds import end_hold, set_hold
from ruma.tenant.tenant import Tenant
from tests.harness.residue import find_residue, make_canaries

IN_USE = {
    "keep-1": "aaff86720d71e5fa",
    "analytics-1": "1c57dadc3c9bbadf",
    "person-1": "0182faca72b13d18",
}
"""The beginning of the SHA-256 of every version of a text that was ever shown."""


def talk(
    tenant: Tenant, question: str = "Do you deliver?", *, keep: bool = False, count: bool = False
) -> OpenConversation:
    """Store a conversation of a visitor who chose so."""
    choices = [choose("keep", True, "de")] if keep else []
    choices += [choose("analytics", True, "de")] if count else []
    chat = begin_conversation("widget", language="de", is_kept=keep, is_counted=count, choices=tuple(choices))
    add_exchange(tenant, chat, question, "It is so.", mode="write", is_declined=True, citations=[])
    return chat


def age(tenant: Tenant, chat: OpenConversation, seconds: float, column: str = "last_at") -> None:
    """Let a conversation's last message, or when its visitor left, be so old."""
    at = f"{datetime.now(UTC) - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"
    with tenant.writing() as db:
        db.execute(f"update conversation set {column} = ? where id = ?", [at, chat.id])


def count_rows(tenant: Tenant) -> dict[str, int]:
    """Return how many rows there are of what a conversation leaves."""
    with tenant.reading() as db:
        return {
            table: db.execute(f"select count(*) from {table}").fetchone()[0]
            for table in ("conversation", "message", "consent", "message_fts")
        }


def test_what_is_not_kept_is_not_there_for_members(tenant: Tenant) -> None:
    """It is in no list, no count and no statistics; by its number members neither read nor change it."""
    chat = talk(tenant)
    assert chat.id

    assert list_conversations(tenant).total == 0
    assert list_conversations(tenant, text="deliver").total == 0
    assert count_inbox(tenant).unread == 0
    assert (count_usage(tenant).questions, count_usage(tenant).conversations) == (0, 0)
    assert list_unanswered(tenant) == []
    for use in (read_for_member, close_conversation):
        with pytest.raises(NotFoundError):
            use(tenant, chat.id)
    with pytest.raises(NotFoundError):
        reply(tenant, chat.id, author="Ada", text="Hello")
    assert read_for_visitor(tenant, chat.id).info.questions == 1


def test_kept_and_counted_are_two_choices(tenant: Tenant) -> None:
    """A kept conversation is in the inbox; only one whose visitor agreed is in the statistics as well."""
    kept, counted = talk(tenant, keep=True), talk(tenant, "And parking?", keep=True, count=True)

    assert [one.id for one in list_conversations(tenant).conversations] == [counted.id, kept.id]
    assert (count_usage(tenant).questions, count_usage(tenant).conversations) == (1, 1)
    assert [one.conversation_id for one in list_unanswered(tenant)] == [counted.id]


def test_taking_back_takes_effect_on_what_was_collected(tenant: Tenant) -> None:
    """Statistics lose what was counted at once; what is no longer kept leaves the inbox at once, then the file."""
    chat = talk(tenant, keep=True, count=True)
    assert chat.id

    change_consent(
        tenant, chat.id, is_kept=True, is_counted=False, choices=[choose("analytics", is_given=False, language="de")]
    )
    assert count_usage(tenant).questions == 0
    assert list_unanswered(tenant) == []
    assert list_conversations(tenant).total == 1

    state = change_consent(tenant, chat.id, is_kept=False, is_counted=True, choices=[choose("keep", False, "de")])

    assert (state.is_kept, state.is_counted) == (False, False)
    assert [(one.choice.purpose, one.choice.is_given) for one in state.history] == [
        ("keep", True),
        ("analytics", True),
        ("analytics", False),
        ("keep", False),
    ]
    assert {one.choice.text_version for one in state.history} == {"keep-1", "analytics-1"}
    assert {one.choice.language for one in state.history} == {"de"}
    assert list_conversations(tenant).total == 0
    assert end_passing(tenant, chat.id) == 1
    assert set(count_rows(tenant).values()) == {0}


def test_passing_conversations_end_when_they_are_over(tenant: Tenant) -> None:
    """Half an hour after the last message, or with a clock that was set back; kept ones stay whatever their age."""
    old, kept, fresh, ahead = talk(tenant), talk(tenant, keep=True), talk(tenant), talk(tenant)
    age(tenant, old, PASSING_SECONDS + 5)
    age(tenant, kept, 10 * PASSING_SECONDS)
    age(tenant, ahead, -2 * 3600)

    assert end_passing(tenant) == 2
    assert end_passing(tenant) == 0
    for chat in (kept, fresh):
        assert resume_conversation(tenant, chat.secret).id == chat.id
    for chat in (old, ahead):
        with pytest.raises(NotFoundError):
            resume_conversation(tenant, chat.secret)


def test_who_left_has_some_minutes_to_come_back(tenant: Tenant) -> None:
    """A secret that comes back in time takes the mark away, and so does a question; later it opens nothing."""
    back, asked, gone, kept = talk(tenant), talk(tenant), talk(tenant), talk(tenant, keep=True)
    for chat in (back, asked, gone, kept):
        note_presence(tenant, chat.id or 0, is_here=False)
    for chat in (back, asked, gone):
        age(tenant, chat, LEFT_SECONDS - LOOK_SECONDS - 30, "left_at")
    assert end_passing(tenant) == 0
    note_presence(tenant, back.id or 0, is_here=True)
    add_exchange(tenant, asked, "And now?", "It is so.", mode="write", is_declined=True, citations=[])

    age(tenant, gone, LEFT_SECONDS + 5, "left_at")

    with pytest.raises(NotFoundError):
        resume_conversation(tenant, gone.secret)
    assert end_passing(tenant) == 1
    for chat in (back, asked, kept):
        assert resume_conversation(tenant, chat.secret).id == chat.id
    with tenant.reading() as db:
        assert db.execute("select count(*) from conversation where left_at is not null").fetchone()[0] == 0


def test_a_clock_that_was_set_back_delays_no_end(tenant: Tenant) -> None:
    """Who left in two hours, by a clock that was wrong then, has left."""
    chat = talk(tenant)
    note_presence(tenant, chat.id or 0, is_here=False)
    age(tenant, chat, -2 * 3600, "left_at")

    assert end_passing(tenant) == 1


def test_nothing_of_a_passing_conversation_is_left(tenant: Tenant) -> None:
    """No page and no frame of the file has its words, and no entry of the audit log tells of it."""
    (canary,) = make_canaries(1)
    chat = talk(tenant, f"Word {canary}")
    entries = len(list_audit(tenant))
    assert chat.id
    change_consent(tenant, chat.id, is_kept=False, is_counted=False, choices=[])
    assert find_residue(tenant.folder, tenant.key.raw, [canary])

    end_passing(tenant, chat.id)

    assert find_residue(tenant.folder, tenant.key.raw, [canary]) == {}
    assert len(list_audit(tenant)) == entries


def test_asking_for_a_person_keeps_the_conversation(tenant: Tenant) -> None:
    """Who answers must find it: it is in the inbox from then on, with the words that the visitor was shown."""
    chat = talk(tenant)
    shown = choose("keep", True, "fr", text="person")

    ask_for_person(tenant, chat, name="Ana", email="ana@example.com", message="Please ring.", choices=[shown])

    assert chat.id
    assert read_for_member(tenant, chat.id).info.wants_person
    last = read_consent(tenant, chat.id).last("keep")
    assert last
    assert last.choice == shown
    assert count_usage(tenant).questions == 0
    change_consent(tenant, chat.id, is_kept=False, is_counted=False, choices=[])
    assert count_inbox(tenant).waiting == count_usage(tenant).waiting == 0


def test_what_the_law_wants_kept_is_kept(tenant: Tenant) -> None:
    """Under a legal hold a consent cannot be taken back with effect, and what is passing waits for the hold's end."""
    kept, passing = talk(tenant, keep=True), talk(tenant)
    assert kept.id
    set_hold(tenant, "A lawsuit.", conversation_id=kept.id)
    with pytest.raises(ConflictError):
        change_consent(tenant, kept.id, is_kept=False, is_counted=False, choices=[])
    hold = set_hold(tenant, "Another lawsuit.")
    age(tenant, passing, PASSING_SECONDS + 5)
    assert end_passing(tenant) == 0

    end_hold(tenant, hold.id)

    assert end_passing(tenant) == 1


def test_conversations_are_kept_where_visitors_agree_unless_an_owner_says_otherwise(tenant: Tenant) -> None:
    """The strict choice is the one that holds from the start."""
    assert read_keeping(tenant) == "agreed"
    assert change_keeping(tenant, "unless_refused") == "unless_refused"
    with pytest.raises(InputError):
        change_keeping(tenant, "always")


def test_every_text_is_there_in_every_language() -> None:
    """A visitor reads what is agreed to in the language of the rest of the chat."""
    for name in TEXT_NAMES:
        for version in read_texts()[name]:
            assert version.keys() == read_words().keys(), name
            assert all(version.values())


def test_a_text_that_was_in_use_is_never_changed() -> None:
    """What somebody agreed to stays readable: new words are a new version, added here with their hash."""
    found = {
        f"{name}-{number}": hashlib.sha256(json.dumps(version, sort_keys=True).encode()).hexdigest()[:16]
        for name in TEXT_NAMES
        for number, version in enumerate(read_texts()[name], 1)
    }

    assert found == IN_USE
    assert old_text("keep-1", "en") == consent_text("keep").words
    assert [old_text(one, "en") for one in ("keep-0", "keep-9", "other-1", "")] == [""] * 4
