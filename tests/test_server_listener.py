import http.client
import json
import os
import resource
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.request import urlopen

import pytest

from ruma.config import Settings, load_settings
from ruma.errors import InputError, ModelError, StoreError
from ruma.server.addresses import PublicAddress
from ruma.server.gate import Entry
from ruma.server.listener import _banner, only_server, open_gate, raise_file_limit, serve
from ruma.server.listening import open_socket
from ruma.tenant.conversing.inbox import list_conversations
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents, remove_documents
from tests.serving import QUESTION, Running, make_tenant

LONG = " ".join(["Delivery in Marrowby costs £2.50 [1]."] * 30)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an empty home."""
    return tmp_path / "home"


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server whose model writes 180 words, ten in a second, for all tests of this file."""
    with Running(tmp_path_factory.mktemp("writing"), LONG, "0.1") as server:
        yield server
        assert server.stop() == (0, "")


def wait_for_close(server: Running, before: int) -> dict[str, float]:
    """Wait until the model was stopped once more, and return what it wrote down."""
    begun = time.monotonic()
    while len(server.journal()) == before and time.monotonic() < begun + 5:
        time.sleep(0.02)
    return server.journal()[before]


def read_until(response: http.client.HTTPResponse, event: str) -> str:
    """Read the stream up to the data of an event and return that."""
    while line := response.readline():
        if line == f"event: {event}\n".encode():
            return response.readline().decode()
    return ""


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.com", ""])
def test_an_address_for_everyone_needs_tls(settings: Settings, host: str) -> None:
    """Without TLS and without a proxy nothing is opened on an address that others can reach."""
    with pytest.raises(InputError, match=r"would not be encrypted|listens on an address"):
        serve(replace(settings, host=host), Home(settings), pytest.fail, pytest.fail, pytest.fail)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machines_addresses_are_taken(host: str) -> None:
    """Every loopback address can be listened on."""
    with closing(open_socket(host, 0)) as listening:
        assert listening.getsockname()[1] > 0


def test_responses_are_sent_without_delay() -> None:
    """A connection is known to be TCP, so that asyncio sends every piece of a response at once."""
    with closing(open_socket("127.0.0.1", 0)) as listening, closing(socket.create_connection(listening.getsockname())):
        accepted, _ = listening.accept()

        with closing(accepted):
            assert accepted.proto == socket.IPPROTO_TCP


def test_a_port_in_use_is_named() -> None:
    """Another program on the port is an error with the port and another one to choose."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]

        with pytest.raises(InputError, match=f"{port} on 127.0.0.1 is in use") as caught:
            open_socket("127.0.0.1", port)

    assert "--port" in caught.value.hint


def test_a_home_has_one_server(settings: Settings) -> None:
    """The second server of a home is refused and told where the first one is; when it has ended, not."""
    with (
        only_server(settings, "http://127.0.0.1:1"),
        pytest.raises(StoreError, match=f"127.0.0.1:1, process {os.getpid()}"),
        only_server(settings, "http://127.0.0.1:2"),
    ):
        pytest.fail("two servers at once")
    with only_server(settings, "http://127.0.0.1:3"):
        pass


def test_a_home_that_cannot_be_written_is_named(settings: Settings, tmp_path: Path) -> None:
    """Where no lock can be made, the error names its file."""
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(StoreError, match=r"server\.lock cannot be written"),
        only_server(replace(settings, home=tmp_path / "file"), ""),
    ):
        pytest.fail("served without a lock")


def test_a_broken_embedder_is_the_commands_error(settings: Settings) -> None:
    """What is wrong with the embedder is raised before anything is announced, and the port is free again."""

    def fail() -> None:
        raise ModelError("The embedding model is damaged.")

    with closing(open_socket("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ModelError, match="damaged"):
        serve(replace(settings, port=port), Home(settings), fail, pytest.fail, pytest.fail)  # type: ignore[arg-type]

    open_socket("127.0.0.1", port).close()


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_answers_and_stops_cleanly(home: Path, kind: int) -> None:
    """Three lines when it answers; SIGTERM and Ctrl-C end it with success and without a word."""
    with Running(home) as server:
        assert server.banner[0].endswith(f"http://127.0.0.1:{server.port}/t/acme/")
        assert server.banner[1].endswith("/openapi.json")
        assert "Ctrl-C" in server.banner[2]
        assert server.stop(kind) == (0, "")


def test_running_answers_end_before_the_server_does(home: Path) -> None:
    """A server that is stopped takes no new questions, and lets the answers that it gives end."""
    with Running(home, "One two three four five six.", "0.2") as server:
        answer = server.ask()
        read_until(answer, "token")

        server.process.send_signal(signal.SIGTERM)
        done = read_until(answer, "done")
        answer.close()

        assert "six." in done
        assert server.stop() == (0, "")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_a_reader_who_leaves_frees_the_model(writing: Running) -> None:
    """A closed connection stops the model within a second, in the middle of an answer."""
    before = len(writing.journal())
    answer = writing.ask()
    read_until(answer, "token")

    left = time.time()
    answer.close()

    stopped = wait_for_close(writing, before)
    assert stopped["closed"] - left < 1
    assert stopped["left"] > 100


def test_a_reader_who_leaves_before_the_first_word_frees_the_model(home: Path) -> None:
    """A model that is still reading the question is stopped too, and nothing of the answer is kept."""
    with Running(home, "Never.", "30") as server:
        answer = server.ask()
        read_until(answer, "evidence")
        time.sleep(0.3)

        left = time.time()
        answer.close()

        assert wait_for_close(server, 0)["closed"] - left < 2
        assert server.stop() == (0, "")


def test_a_reader_who_leaves_a_plain_request_frees_the_model(writing: Running) -> None:
    """The same holds for an answer that was asked for in one piece, which has sent nothing yet."""
    before = len(writing.journal())
    with socket.create_connection(("127.0.0.1", writing.port), timeout=5) as connection:
        body = json.dumps({"question": QUESTION}).encode()
        head = (
            f"POST /t/acme/api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        assert not select.select([connection], [], [], 0.5)[0]
    left = time.time()

    assert wait_for_close(writing, before)["closed"] - left < 1


def test_a_tenant_that_is_removed_ends_its_streams_and_nothing_else(writing: Running) -> None:
    """`rm -rf` of the directory under a running server: its stream ends with an error, the server goes on."""
    folder = writing.home / "tenants" / "brief"
    make_tenant(Home(load_settings({"home": writing.home}, {})), "brief", mode="write")
    answer = writing.ask("brief")
    read_until(answer, "token")

    subprocess.run(["rm", "-rf", str(folder)], check=True)
    removed = time.monotonic()
    error = read_until(answer, "error")
    answer.close()

    assert "not_found" in error
    assert time.monotonic() - removed < 2
    with writing.ask("brief") as later:
        assert later.status == 404
    with urlopen(f"http://127.0.0.1:{writing.port}/health", timeout=5) as health:
        assert health.status == 200
    assert not folder.exists()


def test_c27_a_document_that_is_removed_ends_the_answers_from_it(writing: Running) -> None:
    """At once, with the reason; nothing of such an answer is kept, and the next one is not from it."""
    home = Home(load_settings({"home": writing.home}, {}))
    make_tenant(home, "short", mode="write")
    with home.open("short") as tenant:
        answer = writing.ask("short")
        read_until(answer, "token")

        remove_documents(tenant, [one.id for one in list_documents(tenant) if one.name == "delivery.md"])
        removed = time.monotonic()
        error = read_until(answer, "error")
        answer.close()

        assert "was removed" in error
        assert "conflict" in error  # and not that the conversation is gone
        assert time.monotonic() - removed < 3  # of eighteen
        assert list_conversations(tenant).total == 0
        with writing.ask("short") as later:
            assert "Marrowby" not in read_until(later, "evidence").replace(QUESTION, "")


def test_what_breaks_in_an_answer_is_told_and_logged_without_words(home: Path) -> None:
    """A bug in the middle of an answer becomes an error event; the log has its place and no one's words."""
    with Running(home, "One BREAK hushhush", "0.01") as server:
        with server.ask() as answer:
            error = read_until(answer, "error")
        code, log = server.stop()

    assert json.loads(error.removeprefix("data: "))["error"]["code"] == "bug"
    assert "RuntimeError" in log
    assert "serving.py" in log
    assert "hushhush" not in log
    assert QUESTION not in log
    assert code == 0


def test_the_banner_names_no_tenant_where_there_are_several(settings: Settings) -> None:
    """With several tenants, or none, the banner shows the form of their addresses."""

    home, public = Home(settings), PublicAddress(origin="https://ask.example.com")

    assert "https://ask.example.com/t/NAME/" in _banner(settings, public, home)[0]
    make_tenant(home)
    assert "https://ask.example.com/t/acme/" in _banner(settings, public, home)[0]


def test_the_banner_says_who_reaches_it(settings: Settings) -> None:
    """The last line names the address and the port, and says whether only this machine or a proxy comes there."""

    home = Home(settings)
    behind = PublicAddress(trusted_proxies=(ip_network("127.0.0.1"),))

    assert "127.0.0.1, port 8420, which only this machine can reach" in _banner(settings, PublicAddress(), home)[2]
    assert "port 8420, where its proxy reaches it" in _banner(settings, behind, home)[2]
    assert "only" not in _banner(replace(settings, host="0.0.0.0"), PublicAddress(), home)[2]


def test_a_second_ctrl_c_ends_it_at_once(home: Path) -> None:
    """Ctrl-C lets running answers end; a second one does not wait for them."""
    with Running(home, LONG, "0.1") as server:
        answer = server.ask()
        read_until(answer, "token")

        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert server.process.poll() is None
        begun = time.monotonic()
        code, _ = server.stop(signal.SIGINT)
        answer.close()

        assert code == 0
        assert time.monotonic() - begun < 12, "the answer would take 18"


def test_a_file_limit_is_raised_as_far_as_allowed() -> None:
    """The process may hold more files open than most systems begin with, and the gate takes half of that at most."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))

        raised = raise_file_limit()

        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raised == min(8192, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_one_address_has_a_share_only_where_others_come(settings: Settings) -> None:
    """On a loopback address there is no share of one address; on another one there is."""
    public = PublicAddress()
    mine = open_gate(settings, public)
    everyones = open_gate(replace(settings, host="0.0.0.0", tls_cert="c"), public)

    assert {mine.enter(ip_address("127.0.0.1")) for _ in range(100)} == {Entry.SERVED}
    assert [everyones.enter(ip_address("203.0.113.7")) for _ in range(41)][-1] is Entry.CUT
    assert everyones.enter(ip_address("203.0.113.8")) is Entry.SERVED


def test_a_peer_that_is_gone_is_given_up_by_the_system() -> None:
    """Every connection inherits the system's own deadline for a peer that takes nothing."""
    with closing(open_socket("127.0.0.1", 0)) as listening, closing(socket.create_connection(listening.getsockname())):
        accepted, _ = listening.accept()

        with closing(accepted):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
