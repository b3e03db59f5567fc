"""Where the server is reached from outside, and from where a request came."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, kw_only=True)
class PublicAddress:
    """The one address that the server is known by. Without arguments: this machine alone."""

    origin: str = "http://127.0.0.1:8420"
    """What every link begins with, whatever a request says of its host."""

    hosts: frozenset[str] = frozenset()
    """The Host headers that are answered besides the names of this machine, in small letters."""

    trusted_proxies: tuple[Network, ...] = ()
    """The reverse proxies whose word is taken for where a request came from."""

    @property
    def is_secure(self) -> bool:
        """Whether people reach the server through TLS."""
        return self.origin.startswith("https://")

    def is_trusted(self, address: Address) -> bool:
        """Tell whether an address is one of the trusted proxies."""
        return any(address in network for network in self.trusted_proxies if network.version == address.version)

    def client_address(self, scope: Mapping[str, Any]) -> str:
        """Return the network address that a request came from; empty where that is not known.

        It is the other end of the connection. Only where that is a trusted proxy are the proxies' notes read, from
        the last one back, up to the first address that is no trusted proxy: what stands before it, the asker wrote.
        """
        found = parse_address((scope.get("client") or ("",))[0])
        if found is None:
            return ""
        for noted in _forwarded(scope):
            if not self.is_trusted(found) or noted is None:
                break
            found = noted
        return str(found)


def parse_address(text: str) -> Address | None:
    """Return an address that may come with a port, a zone or brackets; None for what is none.

    An IPv4 address in an IPv6 one's clothes is the IPv4 address.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def shorten(address: str) -> str:
    """Return the network that an address is in: enough to tell floods apart, and too little to name a person."""
    found = parse_address(address)
    if found is None:
        return ""
    return str(ip_network((found, 24 if found.version == 4 else 48), strict=False))


def _forwarded(scope: Mapping[str, Any]) -> Iterator[Address | None]:
    values = [value for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    for entry in reversed(b",".join(values).split(b",")):
        yield parse_address(entry.decode("latin-1"))
