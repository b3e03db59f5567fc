import hashlib
import threading

import pytest

from ruma.errors import ConflictError, InputError, NotFoundError
from ruma.tenant.people.joining import (
    accept_invitation,
    invite,
    make_reset_link,
    make_setup_link,
    reset_password,
    set_up_owner,
)
from ruma.tenant.people.links import (
    LIFE_SECONDS,
    Purpose,
    list_invitations,
    make_link,
    peek_link,
    use_link,
    withdraw_invitation,
)
from ruma.tenant.people.members import change_member, check_sign_in, create_member, find_member, list_members
from ruma.tenant.people.sessions import begin_session, find_session
from ruma.tenant.tenant import Tenant

PASSWORD, OTHER = "harbour violin ticket 83", "lantern gravel opera 51"


def add_owner(tenant: Tenant, name: str = "Anna") -> int:
    """Add an owner and return the number."""
    email = f"{name.lower()}@example.com"
    return create_member(tenant, email=email, name=name, role="owner", password=PASSWORD).id


def shift(tenant: Tenant, seconds: float) -> None:
    """Move every link's times."""
    with tenant.writing() as db:
        db.execute("update link set started_at = started_at + ?, ends_at = ends_at + ?", [seconds, seconds])


def test_a_link_works_once(tenant: Tenant) -> None:
    """Looking leaves it usable, using does not; only its hash is stored."""
    secret = make_link(tenant, "setup")
    with tenant.reading() as db:
        row = db.execute("select * from link").fetchone()

    assert peek_link(tenant, "setup", secret).purpose == "setup"
    assert use_link(tenant, "setup", secret).purpose == "setup"
    for look in (peek_link, use_link):
        with pytest.raises(NotFoundError):
            look(tenant, "setup", secret)
    assert len(secret) == 43
    assert hashlib.sha256(secret.encode()).digest() in row
    assert secret not in map(str, row)


def test_of_two_at_once_one_gets_it(tenant: Tenant) -> None:
    """Eight threads use one link: one of them succeeds."""
    secret = make_link(tenant, "setup")
    results: list[bool] = []

    def use() -> None:
        try:
            use_link(tenant, "setup", secret)
            results.append(True)
        except NotFoundError:
            results.append(False)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [False] * 7 + [True]


@pytest.mark.parametrize("purpose", LIFE_SECONDS)
def test_a_link_ends_by_itself(tenant: Tenant, purpose: Purpose) -> None:
    """After its time, and where the clock was set back to before it was made."""
    member_id = add_owner(tenant)
    options = {"email": "bob@example.com", "role": "editor"} if purpose == "invitation" else {}

    for seconds in (-LIFE_SECONDS[purpose] - 1, 60):
        secret = make_link(tenant, purpose, member_id=member_id, **options)
        shift(tenant, seconds)
        with pytest.raises(NotFoundError):
            use_link(tenant, purpose, secret)


def test_the_lives_of_links_are_short() -> None:
    """Half an hour to set a password anew, five minutes for the second step, a day for the others."""
    minutes = {purpose: seconds / 60 for purpose, seconds in LIFE_SECONDS.items()}

    assert minutes == {"setup": 1440, "invitation": 1440, "reset": 30, "second-step": 5}


def test_a_newer_link_voids_the_older(tenant: Tenant) -> None:
    """For the same purpose and person; another person's goes on."""
    anna, bob = add_owner(tenant), add_owner(tenant, "Bob")
    old, theirs = make_link(tenant, "reset", member_id=anna), make_link(tenant, "reset", member_id=bob)
    new = make_link(tenant, "reset", member_id=anna)

    with pytest.raises(NotFoundError):
        peek_link(tenant, "reset", old)
    assert peek_link(tenant, "reset", new).member_id == anna
    assert peek_link(tenant, "reset", theirs).member_id == bob


def test_a_link_serves_its_own_purpose_and_must_be_whole(tenant: Tenant) -> None:
    """It opens nothing else, and not when shortened or in another case."""
    secret = make_link(tenant, "reset", member_id=add_owner(tenant))

    for purpose, wrong in [("setup", secret), ("reset", secret[:-1]), ("reset", secret.swapcase()), ("reset", "")]:
        with pytest.raises(NotFoundError):
            use_link(tenant, purpose, wrong)  # type: ignore[arg-type]
    assert use_link(tenant, "reset", secret)


def test_the_setup_link_makes_the_first_owner(tenant: Tenant) -> None:
    """Once; then there is an owner, and no further set-up link."""
    secret = make_setup_link(tenant)

    owner = set_up_owner(tenant, secret, email="Anna@Example.com", name="Anna", password=PASSWORD)

    assert (owner.role, owner.email) == ("owner", "anna@example.com")
    assert check_sign_in(tenant, "anna@example.com", PASSWORD)
    with pytest.raises(NotFoundError):
        set_up_owner(tenant, secret, email="eve@example.com", name="Eve", password=PASSWORD)
    with pytest.raises(ConflictError):
        make_setup_link(tenant)


def test_a_setup_link_is_of_no_use_once_there_is_an_owner(tenant: Tenant) -> None:
    """Who found it later makes no second owner."""
    secret = make_setup_link(tenant)
    add_owner(tenant)

    with pytest.raises(ConflictError):
        set_up_owner(tenant, secret, email="eve@example.com", name="Eve", password=PASSWORD)

    assert len(list_members(tenant)) == 1


def test_a_weak_password_does_not_spend_the_link(tenant: Tenant) -> None:
    """Whoever chose badly tries again with the same link."""
    secret = make_setup_link(tenant)

    with pytest.raises(InputError):
        set_up_owner(tenant, secret, email="anna@example.com", name="Anna", password="1234567890")

    assert set_up_owner(tenant, secret, email="anna@example.com", name="Anna", password=PASSWORD)


def test_an_invitation_makes_the_member_who_was_invited(tenant: Tenant) -> None:
    """With the address and the role that the owner gave, whatever else is sent."""
    secret = invite(tenant, email="Bob@Example.com", role="editor")
    listed = list_invitations(tenant)

    member = accept_invitation(tenant, secret, name="Bob", password=PASSWORD)

    assert [(one.email, one.role) for one in listed] == [("bob@example.com", "editor")]
    assert (member.email, member.role) == ("bob@example.com", "editor")
    assert list_invitations(tenant) == []
    with pytest.raises(NotFoundError):
        accept_invitation(tenant, secret, name="Bob", password=PASSWORD)


def test_an_invitation_can_be_withdrawn(tenant: Tenant) -> None:
    """Then its link works no more."""
    secret = invite(tenant, email="bob@example.com", role="owner")

    withdraw_invitation(tenant, "BOB@example.com")

    with pytest.raises(NotFoundError):
        accept_invitation(tenant, secret, name="Bob", password=PASSWORD)
    with pytest.raises(NotFoundError):
        withdraw_invitation(tenant, "bob@example.com")


def test_nobody_is_invited_twice_or_to_nothing(tenant: Tenant) -> None:
    """A member needs no invitation, a newer one voids the older, and the role must exist."""
    add_owner(tenant)
    old = invite(tenant, email="bob@example.com", role="viewer")
    invite(tenant, email="bob@example.com", role="editor")

    with pytest.raises(ConflictError):
        invite(tenant, email="anna@example.com", role="viewer")
    with pytest.raises(InputError):
        invite(tenant, email="eve@example.com", role="admin")
    with pytest.raises(NotFoundError):
        peek_link(tenant, "invitation", old)
    assert len(list_invitations(tenant)) == 1


def test_a_reset_link_sets_a_new_password(tenant: Tenant) -> None:
    """And ends the member's sessions; a weak one leaves the link usable."""
    member_id = add_owner(tenant)
    session = begin_session(tenant, member_id)
    secret = make_reset_link(tenant, "anna@example.com")

    with pytest.raises(InputError):
        reset_password(tenant, secret, "annaannaanna")
    member = reset_password(tenant, secret, OTHER)

    assert member.id == member_id
    assert check_sign_in(tenant, "anna@example.com", OTHER)
    assert find_session(tenant, session) is None
    with pytest.raises(NotFoundError):
        reset_password(tenant, secret, PASSWORD)


def test_no_reset_for_who_may_not_sign_in(tenant: Tenant) -> None:
    """Neither for an unknown address nor for a disabled member."""
    add_owner(tenant)
    bob = add_owner(tenant, "Bob")
    change_member(tenant, bob, is_disabled=True)

    with pytest.raises(NotFoundError):
        make_reset_link(tenant, "nobody@example.com")
    with pytest.raises(ConflictError):
        make_reset_link(tenant, "bob@example.com")
    assert find_member(tenant, bob).is_disabled
