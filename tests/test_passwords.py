import time

import pytest
from argon2 import PasswordHasher, extract_parameters

from ruma.errors import InputError
from ruma.tenant.people.passwords import check_password, hash_password, needs_rehash, verify_password

GOOD = "harbour violin ticket 83"

pytestmark = pytest.mark.usefixtures("real_passwords")


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short 9!x", "at least 10"),
        ("x" * 129, "at most 128"),
        ("1234567890", "most common"),
        ("Password123!", "guess"),
        ("qwertyuiop1", "guess"),
        ("anna.miller", "guess"),
        ("Marrowby26", "guess"),
        ("abcabcabcabcabc", "guess"),
        ("a" * 100, "guess"),
        ("\uff50assword12", "most common"),
    ],
)
def test_what_can_be_guessed_is_refused(password: str, reason: str) -> None:
    """Too short, too long, stolen from many, or made from the person's name: the message says which, without it."""
    with pytest.raises(InputError) as caught:
        check_password(password, email="anna.miller@marrowby.example", name="Anna Miller")

    assert reason in str(caught.value)
    assert password not in str(caught.value) + caught.value.hint


HARD = ["X7#kq9!zLm2p", "\u043f\u0438\u0440\u043e\u0433-\u0447\u0430\u0439-1", "v7k!Q2" + "harbour violin ticket " * 5]


@pytest.mark.parametrize("password", [GOOD, *HARD])
def test_what_is_hard_to_guess_may_be_chosen(password: str) -> None:
    """Words, signs and letters of any script are fine; none is asked for."""
    check_password(password, email="anna@example.com", name="Anna")


def test_only_the_right_password_is_right() -> None:
    """Two hashes of one password differ, and both know it."""
    first, second = hash_password(GOOD), hash_password(GOOD)

    assert first != second
    assert verify_password(first, GOOD)
    assert verify_password(second, GOOD)
    assert not verify_password(first, GOOD.upper())
    assert not verify_password(first, "")
    assert not verify_password("no hash at all", GOOD)


def test_two_ways_of_typing_a_letter_are_one() -> None:
    """A password with é opens the door whether a keyboard sends one character or two; broken text does not crash."""
    kept = hash_password("caf\u00e9 au lait 12")

    assert verify_password(kept, "cafe\u0301 au lait 12")
    assert not verify_password(kept, "caf\ud800 au lait 12")


def test_the_work_is_enough_for_guessing_and_not_too_much_for_a_small_machine() -> None:
    """At least 19 MiB, two rounds, of Argon2id; an older hash with less is known as such."""
    parameters = extract_parameters(hash_password(GOOD))
    old = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1).hash(GOOD)

    assert parameters.type.name == "ID"
    assert parameters.memory_cost >= 19 * 1024
    assert parameters.time_cost >= 2
    assert needs_rehash(old)
    assert not needs_rehash(hash_password(GOOD))
    assert verify_password(old, GOOD)


def test_an_unknown_person_takes_as_long_as_a_known_one() -> None:
    """Without a kept password the same work is done, and the answer is no."""
    kept = hash_password(GOOD)
    verify_password(None, GOOD)

    def fastest(kept: str | None) -> float:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            verify_password(kept, "another one 12345")
            times.append(time.perf_counter() - started)
        return min(times)

    assert not verify_password(None, GOOD)
    assert not verify_password(None, "nobody")
    assert 0.5 < fastest(None) / fastest(kept) < 2
