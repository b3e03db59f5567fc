"""Which time is believed when data goes by it: a clock that is wrong removes nothing, and keeps nothing for ever."""

import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant
from tests.harness.clock import SetClock
from tests.harness.process import environ_of, ruma
from tests.retaining import DAY, TestMachine, chat, numbers, run, run_daily


@pytest.fixture
def machine() -> TestMachine:
    """Return a machine that says the truth."""
    return TestMachine()


def test_a_clock_that_jumps_ahead_removes_nothing(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """Time goes on by the machine's own count; set right again, it is as if nothing had been."""
    run(tenant, settings, machine)
    kept = chat(tenant, at=machine.wall)
    for boot in ("first", "second"):  # the same start of the machine, and another
        if boot != machine.boot:
            machine.restarts(boot)
        for jump in (3, 400, 4600):
            done = run(tenant, settings, machine.jumps(jump))
            assert done.belief.doubt == "ahead"
            run(tenant, settings, machine.goes_on(0.5))
            machine.jumps(-jump)
            done = run(tenant, settings, machine)
            assert done.belief.doubt in ("", "behind"), "an hour's slack, no more"

    assert numbers(tenant) == [kept]


def test_the_first_run_of_all_believes_no_clock_that_is_far_ahead(
    tenant: Tenant, settings: Settings, machine: TestMachine
) -> None:
    """Then nothing is known but the newest thing that is stored."""
    kept = chat(tenant)

    assert run(tenant, settings, machine.jumps(400)).belief.doubt == "ahead"

    assert numbers(tenant) == [kept]


def test_a_clock_that_stays_ahead_for_a_day_is_believed(
    tenant: Tenant, settings: Settings, machine: TestMachine
) -> None:
    """The machine was off for long: what is over then goes, a day late."""
    chat(tenant, at=machine.wall)
    run(tenant, settings, machine)

    machine.restarts("second", off_days=200)
    assert run(tenant, settings, machine).belief.doubt == "ahead"
    assert run(tenant, settings, machine.goes_on(0.9)).belief.doubt == "ahead"
    assert numbers(tenant) != []
    assert run(tenant, settings, machine.goes_on(0.2)).belief.doubt == ""

    assert numbers(tenant) == []


def test_a_clock_that_jumps_about_is_never_believed(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """The day in which it must go on steadily begins anew with each jump."""
    kept = chat(tenant, at=machine.wall)
    run(tenant, settings, machine)

    for _ in range(4):
        machine.jumps(300).goes_on(0.6)
        assert run(tenant, settings, machine).belief.doubt == "ahead"

    assert numbers(tenant) == [kept]


def test_a_short_time_off_is_no_doubt(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """A machine may be off over a weekend's day, and summer time may begin."""
    run(tenant, settings, machine)

    assert run(tenant, settings, machine.restarts("second", off_days=1.9)).belief.doubt == ""
    assert run(tenant, settings, machine.jumps(1 / 25)).belief.doubt == ""
    assert run(tenant, settings, machine.jumps(-1 / 25)).belief.doubt == ""


@pytest.mark.parametrize("back", [2 / 24, 100.0, 20_000.0], ids=["two hours", "100 days", "to before 1980"])
def test_a_clock_that_jumps_back_keeps_nothing_for_ever(
    tenant: Tenant, settings: Settings, machine: TestMachine, back: float
) -> None:
    """Time goes on by the machine's count, also for what is dated by the wrong clock, and removes it in time."""
    before = chat(tenant, at=machine.wall)
    run(tenant, settings, machine)
    machine.jumps(-back)
    run(tenant, settings, machine)
    during = chat(tenant, at=machine.wall)

    run_daily(tenant, settings, machine, 176, every=16)
    assert numbers(tenant) == [before, during]
    run_daily(tenant, settings, machine, 32, every=16)

    assert numbers(tenant) == []


def test_a_clock_that_is_behind_takes_no_hour_away(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """What is stored while it is behind is dated and counted by it alike, to the hour."""
    run(tenant, settings, machine)
    kept = chat(tenant, at=machine.jumps(-100).goes_on(0.5).wall)
    run(tenant, settings, machine.goes_on(0.5))

    run(tenant, settings, machine.goes_on(179.3))
    assert numbers(tenant) == [kept]
    run(tenant, settings, machine.goes_on(0.3))
    assert numbers(tenant) == []


def test_what_was_dated_too_early_does_not_go_too_early(
    tenant: Tenant, settings: Settings, machine: TestMachine
) -> None:
    """The clock said 1970 for a while: what was stored then is young, whatever its date says."""
    run_daily(tenant, settings, machine, 3)
    kept = chat(tenant, at=1000.0)

    run_daily(tenant, settings, machine, 3)

    assert numbers(tenant) == [kept]


def test_what_was_dated_too_late_goes_in_time(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """The clock said 2038 for a while: what was stored then is not kept until 2038."""
    run(tenant, settings, machine)
    chat(tenant, at=datetime(2038, 1, 20, tzinfo=UTC).timestamp())
    run_daily(tenant, settings, machine, 2)

    run_daily(tenant, settings, machine, 190, every=10)

    assert numbers(tenant) == []


def test_the_operator_says_that_the_clock_is_right(tenant: Tenant, settings: Settings, machine: TestMachine) -> None:
    """Then it counts at once, ahead and back, and what there was keeps its age."""
    chat(tenant, at=machine.wall)
    run(tenant, settings, machine)

    run(tenant, settings, machine.jumps(170), trusts_clock=True)
    assert len(numbers(tenant)) == 1
    done = run(tenant, settings, machine.jumps(-100), trusts_clock=True)
    assert done.belief.doubt == ""
    assert len(numbers(tenant)) == 1
    run_daily(tenant, settings, machine, 12, every=4)

    assert numbers(tenant) == []


def test_the_command_believes_no_clock_that_jumped(settings: Settings, tmp_path: Path) -> None:
    """A real command under a clock that a test sets: 400 days ahead, in 1970, in 2038 (test 10)."""
    clock = SetClock(tmp_path)
    home = Home(settings)
    home.create("acme")
    with home.open("acme") as tenant:
        kept = chat(tenant)
        now = time.time()

        def command(*args: str) -> str:
            done = ruma("retention", *args, home=settings.home, timeout=60, **clock.environ)
            assert done.returncode == 0, done.stderr
            return done.stdout + done.stderr

        command()
        for jump in (400 * DAY, datetime(2038, 1, 20, tzinfo=UTC).timestamp() - now):
            clock.move(jump)
            assert "later than it can be" in command()
            assert numbers(tenant) == [kept]
        for jump in (-3 * 3600, 60 - now):
            clock.move(jump)
            assert "it was 20" in command()
            assert numbers(tenant) == [kept]

        clock.move(400 * DAY)
        command("--trust-clock")
        assert numbers(tenant) == []
        seen = subprocess.run(["date", "+%s"], env=environ_of(settings.home, **clock.environ), capture_output=True)
        assert int(seen.stdout) - now > 399 * DAY, "the clock was not set at all"
