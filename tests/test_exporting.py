import io
import json
import zipfile

import pytest

from ruma.errors import NotFoundError
from ruma.privacy.exporting import export_member, export_visitor, write_export
from ruma.tenant.audit import list_audit
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.conversing.corrections import correct_visitor_details
from ruma.tenant.copying.contents import Scope
from ruma.tenant.people.members import create_member
from ruma.tenant.tenant import Tenant
from tests.serving import DELIVERY, PASSWORD, store

BAD = '<script>alert(1)</script>"&\x1b[2J'


def open_zip(data: bytes) -> zipfile.ZipFile:
    """Return an export, each file of which has the checksum that it should."""
    found = zipfile.ZipFile(io.BytesIO(data))
    assert found.testzip() is None
    return found


def talk(tenant: Tenant, question: str = "Do you deliver?", answer: str = "No.") -> int:
    """Store a conversation of one exchange and return its number."""
    conversation = begin_conversation("widget", website="https://shop.example")
    add_exchange(tenant, conversation, question, answer, mode="write", is_declined=False, citations=[])
    assert conversation.id
    return conversation.id


def test_a_visitors_export_holds_their_conversation_and_no_other(tenant: Tenant) -> None:
    """What a browser downloads is one's own conversation, for programs and for people, and nothing of the business."""
    document = store(tenant, "delivery.md", "Delivery", DELIVERY)
    conversation = begin_conversation("page")
    add_exchange(tenant, conversation, "When?", "", mode="quote", is_declined=False, citations=[(1, document, 10, 30)])
    other = talk(tenant, "Somebody else's question")
    assert conversation.id

    found = open_zip(export_visitor(tenant, [conversation.id]))

    lines = found.read("data/conversations/0001.jsonl").decode().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [conversation.id]
    said = json.loads(lines[0])["messages"]
    assert [one["text"] for one in said] == ["When?", "Our van brings bread [1]"]
    assert not [name for name in found.namelist() if name.startswith(("originals", "documents", "data/documents"))]
    everything = "".join(found.read(name).decode() for name in found.namelist())
    assert "Somebody else" not in everything
    assert "Our van brings bread" in found.read("conversations/0001.html").decode()
    with pytest.raises(NotFoundError):
        export_visitor(tenant, [other + 1])


def test_what_visitors_wrote_is_text_on_an_exports_pages(tenant: Tenant) -> None:
    """Markup in a question, a name or an answer is shown and does nothing, and control characters are gone."""
    number = talk(tenant, BAD, BAD)
    correct_visitor_details(tenant, number, name=BAD)

    shown = open_zip(export_visitor(tenant, [number])).read("conversations/0001.html").decode()

    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&amp;" in shown
    assert "\x1b" not in shown


def test_a_members_export_holds_what_is_about_them_and_no_secret(tenant: Tenant) -> None:
    """A member gets their own row, and none of another's; the password's hash is not in it."""
    ada = create_member(tenant, email="ada@example.com", name="Ada", role="owner", password=PASSWORD)
    create_member(tenant, email="bob@example.com", name="Bob", role="viewer", password=PASSWORD)

    found = open_zip(export_member(tenant, ada.id))

    row = json.loads(found.read("data/member.jsonl"))
    assert row["email"] == "ada@example.com"
    everything = "".join(found.read(name).decode() for name in found.namelist())
    assert "bob@example.com" not in everything
    assert "argon2" not in everything


def test_each_export_is_in_the_audit_log(tenant: Tenant) -> None:
    """Who takes a copy of anybody's data leaves an entry, which names nobody."""
    number = talk(tenant)

    export_visitor(tenant, [number])

    entry = list_audit(tenant, limit=1)[0]
    assert (entry.action, entry.details) == ("export.made", {"kind": "visitor", "conversations": 1})


def test_a_tenants_export_has_its_documents_and_their_originals(tenant: Tenant) -> None:
    """Texts and originals are there, the originals under names of ours with a table of their own names."""
    store(tenant, "../../etc/delivery.md", "Delivery", DELIVERY)
    taken = io.BytesIO()

    about = write_export(tenant, Scope(), taken)

    found = open_zip(taken.getvalue())
    assert found.read("originals/000001.md") == b"original"
    assert about["originals"][0] == {
        "document_id": 1,
        "name": "../../etc/delivery.md",
        "file": "originals/000001.md",
        "size_bytes": 8,
        "problem": "",
    }
    assert "Delivery to Marrowby costs" in found.read("documents/000001.html").decode()
    assert json.loads(found.read("export.json")) == about
