"""Origins of websites, as browsers compare them: scheme, host and port, and nothing else."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from ruma.errors import InputError

_DEFAULT_PORTS = {"https": 443, "http": 80}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_HINT = "Write it as https://www.example.com, as the browser's address line shows it."


def parse_origin(text: str) -> str:
    """Return an origin in the one form that browsers send: small letters, no default port, no slash at the end.

    Raises:
        InputError: It is no origin, holds a path or a wildcard, or is not encrypted and not on this machine.
    """
    text = text.strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise InputError(f"{text[:80]!r} is not the address of a website.", hint=_HINT) from exc
    host = _host(parts, text)
    if parts.scheme not in _DEFAULT_PORTS:
        raise InputError(f"The website {text[:80]!r} does not begin with https://.", hint=_HINT)
    if parts.path not in ("", "/") or parts.query or parts.fragment or "?" in text or "#" in text:
        raise InputError(
            f"The website {text[:80]!r} has more than scheme, host and port.",
            hint=f"A website is allowed as a whole: {parts.scheme}://{parts.netloc.lower()}",
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise InputError(
            f"The website {text[:80]!r} is not encrypted.",
            hint="Only https:// is allowed, but for this machine's own pages.",
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")


def _host(parts: SplitResult, text: str) -> str:
    host = parts.hostname or ""
    if "*" in host:
        raise InputError(
            f"The website {text[:80]!r} has a wildcard.", hint="List each website by itself; it is matched exactly."
        )
    if "@" in parts.netloc or any(letter.isspace() for letter in text):
        raise InputError(f"{text[:80]!r} is not the address of a website.", hint=_HINT)
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        host = host.encode("idna").decode("ascii").lower()
    except UnicodeError as exc:
        raise InputError(f"{text[:80]!r} is not the address of a website.", hint=_HINT) from exc
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split(".")):
        raise InputError(f"{text[:80]!r} is not the address of a website.", hint=_HINT)
    return host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
