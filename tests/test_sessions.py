import hashlib
import re
import time

import pytest

from ruma.config import Settings
from ruma.errors import NotFoundError
from ruma.tenant.home import Home
from ruma.tenant.people.members import Member, change_member, create_member
from ruma.tenant.people.sessions import (
    IDLE_SECONDS,
    LIFE_SECONDS,
    begin_session,
    csrf_of,
    end_all_sessions,
    end_session,
    find_session,
    is_open,
    list_sessions,
)
from ruma.tenant.tenant import Tenant

PASSWORD = "harbour violin ticket 83"


@pytest.fixture
def member(tenant: Tenant) -> Member:
    """Return a member of the tenant."""
    return create_member(tenant, email="anna@example.com", name="Anna", role="owner", password=PASSWORD)


def shift(tenant: Tenant, *, started: float = 0, seen: float = 0) -> None:
    """Move every session's times."""
    with tenant.writing() as db:
        db.execute("update session set started_at = started_at + ?, seen_at = seen_at + ?", [started, seen])


def test_a_session_lets_its_member_in(tenant: Tenant, member: Member) -> None:
    """The secret has 256 bits, is stored as its hash alone, and finds the member."""
    secret = begin_session(tenant, member.id, browser="Firefox", address="192.0.2.77")

    session = find_session(tenant, secret)

    assert session
    assert session.member.id == member.id
    assert session.member.last_seen_at
    assert re.fullmatch(r"[\w-]{43}", secret)
    with tenant.reading() as db:
        row = db.execute("select * from session").fetchone()
    assert hashlib.sha256(secret.encode()).digest() in row
    assert secret not in map(str, row)


@pytest.mark.parametrize("secret", ["", "FIXED", "\ud800", "x" * 5000])
def test_an_unknown_secret_lets_nobody_in(tenant: Tenant, member: Member, secret: str) -> None:
    """Whatever a browser sends in its place."""
    begin_session(tenant, member.id)

    assert find_session(tenant, secret) is None


def test_every_sign_in_has_a_new_secret_and_ends_the_old_session(tenant: Tenant, member: Member) -> None:
    """What the browser came with, planted or not, opens nothing afterwards; another browser's goes on."""
    other = begin_session(tenant, member.id)
    first = begin_session(tenant, member.id)
    second = begin_session(tenant, member.id, old=first)
    third = begin_session(tenant, member.id, old="FIXED")

    assert len({other, first, second, third, "FIXED"}) == 5
    assert [bool(find_session(tenant, secret)) for secret in (other, first, second, third, "FIXED")] == [
        True,
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "moved",
    [
        {"seen": -IDLE_SECONDS - 1},
        {"started": -LIFE_SECONDS - 1},
        {"seen": 60},
        {"started": 3600, "seen": 3600},
    ],
)
def test_a_session_ends_by_itself(tenant: Tenant, member: Member, moved: dict[str, float]) -> None:
    """After half an hour unused, after twelve hours, and when the clock was set back to before it began."""
    secret = begin_session(tenant, member.id)
    shift(tenant, **moved)

    assert find_session(tenant, secret) is None
    assert list_sessions(tenant, member.id) == []


def test_a_used_session_goes_on(tenant: Tenant, member: Member) -> None:
    """Each use puts the idle limit off; that is written once a minute at most."""
    secret = begin_session(tenant, member.id)
    shift(tenant, started=-3000, seen=-IDLE_SECONDS + 30)

    assert find_session(tenant, secret)
    written = list_sessions(tenant, member.id)[0].seen_at
    shift(tenant, seen=-30)
    assert find_session(tenant, secret)
    unwritten = list_sessions(tenant, member.id)[0].seen_at

    assert abs(written - time.time()) < 5
    assert unwritten == written - 30


def test_sessions_are_listed_and_ended_one_by_one(tenant: Tenant, member: Member) -> None:
    """Each with its browser and the network it came from, not the whole address; one ended leaves the other."""
    kept = begin_session(tenant, member.id, browser="Firefox on Linux", address="192.0.2.77")
    gone = begin_session(tenant, member.id, browser="Safari\x1b on iPhone" + "x" * 99, address="2001:db8:1:2::3")

    listed = list_sessions(tenant, member.id)
    found = find_session(tenant, gone)
    assert found
    end_session(tenant, member.id, found.id)

    assert [one.address for one in listed] == ["2001:db8:1::/48", "192.0.2.0/24"]
    assert listed[1].browser == "Firefox on Linux"
    assert "\x1b" not in listed[0].browser
    assert len(listed[0].browser) <= 80
    assert find_session(tenant, gone) is None
    assert not is_open(tenant, found.id)
    assert find_session(tenant, kept)
    with pytest.raises(NotFoundError):
        end_session(tenant, member.id, found.id)


def test_nobody_ends_another_members_session(tenant: Tenant, member: Member) -> None:
    """A session's number is of no use to another member."""
    other = create_member(tenant, email="bob@example.com", name="Bob", role="owner", password=PASSWORD)
    session = find_session(tenant, begin_session(tenant, member.id))
    assert session

    with pytest.raises(NotFoundError):
        end_session(tenant, other.id, session.id)

    assert is_open(tenant, session.id)


def test_all_sessions_end_at_once(tenant: Tenant, member: Member) -> None:
    """Signing out everywhere ends this one as well, and no other member's."""
    other = create_member(tenant, email="bob@example.com", name="Bob", role="owner", password=PASSWORD)
    mine, theirs = [begin_session(tenant, member.id) for _ in range(2)], begin_session(tenant, other.id)

    end_all_sessions(tenant, member.id)

    assert [find_session(tenant, secret) for secret in mine] == [None, None]
    assert find_session(tenant, theirs)


def test_the_counter_alone_ends_sessions(tenant: Tenant, member: Member) -> None:
    """A session of an earlier count is void even where its row is still there."""
    secret = begin_session(tenant, member.id)
    with tenant.writing() as db:
        db.execute("update member set session_epoch = session_epoch + 1")

    assert find_session(tenant, secret) is None


def test_a_disabled_member_begins_no_session(tenant: Tenant, member: Member) -> None:
    """Nor does one who is gone."""
    other = create_member(tenant, email="bob@example.com", name="Bob", role="editor", password=PASSWORD)
    change_member(tenant, other.id, is_disabled=True)

    for member_id in (other.id, 99):
        with pytest.raises(NotFoundError):
            begin_session(tenant, member_id)


def test_a_write_needs_its_own_sessions_word(tenant: Tenant, member: Member, settings: Settings) -> None:
    """What a page must send with a write differs by session and by tenant, and does not tell the secret."""
    first, second = begin_session(tenant, member.id), begin_session(tenant, member.id)
    home = Home(settings)
    home.create("other")

    session = find_session(tenant, first)

    assert session
    assert session.csrf == csrf_of(tenant, first)
    assert csrf_of(tenant, first) != csrf_of(tenant, second)
    assert first not in session.csrf
    with home.open("other") as other:
        assert csrf_of(other, first) != session.csrf


def test_ended_sessions_do_not_pile_up(tenant: Tenant, member: Member) -> None:
    """A sign-in takes the member's sessions that are over out of the table."""
    for _ in range(3):
        begin_session(tenant, member.id)
    shift(tenant, seen=-IDLE_SECONDS - 1)
    begin_session(tenant, member.id)

    with tenant.reading() as db:
        assert db.execute("select count(*) from session").fetchone()[0] == 1
