"""What a tenant's database holds, row by row, as an export writes it and an import stores it again.

Every column of every table is named here: in a table that is exported, or among what is left out, with the reason.
A test walks the database and fails for one that is named nowhere.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ruma.errors import NotFoundError
from ruma.tenant.audit import note
from ruma.tenant.conversing.conversations import read_conversation
from ruma.tenant.conversing.inbox import read_feedback
from ruma.tenant.knowledge.index import unpack_spans
from ruma.tenant.tenant import Tenant

if TYPE_CHECKING:
    from sqlite_utils import Database

Row = dict[str, Any]
ScopeKind = Literal["tenant", "member", "visitor"]


@dataclass(frozen=True)
class Scope:
    """Whose data is meant: the whole tenant's, one member's, or those of a visitor's conversations."""

    kind: ScopeKind = "tenant"
    member_id: int = 0
    conversations: tuple[int, ...] = ()
    """The numbers of a visitor's conversations."""


@dataclass(frozen=True)
class Table:
    """A table that is exported row by row."""

    name: str
    columns: str
    of_member: str = ""
    """The condition under which a row is about a member (:id, :name, :email); empty where none is."""
    of_visitor: str = ""
    """The condition under which a row belongs to a visitor's conversations (:conversations, a list in JSON)."""


_CONVERSATIONS = "(select value from json_each(:conversations))"

CONVERSATION = Table(
    "conversation",
    "id channel website language started_at last_at visitor_name visitor_email wants_person_since answered_at "
    "is_read is_closed questions declined helpful unhelpful is_kept is_counted",
    of_visitor=f"id in {_CONVERSATIONS}",
)
MESSAGE = Table("message", "id conversation_id role text mode is_declined author created_at author_id")
CITATION = Table("citation", "message_id number document_id start end")
FEEDBACK = Table("feedback", "message_id is_helpful comment given_at")
DOCUMENT = Table("document", "id source_id name title media_type content_hash reader size_bytes added_at")
CHUNK = Table("chunk", "id document_id start end heading page text sentences")
VECTOR = Table("vector", "chunk_id vector")
SENTENCE_VECTOR = Table("sentence_vector", "chunk_id vectors")
SEARCH_INDEX = Table("search_index", "embedder_id dimension")
NESTED = (CONVERSATION, MESSAGE, CITATION, FEEDBACK, DOCUMENT, CHUNK, VECTOR, SENTENCE_VECTOR, SEARCH_INDEX)
"""Tables that an export puts together: a conversation with its messages, a document with its chunks."""

UPLOAD = Table(
    "upload",
    "id kind name size_bytes state reason tries document_id added_by added_at ended_at added_by_id",
    of_member="added_by_id = :id or (added_by_id = 0 and added_by = :name)",
)
FLAT = (
    Table("profile", "business_name website contact_email notify_email"),
    Table(
        "agent",
        "name greeting instructions decline mode model questions tone language strictness accent theme position "
        "websites is_published offers_person",
    ),
    Table("member", "id email name role is_disabled created_at last_seen_at", of_member="id = :id"),
    Table("session", "id member_id started_at seen_at browser address", of_member="member_id = :id"),
    Table("link", "purpose member_id email role started_at ends_at", of_member="member_id = :id or email = :email"),
    Table(
        "api_key",
        "id name beginning scopes created_by created_at last_used_at created_by_id",
        of_member="created_by_id = :id or (created_by_id = 0 and created_by = :name)",
    ),
    Table("source", "id kind location added_at"),
    UPLOAD,
    Table(
        "consent",
        "id conversation_id purpose is_given text_version language at",
        of_visitor=f"conversation_id in {_CONVERSATIONS}",
    ),
    Table("consent_setting", "keeping is_widget_used"),
    Table("terms", "version text url first_at"),
    Table("terms_acceptance", "member_id version accepted_at", of_member="member_id = :id"),
    Table(
        "rights_request",
        "id kind origin contact note conversation_id received_on due_on extended_because state closed_at outcome",
        of_visitor=f"conversation_id in {_CONVERSATIONS}",
    ),
    Table("rights_request_step", "id request_id at by what note"),
    Table(
        "audit",
        "id at actor_kind actor_id address action subject details",
        of_member="(actor_kind = 'member' and actor_id = :id) or subject = 'member ' || :id",
        of_visitor="subject in (select 'conversation ' || value from json_each(:conversations))",
    ),
    Table("retention", "plan shortened"),
    Table("billing", "customer"),
    Table(
        "hold",
        "id conversation_id reason set_by_kind set_by_id set_at until ended_at",
        of_member="set_by_kind = 'member' and set_by_id = :id",
    ),
    Table(
        "export",
        "id kind member_id conversations state reason size_bytes has_password asked_by asked_at made_at",
        of_member="kind = 'member' and member_id = :id or asked_by = :name",
    ),
    Table("backup", "snapshot made_at is_whole"),
    Table(
        "connection",
        "id at purpose host port actor_kind actor_id address outcome reason bytes_out bytes_in milliseconds",
        of_member="actor_kind = 'member' and actor_id = :id",
    ),
    Table("policy_version", "id since text"),
    Table("erasure", "id asked_at receipt"),
)
"""Tables that an export writes as they are, one row a line."""

REPLIES = Table(
    "message", MESSAGE.columns, of_member="author_id = :id or (role = 'person' and author_id = 0 and author = :name)"
)
"""What a member wrote to visitors: in a member's own export, since the conversations are not."""

LEFT_OUT: Mapping[str, str] = {
    "document.etag": "a web server's name for a version, which the next reading asks for anew",
    "document.last_modified": "a web server's date of a version, which the next reading asks for anew",
    "member.password_hash": "a secret; a member who comes along gets a new password",
    "member.totp_secret": "a secret of the second factor",
    "member.totp_last_step": "a state of the second factor",
    "member.session_epoch": "a counter that ends sessions",
    "recovery_code": "secrets of the second factor",
    "session.secret_hash": "a secret that signs in",
    "session.epoch": "a counter that ends sessions",
    "link.secret_hash": "a secret that signs in",
    "api_key.secret_hash": "a secret that lets programs in",
    "conversation.secret_hash": "the visitor's own secret",
    "conversation.left_at": "a state of a conversation that is not kept, which is gone within minutes",
    "consent_setting.id": "always 1",
    "rights_request.is_reminded": "whether a mail about the date was sent",
    "visitor_link": "one-time links that prove an address",
    "attempt": "failed tries, as hashes without names, kept for some minutes",
    "kept_response": "copies of answers to programs, kept for a day",
    "pending_erasure": "what is still to be cleaned from this file",
    "document.original_id": "the name of a file in this directory; the original itself is in the export",
    "upload.sealed_id": "the name of a file in this directory; what was not read yet is in the export",
    "audit.hash": "it binds the entries of this directory's log; `ruma audit` checks and exports it",
    "audit_start": "where this directory's audit log begins",
    "search_index.id": "always 1",
    "search_index.revision": "a counter of changes",
    "profile.id": "always 1",
    "agent.id": "always 1",
    "retention.id": "always 1",
    "billing.id": "always 1",
    "retention.promised": "a copy of the operator's settings",
    "retention.believed_at": "a state of this machine's clock",
    "retention.boot": "a state of this machine's clock",
    "retention.boot_seconds": "a state of this machine's clock",
    "retention.doubted_boot": "a state of this machine's clock",
    "retention.doubted_seconds": "a state of this machine's clock",
    "retention.doubted_offset": "a state of this machine's clock",
    "retention.ran_at": "when retention ran last on this machine",
    "retention.removed": "what retention removed last on this machine",
    "retention_mark": "what was there on which day, on this machine",
    "export.sealed_id": "the name of a file in this directory, which is a copy of what is exported here",
    "export.tries": "a state of this machine",
    "export.envelope_head": "the head of a file that a password opens",
    "export.envelope_key": "a secret that opens a file",
    "backup.target_id": "where on this machine the backup lies: the operator's",
    "backup.folder": "where on this machine the backup lies: the operator's",
    "file_key": "secrets that open sealed files",
    "page_key": "a secret that addresses are made from",
    "policy_version.body_hash": "made from the text",
    "policy_check": "what the last check of this machine found",
    "ruma_identity": "the number of this directory; an import has its own",
    "message_fts": "an index, made again from the messages",
    "chunk_fts": "an index, made again from the chunks",
    "erasure.draft": "the beginning of the receipt",
    "erasure.secret": "a secret with which it is looked whether what was erased is gone",
    "erasure.pieces": "fingerprints of what was erased",
    "erasure.terms": "fingerprints of what was erased",
    "erasure.files": "the names of files that are to be removed",
    "receipt_signer": "the secret that signs this directory's receipts",
    "_sqlite_migrations": "which steps this version of Ruma has made",
}
"""What an export does not hold: a table, or a column as `table.column`, and why."""


def check_scope(tenant: Tenant, scope: Scope) -> None:
    """Raise NotFoundError unless what a scope names is there.

    Raises:
        NotFoundError: The member, or each of the conversations, is not there.
    """
    with tenant.reading() as db:
        if scope.kind == "member":
            _member_values(db, scope)
        elif scope.kind == "visitor" and not _count(db, CONVERSATION, scope):
            raise NotFoundError("No conversation of this visitor is there any more.")


def note_taken(tenant: Tenant, scope: Scope) -> None:
    """Write into the audit log that somebody was given a copy of what is in a scope."""
    subject = {"tenant": "", "member": f"member {scope.member_id}", "visitor": ""}[scope.kind]
    details = {"conversations": len(scope.conversations)} if scope.kind == "visitor" else {}
    with tenant.writing() as db:
        note(db, "export.made", subject, kind=scope.kind, **details)


def read_rows(tenant: Tenant, table: Table, scope: Scope) -> Iterator[Row]:
    """Return the rows of a table that are in a scope, in the order of their numbers, without what is left out."""
    with tenant.reading() as db:
        yield from _select(db, table, scope)


def read_conversations(tenant: Tenant, scope: Scope) -> Iterator[Row]:
    """Return conversations with their messages, citations and feedback.

    A message's text is what the visitor read, also where the database holds only the places that it quotes.
    """
    for row in read_rows(tenant, CONVERSATION, scope):
        conversation = read_conversation(tenant, row["id"])
        feedback = read_feedback(tenant, row["id"])
        with tenant.reading() as db:
            messages = _rows(db, MESSAGE, "where conversation_id = ? order by id", [row["id"]])
        for stored, message in zip(messages, conversation.messages, strict=True):
            stored["text"] = message.text
            stored["citations"] = [asdict(one) for one in message.citations]
            given = feedback.get(message.id)
            stored["feedback"] = asdict(given) if given else None
            del stored["conversation_id"]
        yield {**row, "messages": messages}


def read_documents(tenant: Tenant, scope: Scope) -> Iterator[Row]:
    """Return documents with their chunks; joined, the chunks' texts are the document's."""
    if scope.kind != "tenant":
        return
    with tenant.reading() as db:
        documents = db.execute(f"select {_listed(DOCUMENT)}, original_id from document order by id")
        for *values, original_id in documents:
            row = dict(zip(DOCUMENT.columns.split(), values, strict=True))
            chunks = _rows(db, CHUNK, "where document_id = ? order by start", [row["id"]])
            for chunk in chunks:
                chunk["sentences"] = [list(span) for span in unpack_spans(chunk["sentences"])]
                del chunk["document_id"]
            yield {**row, "original_id": original_id, "chunks": chunks}


def read_vectors(tenant: Tenant, document_id: int) -> list[Row]:
    """Return the vectors of a document's chunks, in the order of the chunks, as base64."""
    with tenant.reading() as db:
        rows = db.execute(
            """select vector.chunk_id, vector.vector, sentence_vector.vectors from chunk
               join vector on vector.chunk_id = chunk.id join sentence_vector on sentence_vector.chunk_id = chunk.id
               where document_id = ? order by start""",
            [document_id],
        ).fetchall()
    return [{"chunk_id": row[0], "vector": _text_of(row[1]), "vectors": _text_of(row[2])} for row in rows]


def waiting_upload_ids(tenant: Tenant) -> dict[int, str]:
    """Return of each upload that was not read yet the id of its sealed file, by its number."""
    with tenant.reading() as db:
        return dict(db.execute("select id, sealed_id from upload where state != 'done' order by id").fetchall())


def _count(db: "Database", table: Table, scope: Scope) -> int:
    where, values = _condition(db, table, scope)
    return int(db.execute(f"select count(*) from {table.name} {where}", values).fetchone()[0])


def _select(db: "Database", table: Table, scope: Scope) -> Iterator[Row]:
    where, values = _condition(db, table, scope)
    names = table.columns.split()
    order = "id" if "id" in names else "snapshot" if "snapshot" in names else "rowid"
    for values_of_row in db.execute(f"select {_listed(table)} from {table.name} {where} order by {order}", values):
        yield dict(zip(names, values_of_row, strict=True))


def _condition(db: "Database", table: Table, scope: Scope) -> tuple[str, Row]:
    if scope.kind == "tenant":
        return "", {}
    condition = table.of_member if scope.kind == "member" else table.of_visitor
    if not condition:
        return "where 0", {}
    values = _member_values(db, scope) if scope.kind == "member" else {"conversations": json.dumps(scope.conversations)}
    return f"where {condition}", values


def _member_values(db: "Database", scope: Scope) -> Row:
    row = db.execute("select id, name, email from member where id = ?", [scope.member_id]).fetchone()
    if row is None:
        raise NotFoundError("This member is not there any more.")
    return dict(zip(("id", "name", "email"), row, strict=True))


def _rows(db: "Database", table: Table, rest: str, values: Sequence[Any]) -> list[Row]:
    found = db.execute(f"select {_listed(table)} from {table.name} {rest}", list(values)).fetchall()
    return [dict(zip(table.columns.split(), row, strict=True)) for row in found]


def _listed(table: Table) -> str:
    return ", ".join(f'"{name}"' for name in table.columns.split())


def _text_of(blob: bytes) -> str:
    return base64.b64encode(blob).decode()
