"""Where the master key comes from that seals the tenants' key files: one of five origins, never a second choice.

A master secret is 64 hexadecimal digits (32 bytes), or anything of at least 32 bytes, which is hashed. It should be
random: `openssl rand -hex 32` makes one.
"""

import getpass
import hashlib
import hmac
import os
import re
import secrets
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from ruma.config import Settings
from ruma.errors import InputError, KeyMissingError, KeyStoreError, WrongKeyError
from ruma.tenant.keys.data_key import KEY_BYTES, RECOVER, Key
from ruma.tenant.private_files import LARGEST_FILE, read_private_file, write_new_file

MACHINE_FILE = "machine.key"
PASSPHRASE_FILE = "passphrase.salt"
PASSPHRASE_VARIABLE = "RUMA_PASSPHRASE_FD"
CREDENTIAL = "ruma-master"
COMMAND_LIMIT = 60.0
SHORTEST_PASSPHRASE = 12

_SALT_MAGIC = b"RUMASALT\x01"  # the version also stands for the cost below
_OPERATIONS, _MEMORY = 3, 128 << 20

# A passphrase can be asked for, a descriptor read and a command run once; a server opens tenants all day.
_unlocked: dict[tuple[str, str], Key] = {}


def read_master(
    origin: str, settings: Settings, environ: Mapping[str, str] | None = None, *, may_create: bool = False
) -> Key:
    """Return the master key of one *origin*.

    With *may_create*, what Ruma itself keeps for an origin is made at its first use: the machine's key, and the salt
    of a passphrase. Reading never makes anything.

    Raises:
        KeyMissingError: Ruma's own part of it is gone.
        WrongKeyError: The passphrase is not the one that was used here before.
        KeyStoreError: The origin cannot be used; the message says why.
    """
    environ = os.environ if environ is None else environ
    if origin in {"command", "passphrase"}:
        place = (origin, str(settings.keys_folder) if origin == "passphrase" else settings.key_command)
        if place not in _unlocked:
            _unlocked[place] = _ORIGINS[origin](settings, environ, may_create)
        return _unlocked[place]
    return _ORIGINS[origin](settings, environ, may_create)


def forget_masters() -> None:
    """Drop the master keys that this process remembers, so that the next use asks again."""
    _unlocked.clear()


def find_origin(origin: str, settings: Settings, environ: Mapping[str, str] | None = None) -> tuple[bool, str]:
    """Tell whether an *origin* is set up here, and what with, or what it would take; nothing is run or asked."""
    environ = os.environ if environ is None else environ
    if origin == "credential":
        folder = environ.get("CREDENTIALS_DIRECTORY")
        if folder and (Path(folder) / CREDENTIAL).is_file():
            return True, f"the systemd credential {CREDENTIAL}"
        return (
            False,
            f"no systemd credential {CREDENTIAL} (LoadCredentialEncrypted={CREDENTIAL}:FILE in the unit)",
        )
    if origin == "command":
        if settings.key_command:
            return True, "the command in the setting key_command"
        return False, "no command (RUMA_KEY_COMMAND) that prints the master key"
    if origin == "file":
        if settings.key_file:
            return True, f"the file {settings.key_file}"
        return False, "no file (RUMA_KEY_FILE) with the master key"
    if origin == "passphrase":
        if environ.get(PASSPHRASE_VARIABLE):
            return True, f"a passphrase from file descriptor {environ[PASSPHRASE_VARIABLE]}"
        return _has_terminal(), f"a passphrase, asked for on the terminal or read from {PASSPHRASE_VARIABLE}"
    return True, f"{settings.keys_folder / MACHINE_FILE}, made at first use"


def _from_credential(settings: Settings, environ: Mapping[str, str], may_create: bool) -> Key:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise KeyStoreError(
            "There is no systemd credential: CREDENTIALS_DIRECTORY is not set.",
            hint=f"Run Ruma as a service with LoadCredentialEncrypted={CREDENTIAL}:FILE, {RECOVER}",
        )
    path = Path(folder) / CREDENTIAL
    try:
        with path.open("rb") as file:  # systemd guards the folder, and its owner need not be us
            return _to_master(file.read(LARGEST_FILE + 1), f"The systemd credential {CREDENTIAL}")
    except OSError as exc:
        raise KeyStoreError(f"The systemd credential {path} cannot be read: {exc.strerror}.") from exc


def _from_command(settings: Settings, environ: Mapping[str, str], may_create: bool) -> Key:
    if not settings.key_command:
        raise KeyStoreError(
            "The master key comes from a command, and the setting key_command is empty.",
            hint=f"Set RUMA_KEY_COMMAND to the command that prints the master key, {RECOVER}",
        )
    try:
        words = shlex.split(settings.key_command)
        run = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_LIMIT)
    except (OSError, ValueError, IndexError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise KeyStoreError(f"The key command cannot be run: {reason}.") from exc
    except subprocess.TimeoutExpired:
        raise KeyStoreError(f"The key command did not end within {COMMAND_LIMIT:g} seconds.") from None
    if run.returncode:
        complaint = run.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise KeyStoreError(f"The key command failed with exit code {run.returncode}: {complaint[-1][:200]!r}.")
    return _to_master(run.stdout, "The output of the key command")


def _from_file(settings: Settings, environ: Mapping[str, str], may_create: bool) -> Key:
    if not settings.key_file:
        raise KeyStoreError(
            "The master key comes from a file, and the setting key_file is empty.",
            hint=f"Set RUMA_KEY_FILE to the file that holds the master key, {RECOVER}",
        )
    return read_master_file(Path(settings.key_file).expanduser())


def _from_passphrase(settings: Settings, environ: Mapping[str, str], may_create: bool) -> Key:
    path = settings.keys_folder / PASSPHRASE_FILE
    try:
        record = read_private_file(path)
    except KeyMissingError as exc:
        if not may_create:
            exc.hint = f"Bring it back from a backup, {RECOVER}"
            raise
        return _begin_passphrase(path, _read_passphrase(environ, is_new=True))
    salt, check = record[len(_SALT_MAGIC) : -8], record[-8:]
    if not record.startswith(_SALT_MAGIC) or len(salt) != 16:
        raise KeyStoreError(f"The file {path} is damaged.", hint=f"Bring it back from a backup, {RECOVER}")
    master = stretch(_read_passphrase(environ, is_new=False), salt)
    if not hmac.compare_digest(master_id(master), check):
        raise WrongKeyError("This is not the passphrase that opens the sealed keys.")
    return master


def make_passphrase(passphrase: bytes) -> tuple[Key, bytes]:
    """Return the master key of a new passphrase, and the record that is kept of it: its salt and a check value.

    Raises:
        InputError: It is too short.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise InputError(f"The passphrase is too short: it must have at least {SHORTEST_PASSPHRASE} characters.")
    salt = secrets.token_bytes(16)
    master = stretch(passphrase, salt)
    return master, _SALT_MAGIC + salt + master_id(master)


def ask_new_passphrase() -> bytes:
    """Ask for a new passphrase on the terminal, twice.

    Raises:
        KeyStoreError: There is no terminal.
        InputError: The two are not the same.
    """
    if not _has_terminal():
        raise KeyStoreError(
            "A new passphrase is asked for, and there is no terminal to ask on.",
            hint="Write it into a file with mode 0600, and add --new-key FILE.",
        )
    passphrase = getpass.getpass("New passphrase: ")
    if getpass.getpass("The same passphrase again: ") != passphrase:
        raise InputError("The two passphrases are not the same.")
    return passphrase.encode()


def read_master_file(path: Path) -> Key:
    """Return the master key in a file of ours that nobody else may read.

    Raises:
        KeyMissingError: There is no such file.
        KeyStoreError: Others may read it, or it holds no master key.
    """
    return _to_master(read_private_file(path), f"The key file {path}")


def _begin_passphrase(path: Path, passphrase: bytes) -> Key:
    master, record = make_passphrase(passphrase)
    if not write_new_file(path, record):
        raise KeyStoreError(f"Another process made {path} just now.", hint="Run the same command again.")
    return master


def _from_machine(settings: Settings, environ: Mapping[str, str], may_create: bool) -> Key:
    path = settings.keys_folder / MACHINE_FILE
    if may_create and not os.path.lexists(path):
        write_new_file(path, secrets.token_bytes(KEY_BYTES).hex().encode() + b"\n")
    try:
        return _to_master(read_private_file(path), f"The file {path}")
    except KeyMissingError as exc:
        exc.hint = f"Bring it back from a backup, {RECOVER}"
        raise


_ORIGINS: dict[str, Callable[[Settings, Mapping[str, str], bool], Key]] = {
    "credential": _from_credential,
    "command": _from_command,
    "file": _from_file,
    "passphrase": _from_passphrase,
    "machine": _from_machine,
}


def master_id(master: Key) -> bytes:
    """Return 8 bytes that tell one master key from another and give nothing of it away."""
    return master.derive(b"ruma master id")[:8]


def _to_master(content: bytes, what: str) -> Key:
    text = content.strip()
    hint = "Make a new one with `openssl rand -hex 32`."
    if len(content) > LARGEST_FILE:
        raise KeyStoreError(f"{what} is over {LARGEST_FILE // 1024} KB, which no master key is.", hint=hint)
    if len(content) < KEY_BYTES:
        raise KeyStoreError(f"{what} has {len(content)} bytes, and a master key has at least {KEY_BYTES}.", hint=hint)
    if len(set(text)) < 8:
        raise KeyStoreError(f"{what} is not random: it repeats the same few characters.", hint=hint)
    if re.fullmatch(rb"[0-9A-Fa-f]{33,96}", text):
        if len(text) != 2 * KEY_BYTES:  # a digit was lost on the way, rather than a secret of another kind
            raise KeyStoreError(f"{what} has {len(text)} hexadecimal digits, and a master key has {2 * KEY_BYTES}.")
        return Key(bytes.fromhex(text.decode()))
    digest = hashlib.blake2b(content.rstrip(b"\r\n"), digest_size=KEY_BYTES, person=b"ruma master v1")
    return Key(digest.digest())


def _read_passphrase(environ: Mapping[str, str], *, is_new: bool) -> bytes:
    named = environ.get(PASSPHRASE_VARIABLE)
    if named:
        try:
            with os.fdopen(int(named), "rb") as file:
                content = file.read(LARGEST_FILE)
        except (OSError, ValueError) as exc:
            raise KeyStoreError(f"{PASSPHRASE_VARIABLE}={named!r} is not a file descriptor that can be read.") from exc
        return content.rstrip(b"\r\n")
    if not _has_terminal():
        raise KeyStoreError(
            "The sealed keys need a passphrase, and there is no terminal to ask on.",
            hint=f"Give it on a file descriptor, for example: {PASSPHRASE_VARIABLE}=3 ruma … 3<passphrase.txt",
        )
    passphrase = getpass.getpass("Passphrase of the sealed keys: ")
    if is_new and getpass.getpass("The same passphrase again: ") != passphrase:
        raise InputError("The two passphrases are not the same.")
    return passphrase.encode()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def stretch(passphrase: bytes, salt: bytes) -> Key:
    """Return the key that a passphrase gives with a salt of 16 bytes (Argon2id, 128 MB, a third of a second)."""
    from nacl import pwhash

    return Key(pwhash.argon2id.kdf(KEY_BYTES, passphrase, salt, opslimit=_OPERATIONS, memlimit=_MEMORY))
