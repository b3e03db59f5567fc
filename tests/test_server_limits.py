"""How much may be asked: each key has a measure of its own, and what is remembered of them has a bound."""

from collections.abc import Iterator

import pytest

from ruma.errors import TooManyError
from ruma.server import limits
from ruma.server.access import Principal
from ruma.server.limits import Limit, Limits
from ruma.tenant.tenant import Tenant


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.seconds = 1000.0

    def monotonic(self) -> float:
        """Return the seconds."""
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Return the clock by which the limits count."""
    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    return clock


def test_a_key_is_let_through_so_often_a_minute(clock: Clock) -> None:
    """As many at once as fit, then one whenever there is room again, and never more for having waited long."""
    limit = Limit(60, burst=3)

    assert [limit.take("a") for _ in range(5)] == [0, 0, 0, 1, 1]
    clock.seconds += 1
    assert [limit.take("a") for _ in range(2)] == [0, 1]
    clock.seconds += 3600
    assert [limit.take("a") for _ in range(5)] == [0, 0, 0, 1, 1]
    assert limit.take("b") == 0


def test_what_is_remembered_has_a_bound(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many keys come, so many are kept: those heard of for longest go, and who asks all the time stays."""
    monkeypatch.setattr(limits, "MOST_KEYS", 50)
    limit = Limit(1, burst=1)
    limit.take("busy")

    for number in range(500):
        limit.take(number)
        assert limit.take("busy") > 0
        assert len(limit._filled) <= 50

    assert limit.take(499) > 0
    assert limit.take(0) == 0


def test_one_visitor_does_not_use_up_what_all_may_ask(clock: Clock, tenant: Tenant) -> None:
    """What is refused to an address, or to a visitor, is not counted for the tenant; what is let through is."""
    allowed = Limits(visitor_questions=2, tenant_questions=4)

    def is_taken(address: str, visitor: str = "") -> bool:
        try:
            allowed.take_question(tenant, Principal("visitor", address=address), visitor=visitor)
        except TooManyError:
            return False
        return True

    assert [is_taken("203.0.113.9") for _ in range(50)].count(True) == 2
    assert [is_taken(f"198.51.{number}.7", "one") for number in range(50)].count(True) == 2
    assert not is_taken("192.0.2.1")
    clock.seconds += 15
    assert is_taken("192.0.2.1")
