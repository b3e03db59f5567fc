"""Keys and encryption: a key that is wrong, missing or damaged stops everything, in words; none is told or kept."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ruma.config import Settings, load_settings
from ruma.errors import DamagedError, KeyMissingError, RumaError, WrongKeyError
from ruma.tenant.home import Home
from ruma.tenant.keys.keys import Key
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.sources import add_source
from tests.harness.keyrings import snapshot, use_keyring
from tests.harness.oracle import check_tenant
from tests.harness.process import STORE, environ_of, ruma
from tests.harness.residue import find_plaintext, make_canaries
from tests.making import EMBEDDER, make_document


@pytest.fixture
def settings(clean_environ: None, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of an empty home whose keys are kept in the first place that this machine has."""
    monkeypatch.setenv("RUMA_KEY_SOURCE", "auto")
    return load_settings()


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a keyring that works this machine's, and return the file in which it keeps its items."""
    use_keyring("Plain", tmp_path, monkeypatch)
    return tmp_path / "keyring.json"


def test_b16_wrong_missing_and_damaged_keys_are_told_apart(keyring: Path, settings: Settings) -> None:
    """A flipped bit, another tenant's key, 63 digits and no item are told apart, and nothing is changed."""
    home = Home(settings)
    tenant_id, other_id = home.create("acme").id, home.create("b2").id
    good = json.loads(keyring.read_text())
    item, right = f"ruma/{tenant_id}", good[f"ruma/{tenant_id}"][0]
    flipped = f"{int(right[0], 16) ^ 1:x}{right[1:]}"
    before = snapshot(settings.home)

    for value, kind in [
        ([flipped], WrongKeyError),
        ([good[f"ruma/{other_id}"][0]], WrongKeyError),
        ([right[:-1]], WrongKeyError),
        ([""], WrongKeyError),
        ([], KeyMissingError),
    ]:
        keyring.write_text(json.dumps(good | {item: value}))
        with pytest.raises(kind) as caught:
            home.open("acme")
        assert type(caught.value) is kind
        said = str(caught.value) + caught.value.hint
        assert not any(secret and secret in said for secret in (*value, right))
        assert "ruma tenant recover acme" in said

    keyring.write_text(json.dumps(good))
    (settings.tenants_folder / "acme/tenant.db").write_bytes(os.urandom(40960))
    with pytest.raises(DamagedError):
        home.open("acme")
    assert {name: data for name, data in snapshot(settings.home).items() if name in before and "acme" not in name} == {
        name: data for name, data in before.items() if "acme" not in name
    }


def test_b16_the_command_says_what_is_wrong_with_a_key(tmp_path: Path) -> None:
    """On the command line a damaged key is one sentence, exit code 1 and no traceback; the recovery key mends it."""
    home = tmp_path / "home"
    created = json.loads(ruma("tenant", "create", "acme", "--json", home=home).stdout)
    file = home / f"keys/{created['id']}.key"
    sealed = bytearray(file.read_bytes())
    sealed[-1] ^= 1
    file.write_bytes(sealed)

    shown = ruma("tenant", "show", "acme", home=home)
    mended = ruma("tenant", "recover", "acme", home=home, typed=created["recovery_key"] + "\n")

    assert shown.returncode == 1
    assert shown.stderr.startswith("Error: ")
    assert "Traceback" not in shown.stderr
    assert "ruma tenant recover" in shown.stderr
    assert mended.returncode == 0, mended.stderr
    assert check_tenant(home, "acme") == {}


@pytest.mark.parametrize("lost", ["machine.key", "the sealed key", "both", "the folder"])
def test_b16_a_lost_key_file_is_mended_with_the_recovery_key(settings: Settings, lost: str) -> None:
    """Whatever is lost of the sealed files, the error is about the key, and the recovery key brings the tenant back."""
    created = Home(settings).create("acme")
    names = {"machine.key": ["machine.key"], "the sealed key": [f"{created.id}.key"]}
    for name in names.get(lost, ["machine.key", f"{created.id}.key"]):
        (settings.keys_folder / name).unlink()
    if lost == "the folder":
        settings.keys_folder.rmdir()

    with pytest.raises(KeyMissingError):
        Home(settings).open("acme")
    Home(settings).recover("acme", created.recovery_key)

    Home(settings).open("acme").close()


def test_b15_nothing_is_readable_without_the_key(tmp_path: Path) -> None:
    """Of documents that were stored, and of one whose storing was killed, no word is in a file or in its name.

    Nor of the address that one came from. The shared memory of the open database, `-shm`, is among the files. How large
    originals are can be seen on the disk, as the explanation of keys says.
    """
    home, words = tmp_path / "home", make_canaries(5)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    Home(Settings(home=home, key_source="machine")).create("acme")
    with Home(Settings(home=home)).open("acme") as tenant:
        source = add_source(tenant, "page", f"https://{words[4]}.example.com/{words[0]}")
        document = make_document(words[1], f"The word is {words[2]}. " * 50, title=words[3])
        store_document(tenant, source.id, document, embedder_id=EMBEDDER.id)
        found_open = find_plaintext([home], words)  # while the log is there
        open_files = {file.name for file in tenant.folder.iterdir()}
    process = subprocess.Popen([*STORE, "acme", *[words[2]] * 500], env=environ_of(home), stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()

    (scratch / "control").write_text(f"{words[0]} {words[1]} {words[2]} {words[3]} {words[4]}")

    assert {"tenant.db-wal", "tenant.db-shm"} < open_files
    assert not found_open
    assert not find_plaintext([home], words)
    assert set(find_plaintext([scratch], words)) == set(words)


def test_b21_no_key_in_messages_and_settings(tmp_path: Path) -> None:
    """After a day of commands, no output but the recovery key at creation holds a key, in any spelling."""
    home = tmp_path / "home"
    created = ruma("tenant", "create", "acme", "--json", home=home)
    key = Key.from_recovery_text(json.loads(created.stdout)["recovery_key"])
    master = (home / "keys/machine.key").read_text().strip()
    commands = [
        ["config"],
        ["tenant", "list"],
        ["tenant", "show"],
        ["doctor"],
        ["sources", "list"],
        ["tenant", "recover", "acme"],
    ]

    runs = [ruma(*args, home=home, typed="wrong\n") for args in commands]

    for run in runs:
        for secret in (key.raw.hex(), key.recovery_text(), key.recovery_text()[:17], master):
            assert secret not in run.stdout + run.stderr, run.args


def test_every_key_error_is_one_of_ours(settings: Settings) -> None:
    """Whatever lies in the place of a sealed key, opening the tenant raises an error that a person can act on."""
    created = Home(settings).create("acme")
    file = settings.keys_folder / f"{created.id}.key"
    for content in (
        b"",
        b"\0" * 88,
        os.urandom(88),
        os.urandom(100_000),
        file.read_bytes()[:40],
        b"RUMAKEY\x02" + os.urandom(80),
    ):
        file.write_bytes(content)
        with pytest.raises(RumaError):
            Home(settings).open("acme")


HOLDER = """
import ctypes, os, sys, time
from pathlib import Path
from ruma.config import load_settings
from ruma.ingest.reading import Reader
from ruma.tenant.home import Home
from ruma.tenant.keys.keys import harden_process

harden_process()
assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0, "others of this user may read its memory"  # PR_GET_DUMPABLE
with Home(load_settings()).open("acme") as tenant, Reader() as reader:
    tenant.page_key
    reader.read(b"A text.", "a.txt")
    print(reader._process.pid, flush=True)
    sys.stdin.readline()
    raise RuntimeError("the end")
"""


def test_b21_a_process_that_holds_a_key(tmp_path: Path) -> None:
    """No key in the environment, the command line or the memory of the parser, none in a traceback, and no core."""
    home = tmp_path / "home"
    key = Key.from_recovery_text(Home(Settings(home=home, key_source="machine")).create("acme").recovery_key)
    master = bytes.fromhex((home / "keys/machine.key").read_text())
    process = subprocess.Popen(
        ["sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh", sys.executable, "-c", HOLDER],
        env=environ_of(home),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    parser = int(process.stdout.readline())
    spelled = [form for raw in (key.raw, master) for form in (raw, raw.hex().encode())]

    for number in (process.pid, parser):
        for name in ("environ", "cmdline"):
            seen = Path(f"/proc/{number}/{name}").read_bytes()
            assert not any(form in seen for form in spelled), f"{name} of {number}"
        assert re.findall(r"Max core file size\s+(\S+)", Path(f"/proc/{number}/limits").read_text())[0] == "0"
    if os.access(f"/proc/{process.pid}/mem", os.R_OK):
        assert find_in_memory(process.pid, [key.raw])  # the control: a scan that finds nothing proves nothing
        assert not find_in_memory(parser, spelled)
    _, complaint = process.communicate(b"\n", timeout=20)
    assert b"RuntimeError: the end" in complaint
    assert not any(form in complaint for form in spelled)
    assert not list(tmp_path.glob("core*"))


def find_in_memory(number: int, needles: list[bytes]) -> list[str]:
    """Return the parts of a process's memory in which one of the needles is."""
    found = []
    with open(f"/proc/{number}/mem", "rb", 0) as memory:
        for line in Path(f"/proc/{number}/maps").read_text().splitlines():
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            if "r" not in line.split()[1] or line.endswith(("[vvar]", "[vsyscall]")):
                continue
            try:
                memory.seek(first)
                content = memory.read(last - first)
            except (OSError, OverflowError, ValueError):
                continue
            if any(needle in content for needle in needles):
                found.append(line)
    return found


def test_b21_a_core_is_not_written(tmp_path: Path) -> None:
    """A process with a key that is aborted leaves no core file, though the shell allows them."""
    home = tmp_path / "home"
    Home(Settings(home=home, key_source="machine")).create("acme")
    script = HOLDER.replace("sys.stdin.readline()", "os.abort()")

    run = subprocess.run(
        ["sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh", sys.executable, "-c", script],
        env=environ_of(home),
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
    )

    assert run.returncode == -signal.SIGABRT
    assert not list(tmp_path.glob("core*"))
