import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ruma.config import KEY_SOURCES, Settings
from ruma.errors import KeyStoreError
from ruma.tenant.keys.keys import Key, available_key_sources, choose_key_store, key_store_of

ROOT = Path(__file__).parents[1]
DOUBLE = "tests.doubles.Plain"

Machine = Callable[[str], None]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of a home that is not there yet."""
    return Settings(home=tmp_path / "home")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Take this machine's keyring away, and return a function that gives it one of the doubles."""
    monkeypatch.setenv("RUMA_TEST_KEYRING", str(tmp_path / "keyring.json"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("RUMA_PASSPHRASE_FD", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    def use(backend: str) -> None:
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)

    use("keyring.backends.fail.Keyring")
    return use


@pytest.fixture
def credentials(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a service with a systemd credential."""
    (tmp_path / "ruma-master").write_text("5f" * 8 + "0123456789abcdef" * 3)
    return {"CREDENTIALS_DIRECTORY": str(tmp_path)}


def test_sources_are_taken_in_order(settings: Settings, machine: Machine, credentials: dict[str, str]) -> None:
    """The first of credential, keyring, command, file, passphrase and machine is taken for a new tenant."""
    machine(DOUBLE)
    everything = replace(settings, key_command="true", key_file="/x")
    descriptor = {"RUMA_PASSPHRASE_FD": "3"}

    def label(settings: Settings, environ: dict[str, str]) -> str:
        return choose_key_store(settings, environ, allowed=[DOUBLE]).label

    assert label(everything, credentials | descriptor) == "sealed files (credential)"
    assert label(everything, descriptor) == f"keyring: {DOUBLE}"
    machine("keyring.backends.fail.Keyring")
    assert label(everything, descriptor) == "sealed files (command)"
    assert label(replace(everything, key_command=""), descriptor) == "sealed files (file)"
    assert label(settings, descriptor) == "sealed files (passphrase)"
    assert label(settings, {}) == "sealed files (machine)"


def test_choosing_writes_nothing(settings: Settings) -> None:
    """Until a key is kept there is no home, no folder and no file."""
    choose_key_store(settings)

    assert not settings.home.exists()


@pytest.mark.parametrize(
    "source", [source for source in KEY_SOURCES if source not in {"auto", "keyring", "passphrase"}]
)
def test_a_named_source_is_taken_before_a_better_one(
    settings: Settings, machine: Machine, credentials: dict[str, str], source: str
) -> None:
    """The source that the operator named is used, though a keyring is there."""
    machine(DOUBLE)
    named = replace(settings, key_source=source, key_command="true", key_file="/x")

    assert choose_key_store(named, credentials, allowed=[DOUBLE]).label == f"sealed files ({source})"


@pytest.mark.parametrize("source", ["credential", "keyring", "command", "file"])
def test_a_named_source_that_is_not_there_is_an_error(settings: Settings, source: str) -> None:
    """No other source takes the place of the one that was named; the error lists all of them with a line each."""
    with pytest.raises(KeyStoreError, match=f"key source {source} is not available") as caught:
        choose_key_store(replace(settings, key_source=source))

    for name in ("credential", "keyring", "command", "file", "passphrase", "machine"):
        assert f"\n  {name} " in caught.value.hint


@pytest.mark.parametrize("source", ["auto", "keyring"])
@pytest.mark.parametrize("double", ["Null", "Plain", "Forgetful"])
def test_a_keyring_that_cannot_be_trusted_stops_everything(
    settings: Settings, machine: Machine, source: str, double: str
) -> None:
    """An unknown keyring is an error, not a reason to go on to the next source, and nothing is written."""
    machine(f"tests.doubles.{double}")

    with pytest.raises(KeyStoreError, match=rf"tests\.doubles\.{double}, which is not known") as caught:
        choose_key_store(replace(settings, key_source=source))

    assert "--key-source" in caught.value.hint
    assert not settings.home.exists()


def test_a_keyring_that_hangs_stops_everything(settings: Settings, machine: Machine) -> None:
    """A keyring that waits for a prompt is an error when the key is kept, and no sealed file is written instead."""
    machine("tests.doubles.Hang")
    store = choose_key_store(settings, allowed=["tests.doubles.Hang"], limit=2)

    with pytest.raises(KeyStoreError, match="did not answer"):
        store.keep("a1", Key.random())

    assert not settings.home.exists()


@pytest.mark.parametrize("bus", ["none", "dead", "empty"])
def test_a_machine_without_a_secret_service_has_no_keyring(tmp_path: Path, bus: str) -> None:
    """Without D-Bus, with a bus that is gone, and with a bus that knows no secret service, sealed files are taken."""
    code = (
        "import pathlib, sys\n"
        "from ruma.config import Settings\n"
        "from ruma.tenant.keys.keys import choose_key_store\n"
        "print(choose_key_store(Settings(home=pathlib.Path(sys.argv[1]))).label)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "home")]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    if bus == "dead":
        environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={tmp_path}/gone"
    if bus == "empty":
        if not shutil.which("dbus-run-session"):
            pytest.skip("dbus-run-session is not installed")
        (tmp_path / "bus.conf").write_text(
            '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"'
            ' "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">'
            f"<busconfig><type>session</type><listen>unix:tmpdir={tmp_path}</listen>"
            '<policy context="default"><allow send_destination="*"/><allow receive_type="signal"/>'
            '<allow receive_type="method_return"/><allow receive_type="error"/><allow own="*"/></policy></busconfig>'
        )
        command = ["dbus-run-session", "--config-file", str(tmp_path / "bus.conf"), "--", *command]

    run = subprocess.run(
        command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=15
    )

    assert run.stdout == "sealed files (machine)\n", run.stderr
    assert not (tmp_path / "data" / "python_keyring").exists()


def test_an_existing_tenant_keeps_its_key_store(settings: Settings, machine: Machine) -> None:
    """What the settings and the machine would choose today makes no difference to a tenant that is there."""
    store, key = choose_key_store(settings), Key.random()
    store.keep("a1", key)
    machine(DOUBLE)

    later = key_store_of(replace(settings, key_source="keyring"), store.label)

    assert later.read("a1") == key


def test_a_keyrings_label_leads_back_to_it(settings: Settings, machine: Machine) -> None:
    """The label that a manifest records finds the keyring again, of that class and no other."""
    machine(DOUBLE)
    store, key = choose_key_store(settings, allowed=[DOUBLE]), Key.random()
    store.keep("a1", key)

    assert key_store_of(settings, store.label, allowed=[DOUBLE]).read("a1") == key
    machine("tests.doubles.Other")
    with pytest.raises(KeyStoreError, match=r"doubles\.Plain, .*doubles\.Other") as caught:
        key_store_of(settings, store.label, allowed=[DOUBLE, "tests.doubles.Other"]).read("a1")
    assert "ruma tenant recover" in caught.value.hint


@pytest.mark.parametrize("label", ["", "sealed files", "sealed files (cloud)", "keyrings", "plain"])
def test_an_unknown_label_is_an_error(settings: Settings, label: str) -> None:
    """A manifest that names a store of a later version is not answered with another store."""
    with pytest.raises(KeyStoreError, match="does not know"):
        key_store_of(settings, label)


def test_every_source_is_explained(settings: Settings, machine: Machine, credentials: dict[str, str]) -> None:
    """`ruma doctor` gets each source with a word why it can or cannot be used here."""
    found = {name: (is_usable, why) for name, is_usable, why in available_key_sources(settings, {})}

    assert list(found) == ["credential", "keyring", "command", "file", "passphrase", "machine"]
    assert [name for name in found if found[name][0] and name != "passphrase"] == ["machine"]
    assert all(why for _, why in found.values())
    machine("tests.doubles.Null")
    more = {name: (is_usable, why) for name, is_usable, why in available_key_sources(settings, credentials)}
    assert more["credential"][0]
    assert more["keyring"] == (
        False,
        "The keyring of this machine is tests.doubles.Null, which is not known to keep a key safely",
    )
