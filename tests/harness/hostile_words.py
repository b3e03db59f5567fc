"""A tenant that holds one thing of each kind, with hostile words in every text of it."""

import re

from ruma.ingest.pairs import save_pair
from ruma.privacy.erasing import erase_conversation
from ruma.privacy.requests import receive_request
from ruma.tenant.agents import change_agent
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.conversing.inbox import give_feedback
from ruma.tenant.copying.contents import Scope
from ruma.tenant.copying.exports import ask_export, take_export
from ruma.tenant.keeping.holds import set_hold
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.uploads import receive_upload, take_upload
from ruma.tenant.people.api_keys import make_api_key
from ruma.tenant.people.joining import invite
from ruma.tenant.profile import change_profile
from ruma.tenant.tenant import Tenant
from tests.harness.erasing import MARKS, fill
from tests.payloads import MARKUP
from tests.serving import EMBEDDER, sign_in, store

OWNER = "a@example.com"
HOSTILE = " ".join(MARKUP)
LEADING = "javascript:alert(1)//"
WORD = MARKS["document"]
LEFT = {"chunk", "audit", "document.title"}
"""What is not exchanged below: an index, or the places of other things, or a chain hangs on it."""


def fill_everything(tenant: Tenant) -> dict[str, str]:
    """Store one thing of each kind, with hostile words or a mark in all its texts; return numbers and secrets."""
    fill(tenant)
    sign_in(tenant, "owner", email=OWNER)
    for number, payload in enumerate(MARKUP):
        store(tenant, f"{number}{payload}", f"Title {payload}", [(payload, 1, [f"It says {payload}."])])
    for kind in ("page", "site"):
        add_source(tenant, kind, f"{LEADING}{WORD}")
    receive_upload(tenant, f"{WORD}.txt", [b"x"], kind="upload", added_by=WORD, most_bytes=1000)
    taken = take_upload(tenant)
    assert taken
    with taken:
        taken.fail(f"{WORD} cannot be read.")
    pair = save_pair(f"Pair {HOSTILE}"[:500], HOSTILE, tenant, EMBEDDER)
    erase_conversation(tenant, 1)
    chat = begin_conversation("widget", website="https://www.example.com", language="de")
    answer = add_exchange(tenant, chat, WORD, WORD, mode="write", is_declined=True, citations=[(1, 1, 0, 9)])
    give_feedback(tenant, chat.secret, answer, False, WORD)
    set_hold(tenant, WORD, conversation_id=chat.id)
    receive_request(tenant, kind="access", origin="member", contact=f"{WORD}@example.com")
    make_api_key(tenant, WORD, ["read"], created_by=WORD)
    ask_export(tenant, Scope(), asked_by=WORD)
    making = take_export(tenant)
    assert making
    with making:
        making.write(b"An export.")
        making.finish()
    change_agent(
        tenant, name=HOSTILE, greeting=HOSTILE, instructions=HOSTILE, decline=HOSTILE, questions=MARKUP[:10],
        websites=("https://www.example.com",), is_published=True,
    )  # fmt: skip
    change_profile(tenant, business_name=MARKUP[0])
    return {
        "name": "acme", "pair_id": str(pair), "upload_id": "2", "export_id": "2", "conversation_id": str(chat.id),
        "conversation": chat.secret, "secret": invite(tenant, email=f"{WORD}@example.com", role="viewer"),
    }  # fmt: skip


def exchange_words(tenant: Tenant) -> set[str]:
    """Put hostile words in place of the marks in every text of every table, as an import could; return where."""
    found = set()
    with tenant.unbound() as db:
        tables = [name for name in db.table_names() if not re.match("sqlite_|chunk_fts|message_fts", name)]
        columns = [f"{name}.{column.name}" for name in tables for column in db[name].columns if column.type == "TEXT"]
        for place in columns:
            table, _, column = place.partition(".")
            if not {table, place} & LEFT:
                for mark in MARKS.values():
                    sql = f"update {table} set {column} = replace({column}, ?, ?) where instr({column}, ?)"
                    found |= {place} if db.execute(sql, [mark, HOSTILE, mark]).rowcount else set()
    return found
