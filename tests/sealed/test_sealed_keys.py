import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ruma.config import Settings
from ruma.errors import KeyMissingError, KeyStoreError, WrongKeyError
from ruma.tenant.keys.keys import Key
from ruma.tenant.keys.sealed_keys import SealedKeys
from tests.sealing import ORIGINS, ROOT, SECRET, Open, content


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
