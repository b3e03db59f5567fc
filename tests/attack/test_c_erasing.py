"""Erasing: a mark in every field that holds something of somebody, looked for wherever the program can have written."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyotp
import pytest
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.privacy.erasing import erase_document, erase_member, erase_tenant, erase_visitor
from ruma.privacy.verifying import verify_erasure
from ruma.server.app import create_app
from ruma.tenant import database
from ruma.tenant.audit import act_as, acting_as
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.conversing.inbox import ask_for_person, give_feedback, reply
from ruma.tenant.conversing.visitors import VisitorRef
from ruma.tenant.copying.contents import Scope
from ruma.tenant.copying.exports import ask_export, list_exports
from ruma.tenant.erasing.traces import data_tables, trace_columns
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents, store_document
from ruma.tenant.knowledge.index import search_words
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.uploads import receive_upload, take_upload
from ruma.tenant.people.api_keys import make_api_key
from ruma.tenant.people.links import list_invitations
from ruma.tenant.people.members import create_member, find_member
from ruma.tenant.people.second_factor import enable_second_factor, new_factor_secret
from ruma.tenant.people.sessions import begin_session
from ruma.tenant.tenant import Tenant
from tests.harness.residue import find_plaintext, find_residue, make_canaries
from tests.making import EMBEDDER, make_document
from tests.serving import FLAGS, PASSWORD, sign_in

if TYPE_CHECKING:
    from sqlite_utils import Database

HERE = "http://127.0.0.1:8420"

UNMARKED = {
    "agent": "the agent's own settings, which the business writes",
    "attempt": "keyed hashes",
    "audit": "numbers and names of actions",
    "audit_start": "a hash",
    "backup": "where backups lie",
    "billing": "the number that Stripe gave the business",
    "connection": "hosts that the operator set up",
    "consent": "a choice, without a text",
    "erasure": "receipts and fingerprints",
    "file_key": "keys of sealed files, which go with them",
    "hold": "why the business must keep something; it outlives what it kept",
    "page_key": "a key",
    "policy_check": "what the check of the policy found",
    "policy_version": "the policy's own words",
    "profile": "the business itself",
    "receipt_signer": "a key",
    "recovery_code": "hashes",
    "retention": "the plan",
    "retention_mark": "days",
    "rights_request": "the register of requests, which outlives what was asked; receipts say so",
    "rights_request_step": "the register of requests",
    "ruma_identity": "the tenant's number",
    "search_index": "the model's name",
    "terms": "the operator's own terms",
    "visitor_link": "made with a mail; deleted by address, see test_one_time_links_of_the_visitor_go",
    "sentence_vector": "numbers, looked for by their bytes",
    "vector": "numbers, looked for by their bytes",
    "api_key.beginning": "of a secret", "api_key.secret_hash": "a hash", "conversation.secret_hash": "a hash",
    "chunk.sentences": "places", "chunk.heading": "marked where a format has headings: the title stands for it here",
    "document.content_hash": "a hash", "document.original_id": "random",
    "export.conversations": "numbers", "export.reason": "of a failure", "export.sealed_id": "random",
    "export.envelope_head": "random", "export.envelope_key": "random",
    "kept_response.key_hash": "a hash", "kept_response.request_hash": "a hash",
    "link.secret_hash": "a hash", "member.password_hash": "a hash", "member.totp_secret": "a secret",
    "session.secret_hash": "a hash", "session.address": "a network",
    "upload.sealed_id": "random", "upload.reason": "of a failure",
}  # fmt: skip
"""Tables and columns that hold no mark, and why: one that is neither marked nor here fails the test."""


class Marks:
    """A random word for each field, by whose it is."""

    def __init__(self) -> None:
        """Begin without any."""
        self.document: dict[str, str] = {}
        self.visitor: dict[str, str] = {}
        self.member: dict[str, str] = {}

    def take(self, of: str, name: str) -> str:
        """Return the mark of a field."""
        marks: dict[str, str] = getattr(self, of)
        return marks.setdefault(name, make_canaries(1)[0])


class Filled:
    """A tenant in which every field has its mark."""

    def __init__(self, home: Home) -> None:
        """Fill it as its members, its visitors and programs do."""
        self.home, self.marks = home, Marks()
        home.create("acme")
        self.tenant = home.open("acme")
        self.bystander = store(self.tenant, "bystander", "Somebody else's words that stay.", "A bystander")
        owner = create_member(self.tenant, email="ada@example.com", name="Ada", role="owner", password=PASSWORD)
        self.owner = owner.id
        self._fill_document()
        self._fill_member()
        self._fill_visitor()

    def _fill_document(self) -> None:
        mark = lambda name: self.marks.take("document", name)  # noqa: E731
        name = f"{mark('name')}.txt"
        texts = [f"{'x' * (97 * part)} {mark('text')} stands here. " for part in range(9)]
        with acting_as("ruma"):
            act_as("operator")
            receive_upload(self.tenant, name, [b"bytes"], kind="upload", added_by="Ada", most_bytes=1000)
            taken = take_upload(self.tenant)
            assert taken
            with taken:
                source = add_source(self.tenant, "upload", name)
                document = make_document(name, *texts, title=f"About {mark('title')}")
                self.document = store_document(self.tenant, source.id, document, embedder_id=EMBEDDER.id)
                taken.finish()
        chat = begin_conversation()
        told = f"They say {mark('answer')} of it."
        add_exchange(self.tenant, chat, "What is it?", told, mode="write", is_declined=False,
                     citations=[(1, self.document, 0, 9)])  # fmt: skip
        with self.tenant.reading() as db:
            rows = db.execute("select vector from vector join chunk on chunk.id = chunk_id where document_id = ?",
                              [self.document]).fetchall()  # fmt: skip
        self.vectors = [
            row[0][at : at + 16] for row in rows for at in range(4, 200, 16) if len(set(row[0][at : at + 16])) > 8
        ]

    def _fill_member(self) -> None:
        mark = lambda name: self.marks.take("member", name)  # noqa: E731
        name = f"Bo {mark('name')}"
        self.member = create_member(
            self.tenant, email=f"{mark('email')}@example.com", name=name, role="editor", password=PASSWORD
        ).id
        with acting_as("ruma"):
            act_as("member", self.member)
            make_api_key(self.tenant, f"key {mark('key')}", ["chat"], created_by=name)
            receive_upload(self.tenant, "other.txt", [b"x"], kind="upload", added_by=name, most_bytes=1000)
            chat = begin_conversation()
            add_exchange(self.tenant, chat, "Hm?", "No.", mode="write", is_declined=False, citations=[])
            reply(self.tenant, chat.id or 0, author=name, text="We deliver.")
        begin_session(self.tenant, self.member, browser=f"Browser {mark('browser')}")
        scope = Scope("visitor", conversations=(chat.id or 0,))
        ask_export(self.tenant, scope, asked_by=name)
        secret = new_factor_secret()
        enable_second_factor(self.tenant, self.member, secret, pyotp.TOTP(secret).now())
        with self.tenant.writing() as db:
            db.execute(
                "insert into link values (x'01', 'reset', ?, ?, '', 0, 1)",
                [self.member, f"{mark('email')}@example.com"],
            )

    def _fill_visitor(self) -> None:
        mark = lambda name: self.marks.take("visitor", name)  # noqa: E731
        self.email = f"{mark('email')}@example.com"
        for number in range(2):
            chat = begin_conversation("widget", website="https://www.example.com", language="de")
            answer = add_exchange(
                self.tenant, chat, f"I am {mark('question')} and ask", f"Dear {mark('answer')}", mode="write",
                is_declined=False, citations=[(1, self.bystander, 0, 9)],
            )  # fmt: skip
            ask_for_person(self.tenant, chat, name=f"Dr. {mark('name')}", email=self.email, message=mark("message"))
            give_feedback(self.tenant, chat.secret, answer, number == 0, f"Thanks, {mark('comment')}")
            reply(self.tenant, chat.id or 0, author="Ada", text=f"Hello {mark('reply')}")

    def use(self) -> str:
        """Use it by pages, programs and jobs; return what the server logged."""
        question = self.marks.visitor["question"]
        with TestClient(create_app(self.home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
            headers = sign_in(self.tenant, "owner", email="ada@example.com")
            for address in (
                "conversations", "sources", "people", "data", "data/erasures", "overview",
                f"conversations?text={question}", f"data/erasures?find={question}", f"documents/{self.document}",
            ):  # fmt: skip
                assert client.get(f"/t/acme/{address}", headers=headers).status_code == 200, address
            body = {"question": f"What about {self.marks.document['text']} and {question}?"}
            sent = {**headers, "Idempotency-Key": "once", "content-type": "application/json"}
            client.post("/t/acme/api/search", json=body, headers=sent)
            client.post("/t/acme/api/chat", json=body, headers=headers)
            asked = client.post("/t/acme/api/exports", json={"kind": "tenant"}, headers=headers)
            assert asked.status_code == 200, asked.text
            client.get("/t/acme/api/%00", headers=headers)
        with self.tenant.writing() as db:
            # What a program was answered is kept for a day: in case the answers above were too short to be.
            db.execute("insert or replace into kept_response values (x'02', x'03', 200, ?, 0)",
                       [json.dumps(self.marks.visitor | self.marks.document | self.marks.member).encode()])  # fmt: skip
            db.execute("delete from conversation where channel = 'api'")
        return ""

    def words(self, *kinds: str) -> list[str]:
        """Return the marks of these kinds."""
        return [word for kind in kinds for word in getattr(self.marks, kind).values()]

    def left(self, *kinds: str) -> set[str]:
        """Return which marks are anywhere: in decrypted pages and log, in files, in temporary folders."""
        words = self.words(*kinds)
        found = set(find_residue(self.tenant.folder, self.tenant.key.raw, words))
        places = [self.home.settings.home, Path(os.environ.get("TMPDIR", "/tmp")) / "ruma", Path("/dev/shm")]
        return found | set(find_plaintext([place for place in places if place.exists()], words))


def store(tenant: Tenant, name: str, text: str, title: str) -> int:
    """Store a document."""
    source = add_source(tenant, "upload", name)
    return store_document(tenant, source.id, make_document(name, text, title=title), embedder_id=EMBEDDER.id)


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    """Return a tenant with a mark in every field."""
    home = Home(load_settings({"home": tmp_path / "home", **FLAGS}, {}))
    made = Filled(home)
    yield made
    made.tenant.close()


def test_c25_every_field_has_a_mark_or_a_reason_for_none(filled: Filled) -> None:
    """The schema is walked: a new column that can hold something of somebody must be marked, or be explained."""
    filled.use()
    words = [word.encode() for word in filled.words("document", "visitor", "member")]
    unmarked = []
    with filled.tenant.reading() as db:
        for table in data_tables(db):
            for column in trace_columns(db, table):
                values = [row[0] for row in db.execute(f'select "{column}" from {table}') if row[0] is not None]
                raw = [value.encode() if isinstance(value, str) else value for value in values]
                is_marked = any(word in value for value in raw for word in words)
                if not is_marked and table not in UNMARKED and f"{table}.{column}" not in UNMARKED:
                    unmarked.append(f"{table}.{column}")

    assert unmarked == []


def test_c74_each_is_erased_alone_and_nothing_of_it_is_anywhere(filled: Filled) -> None:
    """Document, visitor and member, one after the other: what goes is nowhere, and what stays is found as before."""
    filled.use()
    kinds = ("document", "visitor", "member")
    assert filled.left(*kinds) == set(filled.words(*kinds)), "the search finds less than was stored: it proves nothing"
    erasers = {
        "document": lambda: erase_document(filled.tenant, filled.document),
        "visitor": lambda: erase_visitor(filled.tenant, VisitorRef(email=filled.email)),
        "member": lambda: erase_member(filled.tenant, filled.member),
    }
    receipts = []

    for place, (kind, erase) in enumerate(erasers.items()):
        done = erase().signed
        assert done
        assert done.receipt.is_complete, done.receipt.checks
        receipts.append(done)
        assert filled.left(kind) == set()
        others = kinds[place + 1 :]
        assert filled.left(*others) == set(filled.words(*others))

    assert find_residue(filled.tenant.folder, filled.tenant.key.raw, [], filled.vectors) == {}
    assert [one.asked_by for one in list_exports(filled.tenant)] == []
    filled.tenant.close()
    assert [verify_erasure(filled.home, one).outcome for one in receipts] == ["clean"] * 3
    for one in receipts:
        assert not any(word in one.to_json() for word in filled.words(*kinds))


@pytest.fixture
def careless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Filled]:
    """Return such a tenant in a database that keeps what it deletes, in its pages and in its indexes."""
    real = database.pragma

    def pragma(db: "Database", what: str) -> list[tuple[Any, ...]]:
        if what == "secure_delete":
            return [(1,)]  # or it would not open
        return real(db, "secure_delete=OFF" if what == "secure_delete=ON" else what)

    monkeypatch.setattr(database, "pragma", pragma)
    monkeypatch.setattr(database, "_check_forgetting", lambda *_: None)
    made = Filled(Home(load_settings({"home": tmp_path / "home", **FLAGS}, {})))
    with made.tenant.unbound() as db:
        assert db.execute("pragma secure_delete").fetchall() == [(0,)]
        for index in ("chunk_fts", "message_fts"):
            db.execute(f"insert into {index} ({index}, rank) values ('secure-delete', 0)")
    yield made
    made.tenant.close()


def test_c25_without_secure_deletion_each_kind_is_found(careless: Filled) -> None:
    """The control: with secure deletion off, marks of each kind are left, and both searches say so."""
    erasers = {
        "document": lambda: erase_document(careless.tenant, careless.document),
        "visitor": lambda: erase_visitor(careless.tenant, VisitorRef(email=careless.email)),
        "member": lambda: erase_member(careless.tenant, careless.member),
    }
    receipts = [(kind, erase().signed) for kind, erase in erasers.items()]

    assert {kind for kind in erasers if careless.left(kind)} == set(erasers)
    assert {kind for kind, signed in receipts if signed and not signed.receipt.is_complete} == set(erasers)
    careless.tenant.close()
    assert [verify_erasure(careless.home, signed).outcome for _, signed in receipts if signed] == ["not clean"] * 3


def test_c24_a_deleted_tenant_leaves_no_mark(filled: Filled) -> None:
    """Of a tenant that was used in every way no mark is in any file of the home, and its neighbour is as before."""
    filled.use()
    filled.home.create("other")
    neighbour = filled.home.settings.tenants_folder / "other"
    before = {file: file.read_bytes() for file in neighbour.rglob("*") if file.is_file()}
    words = filled.words("document", "visitor", "member")
    filled.tenant.close()

    deleted = erase_tenant(filled.home, "acme")

    assert deleted.signed.receipt.is_complete
    assert not find_plaintext([filled.home.settings.home], words)
    assert {file: file.read_bytes() for file in neighbour.rglob("*") if file.is_file()} == before
    with filled.home.open("other") as other:
        assert find_residue(other.folder, other.key.raw, words) == {}
    assert verify_erasure(filled.home, deleted.signed).outcome == "clean"


def test_c26_what_is_erased_is_answered_from_no_more(filled: Filled) -> None:
    """At once, in the process that held it in memory and in another."""
    mark = filled.marks.document["text"]
    with filled.home.open("acme") as other:
        assert search_words(filled.tenant, [mark], 3)
        assert search_words(other, [mark], 3)

        erase_document(filled.tenant, filled.document)

        assert search_words(filled.tenant, [mark], 3) == search_words(other, [mark], 3) == []
        assert filled.document not in {one.id for one in list_documents(other)}


def test_c27_a_tenant_of_the_same_name_sees_nothing_old(filled: Filled) -> None:
    """Deleted while it is open, and made anew: another key, another id, no old row, and no file is held open."""
    old_key, old_id = filled.tenant.key, filled.tenant.id
    erase_tenant(filled.home, "acme")
    filled.home.create("acme")

    with filled.home.open("acme") as new:
        assert new.id != old_id
        assert new.key != old_key
        assert list_documents(new) == []
        with pytest.raises(Exception, match="not there any more"):
            filled.tenant.check_present()
    held = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            held.append(os.readlink(entry))
    assert not [path for path in held if "tenants/acme" in path and "(deleted)" in path]


def test_one_time_links_of_the_visitor_go(filled: Filled) -> None:
    """A link that proves the visitor's address goes with the visitor."""
    with filled.tenant.writing() as db:
        db.execute("insert into visitor_link values (x'05', ?, 0, 1)", [filled.email])

    erase_visitor(filled.tenant, VisitorRef(email=filled.email))

    assert filled.left("visitor") == set()
    assert list_invitations(filled.tenant) == []
    assert find_member(filled.tenant, "ada@example.com").id == filled.owner


def test_erasing_the_same_twice_at_once_succeeds_once(filled: Filled) -> None:
    """Two commands that erase one document: one does, the other says that it is not there; there is a receipt."""
    from tests.harness.process import RUMA, environ_of

    filled.tenant.close()
    command = [*RUMA, "erase", "document", str(filled.document), "--yes", "--json"]
    processes = [
        subprocess.Popen(command, env=environ_of(filled.home.settings.home), stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
        for _ in "ab"
    ]  # fmt: skip
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]

    late = [code for said, code in ended if "not there any more" in said[1]]
    # On a busy machine the late one may read for so long that the receipt waits for the next command.
    done = [code for said, code in ended if code == 0 or "there is no receipt yet" in said[1]]
    assert (late, len(done)) == ([1], 1), ended
    shown = subprocess.run([*RUMA, "erase", "show", "1"], env=environ_of(filled.home.settings.home), check=False)
    assert shown.returncode == 0
