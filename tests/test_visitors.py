"""Finding a visitor's conversations: by number, by address, and by what was said."""

from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import InputError, NotFoundError
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation, resume_conversation
from ruma.tenant.conversing.inbox import ask_for_person, give_feedback
from ruma.tenant.conversing.visitors import VisitorRef, find_visitor, mentions, parse_visitor
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant


@pytest.fixture
def tenant(tmp_path: Path) -> Tenant:
    """Return a tenant without conversations."""
    home = Home(Settings(home=tmp_path / "home", key_source="machine"))
    home.create("acme")
    return home.open("acme")


def say(tenant: Tenant, text: str, *, name: str = "", email: str = "") -> int:
    """Store a conversation with one question, and with its visitor's details where they are given."""
    chat = begin_conversation()
    add_exchange(tenant, chat, text, "No.", mode="write", is_declined=False, citations=[])
    if name or email:
        ask_for_person(tenant, chat, name=name, email=email, message="Please call.")
    return chat.id or 0


def test_an_address_finds_every_conversation_with_it_however_it_is_written(tenant: Tenant) -> None:
    """Case does not matter, and a longer address is another one."""
    first = say(tenant, "Hello", email="Anne@Example.com")
    say(tenant, "Hello", email="joanne@example.com")
    last = say(tenant, "Hello", name="Anne", email="anne@example.COM")

    assert find_visitor(tenant, parse_visitor(" ANNE@example.com ")) == [first, last]


def test_a_number_is_one_conversation_and_nothing_else_names_a_visitor(tenant: Tenant) -> None:
    """What is not there is said to be so, and never taken for an empty success."""
    number = say(tenant, "Hello")

    assert find_visitor(tenant, parse_visitor(str(number))) == [number]
    with pytest.raises(NotFoundError):
        find_visitor(tenant, VisitorRef(conversation=number + 1))
    with pytest.raises(NotFoundError, match=r"nobody@example\.com"):
        find_visitor(tenant, VisitorRef(email="nobody@example.com"))
    with pytest.raises(InputError):
        parse_visitor("Anne")


def test_a_mention_is_found_in_messages_details_and_comments(tenant: Tenant) -> None:
    """Words in this order are found wherever a visitor can have left them, with a piece of what is around."""
    said = say(tenant, "I am Anne Berg from Ulm, " + "and so on " * 40)
    say(tenant, "Berg Anne is another one")
    named = say(tenant, "Hello", name="Dr. Anne Bergmann")
    chat = begin_conversation()
    answer = add_exchange(tenant, chat, "Well?", "No.", mode="write", is_declined=False, citations=[])
    give_feedback(tenant, resume_conversation(tenant, chat.secret).secret, answer, False, "anne berg was promised 10%")

    found = mentions(tenant, 'anne "berg"')

    assert {(one.conversation_id, one.place) for one in found} == {
        (said, "message"),
        (named, "name"),
        (chat.id, "comment"),
    }
    assert next(one.excerpt for one in found if one.place == "message").startswith("I am Anne Berg from Ulm, and so")
    assert len(next(one.excerpt for one in found if one.place == "message")) < 140
    assert [one.place for one in mentions(tenant, "10%")] == ["comment"]
    with pytest.raises(InputError):
        mentions(tenant, ' "*" ')
