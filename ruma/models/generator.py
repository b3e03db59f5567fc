"""Answers from a language model: the seam that chat uses, and the model that runs in a process of its own."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ruma.config import Settings
from ruma.errors import InputError, ModelError
from ruma.models.language_models import Model, find_model, open_verified
from ruma.models.messages import Message
from ruma.models.supervisor import ModelProcess, Replies

SEATS = 8
"""How many answers are written at once."""

LONGEST_CONVERSATION = 4096
"""The most tokens of one conversation: evidence is short, and memory is not free."""

WAITING, WAITING_OF_ONE_TENANT = 32, 16
"""How many questions may wait for a seat; no tenant can fill the whole queue."""

SILENCE_SECONDS = 60.0
"""A process that is at work and says nothing for so long hangs, and is ended."""

FORGET_SECONDS = 2.0
"""How long whoever asks to forget waits for the process to end."""

LOAD_SECONDS, TRIAL_SECONDS, SLOWEST_DISK = 60.0, 600.0, 20e6
SPARE_MEMORY = 3 << 30
"""What the model process may use beside a copy of the model's weights, in bytes."""

MOST_CHARACTERS_A_TOKEN = 16
"""No prompt whose tokens are longer than this on average is looked at: it is not language."""

ASK_AGAIN = "Ask again: the next question starts it anew."


@dataclass(frozen=True)
class Turn:
    """One piece of a conversation, as a language model reads it."""

    role: Literal["system", "user", "assistant"]
    text: str


class Generator(ABC):
    """Writes answers; safe to use from several threads."""

    name: str
    """The model's name in `ruma models list`."""

    is_grounded: bool = False
    """Whether it keeps to the evidence well enough to write answers without being told to."""

    is_grounded = False
    """Whether it passed the grounding check on this machine: only then may `auto` let it write."""

    @property
    @abstractmethod
    def context_tokens(self) -> int:
        """How many tokens a conversation and its answer may have together."""

    @abstractmethod
    def count_tokens(self, turns: Sequence[Turn]) -> int:
        """Return how many tokens the conversation has, its markers included."""

    @abstractmethod
    def generate(self, turns: Sequence[Turn], *, tenant: str, max_tokens: int = 400) -> Iterator[str]:
        """Return the answer, piece by piece; closing the iterator stops the model, also while it still reads.

        What can be foreseen is raised by this call and not by the iterator. *tenant* is a tag: nothing that is
        kept for one tag is used for another.

        Raises:
            InputError: The conversation is too long for the model.
            ModelError: The model cannot be loaded, is busy, or stopped; from the iterator: the answer is incomplete.
        """

    @property
    def is_running(self) -> bool:
        """Whether there is a process that may remember something."""
        return False

    def forget(self) -> None:  # noqa: B027 - one without a process holds nothing
        """Give back all memory that may hold something of a conversation; answers under way are still written."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the model holds; no answers after that."""


class TokenStream(Iterator[str]):
    """One answer of the model process, piece by piece."""

    def __init__(self, process: ModelProcess, number: int, replies: Replies) -> None:
        """Take a request that the process has accepted."""
        self.counts: Message = {}
        """After the end: tokens of the `prompt`, how many of them were `reused`, and tokens `written`."""

        self._process, self._number, self._replies = process, number, replies
        self._is_over = False

    def __next__(self) -> str:
        """Wait for the next piece and return it."""
        if self._is_over:
            raise StopIteration
        reply = self._replies.get()
        if reply.get("event") == "piece":
            return str(reply.get("text", ""))
        self._is_over = True
        if reply.get("event") == "stopped":
            raise _stopped("The language model stopped; the answer is incomplete.", self._process)
        self.counts = reply
        raise StopIteration

    def close(self) -> None:
        """Stop the model writing this answer, and no other one."""
        self._is_over = True
        self._process.drop(self._number)
        self._replies.put({"event": "closed"})  # another thread may be waiting for the next piece

    def __del__(self) -> None:
        """Do not let the model write what nobody can read."""
        if not self._is_over:
            self._process.abandon(self._number)


class LocalGenerator(Generator):
    """The built-in model process: started by the first question, and anew by the next one after it died."""

    def __init__(
        self,
        model: Model,
        *,
        threads: int,
        context_tokens: int = LONGEST_CONVERSATION,
        waiting: int = WAITING,
        silence_seconds: float = SILENCE_SECONDS,
        is_trial: bool = False,
    ) -> None:
        """Take a model; *is_trial* lets the process measure it when it is loaded."""
        self.name = model.name
        self.is_grounded = model.is_grounded
        self._model = model
        self._waiting = waiting
        self._silence_seconds = silence_seconds
        self._is_trial = is_trial
        self._job = {
            "name": model.name,
            "threads": threads,
            "seats": SEATS,
            "context_tokens": context_tokens,
            "memory_bytes": model.size_bytes * 5 // 4 + SPARE_MEMORY,
            "has_flash_attention": model.has_flash_attention,
            "is_trial": is_trial,
        }
        self._lock = threading.Lock()
        self._process: ModelProcess | None = None
        self._leaving: threading.Thread | None = None
        self._is_closed = False

    @property
    def context_tokens(self) -> int:
        """How many tokens a conversation and its answer may have together; starts the process."""
        return int(self.facts["context_tokens"])

    @property
    def facts(self) -> Message:
        """What the process found out about the model; starts the process."""
        return self._running().wait_until_ready()

    @property
    def pid(self) -> int:
        """The number of the model process, 0 while there is none."""
        process = self._process
        return process.pid if process and not process.is_over else 0

    @property
    def reason(self) -> str:
        """Why the last model process ended, in technical words; "" while it lives."""
        return self._process.reason if self._process else ""

    def count_tokens(self, turns: Sequence[Turn]) -> int:
        """Return how many tokens the conversation has, its markers included."""
        process = self._running()
        self._check_length(process, turns)
        _, replies = process.ask({"do": "count", "turns": _plain(turns)})
        return int(_first(replies, process).get("tokens", 0))

    def generate(self, turns: Sequence[Turn], *, tenant: str, max_tokens: int = 400) -> TokenStream:
        """Return the answer, piece by piece; see `Generator.generate`. The model begins at once."""
        process = self._running()
        self._check_length(process, turns)
        message = {"do": "generate", "tenant": tenant, "max_tokens": max_tokens, "turns": _plain(turns)}
        with self._lock:
            self._check_queue(process, tenant)
            number, replies = process.ask(message)
        reply = _first(replies, process)
        if reply.get("event") == "refused":
            raise self._too_long(process, f"{reply.get('tokens')} tokens")
        return TokenStream(process, number, replies)

    @property
    def is_running(self) -> bool:
        """Whether there is a process, be it one that is about to end."""
        return self.pid != 0 or (self._leaving is not None and self._leaving.is_alive())

    def forget(self) -> None:
        """End the process, when the answers under way are written; the next question starts a new one.

        Overwriting what the model holds would leave the questions themselves in memory that was given back to the
        process and not to the system. Waits a moment for it.
        """
        with self._lock:
            process, self._process = self._process, None
            if process is None or process.is_over:
                return
            self._leaving = threading.Thread(target=_end_when_idle, args=(process,), daemon=True)
            self._leaving.start()
        self._leaving.join(FORGET_SECONDS)

    def close(self) -> None:
        """End the process; answers that are still being written fail."""
        with self._lock:
            self._is_closed = True
            process = self._process
        if process:
            process.close()
        if self._leaving:
            self._leaving.join(FORGET_SECONDS)

    def _running(self) -> ModelProcess:
        """Return a process that has loaded the model."""
        if self._leaving:
            self._leaving.join(SILENCE_SECONDS)  # two at once would need the memory twice
        with self._lock:
            if self._is_closed:
                raise ModelError(f"The language model {self.name} was closed.")
            if self._process is None or self._process.is_over:
                file = open_verified(self._model)
                seconds = LOAD_SECONDS + self._model.size_bytes / SLOWEST_DISK + TRIAL_SECONDS * self._is_trial
                self._process = ModelProcess(
                    self._job, file, load_seconds=seconds, silence_seconds=self._silence_seconds
                )
            process = self._process
        process.wait_until_ready()
        return process

    def _check_length(self, process: ModelProcess, turns: Sequence[Turn]) -> None:
        """Refuse what cannot fit before it is cut into tokens, which takes its time too."""
        characters = sum(len(turn.text) for turn in turns)
        if characters > process.wait_until_ready()["context_tokens"] * MOST_CHARACTERS_A_TOKEN:
            raise self._too_long(process, f"{characters} characters")

    def _check_queue(self, process: ModelProcess, tenant: str) -> None:
        waiting = process.count_open() - SEATS
        own = process.count_open(tenant) - SEATS
        if waiting >= self._waiting or own >= min(self._waiting, WAITING_OF_ONE_TENANT):
            raise ModelError(
                f"The language model is busy: {max(waiting, own)} questions are waiting for it.",
                hint="Try again in a minute.",
            )

    def _too_long(self, process: ModelProcess, size: str) -> InputError:
        limit = process.wait_until_ready()["context_tokens"]
        return InputError(
            f"The question and its evidence have {size}, and {self.name} reads {limit} tokens at once.",
            hint="Ask a shorter question.",
        )


def open_generator(settings: Settings, name: str) -> LocalGenerator:
    """Return the generator for a model of the catalogue; nothing is started before the first question.

    Raises:
        NotFoundError: There is no such model.
    """
    return LocalGenerator(find_model(settings, name), threads=settings.thread_count)


def _end_when_idle(process: ModelProcess) -> None:
    end = time.monotonic() + SILENCE_SECONDS
    while process.count_open() and not process.is_over and time.monotonic() < end:
        time.sleep(0.05)
    process.close()


def _plain(turns: Sequence[Turn]) -> list[list[Any]]:
    return [[turn.role, turn.text] for turn in turns]


def _first(replies: Replies, process: ModelProcess) -> Message:
    reply = replies.get()
    if reply.get("event") == "stopped":
        raise _stopped("The language model stopped before it could answer.", process)
    return reply


def _stopped(sentence: str, process: ModelProcess) -> ModelError:
    error = ModelError(sentence, hint=ASK_AGAIN)
    error.add_note(process.reason)
    return error
