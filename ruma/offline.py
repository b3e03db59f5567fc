"""Keeps this process from the network, as Python sees it and as the kernel does.

In every command an audit hook refuses what would leave the machine around the one door (`ruma.connections`).
With the setting `offline` it refuses the door too, and the kernel takes the network away where it can.
"""

import ctypes
import errno
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, Literal

Wall = Literal["network namespace", "Landlock", "none"]
"""What of the kernel keeps a process from the network."""

_CLONE_NEWUSER, _CLONE_NEWNET, _PR_SET_NO_NEW_PRIVS = 0x10000000, 0x40000000, 38
# https://docs.kernel.org/userspace-api/landlock.html: the numbers are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _NET_CONNECT_TCP, _RULE_NET_PORT, _FIRST_WITH_NET = 1, 1 << 1, 2, 4

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_DGRAM = 1, 2
_WATCHED = frozenset(
    {
        "socket.__new__",
        "socket.connect",
        "socket.sendto",
        "socket.sendmsg",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.gethostbyaddr",
        "socket.getnameinfo",
    }
)
"""The audit events of https://docs.python.org/3/library/audit_events.html that come before anything is sent."""

Report = Callable[[str, int], object]
"""Told the host and the port of what was refused."""

_lock = threading.Lock()
_passing = threading.local()
_is_watching = _is_offline = False
_wall: Wall = "none"
_report: Report | None = None


class OutsideError(PermissionError):
    """Something in this process would have left the machine, and may not."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.EACCES, text)


def is_offline() -> bool:
    """Tell whether nothing may leave the machine."""
    return _is_offline


def wall() -> Wall:
    """Return what of the kernel stands between this process and the network."""
    return _wall


def watch_process(*, offline: bool, report: Report | None = None) -> None:
    """Refuse, for the rest of this process, every connection that does not go through the door.

    Sockets of this machine stay free: loopback addresses and Unix sockets. There is no way back, as Python has none.

    Args:
        offline: Refuse the door's connections too.
        report: Told of what was refused outside the door.
    """
    global _is_watching, _is_offline, _report
    with _lock:
        _is_offline = _is_offline or offline
        _report = report or _report
        if not _is_watching:
            _is_watching = True
            sys.addaudithook(_watch)


@contextmanager
def passing() -> Iterator[None]:
    """Let this thread reach out: for the door alone."""
    _passing.on = True
    try:
        yield
    finally:
        _passing.on = False


def is_here(host: str) -> bool:
    """Tell whether a host can only be this machine, without looking its name up."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def close_network(ports: Sequence[int] = ()) -> Wall:
    """Have the kernel take the network from this process and all that it starts, and say what of it does.

    It holds for this thread and all that are started later, so it does nothing where there are several of Python's;
    a library's own workers, which run nothing of ours, keep theirs. Sockets that are open stay open, so that a server
    can go on listening.

    Args:
        ports: Ports that must stay within reach on this machine, such as a mail server's. Then the kernel can only
            tell ports apart, not machines; the audit hook does that.
    """
    global _wall
    libc = ctypes.CDLL(None, use_errno=True)
    if _wall != "none" or threading.active_count() > 1:
        return _wall
    # A new network namespace has other abstract sockets, and a keyring may answer at one.
    is_abstract = "abstract=" in os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    if not ports and not is_abstract and _leave_network(libc):
        _wall = "network namespace"
    elif _allow_only(libc, ports):
        _wall = "Landlock"
    return _wall


def landlock_version() -> int:
    """Return the version of Landlock's interface that the kernel has; 0 for none. From 4 on it knows the network."""
    found = ctypes.CDLL(None, use_errno=True).syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    return max(0, int(found))


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event not in _WATCHED:
        return
    if event == "socket.__new__":
        _check_kind(args[1], args[2])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        if not _is_address(_text(args[0])):
            _check(_text(args[0]), args[1] if event == "socket.getaddrinfo" else 0)
    elif event == "socket.gethostbyaddr":
        _check(_text(args[0]), 0)  # the name behind an address is asked of others, too
    elif event == "socket.getnameinfo":
        _check(*_place(args[0]))
    elif args[0].family != _AF_UNIX and args[1] is not None:
        _check(*_place(args[1]))


def _check_kind(family: int, kind: int) -> None:
    """Refuse raw, packet and other sockets offline: their addresses say nothing."""
    is_plain = kind < 0 or kind & 0xF in (_SOCK_STREAM, _SOCK_DGRAM)
    is_known = family in (_AF_UNIX, -1) or (family in (_AF_INET, _AF_INET6) and is_plain)
    if _is_offline and not is_known:
        raise OutsideError("This program is offline.")


def _check(host: str, port: Any) -> None:
    if is_here(host):
        return
    if _is_offline:
        text = "This program is offline."
    elif not getattr(_passing, "on", False):
        text = "This program connects only where it writes down that it does."
    else:
        return
    if _report is not None and not getattr(_passing, "on", False):
        _report(host, port if isinstance(port, int) else 0)
    raise OutsideError(text)


def _place(address: Any) -> tuple[str, Any]:
    is_internet = isinstance(address, tuple) and len(address) >= 2
    return (_text(address[0]), address[1]) if is_internet else ("", 0)


def _text(host: Any) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")


def _is_address(host: str) -> bool:
    if not host:
        return True  # every address of this machine, to listen on
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _leave_network(libc: ctypes.CDLL) -> bool:
    if libc.unshare(_CLONE_NEWNET) == 0:
        return True
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    # The same numbers as before, so that files keep their owner; without this every file would be somebody else's.
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    return True


def _allow_only(libc: ctypes.CDLL, ports: Sequence[int]) -> bool:
    if landlock_version() < _FIRST_WITH_NET:
        return False
    attributes = struct.pack("=QQ", 0, _NET_CONNECT_TCP)
    rules = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        return False
    try:
        for port in ports:
            rule = struct.pack("=QQ", _NET_CONNECT_TCP, port)
            if libc.syscall(_ADD_RULE, rules, _RULE_NET_PORT, rule, 0) != 0:
                return False
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)
