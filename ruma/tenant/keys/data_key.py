"""One tenant's data key, and what a store of such keys must do."""

import ctypes
import hashlib
import hmac
import secrets
import sys
from abc import ABC, abstractmethod
from typing import NoReturn, final

from ruma.errors import InputError

KEY_BYTES = 32

RECOVER = "or give the recovery key: `ruma tenant recover NAME`."
"""The last of the ways out that an error about a lost key names."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
_MEANING = {character: value for value, character in enumerate(_ALPHABET)} | {"I": 1, "L": 1, "O": 0}
_SEPARATORS = frozenset(" \t\r\n-_.‐‑‒–—\u00a0")  # noqa: RUF001 - what word processors make of a hyphen
_CHECK_BITS = 19  # 256 + 19 bits are exactly eleven groups of five characters
_CHARACTERS = (KEY_BYTES * 8 + _CHECK_BITS) // 5


@final
class Key:
    """A 256-bit secret that does not show itself.

    It has no text form but the recovery text, cannot be pickled or hashed, and compares in constant time, so it
    reaches neither a log, a traceback with local variables, nor another process by accident.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(raw)}")
        self._raw = bytes(raw)

    @classmethod
    def random(cls) -> "Key":
        """Return a new key from the system's random source."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def raw(self) -> bytes:
        """The 32 bytes."""
        return self._raw

    def check(self, tenant_id: str) -> str:
        """Return the value that the tenant's manifest records, which tells a wrong key before a file is touched.

        It does not help to find the key, and one key gives different values for different tenants.
        """
        return hmac.new(self._raw, b"ruma key check v1\0" + tenant_id.encode(), "sha256").hexdigest()[:16]

    def derive(self, purpose: bytes, data: bytes = b"") -> bytes:
        """Return 32 bytes for one *purpose* (at most 16 bytes) and one piece of *data*.

        A use never works with the key itself, so no two uses can be played off against each other.
        """
        return hashlib.blake2b(data, digest_size=KEY_BYTES, key=self._raw, person=purpose).digest()

    def recovery_text(self) -> str:
        """Return the key for a person to write down: eleven groups of five characters, with a checksum."""
        number = int.from_bytes(self._raw, "big") << _CHECK_BITS | self._checksum()
        text = "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_CHARACTERS)))
        return "-".join(text[at : at + 5] for at in range(0, _CHARACTERS, 5))

    @classmethod
    def from_recovery_text(cls, text: str) -> "Key":
        """Return the key that was written down.

        Case, spaces and hyphens do not matter, O is read as 0, and I and L as 1.

        Raises:
            InputError: The text is not a recovery key, or has a slip in it. The message never repeats it.
        """
        written = [character for character in text.upper() if character not in _SEPARATORS]
        hint = f"It has {_CHARACTERS // 5} groups of 5 letters and digits; compare them with what was shown."
        if len(written) != _CHARACTERS:
            raise InputError(
                f"The recovery key has {len(written)} characters, and it must have {_CHARACTERS}.", hint=hint
            )
        number = 0
        for place, character in enumerate(written):
            if character not in _MEANING:
                raise InputError(
                    f"Group {place // 5 + 1} of the recovery key has a character that no recovery key has.",
                    hint=hint,
                )
            number = number << 5 | _MEANING[character]
        key = cls((number >> _CHECK_BITS).to_bytes(KEY_BYTES, "big"))
        if key._checksum() != number & (1 << _CHECK_BITS) - 1:
            raise InputError("The recovery key has a slip in it: its checksum does not fit.", hint=hint)
        return key

    def _checksum(self) -> int:
        digest = hashlib.blake2b(self._raw, digest_size=8, person=b"ruma recovery v1").digest()
        return int.from_bytes(digest, "big") >> 64 - _CHECK_BITS

    def __repr__(self) -> str:
        return "Key(***)"

    def __eq__(self, other: object) -> bool:
        return hmac.compare_digest(self._raw, other._raw) if isinstance(other, Key) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a hash of the key would end up in dictionaries and their dumps

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key cannot be pickled or copied")


class KeyStore(ABC):
    """A place where tenants' data keys are kept, apart from the tenants' directories."""

    label: str
    """What a tenant's manifest records of the place, and `key_store_of` finds it by."""

    destruction_note: str = ""
    """What the receipt of a deletion must say about copies that `destroy` does not reach."""

    @abstractmethod
    def keep(self, tenant_id: str, key: Key) -> None:
        """Store the key, read it back as a later process would, and compare, before anything is encrypted with it.

        Raises:
            KeyStoreError: There is a key of that tenant already, or the place did not keep this one.
        """

    @abstractmethod
    def read(self, tenant_id: str) -> Key:
        """Return the tenant's key.

        Raises:
            KeyMissingError: The place can be used, and holds no key of that tenant.
            WrongKeyError: What it holds is not that tenant's key.
            KeyStoreError: The place cannot be used, or is another one than `label` says.
        """

    @abstractmethod
    def destroy(self, tenant_id: str) -> bool:
        """Destroy the tenant's key and verify that it is gone; tell whether there was one.

        Raises:
            KeyStoreError: It is still there.
        """

    def replace(self, tenant_id: str, key: Key) -> None:
        """Keep a key that the operator gave back, in the place of one that is lost or does not fit.

        The caller has compared *key* with the manifest's check value: only then is what lies here worthless.
        """
        self.destroy(tenant_id)
        self.keep(tenant_id, key)


def harden_process() -> None:
    """Keep this process's memory out of core dumps and away from other processes of the same user.

    Called once by every process that will hold a key, before it reads one. Where a system lacks one of the two
    means, the other still holds.
    """
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        set_dumpable = 4
        ctypes.CDLL(None).prctl(set_dumpable, 0, 0, 0, 0)
