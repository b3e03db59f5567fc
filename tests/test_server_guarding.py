import pytest
from litestar.exceptions import PermissionDeniedException

from ruma.server.addresses import PublicAddress
from ruma.server.guarding import SECURITY_HEADERS, WrongHostException, check_request, guarded_headers

ALONE = PublicAddress()
PUBLIC = PublicAddress(origin="https://ask.example.com", hosts=frozenset({"ask.example.com", "ask.example.com:443"}))


def scope(method: str = "POST", **headers: str) -> dict[str, object]:
    """Return the scope of a request with these headers; `_` stands for `-`."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "headers": pairs, "path": "/"}


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost", "LOCALHOST:1", "[::1]:8420"])
def test_a_request_for_this_machine_passes(host: str) -> None:
    """Every name of this machine is answered, on any port, since a tunnel may begin at another one."""
    check_request(scope("GET", host=host), ALONE)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8420", "127.0.0.1@evil.example", "", "localhost:port", "[::1", "127.0.0.1/x"],
)
def test_a_name_that_was_pointed_here_is_refused(host: str) -> None:
    """A page whose own name was made to resolve to this machine reads nothing."""
    with pytest.raises(WrongHostException):
        check_request(scope("GET", host=host), ALONE)


@pytest.mark.parametrize("host", ["ask.example.com", "Ask.Example.com:443", "127.0.0.1:8420", "localhost"])
def test_the_public_host_is_answered(host: str) -> None:
    """Besides the names of this machine, the host that the operator named is answered, however it is written."""
    check_request(scope("GET", host=host), PUBLIC)


@pytest.mark.parametrize(
    "host", ["example.com", "www.ask.example.com", "ask.example.com:8420", "ask.example.com.evil.example", "1.2.3.4"]
)
def test_no_other_public_host_is(host: str) -> None:
    """A name beside, above or below the public one is another one."""
    with pytest.raises(WrongHostException, match="does not answer to that name"):
        check_request(scope("GET", host=host), PUBLIC)


@pytest.mark.parametrize("host", ["ask.example.com", "127.0.0.1:8420"])
def test_the_public_page_may_ask(host: str) -> None:
    """Its own page may post, also where a proxy passes its requests on under another name of this server."""
    check_request(scope(host=host, origin="https://ask.example.com", sec_fetch_site="same-origin"), PUBLIC)


@pytest.mark.parametrize(
    "origin",
    ["http://ask.example.com", "https://ask.example.com:8443", "https://example.com", "http://127.0.0.1:8420", "null"],
)
def test_to_the_public_host_no_other_page_may(origin: str) -> None:
    """The same host without TLS or on another port is another site; a page of this machine is, too."""
    with pytest.raises(PermissionDeniedException):
        check_request(scope(host="ask.example.com", origin=origin), PUBLIC)


def test_two_hosts_are_refused() -> None:
    """A second Host header could be the one that another part believes."""
    request = scope("GET", host="localhost")
    request["headers"] = [(b"host", b"localhost"), (b"host", b"evil.example")]

    with pytest.raises(WrongHostException):
        check_request(request, ALONE)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:8420"},
        {"origin": "http://localhost:8420", "sec_fetch_site": "same-origin"},
        {"origin": "null", "sec_fetch_site": "same-origin"},
    ],
)
def test_its_own_page_may_ask(headers: dict[str, str]) -> None:
    """A script without an origin, the page itself, and its form, whose origin no-referrer hides, may post."""
    check_request(scope(host="localhost:8420", **headers), ALONE)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"origin": "http://localhost:8420.evil.example"},
        {"origin": "http://localhost:8420", "sec_fetch_site": "cross-site"},
        {"origin": "https://evil.example", "sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
    ],
)
def test_a_page_from_elsewhere_may_not(headers: dict[str, str]) -> None:
    """Another site's page, and another program's on this machine, cannot post in a visitor's name."""
    with pytest.raises(PermissionDeniedException):
        check_request(scope(host="localhost:8420", **headers), ALONE)


def test_reading_needs_no_origin() -> None:
    """A link from another site may be followed: nothing is changed by it."""
    sent = scope("GET", host="localhost", sec_fetch_site="cross-site", origin="https://evil.example")

    check_request(sent, ALONE)


def test_every_security_header_is_added_once() -> None:
    """A header that a response sets itself is kept; the others are added."""
    headers = guarded_headers([(b"cache-control", b"public"), (b"content-type", b"text/plain")], is_secure=False)

    assert dict(headers)[b"cache-control"] == b"public"
    assert [name for name, _ in headers].count(b"cache-control") == 1
    assert {name for name, _ in headers} >= {name.encode() for name in SECURITY_HEADERS}


@pytest.mark.parametrize("is_secure", [True, False])
def test_browsers_are_told_to_stay_with_tls(is_secure: bool) -> None:
    """Where people come through TLS alone, browsers are told never to come without; elsewhere not."""
    headers = dict(guarded_headers([], is_secure=is_secure))

    assert (b"strict-transport-security" in headers) == is_secure


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere() -> None:
    """The content security policy begins with nothing and allows this server alone."""
    policy = SECURITY_HEADERS["content-security-policy"]

    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "*" not in policy
    for part in ("frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert part in policy
