"""What is kept of a network address: where it comes from, not whose it is."""

import ipaddress


def network_of(address: str) -> str:
    """Return the network that an address belongs to, 192.0.2.0/24 or 2001:db8::/48; "" where it is no address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, 48), strict=False))
        found = found.ipv4_mapped
    return str(ipaddress.ip_network((found, 24), strict=False))
