"""A tenant whose directory goes from under whoever is at work on it, and a server that is killed at work."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
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
from ruma.server.app import create_app
from ruma.tenant.copying.backup_folder import BackupFolder, init_folder
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant
from tests.attack.test_f_routes import HERE
from tests.harness.residue import find_plaintext, make_canaries
from tests.serving import EMBEDDER, FLAGS, make_tenant, sign_in, store

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


@pytest.mark.parametrize("after", [1, 4], ids=["sealing", "copying rows"])
def test_c27_a_directory_that_is_removed_while_it_is_backed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
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
                if written[0] == after:
                    shutil.rmtree(tenant.folder)
                return size

            monkeypatch.setattr(BackupFolder, "write", write_and_remove)
            with pytest.raises(NotFoundError, match="acme is not there any more"):
                back_up(tenant, folder)
            assert written[0] >= after
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

    def read_and_wait(self: Reader, data: bytes, name: str) -> ParsedDocument:
        if word.encode() in data:
            is_read.set()
            assert is_gone.wait(60)
        found.append(read(self, data, name))
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
