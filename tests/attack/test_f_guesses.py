"""Thousands of guesses at every secret there is, by a clock that the test sets: how many of them are tried."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pyotp
import pytest

from ruma.config import load_settings
from ruma.errors import NotFoundError, SignInError, TooManyError
from ruma.server.access import Principal
from ruma.server.asking import resume_own
from ruma.tenant.conversing.visitor_links import open_visitor_link
from ruma.tenant.home import Home
from ruma.tenant.people import attempts
from ruma.tenant.people.attempts import FREE_ACCOUNT, FREE_NETWORK, LONGEST_WAIT, count_attempt, note_wrong_secret
from ruma.tenant.people.entry import confirm_password, enter_by_code, enter_by_password, guarding_link
from ruma.tenant.people.links import make_link, peek_link
from ruma.tenant.people.members import create_member, find_member
from ruma.tenant.people.second_factor import enable_second_factor, new_factor_secret
from ruma.tenant.tenant import Tenant

EMAIL, PASSWORD, HERE = "anna@example.com", "harbour violin ticket 83", "203.0.113.9"
MINUTES = 10
WAITS_OF_A_MINUTE = 6
"""Waits of 1, 2, 4 … 32 seconds are over within a minute."""

COUNTS = [200, pytest.param(10_000, marks=pytest.mark.nightly)]


class Clock:
    """A clock that stands until it is moved; it stands where the module of attempts looks for the time."""

    def __init__(self) -> None:
        """Begin an hour after the machine was started."""
        self.seconds = 3600.0

    def monotonic(self) -> float:
        """Return the seconds since then."""
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock by which waits are counted."""
    clock = Clock()
    monkeypatch.setattr(attempts, "time", clock)
    return clock


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home with a tenant, whose owner has a second factor."""
    home = Home(load_settings({"home": tmp_path_factory.mktemp("home"), "key_source": "machine"}, {}))
    home.create("acme")
    with home.open("acme") as tenant:
        member = create_member(tenant, email=EMAIL, name="Anna", role="owner", password=PASSWORD)
        secret = new_factor_secret()
        enable_second_factor(tenant, member.id, secret, pyotp.TOTP(secret).now())
    return home


@pytest.fixture
def tenant(home: Home) -> Iterator[Tenant]:
    """Return the tenant, at which nobody has guessed yet."""
    with home.open("acme") as tenant:
        with tenant.writing() as db:
            db.execute("delete from attempt")
        yield tenant


@pytest.fixture
def step(tenant: Tenant) -> str:
    """Return what stands for Anna's password, which was right a moment ago."""
    return make_link(tenant, "second-step", member_id=find_member(tenant, EMAIL).id)


def guess_link(kind: str) -> Callable[[Tenant, str, int, str], None]:
    """Return a guess at a one-time link."""

    def guess(tenant: Tenant, step: str, number: int, address: str) -> None:
        with guarding_link(tenant, address):
            peek_link(tenant, kind, f"{number:043}")  # type: ignore[arg-type]

    return guess


def guess_visitor_link(tenant: Tenant, step: str, number: int, address: str) -> None:
    """Guess at the link that a visitor got by mail, as the route takes it."""
    with guarding_link(tenant, address):
        open_visitor_link(tenant, f"{number:043}")


def guess_key(tenant: Tenant, step: str, number: int, address: str) -> None:
    """Bring a wrong API key, as the guard of every route counts it."""
    note_wrong_secret(tenant, "api-key", address=address)
    raise SignInError("This API key is not valid here.")


def ask_reset(tenant: Tenant, step: str, number: int, address: str) -> None:
    """Ask for a mail with a link to a new password."""
    count_attempt(tenant, "reset", account=EMAIL, address=address)
    raise SignInError("A mail would be sent.")


AT_ACCOUNT: dict[str, Callable[[Tenant, str, int, str], object]] = {
    "password": lambda tenant, _, n, address: enter_by_password(tenant, EMAIL, f"guess {n}", address=address),
    "confirmation": lambda tenant, _, n, address: confirm_password(
        tenant, find_member(tenant, EMAIL), f"guess {n}", address=address
    ),
    "code": lambda tenant, step, n, address: enter_by_code(tenant, step, f"{n % 100:03} {n:03}x", address=address),
    "recovery code": lambda tenant, step, n, address: enter_by_code(
        tenant, step, f"zzzz-zzzz-zzzz-{n:04}", address=address
    ),
    "asking for a reset": ask_reset,
}
FROM_NETWORK: dict[str, Callable[[Tenant, str, int, str], object]] = {
    "password": lambda tenant, _, n, address: enter_by_password(
        tenant, f"member{n}@example.com", "guess", address=address
    ),
    "set-up link": guess_link("setup"),
    "invitation": guess_link("invitation"),
    "reset link": guess_link("reset"),
    "second step": lambda tenant, _, n, address: enter_by_code(tenant, f"{n:043}", "000000", address=address),
    "visitor's link": guess_visitor_link,
    "API key": guess_key,
    "conversation": lambda tenant, _, n, address: resume_own(tenant, Principal("visitor", address=address), f"{n:043}"),
}


def is_tried(guess: Callable[[], object]) -> bool:
    """Tell whether a guess was compared with the secret; it must be wrong or refused."""
    try:
        guess()
    except TooManyError:
        return False
    except (SignInError, NotFoundError):
        return True
    raise AssertionError("it was let in")


def guess_for_minutes(
    tenant: Tenant, clock: Clock, step: str, count: int, guess: Callable[[Tenant, str, int, str], object], address: str
) -> list[int]:
    """Guess for ten minutes and return how many were tried in each; the tenant is closed and opened on the way."""
    tried: Counter[int] = Counter()
    pause = MINUTES * 60 / count
    for number in range(count):
        if number % (count // 7) == 0:
            tenant.attempts = None  # as after a restart: what counts from here on was stored
        source = address or f"{10 + number // 65536}.{number // 256 % 256}.{number % 256}.7"
        if is_tried(partial(guess, tenant, step, number, source)):
            tried[int(number * pause // 60)] += 1
        clock.seconds += pause
    return [tried[minute] for minute in range(MINUTES)]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("path", AT_ACCOUNT)
def test_f47_one_account_from_everywhere(tenant: Tenant, clock: Clock, step: str, path: str, count: int) -> None:
    """Each guess comes from another network, and the server starts anew seven times: five tries, then waits."""
    tried = guess_for_minutes(tenant, clock, step, count, AT_ACCOUNT[path], "")

    assert FREE_ACCOUNT <= tried[0] <= FREE_ACCOUNT + WAITS_OF_A_MINUTE
    assert max(tried[2:]) <= 60 / LONGEST_WAIT + 1, tried


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("path", FROM_NETWORK)
def test_f47_everything_from_one_network(tenant: Tenant, clock: Clock, step: str, path: str, count: int) -> None:
    """Each guess is at another account or secret, from one network: twenty tries, then waits."""
    tried = guess_for_minutes(tenant, clock, step, count, FROM_NETWORK[path], HERE)

    assert FREE_NETWORK <= tried[0] <= FREE_NETWORK + WAITS_OF_A_MINUTE
    assert max(tried[2:]) <= 60 / LONGEST_WAIT + 1, tried


@pytest.mark.parametrize("path", AT_ACCOUNT)
def test_f47_fifty_at_once(tenant: Tenant, clock: Clock, step: str, path: str) -> None:
    """At one moment, from fifty networks: no more are tried than one after the other would be."""
    tried: list[bool] = []

    def guess(number: int) -> None:
        tried.append(is_tried(lambda: AT_ACCOUNT[path](tenant, step, number, f"10.{number}.0.1")))

    threads = [threading.Thread(target=guess, args=[number]) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(tried), sum(tried)) == (50, FREE_ACCOUNT)


def test_f47_whoever_was_here_before_is_let_in(home: Home, tenant: Tenant, clock: Clock, step: str) -> None:
    """After a thousand guesses at her account Anna gets in at once from her network, and elsewhere after the wait."""
    enter_by_password(tenant, EMAIL, PASSWORD, address=HERE)
    tenant.attempts = None
    guess_for_minutes(tenant, clock, step, 1000, AT_ACCOUNT["password"], "")
    with home.open("acme") as again:
        at_home = enter_by_password(again, EMAIL, PASSWORD, address=HERE)
    with pytest.raises(TooManyError) as refused:
        enter_by_password(tenant, EMAIL, PASSWORD, address="198.51.100.1")
    clock.seconds += refused.value.retry_seconds
    elsewhere = enter_by_password(tenant, EMAIL, PASSWORD, address="198.51.100.1")

    assert at_home == elsewhere
    assert 0 < refused.value.retry_seconds <= LONGEST_WAIT


@pytest.mark.parametrize("count", [90, pytest.param(6_000, marks=pytest.mark.nightly)])
def test_f47_no_flood_makes_failures_forgotten(
    tenant: Tenant, clock: Clock, step: str, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Tries at made-up accounts from everywhere push out neither Anna's wait, nor her failures, nor her own network."""
    if count < 5_000:
        monkeypatch.setattr(attempts, "_MOST", 100)
        monkeypatch.setattr(attempts, "_SHARED", 64)
    enter_by_password(tenant, EMAIL, PASSWORD, address=HERE)
    guess = lambda number: is_tried(lambda: enter_by_password(tenant, EMAIL, "no", address=f"10.0.{number}.1"))  # noqa: E731
    for number in range(FREE_ACCOUNT + 7):
        clock.seconds += LONGEST_WAIT
        assert guess(number)

    for number in range(count):
        count_attempt(tenant, "sign-in", account=f"member{number}", address=f"11.{number // 256}.{number % 256}.1")
    waits = guess(50)
    tenant.attempts = None  # what is stored knows it, too
    waits_again = guess(51)
    clock.seconds += LONGEST_WAIT
    after = [guess(number) for number in range(100, 110)]

    assert (waits, waits_again) == (False, False)
    assert after == [True] + [False] * 9
    assert enter_by_password(tenant, EMAIL, PASSWORD, address=HERE)
    with tenant.reading() as db:
        kept = db.execute("select count(*) from attempt").fetchone()[0]
    assert kept <= attempts._MOST + attempts._SHARED + 1
