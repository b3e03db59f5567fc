"""Passwords hashed with little work: hundreds of members are made in tests that are not about the work."""

from ruma.tenant.people import passwords

REAL = (passwords._MEMORY_KIB, passwords._ROUNDS)
QUICK = (64, 1)


def hash_with(work: tuple[int, int]) -> None:
    """Have this process hash passwords with so many kibibytes of memory and so many rounds."""
    passwords._MEMORY_KIB, passwords._ROUNDS = work
    passwords._hasher.cache_clear()
    passwords._nobody.cache_clear()
