from collections.abc import Iterator

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.chat.answering import answer
from ruma.config import Settings
from ruma.errors import ConflictError, InputError, NotFoundError
from ruma.ingest.correcting import correct_document
from ruma.ingest.pairs import save_pair
from ruma.ingest.texts import parse_again
from ruma.server.app import create_app
from ruma.tenant.audit import list_audit
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation, read_conversation
from ruma.tenant.conversing.corrections import correct_email, correct_visitor_details
from ruma.tenant.conversing.inbox import read_for_member
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import (
    list_documents,
    read_document,
    read_original_of,
    remove_documents,
    stored_states,
)
from ruma.tenant.people.members import check_sign_in, create_member, find_member
from ruma.tenant.tenant import Tenant
from tests.harness.residue import find_residue, make_canaries
from tests.serving import DELIVERY, EMBEDDER, PASSWORD, make_tenant, sign_in, store, with_key
from tests.test_exporting import talk

HERE, API = "http://127.0.0.1:8420", "/t/acme/api"
FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "text/html"}


def test_a_corrected_text_is_answered_from_at_once(tenant: Tenant) -> None:
    """The old price is in no answer any more, headings and pages are where they were, and the original is kept."""
    old = store(tenant, "delivery.md", "Delivery", DELIVERY)
    source = list_documents(tenant)[0].source_id
    before = stored_states(tenant, source)["delivery.md"]
    text = read_document(tenant, old).text.replace("£2.50", "£3.75") + "\n\n# Refunds\n\nA refund takes four days."

    made = correct_document(tenant, old, text, EMBEDDER)

    new = read_document(tenant, made.document_id)
    given = answer("What does delivery to Marrowby cost?", tenant=tenant, embedder=EMBEDDER, generator=None)
    assert "£3.75" in "".join(given.tokens)
    assert "£2.50" not in new.text
    assert ("Prices", 1) in [(heading, page) for _, _, heading, page in new.chunks]
    assert any(heading.endswith("Refunds") for _, _, heading, _ in new.chunks)
    after = stored_states(tenant, source)["delivery.md"]
    assert (after.content_hash, after.reader) == (before.content_hash, before.reader)
    assert b"".join(read_original_of(tenant, made.document_id)) == b"original"
    entry = list_audit(tenant, limit=1)[0]
    assert (entry.action, entry.details) == ("document.corrected", {"before": old, "changed": "text"})


def test_what_was_wrong_is_gone_from_the_file(tenant: Tenant) -> None:
    """With the original replaced, the wrong word is in no page of the database and in no answer that was given."""
    wrong = make_canaries(1)[0]
    document = store(tenant, "a.md", "A", [("", None, [f"The owner is {wrong}.", "The shop is open."])])
    conversation = begin_conversation("page")
    add_exchange(tenant, conversation, "Who?", "", mode="quote", is_declined=False, citations=[(1, document, 0, 30)])
    assert find_residue(tenant.folder, tenant.key.raw, [wrong]), "the search proves nothing"

    made = correct_document(tenant, document, "The owner is Ada.\n\nThe shop is open.", EMBEDDER, replace_original=True)

    assert find_residue(tenant.folder, tenant.key.raw, [wrong]) == {}
    assert b"".join(read_original_of(tenant, made.document_id)).startswith(b"The owner is Ada.")
    assert read_conversation(tenant, conversation.id or 0).messages[1].text == ""


def test_a_text_that_is_not_changed_stays_to_the_letter(tenant: Tenant) -> None:
    """Reading a stored text again gives the same text: lists, rows and headings are what they were."""
    text = "Prices\n\nDelivery: £2; Town: Here\nDelivery: £3; Town: There\n\n- bread\n- cake\n  - small cake\n\n1. one"
    places = [(0, len(text), "Prices", 4)]

    parsed = parse_again("A", text, "text/plain", text, places)

    assert parsed.text == text
    assert parsed.blocks[0].kind == "heading"
    assert {block.page for block in parsed.blocks} == {4}


def test_a_correction_is_refused_whole(tenant: Tenant) -> None:
    """Nothing but blanks, a pair, and a document that is gone leave everything as it was."""
    document = store(tenant, "delivery.md", "Delivery", DELIVERY)
    pair = save_pair("Is it vegan?", "Yes.", tenant, EMBEDDER)
    before = read_document(tenant, document)

    with pytest.raises(InputError):
        correct_document(tenant, document, " \n\n ", EMBEDDER)
    with pytest.raises(ConflictError):
        correct_document(tenant, pair, "No.", EMBEDDER)
    assert read_document(tenant, document) == before
    remove_documents(tenant, [document])
    with pytest.raises(NotFoundError):
        correct_document(tenant, document, "New.", EMBEDDER)


def test_a_visitors_details_are_corrected_and_the_old_ones_gone(tenant: Tenant) -> None:
    """The name and the address are changed together or one by one; the audit log says so and names nobody."""
    number, (old, name) = talk(tenant), make_canaries(2)
    correct_visitor_details(tenant, number, name=old, email="old@example.com")

    correct_visitor_details(tenant, number, name=name)
    correct_visitor_details(tenant, number, name=name)

    info = read_for_member(tenant, number).info
    assert (info.visitor_name, info.visitor_email) == (name, "old@example.com")
    assert find_residue(tenant.folder, tenant.key.raw, [old]) == {}
    entries = [one for one in list_audit(tenant) if one.action == "visitor.corrected"]
    assert [(one.subject, one.details) for one in entries] == [
        (f"conversation {number}", {"changed": "name"}),
        (f"conversation {number}", {"changed": "name email"}),
    ]
    for wrong in ({"email": "no address"}, {"name": "x" * 300}):
        with pytest.raises(InputError):
            correct_visitor_details(tenant, number, **wrong)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        correct_visitor_details(tenant, number + 1, name="x")


def test_a_member_signs_in_with_the_new_address_alone(tenant: Tenant) -> None:
    """The old address opens nothing, another member's cannot be taken."""
    ada = create_member(tenant, email="ada@example.com", name="Ada", role="owner", password=PASSWORD)
    create_member(tenant, email="bob@example.com", name="Bob", role="viewer", password=PASSWORD)

    assert correct_email(tenant, ada.id, " Ada@New.example ").email == "ada@new.example"

    assert check_sign_in(tenant, "ada@new.example", PASSWORD)
    assert check_sign_in(tenant, "ada@example.com", PASSWORD) is None
    with pytest.raises(ConflictError):
        correct_email(tenant, ada.id, "bob@example.com")
    assert list_audit(tenant, limit=1)[0].details == {"changed": "email"}


@pytest.fixture
def served(settings: Settings) -> Iterator[Tenant]:
    """Return an open tenant of a server."""
    home = Home(settings)
    make_tenant(home)
    with home.open("acme") as tenant:
        yield tenant


@pytest.fixture
def client(served: Tenant, settings: Settings) -> Iterator[TestClient[Litestar]]:
    """Return a client."""
    with TestClient(create_app(Home(settings), lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
        client.follow_redirects = False
        yield client


def test_an_editor_corrects_a_text_and_a_visitor_in_the_pages(client: TestClient[Litestar], served: Tenant) -> None:
    """Forms change them, mistakes are said on the page, and a viewer may do neither."""
    editor, viewer = sign_in(served, "editor") | FORM, sign_in(served, "viewer") | FORM
    number = talk(served)
    document = next(one.id for one in list_documents(served) if one.name == "hours.md")
    url, details = f"/t/acme/sources/{document}/text", f"/t/acme/conversations/{number}/details"

    shown = client.get(url, headers=editor)
    empty = client.post(url, content="text=", headers=editor)
    saved = client.post(url, content="text=The+shop+opens+at+nine.", headers=editor)
    wrong = client.post(details, content="visitor_name=Jo&visitor_email=no", headers=editor)
    named = client.post(details, content="visitor_name=Jo&visitor_email=jo@example.com", headers=editor)

    assert "The shop opens on Sundays" in shown.text
    assert (empty.status_code, "empty" in empty.text) == (400, True)
    assert (saved.status_code, wrong.status_code, named.status_code) == (303, 400, 303)
    assert read_for_member(served, number).info.visitor_email == "jo@example.com"
    new = next(one.id for one in list_documents(served) if one.name == "hours.md")
    assert read_document(served, new).text.strip() == "The shop opens at nine."
    for address in (url, details):
        assert client.post(address, content="text=x", headers=viewer).status_code == 403


def test_a_program_corrects_too(client: TestClient[Litestar], served: Tenant) -> None:
    """The same by the API."""
    key, number = with_key(served, "write", "conversations"), talk(served)

    made = client.put(f"{API}/documents/2/text", json={"text": "New.", "replace_original": True}, headers=key)
    changed = client.patch(f"{API}/conversations/{number}", json={"visitor_name": "Jo"}, headers=key)

    assert made.json()["replaced_original"] is True
    assert read_document(served, made.json()["document_id"]).text.strip() == "New."
    assert changed.json()["visitor_name"] == "Jo"


def test_a_member_changes_the_address_with_the_password(client: TestClient[Litestar], served: Tenant) -> None:
    """Without the right password nothing changes."""
    owner = sign_in(served) | FORM
    url, number = "/t/acme/account/email", find_member(served, "owner@acme.example").id

    bad = client.post(url, content="email=new@example.com&password=wrong", headers=owner)
    taken = client.post(url, content=f"email=no&password={PASSWORD}", headers=owner)
    done = client.post(url, content=f"email=new@example.com&password={PASSWORD}", headers=owner)

    assert (bad.status_code, taken.status_code, done.status_code) == (400, 400, 303)
    assert find_member(served, number).email == "new@example.com"
