"""The process that runs the language model: it gets prompts over a socket and answers with tokens.

Started as `python -I -m ruma.models.model_process SOCKET FILE`, two open descriptors. It has no tenant's key, no
tenant's database, no network where the system allows that, and may not write a byte to a file: a hostile model
file that takes it over gains the conversations that are sent to it, and nothing else.
"""

import contextlib
import ctypes
import os
import resource
import socket
import sys
import traceback

from ruma.models.messages import Channel

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _SIGKILL = 1, 4, 38, 9


def confine(memory_bytes: int) -> None:
    """Give up what running a model does not need, before its file is opened and before any thread is started."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")  # where memory runs out, this process is to go and not the server
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_DATA: memory_bytes,
    }
    for what, wanted in limits.items():
        hard = resource.getrlimit(what)[1]
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(what, (limit, limit))
    libc = ctypes.CDLL(None, use_errno=True)
    # Not every system lets a program have a network of its own; nothing depends on it. It comes first, for a
    # change of rights may undo the calls below.
    libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)


def main(parent: int, file: int) -> int:
    """Serve the parent at the other end of a socket until it goes; return the exit code."""
    channel = Channel(socket.socket(fileno=parent))
    try:
        job = channel.receive()
        if job is None:
            return 1
        confine(job["memory_bytes"])
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy would start threads that nothing here uses
        # Threads that wait for each other spin for some microseconds and then sleep. By default they spin for
        # milliseconds: where the processor has other work too, they keep it from the very thread that they are
        # waiting for, and an answer takes ten times as long.
        os.environ["GOMP_SPINCOUNT"] = "200"
        from ruma.models.serving import serve

        serve(channel, file, job)
    except EOFError:
        return 0
    except Exception as exc:
        # Nobody is above a process to show a traceback to, and the message may hold a part of a prompt.
        place = traceback.extract_tb(exc.__traceback__)[-1]
        reason = f"{type(exc).__name__} in {place.name} of {os.path.basename(place.filename)}"
        with contextlib.suppress(EOFError):
            channel.send({"event": "failed", "reason": f"the model process failed with {reason}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
