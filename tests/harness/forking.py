"""Runs commands and servers in children of a process that has Ruma loaded: Python takes ten times as long to start one.

Each is a process of its own with its own environment and files, which can be killed and traced like any other. What
depends on how Python itself starts (PYTHONPATH, limits, terminals) takes `RUMA` and its like instead.
"""

import atexit
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

Run = subprocess.CompletedProcess[str]

COMMAND, STORING, UPLOADING = (f"tests.harness.{name}" for name in ("command", "storing", "uploading"))
LATE = (
    "anyio._backends._asyncio",
    "attrs",
    "nacl.bindings",
    "nacl.secret",
    "numpy.random",
    "pydantic.networks",
    "rich.console",
    "rich.progress",
    "rich.table",
    "sqlcipher3.dbapi2",
    "sqlite_utils",
    "tests.making",
    "tomli_w",
    "typer._adapters",
    "uvicorn.lifespan.on",
    "uvicorn.loops.asyncio",
)
"""What is imported only once it is used."""
SERVERS = ("tests.serving", "tests.guarded")


def run_forked(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    typed: str = "",
    cwd: Path | None = None,
    timeout: float = 60,
    files: Sequence[int] = (),
    watch: Callable[[int], None] = lambda _: None,
) -> Run:
    """Return what `python -m WORDS` printed and how it ended, started with everything loaded.

    files: become its descriptors 3, 4 and so on.
    watch: is told the process before it does anything.
    """
    channel = _forker()
    request = {"words": list(words), "env": dict(env), "cwd": str(cwd or Path.cwd()), "goes_on": False}
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        given.write(typed.encode())
        given.seek(0)
        held, go = os.pipe()
        process = _ask(request, [given.fileno(), said.fileno(), complained.fileno(), held, *files])
        os.close(held)
        watch(process)
        os.close(go)
        channel.settimeout(timeout)
        try:
            status = int(channel.recv(100))
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            channel.settimeout(None)
            channel.recv(100)
            raise subprocess.TimeoutExpired(list(words), timeout) from None
        channel.settimeout(None)
        output = [_read_all(file) for file in (said, complained)]
    return subprocess.CompletedProcess(list(words), status, *output)


class Forked:
    """A process that goes on beside the test, started with everything loaded; it is used like one of `subprocess`."""

    def __init__(self, words: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdout: int, stderr: int) -> None:
        """Start `python -m WORDS`, which writes into these descriptors."""
        held, go = os.pipe()
        os.close(go)
        self._ended, status = os.pipe()
        self.returncode: int | None = None
        with open(os.devnull) as nothing:
            files = [nothing.fileno(), stdout, stderr, held, status]
            self.pid = _ask({"words": list(words), "env": dict(env), "cwd": str(cwd), "goes_on": True}, files)
        os.close(held)
        os.close(status)

    def wait(self, timeout: float | None = None) -> int:
        """Return how it ended, once it has; a negative number is the signal that ended it."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(os.read(self._ended, 100))
            os.close(self._ended)
        return self.returncode

    def poll(self) -> int | None:
        """Return how it ended, or nothing while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, kind: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, kind)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def _ask(request: Mapping[str, Any], files: Sequence[int]) -> int:
    """Send a request and return the process that was forked for it."""
    os.umask(umask := os.umask(0o77))
    socket.send_fds(_forker(), [json.dumps({**request, "umask": umask}).encode()], files)
    return int(_forker().recv(100))


def _read_all(file: Any) -> str:
    file.seek(0)
    text: str = file.read().decode()
    return text


@cache
def _forker() -> socket.socket:
    """Start the process that forks; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.harness.forking", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # a process with threads cannot be forked safely
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait(timeout=20)

    atexit.register(end)
    return ours


def _load() -> Callable[[list[str]], None]:
    """Load what the commands use, and return what becomes one of them."""
    from typer.main import get_command

    from ruma.cli.main import app
    from ruma.cli.parts import Openers, guard_network
    from tests.harness.command import open_fake

    for package in ("ruma.cli", "ruma.server", "ruma.tenant", "ruma.privacy"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("_process"):
                importlib.import_module(module.name)
    for name in (*LATE, *SERVERS):
        importlib.import_module(name)
    command = get_command(app)

    def start(words: list[str]) -> None:
        if words[0] == COMMAND:
            command.main(words[1:], prog_name="ruma", obj=Openers(embedder=open_fake, network=guard_network))
        elif words[0] in SERVERS:
            importlib.import_module(words[0]).main()
        else:
            runpy.run_module(words[0], run_name="__main__")

    return start


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Make this process look as if it had been started with these files, environment and folder."""
    os.read(files.pop(3), 1)  # nothing comes: it is closed when the watcher is ready
    given = [fcntl.fcntl(file, fcntl.F_DUPFD, 100) for file in files]  # out of the way of their new numbers
    for number, file in enumerate(given):
        os.dup2(file, number)
    os.closerange(len(given), 256)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    tempfile.tempdir = None
    sys.argv = list(request["words"])
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="replace", closefd=False)


def _keep(process: int, channel: socket.socket, status: int) -> None:
    """Tell what process goes on, and how it ended once it has."""
    channel.send(str(process).encode())
    os.write(status, str(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])).encode())
    os._exit(0)


def main(number: str) -> None:
    """Fork for each request, one after the other, until nobody can ask any more."""
    channel = socket.socket(fileno=int(number))
    start = _load()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.collect()
    gc.freeze()
    while True:
        data, files, _, _ = socket.recv_fds(channel, 1 << 20, 10)
        if not data:
            return
        request = json.loads(data)
        status = files.pop() if request["goes_on"] else None
        process = os.fork()
        if not process:
            if status is not None and (goes_on := os.fork()):
                for file in files:
                    os.close(file)
                _keep(goes_on, channel, status)
            _become(request, files)
            start(request["words"])
            return
        for file in [*files, *([] if status is None else [status])]:
            os.close(file)
        if status is None:
            with suppress(OSError):
                channel.send(str(process).encode())
                channel.send(str(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])).encode())
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    main(sys.argv[1])
