"""Addresses of web pages: one strict way to read them, and which machines may be reached by them.

What is checked here is what is fetched: an address is taken apart once, and the parts are used from then on.
"""

import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote, urljoin

from ruma.errors import InputError

PORTS = {"http": 80, "https": 443}
LONGEST = 2000
"""The longest address, in characters; browsers and servers agree on about this much."""

# Everything that is not the public internet, whatever `ipaddress` thinks of it: its own tables were wrong before
# (CVE-2024-4032). Of IPv6 only 2000::/3 is public; that leaves out NAT64, local and link-local addresses.
_NOT_PUBLIC = [
    ip_network(one)
    for one in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3", "2001::/23", "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20",
    )
]  # fmt: skip
_PUBLIC_6 = ip_network("2000::/3")

_ADDRESS = re.compile(r"(https?)://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[^\[\]@:]+)(?::([0-9]{1,5}))?")
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*")
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_NEVER = re.compile(r'[\x00-\x20\x7f-\xa0<>"\\\u2028\u2029\ufeff]')
_OTHER_NAMES = re.compile("[ßς\u200c\u200d]")
"""Letters that Python's encoding of names turns into others, and browsers do not: another website would be read."""


@dataclass(frozen=True)
class WebAddress:
    """The address of a web page, in the one way in which it is written."""

    scheme: str
    host: str
    """In lower case and ASCII; IPv6 without brackets."""
    port: int
    target: str
    """The path and what follows it."""

    @property
    def authority(self) -> str:
        """The host, with the port where it is not the usual one: as the header Host has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def is_web_address(text: str) -> bool:
    """Tell whether a source's location is meant as the address of a web page."""
    return re.match(r"https?:", text, re.IGNORECASE) is not None


def read_address(text: str) -> WebAddress:
    """Return an address taken apart; what stands after # is left out.

    Raises:
        InputError: It is not an address of a web page, or one that could be read in two ways.
    """
    text = text.strip(" \t\r\n")
    shown = text if len(text) <= 100 else text[:99] + "…"
    if len(text) > LONGEST:
        raise InputError(f"The address is longer than {LONGEST:,} characters.")
    found = _ADDRESS.fullmatch(text)
    if not found or _NEVER.search(text):
        raise InputError(
            f"{shown!r} is not the address of a web page.", hint="It looks like: https://www.example.com/prices"
        )
    scheme = found[1].lower()
    authority = _AUTHORITY.fullmatch(found[2])
    if not authority:
        what = "has a name or a password in it" if "@" in found[2] else "has no host that can be read"
        raise InputError(f"The address {shown!r} {what}.", hint="Write it as in: https://www.example.com/prices")
    host, port = _read_host(authority[1], shown), int(authority[2] or PORTS[scheme])
    if not 0 < port < 65536:
        raise InputError(f"The address {shown!r} has no port that can be.")
    target = found[3] if found[3].startswith("/") else "/" + found[3]
    return WebAddress(scheme, host, port, quote(target, safe="/?%!$&'()*+,;=:@~[]-._"))


def follow(base: WebAddress, link: str) -> WebAddress:
    """Return where a link on a page, or a redirect, leads.

    Raises:
        InputError: To no web page.
    """
    try:
        joined = urljoin(str(base), link.strip(" \t\r\n\f").replace(" ", "%20"))
    except ValueError:
        joined = ""
    return read_address(joined)


@dataclass(frozen=True)
class Network:
    """A network that is not public, and the ports in it that may be reached all the same."""

    addresses: IPv4Network | IPv6Network
    ports: frozenset[int] = frozenset(PORTS.values())


class Reach:
    """Which network addresses may be reached: the public internet, and what the operator named."""

    def __init__(self, private_networks: str = "") -> None:
        """Take the setting `private_networks`: networks, or networks with a port, with commas between them.

        Raises:
            InputError: It cannot be understood.
        """
        self._networks: Sequence[Network] = [
            _read_network(one) for one in private_networks.replace(",", " ").split() if one
        ]

    def refusal(self, address: str, port: int) -> str:
        """Return why an address of a host must not be connected to, as the end of a sentence; nothing where it may."""
        found = ip_address(address.partition("%")[0])
        found = getattr(found, "ipv4_mapped", None) or found
        if any(found in one.addresses and port in one.ports for one in self._networks):
            return ""
        if not _is_public(found):
            return "is not on the public internet"
        if port not in PORTS.values():
            return f"would be asked at port {port}, and pages are read at 80 and 443"
        return "is this machine itself" if _is_own(found) else ""


def _read_host(text: str, shown: str) -> str:
    if text.startswith("["):
        with suppress(ValueError):
            return str(IPv6Address(text[1:-1]))
        raise InputError(f"The address {shown!r} has no host that can be read.")
    host = ""
    # Of a host without letters of other scripts nothing is guessed; others are written as the name system has them.
    if not _OTHER_NAMES.search(text):
        with suppress(UnicodeError):
            host = text.encode("idna").decode("ascii").lower().removesuffix(".")
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise InputError(
            f"The address {shown!r} has a name that cannot be read.", hint="Write the name as the browser shows it."
        )
    if _NUMERIC.fullmatch(host):
        # 2130706433, 0x7f.1 and 0177.0.0.1 mean different machines to different programs.
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise InputError(f"The address {shown!r} has a number where a name belongs.") from None
    return host


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if address.version == 6 and address not in _PUBLIC_6:
        return False
    return not any(address in network for network in _NOT_PUBLIC if network.version == address.version)


def _is_own(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is one of this machine's: only those can be listened on."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _read_network(text: str) -> Network:
    found = re.fullmatch(r"\[?([0-9a-fA-F.:]+(?:/[0-9]+)?)\]?", text)
    with_port = re.fullmatch(r"(?:\[([0-9a-fA-F.:]+(?:/[0-9]+)?)\]|([0-9.]+(?:/[0-9]+)?)):([0-9]{1,5})", text)
    try:
        if with_port:
            return Network(ip_network(with_port[1] or with_port[2]), frozenset({int(with_port[3])}))
        return Network(ip_network(found[1] if found else text))
    except ValueError:
        raise InputError(
            f"The setting private_networks has {text!r}, which is no network.",
            hint="It looks like: 10.1.0.0/16, 192.168.1.20:8080, [fd00::/8]:8080",
        ) from None
