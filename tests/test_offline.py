"""With `--offline` nothing leaves the machine: as the kernel sees it, and as strace sees it."""

import http.client
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ruma.config import write_setting
from ruma.offline import is_here, landlock_version
from tests.harness.needs import needs
from tests.harness.process import RUMA, environ_of, ruma

STRACE = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg"]

BEHIND_THE_HOOK = """
import ctypes, socket, struct, sys
from ruma.offline import close_network
print(close_network([int(port) for port in sys.argv[1:]]))
# Past Python's audit events, as a library in C would do it.
libc = ctypes.CDLL(None, use_errno=True)
def reach(host, port, kind=socket.SOCK_STREAM):
    made = libc.socket(socket.AF_INET, kind, 0)
    address = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), socket.inet_aton(host))
    return "reached" if libc.connect(made, address, 16) == 0 else ctypes.get_errno()
for port in (1, 587):
    print(reach("127.0.0.1", port))
print(reach("192.0.2.1", 53, socket.SOCK_DGRAM))
"""


def addresses(trace: Path) -> set[str]:
    """Return the internet addresses that a traced command tried to reach."""
    text = trace.read_text(errors="replace")
    return set(re.findall(r'inet_(?:addr|pton)\((?:AF_INET6, )?"([^"]+)"', text))


def behind(*ports: int) -> list[str]:
    """Return what a process behind the kernel's wall found."""
    done = subprocess.run(
        [sys.executable, "-c", BEHIND_THE_HOOK, *map(str, ports)], capture_output=True, text=True, check=True
    )
    return done.stdout.split("\n")


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("LOCALHOST.", True),
        ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("169.254.169.254", False),
        ("localhost.example", False), ("127.0.0.1.example", False), ("2130706433", False), ("", False),
        ("::ffff:10.0.0.1", False), ("fe80::1%lo", False),
    ],
)  # fmt: skip
def test_only_this_machine_is_here(host: str, answer: bool) -> None:
    """Loopback in all its spellings is here; what a resolver would have to be asked for is not."""
    assert is_here(host) is answer


@needs("userns")
def test_the_kernel_has_no_network_for_it() -> None:
    """In a namespace of its own a process reaches nothing, whatever it calls: not even C code without Python."""
    wall, *found, _ = behind()

    assert wall == "network namespace"
    assert "reached" not in found
    assert found[2] == "101"  # network is unreachable: datagrams, and so names, too


@pytest.mark.skipif(landlock_version() < 4, reason="this kernel has no Landlock for networks")
def test_with_a_mail_server_here_the_kernel_allows_its_port_alone() -> None:
    """Landlock refuses every other port (13: not allowed); at the mail server's there is only nobody (111)."""
    wall, other, mail, _, _ = behind(587)

    assert wall == "Landlock"
    assert (other, mail) == ("13", "111")


@needs("strace")
@pytest.mark.parametrize("is_offline", [True, False])
def test_nothing_is_reached_with_a_chat(tmp_path: Path, is_offline: bool) -> None:
    """Reading, asking, a server with a question and a hand-over: no address but this machine's.

    Offline that holds with mail set up; else it shows that there is no telemetry and no look for a new version.
    """
    home, documents, trace = tmp_path / "home", tmp_path / "documents", tmp_path / "trace"
    documents.mkdir()
    (documents / "hours.md").write_text("# Hours\n\nThe shop opens on Sundays from 8:00 to 12:00.\n")
    mail = {"smtp_host": "192.0.2.25", "mail_from": "agent@shop.example"} if is_offline else {}
    for name, value in {**mail, "port": 0}.items():
        write_setting(home, name, value)
    env = environ_of(home, RUMA_OFFLINE="1" if is_offline else "0")

    def traced(*args: str) -> None:
        command = [*STRACE, "-A", "-o", str(trace), *RUMA, *args]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    traced("ingest", str(documents))
    traced("ask", "When does the shop open on Sundays?", "--mode", "quote")
    traced("agent", "set", "--published")
    # -D: the process that is started is the server's own, so that it can be told to stop.
    command = [*STRACE, "-D", "-A", "-o", str(trace), *RUMA, "serve"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr
            port = 0
            while not port:
                line = server.stderr.readline()
                assert line, "the server ended"
                found = re.search(r", port (\d+)", line)
                port = int(found[1]) if found else 0
            said = post(port, "chat", {"question": "When does the shop open on Sundays?"})
            assert "8:00" in said["text"]
            post(
                port,
                "conversation/person",
                {"name": "Ana", "email": "ana@example.com", "message": "Please call me."},
                secret=said["conversation"],
            )
            time.sleep(0.3)  # the outbox would have begun by now
        finally:
            server.terminate()
            try:
                server.communicate(timeout=20)
            finally:
                server.kill()

    assert not {address for address in addresses(trace) if not is_here(address)}
    assert "sendto(" in trace.read_text()  # the server's own wake-ups: it was traced


def post(port: int, place: str, body: dict[str, str], secret: str = "") -> dict[str, str]:
    """Return what the API answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json"} | ({"X-Ruma-Conversation": secret} if secret else {})
    connection.request("POST", f"/t/main/api/{place}", json.dumps(body), headers)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    assert response.status < 300, text
    return json.loads(text) if text else {}


def test_doctor_says_what_closes_the_network(tmp_path: Path) -> None:
    """The line *network* names the door, and offline what of the kernel stands behind it."""
    online = ruma("doctor", "--json", home=tmp_path / "home")
    offline = ruma("--offline", "doctor", "--json", home=tmp_path / "home")

    def line(output: str) -> str:
        return next(one["text"] for one in json.loads(output)["findings"] if one["subject"] == "network")

    assert "one door" in line(online.stdout)
    assert line(offline.stdout).startswith("offline: ")
    assert not ruma("--offline", "ledger", "--operator", home=tmp_path / "home").returncode


def test_offline_the_check_of_a_website_is_refused_and_written_down(tmp_path: Path) -> None:
    """`ruma --offline widget check` says why it does not fetch, and the ledger has the refusal."""
    home = tmp_path / "home"
    assert not ruma("tenant", "create", "acme", home=home).returncode

    done = ruma("--offline", "widget", "check", "http://192.0.2.80/", home=home)

    assert done.returncode == 1
    assert "Ruma is offline" in done.stderr
    (entry,) = json.loads(ruma("ledger", "--json", home=home).stdout)
    assert (entry["host"], entry["outcome"], entry["reason"]) == ("192.0.2.80", "refused", "offline")
