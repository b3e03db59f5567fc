import threading
import time
from collections.abc import Callable

import pytest

from ruma.config import Settings
from ruma.errors import InputError, SignInError, TooManyError
from ruma.tenant.audit import list_audit
from ruma.tenant.home import Home
from ruma.tenant.people import attempts
from ruma.tenant.people.attempts import FREE_ACCOUNT, FREE_NETWORK, guard_attempt, note_wrong_secret
from ruma.tenant.tenant import Tenant

HERE, ELSEWHERE = "192.0.2.1", "198.51.100.1"


def fail(tenant: Tenant, account: str = "anna", address: str = HERE, what: attempts.What = "sign-in") -> str:
    """Make one wrong try and return how it ended."""
    try:
        with guard_attempt(tenant, what, account=account, address=address):
            raise SignInError("Wrong.")
    except SignInError:
        return "failed"
    except TooManyError:
        return "refused"


def succeed(tenant: Tenant, account: str = "anna", address: str = HERE) -> None:
    """Make one right try."""
    with guard_attempt(tenant, "sign-in", account=account, address=address):
        pass


def repeat(count: int, action: Callable[[int], str]) -> list[str]:
    """Return how each of several tries ended."""
    return [action(number) for number in range(count)]


def test_an_account_is_guessed_at_slowly(tenant: Tenant) -> None:
    """After five failures each must wait, from whichever network they come."""
    results = repeat(FREE_ACCOUNT + 10, lambda number: fail(tenant, address=f"10.{number}.0.1"))

    assert results == ["failed"] * FREE_ACCOUNT + ["refused"] * 10


def test_a_network_guesses_slowly(tenant: Tenant) -> None:
    """After twenty failures each must wait, whichever accounts are tried; another network does not."""
    results = repeat(FREE_NETWORK + 10, lambda number: fail(tenant, f"member {number}", f"192.0.2.{number}"))

    assert results == ["failed"] * FREE_NETWORK + ["refused"] * 10
    assert fail(tenant, "somebody", ELSEWHERE) == "failed"


def test_fifty_at_once_are_not_all_the_first(tenant: Tenant) -> None:
    """A try is counted before it is made."""
    results: list[str] = []

    def guess() -> None:
        try:
            with guard_attempt(tenant, "sign-in", account="anna", address=HERE):
                time.sleep(0.3)
                raise SignInError("Wrong.")
        except SignInError:
            results.append("failed")
        except TooManyError:
            results.append("refused")

    threads = [threading.Thread(target=guess) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results.count("failed") == FREE_ACCOUNT
    assert results.count("refused") == 50 - FREE_ACCOUNT


def test_who_waits_gets_in(tenant: Tenant) -> None:
    """The wait is said, being refused does not lengthen it, and then the right secret works: nobody is locked out."""
    repeat(FREE_ACCOUNT, lambda _: fail(tenant))
    with pytest.raises(TooManyError) as caught:
        succeed(tenant)
    repeat(20, lambda _: fail(tenant))
    time.sleep(caught.value.retry_seconds + 0.05)

    succeed(tenant)

    assert caught.value.retry_seconds <= 1
    assert "second" in str(caught.value)
    assert repeat(FREE_ACCOUNT, lambda _: fail(tenant)) == ["failed"] * FREE_ACCOUNT


def test_each_further_failure_waits_longer(tenant: Tenant) -> None:
    """One second, then two, and a minute at most; ten minutes at most for six digits."""
    waits = {}
    for what in ("sign-in", "second-step"):
        found = attempts.Attempts(tenant)
        longest = 600.0 if what == "second-step" else 60.0
        seconds = []
        for _ in range(20):
            booking = found.book([(b"subject", FREE_ACCOUNT)], longest)[0]
            seconds.append(booking.after - time.monotonic())
            found._records[b"subject"].ready_at = 0.0
        waits[what] = [round(one) for one in seconds[FREE_ACCOUNT - 1 :]]

    assert waits["sign-in"][:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert waits["second-step"][-1] == 600


def test_six_digits_are_guessed_at_more_slowly(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second step alone has the longer limit: where the common one is nothing, only it still waits."""
    monkeypatch.setattr(attempts, "LONGEST_WAIT", 0.0)

    assert repeat(FREE_ACCOUNT + 2, lambda _: fail(tenant)) == ["failed"] * (FREE_ACCOUNT + 2)
    assert repeat(FREE_ACCOUNT + 2, lambda _: fail(tenant, what="second-step"))[-2:] == ["refused"] * 2


def test_strangers_do_not_delay_who_was_here_before(tenant: Tenant) -> None:
    """From a network that the member has signed in from, guesses from elsewhere are not felt; there it is slow too."""
    succeed(tenant)
    repeat(FREE_ACCOUNT + 5, lambda number: fail(tenant, address=f"10.{number}.0.1"))

    succeed(tenant)
    assert fail(tenant, address=ELSEWHERE) == "refused"
    assert repeat(FREE_ACCOUNT + 2, lambda _: fail(tenant))[-2:] == ["refused"] * 2


def test_an_account_of_ones_own_does_not_buy_guesses_at_others(tenant: Tenant) -> None:
    """A success in between does not make the network's failures forgotten."""
    results = []
    for number in range(FREE_NETWORK + 5):
        results.append(fail(tenant, f"member {number}"))
        if results[-1] == "failed" and number < FREE_NETWORK - 1:
            with guard_attempt(tenant, "link", address=HERE):
                pass
            succeed(tenant, "eve")

    assert results[-5:] == ["refused"] * 5


def test_another_problem_is_no_failure(tenant: Tenant) -> None:
    """A password that may not be chosen says nothing about the secret."""
    for _ in range(FREE_ACCOUNT + 5):
        with pytest.raises(InputError), guard_attempt(tenant, "link", account="anna", address=HERE):
            raise InputError("Too short.")
    repeat(FREE_ACCOUNT - 1, lambda _: fail(tenant))
    with pytest.raises(InputError), guard_attempt(tenant, "sign-in", account="anna", address=HERE):
        raise InputError("Too short.")

    succeed(tenant)


def test_a_restart_does_not_shorten_the_wait(tenant: Tenant, settings: Settings) -> None:
    """The wait that is left is stored, and holds in the next process."""
    repeat(FREE_ACCOUNT, lambda _: fail(tenant))
    time.sleep(1.1)
    assert fail(tenant) == "failed"
    tenant.close()

    with Home(settings).open("acme") as again:
        with pytest.raises(TooManyError) as caught:
            succeed(again, address=ELSEWHERE)
        assert 1.0 < caught.value.retry_seconds <= 2.0


def test_a_success_writes_nothing_but_the_first_time(tenant: Tenant) -> None:
    """That somebody signed in from here is noted once."""
    succeed(tenant)
    with tenant.reading() as db:
        before = db.execute("select * from attempt").fetchall()
    succeed(tenant)
    with tenant.reading() as db:
        after = db.execute("select * from attempt").fetchall()

    assert len(before) == 1
    assert after == before


def test_what_is_stored_names_nobody(tenant: Tenant) -> None:
    """Neither the account nor the address can be read or tried from the table."""
    fail(tenant, "anna@example.com")

    with tenant.reading() as db:
        rows = db.execute("select subject from attempt").fetchall()

    assert len(rows) == 2
    assert all(len(row[0]) == 32 for row in rows)
    assert not any(word in row[0] for row in rows for word in (b"anna", b"192", b"example"))


def test_a_wrong_secret_is_slowed_down_and_a_right_one_never(tenant: Tenant) -> None:
    """API keys, links and conversations' secrets: after twenty wrong ones from a network further ones are refused."""
    for _ in range(FREE_NETWORK):
        note_wrong_secret(tenant, "api-key", address=HERE)

    with pytest.raises(TooManyError):
        note_wrong_secret(tenant, "api-key", address="192.0.2.99")
    note_wrong_secret(tenant, "api-key", address=ELSEWHERE)
    note_wrong_secret(tenant, "conversation", address=HERE)


def test_the_records_are_bounded(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of made-up accounts does not fill the memory or the database: the least are folded into shared ones."""
    monkeypatch.setattr(attempts, "_MOST", 50)
    monkeypatch.setattr(attempts, "_SHARED", 8)
    for number in range(100):
        fail(tenant, f"made up {number}", f"10.{number}.0.1")

    with tenant.reading() as db:
        assert db.execute("select count(*) from attempt").fetchone()[0] <= 58
    assert tenant.attempts
    assert (len(tenant.attempts._records) <= 50, len(tenant.attempts._shared) <= 8) == (True, True)


@pytest.mark.parametrize("folded", [(8, 1), (1, 8)])
def test_who_comes_anew_begins_where_the_strictest_that_was_folded_stands(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, folded: tuple[int, int]
) -> None:
    """A shared record has the most failures, the longest wait and the newest time of all that it took up."""
    monkeypatch.setattr(attempts, "_MOST", 0)
    monkeypatch.setattr(attempts, "_SHARED", 1)
    found, started = attempts.Attempts(tenant), time.monotonic()
    monkeypatch.setattr(attempts, "_FORGET_AFTER", 3600.0)
    for failures in folded:
        noted_at = started - (0.0 if failures == 1 else 4000.0)  # the many alone would be forgotten by now
        found._records[b"made up"] = attempts._Record(failures, started + failures * 10, noted_at)
        found.fold()

    with pytest.raises(TooManyError) as caught:
        found.book([(b"anna", FREE_ACCOUNT)], 60.0)
    assert caught.value.retry_seconds == pytest.approx(80, abs=5)
    for record in found._shared.values():
        record.ready_at = 0.0
    booking = found.book([(b"anna", FREE_ACCOUNT)], 60.0)[0]
    assert booking.after - time.monotonic() == pytest.approx(2.0 ** (9 - FREE_ACCOUNT), abs=5)


def test_an_old_failure_is_forgotten(tenant: Tenant) -> None:
    """A day later an account begins anew."""
    repeat(FREE_ACCOUNT, lambda _: fail(tenant))
    assert tenant.attempts
    for record in tenant.attempts._records.values():
        record.noted_at -= 25 * 3600

    assert fail(tenant) == "failed"


def test_guessing_does_not_fill_the_audit_log(tenant: Tenant) -> None:
    """From one network the 1st, 2nd, 4th, 8th … failure is noted; from many, so many an hour and no more."""
    before = len(list_audit(tenant, limit=1000))
    repeat(FREE_NETWORK, lambda number: fail(tenant, f"account {number}"))
    of_one = [one.details["failures"] for one in list_audit(tenant, thing="sign-in.failed")]
    repeat(100, lambda number: fail(tenant, f"other {number}", f"203.0.{number}.1"))

    entries = list_audit(tenant, limit=1000, thing="sign-in.failed")
    assert of_one == [16, 8, 4, 2, 1]
    assert len(entries) == attempts._NOTED_AN_HOUR == len(list_audit(tenant, limit=1000)) - before
    assert {one.subject for one in entries} == {""}
