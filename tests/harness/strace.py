"""Makes a command fail, or be killed, at its N-th call of a kind: N = 1, 2, 3 … until it completes, never at random."""

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

TRACED = "fsync,fdatasync,pwrite64,write,ftruncate,rename,link,unlink,rmdir,mkdir"

Run = subprocess.CompletedProcess[str]


def under_strace(command: Sequence[str], trace: Path, *rules: str, env: dict[str, str], timeout: float = 60) -> Run:
    """Run a command with faults injected by *rules*, each as strace writes them: `fsync:error=EIO:when=3`.

    SIGKILL comes before the call is done. What is in the page cache stays, so this is a crash, not a power cut.
    """
    args = ["strace", "-f", "-qq", "-y", "-o", str(trace), "-e", f"trace={TRACED}"]
    if not any("signal=" in rule for rule in rules):
        args.insert(1, "--seccomp-bpf")  # quicker, but with it strace 6.1 sends no signal
    for rule in rules:
        args += ["-e", f"inject={rule}"]
    return subprocess.run([*args, *command], env=env, capture_output=True, text=True, timeout=timeout)


def count_calls(trace: Path, call: str) -> int:
    """Return how often the busiest thread began a call: strace counts each thread by itself."""
    threads = re.findall(rf"^(\d+)\s+{call}\(", trace.read_text(errors="replace"), re.MULTILINE)
    return max(Counter(threads).values(), default=0)


def every_point(
    command: Sequence[str],
    call: str,
    *,
    fault: str = "signal=SIGKILL",
    every: int = 1,
    env: dict[str, str],
    trace: Path,
    fresh: Callable[[], None],
    check: Callable[[int, Run], None],
) -> int:
    """Run a command once for each time that it makes a *call*, with the fault there; return how many times that was.

    fresh: brings the state back before each run. check: is told the number and the run, and looks at what is left.
    every: the step, for a run that must be quick; the first and the last time are always among them.
    """
    fresh()
    whole = under_strace(command, trace, env=env)
    assert whole.returncode == 0, whole.stderr
    total = count_calls(trace, call)
    assert total, f"{call} never happened: the loop would prove nothing"
    points = sorted({*range(1, total + 1, every), total})
    for point in points:
        fresh()
        run = under_strace(command, trace, f"{call}:{fault}:when={point}", env=env)
        if fault == "signal=SIGKILL":
            assert run.returncode == -signal.SIGKILL, f"it was not killed at its {call} number {point}: {run.stderr}"
        check(point, run)
    return len(points)
