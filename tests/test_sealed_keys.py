import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import InputError, KeyMissingError, KeyStoreError, WrongKeyError
from ruma.tenant.keys.keys import Key
from ruma.tenant.keys.master_keys import forget_masters
from ruma.tenant.keys.sealed_keys import SealedKeys

ROOT = Path(__file__).parents[1]
SECRET = bytes(range(32)).hex()
ORIGINS = ["machine", "credential", "command", "file", "passphrase"]

Open = Callable[..., SealedKeys]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Let no test see what another one unlocked."""
    forget_masters()
    yield
    forget_masters()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of a new home."""
    (tmp_path / "home").mkdir(mode=0o700)
    return Settings(home=tmp_path / "home")


@pytest.fixture
def opened(settings: Settings, tmp_path: Path) -> Open:
    """Return a function that sets up one origin of the master key with one secret, as after a new start."""

    def use(origin: str = "machine", secret: str = SECRET) -> SealedKeys:
        forget_masters()
        file = tmp_path / "ruma-master"
        file.write_text(secret + "\n")
        file.chmod(0o600)
        environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)} if origin == "credential" else {}
        if origin == "passphrase":
            environ = {"RUMA_PASSPHRASE_FD": str(pipe_with(secret))}
        command, named = (f"cat '{file}'" if origin == "command" else ""), (str(file) if origin == "file" else "")
        return SealedKeys(replace(settings, key_command=command, key_file=named), origin, environ)

    return use


def pipe_with(text: str) -> int:
    """Return a descriptor from which a text can be read once."""
    reader, writer = os.pipe()
    os.write(writer, text.encode() + b"\n")
    os.close(writer)
    return reader


def content(folder: Path) -> dict[str, bytes]:
    """Return every file in a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()} if folder.exists() else {}


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_key_is_kept_read_and_destroyed(opened: Open, settings: Settings, origin: str) -> None:
    """With every origin of the master key, a later start reads the key back, and nothing is left of a destroyed one."""
    key = Key.random()

    opened(origin).keep("a1", key)

    assert opened(origin).label == f"sealed files ({origin})"
    assert opened(origin).read("a1") == key
    assert opened(origin).destroy("a1")
    assert not [name for name in content(settings.keys_folder) if "a1" in name]
    assert not opened(origin).destroy("a1")
    with pytest.raises(KeyMissingError, match=r"a1\.key is missing"):
        opened(origin).read("a1")


@pytest.mark.parametrize("origin", ORIGINS)
def test_no_key_lies_open_on_the_disk(opened: Open, settings: Settings, origin: str) -> None:
    """Whatever the umask, the files are 0600 in a folder of 0700, and no tenant's key is in them as it is."""
    key, before = Key.random(), os.umask(0)
    try:
        opened(origin).keep("a1", key)
    finally:
        os.umask(before)

    files = content(settings.keys_folder)
    assert not any(key.raw in data or key.raw.hex().encode() in data for data in files.values())
    assert stat.S_IMODE(settings.keys_folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE((settings.keys_folder / name).stat().st_mode) for name in files} == {0o600}
    assert not [name for name in files if name.endswith(".part")]


def test_an_existing_key_is_left_alone(opened: Open, settings: Settings) -> None:
    """A second key for the same tenant is refused, and the first one stays."""
    key = Key.random()
    opened().keep("a1", key)

    with pytest.raises(KeyStoreError, match=r"a1\.key already"):
        opened().keep("a1", Key.random())

    assert opened().read("a1") == key
    assert set(content(settings.keys_folder)) == {"a1.key", "machine.key"}


def test_a_key_that_does_not_come_back_is_an_error(settings: Settings) -> None:
    """What the disk gives back is compared with what was written, before anything is encrypted with it."""

    class Altering(SealedKeys):
        def read(self, tenant_id: str) -> Key:
            return Key.random()

    with pytest.raises(KeyStoreError, match="did not keep the key"):
        Altering(settings, "machine", {}).keep("a1", Key.random())

    assert set(content(settings.keys_folder)) == {"machine.key"}


@pytest.mark.parametrize("origin", ["credential", "command", "file"])
def test_another_master_key_is_told_from_damage(opened: Open, settings: Settings, origin: str) -> None:
    """With another master key than at creation the error says so, and changes nothing."""
    opened(origin).keep("a1", Key.random())
    before = content(settings.keys_folder)

    with pytest.raises(WrongKeyError, match="another master key") as caught:
        opened(origin, SECRET[::-1]).read("a1")

    assert "ruma tenant recover" in caught.value.hint
    assert content(settings.keys_folder) == before


def test_a_wrong_passphrase_is_an_error_before_anything_is_written(opened: Open, settings: Settings) -> None:
    """A mistyped passphrase opens nothing, and no second tenant is sealed with it by accident."""
    opened("passphrase", "correct horse battery").keep("a1", Key.random())
    before = content(settings.keys_folder)

    for call in (lambda store: store.read("a1"), lambda store: store.keep("b2", Key.random())):
        with pytest.raises(WrongKeyError, match="not the passphrase"):
            call(opened("passphrase", "correct horse batery"))

    assert content(settings.keys_folder) == before


def test_another_tenants_file_does_not_open(opened: Open, settings: Settings) -> None:
    """A tenant's sealed key under another tenant's name is refused, though the master key is the right one."""
    opened().keep("a1", Key.random())
    opened().keep("b2", Key.random())
    (settings.keys_folder / "b2.key").replace(settings.keys_folder / "a1.key")

    with pytest.raises(WrongKeyError, match="another tenant, or is damaged"):
        opened().read("a1")


@pytest.mark.parametrize("place", [0, 7, 8, 15, 16, 39, 40, 60, -1])
def test_a_flipped_bit_is_noticed(opened: Open, settings: Settings, place: int) -> None:
    """One bit anywhere in the sealed key is an error, never another key."""
    opened().keep("a1", Key.random())
    file = settings.keys_folder / "a1.key"
    sealed = bytearray(file.read_bytes())
    sealed[place] ^= 1
    file.write_bytes(sealed)

    with pytest.raises(WrongKeyError):
        opened().read("a1")


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 40, 87])
def test_a_file_cut_short_is_noticed(opened: Open, settings: Settings, size: int) -> None:
    """An empty or shortened sealed key is an error that names the file."""
    opened().keep("a1", Key.random())
    os.truncate(settings.keys_folder / "a1.key", size)

    with pytest.raises(WrongKeyError, match=r"a1\.key"):
        opened().read("a1")


def test_reading_makes_nothing(opened: Open, settings: Settings) -> None:
    """Where the machine's key is gone it is not made anew, which would hide the loss: the error names the file."""
    opened().keep("a1", Key.random())
    (settings.keys_folder / "machine.key").unlink()

    with pytest.raises(KeyMissingError, match=r"machine\.key is missing") as caught:
        opened().read("a1")

    assert "ruma tenant recover" in caught.value.hint
    assert set(content(settings.keys_folder)) == {"a1.key"}


def test_a_lost_master_key_is_overcome_with_the_recovery_key(opened: Open, settings: Settings) -> None:
    """With the tenant's key given back, a sealed file that nothing opens any more is replaced."""
    key = Key.random()
    opened().keep("a1", key)
    (settings.keys_folder / "machine.key").unlink()

    opened().replace("a1", key)

    assert opened().read("a1") == key


def test_a_key_is_not_given_up_before_another_can_take_its_place(opened: Open, settings: Settings) -> None:
    """With a mistyped passphrase a key is not replaced, and the sealed one stays as it was."""
    opened("passphrase", "correct horse battery").keep("a1", Key.random())
    before = content(settings.keys_folder)

    with pytest.raises(WrongKeyError):
        opened("passphrase", "correct horse batery").replace("a1", Key.random())

    assert content(settings.keys_folder) == before


def test_destroying_needs_no_master_key(opened: Open, settings: Settings) -> None:
    """A tenant can be deleted though the master key is gone."""
    opened("file").keep("a1", Key.random())

    assert SealedKeys(settings, "file", {}).destroy("a1")

    assert not content(settings.keys_folder)


def test_a_destroyed_file_was_overwritten(opened: Open, settings: Settings, tmp_path: Path) -> None:
    """The sealed key's bytes are overwritten before the name goes, so a second name of the file shows nothing."""
    opened().keep("a1", Key.random())
    sealed = (settings.keys_folder / "a1.key").read_bytes()
    os.link(settings.keys_folder / "a1.key", tmp_path / "second")

    opened().destroy("a1")

    assert len((tmp_path / "second").read_bytes()) == len(sealed)
    assert (tmp_path / "second").read_bytes() != sealed


def test_what_a_killed_write_left_is_destroyed_too(opened: Open, settings: Settings) -> None:
    """A half-written or second name of the sealed key does not outlive the key."""
    opened().keep("a1", Key.random())
    opened().keep("a12", Key.random())
    os.link(settings.keys_folder / "a1.key", settings.keys_folder / ".a1.key.0badcafe.part")
    os.link(settings.keys_folder / "a12.key", settings.keys_folder / ".a12.key.0badcafe.part")

    opened().destroy("a1")

    assert set(content(settings.keys_folder)) == {"a12.key", ".a12.key.0badcafe.part", "machine.key"}


def test_what_was_killed_long_ago_is_taken_away(opened: Open, settings: Settings) -> None:
    """A part that is an hour old is removed by the next write; a fresh one may be another process's."""
    opened().keep("a1", Key.random())
    for name in (".b2.key.0badcafe.part", ".c3.key.0badcafe.part"):
        (settings.keys_folder / name).write_bytes(b"x")
    os.utime(settings.keys_folder / ".b2.key.0badcafe.part", (0, 0))

    opened().keep("d4", Key.random())

    assert set(content(settings.keys_folder)) == {"a1.key", "d4.key", "machine.key", ".c3.key.0badcafe.part"}


def test_a_link_is_destroyed_and_not_what_it_leads_to(opened: Open, settings: Settings, tmp_path: Path) -> None:
    """A link planted under a tenant's name is removed, and the file it leads to is not overwritten."""
    opened().keep("b2", Key.random())
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (settings.keys_folder / "a1.key").symlink_to(victim)

    opened().destroy("a1")

    assert victim.read_bytes() == b"mine"
    assert not os.path.lexists(settings.keys_folder / "a1.key")


@pytest.mark.parametrize("tenant_id", ["", "machine", "../x", "a/b", ".a", "-a", "a\n", "x" * 65, "é"])
def test_an_id_that_is_no_id_is_a_bug(settings: Settings, tenant_id: str) -> None:
    """Ids are made by Ruma; one that could lead out of the folder, or to Ruma's own file, never becomes a path."""
    with pytest.raises(ValueError, match="not a tenant's id"):
        SealedKeys(settings, "machine", {}).read(tenant_id)


def test_the_machines_key_is_made_once(settings: Settings) -> None:
    """Eight tenants created at the same moment in a new home all come to lie under one master key."""
    keys = {f"t{number}": Key.random() for number in range(8)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: SealedKeys(settings, "machine", {}).keep(*item), keys.items()))

    assert all(SealedKeys(settings, "machine", {}).read(tenant_id) == key for tenant_id, key in keys.items())


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701, 0o777])
def test_a_folder_that_others_can_enter_is_refused(opened: Open, settings: Settings, mode: int) -> None:
    """Ruma keeps no key where others have access, and says the command that takes it away."""
    settings.keys_folder.mkdir()
    settings.keys_folder.chmod(mode)

    with pytest.raises(KeyStoreError, match="Other users of this machine") as caught:
        opened().keep("a1", Key.random())

    assert f"chmod 700 {settings.keys_folder}" in caught.value.hint
    assert not content(settings.keys_folder)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602, 0o700])
@pytest.mark.parametrize("name", ["a1.key", "machine.key"])
def test_a_file_that_others_can_read_is_refused(opened: Open, settings: Settings, name: str, mode: int) -> None:
    """A sealed key or machine key with another mode than 0600 is not used, and the error says how to mend it."""
    opened().keep("a1", Key.random())
    (settings.keys_folder / name).chmod(mode)

    with pytest.raises(KeyStoreError, match=f"mode is {mode:04o}") as caught:
        opened().read("a1")

    assert "chmod 600" in caught.value.hint


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


def test_a_full_disk_is_an_error_and_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    """When a sealed key cannot be written whole, the error says why and no part of it is left."""
    settings.keys_folder.mkdir(mode=0o700)
    code = (
        "import sys, pathlib, resource, signal\n"
        "from ruma.config import Settings\n"
        "from ruma.tenant.keys.keys import Key\n"
        "from ruma.tenant.keys.sealed_keys import SealedKeys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (70, 70))\n"  # enough for machine.key, not for a sealed key
        "SealedKeys(Settings(home=pathlib.Path(sys.argv[1])), 'machine', {}).keep('a1', Key.random())\n"
    )

    run = subprocess.run([sys.executable, "-c", code, str(settings.home)], cwd=ROOT, capture_output=True, text=True)

    assert "KeyStoreError: The file" in run.stderr
    assert "a1.key cannot be written: File too large" in run.stderr
    assert set(content(settings.keys_folder)) == {"machine.key"}
