import io

import pytest
from docx import Document

from ruma.errors import InputError
from tests.parsing import blocks_of, make_word, read, word_paragraph


def saved(document: object) -> bytes:
    """Return the bytes of a document."""
    stream = io.BytesIO()
    document.save(stream)  # type: ignore[attr-defined]
    return stream.getvalue()


def test_headings_lists_and_tables_come_in_reading_order() -> None:
    """Styles say what is a heading and an item; rows name their columns."""
    document = Document()
    document.add_heading("Catering", 0)
    document.add_heading("Menus", 1)
    document.add_paragraph("For eight or more.")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ["Menu", "Price", "Lunch", "£11.90"], strict=True):
        cell.text = text
    document.add_paragraph("Bread", style="List Bullet")
    document.add_paragraph("Cheese", style="List Bullet")

    parsed = read(saved(document), "a.docx")

    assert blocks_of(parsed) == [
        ("heading", "Catering"),
        ("heading", "Menus"),
        ("paragraph", "For eight or more."),
        ("table row", "Menu: Lunch; Price: £11.90."),
        ("list item", "Bread"),
        ("list item", "Cheese"),
    ]
    assert parsed.title == "Catering"


def test_text_is_read_as_it_is_shown() -> None:
    """Insertions, fields' results and text boxes are read; deletions, field codes and hidden runs are not."""
    body = (
        "<w:p><w:ins><w:r><w:t>New</w:t></w:r></w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del>"
        "<w:r><w:tab/><w:instrText>PAGE</w:instrText><w:t>words</w:t><w:br/><w:t>below</w:t></w:r>"
        "<w:r><w:rPr><w:vanish/></w:rPr><w:t>secret</w:t></w:r></w:p>"
        f"<w:sdt><w:sdtContent>{word_paragraph('Controlled')}</w:sdtContent></w:sdt>"
        f"<w:p><w:r><w:txbxContent>{word_paragraph('Boxed')}</w:txbxContent></w:r></w:p>"
        "<w:sdt><w:sdtPr><w:docPartObj><w:docPartGallery w:val='Table of Contents'/></w:docPartObj></w:sdtPr>"
        f"<w:sdtContent>{word_paragraph('Contents 1')}</w:sdtContent></w:sdt>"
    )

    assert [text for _, text in blocks_of(read(make_word(body), "a.docx"))] == [
        "New words\nbelow",
        "Controlled",
        "Boxed",
    ]


def test_a_style_may_inherit_from_a_heading() -> None:
    """A template's own style counts as what it is based on, whatever its language calls it."""
    styles = (
        '<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>'
        '<w:style w:styleId="Firma"><w:name w:val="Firma Kapitel"/><w:basedOn w:val="berschrift1"/></w:style>'
    )
    body = word_paragraph("Lieferung", style="Firma") + word_paragraph("Wir liefern.")

    assert blocks_of(read(make_word(body, styles=styles), "a.docx")) == [
        ("heading", "Lieferung"),
        ("paragraph", "Wir liefern."),
    ]


def test_an_archive_that_expands_too_far_is_refused_before_it_is_unpacked() -> None:
    """Declared sizes decide: in all, against the file's own size, and by count."""
    blank = make_word(word_paragraph("x"), members=[("word/media/a.bin", b" " * 25_000_000)])
    many = make_word(word_paragraph("x"), members=[(f"word/{number}.xml", b"") for number in range(5001)])

    with pytest.raises(InputError, match="expands to more than 200 times"):
        read(blank, "a.docx")
    with pytest.raises(InputError, match="expands to more than 300 MB or 5,000 parts"):
        read(many, "a.docx")


def test_entities_are_not_expanded() -> None:
    """Neither a file of this machine nor a bomb gets into the text."""
    outside = make_word(word_paragraph("before &e; after"), doctype='<!DOCTYPE x [<!ENTITY e SYSTEM "/etc/passwd">]>')
    names = [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10)]
    bomb = make_word(word_paragraph("&a9;"), doctype=f'<!DOCTYPE x [<!ENTITY a0 "lol">{"".join(names)}]>')

    assert "root:" not in read(outside, "a.docx").text
    with pytest.raises(InputError):
        read(bomb, "a.docx")


def test_a_damaged_file_is_an_error() -> None:
    """An archive cut short, or without its document, says that it is damaged."""
    whole = make_word(word_paragraph("x"))

    with pytest.raises(InputError, match="damaged"):
        read(whole[: len(whole) // 2], "a.docx")
