import pytest

from ruma.errors import InputError
from tests.parsing import blocks_of, read, sentences_of


def test_wrapped_lines_are_one_paragraph() -> None:
    """A line break that only ends a full line is no break in the text."""
    document = read(
        "Our bakery was founded in the year 1911 by two brothers\nand has been in the same house ever since.\n", "a.txt"
    )

    assert blocks_of(document) == [
        (
            "paragraph",
            "Our bakery was founded in the year 1911 by two brothers and has been in the same house ever since.",
        )
    ]


def test_short_lines_stand_alone() -> None:
    """Lines such as opening hours and addresses are not glued to each other, and each can be quoted."""
    document = read("Monday 9-18\nTuesday 9-18\nSunday closed\n", "hours.txt")

    assert document.text == "Monday 9-18\nTuesday 9-18\nSunday closed"
    assert sentences_of(document) == ["Monday 9-18", "Tuesday 9-18", "Sunday closed"]


def test_lists_and_headings_are_seen() -> None:
    """A heading is underlined or in capitals; items begin with a bullet or a number."""
    document = read("Delivery\n========\n\nWe bring:\n\n- bread\n- cake\n\nPRICES\n\n1. Bread 3\n2. Cake 4\n", "a.txt")

    assert blocks_of(document) == [
        ("heading", "Delivery"),
        ("paragraph", "We bring:"),
        ("list item", "bread"),
        ("list item", "cake"),
        ("heading", "PRICES"),
        ("list item", "Bread 3"),
        ("list item", "Cake 4"),
    ]
    assert document.title == "Delivery"
    assert document.blocks[-1].headings == ("Delivery", "PRICES")


def test_what_nobody_can_see_is_left_out() -> None:
    """Zero-width and direction marks, tags and controls are in no text; accents are composed."""
    document = read("Cafe\u0301\u200b is\u202e open\u00ad now\U000e0041.\x07", "a.txt")

    assert document.text == "Café is open now."


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "cp1252", "utf-8"])
def test_an_encoding_is_told_by_its_bytes(encoding: str) -> None:
    """A mark, the shape of UTF-16 and Western European bytes are understood."""
    document = read("Käse kostet 3 € – wie immer".encode(encoding), "a.txt")

    assert document.text == "Käse kostet 3 € – wie immer"


def test_pasted_bytes_of_another_encoding_are_mended() -> None:
    """UTF-8 with a few legacy bytes gives no replacement characters and no garbled words."""
    document = read("Größe, Höhe und Länge, ".encode() + b"f\xfcr alle", "a.txt")

    assert document.text == "Größe, Höhe und Länge, für alle"


def test_an_unknown_encoding_is_an_error() -> None:
    """Text that would be read as garbled letters is refused with what to do."""
    with pytest.raises(InputError, match="save it as UTF-8"):
        read("Привет, это магазин хлеба и булочек".encode("cp1251"), "a.txt")


def test_a_text_without_letters_is_no_document() -> None:
    """Only marks and lines are no text that could answer a question."""
    with pytest.raises(InputError, match="no text"):
        read("---\n***\n...\n", "a.txt")
