import pytest
from argon2 import PasswordHasher

from ruma.config import Settings
from ruma.errors import ConflictError, InputError, NotFoundError
from ruma.tenant.home import Home
from ruma.tenant.people.links import make_link, peek_link
from ruma.tenant.people.members import (
    Member,
    change_member,
    change_password,
    check_sign_in,
    create_member,
    find_member,
    has_owner,
    is_password_of,
    list_members,
    remove_member,
)
from ruma.tenant.people.sessions import begin_session, find_session
from ruma.tenant.tenant import Tenant

PASSWORD = "harbour violin ticket 83"


def add(tenant: Tenant, name: str = "Anna", role: str = "owner") -> Member:
    """Add a member with an address made from the name."""
    return create_member(tenant, email=f"{name.lower()}@example.com", name=name, role=role, password=PASSWORD)


def test_a_member_is_found_and_signs_in(tenant: Tenant) -> None:
    """By number, by address in any case, and by the password; nobody is disabled or has a second factor at first."""
    member = add(tenant)

    assert find_member(tenant, member.id) == find_member(tenant, " ANNA@Example.COM ") == member
    assert (member.email, member.role, member.is_disabled, member.has_second_factor) == (
        "anna@example.com",
        "owner",
        False,
        False,
    )
    assert check_sign_in(tenant, "Anna@example.com", PASSWORD) == member
    assert check_sign_in(tenant, "anna@example.com", PASSWORD + "x") is None
    assert check_sign_in(tenant, "nobody@example.com", PASSWORD) is None
    assert is_password_of(tenant, member.id, PASSWORD)
    assert not is_password_of(tenant, member.id + 1, PASSWORD)


def test_a_password_is_stored_as_a_hash(tenant: Tenant) -> None:
    """The database holds an Argon2id hash and the password nowhere."""
    add(tenant)

    with tenant.reading() as db:
        row = db.execute("select * from member").fetchone()

    assert any(str(value).startswith("$argon2id$") for value in row)
    assert PASSWORD not in map(str, row)


@pytest.mark.usefixtures("real_passwords")
def test_an_older_hash_is_renewed_at_the_next_sign_in(tenant: Tenant) -> None:
    """A hash that took less work is replaced when the right password comes, and only then."""
    add(tenant)
    old = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1).hash(PASSWORD)
    with tenant.writing() as db:
        db.execute("update member set password_hash = ?", [old])

    wrong = check_sign_in(tenant, "anna@example.com", "another one 12345")
    with tenant.reading() as db:
        unchanged = db.execute("select password_hash from member").fetchone()[0]
    right = check_sign_in(tenant, "anna@example.com", PASSWORD)
    with tenant.reading() as db:
        renewed = db.execute("select password_hash from member").fetchone()[0]

    assert wrong is None
    assert right
    assert unchanged == old
    assert renewed != old
    assert check_sign_in(tenant, "anna@example.com", PASSWORD)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "anna",
        "anna@",
        "@example.com",
        "an na@example.com",
        "a@b@c",
        "anna@example.com\nBcc: x@y",
        "a" * 65 + "@b.c",
    ],
)
def test_what_is_no_address_is_refused(tenant: Tenant, email: str) -> None:
    """An address has one @ and nothing that a mail's header would act on."""
    with pytest.raises(InputError):
        create_member(tenant, email=email, name="Anna", role="owner", password=PASSWORD)

    assert list_members(tenant) == []


@pytest.mark.parametrize(
    "change", [{"name": " "}, {"name": "x" * 81}, {"name": "An\u202ena"}, {"role": "admin"}, {"password": "short"}]
)
def test_a_member_that_cannot_be_is_refused(tenant: Tenant, change: dict[str, str]) -> None:
    """No name, one that turns the line around, an unknown role or a weak password: nobody is added."""
    member = {"email": "anna@example.com", "name": "Anna", "role": "owner", "password": PASSWORD, **change}

    with pytest.raises(InputError):
        create_member(tenant, **member)

    assert list_members(tenant) == []


def test_an_address_belongs_to_one_member(tenant: Tenant) -> None:
    """The same address in another case is the same person."""
    add(tenant)

    with pytest.raises(ConflictError):
        create_member(tenant, email="ANNA@EXAMPLE.COM", name="Other", role="viewer", password=PASSWORD)


def test_members_are_listed_by_role_and_name(tenant: Tenant) -> None:
    """Owners stand first."""
    for name, role in [("Zoe", "viewer"), ("Bob", "owner"), ("Eve", "editor"), ("Anna", "viewer")]:
        add(tenant, name, role)

    assert [member.name for member in list_members(tenant)] == ["Bob", "Eve", "Anna", "Zoe"]


def test_members_of_one_tenant_are_unknown_to_another(tenant: Tenant, settings: Settings) -> None:
    """The same address and password sign in nowhere else."""
    home = Home(settings)
    home.create("other")
    add(tenant)

    with home.open("other") as other:
        assert check_sign_in(other, "anna@example.com", PASSWORD) is None


@pytest.mark.parametrize("change", [{"role": "editor"}, {"is_disabled": True}, None])
def test_the_last_owner_stays(tenant: Tenant, change: dict[str, object] | None) -> None:
    """The only owner who can sign in is neither demoted, disabled nor removed; with another one it goes."""
    anna, bob = add(tenant), add(tenant, "Bob")
    change_member(tenant, bob.id, is_disabled=True)

    def try_it() -> None:
        change_member(tenant, anna.id, **change) if change else remove_member(tenant, anna.id)  # type: ignore[arg-type]

    with pytest.raises(ConflictError):
        try_it()
    assert find_member(tenant, anna.id) == anna
    change_member(tenant, bob.id, is_disabled=False)
    try_it()

    assert has_owner(tenant)


@pytest.mark.parametrize("change", [{"role": "editor"}, {"is_disabled": True}])
def test_another_role_ends_sessions_and_links(tenant: Tenant, change: dict[str, object]) -> None:
    """Who is disabled or may do something else must sign in anew, and an open link to a new password is void."""
    add(tenant)
    bob = add(tenant, "Bob", "viewer")
    secret, link = begin_session(tenant, bob.id), make_link(tenant, "reset", member_id=bob.id)

    change_member(tenant, bob.id, **change)  # type: ignore[arg-type]

    assert find_session(tenant, secret) is None
    with pytest.raises(NotFoundError):
        peek_link(tenant, "reset", link)


def test_another_name_ends_nothing(tenant: Tenant) -> None:
    """A change that gives no right keeps the member signed in."""
    anna = add(tenant)
    secret = begin_session(tenant, anna.id)

    assert change_member(tenant, anna.id, name="  Anna   Miller ").name == "Anna Miller"
    assert change_member(tenant, anna.id, role="owner", is_disabled=False).role == "owner"
    assert find_session(tenant, secret)


def test_a_new_password_ends_sessions_and_links(tenant: Tenant) -> None:
    """The old password, every session and an open link work no more."""
    anna = add(tenant)
    secret, link = begin_session(tenant, anna.id), make_link(tenant, "reset", member_id=anna.id)

    change_password(tenant, anna.id, "lantern gravel opera 51")

    assert check_sign_in(tenant, anna.email, PASSWORD) is None
    assert check_sign_in(tenant, anna.email, "lantern gravel opera 51")
    assert find_session(tenant, secret) is None
    with pytest.raises(NotFoundError):
        peek_link(tenant, "reset", link)


def test_a_weak_new_password_changes_nothing(tenant: Tenant) -> None:
    """One made from the member's own address is refused."""
    anna = add(tenant)

    with pytest.raises(InputError):
        change_password(tenant, anna.id, "anna@example.com")

    assert check_sign_in(tenant, anna.email, PASSWORD)


def test_a_disabled_member_does_not_sign_in(tenant: Tenant) -> None:
    """The right password is not enough, until an owner enables the member again."""
    add(tenant)
    bob = add(tenant, "Bob", "editor")

    change_member(tenant, bob.id, is_disabled=True)
    refused = check_sign_in(tenant, bob.email, PASSWORD)
    change_member(tenant, bob.id, is_disabled=False)

    assert refused is None
    assert check_sign_in(tenant, bob.email, PASSWORD)


def test_a_removed_member_is_gone(tenant: Tenant) -> None:
    """With sessions and links, and nothing waits to be erased."""
    add(tenant)
    bob = add(tenant, "Bob", "editor")
    begin_session(tenant, bob.id)
    make_link(tenant, "reset", member_id=bob.id)

    remove_member(tenant, bob.id)

    with tenant.reading() as db:
        counts = [db.execute(f"select count(*) from {table}").fetchone()[0] for table in ("session", "link")]
        pending = db.execute("select count(*) from pending_erasure").fetchone()[0]
    assert counts == [0, 0]
    assert pending == 0
    for missing in (bob.id, bob.email):
        with pytest.raises(NotFoundError):
            find_member(tenant, missing)
    with pytest.raises(NotFoundError):
        remove_member(tenant, bob.id)
