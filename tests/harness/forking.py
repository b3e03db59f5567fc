"""Runs commands in children of a process that has Ruma loaded: a tenth of the time that Python takes to start them.

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
    os.umask(umask := os.umask(0o77))
    request = {"words": list(words), "env": dict(env), "cwd": str(cwd or Path.cwd()), "umask": umask}
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        given.write(typed.encode())
        given.seek(0)
        held, go = os.pipe()
        socket.send_fds(
            channel, [json.dumps(request).encode()], [given.fileno(), said.fileno(), complained.fileno(), held, *files]
        )
        os.close(held)
        process = int(channel.recv(100))
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

    for package in ("ruma.cli", "ruma.tenant", "ruma.privacy"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("_process"):
                importlib.import_module(module.name)
    for name in ("rich.console", "rich.table", "rich.progress", "tests.making", "typer._adapters"):
        importlib.import_module(name)
    command = get_command(app)

    def start(words: list[str]) -> None:
        if words[0] == COMMAND:
            command.main(words[1:], prog_name="ruma", obj=Openers(embedder=open_fake, network=guard_network))
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
        process = os.fork()
        if not process:
            _become(request, files)
            start(request["words"])
            return
        for file in files:
            os.close(file)
        with suppress(OSError):
            channel.send(str(process).encode())
            channel.send(str(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])).encode())


if __name__ == "__main__":
    main(sys.argv[1])
