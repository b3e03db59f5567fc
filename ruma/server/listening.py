"""Takes the port that the server answers on, and tells whether one is running. It loads next to nothing."""

import errno
import fcntl
import socket
from pathlib import Path

from ruma.config import Settings
from ruma.errors import InputError
from ruma.server.addresses import public_address

STRETCH_SECONDS = 30
"""The time in which something of a body must arrive, or of a response be taken."""

LOCK_FILE = "server.lock"


def find_running(home: Path) -> str:
    """Return the address of the server that uses a home; empty where none runs."""
    try:
        with (home / LOCK_FILE).open(encoding="utf-8", errors="replace") as file:
            said = file.read(200)
            if said:  # a server that begins just now is not disturbed by a lock of ours
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return said.partition(", process ")[0]
    except OSError:
        pass
    return ""


def open_listening(settings: Settings) -> socket.socket:
    """Return the socket that the settings name.

    Raises:
        InputError: The address would be reached by others without TLS, is not one of this machine's own, or is in
            use.
    """
    public_address(settings, settings.port)
    return open_socket(settings.host, settings.port)


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address of this machine.

    Raises:
        InputError: The port is in use, or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio would not know that it may switch Nagle's delay off: 40 ms for every response.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Every connection inherits it: a peer that is gone, or takes nothing, is given up by the system as well.
            milliseconds = STRETCH_SECONDS * 1000
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as exc:
        listening.close()
        reason = {
            errno.EADDRINUSE: "is in use by another program",
            errno.EACCES: "may be used only by the system's superuser",
        }.get(exc.errno or 0, f"cannot be used: {exc.strerror}")
        hint = f"Choose another one: ruma serve --port {port + 1 if 1024 <= port < 65535 else 8420}"
        raise InputError(f"The port {port} on {host} {reason}.", hint=hint) from exc
    return listening
