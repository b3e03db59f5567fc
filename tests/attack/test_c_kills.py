"""Erasures and exports that are killed: each is whole or was never begun, and what was begun is finished by itself."""

import io
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.tenant.copying.contents import Scope
from ruma.tenant.copying.exports import ask_export, fetch_export
from ruma.tenant.erasing.receipts import list_receipts
from ruma.tenant.home import Home
from tests.harness.erasing import MARKS, fill, is_there
from tests.harness.exporting import make_exports
from tests.harness.needs import needs
from tests.harness.oracle import check_tenant
from tests.harness.process import environ_of
from tests.harness.residue import find_plaintext, find_residue
from tests.harness.strace import Run, every_point

ERASE = [sys.executable, "-m", "tests.harness.erasing", "acme", *MARKS]
EXPORT = [sys.executable, "-m", "tests.harness.exporting", "acme"]
Renew = Callable[[], None]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home whose tenant has one thing of each kind, and keep a copy of it beside."""
    home = tmp_path / "home"
    made = Home(Settings(home=home, key_source="machine"))
    made.create("acme")
    with made.open("acme") as tenant:
        fill(tenant)
    shutil.copytree(home, tmp_path / "copy")
    return home


def put_back(home: Path) -> None:
    """Put the home back as it was."""
    shutil.rmtree(home)
    shutil.copytree(home.with_name("copy"), home)


def some(call: str, every: int, *, is_nightly: bool = False) -> list[object]:
    """Return the parameters for some of the points of a call now, and for all of them in the nightly run."""
    return [
        pytest.param(call, every, id=call, marks=pytest.mark.nightly if is_nightly else ()),
        pytest.param(call, 1, id=f"{call}-all", marks=pytest.mark.nightly),
    ]


@needs("strace")
@pytest.mark.parametrize(
    ("call", "every"), [*some("fsync", 16), *some("unlink", 4, is_nightly=True), *some("pwrite64", 90, is_nightly=True)]
)
def test_c23_killed_at_any_moment_of_erasing(home: Path, tmp_path: Path, call: str, every: int) -> None:
    """What was erased has a signed receipt and left nothing, what was not is whole, and nothing is between the two."""

    def check(point: int, run: Run) -> None:
        check_tenant(home, "acme")  # opens it, which finishes what was begun
        with Home(Settings(home=home)).open("acme") as tenant:
            folder, key = tenant.folder, tenant.key.raw
            there = [kind for kind in MARKS if is_there(tenant, kind)]
            receipts = list_receipts(tenant)
            exports = list((folder / "exports").iterdir())
        gone = [kind for kind in MARKS if kind not in there]
        acked = run.stdout.split()
        assert gone in (acked, list(MARKS)[: len(acked) + 1])
        signed = [one.signed.receipt for one in receipts if one.signed]
        assert sorted(one.kind for one in signed) == sorted(gone)
        assert all(one.is_complete for one in signed), signed
        assert set(find_residue(folder, key, MARKS.values())) == {MARKS[kind] for kind in there}
        assert len(exports) == (0 if gone else 1)

    every_point(
        ERASE, call, every=every, env=environ_of(home), trace=tmp_path / "trace", fresh=lambda: put_back(home),
        check=check,
    )  # fmt: skip


@needs("strace")
@pytest.mark.parametrize(
    ("call", "every"),
    [*some("rename", 1, is_nightly=True), *some("fsync", 4, is_nightly=True), *some("pwrite64", 20, is_nightly=True)],
)
def test_k30_a_worker_that_is_killed_at_any_moment(home: Path, tmp_path: Path, call: str, every: int) -> None:
    """The next one makes the export whole, or says why not; nothing lies about, and nothing in clear."""

    def fresh() -> None:
        put_back(home)
        with Home(Settings(home=home)).open("acme") as tenant:
            ask_export(tenant, Scope(), asked_by="Ada")

    def check(point: int, run: Run) -> None:
        assert find_plaintext([home], MARKS.values()) == {}
        exports = make_exports(home, "acme")
        assert [one.state for one in exports] == ["done", "done"], exports
        with Home(Settings(home=home)).open("acme") as tenant:
            data = b"".join(fetch_export(tenant, exports[0].id))
            lying = {file.name for file in tenant.exports_folder.iterdir()}
        assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
        assert lying == {one.sealed_id for one in exports}
        check_tenant(home, "acme")

    every_point(EXPORT, call, every=every, env=environ_of(home), trace=tmp_path / "trace", fresh=fresh, check=check)
