"""A disk of a chosen size, in a mount namespace of its own: no root, nothing to clean up."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

_SCRIPT = 'folder=$1 size=$2; shift 2; mount -t tmpfs -o "size=$size,mode=700" ruma-test "$folder" && exec "$@"'


def on_small_disk(
    command: Sequence[str], folder: Path, size: str, *, env: dict[str, str], timeout: float = 120
) -> "subprocess.CompletedProcess[str]":
    """Run a command with an empty disk of *size* (as tmpfs takes it: `8m`) at *folder*; it is gone afterwards.

    What happens in several steps, or must be looked at, goes into one command, for example `sh -c`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", _SCRIPT, "sh", str(folder), size, *command],
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
