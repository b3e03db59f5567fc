"""Keeps the model libraries from the network: what they would report is switched off before they are imported.

`import openvino` alone sends an event to a web analytics service; the model hub's client counts its users too.
"""

import ctypes
import os
import sys

QUIET_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    # Said aloud, so that the tokenizers do not warn on standard error when the program starts another one.
    "TOKENIZERS_PARALLELISM": "true",
}
"""What a process that imports a model library must have in its environment."""

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def silence_libraries() -> None:
    """Make sure that no model library that is imported from now on looks for a network.

    The telemetry package is made impossible to import: openvino and nncf then take the empty stand-in that
    they carry for machines without it. Their own switch is a file in the home directory, which is not ours
    to write.
    """
    os.environ.update(QUIET_ENVIRONMENT)
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


def leave_network() -> bool:
    """Give this process a network of its own, which has no way out; say whether the system let it.

    Must come before the first thread, so before numpy. Not every system allows it, so nothing may depend on it.
    """
    if sys.platform != "linux":
        return False
    # Root needs no user namespace, and would lose in one its leave to read other users' folders.
    flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
    refused: int = ctypes.CDLL(None).unshare(flags)
    return not refused
