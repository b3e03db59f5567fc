import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import make_certificate
from tests.guarded import ASKED, Guarded, read_all, read_until, request


@pytest.fixture(scope="module", params=["plain", "tls"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Return a server with short deadlines, once without and once with TLS."""
    tls = make_certificate(tmp_path_factory.mktemp("tls")) if request.param == "tls" else None
    with Guarded(tls=tls) as server:
        server.get()
        yield server


@pytest.fixture
def server(running: Guarded) -> Iterator[Guarded]:
    """Return that server; connections that a test leaves open are closed after it."""
    yield running
    running.drop()


def seconds_until_cut(connection: socket.socket) -> float:
    """Return how long a connection stays open from now, reading what comes."""
    begun = time.monotonic()
    read_all(connection)
    return time.monotonic() - begun


def test_a_connection_that_says_nothing_is_cut(server: Guarded) -> None:
    """A silent connection is gone when the deadline for a head has passed, before TLS as after it."""
    assert 0.4 < seconds_until_cut(server.connect()) < 1.5
    assert 0.4 < seconds_until_cut(server.open()) < 1.5


def test_half_a_head_is_cut_however_it_is_fed(server: Guarded) -> None:
    """A head that comes byte by byte has the same deadline: no byte buys more time."""
    connection = server.open(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
    begun = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - begun < 3:
            connection.sendall(b"x")
            time.sleep(0.1)

    assert time.monotonic() - begun < 1.5


def test_a_second_request_has_a_deadline_too(server: Guarded) -> None:
    """A connection that has had an answer is cut when it trickles its next request, and when it says nothing more."""
    for trickle in (b"", b"G"):
        connection = server.open(request("/"))
        assert b"hello" in read_until(connection, b"hello")
        connection.sendall(trickle)

        assert 0.2 < seconds_until_cut(connection) < 2


def test_a_connection_serves_several_requests(server: Guarded) -> None:
    """One after the other, with a pause between, and several sent at once, all are answered."""
    connection = server.open()
    for _ in range(3):
        connection.sendall(request("/"))
        assert b"hello" in read_until(connection, b"hello")
        time.sleep(0.2)
    connection.sendall(request("/") * 4 + request("/", "Connection: close"))

    assert read_all(connection).count(b"hello") == 5


def test_a_body_that_stops_is_cut(server: Guarded) -> None:
    """A body that stops arriving, or arrives too slowly, is cut when a stretch has brought too little."""
    head = request("/body", "Content-Length: 100000").replace(b"GET", b"POST")

    assert seconds_until_cut(server.open(head + b"x" * 10)) < 2
    connection, begun = server.open(head), time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - begun < 4:
            connection.sendall(b"x")
            time.sleep(0.1)
    assert time.monotonic() - begun < 2


def test_a_slow_body_that_keeps_its_rate_is_read(server: Guarded) -> None:
    """What arrives at the least rate is read to its end, over several stretches."""
    connection = server.open(request("/body", "Content-Length: 20000", "Connection: close").replace(b"GET", b"POST"))
    for _ in range(20):
        connection.sendall(b"x" * 1000)
        time.sleep(0.1)

    assert read_all(connection).endswith(b"20000")


def test_a_client_that_was_told_to_wait_is_not_cut_for_it(server: Guarded) -> None:
    """With `Expect: 100-continue`, the time before the server asks for the body is not the client's."""
    head = request("/late", "Content-Length: 5", "Expect: 100-continue", "Connection: close").replace(b"GET", b"POST")
    connection = server.open(head)

    assert b"late" in read_all(connection)


def test_an_answer_may_take_longer_than_the_deadlines(server: Guarded) -> None:
    """A client that waits for its answer is not cut, however short the deadlines for what clients do."""
    assert b"late" in server.get("/late")


def test_a_reader_that_takes_nothing_is_cut(server: Guarded) -> None:
    """A response that nobody reads, in one piece or as a stream, frees its connection and its task."""
    for path in ("/flood", "/big") * 3:
        server.open(request(path), receive_buffer=4096)

    state = server.settle(5)

    assert (state["open"], state["running"]) == (0, 0)


def test_a_reader_that_takes_a_byte_at_a_time_is_cut(server: Guarded) -> None:
    """A reader far below the least rate is cut, too: a byte now and then buys no time."""
    connection = server.open(request("/big"), receive_buffer=4096)
    begun = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() - begun < 5 and connection.recv(1):
            time.sleep(0.1)
            if not server.state()["open"]:
                break

    assert time.monotonic() - begun < 4


def test_a_slow_reader_gets_everything(server: Guarded) -> None:
    """A reader who takes longer than every deadline, but keeps on taking, gets the whole response."""
    connection = server.open(request("/big", "Connection: close"), receive_buffer=65536)
    size = 0
    while data := connection.recv(65536):
        size += len(data)
        time.sleep(0.007)

    assert size > 20_000_000


def test_a_stream_has_an_end(server: Guarded) -> None:
    """An event stream is cut when its time is over, even though it is read; the server goes on."""
    connection = server.open(request("/words"))

    assert 2 < seconds_until_cut(connection) < 4
    assert b"hello" in server.get()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000,
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /late HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n",
    ],
    ids=["garbage", "long head", "HTTP/0.9", "no host", "two lengths", "bad chunk"],
)
def test_what_is_not_http_is_refused(server: Guarded, data: bytes) -> None:
    """It gets a 400 in the form of every failure, with the headers of every response, and its connection ends."""
    head, _, body = read_all(server.open(data)).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400")
    assert b"content-security-policy" in head
    assert json.loads(body)["error"]["code"] == "bad_request"
    assert server.settle(3)["open"] == 0


def test_what_stops_being_http_is_cut(server: Guarded) -> None:
    """A body that breaks after its response has begun ends the connection, without a word in the log."""
    connection = server.open(request("/words", "Transfer-Encoding: chunked").replace(b"GET", b"POST"))
    read_until(connection, b"word")

    connection.sendall(b"no chunk\r\n")

    assert seconds_until_cut(connection) < 1
    assert server.settle(3)["running"] == 0
    assert server.said() == ""


def test_what_fails_before_its_answer_is_said_as_every_failure(server: Guarded) -> None:
    """An application that breaks: a 500 in our form, the connection ends, and the log has no word of the message."""
    head, _, body = read_all(server.open(request("/broken"))).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 500")
    assert b"content-security-policy" in head
    assert json.loads(body)["error"]["code"] == "bug"
    said = server.said()
    assert "ValueError" in said
    assert ASKED not in said
    assert server.settle(3)["open"] == 0


def test_nothing_is_left_behind(server: Guarded) -> None:
    """After slow clients of every kind, the server holds as many files as before."""
    before = server.settle(5)["files"]
    kinds = [b"", b"GET / HT", request("/words"), request("/big"), request("/body", "Content-Length: 99")]
    held = [server.open(data) for data in kinds for _ in range(5)]
    for connection in held[::2]:
        connection.close()

    state = server.settle(6)

    assert (state["open"], state["running"]) == (0, 0)
    assert state["files"] <= before + 1


def test_one_address_has_so_many_connections() -> None:
    """Above its share an address is cut at once, while others are served, and it may come again later."""
    with Guarded(per_address=3, head=2.0) as server:
        held = [server.connect(source="127.0.0.2") for _ in range(3)]
        assert b"hello" in server.get(source="127.0.0.3")

        assert server.get(source="127.0.0.2") == b""
        held.pop().close()
        time.sleep(0.1)

        assert b"hello" in server.get(source="127.0.0.2")


def test_a_proxy_may_keep_its_connections() -> None:
    """A trusted proxy's idle connection lives longer than a browser's: a request on it must not meet its end."""
    with Guarded(proxy="127.0.0.9", per_address=2, proxy_idle=5.0) as server:
        kept = [server.connect(request("/"), source="127.0.0.9") for _ in range(4)]
        for connection in kept:
            read_until(connection, b"hello")
        time.sleep(1.5)

        kept[3].sendall(request("/"))

        assert b"hello" in read_until(kept[3], b"hello")


def test_a_full_server_drops_who_says_nothing() -> None:
    """Where all places are taken, the connection that has been silent for longest makes room for a new one."""
    with Guarded(most=5, head=5.0) as full:
        held = [full.connect() for _ in range(5)]
        time.sleep(0.1)

        assert b"hello" in full.get()
        assert seconds_until_cut(held[0]) < 0.5


def test_a_full_server_says_so() -> None:
    """Where every place is taken by a request, a new one gets 503 with a hint, and is then served again."""
    with Guarded(most=4, stream=30.0) as full:
        held = [full.open(request("/words")) for _ in range(4)]
        time.sleep(0.2)

        head, _, body = full.get().partition(b"\r\n\r\n")
        for connection in held:
            connection.close()
        time.sleep(0.3)

        assert head.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5" in head
        assert b"nosniff" in head
        assert b'"code":"busy"' in body
        assert b"hello" in full.get()


def test_it_stops_at_once_with_silent_connections(tmp_path: Path) -> None:
    """Connections without a request, also in the middle of a TLS handshake, do not hold up a server that stops."""
    for tls in (None, make_certificate(tmp_path)):
        with Guarded(tls=tls, head=20.0, idle=20.0) as stopping:
            held = [stopping.connect(), stopping.open(), stopping.open(request("/"))]
            read_until(held[2], b"hello")

            stopping.process.terminate()
            begun = time.monotonic()
            stopping.process.wait(10)

            assert time.monotonic() - begun < 1.5
