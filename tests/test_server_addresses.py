from dataclasses import replace
from ipaddress import ip_network

import pytest

from ruma.config import Settings
from ruma.errors import InputError
from ruma.server.addresses import PublicAddress, is_loopback, parse_address, public_address

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


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1.2.3.4.5", "[", "[]", "::1::", "1.2.3.4/8", "0x7f.1", "\0"])
def test_what_is_no_address_is_none(text: str) -> None:
    """Nothing but a whole address is one."""
    assert parse_address(text) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "::1"])
def test_names_of_this_machine_are_loopback(host: str) -> None:
    """Addresses of the loopback interface and its one name are this machine."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "", "127.0.0.1.evil.example", "127.1", "127.0.0.256", "1.127.0.0", "localhost.evil.example", "::"],
)
def test_other_names_are_not(host: str) -> None:
    """A name that could be pointed anywhere, or an address that others reach, is not this machine."""
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_alone_needs_nothing(settings: Settings, host: str) -> None:
    """On a loopback address there is neither TLS nor a public host, and links begin with that address."""
    public = public_address(replace(settings, host=host), 8420)

    assert public.origin in {"http://127.0.0.1:8420", "http://localhost:8420", "http://[::1]:8420"}
    assert (public.hosts, public.is_secure) == (frozenset(), False)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "2001:db8::1"])
def test_what_others_reach_is_encrypted(settings: Settings, host: str) -> None:
    """An address that others can reach, without TLS and without a proxy, is an error that says all that can be done."""
    with pytest.raises(InputError, match="would not be encrypted") as caught:
        public_address(replace(settings, host=host, public_url="https://ask.example.com"), 8420)

    for way in ("--tls-cert", "--tls-key", "--behind-proxy", "--host 127.0.0.1", "ssh -L"):
        assert way in caught.value.hint


def test_an_address_with_a_certificate_is_its_own_host(settings: Settings) -> None:
    """With TLS and without a public name, the server answers to the address that it listens on."""
    public = public_address(replace(settings, host="192.168.1.5", tls_cert="c", tls_key="k"), 8443)

    assert public.origin == "https://192.168.1.5:8443"
    assert public.hosts == {"192.168.1.5:8443"}
    assert public.is_secure


@pytest.mark.parametrize(
    ("given", "origin", "hosts"),
    [
        ("https://ask.example.com", "https://ask.example.com", {"ask.example.com", "ask.example.com:443"}),
        ("HTTPS://Ask.Example.com:443/", "https://ask.example.com", {"ask.example.com", "ask.example.com:443"}),
        ("https://ask.example.com:8443", "https://ask.example.com:8443", {"ask.example.com:8443"}),
        (
            "https://bücher.example",
            "https://xn--bcher-kva.example",
            {"xn--bcher-kva.example", "xn--bcher-kva.example:443"},
        ),
        ("https://[2001:db8::1]", "https://[2001:db8::1]", {"[2001:db8::1]", "[2001:db8::1]:443"}),
        ("http://localhost:9000", "http://localhost:9000", set()),
    ],
)
def test_the_public_address_is_the_one_that_is_named(
    settings: Settings, given: str, origin: str, hosts: set[str]
) -> None:
    """The public URL gives the origin, in one spelling, and the Host headers that are answered."""
    public = public_address(replace(settings, public_url=given), 8420)

    assert (public.origin, public.hosts) == (origin, hosts)


@pytest.mark.parametrize(
    "url",
    [
        "ask.example.com", "http://ask.example.com", "https://", "https://ask.example.com/ruma", "https://a.example?x=1",
        "https://user@ask.example.com", "https://ask.example.com:port", "javascript:alert(1)", "https://[::1",
        "https://a b", "https://a..example", "https://x\x1b[2J.example", "ftp://ask.example.com",
    ],
)  # fmt: skip
def test_a_public_address_that_is_none_is_refused(settings: Settings, url: str) -> None:
    """Only https:// and a host, with a port at most, is one: nobody could sign in without TLS."""
    with pytest.raises(InputError, match="public_url cannot be"):
        public_address(replace(settings, public_url=url), 8420)


def test_behind_a_proxy_the_public_address_must_be_named(settings: Settings) -> None:
    """A proxy hides the address that people type, and so do all addresses at once."""
    for changed in (
        replace(settings, behind_proxy="127.0.0.1"),
        replace(settings, host="0.0.0.0", tls_cert="c", tls_key="k"),
    ):
        with pytest.raises(InputError, match="cannot know the address") as caught:
            public_address(changed, 8420)
        assert "--public-url" in caught.value.hint


def test_proxies_are_addresses_and_networks(settings: Settings) -> None:
    """A list with commas is read; the proxies in it are trusted, and no one else is."""
    changed = replace(settings, behind_proxy="127.0.0.1, 10.1.0.0/16,fd00::/8", public_url="https://ask.example.com")

    public = public_address(changed, 8420)

    assert public.trusted_proxies == PROXIES.trusted_proxies
    assert public.client_address(scope("10.1.2.3", "203.0.113.7")) == "203.0.113.7"


@pytest.mark.parametrize("text", ["proxy", "10.1.0.5/16", "127.0.0.1 10.0.0.1", "0.0.0.0/0", "::/0", "10.0.0.0/33"])
def test_proxies_that_are_none_are_refused(settings: Settings, text: str) -> None:
    """What is no address or network is named, and so is one that everyone is in."""
    with pytest.raises(InputError, match="behind_proxy"):
        public_address(replace(settings, behind_proxy=text, public_url="https://ask.example.com"), 8420)


@pytest.mark.parametrize("given", [{"tls_cert": "c"}, {"tls_key": "k"}])
def test_half_a_certificate_is_refused(settings: Settings, given: dict[str, str]) -> None:
    """A certificate without its key, or a key without its certificate, is an error that names both options."""
    with pytest.raises(InputError, match="belong together") as caught:
        public_address(replace(settings, **given), 8420)

    assert "--tls-cert FILE --tls-key FILE" in caught.value.hint


@pytest.mark.parametrize("host", ["example.com", "", "127.1", "*"])
def test_a_name_is_no_address_to_listen_on(settings: Settings, host: str) -> None:
    """What is no address of a machine is named, whatever else is given."""
    with pytest.raises(InputError, match="listens on an address"):
        public_address(replace(settings, host=host, tls_cert="c", tls_key="k"), 8420)
