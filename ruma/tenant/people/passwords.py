"""Passwords: which may be chosen, and how they are kept. The only module that knows Argon2."""

import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from ruma.errors import InputError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST, LONGEST = 10, 128
_ENOUGH_GUESSES = 10**8
_MEMORY_KIB, _ROUNDS = 32 * 1024, 3
"""Above the least that is advised (19 MiB, 2 rounds), and still under a tenth of a second on a small machine."""


def check_password(password: str, *, email: str = "", name: str = "") -> None:
    """Raise InputError unless a person with that address and name may choose the password.

    Known without network: the passwords that most people had stolen from them, and what can be guessed from
    words, names, dates, keyboards and repeats.
    """
    from zxcvbn import zxcvbn

    password = _normal(password)
    hint = "Four words that have nothing to do with each other make a good one."
    if len(password) < SHORTEST:
        raise InputError(f"The password must have at least {SHORTEST} characters.", hint=hint)
    if len(password) > LONGEST:
        raise InputError(f"The password can have at most {LONGEST} characters.")
    local, _, domain = email.lower().partition("@")
    personal = [email.lower(), local, *domain.split("."), *name.lower().split(), "ruma"]
    found = zxcvbn(password[:72], user_inputs=[one for one in personal if len(one) > 2])
    parts = found["sequence"]
    if len(parts) == 1 and parts[0].get("dictionary_name") == "passwords":
        raise InputError("This password is one of the most common ones, which are tried first.", hint=hint)
    if found["guesses"] < _ENOUGH_GUESSES:
        raise InputError("This password is too easy to guess.", hint=hint)


def hash_password(password: str) -> str:
    """Return what may be stored of a password: Argon2id with a salt of its own."""
    return _hasher().hash(_normal(password).encode("utf-8", "replace"))


def verify_password(kept: str | None, password: str) -> bool:
    """Tell whether the password is the one that was kept; None, for an unknown person, takes as long and is False."""
    from argon2.exceptions import InvalidHashError, VerificationError

    normal = _normal(password[: 4 * LONGEST])
    try:
        is_right = _hasher().verify(kept or _nobody(), normal.encode("utf-8", "replace"))
    except (VerificationError, InvalidHashError):
        return False
    return is_right and kept is not None and len(normal) <= LONGEST


def needs_rehash(kept: str) -> bool:
    """Tell whether a password that was kept must be hashed anew, since this version asks for more work."""
    return _hasher().check_needs_rehash(kept)


def _normal(password: str) -> str:
    # A keyboard may write é in one character or in two; both must open the door.
    return unicodedata.normalize("NFKC", password)


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=_ROUNDS, memory_cost=_MEMORY_KIB, parallelism=1)


@cache
def _nobody() -> str:
    return _hasher().hash(b"nobody")
