"""Reads the files of a database that is in use as they lie on the disk, in a process of its own.

When a process closes any descriptor of a file, it loses all its locks on that file (POSIX, fcntl), also those that
SQLite holds for an open connection: another process could then take the log away under it. So who has a tenant open
never opens its database's files by itself.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ruma.errors import DamagedError

_READ = """
import json, os, sys
job = json.load(sys.stdin)
with open(job["path"], "rb", buffering=0) as file:
    size = job["size"]
    end = os.fstat(file.fileno()).st_size
    for place in job["places"] if job["places"] is not None else range(job["start"], end, size):
        block = os.pread(file.fileno(), size, place)
        sys.stdout.buffer.write(block)
        if len(block) < size:
            break
"""


def read_blocks(path: Path, size: int, *, start: int = 0, places: Sequence[int] | None = None) -> Iterator[bytes]:
    """Yield blocks of a file, of *size* bytes each; the last may be shorter.

    Args:
        path: The file.
        size: Bytes of a block.
        start: Where the first one begins.
        places: Where each begins, in order; without it, one follows the other to the end of the file.

    Raises:
        DamagedError: The file cannot be read.
    """
    job = json.dumps(
        {"path": str(path), "size": size, "start": start, "places": None if places is None else list(places)}
    )
    command = [sys.executable, "-I", "-S", "-c", _READ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdin.write(job.encode())
        child.stdin.close()
        try:
            while block := child.stdout.read(size):
                yield block
            said = child.stderr.read().decode(errors="replace").strip().splitlines()
        finally:
            child.kill()
    if child.returncode:
        raise DamagedError(f"{path} cannot be read: {said[-1] if said else 'its reader was stopped'}.")
