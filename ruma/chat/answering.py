"""Answers a question from a tenant's documents: understand, search, choose evidence, quote or write, check."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ruma.chat.citations import Checked, CitationFilter, cited_in, find_unsupported
from ruma.chat.evidence import Citation, choose_evidence
from ruma.chat.prompt import WRITTEN_TOKENS, write_turns
from ruma.chat.searching import MAX_QUESTION, find
from ruma.chat.understanding import Understood, asks_number, understand
from ruma.errors import InputError, NotReadyError
from ruma.models.generator import Generator
from ruma.models.vectors import Embedder
from ruma.tenant.agents import MODES, Agent, read_agent
from ruma.tenant.conversations import add_exchange, read_conversation
from ruma.tenant.tenant import Tenant

__all__ = ["Answer", "Citation", "answer"]

Mode = Literal["quote", "write"]

QUOTED, WRITTEN_FROM = 3, 5
"""Sentences at most: that a quoting answer says, and that a model writes from."""

CAUTION = "Please check this against the documents: not all of it stands there in these words."
"""Added to what a model wrote when a part of it is not in the evidence, or nothing was cited."""


@dataclass
class Answer:
    """An answer whose evidence is known and whose text is still to come.

    `text`, `cited` and `checked` are there once `tokens` has ended.
    """

    question: str
    understood: str
    """The question as it stands alone, with what it took from the conversation."""
    mode: Mode
    citations: tuple[Citation, ...]
    """The evidence, best first; empty where the documents do not support an answer."""
    seconds: dict[str, float]
    """What each step took: understand, search, evidence."""
    tokens: "Tokens" = field(init=False)
    text: str = ""
    cited: tuple[Citation, ...] = ()
    checked: Checked = field(default_factory=Checked)

    @property
    def is_declined(self) -> bool:
        """Whether the documents do not support an answer."""
        return not self.citations


class Tokens(Iterator[str]):
    """The pieces of an answer's text as they are made; closing it stops the model."""

    def __init__(self, pieces: Iterator[str], finish: Callable[[str], str]) -> None:
        """Take the pieces, and what is done with the whole text: it returns what is to be added."""
        self._pieces, self._finish = pieces, finish
        self._text = ""
        self._is_over = False

    def __next__(self) -> str:
        """Return the next piece."""
        if self._is_over:
            raise StopIteration
        piece = next(self._pieces, None)
        if piece is None:
            self._is_over = True
            piece = self._finish(self._text)
            if not piece:
                raise StopIteration
        self._text += piece
        return piece

    def close(self) -> None:
        """Stop: what was not said is not said, and nothing is kept of the answer."""
        self._is_over = True
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


def answer(
    question: str,
    *,
    tenant: Tenant,
    embedder: Embedder,
    generator: Generator | None = None,
    conversation_id: str | None = None,
    mode: str | None = None,
) -> Answer:
    """Return the answer to a question, its evidence found and its text still to be taken from `tokens`.

    Everything that can fail predictably fails before this returns. The exchange is kept in the conversation
    once the tokens have ended; of an answer that was stopped nothing is kept.

    Args:
        question: What the visitor asks.
        tenant: Whose documents answer.
        embedder: The model that made the tenant's vectors.
        generator: The language model, for an agent that writes.
        conversation_id: The conversation that the question belongs to; without one it stands alone.
        mode: `quote`, `write` or `auto`; without it, as the agent is set up.

    Raises:
        InputError: The question is empty or too long.
        NotFoundError: There is no such conversation.
        NotReadyError: There are no documents yet, or a model is asked to write and there is none.
        ModelError: The language model cannot be used.
    """
    question = _checked_question(question)
    agent = read_agent(tenant)
    chosen = _choose_mode(mode or agent.mode, generator)

    started = time.perf_counter()
    understood = _understand(question, tenant, conversation_id)
    understood_at = time.perf_counter()
    found = find(understood.text, tenant, embedder)
    found_at = time.perf_counter()
    limit = WRITTEN_FROM if chosen == "write" else QUOTED
    evidence = choose_evidence(found, asks_number=asks_number(understood.text), limit=limit)
    seconds = {
        "understand": understood_at - started,
        "search": found_at - understood_at,
        "evidence": time.perf_counter() - found_at,
    }

    reply = Answer(question, understood.text, chosen, tuple(evidence), seconds)
    filtering = CitationFilter(len(evidence))
    if reply.is_declined:
        pieces: Iterator[str] = iter([agent.decline])
    elif chosen == "quote":
        pieces = quote_pieces(evidence)
    else:
        pieces = _WrittenPieces(_ask_model(agent, understood, evidence, generator, tenant), filtering)
    reply.tokens = Tokens(pieces, _finisher(reply, filtering, tenant, conversation_id))
    return reply


def quote_pieces(evidence: Sequence[Citation]) -> Iterator[str]:
    """Return the evidence word for word, a line a place, each with its number."""
    for citation in evidence:
        line_break = "\n" if citation.number > 1 else ""
        yield f"{line_break}{' '.join(citation.quote.split())} [{citation.number}]"


class _WrittenPieces(Iterator[str]):
    """What a model writes, without citations that do not exist; closing it stops the model."""

    def __init__(self, stream: Iterator[str], filtering: CitationFilter) -> None:
        self._stream, self._filtering, self._is_over = stream, filtering, False

    def __next__(self) -> str:
        while not self._is_over:
            piece = next(self._stream, None)
            self._is_over = piece is None
            text = self._filtering.end() if piece is None else self._filtering.add(piece)
            if text:
                return text
        raise StopIteration

    def close(self) -> None:
        self._is_over = True
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


def _checked_question(question: str) -> str:
    if not question.strip():
        raise InputError("The question is empty.")
    if len(question) > MAX_QUESTION:
        raise InputError(
            f"The question has {len(question):,} characters, and {MAX_QUESTION:,} are the most.",
            hint="Ask a shorter one. To add a long text to the documents: ruma ingest FILE",
        )
    return question.strip()


def _choose_mode(asked: str, generator: Generator | None) -> Mode:
    if asked not in MODES:
        raise InputError(f"There is no answer mode {asked!r}.", hint=f"Modes: {', '.join(MODES)}.")
    if asked == "write":
        if generator is None:
            raise NotReadyError(
                "There is no language model to write with.",
                hint="Add one: ruma models add FILE.gguf. Or quote, which needs none: --mode quote",
            )
        return "write"
    is_trusted = generator is not None and generator.is_grounded
    return "write" if asked == "auto" and is_trusted else "quote"


def _understand(question: str, tenant: Tenant, conversation_id: str | None) -> Understood:
    if conversation_id is None:
        return understand(question, [])
    messages = read_conversation(tenant, conversation_id).messages
    return understand(question, [message.text for message in messages if message.role == "visitor"])


def _ask_model(
    agent: Agent, understood: Understood, evidence: Sequence[Citation], generator: Generator | None, tenant: Tenant
) -> Iterator[str]:
    assert generator is not None, "the mode was chosen by it"
    turns = write_turns(agent, understood.text, evidence)
    return generator.generate(turns, tenant=tenant.id, max_tokens=WRITTEN_TOKENS)


def _finisher(
    reply: Answer, filtering: CitationFilter, tenant: Tenant, conversation_id: str | None
) -> Callable[[str], str]:
    """Return what is done when an answer is complete: check it, keep it, say what the check found."""

    def finish(text: str) -> str:
        reply.cited = cited_in(text, reply.citations)
        added = ""
        if reply.mode == "write" and not reply.is_declined:
            unsupported = find_unsupported(text, reply.citations, reply.understood)
            reply.checked = Checked(tuple(filtering.dropped), unsupported)
            if unsupported or not reply.cited:
                added = f"\n\n{CAUTION}"
                # Where the model names no source, the reader still gets the evidence that it was given.
                reply.cited = reply.cited or reply.citations
        reply.text = text + added
        if conversation_id is not None:
            places = [(one.number, one.document_id, one.start, one.end) for one in reply.cited]
            add_exchange(
                tenant,
                conversation_id,
                reply.question,
                reply.text,
                mode=reply.mode,
                is_declined=reply.is_declined,
                citations=places,
            )
        return added

    return finish
