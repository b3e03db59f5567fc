"""How long erasing takes: a tenant of many chunks and a gigabyte of originals, and one visitor among very many.

Run: python -m tests.bench.bench_erasing [CHUNKS MEGABYTES CONVERSATIONS], by default 100000 1000 100000.
"""

import secrets
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ruma.config import Settings
from ruma.privacy.erasing import erase_tenant, erase_visitor
from ruma.privacy.verifying import verify_erasure
from ruma.tenant.conversing.conversations import add_message
from ruma.tenant.conversing.visitors import VisitorRef
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.originals import seal_original
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.vectors import pack
from ruma.tenant.tenant import Tenant
from tests.making import EMBEDDER, make_document

WORDS = [secrets.token_hex(3) for _ in range(20_000)]


def main(chunks: int = 100_000, megabytes: int = 1000, conversations: int = 100_000) -> None:
    """Print the seconds of each erasure, of the check within it and of verifying afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Settings(home=Path(folder), key_source="machine"))
        home.create("acme")
        with home.open("acme") as tenant:
            fill_conversations(tenant, conversations)
            size = tenant.database_file.stat().st_size
            print(f"{conversations:,} conversations, database {size / 1e6:,.0f} MB")
            began = time.perf_counter()
            kept = erase_visitor(tenant, VisitorRef(email="the.one@example.com"))
            print(f"erase one visitor       {time.perf_counter() - began:6.2f} s   to reach: under 2 s")
            assert kept.signed
            assert kept.signed.receipt.is_complete
            print("  " + next(check.text for check in kept.signed.receipt.checks if check.what == "pages"))
        began = time.perf_counter()
        verdict = verify_erasure(home, kept.signed)
        print(f"verify-erasure          {time.perf_counter() - began:6.2f} s   {verdict.outcome}")
        home.create("big")
        with home.open("big") as tenant:
            fill_documents(tenant, chunks, megabytes)
            size = tenant.database_file.stat().st_size
        print(f"{chunks:,} chunks, {megabytes:,} MB of originals, database {size / 1e6:,.0f} MB")
        began = time.perf_counter()
        deleted = erase_tenant(home, "big")
        print(f"delete a tenant         {time.perf_counter() - began:6.2f} s   to reach: under 5 s")
        assert deleted.signed.receipt.is_complete
        began = time.perf_counter()
        verdict = verify_erasure(home, deleted.signed)
        print(f"verify-erasure          {time.perf_counter() - began:6.2f} s   {verdict.outcome}")


def fill_conversations(tenant: Tenant, count: int) -> None:
    """Store conversations of four messages, one in ten with an address, and one visitor's two among them."""
    with tenant.writing() as db:
        for number in range(count):
            is_one = number in (count // 3, count // 2)
            email = (
                "the.one@example.com" if is_one else f"{secrets.token_hex(4)}@example.com" if number % 10 == 0 else ""
            )
            row = db.execute(
                """insert into conversation (channel, started_at, last_at, visitor_name, visitor_email, questions)
                   values ('widget', '2026-01-01T10:00:00Z', '2026-01-01T10:00:00Z', ?, ?, 2)""",
                ["Jo Miller" if email else "", email],
            )
            for role, length in (("visitor", 12), ("agent", 30), ("visitor", 10), ("agent", 25)):
                text = " ".join(secrets.choice(WORDS) for _ in range(length))
                add_message(db, row.lastrowid or 0, role, text, "2026-01-01T10:00:00Z", mode="write")
    with tenant.unbound() as db:
        db.execute("pragma wal_checkpoint(truncate)").fetchall()


def fill_documents(tenant: Tenant, chunks: int, megabytes: int) -> None:
    """Store a document, and beside it chunks and sealed originals as many documents would have."""
    source = add_source(tenant, "folder", "/made/up")
    first = store_document(tenant, source.id, make_document("first", "One text. "), embedder_id=EMBEDDER.id)
    rng = np.random.default_rng(1)
    with tenant.writing() as db:
        for _ in range(chunks):
            text = " ".join(secrets.choice(WORDS) for _ in range(120))
            row = db.execute(
                """insert into chunk (document_id, start, "end", heading, page, text, sentences)
                   values (?, 0, ?, '', null, ?, x'')""",
                [first, len(text), text],
            )
            vector = rng.standard_normal((5, 384), np.float32)
            db.execute("insert into vector values (?, ?)", [row.lastrowid, pack(vector[:1])])
            db.execute("insert into sentence_vector values (?, ?)", [row.lastrowid, pack(vector)])
            db.execute(
                "insert into chunk_fts (rowid, title, heading, text) values (?, '', '', ?)", [row.lastrowid, text]
            )
    block = secrets.token_bytes(1_000_000)
    for _ in range(megabytes):
        name = secrets.token_hex(16)
        seal_original([block], tenant.files_folder / name, tenant.key)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
