"""An internet of its own on this machine: addresses that are forbidden, one that is public, and a server for names.

Run as `unshare -rmn python -m tests.harness.internet` it prints, as JSON, what became of each address that it read from
its standard input, and every address at which somebody was asked. The kernel's own network is not there.
"""

import ctypes
import json
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

from ruma.errors import InputError
from ruma.ingest.addresses import Reach, read_address
from ruma.ingest.fetching import Door, Limits, fetch
from tests.hostile import HostileServer
from tests.ledgers import MemoryLedger

PUBLIC = "93.184.216.34"
FORBIDDEN = ("127.0.0.1", "169.254.169.254", "10.0.0.5", "172.16.0.9", "192.168.1.1", "100.64.0.1", "fd00::5", "::1")
_CLONE_NEWNET = 0x40000000
OWN = "93.184.216.99"
"""Public, and this machine's."""

NAMES: dict[str, list[list[str]]] = {
    "public.test": [[PUBLIC]],
    # Public when it is asked for the first time, here when it is asked again.
    "rebinding.test": [[PUBLIC], ["127.0.0.1"]],
    "half.test": [[PUBLIC, "10.0.0.5"]],
    "six.test": [[PUBLIC, "fd00::5"]],
    "metadata.test": [["169.254.169.254"]],
    "127.0.0.1.nip.test": [["127.0.0.1"]],
    "own.test": [[OWN]],
}
"""What a name's addresses are, one answer after another; the last one stays."""


def main() -> None:
    """Be the internet, read what is asked for, and print what became of it."""
    _make_network()
    threading.Thread(target=_serve_names, daemon=True).start()
    servers = {host: HostileServer(host, 80) for host in (*FORBIDDEN, OWN)}
    servers["127.0.0.1:6379"] = HostileServer("127.0.0.1", 6379)
    servers[PUBLIC] = _serve_elsewhere()
    servers[PUBLIC].pages["/"] = (200, {}, b"public")
    ledger = MemoryLedger()
    door = Door(ledger, "a test", Reach())
    found = {}
    for url in json.load(sys.stdin):
        try:
            found[url] = fetch(read_address(url), door, Limits(seconds=5)).body.decode()
        except InputError as exc:
            found[url] = f"refused: {exc}"
    asked = {host: server.asked for host, server in servers.items()}
    outcomes = [[ledger.attempts[at].host, ending.outcome] for at, ending in ledger.endings.items()]
    json.dump({"found": found, "asked": asked, "outcomes": outcomes}, sys.stdout)


def _make_network() -> None:
    """Give this machine its addresses and its name server."""
    folder = Path(tempfile.mkdtemp())
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    (folder / "nsswitch.conf").write_text("hosts: files dns\n")
    added = [one for one in (*FORBIDDEN, OWN) if one not in ("127.0.0.1", "::1")]
    _run("ip link set lo up")
    for address in added:
        _run(f"ip addr add {address}/{'128' if ':' in address else '32'} dev lo")
    for file in folder.iterdir():
        if Path("/etc", file.name).exists():
            _run(f"mount --bind {file} /etc/{file.name}")


def _serve_elsewhere() -> HostileServer:
    """Return a server on another machine: its network is a thread's own, with a wire to this one."""
    left, wired = threading.Event(), threading.Event()
    found: list[HostileServer] = []
    ids: list[int] = []

    def be_elsewhere() -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "no network of its own")
        ids.append(threading.get_native_id())
        left.set()
        wired.wait()
        _run(f"ip addr add {PUBLIC}/24 dev there")
        _run("ip link set there up")
        found.append(HostileServer(PUBLIC, 80))

    thread = threading.Thread(target=be_elsewhere)
    thread.start()
    left.wait()
    _run("ip link add here type veth peer name there")
    _run(f"ip link set there netns {ids[0]}")
    _run("ip addr add 93.184.216.98/24 dev here")
    _run("ip link set here up")
    wired.set()
    thread.join()
    return found[0]


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def _serve_names() -> None:
    """Answer questions about names, each with what is next."""
    counts: Counter[tuple[str, int]] = Counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        while True:
            question, client = server.recvfrom(512)
            name, kind, end = _read_question(question)
            answers = NAMES.get(name, [])
            at = min(counts[name, kind], len(answers) - 1)
            counts[name, kind] += 1
            addresses = [one for one in (answers[at] if answers else []) if (":" in one) == (kind == 28)]
            server.sendto(_write_answer(question, end, kind, addresses, is_known=bool(answers)), client)


def _read_question(question: bytes) -> tuple[str, int, int]:
    at, labels = 12, []
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode())
        at += 1 + question[at]
    return ".".join(labels).lower(), struct.unpack_from(">H", question, at + 1)[0], at + 5


def _write_answer(question: bytes, end: int, kind: int, addresses: list[str], *, is_known: bool) -> bytes:
    head = question[:2] + struct.pack(">HHHHH", 0x8180 if is_known else 0x8183, 1, len(addresses), 0, 0)
    rows = b""
    for address in addresses:
        packed = socket.inet_pton(socket.AF_INET6 if kind == 28 else socket.AF_INET, address)
        rows += struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(packed)) + packed
    return head + question[12:end] + rows


if __name__ == "__main__":
    main()
