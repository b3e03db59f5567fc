from datetime import date

import pytest

from ruma.errors import InputError, NotFoundError
from ruma.privacy.erasing import erase_conversation
from ruma.tenant.conversing.conversations import (
    Channel,
    OpenConversation,
    add_exchange,
    begin_conversation,
    read_conversation,
    resume_conversation,
)
from ruma.tenant.conversing.inbox import (
    State,
    ask_for_person,
    close_conversation,
    count_inbox,
    give_feedback,
    list_conversations,
    mark_read,
    read_for_member,
    reopen_conversation,
    reply,
)
from ruma.tenant.erasing.erasure import ask_erasure, finish_erasure
from ruma.tenant.tenant import Tenant
from tests.filling import fill_inbox
from tests.harness.residue import find_residue, make_canaries


def talk(
    tenant: Tenant, question: str, *, declined: bool = False, channel: Channel = "page", at: str = ""
) -> tuple[OpenConversation, int]:
    """Store a conversation of one exchange, and return it with the answer's number."""
    chat = begin_conversation(channel)
    answer = add_exchange(tenant, chat, question, "It is so.", mode="write", is_declined=declined, citations=[])
    if at:
        with tenant.writing() as db:
            db.execute("update conversation set started_at = ?, last_at = ? where id = ?", [at, at, chat.id])
    return chat, answer


def found(tenant: Tenant, *states: State, text: str = "") -> list[int]:
    """Return the numbers of the conversations in these states, in the inbox's order."""
    return [one.id for one in list_conversations(tenant, states=states, text=text).conversations]


def test_the_newest_conversation_comes_first_with_its_first_words(tenant: Tenant) -> None:
    """The inbox is in the order of the last words; a long first question is cut between words."""
    old, _ = talk(tenant, "Is there\n parking?", at="2026-01-02T10:00:00Z")
    new, _ = talk(tenant, "word " * 100, at="2026-01-03T10:00:00Z")
    add_exchange(tenant, new, "And more?", "Yes.", mode="write", is_declined=True, citations=[])

    page = list_conversations(tenant)

    assert [one.id for one in page.conversations] == [new.id, old.id]
    first, second = page.conversations
    assert first.opening.endswith("word…")
    assert len(first.opening) <= 161
    assert (first.questions, first.declined, second.opening) == (2, 1, "Is there parking?")
    assert (page.total, page.page, page.pages) == (2, 1, 1)


def test_a_trial_is_not_in_the_inbox(tenant: Tenant) -> None:
    """What a member tries is listed only where trials are asked for."""
    trial, _ = talk(tenant, "Does it work?", channel="trial")

    assert found(tenant) == []
    assert found(tenant, text="work") == []
    assert count_inbox(tenant).unread == 0
    assert [one.id for one in list_conversations(tenant, channel="trial").conversations] == [trial.id]


def test_pages_hold_each_conversation_once(tenant: Tenant) -> None:
    """All pages together are the whole inbox, and a page beyond the last is the last."""
    fill_inbox(tenant, 30, exchanges=1)

    pages = [list_conversations(tenant, page=number, limit=7) for number in range(1, 6)]

    assert [len(page.conversations) for page in pages] == [7, 7, 7, 7, 2]
    ids = [one.id for page in pages for one in page.conversations]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 30
    assert list_conversations(tenant, page=99, limit=7) == pages[-1]
    with pytest.raises(InputError):
        list_conversations(tenant, limit=1000)


def test_a_filter_by_dates_holds_both_days(tenant: Tenant) -> None:
    """From a day to a day means the whole of both."""
    for day in (1, 2, 3):
        talk(tenant, f"Day {day}", at=f"2026-03-0{day}T23:59:59Z")

    page = list_conversations(tenant, since=date(2026, 3, 2), until=date(2026, 3, 2))

    assert [one.opening for one in page.conversations] == ["Day 2"]
    assert list_conversations(tenant, until=date.max).total == 3


def test_a_state_filters_as_it_says(tenant: Tenant) -> None:
    """Answered, declined, unread, closed, feedback: each filter gives those conversations and no others."""
    good, good_answer = talk(tenant, "One?")
    bad, bad_answer = talk(tenant, "Two?", declined=True)
    assert good.id
    assert bad.id
    give_feedback(tenant, good.secret, good_answer, True)
    give_feedback(tenant, bad.secret, bad_answer, False, "No help.")
    close_conversation(tenant, bad.id)

    assert found(tenant, "answered") == found(tenant, "helpful") == found(tenant, "open") == [good.id]
    assert found(tenant, "unanswered") == found(tenant, "unhelpful") == found(tenant, "closed") == [bad.id]
    assert found(tenant, "unread") == [good.id]
    assert found(tenant, "answered", "unhelpful") == []
    mark_read(tenant, good.id)
    assert found(tenant, "unread") == []
    with pytest.raises(InputError, match="no state"):
        list_conversations(tenant, states=["x"])  # type: ignore[list-item]


def test_words_find_a_conversation(tenant: Tenant) -> None:
    """By any message's words, their beginnings and other forms, and by the visitor's name or address."""
    chat, _ = talk(tenant, "Where do the deliveries go?")
    other, _ = talk(tenant, "Is there parking?")
    assert other.id
    ask_for_person(tenant, chat, name="Ana María", email="ana_m@example.com", message="Please call me back.")
    reply(tenant, other.id, author="Bo", text="Behind the courtyard.")

    for words in ("delivery", "DELIV", "call back", "ana", "ana_m@example.com", "María"):
        assert found(tenant, text=words) == [chat.id], words
    assert found(tenant, text="courtyard") == [other.id]
    assert found(tenant, text="deliver parking") == []
    assert found(tenant, text="anaXm") == []


@pytest.mark.parametrize(
    "text", ['"', "a AND", "NEAR(", "text:secret", "*", "-x", "🥐", "\0", "%", "_", "\\", "' or 1=1 --", "^a", "{x}:"]
)
def test_what_is_searched_for_is_never_a_syntax(tenant: Tenant, text: str) -> None:
    """Marks of the search's language and of SQL are words, or nothing, and never everything or an error."""
    talk(tenant, "Where is the shop?")

    assert found(tenant, text=text) == []


def test_a_visitor_waits_until_a_person_writes(tenant: Tenant) -> None:
    """Asking for a person makes a conversation wait; a reply ends that, and asking again begins it again."""
    chat, _ = talk(tenant, "Can I have a refund?", declined=True)
    assert chat.id
    ask_for_person(tenant, chat, name="Ana", email="ana@example.com", message="It was cold.")
    assert found(tenant, "waiting") == [chat.id]
    assert count_inbox(tenant).waiting == 1

    reply(tenant, chat.id, author="Bo", text="We give it back.")

    assert found(tenant, "waiting") == []
    last = read_conversation(tenant, chat.id).messages[-1]
    assert (last.role, last.author, last.text) == ("person", "Bo", "We give it back.")
    ask_for_person(tenant, chat, name="Ana", email="", message="Still not there.")
    assert found(tenant, "waiting") == [chat.id]
    close_conversation(tenant, chat.id)
    assert found(tenant, "waiting") == []


def test_a_person_can_be_asked_for_first_of_all(tenant: Tenant) -> None:
    """Where nothing was asked before, the conversation is stored with the message to the person."""
    chat = begin_conversation("widget", website="https://shop.example")
    number = ask_for_person(tenant, chat, name=" Ana \n", email=" ana@example.com ", message="  Hello?\0\r\nAnyone? ")

    assert chat.id == resume_conversation(tenant, chat.secret).id
    details = read_for_member(tenant, chat.id or 0)
    assert [(one.id, one.role, one.text) for one in details.conversation.messages] == [
        (number, "visitor", "Hello?\nAnyone?")
    ]
    info = details.info
    assert (info.visitor_name, info.visitor_email, info.questions, info.wants_person) == (
        "Ana", "ana@example.com", 0, True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "email", "message", "sentence"),
    [
        ("Ana", "", " \n\0 ", "message is empty"),
        ("Ana", "", "x" * 10_001, "message is longer than"),
        ("x" * 201, "", "Hello", "name is longer than"),
        ("Ana", "ana@example.com\nBcc: all@example.com", "Hello", "no mail address"),
        ("Ana", "ana@example.com, bo@example.com", "Hello", "no mail address"),
    ],
)
def test_a_wrong_request_for_a_person_stores_nothing(
    tenant: Tenant, name: str, email: str, message: str, sentence: str
) -> None:
    """What is wrong is named, and no conversation is begun by it."""
    with pytest.raises(InputError, match=sentence):
        ask_for_person(tenant, begin_conversation(), name=name, email=email, message=message)

    assert found(tenant) == []


def test_what_a_visitor_writes_opens_a_closed_conversation(tenant: Tenant) -> None:
    """A new question brings a closed conversation back, unread."""
    chat, _ = talk(tenant, "One?")
    assert chat.id
    close_conversation(tenant, chat.id)
    assert found(tenant, "unread") == []

    add_exchange(tenant, chat, "Two?", "Yes.", mode="write", is_declined=False, citations=[])

    assert found(tenant, "open", "unread") == [chat.id]
    close_conversation(tenant, chat.id)
    reopen_conversation(tenant, chat.id)
    assert found(tenant, "open") == [chat.id]


def test_feedback_is_counted_once_and_can_change(tenant: Tenant) -> None:
    """The last thumb counts; None takes it back; the comment stays with its answer."""
    chat, answer = talk(tenant, "One?")
    assert chat.id
    give_feedback(tenant, chat.secret, answer, True)
    give_feedback(tenant, chat.secret, answer, False, " Too short.\0 ")

    details = read_for_member(tenant, chat.id)
    assert (details.info.helpful, details.info.unhelpful) == (0, 1)
    assert (details.feedback[answer].is_helpful, details.feedback[answer].comment) == (False, "Too short.")

    give_feedback(tenant, chat.secret, answer, None)

    details = read_for_member(tenant, chat.id)
    assert (details.info.helpful, details.info.unhelpful, details.feedback) == (0, 0, {})


def test_feedback_needs_the_conversations_own_secret(tenant: Tenant) -> None:
    """Neither a wrong secret, nor another conversation's, nor a question's or a person's message takes feedback."""
    chat, answer = talk(tenant, "One?")
    other, _ = talk(tenant, "Two?")
    assert chat.id
    person = reply(tenant, chat.id, author="Bo", text="Hello.")

    for secret, number in (
        ("guessed", answer),
        (other.secret, answer),
        (chat.secret, answer - 1),
        (chat.secret, person),
        (chat.secret, 9999),
    ):
        with pytest.raises(NotFoundError):
            give_feedback(tenant, secret, number, True)
    with pytest.raises(InputError, match="comment is longer"):
        give_feedback(tenant, chat.secret, answer, True, "x" * 2001)
    assert read_for_member(tenant, chat.id).feedback == {}


def test_a_conversation_that_is_gone_is_named(tenant: Tenant) -> None:
    """Every act on a conversation that was deleted says that it is not there any more, and makes none."""
    chat, answer = talk(tenant, "One?")
    number = chat.id or 0
    erase_conversation(tenant, number)

    for act in (
        lambda: mark_read(tenant, number),
        lambda: close_conversation(tenant, number),
        lambda: reopen_conversation(tenant, number),
        lambda: reply(tenant, number, author="Bo", text="Hello."),
        lambda: read_for_member(tenant, number),
        lambda: ask_for_person(tenant, chat, name="", email="", message="Hello?"),
        lambda: give_feedback(tenant, chat.secret, answer, True),
    ):
        with pytest.raises(NotFoundError):
            act()
    assert found(tenant) == []


def fill_with_canaries(tenant: Tenant) -> tuple[int, list[str]]:
    """Store a conversation among sixty others, with a canary in each place that holds a visitor's or member's words."""
    asked, told, comment, message, name, replied = words = make_canaries(6)
    fill_inbox(tenant, 30, exchanges=2)
    chat = begin_conversation()
    texts = [f"Is it {asked} or {asked[:9]}{part}?" for part in range(8)]
    for text in texts:
        number = add_exchange(tenant, chat, text, f"It is {told}.", mode="write", is_declined=False, citations=[])
    give_feedback(tenant, chat.secret, number, False, f"Not {comment}.")
    ask_for_person(tenant, chat, name=name, email=f"{name}@example.com", message=f"About {message}.")
    reply(tenant, chat.id or 0, author="Bo", text=f"Now {replied}.")
    fill_inbox(tenant, 30, exchanges=2, seed=2)
    return chat.id or 0, words


def test_nothing_is_left_of_a_deleted_conversation(tenant: Tenant) -> None:
    """Questions, answers, comments, names and replies are in no decrypted page, the search's index among them."""
    number, words = fill_with_canaries(tenant)
    assert set(find_residue(tenant.folder, tenant.key.raw, words)) == set(words)
    assert found(tenant, text=words[0]) == [number]

    erase_conversation(tenant, number)

    assert find_residue(tenant.folder, tenant.key.raw, words) == {}
    assert found(tenant, text=words[0]) == []


def test_without_secure_delete_something_is_left_of_a_conversation(tenant: Tenant) -> None:
    """With the index's secure deletion off the same search finds words: so it would find them above."""
    number, words = fill_with_canaries(tenant)
    with tenant.unbound() as db:
        db.execute("insert into message_fts (message_fts, rank) values ('secure-delete', 0)")

    # By hand: erasing opens the database anew, which refuses such an index.
    with tenant.writing() as db:
        db.execute("delete from conversation where id = ?", [number])
        ask_erasure(db)
    assert finish_erasure(tenant)

    assert find_residue(tenant.folder, tenant.key.raw, words)
