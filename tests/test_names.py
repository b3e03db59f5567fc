import os
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pytest

from ruma.errors import InputError
from ruma.tenant.names import LONGEST_NAME, check_name, quote_name, suggest_name

PAYLOADS = Path(__file__).parents[1] / "../shared/data/payloads"

HOSTILE = [
    "../../x", "..\\..\\x", "/etc/passwd", "....//", "%2e%2e%2f", "a\0b", ".", "..", "x.", "x ", " x", "a/b",
    "a\\b", "a\nb", "a\n", "\na", "a\r", "a\tb", "🥐", "-rf", "--help", "x-", "~", "$HOME", "`id`", "a;b", "a b",
    "café", unicodedata.normalize("NFD", "café"), "Acme", "ACME", "\uff41cme", "\u0430cme", "acme\u200b", "\u202eacme",
    "acme\ufe0f", "\u017ftore", "\u212a", "ﬁsh", "١٢٣", "²", "acme\x1b[2J", "acme'", 'acme"', "acme_x", "a.b", "x:y",
    "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", ["a", "7", "acme", "acme-2", "a--b", "123", "corner-bakery", "x" * LONGEST_NAME])
def test_plain_names_pass(name: str) -> None:
    """Lower-case letters, digits and inner hyphens make a name, and it comes back unchanged."""
    assert check_name(name) == name


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_hostile_names_are_refused(name: str) -> None:
    """Nothing passes that could be a path, an option, a device, another spelling, or unprintable."""
    with pytest.raises(InputError):
        check_name(name)


@pytest.mark.parametrize("name", ["con", "nul", "com1", "lpt9", "aux", "api", "static", "health", "schema", "t"])
def test_reserved_names_are_refused(name: str) -> None:
    """Windows devices and the words of Ruma's own addresses are refused, and are said to be reserved."""
    with pytest.raises(InputError, match="reserved"):
        check_name(name)


@pytest.mark.parametrize("length", [0, LONGEST_NAME + 1, 300, 100_000])
def test_length_is_limited(length: int) -> None:
    """A name has 1 to 40 characters, and a very long one does not make a very long message."""
    with pytest.raises(InputError) as caught:
        check_name("x" * length)

    assert len(str(caught.value)) < 200
    assert len(caught.value.hint) < 250


@pytest.mark.parametrize("file", ["path-traversal-patt.txt", "path-traversal-dotdotpwn.txt", "blns.txt"])
def test_no_published_payload_leaves_the_folder(file: str, tmp_path: Path) -> None:
    """Of 27,000 published path traversal payloads, and of 600 naughty strings, the few that pass are plain words."""
    if not (PAYLOADS / file).exists():
        pytest.skip(f"{file} of the shared data is not here")
    lines = (PAYLOADS / file).read_bytes().decode("utf-8", "surrogateescape").split("\n")

    passed = [line for line in lines if is_name(line)]

    assert len(lines) > 600
    assert len(passed) < len(lines) / 20
    for name in passed:
        assert re.fullmatch("[a-z0-9-]+", name)
        assert Path(os.path.normpath(tmp_path / unquote(name))).parent == tmp_path


@pytest.mark.parametrize("name", [*HOSTILE, "con", "x" * 300], ids=ascii)
def test_message_is_safe_to_print(name: str) -> None:
    """The message quotes the name as one short line without anything that a terminal would act upon."""
    with pytest.raises(InputError) as caught:
        check_name(name)

    text = str(caught.value) + caught.value.hint
    assert text.isprintable()
    text.encode()  # a lone surrogate would end the program while it prints its error


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Café Zoë", "cafe-zoe"),
        ("Müller & Söhne", "muller-sohne"),
        ("Zoe's Shop", "zoes-shop"),
        ("../../etc/passwd", "etc-passwd"),
        ("x" * 39 + " y", "x" * 39),
        ("CON", ""),
        ("パン屋", ""),
        ("", ""),
        ("A" * 1_000_000, "a" * 40),
    ],
)
def test_a_name_is_suggested(text: str, name: str) -> None:
    """The suggestion reads like the text, passes the check itself, and is left out where none can be made."""
    assert suggest_name(text) == name
    assert not name or check_name(name)


def test_the_suggestion_is_in_the_hint() -> None:
    """Whoever types a shop's real name reads the name to use instead."""
    with pytest.raises(InputError) as caught:
        check_name("Café Zoë")

    assert str(caught.value) == "'Café Zoë' cannot be a tenant's name."
    assert caught.value.hint.endswith("for example: cafe-zoe")


def test_different_names_never_fold_together() -> None:
    """Names that pass are equal under case folding and every Unicode form only if they are the same text."""
    assert not is_name("ACME")
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert not is_name("\uff41cme")
        assert unicodedata.normalize(form, check_name("acme-2")).casefold() == "acme-2"


def test_a_quoted_name_is_short() -> None:
    """A quoted name shows its beginning, with everything unprintable escaped."""
    assert quote_name("a\x1b[2J") == r"'a\x1b[2J'"
    assert len(quote_name("x" * 1000)) == 60


def is_name(text: str) -> bool:
    """Tell whether a text passes."""
    try:
        check_name(text)
    except InputError:
        return False
    return True
