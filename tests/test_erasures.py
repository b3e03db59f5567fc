"""Erasing a document, a conversation, a visitor, a member: all of it goes, it is proven, and a receipt says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ruma.config import Settings
from ruma.errors import ConflictError, NotFoundError
from ruma.tenant.audit import act_as, acting_as, check_audit, list_audit
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation, read_conversation
from ruma.tenant.conversing.inbox import ask_for_person, give_feedback, list_conversations, reply
from ruma.tenant.erasing.erasures import Kind, erase, finish_erasures
from ruma.tenant.erasing.receipts import is_signature_right, list_receipts, public_key_of, read_receipt
from ruma.tenant.home import Home
from ruma.tenant.keeping.holds import set_hold
from ruma.tenant.knowledge.documents import list_documents, store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.uploads import list_uploads, receive_upload
from ruma.tenant.people.api_keys import list_api_keys, make_api_key
from ruma.tenant.people.members import create_member, list_members
from ruma.tenant.tenant import Tenant
from tests.harness.residue import find_residue, make_canaries
from tests.making import EMBEDDER, make_document

PASSWORD = "seven loaves under the oak"


@pytest.fixture
def tenant(tmp_path: Path) -> Tenant:
    """Return an empty tenant."""
    home = Home(Settings(home=tmp_path / "home", key_source="machine"))
    home.create("acme")
    return home.open("acme")


def store(tenant: Tenant, name: str, *texts: str) -> int:
    """Store a document and return its number."""
    source = add_source(tenant, "upload", name)
    return store_document(tenant, source.id, make_document(name, *texts), embedder_id=EMBEDDER.id)


def say(tenant: Tenant, question: str, answer: str = "No.", *, cites: int | None = None, email: str = "") -> int:
    """Store a conversation and return its number."""
    chat = begin_conversation()
    citations = [(1, cites, 0, 9)] if cites else []
    add_exchange(tenant, chat, question, answer, mode="write", is_declined=False, citations=citations)
    if email:
        ask_for_person(tenant, chat, name=f"The one of {email}", email=email, message="Please call.")
    return chat.id or 0


def test_a_document_goes_with_all_that_came_from_it(tenant: Tenant) -> None:
    """Rows, words, vectors, the answer written from it, the source of its name and the sealed file; others stay."""
    word, title = make_canaries(2)
    kept = store(tenant, "kept", "Something else is said here and stays. ")
    document = store(tenant, title, f"Nobody may know of {word} any more. ", "And another passage of it. ")
    chat = say(tenant, "What is it?", f"It is about {word}, they say.", cites=document)
    assert set(find_residue(tenant.folder, tenant.key.raw, [word, title])) == {word, title}

    done = erase(tenant, "document", [document])

    assert done.signed
    receipt = done.signed.receipt
    assert find_residue(tenant.folder, tenant.key.raw, [word, title]) == {}
    assert [one.id for one in list_documents(tenant)] == [kept]
    assert [file.name for file in tenant.files_folder.iterdir()] != []
    assert len(list(tenant.files_folder.iterdir())) == 1
    assert read_conversation(tenant, chat).messages[1].text == ""
    assert receipt.is_complete
    assert receipt.counts == {
        "document": 1,
        "chunk": 2,
        "vector": 2,
        "sentence_vector": 2,
        "answer": 1,
        "source": 1,
        "sealed_file": 1,
    }
    assert (receipt.kind, receipt.numbers, receipt.by_kind) == ("document", (document,), "ruma")
    assert word not in done.signed.to_json()
    assert {check.what for check in receipt.checks} == {"rows", "words", "pages", "originals", "memory"}
    with pytest.raises(NotFoundError):
        erase(tenant, "document", [document])


def test_a_visitor_goes_with_every_conversation_and_nobody_elses(tenant: Tenant) -> None:
    """Messages, replies, comments, name and address go with the conversations; one with another address stays."""
    words = make_canaries(3)
    first = say(tenant, f"I am {words[0]}", email=f"{words[1]}@example.com")
    second = say(tenant, "Once more", email=f"{words[1]}@example.com")
    reply(tenant, second, author="Ada", text=f"Dear {words[2]}, we call you.")
    other = say(tenant, "Not me", email="other@example.com")

    done = erase(tenant, "visitor", [second, first])

    assert done.signed
    assert find_residue(tenant.folder, tenant.key.raw, words) == {}
    assert [one.id for one in list_conversations(tenant).conversations] == [other]
    assert done.signed.receipt.counts == {"conversation": 2, "message": 7}
    assert done.signed.receipt.numbers == (first, second)


def test_nothing_is_erased_where_one_of_several_is_not_there(tenant: Tenant) -> None:
    """A visitor of whom a conversation is gone is an error that leaves the others as they are."""
    chat = say(tenant, "Hello")

    with pytest.raises(NotFoundError):
        erase(tenant, "visitor", [chat, chat + 7])
    with pytest.raises(NotFoundError):
        erase(tenant, "visitor", [])

    assert read_conversation(tenant, chat).messages
    assert list_receipts(tenant) == []


def test_a_member_goes_with_keys_and_name(tenant: Tenant) -> None:
    """Sessions, keys and the name at replies and uploads go; what the member wrote stays the business's."""
    word = make_canaries(1)[0]
    owner = create_member(tenant, email="ada@example.com", name="Ada", role="owner", password=PASSWORD)
    leaver = create_member(tenant, email=f"{word}@example.com", name=f"Bo {word}", role="editor", password=PASSWORD)
    chat = say(tenant, "Hello")
    with acting_as("ruma"):
        act_as("member", leaver.id)
        make_api_key(tenant, "shop", ["chat"], created_by=leaver.name)
        reply(tenant, chat, author=leaver.name, text="We deliver on Sundays.")
        receive_upload(tenant, "a.txt", [b"text"], kind="upload", added_by=leaver.name, most_bytes=1000)
        act_as("member", owner.id)
        make_api_key(tenant, "script", ["read"], created_by=owner.name)

    with pytest.raises(ConflictError):
        erase(tenant, "member", [owner.id])
    done = erase(tenant, "member", [leaver.id])

    assert done.signed
    assert [one.name for one in list_members(tenant)] == ["Ada"]
    assert [one.name for one in list_api_keys(tenant)] == ["script"]
    said = read_conversation(tenant, chat).messages[-1]
    assert (said.text, said.author) == ("We deliver on Sundays.", "")
    assert list_uploads(tenant)[0].added_by == ""
    assert find_residue(tenant.folder, tenant.key.raw, [word]) == {}
    counts = done.signed.receipt.counts
    assert (counts["member"], counts["api_key"], counts["name_in_reply"], counts["name_at_upload"]) == (1, 1, 1, 1)


def test_keys_can_be_handed_over(tenant: Tenant) -> None:
    """A program goes on with the key that a leaving member made, where another member takes it."""
    ada = create_member(tenant, email="ada@example.com", name="Ada", role="owner", password=PASSWORD)
    bo = create_member(tenant, email="bo@example.com", name="Bo", role="editor", password=PASSWORD)
    make_api_key(tenant, "shop", ["chat"], created_by="Bo")

    done = erase(tenant, "member", [bo.id], keys_to=ada.id)

    assert done.signed
    assert [(one.name, one.created_by) for one in list_api_keys(tenant)] == [("shop", "Ada")]
    assert done.signed.receipt.counts["api_key_handed_over"] == 1


def test_a_receipt_is_signed_by_the_tenant_and_notices_every_change(tenant: Tenant) -> None:
    """Each character of what is signed matters, and one that is added too."""
    done = erase(tenant, "conversation", [say(tenant, "A question that goes")])

    assert done.signed
    text = done.signed.to_json()
    assert is_signature_right(read_receipt(text))
    assert read_receipt(text).public_key == public_key_of(tenant)
    for old, new in (('"looked_at"', '"found": 0, "looked_at"'), ('"number": 0', '"number": 1')):
        assert not is_signature_right(read_receipt(text.replace(old, new, 1))) or old == '"looked_at"'
    assert not is_signature_right(read_receipt(text.replace('"is_complete": true', '"is_complete": false')))
    assert not is_signature_right(read_receipt(text.replace('"signed_by": "tenant"', '"signed_by": "installation"')))
    assert not is_signature_right(read_receipt(text.replace('"receipt": {', '"receipt": {"more": 1,')))
    entry = list_audit(tenant)[0]
    assert (entry.action, entry.details["receipt"]) == ("conversation.erased", done.id)
    assert check_audit(tenant).broken_at is None


def test_every_receipt_of_a_tenant_has_one_key(tenant: Tenant) -> None:
    """The key is made with the first receipt and stays: the public half that is shown checks every receipt."""
    for _ in range(3):
        erase(tenant, "conversation", [say(tenant, "A question that goes")])

    signed = [one.signed for one in list_receipts(tenant) if one.signed]
    assert len(signed) == 3
    assert {one.public_key for one in signed} == {public_key_of(tenant)}
    assert all(is_signature_right(one) for one in signed)


def test_a_reader_delays_the_receipt(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """While somebody reads the old state there is no signed receipt; the next opening of the tenant writes it."""
    from ruma.tenant.erasing import erasure

    monkeypatch.setattr(erasure.finish_erasure, "__kwdefaults__", {"wait_seconds": 0.1})
    word = make_canaries(1)[0]
    chat = say(tenant, f"I am {word}")
    with tenant.reading() as db:
        db.execute("select count(*) from message").fetchone()
        done = erase(tenant, "conversation", [chat])
        assert done.signed is None
        assert find_residue(tenant.folder, tenant.key.raw, [word])

    finish_erasures(tenant)

    kept = list_receipts(tenant)[0].signed
    assert kept
    assert kept.receipt.is_complete
    assert "every page" in next(check.text for check in kept.receipt.checks if check.what == "pages")
    assert find_residue(tenant.folder, tenant.key.raw, [word]) == {}


def test_a_piece_that_is_left_makes_the_receipt_incomplete(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """With secure deletion off the check finds what SQLite leaves in freed cells, and the receipt says so."""
    chat = say(tenant, "Something that I said and that must not be found again by anybody")
    say(tenant, "Something else that stays")
    writing = tenant.writing

    @contextmanager
    def carelessly() -> Iterator[Any]:
        with writing() as db:
            db.execute("pragma secure_delete = off").fetchall()
            yield db

    monkeypatch.setattr(tenant, "writing", carelessly)

    done = erase(tenant, "conversation", [chat])

    assert done.signed
    assert not done.signed.receipt.is_complete
    assert next(check.found for check in done.signed.receipt.checks if check.what == "pages")


def test_a_missing_original_is_no_success(tenant: Tenant) -> None:
    """What is not there to be removed is told, since a copy of it may lie elsewhere."""
    document = store(tenant, "a", "Something is said in this document. ")
    next(tenant.files_folder.iterdir()).unlink()

    done = erase(tenant, "document", [document])

    assert done.signed
    assert not done.signed.receipt.is_complete
    assert next(check.missing for check in done.signed.receipt.checks if check.what == "originals") == 1


def test_feedback_and_citations_are_counted(tenant: Tenant) -> None:
    """Every table that hangs on a conversation is in the receipt, found by its foreign key."""
    document = store(tenant, "a", "Something is said in this document. ")
    chat = begin_conversation()
    answer = add_exchange(
        tenant, chat, "What?", "This.", mode="write", is_declined=False, citations=[(1, document, 0, 9)]
    )
    give_feedback(tenant, chat.secret, answer, True, "Very nice")

    done = erase(tenant, "conversation", [chat.id or 0])

    assert done.signed
    assert done.signed.receipt.counts == {"conversation": 1, "message": 2, "citation": 1, "feedback": 1}


@pytest.mark.parametrize("kind", ["document", "member"])
def test_a_hold_on_everything_keeps_documents_and_members(tenant: Tenant, kind: Kind) -> None:
    """Whatever is asked for: nothing goes until the hold ends."""
    set_hold(tenant, "A case at court.")

    with pytest.raises(ConflictError, match="legal hold"):
        erase(tenant, kind, [1])
