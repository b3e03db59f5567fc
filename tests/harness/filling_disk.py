"""Works on disks that are full: `unshare -rm python -m tests.harness.filling_disk`, which has mounts of its own.

What to do comes as JSON on standard input, and what came of it goes as JSON to standard output.
"""

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.harness.forking import COMMAND, Forked, Run, run_forked
from tests.harness.process import ROOT, environ_of

ROOMY = 64 << 10
"""The size, in KiB, of a disk on which there is space again."""


def try_size(size: int, template: Path, documents: Path, disk: Path, saved: Path, asks: str) -> dict[str, Any]:
    """Return how it went on a disk of so many KiB, and then with space on it; keep what was there in between."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k,mode=700", "ruma-test", disk], check=True)
    try:
        home = disk / "home"
        shutil.copytree(template, home)
        tried = run_ruma(home, "ingest", str(documents))
        shutil.copytree(home, saved / str(size))
        found = run_ruma(home, "search", asks, "--json")
        with serving(home) as ask:
            before = ask(asks)
            fill_up(disk / "ballast")
            full = ask(asks)
            (disk / "ballast").unlink()
            after = ask(asks)
        fill_up(disk / "ballast")
        with serving(home) as ask:
            begun_full = ask(asks)
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", f"remount,size={ROOMY}k", disk], check=True)
        again = run_ruma(home, "ingest", str(documents))
        return {
            "size": size,
            "tried": [tried.returncode, tried.stdout + tried.stderr],
            "found": [found.returncode, found.stdout, found.stderr],
            "asked": {"before": before, "full": full, "after": after, "begun full": begun_full},
            "again": [again.returncode, again.stdout + again.stderr],
            "found_then": run_ruma(home, "search", asks, "--json").stdout,
        }
    finally:
        subprocess.run(["umount", disk], check=True)


def try_without_temporary_space(home: Path, documents: Path, disk: Path, asks: str) -> dict[str, Any]:
    """Return how commands and a server went whose temporary folder is full."""
    with full_disk(disk):
        more = {"TMPDIR": str(disk)}
        words = [["ingest", str(documents)], ["export", str(home.parent / "all.zip")]]
        words += [["backup", "init", str(home.parent / "backups")], ["backup", "make", str(home.parent / "backups")]]
        ended = [run_ruma(home, *one, **more) for one in words]
        with serving(home, **more) as ask:
            return {"ended": [[one.returncode, one.stderr] for one in ended], "asked": ask(asks)}


def try_without_space_for_the_log(home: Path, disk: Path, asks: str) -> dict[str, Any]:
    """Return what a server answers that cannot write its log, and its log when there is space again."""
    with full_disk(disk, but=8192), serving(home, log=disk / "log") as ask:
        fill_up(disk / "more")
        asked = [ask(asks)[:2] for _ in range(29)]
        full = (disk / "log").read_text()
        for ballast in (disk / "ballast", disk / "more"):
            ballast.unlink()
        asked += [ask(asks)[:2]]
        time.sleep(2)  # it tries again every second
        return {"asked": asked, "full": full, "log": (disk / "log").read_text()}


def run_ruma(home: Path, *words: str, **more: str) -> Run:
    """Run a command."""
    return run_forked([COMMAND, *words], env=environ_of(home, **more))


@contextmanager
def full_disk(disk: Path, but: int = 0) -> Iterator[None]:
    """Mount a small disk on which nothing has space any more, but for so many bytes."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "ruma-test", disk], check=True)
    try:
        (disk / "kept").write_bytes(bytes(but))
        fill_up(disk / "ballast")
        (disk / "kept").unlink()
        yield
    finally:
        subprocess.run(["umount", disk], check=True)


def fill_up(file: Path) -> None:
    """Write until nothing more goes onto the disk."""
    with suppress(OSError), file.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(1 << 16)) or ballast.write(bytes(1))


@contextmanager
def serving(home: Path, log: Path | None = None, **more: str) -> Iterator[Callable[[str], list[Any]]]:
    """Serve a home; give what asks a question and returns the status and the text of the answer.

    Where the server does not start, that is 0 and what it said instead. log: where it writes it.
    """
    log = log or home.parent.parent / "log"
    with open(os.devnull, "wb") as nothing, log.open("wb") as said:
        command = [COMMAND, "serve", "--port", "0"]
        server = Forked(command, env=environ_of(home, **more), cwd=ROOT, stdout=nothing.fileno(), stderr=said.fileno())
    try:
        while not (found := re.search(r", port (\d+)", log.read_text())) and server.poll() is None:
            time.sleep(0.02)

        def ask(question: str) -> list[Any]:
            if not found:
                return [0, log.read_text()]
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
            body = json.dumps({"question": question})
            connection.request("POST", "/t/acme/api/chat", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return [answer.status, answer.read().decode()]

        yield ask
    finally:
        server.terminate()
        server.wait(30)


def main() -> None:
    """Do what is asked for."""
    asked = json.load(sys.stdin)
    home, documents, disk, saved = (Path(asked[name]) for name in ("home", "documents", "disk", "saved"))
    asks, done = asked["asks"], dict[str, Any]()
    if "sizes" in asked:
        done["sizes"] = [try_size(size, home, documents, disk, saved, asks) for size in asked["sizes"]]
    if "temporary" in asked:
        done["temporary"] = try_without_temporary_space(home, documents, disk, asks)
    if "log" in asked:
        done["log"] = try_without_space_for_the_log(home, disk, asks)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
