from itertools import pairwise

import pytest

from ruma.server.viewing import PART, View, find_labels, view_document
from ruma.tenant.knowledge.documents import Document

PAGES = (
    "Delivery\n\n"
    "Our van\n\n"
    "Our van brings bread.\nIt leaves at 7:00.\n\n"
    "Prices\n\n"
    "- Town: £2.50\n  - Villages: £4.50\n1. Collect it for nothing.\n\n"
    "Delivery is free from £20."
)


def document(text: str, chunks: list[tuple[int, int, str, int | None]] | None = None) -> Document:
    """Return a document of that text."""
    return Document(
        id=1,
        source_id=1,
        source_location="/shop",
        name="delivery.md",
        title="Delivery",
        media_type="text/markdown",
        text=text,
        chunks=tuple(chunks or [(0, len(text), "", None)]),
        size_bytes=len(text),
        added_at="2026-03-02T09:15:04Z",
    )


def cited(view: View) -> str:
    """Return the words that a view marks, its blocks joined by line ends."""
    marked = ["".join(piece.text for piece in block.pieces if piece.is_cited) for block in view.blocks]
    return "\n".join(text for text in marked if text)


def whole(view: View) -> list[str]:
    """Return the text of each block of a view."""
    return ["".join(piece.text for piece in block.pieces) for block in view.blocks]


def test_headings_items_and_lines_are_told_apart() -> None:
    """The page has the document's shape: headings by depth, items with their marks, lines of a paragraph."""
    middle = PAGES.index("Prices")
    chunks = [(0, middle, "Our van", None), (middle, len(PAGES), "Our van \u203a Prices", None)]

    blocks = view_document(document(PAGES, chunks), None, None).blocks

    assert [(block.kind, block.level, block.marker) for block in blocks] == [
        ("heading", 0, ""),
        ("line", 0, ""),
        ("line", 0, ""),
        ("heading", 1, ""),
        ("item", 0, ""),
        ("item", 1, ""),
        ("item", 0, "1."),
        ("paragraph", 0, ""),
    ]


def test_every_word_of_the_document_is_shown() -> None:
    """Nothing but the marks of items and the white space between blocks is left out."""
    view = view_document(document(PAGES), None, None)

    shown = " ".join(whole(view)).split()
    assert ["Delivery", *shown] == PAGES.replace("- ", "").replace("1. ", "").split()


def test_the_title_is_not_said_twice_unless_it_is_cited() -> None:
    """The page has the title above the text; the text's own is shown where a citation lies in it."""
    assert whole(view_document(document(PAGES), None, None))[0] == "Our van"
    assert cited(view_document(document(PAGES), 0, 8)) == "Delivery"


def test_the_cited_words_are_marked_to_the_character() -> None:
    """A span marks exactly its words, and a span over several paragraphs marks a piece of each."""
    one = PAGES.index("leaves")
    across = (PAGES.index("at 7:00"), PAGES.index(" nothing"))

    assert cited(view_document(document(PAGES), one, one + 6)) == "leaves"
    assert cited(view_document(document(PAGES), *across)) == (
        "at 7:00.\nPrices\nTown: £2.50\nVillages: £4.50\nCollect it for"
    )


def test_a_span_outside_the_text_marks_nothing() -> None:
    """A link from before the document was changed still opens it."""
    for start, end in [(10_000, 10_020), (5, 5), (30, 10), (None, 20_000)]:
        view = view_document(document("Short."), start, end)

        assert whole(view) == ["Short."]
        assert cited(view) in ("", "Short.")


def test_pages_of_the_original_are_shown_where_they_begin() -> None:
    """A page that the document has in print is announced once, also when it holds several chunks."""
    text = "One.\n\nStill one.\n\nTwo.\n\nFour."
    edges = [0, *(text.index(word) for word in ("Still", "Two", "Four")), len(text)]
    chunks = [(start, end, "", page) for (start, end), page in zip(pairwise(edges), (1, 1, 2, 4), strict=True)]

    view = view_document(document(text, chunks), None, None)

    assert whole(view) == ["Page 1", "One.", "Still one.", "Page 2", "Two.", "Page 4", "Four."]


def test_a_long_document_is_shown_in_parts_that_lose_nothing() -> None:
    """A page holds about 40 printed pages; the parts together are the document."""
    text = "\n\n".join(f"Paragraph {number} of the long document." for number in range(12_000))
    long = document(text)

    first = view_document(long, None, None)
    parts = [view_document(long, None, None, part) for part in range(1, first.parts + 1)]

    assert first.part == 1
    assert first.parts == 5
    assert [line for part in parts for line in whole(part)] == text.split("\n\n")
    assert all(len("\n\n".join(whole(part))) < PART * 1.6 for part in parts)


def test_a_citation_opens_the_part_that_holds_it() -> None:
    """The link of a citation leads to its words, wherever in the document they stand."""
    text = "\n\n".join(f"Paragraph {number} of the long document." for number in range(12_000))
    for number in (0, 3_000, 7_777, 11_999):
        words = f"Paragraph {number} "
        start = text.index(words)

        view = view_document(document(text), start, start + len(words))

        assert cited(view) == words


@pytest.mark.parametrize("text", ["word " * 60_000, "x" * 300_000, "row of a table\n" * 20_000])
def test_a_text_without_paragraphs_is_cut_too(text: str) -> None:
    """One line, or one table, of any length is shown in parts of a bearable size, and whole in the end."""
    first = view_document(document(text), None, None)

    parts = [view_document(document(text), None, None, part) for part in range(1, first.parts + 1)]

    assert first.parts > 1
    assert "".join("".join(whole(part)) for part in parts).split() == text.replace("\n", "").split()


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        ("Product: Rye; Price: £4.80.", ["Product:", "Price:"]),
        ("Part: Mill, motor; Warranty: 5 years", ["Part:", "Warranty:"]),
        ("Hours: 7:30 to 12:00; Days: all", ["Hours:", "Days:"]),
        ("Open: always.", []),
        ("We sell two: bread; cakes.", []),
        ("A sentence; and another: of words.", []),
        ("No labels here.", []),
        ("", []),
        ("x: " * 30_000, []),
        ("a: b; " * 30_000, []),
    ],
)
def test_labels_of_a_table_row_are_found(line: str, labels: list[str]) -> None:
    """A row that was put into words has labels, a sentence with colons or semicolons has none."""
    assert [line[start:end] for start, end in find_labels(line)] == labels


def test_a_row_keeps_every_character_and_its_citation() -> None:
    """Labels are told apart without a change to the text, also where a citation cuts through one."""
    row = "Product: Rye; Price: £4.80."
    for start, end in [(0, len(row)), (3, 16), (9, 12), (14, 20)]:
        view = view_document(document(row), start, end)

        assert cited(view) == row[start:end]
        assert "".join(text for piece in view.blocks[0].pieces for text, _ in piece.parts) == row
        marked = "".join(text for piece in view.blocks[0].pieces for text, is_label in piece.parts if is_label)
        assert marked == "Product:Price:"
