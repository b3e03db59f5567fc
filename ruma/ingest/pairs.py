"""Makes a question with its answer ready for the index, as a document whose title is the question."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

from ruma.errors import InputError
from ruma.ingest.parsed import ParsedDocument, TextBuilder, clean, clean_line
from ruma.ingest.sentences import find_sentences, guess_language
from ruma.ingest.splitting import split
from ruma.models.vectors import Embedder
from ruma.tenant.knowledge.documents import NewChunk, NewDocument
from ruma.tenant.knowledge.pairs import MEDIA_TYPE, Pair, all_pairs, store_pair
from ruma.tenant.tenant import Tenant

MOST_QUESTION, MOST_ANSWER = 500, 10_000
"""Characters. A question is matched as a whole, and an answer is given whole: what is longer is a document."""

_READER = "pair 1"


def save_pair(question: str, answer: str, tenant: Tenant, embedder: Embedder, *, replaced: int | None = None) -> int:
    """Store a question with its answer and return its number; from then on it is answered with these words.

    Args:
        replaced: The number of the pair that it takes the place of.

    Raises:
        InputError: One of the two is empty or too long.
        ConflictError: There is a pair with this question already.
        NotFoundError: The pair to replace is not there any more.
        NotReadyError: Another embedder made the tenant's vectors.
    """
    question = clean_line(question)
    answer = clean(answer).strip()
    for name, text, most in (("question", question, MOST_QUESTION), ("answer", answer, MOST_ANSWER)):
        if not text:
            raise InputError(f"The {name} is empty.")
        if len(text) > most:
            raise InputError(
                f"The {name} has {len(text):,} characters; {most:,} are the most.",
                hint="A long text is better added as a document.",
            )
    document = prepare_pair(question, answer, embedder)
    return store_pair(tenant, document, embedder_id=embedder.id, replaced=replaced)


def prepare_pair(question: str, answer: str, embedder: Embedder) -> NewDocument:
    """Return a question with its answer as a document with this embedder's vectors."""
    return _embed(question, _parse(question, answer), embedder)


def restore_pairs(pairs: Sequence[Pair], tenant: Tenant, embedder: Embedder) -> None:
    """Store those of the pairs that are not there any more, with this embedder's vectors."""
    left = {pair.question for pair in all_pairs(tenant)}
    for pair in reversed(pairs):
        if pair.question not in left:
            save_pair(pair.question, pair.answer, tenant, embedder)


def _parse(question: str, answer: str) -> ParsedDocument:
    """Return the answer as a document, its lines as they were written."""
    builder = TextBuilder()
    for paragraph in re.split(r"\n[ \t]*(?:\n[ \t]*)+", answer):
        for line in paragraph.split("\n"):
            builder.paragraph(line, is_tight=True)
        builder.end_group()
    parsed = builder.finish(question, media_type=MEDIA_TYPE)
    language = guess_language(f"{question} {parsed.text}", "")
    return replace(parsed, sentences=tuple(find_sentences(parsed.text, parsed.blocks, language)))


def _embed(question: str, parsed: ParsedDocument, embedder: Embedder) -> NewDocument:
    chunks = split(parsed, embedder)
    vectors = embedder.embed_passages([chunk.passage for chunk in chunks])
    # The question as a visitor would ask it, and not as it was read before its answer: it is compared with questions.
    asked = embedder.embed_question(question)
    original = f"{question}\n\n{parsed.text}\n".encode()
    return NewDocument(
        name=question,
        title=question,
        media_type=MEDIA_TYPE,
        content_hash=hashlib.sha256(original).hexdigest(),
        reader=_READER,
        size_bytes=len(original),
        chunks=[
            NewChunk(
                start=chunk.start,
                end=chunk.end,
                text=chunk.text,
                heading=chunk.heading,
                page=None,
                sentences=chunk.sentences,
                vector=made.passage,
                prefix_vector=asked,
                sentence_vectors=made.sentences,
            )
            for chunk, made in zip(chunks, vectors, strict=True)
        ],
        original=original,
    )
