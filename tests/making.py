"""Makes documents to store, with vectors by the words they hold."""

import hashlib
from itertools import pairwise

from ruma.models.vectors import Passage
from ruma.tenant.knowledge.documents import NewChunk, NewDocument
from tests.fakes import HashEmbedder

EMBEDDER = HashEmbedder()


def make_document(name: str, *texts: str, title: str = "", reader: str = "1") -> NewDocument:
    """Return a document of one chunk a text, each one sentence long."""
    vectors = EMBEDDER.embed_passages([Passage(title, text, [(0, len(text))]) for text in texts])
    edges = [sum(len(text) for text in texts[:count]) for count in range(len(texts) + 1)]
    chunks = [
        NewChunk(
            start=start,
            end=end,
            text=text,
            heading="",
            page=None,
            sentences=((0, len(text)),),
            vector=made.passage,
            prefix_vector=made.prefix,
            sentence_vectors=made.sentences,
        )
        for (start, end), text, made in zip(pairwise(edges), texts, vectors, strict=True)
    ]
    original = "".join(texts).encode()
    return NewDocument(
        name=name,
        title=title or name,
        media_type="text/plain",
        content_hash=hashlib.sha256(original).hexdigest(),
        reader=reader,
        size_bytes=len(original),
        chunks=chunks,
        original=original,
    )
