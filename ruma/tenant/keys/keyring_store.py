"""The system's keyring as a key store: believed only after a write, a read-back in a new process, and a compare.

A keyring can pretend: the null backend takes a key and forgets it, others keep it as plain text in a file. And it
can hang, on a prompt that nobody sees. So the class that was really found is checked against a list, every call runs
in a process of its own with a time limit, and what was written is read by another process before it is used.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruma.errors import KeyMissingError, KeyStoreError, WrongKeyError
from ruma.tenant.keys.data_key import RECOVER, Key, KeyStore

LABEL_START = "keyring: "
LIMIT = 10.0

ALLOWED: Sequence[str] = (
    "keyring.backends.SecretService.Keyring",
    "keyring.backends.libsecret.Keyring",
    "keyring.backends.kwallet.DBusKeyring",
    "keyring.backends.macOS.Keyring",
    "keyring.backends.Windows.WinVaultKeyring",
)
_NONE = "keyring.backends.fail.Keyring"  # what the keyring package finds where there is no keyring

_OTHERS = "choose another source for new tenants: --key-source credential, command, file, passphrase or machine."


def find_keyring(*, allowed: Sequence[str] | None = None, limit: float = LIMIT) -> str | None:
    """Return the class of this machine's keyring, or None where there is no keyring at all.

    Raises:
        KeyStoreError: There is one that does not keep keys safely, or it does not answer.
    """
    reply = _ask("find", "", allowed=allowed, limit=limit)
    if "backend" in reply:
        return str(reply["backend"])
    unfit = [name for name in reply["found"] if name != _NONE]
    if unfit:
        raise _refusal(unfit, allowed)
    return None


class SystemKeyring(KeyStore):
    """Tenants' keys as items of the service "ruma" in the system's keyring.

    Args:
        backend: The class that holds the keys; any other one that this machine has now is an error.
        allowed: The classes that are known to keep a key; tests add theirs.
        limit: The seconds that each call on the keyring may take.
    """

    def __init__(self, backend: str, *, allowed: Sequence[str] | None = None, limit: float = LIMIT) -> None:
        self.backend = backend
        self.label = LABEL_START + backend
        self.destruction_note = "Backups of the keyring's own file are not reached."
        self._allowed = allowed
        self._limit = limit

    def keep(self, tenant_id: str, key: Key) -> None:
        """See `KeyStore.keep`."""
        if self._call("get", tenant_id) is not None:
            raise KeyStoreError(
                f"The keyring already has an item {tenant_id!r} of the service 'ruma'; it was left alone."
            )
        text = key.raw.hex()
        self._call("set", tenant_id, text)
        back = self._call("get", tenant_id)
        if back is None or _to_key(back) != key:
            with suppress(KeyStoreError):  # what it keeps instead is of no use to anyone
                self.destroy(tenant_id)
            raise KeyStoreError(
                f"The keyring {self.backend} did not keep the key it was given; nothing has been encrypted with it.",
                hint=f"Mend the keyring, or {_OTHERS}",
            )

    def read(self, tenant_id: str) -> Key:
        """See `KeyStore.read`."""
        text = self._call("get", tenant_id)
        if text is None:
            raise KeyMissingError(
                f"The keyring {self.backend} has no item {tenant_id!r} of the service 'ruma'.",
                hint=f"Bring the keyring's item back from a backup, {RECOVER}",
            )
        key = _to_key(text)
        if key is None:
            raise WrongKeyError(
                f"The item {tenant_id!r} in the keyring {self.backend} is not a key that Ruma wrote.",
                hint=f"Bring the keyring's item back from a backup, {RECOVER}",
            )
        return key

    def destroy(self, tenant_id: str) -> bool:
        """See `KeyStore.destroy`."""
        is_found = self._call("get", tenant_id) is not None
        # Also where none was found: the deleting process looks for itself.
        if self._call("delete", tenant_id) is not None or self._call("get", tenant_id) is not None:
            raise KeyStoreError(
                f"The keyring {self.backend} still has the item {tenant_id!r} of the service 'ruma'.",
                hint="Remove it with the keyring's own program, then run the same command again.",
            )
        return is_found

    def _call(self, verb: str, item: str, value: str | None = None) -> str | None:
        reply = _ask(verb, item, value, wanted=self.backend, allowed=self._allowed, limit=self._limit)
        if "backend" not in reply:
            found = ", ".join(name for name in reply["found"] if name != _NONE) or "no keyring"
            raise KeyStoreError(
                f"The key is kept in the keyring {self.backend}, and this machine now has {found}.",
                hint=f"Bring that keyring back, or its message bus; {RECOVER} Or {_OTHERS}",
            )
        if "error" in reply:
            raise KeyStoreError(
                f"The keyring {self.backend} refused: {reply['error']}.",
                hint=f"Unlock the keyring, or {_OTHERS}",
            )
        text: str | None = reply["value"]
        return text


def _ask(
    verb: str,
    item: str,
    value: str | None = None,
    *,
    wanted: str | None = None,
    allowed: Sequence[str] | None,
    limit: float,
) -> dict[str, Any]:
    allowed = ALLOWED if allowed is None else allowed
    request = json.dumps([verb, wanted, list(allowed), item, value])
    root = str(Path(__file__).parents[3])  # the helper must find this same Ruma, installed or not
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "ruma.tenant.keys.keyring_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,  # so that it can be ended with whatever it started, and never asks on our terminal
    )
    with process:
        try:
            output, complaint = process.communicate(request, timeout=limit)
        except subprocess.TimeoutExpired:
            _end(process)
            raise KeyStoreError(
                f"The keyring did not answer within {limit:g} seconds: it is locked or waits for someone.",
                hint=f"Unlock it, or {_OTHERS}",
            ) from None
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        last = (complaint.strip().splitlines() or ["it ended without a word"])[-1]
        # What a backend says when it breaks may repeat what it was given.
        raise KeyStoreError(
            f"The keyring cannot be used: {last.replace(value, '***') if value else last}.",
            hint=f"Start or mend it, or {_OTHERS}",
        )
    reply: dict[str, Any] = json.loads(output)
    return reply


def _end(process: "subprocess.Popen[str]") -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _to_key(text: str) -> Key | None:
    try:
        return Key(bytes.fromhex(text)) if len(text) == 64 else None
    except ValueError:
        return None


def _refusal(found: Sequence[str], allowed: Sequence[str] | None) -> KeyStoreError:
    return KeyStoreError(
        f"The keyring of this machine is {', '.join(found)}, which is not known to keep a key safely.",
        hint=f"Ruma accepts {', '.join(ALLOWED if allowed is None else allowed)}. Install one of them, or {_OTHERS}",
    )
