"""Many real chunks: windows of words over all the question sets' corpora."""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ruma.models.embedder import Embedder, Passage
from ruma.tenant.knowledge.documents import NewChunk, NewDocument, store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.tenant import Tenant

DATA = Path(__file__).parents[3] / "shared" / "data"
SETS = ("squad2-dev", "clapnq-dev", "doc2dial-val", "cisi", "stackfaq")
WORDS, STRIDE, CHUNKS_A_DOCUMENT = 30, 10, 50
LONGEST = 240


def fill(tenant: Tenant, embedder: Embedder, count: int) -> None:
    """Store *count* chunks of WORDS words, embedded as an ingest embeds them."""
    source = add_source(tenant, "folder", "/windows")
    for document in make_documents(embedder, count):
        store_document(tenant, source.id, document, embedder_id=embedder.id)


def make_documents(embedder: Embedder, count: int) -> Iterator[NewDocument]:
    """Return documents with *count* chunks together, embedded and ready to be stored."""
    windows = islice(_windows(), count)
    number = 0
    while batch := list(islice(windows, CHUNKS_A_DOCUMENT)):
        passages = [Passage(title, text, [(0, len(text))]) for title, text in batch]
        vectors = embedder.embed_passages(passages)
        chunks, at = [], 0
        for (_, text), made in zip(batch, vectors, strict=True):
            spans = ((0, len(text)),)
            place = (at, at + len(text), text, "", None, spans)
            chunks.append(NewChunk(*place, made.passage, made.prefix, made.sentences))
            at += len(text)
        body = "".join(text for _, text in batch).encode()
        name, digest = f"{number}.txt", hashlib.sha256(body).hexdigest()
        yield NewDocument(name, batch[0][0], "text/plain", digest, "bench", len(body), chunks, body)
        number += 1


def questions(set_name: str, count: int) -> list[str]:
    """Return *count* questions of a set, evenly taken from all of it."""
    lines = (DATA / set_name / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines[:: max(1, len(lines) // count)]][:count]


def _windows() -> Iterator[tuple[str, str]]:
    for offset in range(0, STRIDE, 3):
        for name in SETS:
            for line in (DATA / name / "corpus.jsonl").open(encoding="utf-8"):
                entry = json.loads(line)
                words = entry["text"].split()[offset:]
                for at in range(0, max(1, len(words) - WORDS), STRIDE):
                    text = " ".join(words[at : at + WORDS])
                    if len(text) <= LONGEST:  # a few are tables of numbers, a token a digit
                        yield entry["title"], text
