"""The tenant's questions with their answers, in its own words. A pair is a document of one source of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruma.errors import ConflictError, NotFoundError
from ruma.tenant.erasing.erasure import finish_erasure
from ruma.tenant.keeping.holds import check_documents_not_held
from ruma.tenant.knowledge.documents import NewDocument, check_embedder, store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.vectors import unpack
from ruma.tenant.tenant import Tenant

LOCATION = "Questions and answers"
MEDIA_TYPE = "text/x-question-answer"
_GONE = "This question and answer is not there any more."
_MOST_WORDS = 10
_TEXT = "(select group_concat(text, '') from (select text from chunk where document_id = document.id order by start))"


@dataclass(frozen=True)
class Pair:
    """A question, and the answer that is given whole."""

    id: int
    """The number of its document."""
    question: str
    answer: str
    added_at: str


@dataclass(frozen=True)
class PairPage:
    """A part of the pairs that were looked for, the newest first."""

    pairs: list[Pair]
    total: int
    """How many were found in all."""


@dataclass(frozen=True)
class PairIndex:
    """All questions of a tenant's pairs at one revision of its index: vectors is (n, d)."""

    revision: int
    ids: tuple[int, ...]
    questions: tuple[str, ...]
    vectors: NDArray[np.float32]


def find_pairs(tenant: Tenant, words: str = "", *, offset: int = 0, limit: int = 50) -> PairPage:
    """Return the pairs with all of these words in question or answer, the newest first."""
    where, values = "where source.kind = 'pair'", list[Any]()
    for word in words.split()[:_MOST_WORDS]:
        where += f" and (instr(lower(document.name), ?) or instr(lower({_TEXT}), ?))"
        values += [word.lower()] * 2
    joined = "from document join source on source.id = source_id"
    with tenant.reading() as db:
        total = db.execute(f"select count(*) {joined} {where}", values).fetchone()[0]
        rows = db.execute(
            f"""select document.id, document.name, {_TEXT}, document.added_at
                {joined} {where} order by document.id desc limit ? offset ?""",
            [*values, limit, offset],
        ).fetchall()
    return PairPage([Pair(*row) for row in rows], total)


def read_pair(tenant: Tenant, pair_id: int) -> Pair:
    """Return a pair by its number.

    Raises:
        NotFoundError: The tenant has no such pair.
    """
    with tenant.reading() as db:
        row = db.execute(
            f"""select document.id, document.name, {_TEXT}, document.added_at
                from document join source on source.id = source_id
                where source.kind = 'pair' and document.id = ?""",
            [pair_id],
        ).fetchone()
    if row is None:
        raise NotFoundError(_GONE, hint="List them: ruma pairs list")
    return Pair(*row)


def load_pair_index(tenant: Tenant) -> PairIndex:
    """Return the questions of all pairs with their vectors, read again only after the index has changed."""
    with tenant.reading() as db:
        revision, dimension = db.execute("select revision, dimension from search_index").fetchone()
        kept = tenant.pairs
        if kept is not None and kept.revision == revision:
            return kept
        rows = db.execute(
            """select document.id, document.name, sentence_vector.vectors
               from document join source on source.id = source_id
               join chunk on chunk.document_id = document.id and chunk.start = 0
               join sentence_vector on sentence_vector.chunk_id = chunk.id
               where source.kind = 'pair' order by document.id"""
        ).fetchall()
    vectors = np.array([unpack(row[2], dimension)[0] for row in rows], np.float32).reshape(len(rows), dimension)
    tenant.pairs = PairIndex(revision, tuple(row[0] for row in rows), tuple(row[1] for row in rows), vectors)
    return tenant.pairs


def store_pair(tenant: Tenant, document: NewDocument, *, embedder_id: str, replaced: int | None = None) -> int:
    """Store a pair that was made ready, in place of the one of that number, and return its own number.

    Raises:
        ConflictError: There is a pair with this question already.
        NotFoundError: The pair to replace is not there any more.
        NotReadyError: Another model made the tenant's vectors.
        HeldError: The pair to replace must be kept.
    """
    check_embedder(tenant, embedder_id)
    if replaced is not None:
        read_pair(tenant, replaced)
        with tenant.reading() as db:
            check_documents_not_held(db, [replaced])
    index = load_pair_index(tenant)
    for pair_id, question in zip(index.ids, index.questions, strict=True):
        if question.casefold() == document.name.casefold() and pair_id != replaced:
            raise ConflictError(
                f"There is an answer to the question {question!r} already: number {pair_id}.",
                hint="Change that one, or remove it first.",
            )
    source = add_source(tenant, "pair", LOCATION)
    changed = "question and answer" if replaced is not None else ""
    pair_id = store_document(tenant, source.id, document, embedder_id=embedder_id, corrects=replaced, changed=changed)
    if replaced is not None:
        finish_erasure(tenant)
    return pair_id


def all_pairs(tenant: Tenant) -> Sequence[Pair]:
    """Return every pair, the newest first."""
    return find_pairs(tenant, limit=-1).pairs
