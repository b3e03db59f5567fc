"""A new master key for the sealed key files, so that it can be interrupted at any moment.

While it lasts a bridge lies beside the sealed files: the new master key sealed by the old one, and the old one sealed
by the new. Whichever of the two the origin gives, every file opens. Only when no file is left that the old one sealed,
and the origin gives the new one, is the bridge destroyed: then the old master key opens nothing any more.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ruma.config import Settings
from ruma.errors import ConflictError, InputError, KeyStoreError
from ruma.tenant.keys.data_key import KEY_BYTES, Key
from ruma.tenant.keys.master_keys import (
    MACHINE_FILE,
    PASSPHRASE_FILE,
    ask_new_passphrase,
    forget_masters,
    make_passphrase,
    master_id,
    read_master,
    read_master_file,
)
from ruma.tenant.keys.sealed_keys import (
    find_bridges,
    is_overwritten,
    master_of_bridge,
    reseal_all,
    seal_bridge,
)
from ruma.tenant.private_files import destroy_file, read_private_file, replace_file, write_new_file


@dataclass(frozen=True)
class MasterRotation:
    """How far the rotation of a master key came."""

    origin: str
    resealed: int
    """How many key files were sealed anew."""

    is_finished: bool
    """Whether the old master key opens nothing any more. If not, the origin must first give the new one."""


def rotate_master(
    settings: Settings, origin: str, *, new_key_file: Path | None = None, environ: Mapping[str, str] | None = None
) -> MasterRotation:
    """Seal every key file of an origin's master key anew, with a new one; one that was interrupted is continued.

    The machine's key and a passphrase are exchanged here. Another origin's new master key is read from *new_key_file*,
    and whoever looks after the origin puts it there; until then the old one opens everything, through the bridge.

    Raises:
        InputError: A new master key was not given, or is the old one.
        KeyStoreError: The origin cannot be used.
    """
    now_given = read_master(origin, settings, environ)
    _remove_crossed(settings, now_given)
    bridge = _bridge_of(settings, now_given)
    if bridge is None:
        new, record = _new_master(origin, new_key_file)
        if master_id(new) == master_id(now_given):
            raise InputError("The new master key is the old one.", hint="Make another one: openssl rand -hex 32")
        bridge = settings.keys_folder / f"{master_id(now_given).hex()}-{master_id(new).hex()}.bridge"
        if not write_new_file(bridge, seal_bridge(now_given, new, record)):
            raise ConflictError("Another command rotates the master key at this moment.", hint="Run it again.")
    old, new, record = master_of_bridge(bridge, now_given)
    count = reseal_all(settings.keys_folder, old, new)
    if record:
        replace_file(settings.keys_folder / (MACHINE_FILE if origin == "machine" else PASSPHRASE_FILE), record)
        forget_masters()
    is_finished = origin == "machine" and finish_master_rotation(settings, origin, environ)
    return MasterRotation(origin, count, is_finished)


def finish_master_rotation(settings: Settings, origin: str, environ: Mapping[str, str] | None = None) -> bool:
    """Destroy the bridge once the origin gives the new master key; tell whether the old one opens nothing any more.

    A server that still remembers the old one must be restarted first.
    """
    given = read_master(origin, settings, environ)
    _remove_crossed(settings, given)
    bridge = _bridge_of(settings, given)
    if bridge is None:
        return True
    old, new, _ = master_of_bridge(bridge, given)
    if master_id(new) != master_id(given):
        return False
    reseal_all(settings.keys_folder, old, new)
    destroy_file(bridge)
    return True


def _bridge_of(settings: Settings, master: Key) -> Path | None:
    """Return the bridge of a rotation of this master key that was begun and is to be finished."""
    found = [one for one in find_bridges(settings.keys_folder, master_id(master)) if not _is_crossed(one, master)]
    if len(found) > 1:
        raise KeyStoreError(
            f"There are several unfinished rotations of this master key: {', '.join(one.name for one in found)}.",
            hint="Finish the first: ruma keys rotate-master --finish",
        )
    return found[0] if found else None


def _remove_crossed(settings: Settings, master: Key) -> None:
    """Remove what a rotation left that was killed while it destroyed its bridge, with the new master key in force.

    It is done but for the name of the file, which would stop every later rotation.
    """
    for bridge in find_bridges(settings.keys_folder, master_id(master)):
        if _is_crossed(bridge, master):
            destroy_file(bridge)


def _is_crossed(bridge: Path, master: Key) -> bool:
    return bridge.stem.endswith(master_id(master).hex()) and is_overwritten(bridge)


def _new_master(origin: str, new_key_file: Path | None) -> tuple[Key, bytes]:
    """Return a new master key, and what must be written for the origin to give it."""
    if origin == "machine":
        text = secrets.token_bytes(KEY_BYTES).hex().encode() + b"\n"
        return Key(bytes.fromhex(text.decode())), text
    if origin == "passphrase":
        given = read_private_file(new_key_file).rstrip(b"\r\n") if new_key_file else ask_new_passphrase()
        return make_passphrase(given)
    if new_key_file is None:
        raise InputError(
            f"The new master key of the origin {origin} must be given.",
            hint="Make it with `openssl rand -hex 32`, in a file with mode 0600, and add --new-key FILE.",
        )
    return read_master_file(new_key_file), b""
