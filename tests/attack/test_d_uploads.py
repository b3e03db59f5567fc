"""Hostile uploads over a real connection: broken forms, liars, leavers, hostile names and contents."""

import http.client
import io
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject

from ruma.config import load_settings
from ruma.tenant.home import Home
from ruma.tenant.knowledge.uploads import count_uploads, list_uploads
from ruma.tenant.tenant import Tenant
from tests.attack.test_g_isolation import HOSTILE_NAMES
from tests.harness.residue import find_plaintext, make_canaries
from tests.parsing import draw_lines, make_pdf
from tests.serving import FLAGS, Running, make_tenant, with_key

PATH = "/t/acme/api/sources/uploads"
TICK = os.sysconf("SC_CLK_TCK")
CPU_SECONDS = 0.2


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the server's temporary folder."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> Iterator[Running]:
    """Return a running server of one tenant."""
    folder = tmp_path_factory.mktemp("home")
    home = Home(load_settings({"home": folder, **FLAGS}, {}))
    make_tenant(home)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TMPDIR", str(temporary))
        running = Running(folder)
    with running:
        yield running


@pytest.fixture(scope="module")
def tenant(server: Running) -> Iterator[Tenant]:
    """Return the tenant, opened beside the server."""
    with Home(load_settings({"home": server.home}, {})).open("acme") as tenant:
        yield tenant


@pytest.fixture(scope="module")
def key(tenant: Tenant) -> str:
    """Return the header of an API key that reads, writes and opens the chat's pages."""
    return "Authorization: " + with_key(tenant, "read", "write", "chat")["Authorization"]


def cpu_seconds(server: Running) -> float:
    """Return how much processor time the server has used."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def send(
    server: Running, head: list[str], body: bytes, *, wait: bool = True, method: str = "POST", path: str = PATH
) -> bytes:
    """Send a request as it is, and return what came back; the server may answer and close before all was sent."""
    lines = [f"{method} {path}?name=a.md HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Connection: close", *head]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        if not wait:
            return b""
        answer = b""
        with suppress(ConnectionResetError):
            while block := sock.recv(65536):
                answer += block
        return answer


def status_of(answer: bytes) -> int:
    """Return the status of a response; 0 where the connection was closed without one."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def part(name: str = "file", filename: str | None = "a.md", content: bytes = b"Bread.", more: bytes = b"") -> bytes:
    """Return a part of a form."""
    file = f'; filename="{filename}"' if filename is not None else ""
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n'.encode() + more + b"\r\n" + content


END = b"\r\n--b--\r\n"
FORM = "Content-Type: multipart/form-data; boundary=b"
MALFORMED = {
    "no boundary": ("Content-Type: multipart/form-data", part() + END),
    "empty boundary": ("Content-Type: multipart/form-data; boundary=", part() + END),
    "quoted nothing": ('Content-Type: multipart/form-data; boundary=""', part() + END),
    "boundary of 10 KB": ("Content-Type: multipart/form-data; boundary=" + "b" * 10_000, part() + END),
    "backslashes": ('Content-Type: multipart/form-data; boundary="' + "\\" * 8_000, part() + END),
    "no form at all": ("Content-Type: application/json", b"{}"),
    "plain form": ("Content-Type: application/x-www-form-urlencoded", b"file=x"),
    "1001 parts": (FORM, b"\r\n".join(part("x", None, b"y") for _ in range(1001)) + END),
    "1001 files": (FORM, b"\r\n".join(part("x", f"{n}.md", b"y") for n in range(1001)) + END),
    "21 files": (FORM, b"\r\n".join(part("x", f"{n}.md", b"y") for n in range(21)) + END),
    "header of 64 KB": (FORM, part(more=b"X-A: " + b"a" * 65536 + b"\r\n") + END),
    "many headers": (FORM, part(more=b"X-A: a\r\n" * 500) + END),
    "header without a colon": (FORM, part(more=b"nonsense\r\n") + END),
    "bare line feeds": (FORM, part().replace(b"\r\n", b"\n") + b"\n--b--\n"),
    "no end": (FORM, part()),
    "half an end": (FORM, part() + b"\r\n--b"),
    "nothing": (FORM, b""),
    "only the end": (FORM, b"--b--\r\n"),
    "preamble of 10 MB": (FORM, b"x" * 10_000_000 + b"\r\n" + part() + END),
    "only filename*": (FORM, part(filename=None).replace(b'"file"', b"\"file\"; filename*=UTF-8''a.md") + END),
    "no file": (FORM, part("note", None) + END),
    "long field": (FORM, part("note", None, b"x" * 100_000) + b"\r\n" + part() + END),
    "wrong bytes": (FORM, part().replace(b"a.md", b"\xff\xfe\xfd") + END),
    "another boundary": (FORM, part().replace(b"--b", b"--c") + END),
    "zero bytes": (FORM, bytes(100_000)),
}


def nothing_kept(tenant: Tenant) -> bool:
    """Tell whether no upload is there, no file of one, and no row."""
    folder = tenant.uploads_folder
    return not list_uploads(tenant) and not (folder.exists() and list(folder.iterdir()))


@pytest.mark.parametrize("case", MALFORMED)
def test_d37_a_malformed_form_is_refused(server: Running, tenant: Tenant, key: str, case: str) -> None:
    """With a 4xx, in no time, with nothing kept and no file without a name."""
    kind, body = MALFORMED[case]
    before = cpu_seconds(server)

    answer = send(server, [kind, key, f"Content-Length: {len(body)}"], body)

    assert 400 <= status_of(answer) < 500, answer[:300]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
    assert cpu_seconds(server) - before < CPU_SECONDS
    assert nothing_kept(tenant)
    assert unnamed_files(server) == set()


@pytest.mark.parametrize("case", MALFORMED)
def test_d37_nobody_unknown_is_read(server: Running, tenant: Tenant, case: str) -> None:
    """Without a key the answer is 401, and comes although the body never does."""
    kind, _ = MALFORMED[case]
    before = cpu_seconds(server)

    answer = send(server, [kind, "Content-Length: 50000000"], b"--b\r\n")

    assert cpu_seconds(server) - before < CPU_SECONDS
    assert status_of(answer) in ((401,) if len(kind) < 5000 else (401, 400, 431))
    assert nothing_kept(tenant)


@pytest.mark.parametrize("path", ["sign-in", "reset", "ask", "api/chat", "api/visitor/link", "invitation/x"])
def test_d37_what_anyone_may_send_is_no_form_with_files(server: Running, path: str) -> None:
    """Where everybody may send something, such a body is refused by its head, without waiting for the rest of it."""
    before = cpu_seconds(server)
    kinds = sorted({kind for kind, _ in MALFORMED.values()})

    found = {}
    for kind in kinds:
        answer = send(server, [kind, "Content-Length: 50000000"], b"--b\r\n", path=f"/t/acme/{path}")
        found[kind[:60]] = status_of(answer)

    assert set(found.values()) <= {400, 404, 413, 415, 429, 431}, found
    assert cpu_seconds(server) - before < CPU_SECONDS * len(kinds)


def test_d37_a_length_that_lies(server: Running, tenant: Tenant, key: str) -> None:
    """One that is too small cuts the form short; one that is too large ends with the sender: nothing is kept."""
    body = part() + END
    short = send(server, [FORM, key, f"Content-Length: {len(body) - 12}"], body)
    assert 400 <= status_of(short) < 500
    send(server, [FORM, key, f"Content-Length: {len(body) + 1000}"], body, wait=False)
    send(server, [key, "Content-Length: 100000"], b"x" * 50_000, wait=False, method="PUT")
    time.sleep(0.5)

    assert nothing_kept(tenant)
    assert call(server, key, "GET", "/health").status == 200


@pytest.mark.parametrize(
    "head",
    [
        ["Content-Length: 10", "Transfer-Encoding: chunked"],
        ["Content-Length: 10", "Content-Length: 20"],
        ["Content-Length: -1"],
        ["Content-Length: 99999999999999999999"],
        ["Transfer-Encoding: gzip, chunked"],
    ],
    ids=" + ".join,
)
def test_d37_two_lengths(server: Running, tenant: Tenant, key: str, head: list[str]) -> None:
    """A request whose length can be read in two ways is refused, or read in one way and found to be no form."""
    for sender in ([key], []):
        answer = send(server, [FORM, *sender, *head], b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n")

        assert status_of(answer) == 0 or 400 <= status_of(answer) < 502
        assert answer.count(b"HTTP/1.1 2") == 0
    assert nothing_kept(tenant)


NAMES = [
    "filename=\"a.md\"; filename*=UTF-8''b.md",
    "filename*=UTF-8''%2e%2e%2f%2e%2e%2fb.md",
    "filename*=utf-16''%ff%fe%00; filename=a.md",
    "filename*=UTF-8''a%0d%0aX%1b[2J%00.md",
    'filename="a\x1b[2J\x07b\x9b.md"',
    "filename*=''a.md",
    "filename*=UTF-8'en'%; filename*=%%%",
    'filename*0="a"; filename*1=".md"',
    "filename*0*=UTF-8''a; filename*1*=%2emd",
    'filename="a.md"; filename="../b.md"',
    "filename=a b.md; x=",
    'filename="a\\"b\\\\.md"',
    'FILENAME="=?utf-8?b?Li4vYS5tZA==?="',
    'filename="%0d%0aX-A: b.md"',
    "filename=" + '"' * 500,
    "filename*" + "=" * 500,
]


def test_d37_a_name_in_every_spelling(server: Running, tenant: Tenant, key: str) -> None:
    """A file's name that is given twice, in pieces or in another alphabet is one line, or is refused.

    It is data and no path (test 53), so it may look like one.
    """
    before = cpu_seconds(server)
    for name in NAMES:
        head = f'--b\r\nContent-Disposition: form-data; name="file"; {name}\r\n\r\n'
        answer = send(
            server, [FORM, key, f"Content-Length: {len(head) + 6 + len(END)}"], head.encode() + b"Bread." + END
        )

        status, body = status_of(answer), json.loads(answer.partition(b"\r\n\r\n")[2])
        assert status == 200 or 400 <= status < 500, (name, answer[:300])
        for kept in body.get("uploads", []):
            assert kept["name"].isprintable(), (name, kept["name"])
            assert 0 < len(kept["name"]) <= 255
    assert cpu_seconds(server) - before < CPU_SECONDS * len(NAMES)
    clear(server, key, tenant)


def test_d37_two_fields_of_one_name_are_two_files(server: Running, tenant: Tenant, key: str) -> None:
    """Neither hides the other: both are kept under their own names."""
    body = part(filename="first.md") + b"\r\n" + part(filename="second.md") + END

    answer = send(server, [FORM, key, f"Content-Length: {len(body)}"], body)

    assert [one["name"] for one in json.loads(answer.partition(b"\r\n\r\n")[2])["uploads"]] == ["first.md", "second.md"]
    clear(server, key, tenant)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def call(server: Running, key: str, method: str, path: str, data: Any = None) -> Answer:
    """Send a request with the API key; a body that is made piece by piece goes without its length."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Authorization": key.removeprefix("Authorization: ")}
    with closing(connection):
        connection.request(method, path, data, headers, encode_chunked=not isinstance(data, bytes | None))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def upload(server: Running, key: str, name: str, data: Any) -> Answer:
    """Hand a file over as a body."""
    return call(server, key, "PUT", f"{PATH}?name={quote(name, safe='')}", data)


def read(server: Running, key: str, name: str, data: bytes) -> dict[str, Any]:
    """Hand a file over and return what became of it when it was read."""
    response = upload(server, key, name, data)
    assert response.status == 200, response.body
    state: dict[str, Any] = json.loads(response.body)
    until = time.monotonic() + 30
    while state["state"] in ("waiting", "reading"):
        assert time.monotonic() < until
        time.sleep(0.02)
        state = json.loads(call(server, key, "GET", f"{PATH}/{state['id']}").body)
    return state


def unnamed_files(server: Running) -> set[str]:
    """Return the files on a disk that the server has open and that have no name."""
    found = set()
    for descriptor in Path(f"/proc/{server.process.pid}/fd").glob("*"):
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.endswith("(deleted)") and not target.startswith("/memfd:"):
            found.add(target)
    return found


def memory_of(server: Running) -> int:
    """Return the server's memory in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert found
    return 1024 * int(found[1])


@pytest.mark.parametrize("way", ["body", "form"])
@pytest.mark.parametrize("megabytes", [5, 50])
def test_d30_no_plaintext_while_it_comes_in(
    server: Running, tenant: Tenant, key: str, temporary: Path, way: str, megabytes: int
) -> None:
    """Of a file that comes in there is no plaintext file, with or without a name, on any disk at any moment."""
    [word] = make_canaries(1)
    block = (f"{word} is in every line of it.\n" * 2000).encode()
    count = megabytes * 1_000_000 // len(block)
    before = unnamed_files(server)
    found: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.002):
            found.update(unnamed_files(server) - before)
            found.update(str(path) for path in temporary.rglob("*"))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        if way == "body":
            response = upload(server, key, f"{word}.json", (block for _ in range(count)))
            answer, status = response.body, response.status
        else:
            body = part(filename=f"{word}.json", content=block * count) + END
            sent = send(server, [FORM, key, f"Content-Length: {len(body)}"], body)
            answer, status = sent.partition(b"\r\n\r\n")[2], status_of(sent)
    finally:
        ended.set()
        looking.join()

    assert status == 200, answer[:300]
    assert found == set()
    assert find_plaintext([server.home, Path("/dev/shm")], [word]) == {}
    clear(server, key, tenant)


def clear(server: Running, key: str, tenant: Tenant) -> None:
    """Wait until everything was read, and discard what failed."""
    until = time.monotonic() + 60
    while count_uploads(tenant)["waiting"] + count_uploads(tenant)["reading"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    for one in list_uploads(tenant):
        assert call(server, key, "DELETE", f"{PATH}/{one.id}").status == 204


def test_d35_an_endless_file(server: Running, tenant: Tenant, key: str) -> None:
    """One that never ends is refused at the limit, and the server's memory stays as it was."""
    before, most = memory_of(server), 0
    block = b"x" * 1_000_000

    def endless() -> Iterator[bytes]:
        nonlocal most
        for _ in range(400):
            most = max(most, memory_of(server))
            yield block

    status = 0
    with suppress(BrokenPipeError, ConnectionResetError):  # it answered and closed while we were still sending
        status = upload(server, key, "a.txt", endless()).status

    assert status in (0, 413)
    assert most - before < 100_000_000
    assert nothing_kept(tenant)


@pytest.mark.parametrize(
    ("name", "data", "outcome"),
    [
        ("page.pdf", b"<!doctype html><h1>Page</h1><p>It is a page.</p>", "done"),
        ("zip.pdf", b"PK\x03\x04%PDF-1.4 and so on", "failed"),
        ("old.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"), "failed"),
        ("wave.html", b"RIFF\0\0\0\0WAVEfmt <!doctype html><script>alert(1)</script>", "failed"),
        ("empty.pdf", b"", "failed"),
        ("picture.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "failed"),
    ],
)
def test_d38_a_file_is_what_it_holds(
    server: Running, tenant: Tenant, key: str, name: str, data: bytes, outcome: str
) -> None:
    """A name that says something else is refused, or the file is read as what it is."""
    state = read(server, key, name, data)

    assert state["state"] == outcome, state
    assert bool(state["reason"]) == (outcome == "failed")
    clear(server, key, tenant)


SCRIPT = b"<script>alert(1)</script>"
ACTIVE = b"<!doctype html><html><head><title>T</title></head><body>" + SCRIPT + b"<p>Words of it.</p></body>"
XHTML = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>T</title></head><body>' + (
    SCRIPT + b"<p>Words of it.</p></body></html>"
)


def acting_pdf(front: bytes = b"") -> bytes:
    """Return a PDF file that runs a script when it is opened, with other bytes before it."""

    def draw(canvas: Any) -> None:
        draw_lines(canvas, ["Words of it, which are long enough to be read as a sentence."])

    writer = PdfWriter(clone_from=io.BytesIO(make_pdf(draw)))
    action = {NameObject("/S"): NameObject("/JavaScript"), NameObject("/JS"): TextStringObject("app.alert(1)")}
    writer.root_object[NameObject("/OpenAction")] = DictionaryObject(action)
    out = io.BytesIO()
    writer.write(out)
    return front + out.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "outcome"),
    [
        ("a.html", ACTIVE, "done"),
        ("a.xhtml", XHTML, "done"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'>" + SCRIPT + b"</svg>", "failed"),
        ("a.xml", b'<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="#x"?><a>' + SCRIPT + b"</a>", "failed"),
        ("a.pdf", acting_pdf(), "done"),
        ("both.pdf", acting_pdf(b"<!--"), "done"),
        ("both.html", acting_pdf(ACTIVE), "done"),
        ("image.md", b"GIF89a/*" + SCRIPT + b"*/=1;\n\nWords of it.", "failed"),
        ("a.md", ACTIVE, "done"),
        ('x"; filename="y.html', ACTIVE, "done"),
        ("a\r\nX-A: b.html", ACTIVE, "done"),
    ],
)
def test_d56_an_original_is_never_shown(server: Running, key: str, name: str, data: bytes, outcome: str) -> None:
    """Whatever it is named and holds, it comes as a download of no type, in a sandbox; what is shown of it is text."""
    state = read(server, key, name, data)
    assert state["state"] == outcome, state
    if state["state"] == "failed":
        assert state["document_id"] is None  # so there is no address to open it at
        return

    response = call(server, key, "GET", f"/t/acme/api/documents/{state['document_id']}/original")
    page = call(server, key, "GET", f"/t/acme/documents/{state['document_id']}")

    assert response.body == data
    assert response.headers.get("content-type") == "application/octet-stream"
    assert response.headers.get("x-content-type-options") == "nosniff"
    assert "sandbox" in (response.headers.get("content-security-policy") or "")
    assert response.headers.get("cache-control") == "no-store"
    assert response.headers.get("x-a") is None
    disposition = response.headers.get("content-disposition") or ""
    assert re.fullmatch(
        r"attachment; filename=\"[A-Za-z0-9 .()_-]+\"; filename\*=UTF-8''[A-Za-z0-9%._~-]+", disposition
    )
    assert page.status == 200
    assert b"Words of it" in page.body
    assert b"alert(1)" not in page.body.replace(b"&lt;script&gt;alert(1)", b"")


def tree(folder: Path) -> set[str]:
    """Return the names of everything under a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.name.endswith(("-shm", "-wal"))}


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.nightly)])
def test_d53_names_are_data(server: Running, tenant: Tenant, key: str, every: int) -> None:
    """Files with hostile names become documents of these names; on the disk are random names, in their folders."""
    before = tree(server.home)
    names = [name for name in HOSTILE_NAMES if name.strip()][::every]

    states = [read(server, key, f"{name} {number}.txt", b"It says so.") for number, name in enumerate(names)]

    assert {state["state"] for state in states} == {"done"}
    new = tree(server.home) - before
    assert all(re.fullmatch(r"tenants/acme/(files/[0-9a-f]{32}|uploads)", name) for name in new), new
    for state in states:
        response = call(server, key, "GET", f"/t/acme/api/documents/{state['document_id']}/original")
        assert response.body == b"It says so."
