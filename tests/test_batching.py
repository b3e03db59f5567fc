"""Answers written together, against a context that checks what each sequence holds."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ruma.models.batching import BATCH, KEPT_PROMPTS, Batcher, Entry, Request

TOKENS = 1000
END = 999
SEATS = 3


class CheckedContext:
    """Holds cells as llama.cpp does, and fails where a sequence has a gap or the cells do not suffice."""

    def __init__(self, cells: int = 10_000) -> None:
        """Take the number of cells."""
        self.cells = cells
        self.sequences: dict[int, list[list[int]]] = {number: [] for number in range(SEATS + KEPT_PROMPTS)}
        self.wiped = 0
        self.read = 0
        self.fullest = 0
        self._entries: Sequence[Entry] = []

    def decode(self, entries: Sequence[Entry], threads: int) -> None:
        """Append the tokens to their sequences."""
        assert 0 < len(entries) <= BATCH
        self._entries = entries
        for entry in entries:
            assert entry.position == len(self.sequences[entry.sequence])
            self.sequences[entry.sequence].append([entry.token])
        self.read += len(entries)
        self.fullest = max(self.fullest, len({id(cell) for held in self.sequences.values() for cell in held}))
        assert self.fullest <= self.cells

    def logits(self, place: int) -> NDArray[np.float32]:
        """Let the next token be the one before plus one."""
        assert self._entries[place].has_logits
        scores = np.zeros(TOKENS, np.float32)
        scores[min(self._entries[place].token + 1, END)] = 1
        return scores

    def copy(self, source: int, target: int) -> None:
        """Share the cells."""
        assert not self.sequences[target]
        self.sequences[target] = list(self.sequences[source])

    def forget(self, sequence: int) -> None:
        """Empty one sequence."""
        self.sequences[sequence] = []

    def wipe(self) -> None:
        """Empty all."""
        self.sequences = {number: [] for number in self.sequences}
        self.wiped += 1

    def held(self) -> set[int]:
        """Return all tokens that any sequence holds."""
        return {token for held in self.sequences.values() for cell in held for token in cell}


class CountingSpeech:
    """Writes each token as its number."""

    def is_end(self, token: int) -> bool:
        """Tell whether it is the last one."""
        return token == END

    def piece(self, token: int) -> bytes:
        """Return the number."""
        return b"%d " % token


def make(context: CheckedContext) -> Batcher:
    """Return a batcher over that context."""
    return Batcher(CountingSpeech(), context, seats=SEATS, threads=2, stop_tokens=frozenset(), stop_texts=())


def request(
    id: int, tenant: str = "acme", *, fixed: int = 0, last: int = 500, answer: int = 5, length: int = 30
) -> Request:
    """Return a request whose instructions are *fixed* tokens of the tenant's own, and whose answer counts on."""
    own = 100 + sum(tenant.encode()) % 90
    return Request(id, tenant, [own] * fixed + [300 + id] * length + [last], fixed, answer)


def run(batcher: Batcher, steps: int = 10_000) -> dict[int, str]:
    """Step until idle and return the answers that ended, in the order in which they did."""
    texts: dict[int, str] = Counter()  # type: ignore[assignment]
    ended: dict[int, str] = {}
    for _ in range(steps):
        if batcher.is_idle:
            break
        for message in batcher.step():
            if message["event"] == "piece":
                texts[message["id"]] = texts.get(message["id"], "") + message["text"]
            elif message["event"] == "end":
                ended[message["id"]] = texts.get(message["id"], "")
    return ended


def test_answers_that_are_written_together_do_not_mix() -> None:
    """Each answer goes on from its own prompt, whatever else is in the batch."""
    context = CheckedContext()
    batcher = make(context)
    for id in range(8):
        batcher.add(request(id, f"tenant {id % 3}", fixed=20, last=400 + 10 * id, answer=3, length=20 * id + 1))
    ended = run(batcher)

    assert ended == {id: f"{401 + 10 * id} {402 + 10 * id} {403 + 10 * id} " for id in ended}
    assert len(ended) == 8


def test_an_answer_ends_at_its_end_or_at_its_limit() -> None:
    """The end token is not shown, and an answer without one stops at its limit."""
    batcher = make(CheckedContext())
    batcher.add(request(1, last=997, answer=50))
    batcher.add(request(2, last=500, answer=2))

    assert run(batcher) == {1: "998 ", 2: "501 502 "}


def test_the_same_instructions_are_read_once() -> None:
    """Several questions at once to one agent, and the next one, read its instructions one time."""
    context = CheckedContext()
    batcher = make(context)
    for id in range(3):
        batcher.add(request(id, fixed=200, answer=1, length=1))
    run(batcher)
    batcher.add(request(4, fixed=200, answer=1, length=1))
    run(batcher)

    assert context.read == 200 + 4 * 2


def test_nothing_of_a_tenant_is_left_when_another_one_comes() -> None:
    """An idle context is overwritten between tenants; a busy one drops what no running answer needs."""
    context = CheckedContext()
    batcher = make(context)
    batcher.add(request(1, "acme", fixed=50))
    run(batcher)
    acme = request(1, "acme", fixed=50).tokens[0]
    assert context.held() == {acme}

    batcher.add(request(2, "bolt", fixed=50, answer=400))
    batcher.step()
    assert acme not in context.held()
    assert context.wiped >= 1

    batcher.add(request(3, "acme", fixed=50))
    for _ in range(3):
        batcher.step()
    assert acme in context.held()
    batcher.cancel(3)
    batcher.add(request(4, "cafe", fixed=50))
    batcher.step()
    assert acme not in context.held()
    run(batcher)


def test_equal_instructions_of_two_tenants_are_not_shared() -> None:
    """What is kept is found by the tenant and the tokens, never by the tokens alone."""
    context = CheckedContext()
    batcher = make(context)
    tokens = [7] * 100 + [500]
    batcher.add(Request(1, "acme", tokens, 100, 50))
    for _ in range(6):
        batcher.step()
    before = context.read
    batcher.add(Request(2, "bolt", tokens, 100, 1))
    run(batcher)

    assert context.read - before >= 101 + 40


def test_a_busy_tenant_does_not_keep_a_quiet_one_waiting() -> None:
    """The next free seat goes to the tenant with the fewest running answers."""
    batcher = make(CheckedContext())
    for id in range(20):
        batcher.add(request(id, "busy", answer=10))
    batcher.step()
    batcher.add(request(99, "quiet", answer=1))
    order = list(run(batcher))

    assert order.index(99) <= SEATS


def test_the_memory_is_never_overbooked() -> None:
    """With cells for about one and a half conversations all questions are answered, one after another."""
    context = CheckedContext(cells=300)
    batcher = make(context)
    for id in range(10):
        batcher.add(request(id, f"tenant {id % 2}", fixed=60, length=100, answer=20))

    assert len(run(batcher)) == 10
    assert context.fullest <= 300


def test_cancelling_frees_the_seat_and_nothing_else() -> None:
    """A running and a waiting request are dropped by their ids; the others end as they would have."""
    context = CheckedContext()
    batcher = make(context)
    for id in range(5):
        batcher.add(request(id, answer=20, last=400))
    batcher.step()
    batcher.cancel(0)
    batcher.cancel(4)
    batcher.cancel(77)
    ended = run(batcher)

    assert sorted(ended) == [1, 2, 3]
    assert all(text.endswith("419 420 ") for text in ended.values())
    assert context.held() == set()


def test_only_the_last_agents_are_kept() -> None:
    """Many sets of instructions of one tenant take the place of the one that was not used for longest."""
    context = CheckedContext()
    batcher = make(context)
    for id in range(KEPT_PROMPTS + 2):
        batcher.add(Request(id, "acme", [10 + id] * 50 + [500], 50, 1))
        run(batcher)
    before = context.read
    batcher.add(Request(90, "acme", [10] * 50 + [500], 50, 1))
    batcher.add(Request(91, "acme", [10 + KEPT_PROMPTS + 1] * 50 + [500], 50, 1))
    run(batcher)

    assert context.read - before == 51 + 1
    batcher.wipe()
    assert context.held() == set()
