import pytest
from litestar.exceptions import PermissionDeniedException

from ruma.server.guarding import (
    SECURITY_HEADERS,
    WrongHostException,
    check_request,
    guarded_headers,
    is_loopback,
)


def scope(method: str = "POST", **headers: str) -> dict[str, object]:
    """Return the scope of a request with these headers; `_` stands for `-`."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "headers": pairs, "path": "/"}


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


@pytest.mark.parametrize("host", ["127.0.0.1:8420", "localhost", "LOCALHOST:1", "[::1]:8420"])
def test_a_request_for_this_machine_passes(host: str) -> None:
    """Every name of this machine is answered, on any port, since a tunnel may begin at another one."""
    check_request(scope("GET", host=host))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8420", "127.0.0.1@evil.example", "", "localhost:port", "[::1", "127.0.0.1/x"],
)
def test_a_name_that_was_pointed_here_is_refused(host: str) -> None:
    """A page whose own name was made to resolve to this machine reads nothing."""
    with pytest.raises(WrongHostException):
        check_request(scope("GET", host=host))


def test_two_hosts_are_refused() -> None:
    """A second Host header could be the one that another part believes."""
    request = scope("GET", host="localhost")
    request["headers"] = [(b"host", b"localhost"), (b"host", b"evil.example")]

    with pytest.raises(WrongHostException):
        check_request(request)


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
    check_request(scope(host="localhost:8420", **headers))


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
        check_request(scope(host="localhost:8420", **headers))


def test_reading_needs_no_origin() -> None:
    """A link from another site may be followed: nothing is changed by it."""
    check_request(scope("GET", host="localhost", sec_fetch_site="cross-site", origin="https://evil.example"))


def test_every_security_header_is_added_once() -> None:
    """A header that a response sets itself is kept; the others are added."""
    headers = guarded_headers([(b"cache-control", b"public"), (b"content-type", b"text/plain")])

    assert dict(headers)[b"cache-control"] == b"public"
    assert [name for name, _ in headers].count(b"cache-control") == 1
    assert {name for name, _ in headers} >= {name.encode() for name in SECURITY_HEADERS}


def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere() -> None:
    """The content security policy begins with nothing and allows this server alone."""
    policy = SECURITY_HEADERS["content-security-policy"]

    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "*" not in policy
    for part in ("frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert part in policy
