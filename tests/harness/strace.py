"""Makes a command fail, or be killed, at its N-th call of a kind: N = 1, 2, 3 … until it completes, never at random."""

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.harness.forking import Run, run_forked

TRACED = "fsync,fdatasync,pwrite64,write,ftruncate,rename,link,unlink,unlinkat,rmdir,mkdir"


def under_strace(command: Sequence[str], trace: Path, *rules: str, env: dict[str, str], timeout: float = 60) -> Run:
    """Run a command with faults injected by *rules*, each as strace writes them: `fsync:error=EIO:when=3`.

    SIGKILL comes before the call is done. What is in the page cache stays, so this is a crash, not a power cut.
    """
    # Not with --seccomp-bpf, under which strace 6.1 injects errors and forgets signals.
    args = ["-e", f"trace={TRACED}"]
    for rule in rules:
        args += ["-e", f"inject={rule}"]
    return run_traced(command, trace, *args, env=env, timeout=timeout)


def run_traced(command: Sequence[str], trace: Path, *args: str, env: dict[str, str], timeout: float = 60) -> Run:
    """Run a command, and let strace write down what these arguments ask it for."""
    assert command[:2] == [sys.executable, "-m"], command
    tracers = []

    def attach(process: int) -> None:
        tracers.append(subprocess.Popen(["strace", "-f", "-qq", "-y", "-o", trace, *args, "-p", str(process)]))
        while re.search(r"^TracerPid:\t0$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE):
            assert tracers[0].poll() is None, "strace could not attach"
            time.sleep(0.001)

    run = run_forked(command[2:], env=env, timeout=timeout, watch=attach)
    tracers[0].wait(timeout=timeout)
    return run


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
        is_hit = run.returncode == -signal.SIGKILL if "SIGKILL" in fault else "(INJECTED)" in trace.read_text()
        assert is_hit or count_calls(trace, call) < point, f"nothing happened at {call} {point}"
        check(point, run)
    return len(points)
