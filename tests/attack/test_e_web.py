"""Section E: what hostile addresses, names and web servers can do to whatever fetches pages."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ruma.errors import InputError
from ruma.ingest.addresses import Reach, follow, read_address
from ruma.ingest.fetching import MOST_HOPS, Answer, Door, Limits, fetch
from tests.harness.internet import FORBIDDEN, OWN, PUBLIC
from tests.harness.needs import needs
from tests.hostile import HostileServer
from tests.ledgers import MemoryLedger

ROOT = Path(__file__).parents[2]

NOT_PUBLIC = (
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fdff::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001::1",
    "2001:db8::1",
    "fec0::1",
    "5f00::1",
    "3fff::1",
    "fe80::1%eth0",
)

ODD = (
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.0.1%2f@example.com/",
    "http://user@example.com/",
    "http://user:word@example.com/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:/",
    "http://example.com:80:80/",
    "http://[::1]evil/",
    "http://[::1",
    "http://[::1%25lo]/",
    "http://[127.0.0.1]/",
    "http:/example.com",
    "http://",
    "http://a\\@127.0.0.1/",
    "http://exa\tmple.com/",
    "http://example.com/\nHost: evil",
    "http://example.com/\r\nX: y",
    "http://exam\x00ple.com/",
    "http://exa mple.com/",
    "http://example.com/a b",
    "http://-example.com/",
    "http://exa..mple.com/",
    "http://straße.de/",
    "http://" + "a" * 2000 + "/",
)

SCHEMES = (
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "FILE:///etc/passwd",
    "ftp://example.com/a",
    "gopher://127.0.0.1:6379/_INFO",
    "data:text/html,hello",
    "jar:http://example.com!/a",
    "view-source:http://example.com/",
    "javascript:alert(1)",
    "unix:/run/docker.sock",
    "http+unix://%2Frun%2Fdocker.sock/",
    "ldap://example.com/",
    "//example.com/a",
    "example.com",
    "about:blank",
)


@pytest.fixture(scope="module")
def server() -> Iterator[HostileServer]:
    """Return a hostile server that a test's door reaches."""
    hostile = HostileServer()
    yield hostile
    hostile.close()


def door(server: HostileServer, ledger: MemoryLedger | None = None) -> Door:
    """Return a door that leads to the server, and to nothing else that is not public."""
    return Door(ledger or MemoryLedger(), "a test", Reach(f"127.0.0.1:{server.port}"))


def get(server: HostileServer, path: str, **limits: float) -> Answer:
    """Fetch a path of the server."""
    allowed = replace(Limits(most_bytes=1_000_000, seconds=1.0, wait_seconds=0.4), **limits)  # type: ignore[arg-type]
    return fetch(read_address(f"{server.url}{path}"), door(server), allowed)


@pytest.mark.parametrize("setting", ["", "10.9.0.0/16, 192.168.7.7:8080"])
def test_e39_no_address_but_public_ones_is_reached(setting: str) -> None:
    """Every range that is not the public internet is refused, whatever else the operator named."""
    reach = Reach(setting)

    for address in NOT_PUBLIC:
        assert reach.refusal(address, 80) == "is not on the public internet", address
    for address in ("93.184.216.34", "2606:2800:220:1::1", "8.8.8.8", "::ffff:93.184.216.34"):
        assert reach.refusal(address, 443) == "", address
        assert "port 6379" in reach.refusal(address, 6379)


def test_e39_the_operators_networks_are_exactly_those() -> None:
    """A network opens its own addresses at the usual ports, and with a port at that one alone."""
    reach = Reach("10.9.0.0/16, 192.168.7.7:8080 [fd00::/8]:8443")

    assert not reach.refusal("10.9.1.2", 443)
    assert not reach.refusal("192.168.7.7", 8080)
    assert not reach.refusal("fd12::1", 8443)
    for address, port in (("10.9.1.2", 8080), ("10.10.0.1", 443), ("192.168.7.7", 80), ("192.168.7.8", 8080)):
        assert reach.refusal(address, port), (address, port)
    with pytest.raises(InputError, match="private_networks has 'everything'"):
        Reach("everything")


@pytest.mark.parametrize("address", ODD)
def test_e40_an_address_that_could_be_read_in_two_ways_is_refused(address: str) -> None:
    """Numbers in other spellings, names in front of the host, controls, broken brackets: none of them is fetched."""
    with pytest.raises(InputError):
        read_address(address)


def test_e40_what_is_checked_is_what_is_fetched() -> None:
    """One way of writing: case, a last dot, other scripts and a missing path are settled before a look-up."""
    assert str(read_address(" HTTP://Example.COM.:80#part ")) == "http://example.com/"
    assert str(read_address("https://bücher.example/straße?q=ä&x=%20")) == (
        "https://xn--bcher-kva.example/stra%C3%9Fe?q=%C3%A4&x=%20"
    )
    assert str(read_address("http://①②⑦.0.0.1/")) == "http://127.0.0.1/"
    assert str(read_address("http://[2606:2800::1]:8080/a")) == "http://[2606:2800::1]:8080/a"
    assert read_address("http://good.example#@evil.example/").host == "good.example"
    assert read_address("http://good.example?@evil.example/").host == "good.example"


@pytest.mark.parametrize("address", SCHEMES)
def test_e41_only_web_pages_are_fetched(server: HostileServer, address: str) -> None:
    """No other scheme is an address, as it is typed and as a redirect."""
    with pytest.raises(InputError):
        read_address(address)
    if ":" in address.partition("/")[0]:
        server.pages["/away"] = (302, {"Location": address}, b"")
        with pytest.raises(InputError, match="leads on to an address that is not followed"):
            get(server, "/away")


def test_e42_every_redirect_is_checked(server: HostileServer) -> None:
    """To metadata, to a private address without a scheme, to another port of this machine: each is refused."""
    ledger = MemoryLedger()
    other = HostileServer()
    for target in ("http://169.254.169.254/latest/meta-data/", "//10.0.0.5/", other.url, "http://localhost:1/"):
        server.pages["/out"] = (301, {"Location": target}, b"")
        with pytest.raises(InputError, match="is not on the public internet"):
            fetch(read_address(f"{server.url}/out"), door(server, ledger), Limits())
    other.close()

    assert other.asked == []
    assert [ending.outcome for ending in ledger.endings.values()] == ["done", "refused"] * 4
    assert ledger.endings[1].address == "169.254.169.254"


def test_e42_redirects_end_after_five(server: HostileServer) -> None:
    """Five are followed, the sixth is not; a loop ends the same way."""
    assert get(server, f"/hop/{MOST_HOPS}").body == b"Arrived."
    with pytest.raises(InputError, match="more than 5 times"):
        get(server, f"/hop/{MOST_HOPS + 1}")
    server.pages["/circle"] = (302, {"Location": "/circle"}, b"")
    with pytest.raises(InputError, match="more than 5 times"):
        get(server, "/circle")


def test_e42_nothing_of_one_request_is_in_the_next(server: HostileServer) -> None:
    """A cookie that is set is not sent back, to that host or another, and no name or password is ever sent."""
    server.pages["/wall"] = (302, {"Location": "/in", "Set-Cookie": "a=b"}, b"")
    server.pages["/in"] = (200, {}, b"in")
    server.asked.clear()

    assert get(server, "/wall").body == b"in"
    sent = {line.partition(":")[0].lower() for line in server.asked if ":" in line.split(" ")[0]}
    assert sent == {"host", "user-agent", "accept-encoding"}


@needs("userns")
def test_e43_in_an_internet_of_its_own_only_the_public_machine_is_asked(tmp_path: Path) -> None:
    """Names that rebind, names of two worlds, metadata, this machine's own public address: nobody there is asked.

    The environment names a proxy and passwords, which are ignored. Two addresses must get through: the control.
    """
    good = [f"http://{PUBLIC}/", "http://public.test/", "http://rebinding.test/"]
    bad = [f"http://{f'[{one}]' if ':' in one else one}/" for one in (*FORBIDDEN, OWN)]
    bad += [f"http://{one}.test/" for one in ("half", "six", "metadata", "127.0.0.1.nip", "own", "rebinding")]
    bad += ["http://public.test:6379/", "http://localhost./", "http://public.test/302?to=http://169.254.169.254/"]
    (tmp_path / ".netrc").write_text("default login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:80")

    done = subprocess.run(
        ["unshare", "-rmn", sys.executable, "-m", "tests.harness.internet"],
        input=json.dumps([*good, *bad]),
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path), **proxies},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    for url in good[:2]:
        assert result["found"][url] == "public", url
    for url in set(bad) - {"http://rebinding.test/"}:
        assert result["found"][url].startswith("refused: "), url
    # The same name twice: at the second look it is here, and is refused.
    assert result["found"]["http://rebinding.test/"].startswith("refused: ")
    assert {host for host, asked in result["asked"].items() if asked} == {PUBLIC}
    hosts = [line for line in result["asked"][PUBLIC] if line.startswith("Host:")]
    assert hosts == [f"Host: {PUBLIC}", "Host: public.test", "Host: rebinding.test", "Host: public.test"]
    assert not any("secret" in line or line.startswith("GET http") for line in result["asked"][PUBLIC])


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/drip", "in time"),
        ("/dripbody", "in time"),
        ("/silent", "in time"),
        ("/continue", "larger than|in time|not HTTP"),
        ("/endless", "larger than 1 MB"),
        ("/trailers", "larger than|in time|damaged"),
        ("/bighdr", "not HTTP"),
        ("/manyhdr", "not HTTP|larger"),
        ("/bomb.gz", "larger than 1 MB"),
        ("/packed/br", "packed as 'br'"),
        ("/packed/gzip", "damaged"),
        ("/short", "broke off"),
        ("/garbage", "not HTTP"),
    ],
)
def test_e44_a_server_that_plays_for_time_or_memory_is_given_up(server: HostileServer, path: str, words: str) -> None:
    """Whatever a server sends or does not send, the request is over in its time and within its bytes."""
    begun = time.monotonic()

    with pytest.raises(InputError, match=words):
        get(server, path)

    assert time.monotonic() - begun < 5


def test_e44_a_bomb_is_never_unpacked(server: HostileServer) -> None:
    """A gigabyte in a megabyte costs no more memory than the limit."""
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(InputError, match="larger than"):
        get(server, "/bomb.gz", seconds=10.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 8_000_000


def test_e44_a_request_ends_when_nobody_wants_it_any_more(server: HostileServer) -> None:
    """Stopped while a server drips, it is over within a second."""
    stopped = threading.Event()
    threading.Timer(0.2, stopped.set).start()
    begun = time.monotonic()

    with pytest.raises(InputError, match="reading was stopped"):
        fetch(
            read_address(f"{server.url}/silent"), replace(door(server), is_stopped=stopped.is_set), Limits(seconds=60)
        )

    assert time.monotonic() - begun < 2


def test_links_are_read_as_strictly_as_addresses() -> None:
    """A link is joined to its page and then read like an address that was typed."""
    page = read_address("https://example.com/a/b.html")

    assert str(follow(page, " ../c d.pdf#top ")) == "https://example.com/c%20d.pdf"
    assert str(follow(page, "//other.example/x")) == "https://other.example/x"
    for link in ("javascript:alert(1)", "mailto:a@b.c", "http://2130706433/", "http://user@x.example/", "http://[x/"):
        with pytest.raises(InputError):
            follow(page, link)
