"""Plays back what a process wrote to a database, up to a power cut: what was not synced is there in part, or torn.

A kill leaves the page cache, so it proves nothing about power. Here the writes are recorded with strace; then the
files are built anew as a disk could hold them: with every write before the last fsync of a file, any of the later
ones, and of one of those only the first sectors.
"""

import random
import re
from dataclasses import dataclass
from pathlib import Path

TRACED = "pwrite64,write,fsync,fdatasync,ftruncate,unlink"
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


def read_trace(trace: Path, names: set[str]) -> list[Step]:
    """Return the calls on files of these names, and what was written to standard output (as the file "out").

    strace must have been called with `-y -xx -s` and a number that no write exceeds.
    """
    steps = []
    text = trace.read_text()
    assert "resumed" not in text, "calls of several threads are mixed: their order would be a guess"
    for call, arguments, result in _CALL.findall(text):
        found = _FILE.match(arguments)
        path = _unescape(found[1]).decode() if found else _unescape(arguments.split('"')[1]).decode()
        name = "out" if arguments.startswith("1<") else Path(path).name
        if int(result) < 0 or (name != "out" and name not in names):
            continue
        data = _unescape(arguments.split('"')[1]) if call in ("write", "pwrite64") else b""
        at = int(arguments.rpartition(", ")[2]) if call in ("pwrite64", "ftruncate") else 0
        assert len(data) == int(result) or call not in ("write", "pwrite64"), "strace cut a write short: raise -s"
        steps.append(Step(call, name, data, at))
    return steps


def cut(steps: list[Step], start: dict[str, bytes], end: int, chance: random.Random) -> dict[str, bytes]:
    """Return the files as they could be after a power cut behind the first *end* steps."""
    synced = {name: -1 for name in start}
    for number, step in enumerate(steps[:end]):
        if step.call in ("fsync", "fdatasync"):
            synced[step.file] = number
    files = {name: bytearray(content) for name, content in start.items()}
    late = [number for number, step in enumerate(steps[:end]) if _is_change(step) and number > synced[step.file]]
    kept = {number for number in late if chance.random() < 0.5}
    torn = chance.choice(late) if late and chance.random() < 0.7 else -1
    for number, step in enumerate(steps[:end]):
        if not _is_change(step) or (number in late and number not in kept and number != torn):
            continue
        content = files[step.file]
        if step.call == "pwrite64":
            data = step.data
            if number == torn:
                data = data[: SECTOR * chance.randrange(len(data) // SECTOR + 1)]
            content.extend(bytes(max(0, step.at + len(data) - len(content))))
            content[step.at : step.at + len(data)] = data
        elif step.call == "ftruncate":
            del content[step.at :]
            content.extend(bytes(step.at - len(content)))
        else:
            content.clear()
    return {name: bytes(content) for name, content in files.items()}


def acknowledged(steps: list[Step], end: int) -> list[str]:
    """Return the words that were printed before a moment."""
    return b"".join(step.data for step in steps[:end] if step.file == "out").decode().split()


def _is_change(step: Step) -> bool:
    return step.call in ("pwrite64", "ftruncate", "unlink") and step.file != "out"


def _unescape(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
