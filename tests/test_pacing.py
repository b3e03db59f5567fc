"""The size of a step and the number of threads follow the speed of the machine."""

from collections import Counter

from ruma.models.pacing import SMALLEST_CHUNK, STEP_SECONDS, Pace


def run(pace: Pace, tokens: int, speeds: dict[int, float], steps: int) -> Counter[int]:
    """Let *pace* do steps on a machine with so many tokens a second by threads; return what it chose."""
    chosen: Counter[int] = Counter()
    for _ in range(steps):
        threads = pace.choose_threads(tokens)
        chosen[threads] += 1
        pace.learn(tokens, 0, threads, tokens / speeds[threads])
    return chosen


def test_the_faster_number_of_threads_is_found_and_found_again() -> None:
    """Nearly all steps use what is fastest, also after the machine became busy, and after it calmed down."""
    pace = Pace(4, 512)
    calm, busy = {1: 100.0, 2: 180.0, 4: 300.0}, {1: 90.0, 2: 60.0, 4: 8.0}

    assert run(pace, 1, calm, 200)[4] > 160
    run(pace, 1, busy, 200)
    assert run(pace, 1, busy, 200)[1] > 160
    run(pace, 1, calm, 1200)
    assert run(pace, 1, calm, 200)[4] > 160


def test_steps_of_different_sizes_are_judged_apart() -> None:
    """Writing one token may be fastest with one thread while reading a prompt takes all."""
    pace = Pace(2, 512)
    for _ in range(3):
        run(pace, 1, {1: 150.0, 2: 90.0}, 50)
        run(pace, 64, {1: 200.0, 2: 390.0}, 50)

    assert run(pace, 1, {1: 150.0, 2: 90.0}, 100)[1] > 90
    assert run(pace, 64, {1: 200.0, 2: 390.0}, 100)[2] > 90


def test_a_step_takes_no_longer_than_it_may() -> None:
    """The chunk of a prompt shrinks on a slow machine and grows on a fast one, within its limits."""
    for speed, chunk in ((10, SMALLEST_CHUNK), (400, int(400 * STEP_SECONDS)), (1e6, 512)):
        pace = Pace(2, 512)
        for _ in range(20):
            pace.learn(pace.chunk, pace.chunk, 2, pace.chunk / speed)
        assert abs(pace.chunk - chunk) <= 1
