import time

import pyotp
import pytest

from ruma.errors import ConflictError, InputError, NotReadyError
from ruma.tenant.people.members import Member, create_member, find_member
from ruma.tenant.people.second_factor import (
    check_code,
    count_recovery_codes,
    disable_second_factor,
    enable_second_factor,
    factor_address,
    new_factor_secret,
    replace_recovery_codes,
)
from ruma.tenant.tenant import Tenant


@pytest.fixture
def member(tenant: Tenant) -> Member:
    """Return a member of the tenant."""
    password = "harbour violin ticket 83"
    return create_member(tenant, email="anna@example.com", name="Anna", role="owner", password=password)


def code_of(secret: str, steps: int = 0) -> str:
    """Return what an app shows, so many steps from now."""
    return pyotp.TOTP(secret).at(time.time() + 30 * steps)


def enable(tenant: Tenant, member: Member) -> tuple[str, list[str]]:
    """Switch the second factor on with the code of a step ago, and return the secret and the recovery codes."""
    secret = new_factor_secret()
    return secret, enable_second_factor(tenant, member.id, secret, code_of(secret, -1))


def test_a_code_switches_it_on(tenant: Tenant, member: Member) -> None:
    """Only with a code that the app showed; ten recovery codes come with it, of 80 bits each, none stored as it is."""
    secret = new_factor_secret()
    wrong = str((int(code_of(secret)) + 1) % 1_000_000).zfill(6)

    with pytest.raises(InputError):
        enable_second_factor(tenant, member.id, secret, wrong)
    assert not find_member(tenant, member.id).has_second_factor
    codes = enable_second_factor(tenant, member.id, secret, code_of(secret))

    assert find_member(tenant, member.id).has_second_factor
    assert len(set(codes)) == 10
    assert all(len(code.replace("-", "")) == 16 for code in codes)
    with tenant.reading() as db:
        kept = [row[0] for row in db.execute("select code_hash from recovery_code").fetchall()]
    assert not {code.encode() for code in codes} & set(kept)


def test_an_app_reads_whose_it_is(tenant: Tenant, member: Member) -> None:
    """The address in the picture names the tenant and the member."""
    secret = new_factor_secret()

    found = pyotp.parse_uri(factor_address(tenant, member.id, secret))

    assert (found.secret, found.name, found.issuer) == (secret, "anna@example.com", "Ruma acme")


@pytest.mark.parametrize("steps", [-2, 2, 10])
def test_a_code_of_another_time_is_refused(tenant: Tenant, member: Member, steps: int) -> None:
    """More than one step off is too late, or too early."""
    secret, _ = enable(tenant, member)

    assert not check_code(tenant, member.id, code_of(secret, steps))


def test_a_code_works_once(tenant: Tenant, member: Member) -> None:
    """The newest code lets in; it and all before it do not any more, nor does the one that switched it on."""
    secret, _ = enable(tenant, member)

    assert not check_code(tenant, member.id, code_of(secret, -1))
    assert check_code(tenant, member.id, f" {code_of(secret)[:3]} {code_of(secret)[3:]} ")
    assert not check_code(tenant, member.id, code_of(secret))
    assert check_code(tenant, member.id, code_of(secret, 1))
    assert not check_code(tenant, member.id, code_of(secret))


@pytest.mark.parametrize(
    "code", ["", "abc", "000000000000", "\u0661\u0662\u0663\u0664\u0665\u0666", "\ud800", "x" * 9999]
)
def test_what_is_no_code_is_refused(tenant: Tenant, member: Member, code: str) -> None:
    """Whatever is sent in its place."""
    enable(tenant, member)

    assert not check_code(tenant, member.id, code)


def test_a_recovery_code_works_once(tenant: Tenant, member: Member) -> None:
    """As a person writes it down, in capitals, with blanks; the others go on."""
    _, codes = enable(tenant, member)

    assert check_code(tenant, member.id, " " + codes[0].upper().replace("-", " ").replace("0", "O"))
    assert not check_code(tenant, member.id, codes[0])
    assert check_code(tenant, member.id, codes[1])
    assert count_recovery_codes(tenant, member.id) == 8


def test_new_recovery_codes_void_the_old(tenant: Tenant, member: Member) -> None:
    """And there are none without a second factor."""
    with pytest.raises(NotReadyError):
        replace_recovery_codes(tenant, member.id)
    _, old = enable(tenant, member)
    new = replace_recovery_codes(tenant, member.id)

    assert not check_code(tenant, member.id, old[0])
    assert check_code(tenant, member.id, new[0])


def test_it_is_switched_on_once_and_off_whole(tenant: Tenant, member: Member) -> None:
    """A second one needs the first switched off, and then no code of it works."""
    secret, codes = enable(tenant, member)

    with pytest.raises(ConflictError):
        enable(tenant, member)
    disable_second_factor(tenant, member.id)

    assert not find_member(tenant, member.id).has_second_factor
    assert not check_code(tenant, member.id, code_of(secret))
    assert not check_code(tenant, member.id, codes[0])
    assert count_recovery_codes(tenant, member.id) == 0
    enable(tenant, member)


def test_a_secret_that_is_none_is_refused(tenant: Tenant, member: Member) -> None:
    """A short secret that a page was made to send could be guessed."""
    with pytest.raises(InputError):
        enable_second_factor(tenant, member.id, "A" * 24, code_of("A" * 24))


def test_a_code_of_another_member_is_refused(tenant: Tenant, member: Member) -> None:
    """Neither the app's nor the list's."""
    password = "harbour violin ticket 83"
    other = create_member(tenant, email="bob@example.com", name="Bob", role="viewer", password=password)
    secret, codes = enable(tenant, member)
    enable(tenant, other)

    assert not check_code(tenant, other.id, code_of(secret))
    assert not check_code(tenant, other.id, codes[0])
