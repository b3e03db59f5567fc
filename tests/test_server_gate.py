import logging
from ipaddress import ip_address, ip_network

import pytest

from ruma.server.addresses import PublicAddress
from ruma.server.gate import Entry, Gate

PROXY, VISITOR, NEIGHBOUR = ip_address("10.0.0.1"), ip_address("203.0.113.7"), ip_address("203.0.113.8")
PUBLIC = PublicAddress(origin="https://ask.example.com", trusted_proxies=(ip_network("10.0.0.1"),))


def test_an_address_has_its_share() -> None:
    """Above its share an address is cut; what it gives back it may have again; another one has its own."""
    gate = Gate(most=100, per_address=2)

    assert [gate.enter(VISITOR) for _ in range(3)] == [Entry.SERVED, Entry.SERVED, Entry.CUT]
    assert gate.enter(NEIGHBOUR) is Entry.SERVED
    gate.leave(VISITOR)
    assert gate.enter(VISITOR) is Entry.SERVED
    assert gate.count == 3


def test_the_addresses_of_one_network_are_one() -> None:
    """Whoever has one IPv6 address has a network of them, and one share."""
    gate = Gate(most=100, per_address=2)

    found = [gate.enter(ip_address(f"2001:db8::{number}")) for number in (1, 2, 3)]

    assert found == [Entry.SERVED, Entry.SERVED, Entry.CUT]
    assert gate.enter(ip_address("2001:db8:0:1::1")) is Entry.SERVED


def test_a_proxy_brings_everyone() -> None:
    """A trusted proxy has no share: all visitors come through it."""
    gate = Gate(most=100, per_address=2, public=PUBLIC)

    assert {gate.enter(PROXY) for _ in range(50)} == {Entry.SERVED}


def test_a_full_house_says_so_and_then_nothing() -> None:
    """A tenth more than are served are told that there are too many; the rest is cut."""
    gate = Gate(most=20)

    found = [gate.enter(VISITOR) for _ in range(23)]

    assert found == [Entry.SERVED] * 20 + [Entry.BUSY] * 2 + [Entry.CUT]


def test_who_says_nothing_makes_room() -> None:
    """In a full house the connection that has waited longest is cut, unless it has a request by now."""
    gate, cut = Gate(most=3), []

    def come(name: str) -> Entry:
        def make_room() -> None:
            cut.append(name)
            gate.leave(VISITOR)

        gate.wait(name, make_room)
        return gate.enter(VISITOR)

    assert [come(name) for name in "abc"] == [Entry.SERVED] * 3
    gate.work("a")

    assert [come(name) for name in "de"] == [Entry.SERVED] * 2
    assert cut == ["b", "c"]


def test_without_tls_only_the_proxies_come_in(caplog: pytest.LogCaptureFixture) -> None:
    """Where nothing is encrypted, whoever is neither a trusted proxy nor this machine is cut, and said once."""
    gate = Gate(most=100, public=PUBLIC, only_proxies=True)

    with caplog.at_level(logging.WARNING, "ruma.server"):
        found = [gate.enter(address) for address in (PROXY, ip_address("127.0.0.1"), VISITOR, NEIGHBOUR, None)]

    assert found == [Entry.SERVED, Entry.SERVED, Entry.CUT, Entry.CUT, Entry.CUT]
    (record,) = caplog.records
    assert "203.0.113.0/24" in record.getMessage()
    assert "203.0.113.7" not in record.getMessage()
    assert "behind_proxy" in record.getMessage()


def test_nothing_is_remembered_of_who_left() -> None:
    """Addresses that have no connection any more take no memory."""
    gate = Gate(most=10_000, per_address=5)
    for number in range(1000):
        gate.enter(ip_address(number))
        gate.wait(number, lambda: None)
    for number in range(1000):
        gate.work(number)
        gate.leave(ip_address(number))

    assert gate.count == 0
    assert not gate._by_network
    assert not gate._waiting
