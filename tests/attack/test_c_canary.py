"""The canary test: a server that is used in every way, and every byte that it could have written, searched.

Everything goes through `ruma serve` and commands beside it, in processes of their own. Nothing is opened here, so that
the files are read as they lie.
"""

import contextlib
import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruma.config import load_settings
from ruma.tenant.home import Home
from ruma.tenant.keys.file_keys import find_file_key
from ruma.tenant.knowledge.originals import read_original
from tests.harness.canary import GOES, Used
from tests.harness.residue import Needles, find_plaintext, find_residue, make_canaries
from tests.harness.serving import Server
from tests.serving import FLAGS

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
    for place, kind in enumerate(GOES):
        receipt = used.erase(kind)
        assert receipt.is_complete, receipt.checks
        left = (*GOES[place + 1 :], "tenant")
        assert search.in_pages(kind, *left).keys() == used.names(*left)
        assert search.in_sealed_files(kind) == {}
    assert search.in_files() == {}

    saved = shutil.copytree(used.folder, used.server.working / "copy")
    assert find_residue(saved, used.key, used.words("tenant")), "the copy has nothing to be found: this proves nothing"
    used.server.ruma("tenant", "delete", "acme", "--yes")

    assert search.in_files() == {}
    assert [file for file in used.server.home.rglob("*") if used.id in file.name] == []
    assert not [one for one in used.server.open_files() if "tenants/acme" in one]
    assert used.server.send("GET", "/t/acme/").status == 404
    assert used.server.send("GET", "/t/other/").status == 200
