"""Tenants are apart, and what people type is data: never a path, an option, SQL or the search's syntax."""

import os
import shutil
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import InputError, NotFoundError, RumaError
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents, read_document, read_original_of, store_document
from ruma.tenant.knowledge.index import document_frequencies, search_vectors, search_words
from ruma.tenant.knowledge.sources import add_source, find_source
from ruma.tenant.tenant import Tenant
from tests.harness.process import ROOT, ruma
from tests.making import EMBEDDER, make_document

PAYLOADS = ROOT / "../shared/data/payloads"

HOSTILE_NAMES = [
    "../../x", "..\\..\\x", "/etc/passwd", "....//x", "%2e%2e%2fx", "a\0b", "x" * 300, ".", "..", "CON", "nul.txt",
    "x.", "x ", "a/b", "a\nb", "🥐", "cafe\u0301", "caf\u00e9", "\u202egpj.exe", "-rf", "--home=/x", "~",
    "~root", "$HOME", "`id`", "$(id)", "a;b", "a'b", 'a"b', "'; drop table document; --", "%s%s%n", "{0}", "\x1b[2J",
    "\ufeffx", "file:///etc/passwd",
]  # fmt: skip

HOSTILE_WORDS = [
    '" OR 1=1 --', "NEAR(", "*", '"', "^", ":", "body:secret", "text:", "title:x", "-text", "a AND", "OR", "NOT", "(",
    "a*b", "''", "\\", ";", "x'00'", "NEAR(a b, 5)", "a\0b", "chunk_fts", "rank", "🥐", "\ufeff", "%",
    ")", "{a b}:", "_", "' union select 1 --",
]  # fmt: skip


@pytest.fixture
def tenant(tmp_path: Path) -> Tenant:
    """Return a tenant with one document."""
    home = Home(Settings(home=tmp_path / "home", key_source="machine"))
    home.create("acme")
    opened = home.open("acme")
    source = add_source(opened, "folder", "/made/up")
    store_document(opened, source.id, make_document("plain", "The bread costs five. "), embedder_id=EMBEDDER.id)
    return opened


def tree(folder: Path) -> set[str]:
    """Return the names of everything under a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.name.endswith(("-shm", "-wal"))}


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_g53_a_tenants_name_is_never_a_path(tenant: Tenant, tmp_path: Path, name: str) -> None:
    """No hostile name makes, opens, recovers or deletes anything, and no file appears or goes."""
    home, before = Home(Settings(home=tmp_path / "home", key_source="machine")), tree(tmp_path)

    for call in (home.create, home.open, home.delete, lambda name: home.recover(name, "x")):
        with pytest.raises(InputError):
            call(name)

    assert tree(tmp_path) - {"home/lock"} == before - {"home/lock"}


def test_g53_names_on_the_command_line(tmp_path: Path) -> None:
    """Given as argument, option and environment variable, such names end in one sentence and exit code 1 or 2."""
    home = tmp_path / "home"
    assert ruma("tenant", "create", "acme", home=home).returncode == 0
    before = tree(tmp_path)
    runs = [
        ruma("tenant", "create", "../../x", home=home),
        ruma("tenant", "delete", "--yes", "--", "-rf", home=home),
        ruma("tenant", "show", "../acme", home=home),
        ruma("sources", "list", "--tenant", "acme/../acme", home=home),
        ruma("sources", "list", home=home, RUMA_TENANT="/etc"),
    ]

    for run in runs:
        assert run.returncode == 1
        assert "Traceback" not in run.stderr
        assert "cannot be a tenant's name" in run.stderr
    assert tree(tmp_path) == before


def test_g53_a_documents_name_is_data(tenant: Tenant) -> None:
    """Documents and sources with hostile names come back under exactly these names; their files have random names."""
    before = tree(tenant.folder)
    source = add_source(tenant, "folder", "../../etc; rm -rf ~")

    for name in HOSTILE_NAMES:
        store_document(tenant, source.id, make_document(name, f"It says {len(name)}. "), embedder_id=EMBEDDER.id)

    found = {one.name: one.id for one in list_documents(tenant, source.id)}
    assert set(found) == set(HOSTILE_NAMES)
    assert find_source(tenant, source.id).location == "../../etc; rm -rf ~"
    for name, document_id in found.items():
        assert b"".join(read_original_of(tenant, document_id)) == f"It says {len(name)}. ".encode()
    new = tree(tenant.folder) - before
    assert len(new) == len(HOSTILE_NAMES)
    assert all(name.startswith("files/") and len(name) == 38 and name[6:].isalnum() for name in new)


@pytest.mark.parametrize("word", HOSTILE_WORDS, ids=ascii)
def test_g54_a_question_is_words(tenant: Tenant, word: str) -> None:
    """Whatever is asked for, the search finds chunks that hold the words, or none, and raises nothing."""
    found = search_words(tenant, [word, "bread"], 10)

    assert len(found) == 1
    assert len(search_words(tenant, [word], 10)) <= 1
    document_frequencies(tenant, [word])


def test_g54_ten_thousand_words(tenant: Tenant) -> None:
    """A question of ten thousand words is searched, not refused by the database."""
    words = [f"word{number}" for number in range(10_000)]

    assert len(search_words(tenant, [*words, "bread"], 10)) == 1


@pytest.mark.parametrize("file", ["sqli-patt.txt", "blns.txt"])
def test_g54_published_payloads(tenant: Tenant, file: str) -> None:
    """Two thousand published injections, as words and as documents' names, change nothing and raise nothing."""
    if not (PAYLOADS / file).exists():
        pytest.skip(f"{file} of the shared data is not here")
    lines = (PAYLOADS / file).read_text(encoding="utf-8", errors="replace").splitlines()

    for line in lines:
        search_words(tenant, line.split(), 3)
        find_nothing(tenant, line)

    assert len(lines) > 500
    assert [one.name for one in list_documents(tenant)] == ["plain"]


def find_nothing(tenant: Tenant, text: str) -> None:
    """Look for a source of that name, which is not there."""
    if text.strip() not in {"", "1"}:
        with pytest.raises(RumaError):
            find_source(tenant, text)


def test_g51_another_tenants_ids_mean_nothing(tenant: Tenant, tmp_path: Path) -> None:
    """A document's id of one tenant is nothing to another one, and a search sees one tenant only."""
    home = Home(Settings(home=tmp_path / "home", key_source="machine"))
    home.create("b2")
    with home.open("b2") as other:
        for call in (read_document, read_original_of):
            with pytest.raises(NotFoundError):
                call(other, list_documents(tenant)[0].id)
        assert search_words(other, ["bread"], 10) == []
        assert search_vectors(other, EMBEDDER.embed_question("bread"), 10) == []
        source = add_source(other, "folder", "/made/up")
        store_document(other, source.id, make_document("plain", "The bread costs nine. "), embedder_id=EMBEDDER.id)
        assert read_document(other, list_documents(other)[0].id).text == "The bread costs nine. "
    assert read_document(tenant, list_documents(tenant)[0].id).text == "The bread costs five. "


@pytest.mark.parametrize("how", ["link to the directory", "link to the database", "hard link to the database", "copy"])
def test_g55_a_tenant_in_anothers_place(tenant: Tenant, tmp_path: Path, how: str) -> None:
    """A directory or database that stands in another tenant's place, linked or copied, is refused."""
    home = Home(Settings(home=tmp_path / "home", key_source="machine"))
    home.create("b2")
    tenant.close()
    first, second = tenant.folder, tenant.folder.with_name("b2")
    if how == "link to the directory":
        shutil.rmtree(second)
        second.symlink_to(first)
    elif how == "copy":
        shutil.rmtree(second)
        shutil.copytree(first, second)
    else:
        (second / "tenant.db").unlink()
        if how.startswith("hard"):
            os.link(first / "tenant.db", second / "tenant.db")
        else:
            (second / "tenant.db").symlink_to(first / "tenant.db")

    with pytest.raises(RumaError):
        home.open("b2")

    home.open("acme").close()


def test_g55_a_name_used_again_sees_nothing_old(tenant: Tenant, tmp_path: Path) -> None:
    """After a deletion the same name is a new tenant, with another id and key, and without the old documents."""
    home = Home(Settings(home=tmp_path / "home", key_source="machine"))
    tenant.close()
    shutil.copytree(tenant.folder, tmp_path / "old")
    home.delete("acme")
    created = home.create("acme")

    with home.open("acme") as new:
        assert (new.id, new.key) != (tenant.id, tenant.key)
        assert list_documents(new) == []
    for name in ("tenant.db", "tenant.toml"):
        shutil.copy(tmp_path / "old" / name, home.settings.tenants_folder / "acme" / name)
        with pytest.raises(RumaError):
            home.open("acme")
    assert created.id != tenant.id


def test_g55_many_tenants(tmp_path: Path) -> None:
    """Thirty tenants in one home are thirty directories, keys and ids."""
    home = Home(Settings(home=tmp_path / "home", key_source="machine"))
    made = [home.create(f"t{number}") for number in range(30)]

    assert len({one.id for one in made}) == len({one.recovery_key for one in made}) == 30
    assert len(home.names()) == 30
    assert len(list((tmp_path / "home/keys").glob("*.key"))) == 31
