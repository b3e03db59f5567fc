import zlib
from typing import Any

import pytest
from reportlab.lib.pdfencrypt import StandardEncryption

from ruma.errors import InputError
from tests.parsing import blocks_of, draw_lines, make_pdf, read


def test_lines_are_joined_to_paragraphs_and_words_made_whole() -> None:
    """Wrapped lines are one paragraph, a word cut by a hyphen is whole, and a real hyphen stays."""

    def draw(canvas: Any) -> None:
        draw_lines(
            canvas,
            [
                "Our self-service counter is open whenever the shop is, and the ware-",
                "house is open for collection of orders on working days until noon; self-",
                "service is not possible there.",
            ],
        )

    assert blocks_of(read(make_pdf(draw), "a.pdf")) == [
        (
            "paragraph",
            "Our self-service counter is open whenever the shop is, and the warehouse is open for collection of "
            "orders on working days until noon; self-service is not possible there.",
        )
    ]


def test_pages_are_numbered_and_a_sentence_may_go_on_to_the_next() -> None:
    """A block is on the page where it begins."""

    def draw(canvas: Any) -> None:
        draw_lines(
            canvas,
            [
                "This first page says a thing or two about bread, and then about",
                "the one cake that is baked in our ovens here",
            ],
        )
        canvas.showPage()
        draw_lines(canvas, ["on Sundays, which nobody else in this part of the town does.", "The second page is good."])

    document = read(make_pdf(draw), "a.pdf")

    assert [(block.page, document.text[block.start : block.end]) for block in document.blocks] == [
        (
            1,
            "This first page says a thing or two about bread, and then about the one cake that is baked in our ovens "
            "here on Sundays, which nobody else in this part of the town does.",
        ),
        (2, "The second page is good."),
    ]


def test_headings_are_larger_and_repeated_margins_are_left_out() -> None:
    """What stands on every page is no text; the largest line is the title."""

    def draw(canvas: Any) -> None:
        for number, name in enumerate(["Bread", "Cake", "Coffee", "Tools"], 1):
            draw_lines(canvas, ["Ovenwold Bakery"], top=820, size=8)
            draw_lines(canvas, [name], top=780, size=18)
            draw_lines(canvas, [f"{name} is what this page is about, and there is more to say of it."], top=740)
            draw_lines(canvas, [f"Page {number} of 4"], top=30, size=8)
            canvas.showPage()

    document = read(make_pdf(draw), "a.pdf")

    assert blocks_of(document)[:3] == [
        ("heading", "Bread"),
        ("paragraph", "Bread is what this page is about, and there is more to say of it."),
        ("heading", "Cake"),
    ]
    assert document.title == "Bread"
    assert "Ovenwold" not in document.text


def test_a_table_with_a_header_is_put_into_words() -> None:
    """Cells belong to the column where they begin, also where one is long or is wrapped."""

    def draw(canvas: Any) -> None:
        rows = [
            ("Course", "When", "Price"),
            ("Rye", "third Thursday", "£55"),
            ("Croissants", "on a weekend in", "£210"),
        ]
        for number, row in enumerate(rows):
            for x, text in zip((70, 160, 300), row, strict=True):
                canvas.drawString(x, 700 - 18 * number, text)
        canvas.drawString(160, 700 - 18 * 2 - 12, "March")

    assert blocks_of(read(make_pdf(draw), "a.pdf")) == [
        ("table row", "Course: Rye; When: third Thursday; Price: £55."),
        ("table row", "Course: Croissants; When: on a weekend in March; Price: £210."),
    ]


def test_words_that_are_set_one_by_one_are_parted() -> None:
    """Browsers place each word by itself; none is glued to the next."""

    def draw(canvas: Any) -> None:
        for number, word in enumerate(["We", "open", "at", "nine."]):
            canvas.drawString(70 + 30 * number, 700, word)

    assert read(make_pdf(draw), "a.pdf").text == "We open at nine."


def test_the_title_in_the_properties_counts_if_it_is_printed() -> None:
    """A template's forgotten title is not shown to visitors."""

    def draw(canvas: Any) -> None:
        draw_lines(canvas, ["Warranty terms of the bakery, which are short and simple."])

    assert read(make_pdf(draw, title="Warranty terms"), "w.pdf").title == "Warranty terms"
    assert read(make_pdf(draw, title="Invoice Template"), "w-terms.pdf").title == "W terms"


def test_what_cannot_be_read_says_why() -> None:
    """A password, pictures only, damage and a bomb are four different sentences."""
    locked = make_pdf(lambda canvas: canvas.drawString(70, 700, "x"), encrypt=StandardEncryption("a", canPrint=0))
    empty = make_pdf(lambda canvas: canvas.rect(0, 0, 100, 100))
    bomb = make_pdf(lambda canvas: canvas.drawString(70, 700, "x"))
    packed = zlib.compress(b" " * 80_000_000, 9)
    start, end = bomb.index(b"stream") + 7, bomb.index(b"endstream")
    bomb = bomb[: start - 8] + b"/Filter/FlateDecode>>stream\n" + packed + b"\n" + bomb[end:]

    for data, words in ((locked, "password"), (empty, "may be scanned"), (b"%PDF-1.4\nnothing", "damaged")):
        with pytest.raises(InputError, match=words):
            read(data, "a.pdf")
    with pytest.raises(InputError):
        read(bomb, "a.pdf")
