"""How fast answers are written: several at once beside the same ones after each other, and the first token.

Run: python -m tests.bench.bench_generator [MODEL]

Ratios within the run are what to keep; those of processor time hold also where other programs run.
"""

import argparse
import os
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ruma.config import load_settings
from ruma.models.generator import SEATS, LocalGenerator, TokenStream, Turn
from ruma.models.grounding import INSTRUCTIONS
from ruma.models.language_models import BUILT_IN, find_model

EVIDENCE = """Passages:
[1] Within the town we deliver for 4.50 euros; orders over 40 euros are delivered free of charge.
[2] We deliver on weekdays between 8 and 11 in the morning, and on Saturdays until noon.
[3] Orders for the next day must reach us before 15:00, by telephone or on the order page.
[4] Cakes for more than twenty guests are delivered by two people and cost 12 euros more.
[5] If nobody opens, the driver leaves the box with a neighbour and puts a note into the letter box.
[6] Deliveries outside the town are possible up to 25 kilometres for 1.20 euros a kilometre.

Question: """

ROUNDS = 3
WRITTEN = 48


def turns(number: int) -> list[Turn]:
    """Return a conversation of six evidence sentences and a question of its own."""
    question = f"Please write a long and friendly letter to guest number {number} that explains how we deliver."
    return [Turn("system", INSTRUCTIONS), Turn("user", EVIDENCE + question)]


def ask(generator: LocalGenerator, number: int, tenant: str = "bench", tokens: int = WRITTEN) -> TokenStream:
    """Begin an answer."""
    return generator.generate(turns(number), tenant=tenant, max_tokens=tokens)


class Spent(NamedTuple):
    """Time on the clock, and time that the model process had a processor."""

    clock: float
    processor: float


def now(generator: LocalGenerator) -> Spent:
    """Return both times so far."""
    fields = Path(f"/proc/{generator.pid}/stat").read_text().rpartition(")")[2].split()
    return Spent(time.perf_counter(), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))


def since(generator: LocalGenerator, began: Spent) -> Spent:
    """Return what was spent since then."""
    clock, processor = now(generator)
    return Spent(clock - began.clock, processor - began.processor)


def first_token(generator: LocalGenerator, number: int, tenant: str) -> Spent:
    """Return what it takes to the first piece of an answer."""
    began = now(generator)
    with closing(ask(generator, number, tenant)) as stream:
        next(stream)
        return since(generator, began)


def write(generator: LocalGenerator, count: int) -> Spent:
    """Return what a written token takes when so many answers are written at once; reading is left out."""
    streams = [ask(generator, number) for number in range(count)]
    for stream in streams:
        next(stream)
    began = now(generator)
    pieces = sum(len(list(stream)) for stream in streams)
    return Spent(*(seconds / pieces for seconds in since(generator, began)))


def compare(what: str, before: list[Spent], after: list[Spent]) -> None:
    """Print both sides and the ratios of their medians."""
    sides = [[median(values) for values in zip(*runs, strict=True)] for runs in (before, after)]
    ratios = [one / other for one, other in zip(*sides, strict=True)]
    print(
        f"{what}: {sides[0][0] * 1e3:.1f} -> {sides[1][0] * 1e3:.1f} ms on the clock (ratio {ratios[0]:.2f}), "
        f"{sides[0][1] * 1e3:.1f} -> {sides[1][1] * 1e3:.1f} ms of a processor (ratio {ratios[1]:.2f})"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default=BUILT_IN)
    settings = load_settings()
    model = find_model(settings, parser.parse_args().model)
    with closing(LocalGenerator(model, threads=settings.thread_count)) as generator:
        began = time.perf_counter()
        size = generator.count_tokens(turns(0))
        print(f"{model.name}, {settings.thread_count} threads, prompt of {size} tokens")
        print(f"process started and model loaded: {time.perf_counter() - began:.2f} s")
        for tenant in ("warm", "bench"):
            first_token(generator, 0, tenant)
        kept = [first_token(generator, number, "bench") for number in range(ROUNDS)]
        fresh = [first_token(generator, number, f"tenant {number}") for number in range(ROUNDS)]
        compare("first token, the instructions read anew -> kept", fresh, kept)
        write(generator, SEATS)  # the pace of this machine is learnt
        pairs = [(write(generator, 1), write(generator, SEATS)) for _ in range(ROUNDS)]
        compare(f"a token, one answer -> {SEATS} at once", [one for one, _ in pairs], [all_ for _, all_ in pairs])
        memory = Path(f"/proc/{generator.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
        print(f"memory of the process at most: {int(memory) // 1024} MB")


if __name__ == "__main__":
    main()
