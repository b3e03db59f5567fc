"""Runs `ruma` as a process of its own, as a person does, with an embedder that loads nothing."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.harness.forking import COMMAND, STORING, UPLOADING, Run, run_forked

ROOT = Path(__file__).parents[2]
RUMA, STORE, UPLOAD = ([sys.executable, "-m", name] for name in (COMMAND, STORING, UPLOADING))


def environ_of(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a command: a home, keys in sealed files, and nothing of this machine's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RUMA_", "DBUS_", "CREDENTIALS"))}
    return kept | {
        "RUMA_HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "RUMA_KEY_SOURCE": "machine",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "NO_COLOR": "1",
        **more,
    }


def ruma(*args: object, home: Path, typed: str = "", timeout: float = 60, **more: object) -> Run:
    """Return what one command printed and how it ended."""
    environ, words = environ_of(home, **{name: str(value) for name, value in more.items()}), [*map(str, args)]
    if more.keys() & {"PYTHONPATH", "LD_PRELOAD"}:  # what changes how Python starts
        return subprocess.run(
            [*RUMA, *words], env=environ, input=typed, capture_output=True, text=True, timeout=timeout
        )
    return run_forked([COMMAND, *words], env=environ, typed=typed, timeout=timeout)


def store(home: Path, *steps: str) -> Run:
    """Take steps of `tests.harness.storing` in the tenant acme, in a process of their own."""
    return run_forked([STORING, "acme", *steps], env=environ_of(home))


def is_running(process: int) -> bool:
    """Tell whether a process is there and has not ended; one that ended may wait for its parent to notice."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def unnamed_files(process: int | str) -> set[str]:
    """Return the files on a disk that a process has open and that have no name; none once it has ended."""
    found = set()
    with suppress(OSError):
        for descriptor in os.listdir(f"/proc/{process}/fd"):
            with suppress(OSError):
                target = os.readlink(f"/proc/{process}/fd/{descriptor}")
                if target.endswith("(deleted)") and not target.startswith("/memfd:"):
                    found.add(target)
    return found
