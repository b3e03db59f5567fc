"""How long erasing takes: a tenant of many chunks and a gigabyte of originals, and one visitor among very many.

Run: python -m tests.bench.bench_erasing [CHUNKS MEGABYTES CONVERSATIONS], by default 100000 1000 100000.
"""

import os
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
from ruma.tenant.knowledge.documents import NewChunk, NewDocument, store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.tenant import Tenant
from tests.making import EMBEDDER

CHUNKS_EACH = 100
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
            began, used = time.perf_counter(), time.process_time()
            kept = erase_visitor(tenant, VisitorRef(email="the.one@example.com"))
            show("erase one visitor", began, used, "to reach: under 2 s")
            assert kept.signed
            assert kept.signed.receipt.is_complete
            print("  " + next(check.text for check in kept.signed.receipt.checks if check.what == "pages"))
        began, used = time.perf_counter(), time.process_time()
        show("verify-erasure", began, used, verify_erasure(home, kept.signed).outcome)
        home.create("big")
        with home.open("big") as tenant:
            fill_documents(tenant, chunks, megabytes)
            size = tenant.database_file.stat().st_size
        print(f"{chunks:,} chunks, {megabytes:,} MB of originals, database {size / 1e6:,.0f} MB")
        os.sync()  # what is still being written of a tenant that was made just now is no part of deleting it
        began, used = time.perf_counter(), time.process_time()
        deleted = erase_tenant(home, "big")
        show("delete a tenant", began, used, "to reach: under 5 s")
        assert deleted.signed.receipt.is_complete
        began, used = time.perf_counter(), time.process_time()
        show("verify-erasure", began, used, verify_erasure(home, deleted.signed).outcome)


def show(what: str, began: float, used: float, beside: str) -> None:
    """Print how long it took by the clock, and how long of that this process used a processor."""
    took, used = time.perf_counter() - began, time.process_time() - used
    print(f"{what:20} {took:6.2f} s, of the processor {used:6.2f} s   {beside}", flush=True)


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
    """Store documents of a hundred chunks each, whose sealed originals have so many megabytes together."""
    source = add_source(tenant, "folder", "/made/up")
    rng = np.random.default_rng(1)
    count = max(1, chunks // CHUNKS_EACH)
    original = secrets.token_bytes(megabytes * 1_000_000 // count)
    for number in range(count):
        texts = [" ".join(secrets.choice(WORDS) for _ in range(120)) + "\n\n" for _ in range(CHUNKS_EACH)]
        vectors = rng.standard_normal((CHUNKS_EACH, 6, 384), np.float32)
        made, at = [], 0
        for text, rows in zip(texts, vectors, strict=True):
            spans = tuple((place, place + 100) for place in range(0, 400, 100))
            made.append(NewChunk(at, at + len(text), text, "", None, spans, rows[0], rows[1], rows[2:]))
            at += len(text)
        document = NewDocument(f"{number}.txt", "Words", "text/plain", str(number), "1", len(original), made, original)
        store_document(tenant, source.id, document, embedder_id=EMBEDDER.id)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
