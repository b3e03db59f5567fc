"""Plays back what a process wrote to a database, up to a power cut: what was not synced is there in part, or torn.

A kill leaves the page cache, so it proves nothing about power. Here the writes are recorded with strace; then the
files are built anew as a disk could hold them: with every write before the last fsync of a file, any of the later
ones, and of one of those only the first sectors.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.strace import run_traced

TRACED = "pwrite64,write,fsync,fdatasync,ftruncate,unlink,rename"
SECTOR = 512
_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)", re.MULTILINE)
_FILE = re.compile(r"^\d+<([^>]*)>")


@dataclass(frozen=True)
class Step:
    """One call on one file, in the order in which they ended."""

    call: str
    file: str
    data: bytes = b""
    at: int = 0
    to: str = ""
    """The new name of a file that was renamed."""


def record(command: Sequence[str], trace: Path, names: str, *, env: dict[str, str]) -> list[Step]:
    """Run a command and return its calls on files and folders whose names fit a pattern, and what it printed.

    What was written to standard output is of the file "out".
    """
    run = run_traced(command, trace, "-xx", "-s", "10000", "-e", f"trace={TRACED}", env=env)
    assert run.returncode == 0, run.stderr
    return read_trace(trace, names)


def read_trace(trace: Path, names: str) -> list[Step]:
    """Return the calls that strace wrote down with `-y -xx`, and with `-s` and a number that no write exceeds."""
    steps = []
    text = trace.read_text()
    assert "resumed" not in text, "calls of several threads are mixed: their order would be a guess"
    for call, arguments, result in _CALL.findall(text):
        found = _FILE.match(arguments)
        path = _unescape(found[1]).decode() if found else _unescape(arguments.split('"')[1]).decode()
        name = "out" if arguments.startswith("1<") else Path(path).name
        if int(result) < 0 or (name != "out" and not re.fullmatch(names, name)):
            continue
        data = _unescape(arguments.split('"')[1]) if call in ("write", "pwrite64") else b""
        at = int(arguments.rpartition(", ")[2]) if call in ("pwrite64", "ftruncate") else 0
        to = Path(_unescape(arguments.split('"')[3]).decode()).name if call == "rename" else ""
        assert len(data) == int(result) or call not in ("write", "pwrite64"), "strace cut a write short: raise -s"
        steps.append(Step(call, name, data, at, to))
    return steps


def cut(
    steps: list[Step], start: dict[str, bytes], end: int, chance: random.Random, *, folder: str = ""
) -> dict[str, bytes]:
    """Return the files as they could be after a power cut behind the first *end* steps.

    folder: the name of the folder that they are in, whose fsync makes new names last.
    """
    synced: dict[str, int] = {}
    for number, step in enumerate(steps[:end]):
        if step.call in ("fsync", "fdatasync"):
            synced[step.file] = number
    files = {name: bytearray(content) for name, content in start.items()}

    def is_late(number: int, step: Step) -> bool:
        lasts_with = folder if step.call in ("rename", "unlink") else step.file
        return _is_change(step) and number > synced.get(lasts_with, -1)

    late = [number for number, step in enumerate(steps[:end]) if is_late(number, step)]
    kept = {number for number in late if chance.random() < 0.5}
    torn = chance.choice(late) if late and chance.random() < 0.7 else -1
    for number, step in enumerate(steps[:end]):
        if not _is_change(step) or (number in late and number not in kept and number != torn):
            continue
        content = files.setdefault(step.file, bytearray())
        if step.call == "pwrite64":
            data = step.data
            if number == torn:
                data = data[: SECTOR * chance.randrange(len(data) // SECTOR + 1)]
            content.extend(bytes(max(0, step.at + len(data) - len(content))))
            content[step.at : step.at + len(data)] = data
        elif step.call == "ftruncate":
            del content[step.at :]
            content.extend(bytes(step.at - len(content)))
        elif step.call == "rename":
            files[step.to] = files.pop(step.file)
        else:
            del files[step.file]
    return {name: bytes(content) for name, content in files.items()}


def acknowledged(steps: list[Step], end: int) -> list[str]:
    """Return the words that were printed before a moment."""
    return b"".join(step.data for step in steps[:end] if step.file == "out").decode().split()


def _is_change(step: Step) -> bool:
    return step.call in ("pwrite64", "ftruncate", "unlink", "rename") and step.file != "out"


def _unescape(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
