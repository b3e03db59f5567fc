"""Answers written together: all running conversations go through the model in one batch, a token each a step.

What a conversation leaves in the model's memory is gone when it ends. Only the fixed beginning of a prompt, the
instructions of an agent, is kept for the next question, under the name of its tenant, and no longer than until
the next question of another tenant.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ruma.models.answer_text import AnswerText
from ruma.models.messages import Message
from ruma.models.pacing import Pace

BATCH = 512
"""The most tokens that go through the model in one step."""

KEPT_PROMPTS = 4
"""How many fixed beginnings are kept."""

REPEAT_PENALTY = 1.1
REPEAT_WINDOW = 64

FixedKey = tuple[str, tuple[int, ...]]


class Entry(NamedTuple):
    """One token of one step."""

    token: int
    position: int
    sequence: int
    has_logits: bool
    """Whether the model's opinion on the next token is wanted here."""


class Speech(Protocol):
    """The part of a model that turns tokens into text."""

    def is_end(self, token: int) -> bool:
        """Tell whether the token ends an answer."""

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token, which may be a part of a character."""


class Context(Protocol):
    """The memory of several sequences of tokens that go through the model together."""

    cells: int
    """How many tokens it holds, those that sequences share counted once."""

    def decode(self, entries: Sequence[Entry], threads: int) -> None:
        """Put tokens of any sequences through the model, at most `BATCH`."""

    def logits(self, place: int) -> NDArray[np.float32]:
        """Return the scores of all tokens as the next one after that place of the last step; may be changed."""

    def copy(self, source: int, target: int) -> None:
        """Let an empty sequence begin with all that another one holds."""

    def forget(self, sequence: int) -> None:
        """Empty a sequence."""

    def wipe(self) -> None:
        """Empty all sequences and overwrite what they held."""


@dataclass(frozen=True)
class Request:
    """One answer to write."""

    id: int
    tenant: str
    tokens: Sequence[int]
    fixed: int
    """How many of the first tokens are the agent's instructions; 0 keeps nothing of them."""

    max_tokens: int

    @property
    def fixed_key(self) -> FixedKey:
        """What a kept beginning is found by: never by its tokens alone."""
        return self.tenant, tuple(self.tokens[: self.fixed])

    @property
    def cells(self) -> int:
        """The memory that the whole conversation may come to need."""
        return len(self.tokens) + self.max_tokens


@dataclass
class _Seat:
    """One sequence of the context, and the answer that is being written in it."""

    number: int
    request: Request
    text: AnswerText
    done: int = 0
    """How many tokens of prompt and answer are in the context."""

    reused: int = 0
    answer: list[int] = field(default_factory=list)

    @property
    def is_reading(self) -> bool:
        return self.done < len(self.request.tokens)

    @property
    def is_reading_fixed(self) -> bool:
        return self.done < self.request.fixed


class Batcher:
    """Writes the answers of several requests at once; does nothing but in `step`."""

    def __init__(
        self,
        speech: Speech,
        context: Context,
        *,
        seats: int,
        threads: int,
        stop_tokens: frozenset[int],
        stop_texts: tuple[str, ...],
    ) -> None:
        """Take a context with `seats + KEPT_PROMPTS` sequences."""
        self._speech = speech
        self._context = context
        self._stop_tokens, self._stop_texts = stop_tokens, stop_texts
        self._waiting: list[Request] = []
        self._seats: dict[int, _Seat] = {}
        self._free = list(range(seats))
        self._kept: dict[FixedKey, int] = {}
        self._free_kept = list(range(seats, seats + KEPT_PROMPTS))
        self._last_tenant = ""
        self._pace = Pace(threads, BATCH)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to write."""
        return not self._waiting and not self._seats

    def add(self, request: Request) -> None:
        """Queue a request; what it needs was checked by the caller."""
        self._waiting.append(request)

    def cancel(self, id: int) -> None:
        """Drop one request, waiting or running, and no other."""
        self._waiting = [request for request in self._waiting if request.id != id]
        for seat in [seat for seat in self._seats.values() if seat.request.id == id]:
            self._leave(seat)

    def wipe(self) -> None:
        """Overwrite all that former conversations left; only when idle."""
        self._free_kept += self._kept.values()
        self._kept.clear()
        self._context.wipe()

    def step(self) -> list[Message]:
        """Put the next batch through the model and return what there is to say."""
        self._admit()
        entries, askers = self._compose()
        if not entries:
            return []
        threads = self._pace.choose_threads(len(entries))
        began = time.monotonic()
        self._context.decode(entries, threads)
        read = len(entries) - sum(not seat.is_reading for seat, _ in askers)
        self._pace.learn(len(entries), read, threads, time.monotonic() - began)
        self._advance(entries)
        said: list[Message] = []
        for seat, place in askers:
            said += self._write_token(seat, place)
        return said or [{"event": "alive"}]

    def _admit(self) -> None:
        """Give free seats to waiting requests: first come first served, but the tenant with fewer seats before."""
        while self._waiting and self._free:
            running = Counter(seat.request.tenant for seat in self._seats.values())
            # Two questions to one agent read its instructions once: the second waits for the first.
            reading = {seat.request.fixed_key for seat in self._seats.values() if seat.is_reading_fixed}
            ready = [one for one in self._waiting if not one.fixed or one.fixed_key not in reading]
            request = min(ready, key=lambda one: running[one.tenant], default=None)
            if request is None or not self._make_room(request):
                return
            self._waiting.remove(request)
            self._seat(request)

    def _make_room(self, request: Request) -> bool:
        """Tell whether the context can hold one more conversation, forgetting kept prompts if it must."""
        taken = sum(seat.request.cells for seat in self._seats.values())
        kept = sum(len(tokens) for _, tokens in self._kept)
        if taken + kept + request.cells > self._context.cells:
            for key in list(self._kept):
                self._forget_kept(key)
            kept = 0
        return taken + kept + request.cells <= self._context.cells

    def _seat(self, request: Request) -> None:
        self._part_tenants(request.tenant)
        seat = _Seat(self._free.pop(), request, AnswerText(self._stop_texts))
        self._seats[seat.number] = seat
        if request.fixed and request.fixed_key in self._kept:
            kept = self._kept.pop(request.fixed_key)
            self._kept[request.fixed_key] = kept  # the last one used is the last one to go
            self._context.copy(kept, seat.number)
            seat.done = seat.reused = request.fixed

    def _part_tenants(self, tenant: str) -> None:
        """Make sure that nothing of a tenant that has no running answer is left when another one comes."""
        if not self._seats and tenant != self._last_tenant:
            self.wipe()
        running = {seat.request.tenant for seat in self._seats.values()} | {tenant}
        for key in [key for key in self._kept if key[0] not in running]:
            self._forget_kept(key)
        self._last_tenant = tenant

    def _compose(self) -> tuple[list[Entry], list[tuple[_Seat, int]]]:
        """Return the next batch, and who is to get a token from which place in it."""
        entries: list[Entry] = []
        askers: list[tuple[_Seat, int]] = []
        for seat in self._seats.values():
            if not seat.is_reading:
                askers.append((seat, len(entries)))
                entries.append(Entry(seat.answer[-1], seat.done, seat.number, True))
        room = min(self._pace.chunk, BATCH - len(entries))
        for seat in self._seats.values():
            if seat.is_reading and room:
                tokens = seat.request.tokens
                # Stop where the instructions end, so that they can be kept by themselves.
                end = min(seat.done + room, seat.request.fixed if seat.is_reading_fixed else len(tokens))
                for position in range(seat.done, end):
                    entries.append(Entry(tokens[position], position, seat.number, position == len(tokens) - 1))
                if end == len(tokens):
                    askers.append((seat, len(entries) - 1))
                room -= end - seat.done
        return entries, askers

    def _advance(self, entries: Sequence[Entry]) -> None:
        for number, count in Counter(entry.sequence for entry in entries).items():
            seat = self._seats[number]
            was_reading_fixed = seat.is_reading_fixed
            seat.done += count
            if was_reading_fixed and not seat.is_reading_fixed:
                self._keep(seat)

    def _keep(self, seat: _Seat) -> None:
        if seat.request.fixed_key in self._kept:
            return
        if not self._free_kept:
            self._forget_kept(next(iter(self._kept)))
        self._kept[seat.request.fixed_key] = number = self._free_kept.pop()
        self._context.copy(seat.number, number)

    def _forget_kept(self, key: FixedKey) -> None:
        number = self._kept.pop(key)
        self._context.forget(number)
        self._free_kept.append(number)

    def _write_token(self, seat: _Seat, place: int) -> list[Message]:
        token = _choose(self._context.logits(place), seat.answer)
        seat.answer.append(token)
        is_end = self._speech.is_end(token) or token in self._stop_tokens
        text = "" if is_end else seat.text.add(self._speech.piece(token))
        is_full = len(seat.answer) >= seat.request.max_tokens
        has_ended = is_end or seat.text.is_ended or is_full
        if has_ended:
            text += seat.text.end()
        said: list[Message] = [{"event": "piece", "id": seat.request.id, "text": text}] if text else []
        if has_ended:
            self._leave(seat)
            reason = "length" if is_full and not is_end else "stop"
            counts = {"prompt": len(seat.request.tokens), "reused": seat.reused, "written": len(seat.answer)}
            said.append({"event": "end", "id": seat.request.id, "reason": reason, **counts})
        return said

    def _leave(self, seat: _Seat) -> None:
        del self._seats[seat.number]
        self._context.forget(seat.number)
        self._free.append(seat.number)


def _choose(logits: NDArray[np.float32], answer: Sequence[int]) -> int:
    """Return the likeliest token, a little less likely where it was written shortly before.

    Nothing is drawn by lot. Only the answer's own words are penalised, for it has to repeat the evidence's.
    """
    recent = list(set(answer[-REPEAT_WINDOW:]))
    scores = logits[recent]
    logits[recent] = np.where(scores > 0, scores / REPEAT_PENALTY, scores * REPEAT_PENALTY)
    return int(np.argmax(logits))
