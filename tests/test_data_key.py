import copy
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from ruma.errors import InputError
from ruma.tenant.keys.keys import Key

KNOWN = Key(bytes(range(32)))
KNOWN_TEXT = "000G4-0R40M-30E20-9185G-R38E1-W8124-GK2GA-HC5RR-34D1P-70X3R-FQXAS"


@pytest.mark.parametrize("form", [repr, str, "{}".format, "{0!r:>20}".format, ascii], ids=range(5))
def test_a_key_does_not_show_itself(form: object) -> None:
    """However a key is turned into text, the text is the same three stars."""
    assert form(KNOWN).strip() == "Key(***)"  # type: ignore[operator]


def test_a_traceback_with_local_variables_does_not_show_a_key() -> None:
    """A report that prints every local variable of every frame holds neither the key's bytes nor their digits."""

    def fail(key: Key) -> None:
        key.check("t")
        raise LookupError(f"no tenant for {key}")

    try:
        fail(KNOWN)
    except LookupError as exc:
        report = "".join(traceback.TracebackException.from_exception(exc, capture_locals=True).format())

    assert "Key(***)" in report
    assert KNOWN.raw.hex() not in report
    assert repr(KNOWN.raw)[2:-1] not in report


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy, hash, vars])
def test_a_key_does_not_leave(leave: object) -> None:
    """A key cannot be pickled, copied, hashed or listed, so it reaches no cache and no other process by accident."""
    with pytest.raises(TypeError):
        leave(KNOWN)  # type: ignore[operator]


def test_keys_compare_by_content() -> None:
    """Equal bytes are equal keys, and nothing else is equal to a key, its own bytes neither."""
    assert Key(KNOWN.raw) == KNOWN
    assert Key.random() != Key.random()
    assert KNOWN.raw != KNOWN


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_has_32_bytes(size: int) -> None:
    """Any other size is a bug in the caller, and is never padded."""
    with pytest.raises(ValueError, match="32 bytes"):
        Key(bytes(size))


def test_the_check_value_stays_the_same() -> None:
    """Manifests written by every version hold this value, so it may never change."""
    assert KNOWN.check("4be0") == "36eaeeb9f9b323e5"


def test_the_check_value_tells_keys_and_tenants_apart() -> None:
    """Another key, one flipped bit and another tenant each give another check value."""
    flipped = bytearray(KNOWN.raw)
    flipped[31] ^= 1

    values = {KNOWN.check("a"), KNOWN.check("b"), Key(bytes(flipped)).check("a"), Key.random().check("a")}

    assert len(values) == 4


def test_derived_secrets_differ_by_purpose_and_by_data() -> None:
    """No two uses of a key share a secret, and none of them is the key."""
    secrets = [KNOWN.derive(b"one"), KNOWN.derive(b"two"), KNOWN.derive(b"one", b"x"), KNOWN.raw]

    assert len(set(secrets)) == 4
    assert KNOWN.derive(b"ruma original v1", b"a").hex().startswith("d8a41392")


def test_the_recovery_text_stays_the_same() -> None:
    """What people wrote down with every version is read by this one."""
    assert KNOWN.recovery_text() == KNOWN_TEXT
    assert Key.from_recovery_text(KNOWN_TEXT) == KNOWN


def test_every_recovery_text_is_read_back() -> None:
    """Random keys and the two extreme ones come back from their recovery text."""
    for key in [Key(bytes(32)), Key(b"\xff" * 32), *(Key.random() for _ in range(200))]:
        assert Key.from_recovery_text(key.recovery_text()) == key


@pytest.mark.parametrize(
    "written",
    [
        KNOWN_TEXT.lower(),
        KNOWN_TEXT.replace("-", ""),
        KNOWN_TEXT.replace("-", "  "),
        KNOWN_TEXT.replace("-", " – "),
        KNOWN_TEXT.replace("-", "\n"),
        f"  {KNOWN_TEXT}\r\n",
        KNOWN_TEXT.replace("0", "O"),
        KNOWN_TEXT.replace("0", "o").replace("1", "l"),
        KNOWN_TEXT.replace("1", "I"),
        KNOWN_TEXT.replace("1", "i"),
    ],
)
def test_a_recovery_text_may_be_written_loosely(written: str) -> None:
    """Case, spaces, lines, dashes of any kind, and O for 0, I and L for 1 make no difference."""
    assert Key.from_recovery_text(written) == KNOWN


def test_slips_are_noticed() -> None:
    """A wrong character at any place, and two neighbours exchanged, are errors and never another key."""
    plain = KNOWN_TEXT.replace("-", "")
    slips = [plain[:at] + ("7" if plain[at] != "7" else "8") + plain[at + 1 :] for at in range(len(plain))]
    slips += [
        plain[:at] + plain[at + 1] + plain[at] + plain[at + 2 :]
        for at in range(len(plain) - 1)
        if plain[at] != plain[at + 1]
    ]

    for slip in slips:
        with pytest.raises(InputError, match="slip"):
            Key.from_recovery_text(slip)


@pytest.mark.parametrize(
    "written",
    ["", "x", KNOWN_TEXT[:-1], KNOWN_TEXT + "0", "U" * 55, "é" * 55, "٣" * 55, KNOWN.raw.hex(), "0" * 1_000_000],
)
def test_what_is_no_recovery_text_is_refused(written: str) -> None:
    """Too short, too long and impossible characters are errors that say what a recovery key looks like."""
    with pytest.raises(InputError) as caught:
        Key.from_recovery_text(written)

    assert "11 groups of 5" in caught.value.hint
    assert len(str(caught.value)) < 200


def test_the_message_about_a_slip_does_not_repeat_the_key() -> None:
    """The error goes to screens and logs, so no group of the recovery key is in it; the place of the slip is."""
    with pytest.raises(InputError) as caught:
        Key.from_recovery_text(KNOWN_TEXT[:12] + "U" + KNOWN_TEXT[13:])

    text = str(caught.value) + caught.value.hint
    assert "Group 3" in text
    assert not any(group in text for group in KNOWN_TEXT.split("-"))


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the flags that Linux keeps")
def test_a_hardened_process_leaves_no_core_dump() -> None:
    """After harden_process() neither a crash nor another process of the same user gets at the memory."""
    code = (
        "import ctypes, resource\n"
        "from ruma.tenant.keys.keys import harden_process\n"
        "harden_process(); harden_process()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3))"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])

    assert run.stdout.strip() == "(0, 0) 0", run.stderr
