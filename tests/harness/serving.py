"""The command `ruma serve` in a process of its own, with all that it could write to, and a plain client of it."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.process import environ_of


@dataclass(frozen=True)
class Answer:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as data, of an answer that is no failure."""
        assert self.status < 300, (self.status, self.body)
        return json.loads(self.body)


class Server:
    """`ruma serve`, with a temporary folder, a working folder and a file for all that it says."""

    def __init__(self, folder: Path) -> None:
        """Take a folder for all of it; `start` starts it, also again."""
        self.home, self.temporary, self.working = folder / "home", folder / "temporary", folder / "working"
        self.log = folder / "log"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process of the server."""
        assert self._process
        return self._process

    def environ(self) -> dict[str, str]:
        """Return the environment of it, and of commands beside it."""
        return environ_of(self.home, TMPDIR=str(self.temporary), PYTHONASYNCIODEBUG="1", PYTHONFAULTHANDLER="1")

    def start(self, module: str = "tests.harness.debugging") -> None:
        """Start it, and wait until it answers."""
        for folder in (self.temporary, self.working):
            folder.mkdir(exist_ok=True)
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "serve", "--port", "0"],
                cwd=self.working, env=self.environ(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        end = time.monotonic() + 60
        while time.monotonic() < end and self._process.poll() is None:
            found = re.search(r", port (\d+)", self.log.read_text(errors="replace")[begin:])
            if found:
                self.port = int(found[1])
                return
            time.sleep(0.02)
        raise RuntimeError(self.log.read_text(errors="replace"))

    def kill(self) -> None:
        """End it as a lack of memory would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it as a person would."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=30)

    def ruma(self, *words: str) -> str:
        """Run a command beside it, and return what that printed."""
        command = [sys.executable, "-m", "tests.harness.command", *words]
        run = subprocess.run(command, cwd=self.working, env=self.environ(), capture_output=True, text=True, timeout=60)
        with self.log.open("a") as log:
            log.write(run.stdout + run.stderr)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def send(self, method: str, path: str, body: Any = None, *, source: str = "127.0.0.1", **headers: str) -> Answer:
        """Send a request from an address of this machine: data as JSON, bytes and texts as they are.

        A header is named with `_` for `-`.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes | str):
            body, named = json.dumps(body), {"Content-Type": "application/json", **named}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(source, 0))
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Origin": f"http://127.0.0.1:{self.port}", **named})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def open_files(self) -> set[str]:
        """Return what its process has open."""
        found = set()
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(descriptor))
        return found
