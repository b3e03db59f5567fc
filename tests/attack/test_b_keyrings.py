"""Keyrings that pretend, hang, are locked, gone or another one: each stops its own tenants, in words."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from ruma.config import Settings, load_settings
from ruma.errors import KeyMissingError, KeyStoreError
from ruma.tenant.home import Home
from ruma.tenant.keys import keyring_store
from ruma.tenant.keys.keyring_store import SystemKeyring
from ruma.tenant.keys.rotation import move_key, rotate_key
from ruma.tenant.keys.sealed_keys import SealedKeys
from ruma.tenant.knowledge.sources import add_source, list_sources
from tests.harness.forking import COMMAND, run_forked
from tests.harness.keyrings import snapshot, use_keyring
from tests.harness.needs import PLAIN_KEYRING, needs
from tests.harness.process import ROOT, RUMA, environ_of, ruma

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


@needs("keyrings.alt")
def test_b18_the_keyring_that_keeps_keys_in_clear(tmp_path: Path) -> None:
    """With keyrings.alt installed, which the keyring package then chooses, Ruma stores nothing in it and says why."""
    user, home = tmp_path / "user", tmp_path / "home"
    user.mkdir()
    environ = environ_of(home, HOME=str(user), RUMA_KEY_SOURCE="auto", PYTHONPATH=f"{PLAIN_KEYRING}:{ROOT}")
    for name in [name for name in environ if name.startswith(("PYTHON_KEYRING", "XDG_"))]:
        del environ[name]
    keeps = user / ".local/share/python_keyring"
    chosen = "import keyring; print(type(keyring.get_keyring())); keyring.set_password('ruma', 'a', 'b')"
    control = subprocess.run([sys.executable, "-c", chosen], env=environ, capture_output=True, text=True, check=True)
    assert control.stdout == "<class 'keyrings.alt.file.PlaintextKeyring'>\n"
    assert (keeps / "keyring_pass.cfg").exists()
    shutil.rmtree(keeps)

    runs = [run_forked([COMMAND, *CREATE, *more], env=environ) for more in ([], ["--key-source", "keyring"])]

    for run in runs:
        assert run.returncode == 1
        assert "keyrings.alt.file.PlaintextKeyring, which is not known to keep a key safely" in run.stderr
        assert all(source in run.stderr for source in SOURCES)
    assert not [file for file in snapshot(user) if "ruma" not in file]
    assert not keeps.exists()
    assert not [file for file in snapshot(home) if not file.endswith("lock")]


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


@pytest.mark.nightly
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


def test_c24_both_items_of_a_deleted_tenant_go(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the keyring keeps an item twice, deleting the tenant destroys both, and the receipt says so."""
    use_keyring("Duplicating", tmp_path, monkeypatch)
    Home(settings).create("acme")
    kept = json.loads((tmp_path / "keyring.json").read_text())

    receipt = Home(settings).delete("acme")

    assert [len(values) for values in kept.values()] == [2]
    assert receipt.key_destroyed
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
