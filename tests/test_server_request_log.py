import asyncio
import contextlib
import errno
import io
import json
import re
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.server import request_log
from ruma.server.addresses import PublicAddress
from ruma.server.app import create_app
from ruma.server.request_log import LineWriter, RequestLog
from ruma.tenant.home import Home
from tests.serving import EMBEDDER, FLAGS, QUESTION, make_tenant

PUBLIC = PublicAddress(trusted_proxies=(ip_network("127.0.0.1"),))
CHAT = "/t/acme/api/chat"


class Logged:
    """A client of a whole server, and the lines that its requests were."""

    def __init__(self, home: Home) -> None:
        """Put the log around the server's application."""
        self.texts: list[str] = []
        log = RequestLog(create_app(home, lambda: EMBEDDER, lambda _: None, public=PUBLIC), PUBLIC, self.texts.append)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await log({**scope, "client": ("127.0.0.1", 4711)}, receive, send)

        self.client: TestClient[Any] = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)

    def line(self) -> dict[str, Any]:
        """Return what the last line says."""
        found: dict[str, Any] = json.loads(self.texts[-1])
        return found


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    """Return a server with a tenant, whose log is kept."""
    home = Home(load_settings({"home": tmp_path_factory.mktemp("logged"), **FLAGS}, {}))
    make_tenant(home)
    logged = Logged(home)
    with logged.client:
        yield logged


async def call(scope: dict[str, Any], *messages: dict[str, Any]) -> str:
    """Return the line of a request to an application that sends these messages, or fails where there is none."""
    lines: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
        if not messages:
            raise RuntimeError("hushhush")

    async def send(message: Any) -> None:
        pass

    whole = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": ("203.0.113.7", 1), **scope}
    with contextlib.suppress(RuntimeError):
        await RequestLog(app, PublicAddress(), lines.append)(whole, None, send)  # type: ignore[arg-type]
    (line,) = lines
    return line


def test_a_request_is_one_line(logged: Logged) -> None:
    """The line says when, how, which route of which tenant, how it went, how long, how much, and from which network."""
    response = logged.client.get("/t/acme/", headers={"X-Forwarded-For": "198.51.100.77"})

    line = logged.line()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    assert line.pop("ms") > 0
    assert line == {
        "method": "GET",
        "route": "/t/{name}",
        "tenant": "acme",
        "status": 200,
        "bytes": len(response.content),
        "address": "198.51.100.0/24",
    }


def test_no_content_is_in_it(logged: Logged) -> None:
    """Neither a question nor an answer, nor a query, a header or an id in the path, is in the log."""
    before = len(logged.texts)

    logged.client.post(CHAT, json={"question": QUESTION})
    logged.client.get("/t/acme/?secret=hushhush", headers={"User-Agent": "hushhush", "Referer": "https://hushhush"})
    logged.client.get("/t/acme/documents/4711")
    logged.client.get("/hushhush/of?someone")

    written = "\n".join(logged.texts[before:])
    assert len(logged.texts) == before + 4
    for word in ("Marrowby", "delivery", "secret", "hushhush", "4711", "someone", "\u00a32.50"):
        assert word not in written
    assert json.loads(logged.texts[before])["route"] == "/t/{name}/api/chat"


@pytest.mark.parametrize("path", ["/nothing", "/t/acme/nothing/here", "/t/acme/api/nothing", "/%2e%2e/etc"])
def test_an_unknown_route_is_called_so(logged: Logged, path: str) -> None:
    """What is no route is logged as unknown, and never as it was typed."""
    assert logged.client.get(path).status_code == 404

    assert (logged.line()["route"], logged.line()["status"], logged.line()["tenant"]) == ("unknown", 404, "")


def test_a_refused_request_is_a_line_too(logged: Logged) -> None:
    """What the door refuses before the routes, is logged with its status."""
    logged.client.get("/t/acme/", headers={"Host": "evil.example"})
    assert (logged.line()["status"], logged.line()["route"]) == (421, "unknown")

    logged.client.post(CHAT, json={"question": QUESTION}, headers={"Origin": "https://evil.example"})
    assert logged.line()["status"] == 403


def test_a_head_request_has_its_route(logged: Logged) -> None:
    """A HEAD is logged as what it was, with the route that answered it."""
    logged.client.head("/t/acme/")

    assert (logged.line()["method"], logged.line()["route"]) == ("HEAD", "/t/{name}")


@pytest.mark.parametrize(
    "name", ["%0a%7b%22status%22:200%7d", "%1b%5b2J", "Acme", "a" * 400, "%e2%80%ae", "..%2f..", "%00"]
)
def test_a_tenant_that_can_be_none_is_not_named(logged: Logged, name: str) -> None:
    """What stands in a tenant's place and could not be its name is left out."""
    logged.client.get(f"/t/{name}/")

    assert logged.line()["tenant"] == ""
    assert logged.texts[-1].isprintable()


@pytest.mark.parametrize("path", ["", "sign-in", "widget.js", "api/agent", "api/members"])
def test_a_tenant_is_named_only_where_there_is_one(logged: Logged, path: str) -> None:
    """A name that could be a tenant's but is none is somebody's word, and stays out; a tenant's own is said."""
    assert logged.client.get(f"/t/jane-doe-1971/{path}").status_code == 404
    assert "jane" not in logged.texts[-1]
    assert "/t/{name}" in logged.line()["route"]

    logged.client.get(f"/t/acme/{path}")
    assert logged.line()["tenant"] == "acme"


def test_a_failure_is_logged_as_one() -> None:
    """An application that fails before it answers is a 500, and its words are not in the line."""
    line = asyncio.run(call({}))

    assert json.loads(line)["status"] == 500
    assert "hushhush" not in line


def test_a_client_that_left_has_no_status() -> None:
    """A request that ended before a response has the status 0."""
    assert json.loads(asyncio.run(call({}, {"type": "http.nothing"})))["status"] == 0


def test_hostile_parts_stay_inside_the_line() -> None:
    """A strange method, and control characters in what a client chose, can neither end the line nor act."""
    start = {"type": "http.response.start", "status": 200, "headers": []}
    hostile = {
        "method": "GET\r\n{}",
        "path": "/\x1b[2J\n",
        "headers": [(b"x-forwarded-for", b"\n1.2.3.4"), (b"user-agent", b"x" * 1_000_000)],
        "path_template": "/t/{name}",
    }

    line = asyncio.run(call(hostile, start))

    found = json.loads(line)
    assert line.isascii()
    assert line.isprintable()
    assert len(line) <= 500
    assert (found["method"], found["tenant"], found["address"]) == ("other", "", "203.0.113.0/24")


class Stuck(io.StringIO):
    """A file that nobody reads: the first write waits until it is freed."""

    def __init__(self) -> None:
        """Be stuck."""
        super().__init__()
        self.freed = threading.Event()

    def write(self, text: str) -> int:
        """Wait, and then write."""
        self.freed.wait(10)
        return super().write(text)


def test_lines_are_written_in_order() -> None:
    """Every line reaches the file, in order, by the time the writer is closed."""
    file = io.StringIO()
    writer = LineWriter(file)

    for number in range(1000):
        writer.write(str(number))
    writer.close()

    assert file.getvalue().splitlines() == [str(number) for number in range(1000)]


def test_a_file_that_stands_still_stops_nothing() -> None:
    """Where nothing takes the lines, writing returns at once; how many were left out is said later."""
    file = Stuck()
    writer = LineWriter(file)

    begun = time.monotonic()
    for number in range(12_000):
        writer.write(str(number))
    seconds = time.monotonic() - begun
    file.freed.set()
    writer.close()

    lines = file.getvalue().splitlines()
    assert seconds < 1
    assert 10_000 <= len(lines) <= 10_010
    assert any("left_out" in line for line in lines)


class Full(io.StringIO):
    """A file on a disk that is full for a while: it takes what it is given, and cannot pass it on."""

    def __init__(self) -> None:
        """Be full three times."""
        super().__init__()
        self.left = 3

    def write(self, text: str) -> int:
        """Take it, and try to pass it on as a file of lines does."""
        taken = super().write(text)
        self.flush()
        return taken

    def flush(self) -> None:
        """Fail while the disk is full."""
        if self.left:
            self.left -= 1
            raise OSError(errno.ENOSPC, "No space left on device")


def test_lines_wait_for_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is space again every line comes, once and in order."""
    monkeypatch.setattr(request_log, "FULL_SECONDS", 0.01)
    file = Full()
    writer = LineWriter(file)

    for number in range(100):
        writer.write(str(number))
    writer.close()

    assert file.left == 0
    assert file.getvalue().splitlines() == [str(number) for number in range(100)]


def test_a_file_that_breaks_stops_nothing() -> None:
    """When nobody reads any more, lines go nowhere, and nothing is raised."""
    file = io.StringIO()
    file.close()
    writer = LineWriter(file)

    for _ in range(20_000):
        writer.write("line")
    writer.close()
