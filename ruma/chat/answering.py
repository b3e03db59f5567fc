"""Answers a question from a tenant's documents: understand, search, choose the evidence, then quote or write."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from ruma.chat.citations import MARK, CheckedSentence, MarkFilter, check_text, cited_numbers
from ruma.chat.evidence import (
    GATES,
    Citation,
    choose_evidence,
    measure_support,
    narrow,
    rank_sentences,
)
from ruma.chat.matching import NEAR, cite_pair, match_pair
from ruma.chat.prompt import build_prompt
from ruma.chat.searching import Findings, check_question, find
from ruma.chat.stopping import Pieces, Tokens
from ruma.chat.understanding import Understood, asks_number, understand
from ruma.chat.words import split_words
from ruma.errors import DiskFullError, InputError, NotReadyError
from ruma.models.generator import Generator, Turn
from ruma.models.vectors import Embedder
from ruma.tenant.agents import MODES, Agent, read_agent
from ruma.tenant.conversing.conversations import OpenConversation, add_exchange, read_conversation
from ruma.tenant.tenant import Tenant

_log = logging.getLogger(__name__)

__all__ = ["Answer", "Citation", "answer"]

QUOTED = 3
"""Sentences that a quoted answer has at most."""

WRITTEN_FROM, WRITTEN_MARGIN = 6, 0.6
"""Sentences that a model writes from at most, and how far below the best they may be. A prompt of six sentences
is read in a fifth of the time of one of three whole passages."""

CAUTION = "Please check this with the documents below: not all of it is said there in these words."
"""Follows a written answer of which a sentence or a number is not in the evidence."""

MAX_TOKENS = 300
"""Tokens that a written answer has at most; it is told to be three sentences long."""


@dataclass
class Answer:
    """An answer whose evidence is known; its text comes with the tokens."""

    question: str
    understood: str
    """The question as it was searched for, standing alone."""
    mode: str
    """`quote`, `write`, or `pair`: the whole answer of a question that the business has answered itself."""
    citations: tuple[Citation, ...]
    """The evidence, best first; empty where the answer is declined."""
    is_declined: bool
    seconds: dict[str, float]
    """How long each step took."""
    support: float = 0.0
    """How well the evidence fits; of a pair, how near its question is."""
    needed: float = 0.0
    """The support below which the answer would be declined."""
    tokens: Tokens = field(init=False)
    """The text, piece by piece; closing it stops the model, and then nothing is stored."""
    text: str = ""
    """The whole text, once the tokens have ended."""
    cited: tuple[Citation, ...] = ()
    """The evidence that the text rests on, once the tokens have ended."""
    checked: tuple[CheckedSentence, ...] = ()
    """The sentences of a written text and what supports each, once the tokens have ended."""
    message_id: int | None = None
    """The number under which it was stored, once the tokens have ended."""

    @property
    def is_to_be_written(self) -> bool:
        """Whether a language model writes the text; all other text is there at once."""
        return self.mode == "write" and not self.is_declined


def answer(
    question: str,
    *,
    tenant: Tenant,
    embedder: Embedder,
    generator: Generator | None,
    conversation: OpenConversation | None = None,
    earlier: Sequence[str] = (),
    mode: str | None = None,
    agent: Agent | None = None,
) -> Answer:
    """Find the evidence for a question and begin its answer. Whatever can be foreseen to fail fails here.

    Args:
        question: What the visitor asks.
        tenant: Whose documents answer.
        embedder: The one that made their vectors.
        generator: The language model, or None where there is none.
        conversation: The conversation that it belongs to; question and whole answer are stored there.
        earlier: What was asked before, oldest first, where that is in no conversation of ours.
        mode: `quote`, `write` or `auto` instead of the agent's own.
        agent: The tenant's, where it was read before.

    Raises:
        InputError: The question is empty or too long for the model, or there is no such mode.
        NotFoundError: The conversation is not there any more.
        NotReadyError: There are no documents yet, or no model to write with.
        ModelError: The language model cannot be started.
    """
    agent = agent or read_agent(tenant)
    mode = choose_mode(mode or agent.mode, generator)
    check_question(question)
    clock = _Clock()
    understood = understand(question, [*earlier, *_earlier_questions(tenant, conversation)])
    clock.note("understand")
    reply = _match(question, understood, tenant, embedder, clock)
    if reply is None:
        reply = _search(question, understood, tenant, embedder, clock, mode=mode, gate=GATES[agent.strictness])
    pieces = Pieces(_begin(reply, agent, generator, tenant))
    reply.tokens = Tokens(_complete(reply, pieces, agent, tenant, conversation), pieces)
    return reply


def choose_mode(mode: str, generator: Generator | None) -> str:
    """Return `quote` or `write`: `auto` writes only with a model that passed the grounding check.

    Raises:
        InputError: There is no such mode.
        NotReadyError: There is no model to write with.
    """
    if mode not in MODES:
        raise InputError(f"There is no answer mode {mode!r}.", hint=f"Modes: {', '.join(MODES)}.")
    if mode == "auto":
        return "write" if generator is not None and generator.is_grounded else "quote"
    if mode == "write" and generator is None:
        raise NotReadyError(
            "There is no language model to write an answer with.",
            hint="Add one: ruma models add FILE. Or let the agent quote: --mode quote",
        )
    return mode


class _Clock:
    """Notes how long each step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def note(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = now - self._last
        self._last = now


def _earlier_questions(tenant: Tenant, conversation: OpenConversation | None) -> list[str]:
    if conversation is None or conversation.id is None:
        return []
    messages = read_conversation(tenant, conversation.id).messages
    return [message.text for message in messages if message.role == "visitor"]


def _match(question: str, understood: Understood, tenant: Tenant, embedder: Embedder, clock: _Clock) -> Answer | None:
    """Return the answer that the business has given itself, if it has."""
    matched = match_pair(understood, tenant, embedder)
    clock.note("match")
    if matched is None:
        return None
    pair, score = matched
    cited = (cite_pair(pair),)
    reply = Answer(question, understood.own, "pair", cited, is_declined=False, seconds=clock.seconds)
    reply.support, reply.needed = score, NEAR
    return reply


def _search(
    question: str, understood: Understood, tenant: Tenant, embedder: Embedder, clock: _Clock, *, mode: str, gate: float
) -> Answer:
    """Return the answer with the evidence that the documents hold for it, or declined."""
    found = find(understood.text, tenant, embedder)
    clock.note("search")
    evidence, support = _choose(found, understood, embedder, mode, gate)
    clock.note("evidence")
    reply = Answer(question, understood.text, mode, evidence, is_declined=not evidence, seconds=clock.seconds)
    reply.support, reply.needed = support, gate
    return reply


def _choose(
    found: Findings, understood: Understood, embedder: Embedder, mode: str, gate: float
) -> tuple[tuple[Citation, ...], float]:
    """Return the evidence, none where it supports no answer in this turn, and how well it fits."""
    if understood.earlier:
        found = narrow(found, understood.own_stems, embedder.embed_question(understood.own))
    ranked = rank_sentences(found, asks_number=asks_number(understood.text))
    support = measure_support(found, ranked)
    if support < gate:
        return (), support
    if mode == "write":
        return choose_evidence(ranked, limit=WRITTEN_FROM, margin=WRITTEN_MARGIN), support
    return choose_evidence(ranked, limit=QUOTED), support


def _begin(reply: Answer, agent: Agent, generator: Generator | None, tenant: Tenant) -> Iterator[str]:
    """Return the pieces of the text; the model is asked here, so that it refuses here what it cannot do."""
    if reply.is_declined:
        return (text for text in [agent.decline])
    if reply.mode == "pair":
        return (text for text in [reply.citations[0].quote])
    if reply.mode == "write" and generator is not None:
        return generator.generate(_fit(reply, agent, generator), tenant=tenant.id, max_tokens=MAX_TOKENS)
    # One paragraph a quote, on one line: what a paragraph's line breaks meant is lost out of its place.
    quotes = [_quote(one) for one in reply.citations]
    return (f"\n\n{quote}" if place else quote for place, quote in enumerate(quotes))


def _quote(citation: Citation) -> str:
    return f"{' '.join(citation.quote.split())} [{citation.number}]"


def _fit(reply: Answer, agent: Agent, generator: Generator) -> list[Turn]:
    """Return the prompt, with as much of the evidence as the model can read."""
    while True:
        turns = build_prompt(
            name=agent.name,
            instructions=agent.instructions,
            decline=agent.decline,
            tone=agent.tone,
            language=agent.language,
            evidence=reply.citations,
            question=reply.understood,
        )
        is_long = generator.count_tokens(turns) + MAX_TOKENS > generator.context_tokens
        if not is_long or len(reply.citations) == 1:
            return turns
        reply.citations = reply.citations[:-1]


def _complete(
    reply: Answer, pieces: Pieces, agent: Agent, tenant: Tenant, conversation: OpenConversation | None
) -> Iterator[str]:
    """Give the text piece by piece; then check it and store the exchange."""
    started = time.perf_counter()
    is_written = reply.is_to_be_written
    marks = MarkFilter({one.number for one in reply.citations})
    given: list[str] = []
    with closing(pieces):
        for piece in pieces:
            given.append(marks.feed(piece) if is_written else piece)
            yield given[-1]
    if is_written:
        given.append(marks.end())
        if not "".join(given).strip():  # a model may end at once; the reader still gets an answer
            given.append(_quote(reply.citations[0]))
        yield given[-1]
        reply.seconds["write"] = time.perf_counter() - started
    reply.text = "".join(given).strip()
    _check(reply, agent, is_written=is_written)
    if any(not sentence.is_supported for sentence in reply.checked):
        reply.text += f"\n\n{CAUTION}"
        yield f"\n\n{CAUTION}"
    if conversation is not None:
        try:
            reply.message_id = _keep(reply, tenant, conversation)
        except DiskFullError as exc:  # whoever asked is answered all the same
            _log.warning("An answer could not be kept: %s", exc)


def _check(reply: Answer, agent: Agent, *, is_written: bool) -> None:
    """Set what the text rests on: a model's marks are not believed, its sentences are compared."""
    if not is_written:
        reply.cited = reply.citations
        return
    if split_words(agent.decline) == split_words(MARK.sub("", reply.text)):
        reply.is_declined = True
        return
    reply.checked = check_text(reply.text, reply.citations)
    numbers = cited_numbers(reply.checked)
    # Sources are always shown: a text that cites nothing may rest on any of what it was written from.
    reply.cited = tuple(one for one in reply.citations if one.number in numbers) or reply.citations


def _keep(reply: Answer, tenant: Tenant, conversation: OpenConversation) -> int:
    """Store the exchange with every document that its text may hold words of, so that they go when these go."""
    is_sure = reply.mode != "write" or all(sentence.is_supported for sentence in reply.checked)
    kept = reply.cited if is_sure else reply.citations
    return add_exchange(
        tenant,
        conversation,
        reply.question,
        reply.text,
        mode=reply.mode,
        is_declined=reply.is_declined,
        citations=[(one.number, one.document_id, one.start, one.end) for one in kept],
    )
