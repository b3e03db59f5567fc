"""The one door out: what it writes down, and that there is no other."""

import ast
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ruma.connections import FILE_NAME, Attempt, Ending, HomeLedger, open_connection
from ruma.errors import NotFoundError, StoreError
from ruma.tenant.connections import TenantLedger, list_connections, list_recipients
from ruma.tenant.tenant import Tenant
from tests.ledgers import MemoryLedger
from tests.running import run

ROOT = Path(__file__).parents[1] / "ruma"
CLIENTS = {
    "smtplib": {"business/mail.py"},
    "http.client": {"ingest/fetching.py"},
}
"""Modules of Python that speak to others, and who may import them: each gets its socket from the door."""

NOWHERE = {
    "urllib.request",
    "urllib.error",
    "ftplib",
    "poplib",
    "imaplib",
    "nntplib",
    "telnetlib",
    "xmlrpc",
    "asyncio.streams",
    "socketserver",
    "webbrowser",
}
FOREIGN = {"requests", "httpx", "httpcore", "aiohttp", "urllib3", "websockets", "boto3", "grpc", "paramiko", "httpx2"}
OPENING = {"create_connection", "connect", "connect_ex", "sendto", "SMTP", "SMTP_SSL"}


@pytest.fixture
def echo() -> Iterator[int]:
    """Return the port of a server that sends back three bytes for every ten it gets, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError), listening.accept()[0] as connection:
                connection.sendall(b"abc" * (len(connection.recv(1000)) // 10))

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


def test_a_connection_is_written_down_with_its_bytes(echo: int) -> None:
    """Host, port, address, purpose and the bytes of both directions, as the kernel counted them."""
    ledger = MemoryLedger()

    with open_connection("localhost", echo, purpose="a test", ledger=ledger, timeout=5) as connection:
        assert ledger.endings == {}  # written down before, completed after
        connection.sendall(b"x" * 200)
        assert connection.recv(100) == b"abc" * 20
        assert connection.recv(100) == b""

    (attempt,), ending = ledger.attempts, ledger.endings[0]
    assert (attempt.host, attempt.port, attempt.purpose) == ("localhost", echo, "a test")
    assert (ending.outcome, ending.reason, ending.address) == ("done", "", "127.0.0.1")
    assert ending.bytes_out == 200
    assert ending.bytes_in in (60, 61)  # the kernel counts the end of a stream as one


def test_a_connection_that_fails_is_written_down_too(echo: int) -> None:
    """Nobody at the port, and a failure on the way: both with the reason, neither with what was sent."""
    ledger = MemoryLedger()

    with (
        pytest.raises(ConnectionRefusedError),
        open_connection("127.0.0.1", 1, purpose="a test", ledger=ledger, timeout=5),
    ):
        pass
    opened = open_connection("127.0.0.1", echo, purpose="a test", ledger=ledger, timeout=5)
    with pytest.raises(ZeroDivisionError), opened as connection:
        raise ZeroDivisionError(connection.send(b"secret"))

    assert [one.outcome for one in ledger.endings.values()] == ["failed", "failed"]
    assert [one.reason for one in ledger.endings.values()] == ["Connection refused", "ZeroDivisionError"]


def test_what_cannot_be_written_down_is_not_opened(echo: int) -> None:
    """A ledger that fails, as on a full disk, stops the connection before it is made."""

    class Full(MemoryLedger):
        def begin(self, attempt: Attempt) -> int:
            raise StoreError("The disk is full.")

    with (
        pytest.raises(StoreError),
        open_connection("127.0.0.1", echo, purpose="a test", ledger=Full(), timeout=5),
    ):
        pytest.fail("it was opened")


def test_a_tenant_that_is_gone_has_no_connections(tenant: Tenant, echo: int) -> None:
    """Once its directory is removed nothing is opened for it any more."""
    ledger = TenantLedger(tenant)
    tenant.close()

    with (
        pytest.raises(NotFoundError),
        open_connection("127.0.0.1", echo, purpose="a test", ledger=ledger, timeout=5),
    ):
        pytest.fail("it was opened")


def test_a_tenants_ledger_counts_by_recipient(tenant: Tenant) -> None:
    """Rows come newest first and page by number; recipients add up, those refused left out."""
    ledger = TenantLedger(tenant)
    for place, outcome in enumerate(["done", "failed", "refused"]):
        host = f"{'other' if outcome == 'refused' else 'mail'}.example"
        number = ledger.begin(Attempt(f"2026-01-0{place + 1}T08:00:00Z", "mail: a trial", host, 587))
        ledger.end(number, Ending(outcome, bytes_out=100, bytes_in=10))  # type: ignore[arg-type]

    first, second, third = list_connections(tenant)

    assert (first.ending.outcome, third.ending.outcome) == ("refused", "done")
    assert [one.id for one in list_connections(tenant, before=third.id + 1)] == [third.id]
    (mail,) = list_recipients(tenant)
    assert (mail.host, mail.connections, mail.bytes_out, mail.last_at) == ("mail.example", 2, 200, second.attempt.at)


def test_the_operators_ledger_is_lines_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is the owner's alone, damage to a line loses that line, and it does not grow without end."""
    ledger = HomeLedger(tmp_path / "home")
    number = ledger.begin(Attempt("2026-01-01T08:00:00Z", "a test", "a.example", 443))
    ledger.end(number, Ending("failed", "Connection refused"))
    file = tmp_path / "home" / FILE_NAME
    with file.open("a") as broken:
        broken.write('{"id": 1, "at"\n[]\n')
    ledger.begin(Attempt("2026-01-02T08:00:00Z", "a test", "b.example", 443))

    rows = ledger.read()

    assert file.stat().st_mode & 0o777 == 0o600
    assert [(attempt.host, ending.outcome) for _, attempt, ending in rows] == [
        ("b.example", "open"),
        ("a.example", "failed"),
    ]
    monkeypatch.setattr("ruma.connections.MOST_BYTES", 2000)
    for _ in range(40):
        ledger.begin(Attempt("2026-01-03T08:00:00Z", "a test", "c.example", 443))
    assert file.stat().st_size < 2300
    assert json.loads(file.read_text().splitlines()[-1])["host"] == "c.example"


def test_the_check_of_a_website_is_in_the_ledger(tenant: Tenant, echo: int) -> None:
    """`ruma widget check` of an address is a connection of the tenant's, as the operator's action."""
    result = run("widget", "check", f"http://127.0.0.1:{echo}/", "--tenant", "acme")

    assert result.exit_code == 1
    (row,) = list_connections(tenant)
    assert (row.attempt.port, row.attempt.purpose) == (echo, "a website is checked for the widget")
    assert row.actor.kind == "operator"


def calls_and_imports(path: Path) -> tuple[set[str], set[str]]:
    """Return what a file calls, by its last name, and what it imports."""
    tree = ast.parse(path.read_text())
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    imports = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return calls, imports


def test_no_module_has_a_door_of_its_own() -> None:
    """No file but the door calls what opens a connection, and clients of Python's are imported where they use it."""
    for path in sorted(ROOT.rglob("*.py")):
        name = str(path.relative_to(ROOT))
        calls, imports = calls_and_imports(path)
        if name not in ("connections.py", "tenant/database.py"):  # SQLite's `connect` opens a file
            assert not calls & OPENING, f"{name} calls {calls & OPENING}"
        for module, owners in CLIENTS.items():
            assert module not in imports or name in owners, f"{name} imports {module}"
        assert not imports & (NOWHERE | FOREIGN), f"{name} imports {imports & (NOWHERE | FOREIGN)}"


def test_the_lint_would_notice(tmp_path: Path) -> None:
    """What the test above looks for is found where it stands."""
    file = tmp_path / "x.py"
    file.write_text(
        "import urllib.request\nfrom smtplib import SMTP\nimport socket\nsocket.create_connection(('a', 1))\n"
    )

    calls, imports = calls_and_imports(file)

    assert calls & OPENING
    assert {"urllib.request", "smtplib"} <= imports


AROUND = """
import socket, sys, threading
from pathlib import Path
from ruma.connections import HomeLedger, note_refused, open_connection
from ruma.offline import watch_process
ledger = HomeLedger(Path(sys.argv[1]))
watch_process(offline=sys.argv[2] == "offline", report=lambda host, port: note_refused(ledger, host, port))
def attempt(name, act):
    try:
        act()
        print(name, "passed")
    except PermissionError:
        print(name, "refused")
    except Exception as exc:
        print(name, type(exc).__name__)
def udp(): socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53))
def tcp():
    s = socket.socket(); s.settimeout(0.2); s.connect(("192.0.2.1", 80))
def six():
    s = socket.socket(socket.AF_INET6); s.settimeout(0.2); s.connect_ex(("2001:db8::1", 80))
def door():
    with open_connection("192.0.2.1", 80, purpose="a test", ledger=ledger, timeout=0.2): pass
def here():
    with socket.create_server(("127.0.0.1", 0)) as s, socket.create_connection(s.getsockname()): pass
def raw(): socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
def phone():
    import urllib.request
    urllib.request.urlopen("http://telemetry.example/ping", timeout=1)
def pair(): socket.socketpair()
attempt("udp", udp); attempt("tcp", tcp); attempt("six", six)
attempt("name", lambda: socket.gethostbyname("a.example"))
attempt("here", here); attempt("pair", pair); attempt("door", door); attempt("raw", raw); attempt("phone", phone)
attempt("fqdn", lambda: socket.gethostbyaddr("192.0.2.1"))
attempt("mapped", lambda: socket.socket(socket.AF_INET6).connect(("::ffff:192.0.2.1", 80)))
thread = threading.Thread(target=lambda: attempt("thread", udp)); thread.start(); thread.join()
"""


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_nothing_in_the_process_goes_around_the_door(tmp_path: Path, mode: str) -> None:
    """UDP, TCP, IPv6, names and other threads are refused, offline the door too; loopback and pipes stay free."""
    done = subprocess.run([sys.executable, "-c", AROUND, tmp_path, mode], capture_output=True, text=True, check=True)

    found = dict(line.split() for line in done.stdout.splitlines())
    assert {found.pop(name) for name in ("here", "pair")} == {"passed"}
    door, raw = found.pop("door"), found.pop("raw")
    # An error of urllib's own, made of the refusal.
    assert found.pop("phone") == "URLError"
    assert set(found.values()) == {"refused"}, found
    if mode == "offline":
        assert door == "InputError"
        assert raw == "refused"
    else:
        assert door not in ("refused", "InputError")  # whatever the network here makes of it
    hosts = {attempt.host: ending.outcome for _, attempt, ending in HomeLedger(tmp_path).read()}
    assert hosts["telemetry.example"] == "refused"
    assert hosts["192.0.2.1"] in ("refused", "failed")
