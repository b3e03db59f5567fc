"""Damaged files: an error that names what is lost, and nothing else with it."""

import random
import shutil
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import DamagedError, StoreError
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents, read_document, store_document
from ruma.tenant.knowledge.sources import add_source
from tests.harness.oracle import check_tenant
from tests.harness.residue import clear_pages
from tests.making import EMBEDDER, make_document

PAGE = 4096


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home whose two tenants have forty documents each, and whose log is emptied."""
    home = tmp_path_factory.mktemp("large") / "home"
    for name in ("acme", "b2"):
        made = Home(Settings(home=home, key_source="machine"))
        made.create(name)
        with made.open(name) as tenant:
            source = add_source(tenant, "folder", "/made/up")
            for number in range(40):
                texts = [f"{name} document {number} part {part} says so. " * 12 for part in range(4)]
                store_document(tenant, source.id, make_document(f"d{number}", *texts), embedder_id=EMBEDDER.id)
            with tenant.unbound() as db:
                db.execute("pragma wal_checkpoint(truncate)").fetchall()
    return home


@pytest.fixture
def damaged(large: Path, tmp_path: Path) -> Path:
    """Return a copy of the large home, to be damaged."""
    shutil.copytree(large, tmp_path / "home")
    return tmp_path / "home"


def read_all(home: Path, name: str = "acme") -> tuple[int, int]:
    """Read every document and return how many came out as they were stored, and how many are damaged."""
    whole = broken = 0
    with Home(Settings(home=home)).open(name) as tenant:
        try:
            ids = {one.id: one.name for one in list_documents(tenant)}
        except DamagedError:
            ids = {number: f"d{number - 1}" for number in range(1, 41)}
        for document_id, document_name in ids.items():
            texts = [f"{name} document {document_name[1:]} part {part} says so. " * 12 for part in range(4)]
            try:
                assert read_document(tenant, document_id).text == "".join(texts)
            except DamagedError:
                broken += 1
            else:
                whole += 1
    return whole, broken


def raise_damage(home: Path) -> None:
    """Read every document and raise the first damage there is."""
    with Home(Settings(home=home)).open("acme") as tenant:
        for one in list_documents(tenant):
            read_document(tenant, one.id)
        with tenant.unbound() as db:
            found = db.execute("pragma cipher_integrity_check").fetchall()
        if found:  # a free page that nothing reads: `ruma doctor` is who notices
            raise DamagedError(f"tenant.db: {found}")


def test_a11_flipped_bits(damaged: Path) -> None:
    """A flipped bit anywhere gives the stored text or an error, never another text, and no crash."""
    file = damaged / "tenants/acme/tenant.db"
    data, chance = file.read_bytes(), random.Random(11)
    outcomes = []
    for _ in range(15):
        altered, place = bytearray(data), chance.randrange(len(data))
        altered[place] ^= 1 << chance.randrange(8)
        file.write_bytes(altered)
        try:
            outcomes.append(read_all(damaged))
        except DamagedError:
            outcomes.append((0, 40))

    assert all(whole + broken == 40 for whole, broken in outcomes)
    assert any(broken for _, broken in outcomes)


def test_a11_one_damaged_page_costs_its_own_documents_only(damaged: Path) -> None:
    """Documents on other pages are read after the error, from a new connection."""
    home = Home(Settings(home=damaged))
    with home.open("acme") as tenant:
        key = tenant.key.raw
    file = damaged / "tenants/acme/tenant.db"
    page = next(number for number, page in clear_pages(file, key) if b"document 20 part 1 says" in page)
    data = bytearray(file.read_bytes())
    data[(page - 1) * PAGE : page * PAGE] = bytes(PAGE)
    file.write_bytes(data)

    whole, broken = read_all(damaged)

    assert 0 < broken < 10
    assert whole > 30


@pytest.mark.parametrize(
    "how", ["cut by a page", "cut by half a page", "cut to nothing", "two pages exchanged", "removed"]
)
def test_a11_other_damage(damaged: Path, how: str) -> None:
    """A database that was cut short, emptied, removed or shuffled is said to be damaged, and never made anew."""
    file = damaged / "tenants/acme/tenant.db"
    data = file.read_bytes()
    middle = len(data) // PAGE // 2
    if how.startswith("cut by"):
        file.write_bytes(data[: -PAGE if how == "cut by a page" else -PAGE // 2])
    elif how == "cut to nothing":
        file.write_bytes(b"")
    elif how == "removed":
        file.unlink()
    else:
        first, second = data[(middle - 1) * PAGE :][:PAGE], data[middle * PAGE :][:PAGE]
        file.write_bytes(data[: (middle - 1) * PAGE] + second + first + data[(middle + 1) * PAGE :])
    before = file.read_bytes() if file.exists() else None

    with pytest.raises(DamagedError, match=r"tenant\.db"):
        raise_damage(damaged)

    assert (file.read_bytes() if file.exists() else None) == before
    assert read_all(damaged, "b2") == (40, 0)


def test_a11_a_lost_log_leaves_an_earlier_state(damaged: Path) -> None:
    """Without its log, as after a careless copy, the database is the earlier one, whole, or said to be damaged."""
    home = Home(Settings(home=damaged))
    with home.open("acme") as tenant:
        source = add_source(tenant, "folder", "/made/up")
        store_document(tenant, source.id, make_document("late", "Too late. "), embedder_id=EMBEDDER.id)
        assert (damaged / "tenants/acme/tenant.db-wal").stat().st_size
        shutil.copytree(damaged / "tenants/acme", damaged / "tenants/copy")
    shutil.rmtree(damaged / "tenants/acme")
    (damaged / "tenants/copy").rename(damaged / "tenants/acme")
    (damaged / "tenants/acme/tenant.db-wal").unlink()

    assert read_all(damaged) == (40, 0)
    assert len(check_tenant(damaged, "acme")) == 40


def test_a11_exchanged_databases(damaged: Path) -> None:
    """Two tenants' databases, exchanged, are refused, and so are they when the manifests go with them."""
    first, second = damaged / "tenants/acme", damaged / "tenants/b2"
    (first / "tenant.db").rename(damaged / "x")
    (second / "tenant.db").rename(first / "tenant.db")
    (damaged / "x").rename(second / "tenant.db")

    for name in ("acme", "b2"):
        with pytest.raises(StoreError):
            Home(Settings(home=damaged)).open(name)
