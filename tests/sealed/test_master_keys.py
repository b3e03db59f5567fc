"""Where the key comes from that opens the sealed files: made, read, asked for, and refused."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import InputError, KeyMissingError, KeyStoreError, WrongKeyError
from ruma.tenant.keys.keys import Key
from ruma.tenant.keys.sealed_keys import SealedKeys
from tests.sealing import ROOT, SECRET, Open, content


def test_a_wrong_passphrase_is_an_error_before_anything_is_written(opened: Open, settings: Settings) -> None:
    """A mistyped passphrase opens nothing, and no second tenant is sealed with it by accident."""
    opened("passphrase", "correct horse battery").keep("a1", Key.random())
    before = content(settings.keys_folder)

    for call in (lambda store: store.read("a1"), lambda store: store.keep("b2", Key.random())):
        with pytest.raises(WrongKeyError, match="not the passphrase"):
            call(opened("passphrase", "correct horse batery"))

    assert content(settings.keys_folder) == before


def test_the_machines_key_is_made_once(settings: Settings) -> None:
    """Eight tenants created at the same moment in a new home all come to lie under one master key."""
    keys = {f"t{number}": Key.random() for number in range(8)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: SealedKeys(settings, "machine", {}).keep(*item), keys.items()))

    assert all(SealedKeys(settings, "machine", {}).read(tenant_id) == key for tenant_id, key in keys.items())


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device"])
def test_a_key_file_must_be_a_plain_file(settings: Settings, tmp_path: Path, kind: str) -> None:
    """A link, a named pipe, a folder and a device are refused as the key file, and nothing hangs."""
    good, path = tmp_path / "good", tmp_path / "master"
    good.write_text(SECRET)
    good.chmod(0o600)
    if kind == "link":
        path.symlink_to(good)
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind == "folder":
        path.mkdir(mode=0o600)
    else:
        path = Path("/dev/urandom")

    with pytest.raises(KeyStoreError, match="cannot be used"):
        SealedKeys(replace(settings, key_file=str(path)), "file", {}).keep("a1", Key.random())

    assert not content(settings.keys_folder)


def test_a_key_file_of_another_user_is_refused(opened: Open, tmp_path: Path) -> None:
    """A key file that somebody else can rewrite is not used."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    store = opened("file")
    os.chown(tmp_path / "ruma-master", 65534, -1)

    with pytest.raises(KeyStoreError, match="belongs to another user") as caught:
        store.keep("a1", Key.random())

    assert "chown" in caught.value.hint


def test_a_missing_key_file_is_named(settings: Settings, tmp_path: Path) -> None:
    """The error names the file that is not there."""
    with pytest.raises(KeyMissingError, match="nowhere is missing"):
        SealedKeys(replace(settings, key_file=str(tmp_path / "nowhere")), "file", {}).keep("a1", Key.random())


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("", "has 1 bytes"),
        ("short", "has 6 bytes"),
        (SECRET[:-1], "has 63 hexadecimal digits"),
        (SECRET + "a", "has 65 hexadecimal digits"),
        ("0" * 64, "not random"),
        ("ab" * 40, "not random"),
        ("\0" * 100, "not random"),
        ("x1y2z3!?" * 9000, "over 64 KB"),
    ],
    ids=range(8),
)
@pytest.mark.parametrize("origin", ["credential", "command", "file"])
def test_a_master_secret_that_cannot_be_one_is_refused(
    opened: Open, settings: Settings, origin: str, secret: str, message: str
) -> None:
    """Empty, short, shortened, repeating and endless secrets are refused with the reason and not repeated."""
    with pytest.raises(KeyStoreError, match=message) as caught:
        opened(origin, secret).keep("a1", Key.random())

    assert not secret or secret not in str(caught.value)
    assert not content(settings.keys_folder)


def test_a_master_secret_is_the_same_from_everywhere(opened: Open) -> None:
    """Upper-case digits, the end of the line and the way a secret comes in make no difference to what it opens."""
    key = Key.random()
    opened("file").keep("a1", key)

    assert opened("file", SECRET.upper() + "\r").read("a1") == key
    assert opened("command").read("a1") == key
    assert opened("credential", SECRET + "\n").read("a1") == key


def test_a_long_phrase_can_be_a_master_secret(opened: Open) -> None:
    """A secret need not be hexadecimal: anything of 32 bytes and more is hashed."""
    key = Key.random()
    opened("file", "gouda-7 tulips! over, the wet roof of Zwolle").keep("a1", key)

    assert opened("file", "gouda-7 tulips! over, the wet roof of Zwolle").read("a1") == key
    with pytest.raises(WrongKeyError):
        opened("file", "gouda-7 tulips! over, the wet roof of zwolle").read("a1")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("false", "exit code 1: 'it said nothing'"),
        ("sh -c 'echo vault is sealed >&2; exit 3'", "exit code 3: 'vault is sealed'"),
        ("no-such-program-of-ruma", "cannot be run: No such file"),
        ("'unfinished", "cannot be run: No closing quotation"),
        ("   ", "cannot be run"),
        ("", "key_command is empty"),
    ],
)
def test_a_key_command_that_fails_says_why(settings: Settings, command: str, message: str) -> None:
    """The exit code and the last words of the command are in the error, and no key is kept."""
    with pytest.raises(KeyStoreError, match=message):
        SealedKeys(replace(settings, key_command=command), "command", {}).keep("a1", Key.random())


def test_a_key_command_is_run_once_a_process(settings: Settings, tmp_path: Path) -> None:
    """A command that asks a person is not run for every tenant that a server opens."""
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho x >> '{tmp_path}/runs'\necho {SECRET}\n")
    script.chmod(0o700)
    store = SealedKeys(replace(settings, key_command=str(script)), "command", {})

    for tenant_id in ("a1", "b2", "c3"):
        store.keep(tenant_id, Key.random())

    assert (tmp_path / "runs").read_text() == "x\n"


def test_a_short_passphrase_is_refused(opened: Open, settings: Settings) -> None:
    """A passphrase that could be guessed is not accepted for a new home."""
    with pytest.raises(InputError, match="at least 12"):
        opened("passphrase", "hunter2").keep("a1", Key.random())

    assert not content(settings.keys_folder)


@pytest.mark.parametrize("named", ["999", "x", "-1"])
def test_a_descriptor_that_is_none_is_named(settings: Settings, named: str) -> None:
    """RUMA_PASSPHRASE_FD with something else than an open descriptor is an error that shows it."""
    with pytest.raises(KeyStoreError, match=f"RUMA_PASSPHRASE_FD='{named}'"):
        SealedKeys(settings, "passphrase", {"RUMA_PASSPHRASE_FD": named}).keep("a1", Key.random())


def test_without_a_terminal_nobody_is_asked(settings: Settings) -> None:
    """A service without a terminal and without a descriptor gets an error at once that says what to give."""
    code = (
        "import sys, pathlib\n"
        "from ruma.config import Settings\n"
        "from ruma.tenant.keys.keys import Key\n"
        "from ruma.tenant.keys.sealed_keys import SealedKeys\n"
        "SealedKeys(Settings(home=pathlib.Path(sys.argv[1])), 'passphrase', {}).keep('a1', Key.random())\n"
    )

    run = subprocess.run(
        [sys.executable, "-c", code, str(settings.home)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=20,
    )

    assert run.returncode == 1
    assert "no terminal to ask on" in run.stderr


@pytest.mark.parametrize(
    ("typed", "end"),
    [(["correct horse battery"] * 2, "kept"), (["correct horse battery", "correct horse batery"], "not the same")],
)
def test_a_passphrase_is_asked_for_on_the_terminal(settings: Settings, typed: list[str], end: str) -> None:
    """With a terminal the passphrase is typed, twice where it is new, and does not appear on the screen."""
    code = (
        "import os, pathlib, pty, sys, threading\n"
        "from ruma.config import Settings\n"
        "from ruma.tenant.keys.keys import Key, choose_key_store\n"
        "os.setsid()\n"
        "keyboard, screen = pty.openpty()\n"
        "os.open(os.ttyname(screen), os.O_RDWR)\n"  # the first one that a new session opens is its terminal
        "seen = []\n"
        "def type_at_each_prompt():\n"
        "    for line in sys.argv[2:]:\n"
        "        while not seen or not seen[-1].endswith(b': '):\n"
        "            seen.append(os.read(keyboard, 100))\n"
        "        seen.append(b'')\n"
        "        os.write(keyboard, line.encode() + b'\\n')\n"
        "threading.Thread(target=type_at_each_prompt, daemon=True).start()\n"
        "settings = Settings(home=pathlib.Path(sys.argv[1]), key_source='passphrase')\n"
        "assert choose_key_store(Settings(home=settings.home), {}).label == 'sealed files (machine)'\n"
        "try:\n"
        "    choose_key_store(settings, {}).keep('a1', Key.random()); print('kept')\n"
        "finally:\n"
        "    print(b''.join(seen).decode(), file=sys.stderr)\n"
    )

    run = subprocess.run(
        [sys.executable, "-c", code, str(settings.home), *typed], cwd=ROOT, capture_output=True, text=True, timeout=20
    )

    assert end in run.stdout + run.stderr
    assert "Passphrase of the sealed keys: " in run.stderr
    assert "horse" not in run.stderr
