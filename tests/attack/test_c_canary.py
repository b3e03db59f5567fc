"""The canary test: a server that is used in every way, and every byte that it could have written, searched.

Everything goes through `ruma serve` and commands beside it, in processes of their own. Nothing is opened here, so that
the files are read as they lie.
"""

import contextlib
import http.client
import io
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruma.config import load_settings
from ruma.tenant.home import Home
from ruma.tenant.keys.file_keys import find_file_key
from ruma.tenant.knowledge.documents import list_documents
from ruma.tenant.knowledge.originals import read_original
from ruma.tenant.knowledge.uploads import list_uploads
from tests.harness.canary import GOES, Used
from tests.harness.process import RUMA, environ_of
from tests.harness.remembering import remembered
from tests.harness.residue import Needles, find_plaintext, find_residue, make_canaries
from tests.harness.serving import Server
from tests.serving import FLAGS, Running, sign_in

SHARED = Path("/dev/shm")


class Search:
    """All the places that the program could have written to."""

    def __init__(self, used: Used) -> None:
        """Take the tenant whose marks are looked for."""
        self.used, server = used, used.server
        self.places = [server.home, server.temporary, server.working, server.log, SHARED]

    def in_files(self) -> dict[str, list[str]]:
        """Return which marks lie anywhere as they are; in each place one is planted first, and must be found."""
        planted = make_canaries(1)[0]
        spots = [place / f"planted-{planted[:4]}" for place in self.places if place.is_dir()]
        spots += [self.used.server.home / "keys" / "planted", self.used.server.home / "tenants" / "other" / "planted"]
        for spot in spots:
            spot.write_text(planted)
        log = self.used.server.log.stat().st_size
        with self.used.server.log.open("a") as file:
            file.write(planted)
        try:
            found = find_plaintext(self.places, [*self.used.words(*self.used.marks), planted])
        finally:
            for spot in spots:
                spot.unlink()
            with self.used.server.log.open("r+b") as file:
                file.truncate(log)
        assert set(found.pop(planted, [])) == {str(spot) for spot in spots} | {str(self.used.server.log)}
        return self.used.named(found)

    def in_pages(self, *kinds: str) -> dict[str, list[str]]:
        """Return which marks of these kinds are in decrypted pages of the tenant's database and log."""
        return self.used.named(find_residue(self.used.folder, self.used.key, self.used.words(*kinds)))

    def in_sealed_files(self, *kinds: str) -> dict[str, list[str]]:
        """Return which marks of these kinds are in files that the tenant opens: originals, uploads, exports."""
        home = Home(load_settings({"home": self.used.server.home, **FLAGS}, {}))
        contents = []
        with home.open("acme") as tenant:
            for folder in (tenant.files_folder, tenant.uploads_folder, tenant.exports_folder):
                for file in folder.glob("*"):
                    data = b"".join(read_original(file, find_file_key(tenant, file.name)))
                    contents.append((file.name, data))
                    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(data)) as archive:
                        contents += [(file.name, archive.read(name)) for name in archive.namelist()]
        return self.used.named(Needles(self.used.words(*kinds)).find(contents))

    def in_objects(self, *kinds: str) -> dict[str, list[str]]:
        """Return which marks of these kinds any living object of the server's process holds."""
        server = self.used.server
        return self.used.named(remembered(server.process.pid, server.temporary, self.used.words(*kinds)))


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    """Return a tenant that was used in every way, whose server was killed in the middle and started again."""
    server = Server(tmp_path_factory.mktemp("canary"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
        used = Used(server)
        server.start()
        try:
            used.use()
            used.kill_in_the_middle()
            yield used
        finally:
            server.stop()


def test_c15_nothing_lies_anywhere_in_clear(used: Used) -> None:
    """Of all that was stored and said: nothing in home, temporary files, logs, shared memory or working folder."""
    search = Search(used)

    assert search.in_files() == {}
    stored = (*GOES, "tenant")
    found = search.in_pages(*stored).keys() | search.in_sealed_files(*stored).keys()
    assert found == used.names(*stored), "this search finds less than was stored: it proves nothing"


def test_c70_what_is_secret_or_was_only_said_is_not_even_stored(used: Used) -> None:
    """Passwords, cookies, keys, links and what came with requests that failed are in no decrypted page either."""
    search = Search(used)

    assert search.in_pages("secret", "said") == {}
    assert search.in_sealed_files("secret", "said") == {}


def test_c74_what_is_erased_is_nowhere_and_the_rest_is_there(used: Used) -> None:
    """Document, conversation, visitor and member, one after the other, while the server runs, and the tenant last."""
    search = Search(used)
    used.open_everything()  # since it was killed
    kept = search.in_objects(*GOES).keys()
    assert {"document: title", "visitor: question"} < kept, "nothing is remembered before: this proves nothing"
    for place, kind in enumerate(GOES):
        receipt = used.erase(kind)
        assert receipt.is_complete, receipt.checks
        left = (*GOES[place + 1 :], "tenant")
        assert search.in_pages(kind, *left).keys() == used.names(*left)
        assert search.in_sealed_files(kind) == {}
    assert search.in_files() == {}
    assert search.in_objects(*GOES) == {}

    saved = shutil.copytree(used.folder, used.server.working / "copy")
    assert find_residue(saved, used.key, used.words("tenant")), "the copy has nothing to be found: this proves nothing"
    used.server.ruma("tenant", "delete", "acme", "--yes")

    assert search.in_files() == {}
    assert [file for file in used.server.home.rglob("*") if used.id in file.name] == []
    assert not [one for one in used.server.open_files() if "tenants/acme" in one]
    assert used.server.send("GET", "/t/acme/").status == 404
    assert used.server.send("GET", "/t/other/").status == 200


def test_c27_a_tenant_is_deleted_while_it_answers_and_takes_a_file_in(tmp_path: Path) -> None:
    """Stream and upload end with a notice, one of two deletions succeeds, and a new tenant of the name has nothing."""
    with Running(tmp_path / "home", "word " * 600, "0.05") as server:
        home = Home(load_settings({"home": server.home, **FLAGS}, {}))
        with home.open("acme") as tenant:
            old, headers = tenant.id, sign_in(tenant)
        upload = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        upload.putrequest("PUT", "/t/acme/api/sources/uploads?name=a.txt")
        for name, value in {**headers, "Content-Length": "200000"}.items():
            upload.putheader(name, value)
        upload.endheaders(b"half of it " * 9_000)
        stream = server.ask()
        while not stream.readline().startswith(b"event: token"):
            assert not stream.closed
        command = [*RUMA, "tenant", "delete", "acme", "--yes"]
        pipe = subprocess.PIPE
        deletions = [
            subprocess.Popen(command, env=environ_of(server.home), stdout=pipe, stderr=pipe, text=True) for _ in "ab"
        ]
        ended = sorted((one.wait(timeout=60), one.communicate()[1]) for one in deletions)
        with contextlib.suppress(OSError):
            upload.send(b"the other half " * 10_000)
        told = stream.read()
        with contextlib.suppress(http.client.HTTPException, OSError):
            assert upload.getresponse().status >= 400
        upload.close()
        home.create("acme")
        with home.open("acme") as tenant:
            assert tenant.id != old
            assert list_documents(tenant) == list_uploads(tenant) == []
            assert server.ask().status == 401  # nothing of it is published yet
        held = [os.readlink(one) for one in Path(f"/proc/{server.process.pid}/fd").iterdir() if one.is_symlink()]

    assert [code for code, _ in ended] == [0, 1]
    assert re.search("There is no tenant acme|The tenant acme is not there any more", ended[1][1])
    assert b"event: error" in told
    assert b"event: done" not in told
    assert [one for one in held if "tenants" in one and "(deleted)" in one] == []
