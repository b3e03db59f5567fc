"""What a test needs of the machine: missing, it is skipped with the reason, and in the nightly run it fails."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.image import can_mount

PLAIN_KEYRING = Path(sys.prefix) / "keyrings-alt"
"""Where `tests/run` puts the package `keyrings.alt`."""

_PROBES = {
    "strace": ["strace", "-f", "-qq", "-o", "/dev/null", "true"],
    "userns": ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"],
    "keyrings.alt": ["test", "-d", str(PLAIN_KEYRING)],
}


def needs(*facilities: str) -> pytest.MarkDecorator:
    """Return the mark for a test that needs *facilities*.

    In the nightly run (RUMA_NIGHTLY) nothing is skipped: a run in which everything was skipped looks green too.
    """
    missing = [facility for facility in facilities if not _is_there(facility)]
    return pytest.mark.skipif(
        bool(missing) and "RUMA_NIGHTLY" not in os.environ, reason=f"this machine has no {', '.join(missing)}"
    )


@functools.cache
def _is_there(facility: str) -> bool:
    if facility == "image":
        return can_mount()
    command = _PROBES[facility]
    return bool(shutil.which(command[0])) and not subprocess.run(command, capture_output=True).returncode
