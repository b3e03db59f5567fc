"""Measures backups: the first, one of a tenant that did not change, one after a new document, and a trial restore.

    python -m tests.bench.bench_backup [--megabytes 650] [--chunks 60000] [--folder DIR]

The tenant has originals of that size in all, and so many chunks with their vectors: 1 GB together, of random bytes,
which no compression helps. Processor time is beside, for a machine that does other things as well.
"""

import argparse
import hashlib
import random
import secrets
import tempfile
import time
from pathlib import Path

from ruma.config import Settings
from ruma.privacy.backing_up import back_up
from ruma.privacy.restoring import choose_snapshot, try_restore
from ruma.tenant.copying.backup_folder import init_folder, open_folder, open_with_secret
from ruma.tenant.home import Home
from ruma.tenant.keys.data_key import Key
from ruma.tenant.keys.file_keys import keep_file_keys
from ruma.tenant.knowledge.index import pack_spans
from ruma.tenant.knowledge.originals import seal_original
from ruma.tenant.tenant import Tenant
from tests.filling import fill_inbox

CHUNKS_OF_DOCUMENT = 100
SENTENCES = 5
DIMENSION = 384
CHANCE = random.Random(1)
WORDS = [f"{CHANCE.getrandbits(24):06x}" for _ in range(5000)]


def fill(tenant: Tenant, megabytes: int, chunks: int) -> None:
    """Store documents and conversations as they are left by an ingest and by visitors."""
    with tenant.writing() as db:
        db.execute("insert into source (kind, location, added_at) values ('folder', '/bench', '')")
        db.execute("update search_index set embedder_id = 'bench', dimension = ?", [DIMENSION])
    documents = max(1, chunks // CHUNKS_OF_DOCUMENT)
    for number in range(documents):
        add_document(tenant, f"d{number}", megabytes * 1_000_000 // documents)
    fill_inbox(tenant, chunks // 10)


def add_document(tenant: Tenant, name: str, size: int) -> None:
    """Store a document with its original."""
    original, original_id = secrets.token_bytes(size), secrets.token_hex(16)
    key = Key.random()
    seal_original([original], tenant.files_folder / original_id, key)
    keep_file_keys(tenant, {original_id: key})
    spans = pack_spans([(at * 100, at * 100 + 99) for at in range(SENTENCES)])
    with tenant.writing() as db:
        document_id = db.execute(
            """insert into document (source_id, name, title, media_type, content_hash, reader, size_bytes,
               original_id, added_at) values (1, ?, 'T', 'text/plain', ?, '1', ?, ?, '')""",
            [name, hashlib.sha256(original).hexdigest(), size, original_id],
        ).lastrowid
        for place in range(CHUNKS_OF_DOCUMENT):
            text = " ".join(CHANCE.choices(WORDS, k=110))
            chunk_id = db.execute(
                """insert into chunk (document_id, start, "end", heading, text, sentences)
                   values (?, ?, ?, '', ?, ?)""",
                [document_id, place * len(text), (place + 1) * len(text), text, spans],
            ).lastrowid
            db.execute("insert into vector values (?, ?)", [chunk_id, secrets.token_bytes(DIMENSION + 4)])
            vectors = secrets.token_bytes((1 + SENTENCES) * (DIMENSION + 4))
            db.execute("insert into sentence_vector values (?, ?)", [chunk_id, vectors])
            db.execute("insert into chunk_fts (rowid, title, heading, text) values (?, 'T', '', ?)", [chunk_id, text])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=650)
    parser.add_argument("--chunks", type=int, default=60_000)
    parser.add_argument("--folder", default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        settings = Settings(home=Path(folder) / "home", key_source="machine")
        home = Home(settings)
        home.create("acme")
        _, secret = init_folder(settings, Path(folder) / "backups")
        with home.open("acme") as tenant:
            fill(tenant, args.megabytes, args.chunks)
            size = next(one.size_bytes for one in home.tenants())
            print(f"a tenant of {size / 1e6:,.0f} MB, {args.chunks:,} chunks")
            for what in ("the first", "unchanged", "one document more"):
                if what == "one document more":
                    add_document(tenant, "new", 100_000)
                begun, used = time.perf_counter(), time.process_time()
                target = open_folder(settings, Path(folder) / "backups")
                with target.locked():
                    made = back_up(tenant, target).snapshot
                took, used = time.perf_counter() - begun, time.process_time() - used
                share = 100 * made.new_bytes / size
                written = f"{made.new_bytes / 1e6:9.2f} MB written ({share:.2f} % of the tenant)"
                print(f"{what:18} {took:7.1f} s, of the processor {used:6.1f} s {written}", flush=True)
        target = open_with_secret(Path(folder) / "backups", secret)
        begun, used = time.perf_counter(), time.process_time()
        try_restore(home, target, choose_snapshot(target.snapshots()))
        took, used = time.perf_counter() - begun, time.process_time() - used
        print(f"{'trial restore':18} {took:7.1f} s, of the processor {used:6.1f} s")


if __name__ == "__main__":
    main()
