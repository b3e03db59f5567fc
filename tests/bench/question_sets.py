"""Question sets with known answers: their corpora as a tenant's documents, and how an order of documents scores."""

import hashlib
import json
import re
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from ruma.config import load_settings
from ruma.ingest.formats.text import add_text
from ruma.ingest.parsed import TextBuilder
from ruma.ingest.sentences import find_sentences
from ruma.ingest.splitting import split
from ruma.models.embedder import Embedder
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import NewChunk, NewDocument, store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.tenant import Tenant

DATA = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Question:
    """A question of a set."""

    text: str
    answers: tuple[str, ...]
    relevant: frozenset[str]
    """The documents that answer it."""
    earlier: tuple[str, ...]
    """What was asked before it in the same conversation."""
    is_answerable: bool


def read_questions(name: str, *, is_answerable: bool | None = None) -> list[Question]:
    """Return a set's questions, all or only those that something answers or nothing does."""
    relevant: dict[str, set[str]] = {}
    for line in (DATA / name / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        question, document, score = line.split("\t")
        if float(score) > 0:
            relevant.setdefault(question, set()).add(document)
    rows = [json.loads(line) for line in (DATA / name / "queries.jsonl").open(encoding="utf-8")]
    questions = [
        Question(
            text=row["text"],
            answers=tuple(row["answers"]),
            relevant=frozenset(relevant.get(row["id"], ())),
            earlier=tuple(turn["text"] for turn in row.get("history", ()) if turn["role"] == "user"),
            is_answerable=row["id"] in relevant,
        )
        for row in rows
    ]
    return [one for one in questions if is_answerable is None or one.is_answerable == is_answerable]


def halves(count: int) -> NDArray[np.bool_]:
    """Return which questions were held out when the weights were chosen; the others were tuned on."""
    held_out: NDArray[np.bool_] = np.random.RandomState(0).permutation(count) % 2 == 1
    return held_out


@contextmanager
def indexed(name: str, embedder: Embedder) -> Iterator[Tenant]:
    """Give a tenant that holds a set's corpus, a document each entry, split and stored as an ingest does it."""
    with TemporaryDirectory() as folder:
        home = Home(load_settings({"home": folder, "key_source": "machine"}))
        home.create("bench")
        with home.open("bench") as tenant:
            source = add_source(tenant, "folder", f"/{name}")
            for line in (DATA / name / "corpus.jsonl").open(encoding="utf-8"):
                store_document(tenant, source.id, _document(json.loads(line), embedder), embedder_id=embedder.id)
            yield tenant


def ndcg(found: Sequence[str], relevant: frozenset[str], *, limit: int = 10) -> float:
    """Return nDCG@10 of documents in the order found, each counted once."""
    gains = [place for place, document in enumerate(list(dict.fromkeys(found))[:limit]) if document in relevant]
    ideal = range(min(limit, len(relevant)))
    return float(sum(1 / np.log2(place + 2) for place in gains) / sum(1 / np.log2(place + 2) for place in ideal))


def normalise(text: str) -> str:
    """Return text as SQuAD's own measure compares it: small letters, no punctuation, no articles."""
    letters = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", letters).split())


def _document(entry: dict[str, str], embedder: Embedder) -> NewDocument:
    builder = TextBuilder()
    add_text(builder, entry["text"])
    parsed = builder.finish(entry["title"], media_type="text/plain")
    parsed = replace(parsed, sentences=tuple(find_sentences(parsed.text, parsed.blocks, "en")))
    chunks = split(parsed, embedder)
    vectors = embedder.embed_passages([chunk.passage for chunk in chunks])
    return NewDocument(
        name=entry["id"],
        title=entry["title"],
        media_type="text/plain",
        content_hash=hashlib.sha256(entry["text"].encode()).hexdigest(),
        reader="bench",
        size_bytes=len(entry["text"]),
        chunks=[
            NewChunk(
                start=chunk.start,
                end=chunk.end,
                text=chunk.text,
                heading=chunk.heading,
                page=None,
                sentences=chunk.sentences,
                vector=made.passage,
                prefix_vector=made.prefix,
                sentence_vectors=made.sentences,
            )
            for chunk, made in zip(chunks, vectors, strict=True)
        ],
        original=entry["text"].encode(),
    )
