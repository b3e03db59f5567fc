"""A tenant whose directory goes from under whoever is at work on it, and a server that is killed at work."""

import contextlib
import http.client
import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.errors import NotFoundError
from ruma.ingest.parsed import ParsedDocument
from ruma.ingest.reading import Reader
from ruma.privacy.backing_up import back_up
from ruma.privacy.restoring import try_restore
from ruma.server.app import create_app
from ruma.tenant.copying.backup_folder import BackupFolder, init_folder
from ruma.tenant.copying.exports import fetch_export, list_exports
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant
from tests.attack.test_f_routes import HERE
from tests.backing import make_backed_up
from tests.harness.erasing import MARKS, fill, is_there
from tests.harness.needs import needs
from tests.harness.residue import find_plaintext, find_residue, make_canaries
from tests.serving import EMBEDDER, FLAGS, Running, make_tenant, sign_in, store

Client = TestClient[Any]


@contextmanager
def served(home: Home) -> Iterator[Client]:
    """Serve the tenants acme and other."""
    make_tenant(home)
    make_tenant(home, "other")
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
        assert client.get("/t/acme/").status_code == client.get("/t/other/").status_code == 200
        yield client


def hand_over(client: Client, headers: dict[str, str], tenant: str, text: str) -> None:
    """Upload a text to a tenant."""
    answer = client.put(f"/t/{tenant}/api/sources/uploads?name=a.md", content=text, headers=headers)
    assert answer.status_code < 300, answer.text


def headers_of(home: Home, name: str) -> dict[str, str]:
    """Return the headers of an owner's new session."""
    with home.open(name) as tenant:
        return sign_in(tenant)


def check_gone(home: Home, client: Client, tenant: Tenant, places: list[Path], word: str) -> None:
    """Check that nothing of a tenant is left in these places, and that the server goes on.

    Its key stays: who moves a directory away and back, or mounts its disk too late, needs it.
    `ruma tenant delete` takes it.
    """
    key = home.settings.home / "keys" / f"{tenant.id}.key"
    assert find_plaintext(places, [word, tenant.id]) == {tenant.id: [str(key)]}
    assert not tenant.folder.exists()
    assert client.get("/t/acme/").status_code == 404
    held = [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert [one for one in held if one.startswith(str(tenant.folder))] == []
    headers = headers_of(home, "other")
    hand_over(client, headers, "other", "The server reads this after all.")
    wait(lambda: "a.md" in client.get("/t/other/api/documents", headers=headers).text)


def wait(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


@pytest.mark.parametrize("after", [*(pytest.param(count, marks=pytest.mark.nightly) for count in (1, 4)), "all"])
def test_c27_a_directory_that_is_removed_while_it_is_backed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int | str
) -> None:
    """The backup fails with the reason, what it had written goes, and the backup from before is as it was."""
    word = make_canaries(1)[0]
    home = Home(load_settings({"home": tmp_path / "home", **FLAGS}, {}))
    with served(home) as client:
        folder, _ = init_folder(home.settings, tmp_path / "backups")
        tenant = home.open("acme")
        with folder.locked():
            first = back_up(tenant, folder).snapshot
            before = {file for file in folder.folder.rglob("*") if file.is_file()}
            store(tenant, "new.md", f"New {word}", [("", None, [f"It is {word}."])])
            written, write = [0], BackupFolder.write

            def write_and_remove(self: BackupFolder, name: str, blocks: Any) -> int:
                size = write(self, name, blocks)
                written[0] += 1
                if written[0] == after or (
                    after == "all" and isinstance(blocks, list)
                ):  # its manifest, the last of all
                    shutil.rmtree(tenant.folder)
                return size

            monkeypatch.setattr(BackupFolder, "write", write_and_remove)
            with pytest.raises(NotFoundError, match="acme is not there any more"):
                back_up(tenant, folder)
            assert not tenant.folder.exists()
        assert [one.name for one in folder.snapshots()] == [first.name]
        assert {file for file in folder.folder.rglob("*") if file.is_file()} == before
        monkeypatch.undo()
        check_gone(home, client, tenant, [home.settings.home], word)


def test_c27_a_directory_that_is_removed_while_a_file_of_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the parser found is stored nowhere, and the next tenant's file is read."""
    word = make_canaries(1)[0]
    home = Home(load_settings({"home": tmp_path / "home", **FLAGS}, {}))
    is_read, is_gone, read = threading.Event(), threading.Event(), Reader.read
    found: list[ParsedDocument] = []

    def read_and_wait(self: Reader, data: bytes, name: str, **more: str) -> ParsedDocument:
        if word.encode() in data:
            is_read.set()
            assert is_gone.wait(60)
        found.append(read(self, data, name, **more))
        return found[-1]

    monkeypatch.setattr(Reader, "read", read_and_wait)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with served(home) as client:
        tenant = home.open("acme")
        hand_over(client, headers_of(home, "acme"), "acme", f"We say {word} of it.")
        assert is_read.wait(60)
        tenant.close()
        shutil.rmtree(tenant.folder)
        is_gone.set()
        wait(lambda: bool(found))
        assert word in found[0].text
        check_gone(home, client, tenant, [home.settings.home, temporary], word)


def send(server: Running, headers: dict[str, str], method: str, path: str, body: object = None) -> Any:
    """Return what the server answers under acme's API; nothing where it is killed before it does."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        sent = {**headers, "Content-Type": "application/json", "Origin": f"http://127.0.0.1:{server.port}"}
        connection.request(method, f"/t/acme/api/{path}", body and json.dumps(body), sent)
        text = connection.getresponse().read()
        return json.loads(text) if text else None
    return None


def is_killed_at(server: Running, trace: Path, call: str, point: int, work: Callable[[], bool]) -> bool:
    """Kill a server at its N-th call of a kind within some work; tell whether it came to that.

    work: begins it, and then tells, as often as it is asked, whether it is done.
    """
    fault = f"inject={call}:signal=SIGKILL:when={point}"
    process = str(server.process.pid)
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", trace, "-e", f"trace={call}", "-e", fault, "-p", process])
    try:
        wait(lambda: "TracerPid:\t0" not in Path(f"/proc/{process}/status").read_text())
        wait(lambda: work() or server.process.poll() is not None)
        if server.process.poll() is None:
            return False
        assert server.process.returncode == -signal.SIGKILL
        return True
    finally:
        tracer.terminate()
        tracer.wait()


@needs("strace")
@pytest.mark.parametrize(
    ("call", "points"),
    [
        ("fsync", [3]),
        pytest.param("fsync", range(1, 100), marks=pytest.mark.nightly, id="fsync-all"),
        pytest.param("pwrite64", range(1, 400, 9), marks=pytest.mark.nightly, id="pwrite64-some"),
        pytest.param("unlink", range(1, 100), marks=pytest.mark.nightly, id="unlink-all"),
    ],
)
def test_a01_a_server_that_is_killed_at_work(tmp_path: Path, call: str, points: Sequence[int]) -> None:
    """Started again it makes the export, and what was being erased is there whole or has a receipt and left nothing."""
    home = Home(load_settings({"home": tmp_path / "home", **FLAGS}, {}))
    home.create("acme")
    with home.open("acme") as tenant:
        fill(tenant)
        headers = sign_in(tenant, email="a@example.com")
    shutil.copytree(home.settings.home, tmp_path / "copy")
    for point in points:
        hits = kill_at_work(home, headers, tmp_path / "trace", call, point)
        assert any(hits) or point > points[0], f"{call} never happened: this proves nothing"
        if not any(hits):
            return
        shutil.rmtree(home.settings.home)
        shutil.copytree(tmp_path / "copy", home.settings.home)


def kill_at_work(home: Home, headers: dict[str, str], trace: Path, call: str, point: int) -> list[bool]:
    """Kill a server that exports, then one that erases, and start it again; check what is left each time."""
    hits, asked = [], list[Any]()

    def exports() -> list[Any]:
        told = send(server, headers, "GET", "exports")
        return told["exports"] if told else []

    def export() -> bool:
        if not asked:
            asked.append(send(server, headers, "POST", "exports", {"kind": "tenant"}))
        states = [one["state"] for one in exports()]
        return len(states) > 1 and states == ["done"] * len(states)

    def erase() -> bool:
        if len(asked) < 2:
            asked.append(send(server, headers, "DELETE", "documents/1"))
        told = send(server, headers, "GET", "erasures")
        return bool(told) and bool(told["erasures"]) and told["erasures"][0]["is_finished"]

    with Running(home.settings.home) as server:
        hits.append(is_killed_at(server, trace, call, point, export))
    with Running(home.settings.home) as server:
        wait(lambda: bool(exports()) and all(one["state"] == "done" for one in exports()))
        assert asked[0] is None or asked[0]["id"] in [one["id"] for one in exports()]
        check_exports(home)
        hits.append(is_killed_at(server, trace, call, point, erase))
    with Running(home.settings.home) as server:
        wait(lambda: all(one["is_finished"] for one in send(server, headers, "GET", "erasures")["erasures"]))
        erasures = send(server, headers, "GET", "erasures")["erasures"]
    assert [one["is_complete"] for one in erasures] in ([], [True])
    with home.open("acme") as tenant:
        there = is_there(tenant, "document")
        assert there == (not erasures)
        assert bool(find_residue(tenant.folder, tenant.key.raw, [MARKS["document"]])) == there
    return hits


def check_exports(home: Home) -> None:
    """Check that every export can be fetched, that none lies about, and nothing in clear."""
    assert find_plaintext([home.settings.home], MARKS.values()) == {}
    with home.open("acme") as tenant:
        exports = list_exports(tenant)
        assert {file.name for file in tenant.exports_folder.iterdir()} == {one.sealed_id for one in exports}
        assert all(b"".join(fetch_export(tenant, one.id)) for one in exports)


@pytest.mark.nightly
def test_a01_a_backup_goes_on_when_the_server_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads the tenant by itself: the backup is whole, and can be restored."""
    backed_up = make_backed_up(tmp_path, documents=2, conversations=3)
    home, write = backed_up.home, BackupFolder.write
    with Running(home.settings.home) as server, home.open("acme") as tenant, backed_up.writing() as folder:
        wait(lambda: bool(send(server, {}, "GET", "documents")))

        def write_and_kill(self: BackupFolder, name: str, blocks: Any) -> int:
            server.process.kill()
            server.process.wait()
            return write(self, name, blocks)

        monkeypatch.setattr(BackupFolder, "write", write_and_kill)
        made = back_up(tenant, folder)
        assert server.process.returncode == -signal.SIGKILL
    assert made.damaged == ()
    assert try_restore(home, backed_up.reading(), made.snapshot).documents == 2
