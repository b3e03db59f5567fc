"""Keyrings that misbehave, each in its own way, and one that does not.

They are real backends of the keyring package, loaded by the helper process that Ruma asks (PYTHON_KEYRING_BACKEND),
and keep what they keep in the file RUMA_TEST_KEYRING, so that one process can see what another one stored.
"""

import json
import os
import sys
import time
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.backends.chainer import ChainerBackend
from keyring.errors import KeyringLocked, PasswordDeleteError, PasswordSetError


class Plain(KeyringBackend):
    """Keeps everything, in a file."""

    priority = 1.0  # type: ignore[assignment]

    def get_password(self, service: str, username: str) -> str | None:
        """Return the first item of that name."""
        values = self._load().get(f"{service}/{username}", [])
        return values[0] if values else None

    def set_password(self, service: str, username: str, password: str) -> None:
        """Put the item in the place of those that are there; cut, where a test says so."""
        most = int(os.environ.get("RUMA_TEST_KEYRING_CUTS", len(password)))
        self._save(self._load() | {f"{service}/{username}": [password[:most]]})

    def delete_password(self, service: str, username: str) -> None:
        """Remove the first item of that name."""
        items = self._load()
        if not items.get(f"{service}/{username}"):
            raise PasswordDeleteError("not found")
        items[f"{service}/{username}"].pop(0)
        self._save(items)

    def _load(self) -> dict[str, list[str]]:
        file = Path(os.environ["RUMA_TEST_KEYRING"])
        items: dict[str, list[str]] = json.loads(file.read_text()) if file.exists() else {}
        return items

    def _save(self, items: dict[str, list[str]]) -> None:
        Path(os.environ["RUMA_TEST_KEYRING"]).write_text(json.dumps(items))


class Other(Plain):
    """Another class that keeps everything in the same file, as after a change of desktop."""


class Null(Plain):
    """Says yes and keeps nothing, like keyring.backends.null."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Do nothing."""


class Forgetful(Plain):
    """Keeps items as long as its process lives."""

    _memory: dict[str, list[str]] = {}  # noqa: RUF012 - the whole point: it is shared within the process

    def _load(self) -> dict[str, list[str]]:
        return self._memory

    def _save(self, items: dict[str, list[str]]) -> None:
        type(self)._memory = items


class Truncating(Plain):
    """Keeps the first eight characters."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep too little."""
        super().set_password(service, username, password[:8])


class Newline(Plain):
    """Gives back more than it was given."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep too much."""
        super().set_password(service, username, password + "\n")


class Duplicating(Plain):
    """Keeps every item twice, and deletes one of them at a time."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep it twice."""
        self._save(self._load() | {f"{service}/{username}": [password, password]})


class Sticky(Plain):
    """Says that an item is deleted, and keeps it."""

    def delete_password(self, service: str, username: str) -> None:
        """Do nothing."""


class Denying(Plain):
    """Refuses every change."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Refuse."""
        raise PasswordSetError("not allowed here")

    def delete_password(self, service: str, username: str) -> None:
        """Refuse."""
        raise PasswordDeleteError("not allowed here")


class Locked(Plain):
    """Is locked, and says so."""

    def get_password(self, service: str, username: str) -> str | None:
        """Refuse."""
        raise KeyringLocked("Failed to unlock the collection!")


class Hang(Plain):
    """Waits for a prompt that nobody sees, in a child process of its own too."""

    def get_password(self, service: str, username: str) -> str | None:
        """Wait longer than any test."""
        child = os.fork()
        if child:
            Path(os.environ["RUMA_TEST_KEYRING"] + ".waiting").write_text(f"{os.getpid()} {child}")
        time.sleep(3600)
        return None


class Talkative(Plain):
    """Breaks, and repeats the secret in its last words."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Break."""
        raise RuntimeError(f"cannot store {password} for {username}")


class Observed(Plain):
    """Keeps everything, and writes down what others could see of its process."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep it, and look at our own command line and environment."""
        super().set_password(service, username, password)
        seen = [sys.orig_argv, sorted(os.environ.items())]
        Path(os.environ["RUMA_TEST_KEYRING"] + ".seen").write_text(json.dumps(seen))


class Chained(ChainerBackend):
    """A chain whose first member keeps nothing and whose second keeps everything."""

    priority = 1.0  # type: ignore[assignment]
    backends = [Null(), Plain()]  # type: ignore[assignment]  # noqa: RUF012
