"""How large a step of the model may be, and how many processor threads do it fastest, learnt while it works.

Threads of one step wait for each other some hundred times. Where the processor has other work too, all wait for
the one that was sent to sleep, and two threads were up to ten times slower than one; a small model that writes
a single answer is faster with one even on an idle machine. So it is tried now and then, and remembered.
"""

from collections import defaultdict, deque
from statistics import median

STEP_SECONDS = 0.25
"""How long a step may take: the longest wait of a reader who leaves, and of the others for their next token."""

SMALLEST_CHUNK = 16
TRY_EVERY, TRY_POOR_EVERY = 24, 120
"""After so many steps another number of threads is tried; one that was much slower is tried less often."""

POOR = 2.5
REMEMBERED = 5


class Pace:
    """What was learnt about the speed of this machine, as busy as it is now."""

    def __init__(self, threads: int, largest_chunk: int) -> None:
        """Take the most threads that may be used and the most tokens of a step."""
        self.chunk = min(4 * SMALLEST_CHUNK, largest_chunk)
        """How many tokens of prompts to read in the next step."""

        self._largest_chunk = largest_chunk
        self._options = sorted({1, max(threads // 2, 1), threads}, reverse=True)
        self._seconds: dict[tuple[int, int], deque[float]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._steps: dict[int, int] = defaultdict(int)

    def choose_threads(self, tokens: int) -> int:
        """Return how many threads to use for a step of so many tokens."""
        size = tokens.bit_length()
        self._steps[size] += 1
        untried = [threads for threads in self._options if not self._seconds[size, threads]]
        if untried:
            return untried[0]
        speeds = {threads: median(self._seconds[size, threads]) for threads in self._options}
        best = min(speeds, key=lambda threads: speeds[threads])
        for place, threads in enumerate(self._options):
            every = TRY_POOR_EVERY if speeds[threads] > POOR * speeds[best] else TRY_EVERY
            if self._steps[size] % every == place:
                return threads
        return best

    def learn(self, tokens: int, read: int, threads: int, seconds: float) -> None:
        """Take note of a step of *tokens*, *read* of which were of prompts."""
        self._seconds[tokens.bit_length(), threads].append(seconds / tokens)
        if read >= self.chunk:
            wanted = self.chunk * min(STEP_SECONDS / max(seconds, 1e-3), 2.0)
            self.chunk = int(min(max(wanted, SMALLEST_CHUNK), self._largest_chunk))
