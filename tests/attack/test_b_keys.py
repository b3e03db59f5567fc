"""Keys and encryption: a key that is wrong, missing or only pretended stops everything, in words."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from ruma.config import Settings, load_settings
from ruma.errors import DamagedError, KeyMissingError, KeyStoreError, RumaError, WrongKeyError
from ruma.tenant.home import Home
from ruma.tenant.keys import keyring_store
from ruma.tenant.keys.keyring_store import SystemKeyring
from ruma.tenant.keys.keys import Key
from ruma.tenant.keys.rotation import move_key, rotate_key
from ruma.tenant.keys.sealed_keys import SealedKeys
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.sources import add_source, list_sources
from tests.harness.oracle import check_tenant
from tests.harness.process import ROOT, RUMA, STORE, environ_of, ruma
from tests.harness.residue import find_plaintext, make_canaries
from tests.making import EMBEDDER, make_document

CREATE = ["tenant", "create", "acme"]
nightly = partial(pytest.param, marks=pytest.mark.nightly)
SOURCES = ("credential", "keyring", "command", "file", "passphrase")


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


def use_keyring(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_allowed: bool = True) -> None:
    """Make one of the doubles this machine's keyring."""
    monkeypatch.setenv("RUMA_TEST_KEYRING", str(tmp_path / "keyring.json"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", f"tests.doubles.{name}")
    if is_allowed:
        monkeypatch.setattr(keyring_store, "ALLOWED", [f"tests.doubles.{name}"])


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder; the shared index of an open database is not content."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.name.endswith(("-shm", "-wal"))
    }


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


@pytest.mark.parametrize("name", ["Null", "Forgetful", "Truncating", "Newline", *map(nightly, ["Denying", "Locked"])])
def test_b17_a_keyring_that_pretends(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With a keyring that does not keep keys no tenant is made: no file is written, and the name stays free."""
    use_keyring(name, tmp_path, monkeypatch)

    with pytest.raises(KeyStoreError, match=f"doubles.{name}"):
        Home(settings).create("acme")

    assert not [file for file in snapshot(settings.home) if not file.endswith("lock")]
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    assert Home(settings).create("acme").key_store == "sealed files (machine)"


@pytest.mark.parametrize("name", ["Null", "Plain"])
def test_b18_a_keyring_that_is_not_accepted(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A keyring of a class that is not on the list gets no key, and no other place is taken instead of it."""
    use_keyring(name, tmp_path, monkeypatch, is_allowed=False)

    with pytest.raises(KeyStoreError, match=f"doubles.{name}, which is not known to keep a key safely"):
        Home(settings).create("acme")

    assert not (tmp_path / "keyring.json").exists()
    assert not [file for file in snapshot(settings.home) if not file.endswith("lock")]


def test_b19_a_keyring_that_hangs(tmp_path: Path) -> None:
    """Without an answer from the keyring the command ends within its limit, says the other sources, writes nothing."""
    home, site = tmp_path / "home", tmp_path / "site"
    site.mkdir()
    # The class must pass the list of a real command, so it bears an accepted name.
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'ruma.tenant.keys.keyring_process' in sys.orig_argv:\n"
        "    from tests import doubles\n"
        "    from keyring.backends import libsecret\n"
        "    doubles.Hang.__module__, doubles.Hang.__qualname__ = 'keyring.backends.libsecret', 'Keyring'\n"
    )

    run = ruma(
        "tenant",
        "create",
        "acme",
        home=home,
        PYTHONPATH=f"{site}:{ROOT}",
        RUMA_KEY_SOURCE="auto",
        PYTHON_KEYRING_BACKEND="tests.doubles.Hang",
        RUMA_TEST_KEYRING=str(tmp_path / "keyring.json"),
    )

    assert run.returncode == 1
    assert "did not answer within 10 seconds" in run.stderr
    assert all(source in run.stderr for source in SOURCES)
    assert not [file for file in snapshot(home) if not file.endswith("lock")]


def test_b19_no_keyring_with_the_keyring_asked_for(tmp_path: Path) -> None:
    """With `--key-source keyring` and no keyring there is no fallback: an error that lists every source."""
    run = ruma("tenant", "create", "acme", "--key-source", "keyring", home=tmp_path / "home")

    assert run.returncode == 1
    assert all(source in run.stderr for source in SOURCES)
    assert not [file for file in snapshot(tmp_path / "home") if not file.endswith("lock")]


def test_b20_another_keyring_than_at_creation(
    keyring: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the keyring of the manifest and the one found, overwrites nothing, and recovery moves the key."""
    created = Home(settings).create("acme")
    before = keyring.read_bytes()
    use_keyring("Other", tmp_path, monkeypatch)

    with pytest.raises(
        KeyStoreError, match=r"doubles\.Plain, and this machine now has tests\.doubles\.Other"
    ) as caught:
        Home(settings).open("acme")
    assert "ruma tenant recover" in caught.value.hint
    assert keyring.read_bytes() == before

    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    assert Home(settings).recover("acme", created.recovery_key) == "sealed files (machine)"
    Home(settings).open("acme").close()
    assert keyring.read_bytes() == before


SHADOW = "from sqlite3 import *\nfrom sqlite3 import dbapi2\nError = dbapi2.Error\n"


@pytest.mark.parametrize(
    "args",
    [
        ["tenant", "create", "b2"],
        ["tenant", "show", "acme"],
        ["sources", "list", "-t", "acme"],
        ["keys", "rotate", "acme"],
        ["keys", "reseal", "acme"],
    ],
)
def test_b22_a_library_without_a_cipher(tmp_path: Path, args: list[str]) -> None:
    """Where another library stands in the cipher's place every command refuses, names it, and writes no plain byte."""
    home, site = tmp_path / "home", tmp_path / "site"
    assert ruma("tenant", "create", "acme", home=home).returncode == 0
    before = snapshot(home)
    (site / "sqlcipher3").mkdir(parents=True)
    (site / "sqlcipher3/__init__.py").write_text(SHADOW)

    run = ruma(*args, home=home, PYTHONPATH=f"{site}:{ROOT}")

    assert run.returncode == 1
    assert "has no cipher" in run.stderr
    assert str(site) in run.stderr
    assert snapshot(home) == before


def test_b22_only_one_function_connects() -> None:
    """No other line of Ruma opens a database: each one that did could forget the key, the cipher or the owner."""
    found = []
    for file in (ROOT / "ruma").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "attr", "") or getattr(getattr(node, "func", None), "id", "")
            is_database = name == "Database" or (name == "connect" and "sqlcipher3" in ast.unparse(node))
            if isinstance(node, ast.Call) and is_database:
                found.append(str(file.relative_to(ROOT)))
            if isinstance(node, ast.Import | ast.ImportFrom) and "sqlite3" in ast.unparse(node):
                assert file.name == "database.py", f"{file} imports {ast.unparse(node)}"

    assert set(found) == {"ruma/tenant/database.py"}


def test_b15_nothing_is_readable_without_the_key(tmp_path: Path) -> None:
    """Of documents that were stored, and of one whose storing was killed, no word is in a file or in its name."""
    home, words = tmp_path / "home", make_canaries(4)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    Home(Settings(home=home, key_source="machine")).create("acme")
    with Home(Settings(home=home)).open("acme") as tenant:
        source = add_source(tenant, "folder", f"/x/{words[0]}")
        document = make_document(words[1], f"The word is {words[2]}. " * 50, title=words[3])
        store_document(tenant, source.id, document, embedder_id=EMBEDDER.id)
        found_open = find_plaintext([home], words)  # while the log is there
    process = subprocess.Popen([*STORE, "acme", *[words[2]] * 500], env=environ_of(home), stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()

    (scratch / "control").write_text(f"{words[0]} {words[1]} {words[2]} {words[3]}")

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


def test_b19_a_locked_keyring_stops_its_own_tenants_only(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion that waits for a locked keyring keeps nobody from other tenants, and is finished once unlocked."""
    other = Home(settings).create("b2")
    use_keyring("Plain", tmp_path, monkeypatch)
    Home(settings).create("acme")
    monkeypatch.setattr(keyring_store, "ALLOWED", ["tests.doubles.Plain", "tests.doubles.Locked"])
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.doubles.Locked")

    with pytest.raises(KeyStoreError):
        Home(settings).delete("acme")

    assert Home(settings).names() == ["b2"]
    with Home(settings).open("b2") as tenant:
        assert tenant.id == other.id
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.doubles.Plain")
    Home(settings)
    assert not [entry for entry in settings.tenants_folder.iterdir() if entry.name != "b2"]
    assert not any(json.loads((tmp_path / "keyring.json").read_text()).values())


@pytest.mark.parametrize("name", ["Truncating", *map(nightly, ["Forgetful", "Newline", "Denying", "Locked"])])
def test_b17_moving_to_a_keyring_that_pretends(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A key that a keyring does not keep stays where it is, and the attempt leaves nothing behind."""
    Home(settings).create("acme")
    before = snapshot(settings.home)
    use_keyring(name, tmp_path, monkeypatch)

    with pytest.raises(KeyStoreError, match=f"doubles.{name}"):
        move_key(Home(settings), "acme", SystemKeyring(f"tests.doubles.{name}"))

    assert {file: data for file, data in snapshot(settings.home).items() if "tenant.db" not in file} == {
        file: data for file, data in before.items() if "tenant.db" not in file
    }
    Home(settings).open("acme").close()


def test_b17_a_keyring_that_stops_keeping_keys(
    keyring: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation into a keyring that keeps nothing any more changes nothing: the old key is not touched."""
    Home(settings).create("acme")
    before = keyring.read_bytes()
    # The same class to look at, since the manifest names it, that now cuts what it is given.
    monkeypatch.setenv("RUMA_TEST_KEYRING_CUTS", "8")

    with pytest.raises(KeyStoreError, match="did not keep the key"):
        list(rotate_key(Home(settings), "acme"))

    assert {item: kept for item, kept in json.loads(keyring.read_text()).items() if kept} == json.loads(before)
    Home(settings).open("acme").close()


@pytest.mark.parametrize("bus", ["no bus", "a bus without a keyring"])
def test_b19_a_machine_without_a_desktop(tmp_path: Path, bus: str) -> None:
    """Without D-Bus, and on a bus that has no keyring, the real backends end in time; the sources are listed."""
    if bus != "no bus" and not shutil.which("dbus-run-session"):
        pytest.skip("this machine has no dbus-run-session")
    environ = environ_of(tmp_path / "home")
    del environ["PYTHON_KEYRING_BACKEND"]

    run = subprocess.run(
        [*([] if bus == "no bus" else ["dbus-run-session", "--"]), *RUMA, *CREATE, "--key-source", "keyring"],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode == 1, run.stdout
    assert all(source in run.stderr for source in SOURCES)
    assert not [file for file in snapshot(tmp_path / "home") if not file.endswith("lock")]


def test_b19_open_tenants_go_on_while_the_keyring_is_locked(
    keyring: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has a tenant open reads and writes on; opening it anew says that the keyring is locked."""
    Home(settings).create("acme")
    with Home(settings).open("acme") as tenant:
        monkeypatch.setattr(keyring_store, "ALLOWED", ["tests.doubles.Plain", "tests.doubles.Locked"])
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.doubles.Locked")

        add_source(tenant, "folder", "/x")

        assert [one.location for one in list_sources(tenant)] == ["/x"]
        with pytest.raises(KeyStoreError):
            Home(settings).open("acme")


def test_b20_an_item_that_is_there_twice(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the keyring keeps an item twice, a rotation and a move leave none of the old ones."""
    use_keyring("Duplicating", tmp_path, monkeypatch)
    Home(settings).create("acme")

    list(rotate_key(Home(settings), "acme"))

    kept = {item: values for item, values in json.loads((tmp_path / "keyring.json").read_text()).items() if values}
    assert len(kept) == 1
    with Home(settings).open("acme") as tenant:
        assert kept == {f"ruma/{tenant.manifest.key_item}": [tenant.key.raw.hex()] * 2}
    move_key(Home(settings), "acme", SealedKeys(settings, "machine"))
    assert not any(json.loads((tmp_path / "keyring.json").read_text()).values())


def test_b20_a_home_on_another_machine(
    keyring: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same kind of keyring and other items, the error says so, nothing is overwritten, and recovery helps."""
    created = Home(settings).create("acme")
    shutil.copytree(settings.home, tmp_path / "there")
    keyring.write_text(json.dumps({"ruma/somebody": ["else"]}))
    there = Settings(home=tmp_path / "there")
    before = snapshot(there.home)

    with pytest.raises(KeyMissingError, match=r"doubles\.Plain") as caught:
        Home(there).open("acme")
    assert "ruma tenant recover acme" in caught.value.hint
    assert snapshot(there.home) == before

    Home(there).recover("acme", created.recovery_key)
    Home(there).open("acme").close()
    assert json.loads(keyring.read_text())["ruma/somebody"] == ["else"]


HOLDER = """
import os, sys, time
from pathlib import Path
from ruma.config import load_settings
from ruma.ingest.reading import Reader
from ruma.tenant.home import Home
from ruma.tenant.keys.keys import harden_process

harden_process()
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
