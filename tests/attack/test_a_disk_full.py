"""Full disks: the error says so, what was stored is kept, and questions are answered all the same."""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ruma.config import Settings
from ruma.tenant.agents import change_agent
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.sources import add_source
from tests.harness.needs import needs
from tests.harness.oracle import check_tenant
from tests.harness.process import ROOT
from tests.making import EMBEDDER, make_document

pytestmark = needs("userns")

FIRST = make_document("first.md", "The word is zebra. ")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home whose tenant answers from one document."""
    made = Home(Settings(home=tmp_path / "home", key_source="machine"))
    made.create("acme")
    with made.open("acme") as tenant:
        store_document(tenant, add_source(tenant, "folder", "/made/up").id, FIRST, embedder_id=EMBEDDER.id)
        change_agent(tenant, is_published=True)
    return tmp_path / "home"


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """Return a folder of documents: of some the original is large, of the others what is made of them."""
    chance, folder = random.Random(5), tmp_path / "documents"
    folder.mkdir()
    for number in range(6):
        words = [f"<p>{chance.randbytes(120).hex()} part {part} of {number}.</p>" for part in range(200)]
        text = "".join(words) if number % 2 else f"<!-- {'filler ' * 40000} --><p>The word is word{number}.</p>"
        (folder / f"d{number}.html").write_text(text)
    return folder


def work(tmp_path: Path, **asked: object) -> Any:
    """Return what came of the work on full disks."""
    for name in ("disk", "saved"):
        (tmp_path / name).mkdir()
    places = {name: str(tmp_path / name) for name in ("home", "documents", "disk", "saved")}
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-m", "tests.harness.filling_disk"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        input=json.dumps({**places, "asks": "zebra", **asked}),
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("sizes", [[1136], pytest.param(range(560, 2640, 64), marks=pytest.mark.nightly, id="all")])
def test_a05_a_full_disk(home: Path, documents: Path, tmp_path: Path, sizes: Sequence[int]) -> None:
    """On a disk of any size: what was stored is kept and answered from, and with space the same command succeeds."""
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in documents.iterdir()}
    whole = hashes | {"first.md": FIRST.content_hash}
    fitting = []

    for one in work(tmp_path, sizes=list(sizes))["sizes"]:
        code, said = one["tried"]
        kept = check_tenant(tmp_path / "saved" / str(one["size"]), "acme")
        assert {"first.md": FIRST.content_hash}.items() <= kept.items() <= whole.items()
        if kept == whole:
            fitting.append(one["size"])
        else:
            assert code == 1, said
            assert re.search(rf"Error: The disk .*{tmp_path}/disk/home/tenants/acme/\S+", said), said
            assert re.search(r"(?s)\bfull\b.*what was stored before is kept", said), said
        assert one["found"][0] == 0, one["found"]
        assert "zebra" in one["found"][1]
        for when, (status, answer) in one["asked"].items():
            if status == 507:  # it began when there was no byte left
                assert when == "begun full", one["asked"]
                assert "disk_full" in answer
            else:
                assert (status, "The word is zebra." in answer) == (200, True), (when, answer)
        assert one["again"][0] == 0, one["again"]
        assert "zebra" in one["found_then"]

    assert fitting == [size for size in sizes if fitting and size >= fitting[0]]
    assert len(fitting) < len(sizes)


@pytest.mark.nightly
def test_a05_a_full_temporary_folder(home: Path, documents: Path, tmp_path: Path) -> None:
    """Nothing needs it: documents are read, an export and a backup are made, and a question is answered."""
    done = work(tmp_path, temporary=True)["temporary"]

    assert [code for code, _ in done["ended"]] == [0] * 4, done["ended"]
    assert done["asked"][0] == 200, done["asked"]
    assert len(check_tenant(home, "acme")) == 7


@pytest.mark.nightly
def test_a05_a_full_disk_under_the_log(home: Path, documents: Path, tmp_path: Path) -> None:
    """Questions are answered and kept; what could not be logged is, once there is space, each line once and whole."""
    done = work(tmp_path, log=True)["log"]

    assert [status for status, _ in done["asked"]] == [200] * 30
    lines = [json.loads(line) for line in done["log"].splitlines() if line.startswith("{")]
    assert len(done["full"]) < len(done["log"]), "the log was never short of space"
    assert [line["route"] for line in lines] == ["/t/{name}/api/chat"] * 30
    with Home(Settings(home=home)).open("acme") as tenant, tenant.reading() as db:
        assert db.execute("select sum(questions) from conversation").fetchone() == (30,)
