import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ruma.errors import KeyMissingError, KeyStoreError, WrongKeyError
from ruma.tenant.keys.keyring_store import ALLOWED, SystemKeyring, find_keyring
from ruma.tenant.keys.keys import Key

ROOT = Path(__file__).parents[1]

Use = Callable[[str], SystemKeyring]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file in which the doubles keep what they keep."""
    monkeypatch.setenv("RUMA_TEST_KEYRING", str(tmp_path / "keyring.json"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path / "keyring.json"


@pytest.fixture
def use(file: Path, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Return a function that makes one double this machine's keyring and accepts it."""

    def choose(name: str) -> SystemKeyring:
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", f"tests.doubles.{name}")
        return SystemKeyring(f"tests.doubles.{name}", allowed=[f"tests.doubles.{name}"], limit=10)

    return choose


def items(file: Path) -> dict[str, list[str]]:
    """Return what the double holds."""
    held: dict[str, list[str]] = json.loads(file.read_text()) if file.exists() else {}
    return held


def test_a_key_is_kept_read_and_destroyed(use: Use, file: Path) -> None:
    """A keyring that works gives the key back to a later process, and has nothing left of it after its destruction."""
    keyring, key = use("Plain"), Key.random()

    keyring.keep("a1", key)

    assert keyring.label == "keyring: tests.doubles.Plain"
    assert list(items(file)) == ["ruma/a1"]
    assert keyring.read("a1") == key
    assert keyring.destroy("a1")
    assert key.raw.hex() not in file.read_text()
    with pytest.raises(KeyMissingError, match=r"tests\.doubles\.Plain has no item 'a1'"):
        keyring.read("a1")
    assert not keyring.destroy("a1")


@pytest.mark.parametrize("name", ["Null", "Forgetful", "Truncating", "Newline"])
def test_a_keyring_that_pretends_is_found_out(use: Use, file: Path, name: str) -> None:
    """A keyring that forgets, shortens or changes a key fails before anything is encrypted, and keeps no rest of it."""
    with pytest.raises(KeyStoreError, match=rf"tests\.doubles\.{name} did not keep the key"):
        use(name).keep("a1", Key.random())

    assert not items(file).get("ruma/a1")


@pytest.mark.parametrize("name", ["Null", "Plain", "Truncating"])
def test_a_keyring_of_an_unknown_class_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A class that is not on the list is never given a key; the error names it, and those that are accepted."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", f"tests.doubles.{name}")

    with pytest.raises(KeyStoreError, match=rf"tests\.doubles\.{name}") as caught:
        find_keyring()

    assert all(accepted in caught.value.hint for accepted in ALLOWED)
    assert not file.exists()


def test_the_stock_null_keyring_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keyring that guides for servers recommend takes every key and keeps none; Ruma does not use it."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")

    with pytest.raises(KeyStoreError, match=r"keyring\.backends\.null\.Keyring"):
        find_keyring()


def test_a_machine_without_a_keyring_is_told_from_one_with_a_bad_one(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the keyring package itself finds nothing, there is no keyring and no error."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")

    assert find_keyring() is None


def test_the_members_of_a_chain_are_checked_one_by_one(use: Use, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a chain of keyrings the one that is accepted is used, though another one stands before it."""
    keyring, key = use("Plain"), Key.random()
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.doubles.Chained")

    assert find_keyring(allowed=["tests.doubles.Plain"]) == "tests.doubles.Plain"
    keyring.keep("a1", key)

    assert items(file) == {"ruma/a1": [key.raw.hex()]}
    with pytest.raises(KeyStoreError, match=r"tests\.doubles\.Null, tests\.doubles\.Plain"):
        find_keyring()


@pytest.mark.parametrize("verb", ["keep", "read"])
def test_a_keyring_that_hangs_is_given_up(use: Use, file: Path, verb: str) -> None:
    """After the limit the call ends with an error that lists the other sources, and no process is left waiting."""
    use("Hang")
    keyring = SystemKeyring("tests.doubles.Hang", allowed=["tests.doubles.Hang"], limit=3)
    arguments = ["a1", Key.random()] if verb == "keep" else ["a1"]
    start = time.monotonic()

    with pytest.raises(KeyStoreError, match="did not answer within 3 seconds") as caught:
        getattr(keyring, verb)(*arguments)

    assert time.monotonic() - start < 6
    assert all(source in caught.value.hint for source in ("credential", "command", "file", "passphrase", "machine"))
    waiting = Path(f"{file}.waiting").read_text().split()
    assert len(waiting) == 2
    while any(is_running(process) for process in waiting):  # a killed one takes a moment to go
        assert time.monotonic() - start < 10
        time.sleep(0.02)


def test_the_limit_is_ten_seconds() -> None:
    """Unless a test says otherwise, nobody waits longer than ten seconds for a keyring."""
    from ruma.tenant.keys import keyring_store

    assert keyring_store.LIMIT == 10


@pytest.mark.parametrize(("name", "reason"), [("Locked", "KeyringLocked"), ("Denying", "PasswordSetError")])
def test_a_keyring_that_refuses_is_named_with_its_reason(use: Use, name: str, reason: str) -> None:
    """A locked keyring and one that denies a change say so, and the error says what to do."""
    with pytest.raises(KeyStoreError, match=rf"tests\.doubles\.{name} refused: {reason}") as caught:
        use(name).keep("a1", Key.random())

    assert "Unlock" in caught.value.hint


def test_an_existing_item_is_left_alone(use: Use, file: Path) -> None:
    """A second key for the same tenant is refused, and the first one stays."""
    keyring, first = use("Plain"), Key.random()
    keyring.keep("a1", first)

    with pytest.raises(KeyStoreError, match="already has an item 'a1'"):
        keyring.keep("a1", Key.random())

    assert items(file) == {"ruma/a1": [first.raw.hex()]}


def test_every_copy_of_an_item_is_destroyed(use: Use, file: Path) -> None:
    """Where a keyring holds the item twice, both are gone afterwards."""
    keyring = use("Duplicating")
    keyring.keep("a1", Key.random())
    assert len(items(file)["ruma/a1"]) == 2

    assert keyring.destroy("a1")

    assert items(file) == {"ruma/a1": []}


@pytest.mark.parametrize(("name", "message"), [("Sticky", "still has the item"), ("Denying", "PasswordDeleteError")])
def test_a_destruction_that_did_not_happen_is_an_error(use: Use, name: str, message: str) -> None:
    """A keyring that says an item is deleted, and still has it, is not believed."""
    use("Plain").keep("a1", Key.random())

    with pytest.raises(KeyStoreError, match=message):
        use(name).destroy("a1")


def test_another_keyring_than_at_creation_is_an_error(use: Use, file: Path) -> None:
    """The error names the class that has the key and the class that is here now, and nothing is changed."""
    use("Plain")
    created = SystemKeyring("tests.doubles.Plain", allowed=["tests.doubles.Plain", "tests.doubles.Other"])
    created.keep("a1", Key.random())
    before = file.read_bytes()
    use("Other")

    for call in (created.read, created.destroy, lambda item: created.keep(item, Key.random())):
        with pytest.raises(KeyStoreError, match=r"tests\.doubles\.Plain, and this .* tests\.doubles\.Other") as caught:
            call("a1")
        assert "ruma tenant recover" in caught.value.hint

    assert file.read_bytes() == before


def test_a_keyring_that_is_gone_is_an_error(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home restored on a machine without a keyring says where the key is and how to give the recovery key."""
    created = use("Plain")
    created.keep("a1", Key.random())
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")

    with pytest.raises(KeyStoreError, match=r"tests\.doubles\.Plain, and this machine now has no keyring") as caught:
        created.read("a1")

    assert "ruma tenant recover" in caught.value.hint


@pytest.mark.parametrize("value", ["", "zz" * 32, "ab" * 31 + "a", "ab" * 33, "ab" * 31 + " 1"])
def test_an_item_that_is_no_key_is_an_error(use: Use, file: Path, value: str) -> None:
    """An empty item, 63 digits, 66 digits and other text are not a key, and are not repeated in the message."""
    file.write_text(json.dumps({"ruma/a1": [value]}))

    with pytest.raises(WrongKeyError, match="not a key that Ruma wrote") as caught:
        use("Plain").read("a1")

    assert not value or value not in str(caught.value)


def test_a_key_can_be_put_in_the_place_of_a_broken_one(use: Use, file: Path) -> None:
    """With the recovery key, an item that was damaged is replaced."""
    file.write_text(json.dumps({"ruma/a1": ["damaged"]}))
    keyring, key = use("Plain"), Key.random()

    keyring.replace("a1", key)

    assert keyring.read("a1") == key


def test_a_helper_that_breaks_does_not_tell_the_key(use: Use) -> None:
    """The last words of a keyring that breaks are shown, with the key taken out of them."""
    key = Key.random()

    with pytest.raises(KeyStoreError, match=r"RuntimeError: cannot store \*\*\* for a1") as caught:
        use("Talkative").keep("a1", key)

    assert key.raw.hex() not in str(caught.value)


def test_a_key_is_in_no_command_line_and_no_environment(use: Use, file: Path) -> None:
    """While the keyring is given a key, other processes of the same user see nothing of it."""
    key = Key.random()

    use("Observed").keep("a1", key)

    seen = Path(f"{file}.seen").read_text()
    assert "ruma.tenant.keys.keyring_process" in seen
    assert "tests.doubles.Observed" in seen
    assert key.raw.hex() not in seen


def test_the_current_folder_is_no_place_for_modules(use: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file keyring.py in the folder where the command is run is not taken for the keyring package."""
    (tmp_path / "keyring.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)

    use("Plain").keep("a1", Key.random())


def is_running(process: str) -> bool:
    """Tell whether a process is there and has not ended; one that ended may wait for its parent to notice."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
