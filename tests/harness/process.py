"""Runs `ruma` as a process of its own, as a person does, with an embedder that loads nothing."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUMA = [sys.executable, "-m", "tests.harness.command"]
STORE = [sys.executable, "-m", "tests.harness.storing"]
UPLOAD = [sys.executable, "-m", "tests.harness.uploading"]


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


def ruma(
    *args: object, home: Path, typed: str = "", timeout: float = 60, **more: str
) -> "subprocess.CompletedProcess[str]":
    """Return what one command printed and how it ended."""
    return subprocess.run(
        [*RUMA, *map(str, args)],
        env=environ_of(home, **more),
        input=typed,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def is_running(process: int) -> bool:
    """Tell whether a process is there and has not ended; one that ended may wait for its parent to notice."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
