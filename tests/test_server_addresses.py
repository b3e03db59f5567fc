from ipaddress import ip_network

import pytest

from ruma.server.addresses import PublicAddress, parse_address, shorten

PROXIES = PublicAddress(trusted_proxies=(ip_network("127.0.0.1"), ip_network("10.1.0.0/16"), ip_network("fd00::/8")))


def scope(peer: str | None, *forwarded: str, **others: str) -> dict[str, object]:
    """Return the scope of a request from a peer, with these X-Forwarded-For headers and others."""
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in others.items()]
    return {"type": "http", "headers": headers, "client": (peer, 4711) if peer else None}


def test_an_address_is_the_other_end_of_the_connection() -> None:
    """Without a proxy it is the socket's peer, in one spelling."""
    assert PublicAddress().client_address(scope("203.0.113.7")) == "203.0.113.7"
    assert PublicAddress().client_address(scope("::ffff:203.0.113.7")) == "203.0.113.7"
    assert PublicAddress().client_address(scope("2001:DB8:0::1%eth0")) == "2001:db8::1"
    assert PublicAddress().client_address(scope(None)) == ""


@pytest.mark.parametrize("public", [PublicAddress(), PROXIES])
def test_notes_of_a_stranger_are_not_read(public: PublicAddress) -> None:
    """Whoever connects without being a trusted proxy cannot choose an address: no header counts."""
    sent = scope("203.0.113.7", "127.0.0.1", "10.1.2.3", forwarded="for=1.2.3.4", x_real_ip="1.2.3.4")

    assert public.client_address(sent) == "203.0.113.7"


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        (["198.51.100.9"], "198.51.100.9"),
        (["1.2.3.4, 198.51.100.9"], "198.51.100.9"),
        (["1.2.3.4", "198.51.100.9"], "198.51.100.9"),
        (["1.2.3.4, 198.51.100.9, 10.1.7.7"], "198.51.100.9"),
        (["127.0.0.1, 198.51.100.9, fd00::5"], "198.51.100.9"),
        (["2001:db8::1"], "2001:db8::1"),
        (["[2001:db8::1]:443"], "2001:db8::1"),
        (["198.51.100.9:1234"], "198.51.100.9"),
        (["::ffff:198.51.100.9"], "198.51.100.9"),
        (["10.1.0.4"], "10.1.0.4"),
        (["1.2.3.4, unknown"], "127.0.0.1"),
        (["1.2.3.4, "], "127.0.0.1"),
        (["1.2.3.4, \x1b[2J"], "127.0.0.1"),
        ([], "127.0.0.1"),
    ],
)
def test_behind_a_proxy_its_last_note_counts(forwarded: list[str], expected: str) -> None:
    """The right-most address that is no trusted proxy is the asker; what the asker wrote before it means nothing."""
    assert PROXIES.client_address(scope("127.0.0.1", *forwarded)) == expected


def test_other_headers_are_never_read() -> None:
    """A trusted proxy passes on headers that it does not know, so those may come from anyone."""
    assert PROXIES.client_address(scope("127.0.0.1", forwarded="for=1.2.3.4", x_real_ip="1.2.3.4")) == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("", ""),
        ("nobody", ""),
    ],
)
def test_an_address_is_shortened(address: str, expected: str) -> None:
    """A log and a limit hold the network alone: 24 bits of an IPv4 address, 48 of an IPv6 one."""
    assert shorten(address) == expected


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1.2.3.4.5", "[", "[]", "::1::", "1.2.3.4/8", "0x7f.1", "\0"])
def test_what_is_no_address_is_none(text: str) -> None:
    """Nothing but a whole address is one."""
    assert parse_address(text) is None


def test_links_know_whether_they_are_secure() -> None:
    """The origin says whether people come through TLS."""
    assert not PublicAddress().is_secure
    assert PublicAddress(origin="https://ask.example.com").is_secure
