"""A real Secret Service, of GNOME's keyring on a message bus of its own: kept, read, destroyed, and cut off."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruma.errors import KeyMissingError, KeyStoreError
from ruma.tenant.keys.keyring_store import LIMIT, SystemKeyring, find_keyring
from ruma.tenant.keys.keys import Key

NAME = "keyring.backends.SecretService.Keyring"
BUS = "DBUS_SESSION_BUS_ADDRESS"
MISSING = [name for name in ("dbus-daemon", "gnome-keyring-daemon") if not shutil.which(name)]
CONFIG = """<busconfig><type>session</type><listen>unix:path={socket}</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"""
"""A bus that starts nothing by itself: it would be another keyring, which waits for a prompt."""

PATIENT = 60.0
"""Seconds for calls that are answered, on a machine that has much else to do."""

SOURCES = ("credential", "command", "file", "passphrase", "machine")

pytestmark = pytest.mark.skipif(
    bool(MISSING) and "RUMA_NIGHTLY" not in os.environ,
    reason=f"{' and '.join(MISSING)} missing: apt-get install dbus gnome-keyring",
)


class Bus:
    """A message bus and the keyring on it, in a home of their own."""

    def __init__(self, folder: Path) -> None:
        """Start both; the keyring is unlocked with a password."""
        pytest.importorskip("secretstorage", reason="the Python package secretstorage is missing")
        self.environ = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
        (folder / "bus.conf").write_text(CONFIG.format(socket=folder / "socket"))
        self.daemon = subprocess.Popen(
            ["dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork", "--print-address=1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environ,
        )
        assert self.daemon.stdout
        self.environ[BUS] = self.address = self.daemon.stdout.readline().strip()
        self.keyring = subprocess.Popen(
            ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environ,
        )
        assert self.keyring.stdin
        self.keyring.stdin.write(b"seven loaves")
        self.keyring.stdin.close()
        self._wait()

    def _wait(self) -> None:
        """Wait until the keyring is on the bus and open."""
        import secretstorage
        from jeepney.io.blocking import open_dbus_connection

        until = time.monotonic() + 60
        with open_dbus_connection(bus=self.address) as connection:
            while not (
                secretstorage.check_service_availability(connection)
                and not secretstorage.get_default_collection(connection).is_locked()
            ):
                assert time.monotonic() < until, "the keyring does not come"
                time.sleep(0.05)

    def close(self) -> None:
        """End both."""
        for process in (self.keyring, self.daemon):
            process.kill()
            process.wait()
        assert self.daemon.stdout
        self.daemon.stdout.close()


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bus]:
    """Return one bus with its keyring."""
    bus = Bus(tmp_path_factory.mktemp("bus"))
    yield bus
    bus.close()


@pytest.fixture(autouse=True)
def on_the_bus(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let keyrings be looked for on that bus."""
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND")
    monkeypatch.setenv(BUS, bus.address)


def test_a_real_keyring_keeps_a_key_and_destroys_it(bus: Bus) -> None:
    """It is found by itself, gives the key back to a later process, and has nothing of it in the end."""
    assert find_keyring(limit=PATIENT) == NAME
    keyring, key = SystemKeyring(NAME, limit=PATIENT), Key.random()

    keyring.keep("a1", key)

    assert keyring.read("a1") == key
    assert keyring.destroy("a1")
    with pytest.raises(KeyMissingError, match="has no item 'a1'"):
        keyring.read("a1")


def test_a_keyring_that_hangs_or_is_cut_off_is_given_up(bus: Bus) -> None:
    """A keyring that stands still costs the limit; a bus that dies in mid-call less; both name the other sources."""
    keyring = SystemKeyring(NAME, limit=1.5)
    os.kill(bus.keyring.pid, signal.SIGSTOP)
    with pytest.raises(KeyStoreError, match="did not answer within") as hung:
        keyring.read("a1")

    killer = threading.Timer(1, bus.daemon.kill)  # while the keyring stands still, so in the middle of the call
    killer.start()
    begun = time.monotonic()
    with pytest.raises(KeyStoreError) as cut:
        SystemKeyring(NAME).read("a1")
    killer.join()
    with pytest.raises(KeyStoreError) as gone:
        SystemKeyring(NAME).read("a1")
    os.kill(bus.keyring.pid, signal.SIGCONT)

    assert time.monotonic() - begun < 2 * LIMIT + 1
    for caught in (hung, cut, gone):
        assert all(source in caught.value.hint for source in SOURCES), caught.value
