"""Where the server is reached from outside, and from where a request came."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import quote, urlsplit

from ruma.config import Settings
from ruma.errors import InputError

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
        """Whether others reach the server, and through TLS alone."""
        return self.origin.startswith("https://") and bool(self.hosts)

    def link(self, tenant_name: str, place: str, secret: str) -> str:
        """Return the address of a one-time link to a tenant's `setup`, `invitation` or `reset`."""
        return f"{self.origin}/t/{quote(tenant_name)}/{place}/{secret}"

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


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    if host in ("localhost", "::1"):
        return True
    numbers = host.split(".")
    return len(numbers) == 4 and numbers[0] == "127" and all(n.isdecimal() and int(n) < 256 for n in numbers)


def public_address(settings: Settings, port: int) -> PublicAddress:
    """Return where the settings say that the server is reached, through this port.

    Raises:
        InputError: Others could reach it and what they send would not be encrypted, it is not known under which
            name they do, or one of the settings means nothing.
    """
    host, has_tls = settings.host, bool(settings.tls_cert or settings.tls_key)
    if not is_loopback(host) and parse_address(host) is None:
        raise InputError(
            f"The server listens on an address, and {host!r} is none.", hint="Use one of this machine, such as 0.0.0.0."
        )
    if has_tls and not (settings.tls_cert and settings.tls_key):
        raise InputError(
            "A certificate and its private key belong together, and only one of them is given.",
            hint="Use both: --tls-cert FILE --tls-key FILE",
        )
    proxies = _read_proxies(settings.behind_proxy)
    if not (is_loopback(host) or has_tls or proxies):
        raise InputError(
            f"Others can reach {host}, and what they send would not be encrypted.",
            hint="Give a certificate (--tls-cert FILE --tls-key FILE), or name the reverse proxy that has one "
            "(--behind-proxy ADDRESS). For this machine alone: --host 127.0.0.1, "
            "and from another one a tunnel: ssh -L 8420:127.0.0.1:8420 SERVER",
        )
    if settings.public_url:
        origin, hosts = _read_origin(settings.public_url)
    elif proxies or host in ("0.0.0.0", "::"):
        raise InputError(
            "The server cannot know the address that people type to reach it.",
            hint="Name it: --public-url https://ask.example.com",
        )
    else:
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        origin = f"{'https' if has_tls else 'http'}://{name}"
        hosts = frozenset() if is_loopback(host) else frozenset({name})
    return PublicAddress(origin=origin, hosts=hosts, trusted_proxies=proxies)


def _read_proxies(text: str) -> tuple[Network, ...]:
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            network = ip_network(part)
        except ValueError as exc:
            raise InputError(
                f"{part!r} in the setting behind_proxy is no address and no network.",
                hint="Write addresses such as 127.0.0.1, or networks such as 10.0.0.0/24, with commas between them.",
            ) from exc
        if network.prefixlen == 0:
            raise InputError(
                f"{part} in the setting behind_proxy would trust everyone.", hint="Name the proxy's own address."
            )
        found.append(network)
    return tuple(found)


def _read_origin(url: str) -> tuple[str, frozenset[str]]:
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").encode("idna").decode().lower(), parts.port
    except ValueError:  # of which one about names that no host can have is a kind
        parts, host, port = urlsplit(""), "", None
    is_plain = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username or parts.password)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    if not (host and is_plain and is_safe and re.fullmatch(r"[a-z0-9.:-]+", host)):
        raise InputError(
            f"The setting public_url cannot be {url!r}.",
            hint="It is https:// and a host, with a port where that is not 443: https://ask.example.com",
        )
    name = f"[{host}]" if ":" in host else host
    usual = {"https": 443, "http": 80}[parts.scheme]
    origin = f"{parts.scheme}://{name}" if port in (None, usual) else f"{parts.scheme}://{name}:{port}"
    if is_loopback(host):
        return origin, frozenset()
    return origin, frozenset({name, f"{name}:{usual}"} if port in (None, usual) else {f"{name}:{port}"})


def _forwarded(scope: Mapping[str, Any]) -> Iterator[Address | None]:
    values = [value for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    for entry in reversed(b",".join(values).split(b",")):
        yield parse_address(entry.decode("latin-1"))
