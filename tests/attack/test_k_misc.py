"""What goes over the wire and into the log: headers on every response, no line that a client could have written."""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.server.addresses import PublicAddress
from ruma.server.app import create_app
from ruma.tenant.home import Home
from ruma.tenant.knowledge.uploads import list_uploads
from tests.certificates import make_certificate
from tests.guarded import read_all
from tests.serving import EMBEDDER, FLAGS, QUESTION, Running, make_tenant, with_key

WANTED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "strict-transport-security": "max-age=31536000",
}

_HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
HOSTILE = {
    "path": b"GET /t/a%0d%0a%7b%22status%22:200%7d/%1b%5b2J%00%e2%80%ae HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "raw path": b"GET /t/\x1b[2J\x07/\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "query": b'GET /health?"}%0a{"time"= HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
    "method": b"G%0aET\x1b /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "strange method": b"BREW /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "long method": b"A" * 9000 + b" /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "host": b'GET /health HTTP/1.1\r\nHost: "}{\x1b[2J\r\n\r\n',
    "header": _HEALTH + b'User-Agent: "}\\n{"\x1b]0;x\x07\r\nX-Forwarded-For: "}{\r\n\r\n',
    "zero": _HEALTH + b"User-Agent: a\0b\r\nReferer: /\xe2\x80\xae\x1b[2J\r\n\r\n",
    "huge header": _HEALTH + b"User-Agent: " + b"x" * 1_000_000 + b"\r\n\r\n",
    "user": _HEALTH + b"Authorization: Bearer \x1b[2J{}\r\n\r\n",
    "body": b"POST /t/acme/api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b'Content-Length: 5\r\n\r\n{"a\x1b\n',
}  # fmt: skip


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, ssl.SSLContext]]:
    """Return a server with TLS and a public address, and what trusts its certificate."""
    cert, key = make_certificate(tmp_path_factory.mktemp("tls"))
    settings = {"tls_cert": str(cert), "tls_key": str(key), "public_url": "https://ask.example.com"}
    with Running(tmp_path_factory.mktemp("secure"), **settings) as server:
        yield server, ssl.create_default_context(cafile=cert)


def respond(secure: tuple[Running, ssl.SSLContext], head: str, body: bytes = b"") -> http.client.HTTPResponse:
    """Send a request as it stands, and return the response, read to its end."""
    server, context = secure
    plain = socket.create_connection(("127.0.0.1", server.port), 10)
    with closing(context.wrap_socket(plain, server_hostname="localhost")) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        response = http.client.HTTPResponse(connection, method=head.partition(" ")[0])
        response.begin()
        response.read()
        return response


HOSTILE_WORD = 'x"}\r\n{"time": "now"} \x1b[2J\0\u202e'


def hostile_requests(key: str) -> dict[str, bytes]:
    """Return requests with hostile words in every part that has a name, who signs in and a file among them."""
    form = urlencode({"email": HOSTILE_WORD, "password": HOSTILE_WORD, "next": HOSTILE_WORD}).encode()
    head = "{} HTTP/1.1\r\nHost: 127.0.0.1\r\n{}Content-Length: {}\r\n\r\n"
    kind = "Content-Type: application/x-www-form-urlencoded\r\n"
    upload = f"PUT /t/acme/api/sources/uploads?name={quote(HOSTILE_WORD)}.gif"
    return {
        **HOSTILE,
        "member": head.format("POST /t/acme/sign-in", kind, len(form)).encode() + form,
        "file": head.format(upload, f"Authorization: {key}\r\n", 9).encode() + b"GIF89a\0\0\0",
    }


def test_k71_one_request_is_one_line(tmp_path: Path) -> None:
    """Whatever is in a path, a method, a header, a body, a member's or a file's name: one short line of JSON each.

    A file that cannot be read is no line of its own.
    """
    home = Home(load_settings({"home": tmp_path / "home", **FLAGS}, {}))
    make_tenant(home)
    with home.open("acme") as tenant, Running(home.settings.home) as server:
        sent = hostile_requests(with_key(tenant, "write")["Authorization"])
        for data in sent.values():
            with closing(socket.create_connection(("127.0.0.1", server.port), 10)) as connection:
                try:
                    connection.sendall(data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                    read_all(connection)
                except OSError:
                    pass  # cut in the middle of a megabyte
        until = time.monotonic() + 30
        while not (failed := [one for one in list_uploads(tenant) if one.state == "failed"]):
            assert time.monotonic() < until, "the file was not read"
            time.sleep(0.02)
        code, said = server.stop()

    assert "\u202e" in failed[0].name
    assert (code, said) == (0, "")
    assert 5 <= len(server.requests) <= len(sent)
    for line in server.requests:
        text = json.dumps(line)
        assert set(line) == {"time", "method", "route", "tenant", "status", "ms", "bytes", "address"}
        assert len(text) < 500
        assert "\\u001b" not in text
        assert line["route"] in {
            "unknown",
            "/health",
            "/t/{name}/api/chat",
            "/t/{name}/sign-in",
            "/t/{name}/api/sources/uploads",
        }
        assert line["address"] == "127.0.0.0/24"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET / HTTP/1.1\nHost: ask.example.com\nConnection: close", 307),
        ("GET /t/acme/ HTTP/1.1\nHost: ask.example.com\nConnection: close", 200),
        ("HEAD /t/acme/ HTTP/1.1\nHost: ask.example.com\nConnection: close", 200),
        ("GET /static/ruma.css HTTP/1.1\nHost: ask.example.com\nConnection: close", 200),
        ("GET /nothing HTTP/1.1\nHost: ask.example.com\nAccept: text/html\nConnection: close", 404),
        ("GET /t/nobody/api/agent HTTP/1.1\nHost: ask.example.com\nConnection: close", 404),
        ("BREW / HTTP/1.1\nHost: ask.example.com\nConnection: close", 405),
        ("GET / HTTP/1.1\nHost: evil.example\nConnection: close", 421),
        ("POST /t/acme/ HTTP/1.1\nHost: ask.example.com\nOrigin: https://evil.example\nConnection: close", 403),
        ("GET /", 400),
    ],
)
def test_k73_headers_are_on_every_response(secure: tuple[Running, ssl.SSLContext], head: str, status: int) -> None:
    """Pages, files, failures, refusals and what is not HTTP at all carry the headers, and HSTS as there is TLS."""
    response = respond(secure, head)

    assert response.status == status
    for name, value in WANTED.items():
        assert response.headers.get_all(name) == [value], name
    policy = response.headers["content-security-policy"]
    assert "unsafe-inline" not in policy
    assert "frame-ancestors 'none'" in policy


def test_k73_a_stream_has_them_too(secure: tuple[Running, ssl.SSLContext]) -> None:
    """The stream of an answer carries the same headers, and nothing keeps it."""
    body = json.dumps({"question": QUESTION}).encode()
    head = (
        "POST /t/acme/api/chat HTTP/1.1\nHost: ask.example.com\nAccept: text/event-stream\n"
        f"Content-Type: application/json\nContent-Length: {len(body)}\nConnection: close"
    )

    response = respond(secure, head, body)

    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    for name, value in WANTED.items():
        assert response.headers.get_all(name) == [value], name


def test_k73_it_listens_to_this_machine_alone_unless_told(tmp_path: Path) -> None:
    """Without a setting the address is 127.0.0.1, and no response speaks of TLS that is not there."""
    with Running(tmp_path / "home") as server:
        listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        with closing(connection):
            connection.request("GET", "/health")
            headers = connection.getresponse().headers

    addresses = {line[1] for line in listening if line[3] == "0A" and line[1].endswith(f":{server.port:04X}")}
    assert addresses == {f"0100007F:{server.port:04X}"}
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize(
    ("public", "allowed"),
    [(PublicAddress(), 1), (PublicAddress(trusted_proxies=(ip_network("127.0.0.1"),)), 6)],
    ids=["no proxy", "behind a proxy"],
)
def test_f47_an_address_cannot_be_made_up(tmp_path: Path, public: PublicAddress, allowed: int) -> None:
    """Headers that name other addresses win no further questions, but from a proxy that the operator trusts."""
    home = Home(load_settings({"home": tmp_path, "key_source": "machine", "visitor_questions": 1}, {}))
    make_tenant(home)
    served = create_app(home, lambda: EMBEDDER, lambda _: None, public=public)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await served({**scope, "client": ("127.0.0.1", 4711)}, receive, send)

    def ask(**headers: str) -> int:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.post("/t/acme/api/chat", json={"question": QUESTION}, headers=names).status_code

    with TestClient(app, base_url="http://127.0.0.1") as client:
        one_each = [ask(x_forwarded_for=f"203.0.{number}.7") for number in range(6)]
        made_up = [ask(x_forwarded_for=f"10.9.{number}.1, 203.0.5.7") for number in range(4)]
        others = [ask(forwarded=f"for=1.2.{number}.4", x_real_ip=f"1.2.{number}.4") for number in range(4)]

    assert one_each.count(200) + one_each.count(201) == allowed
    assert set(made_up) == {429}
    assert others.count(429) >= 3
