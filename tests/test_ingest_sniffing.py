import io
import zipfile

import pytest

from ruma.errors import InputError
from ruma.ingest.sniffing import sniff
from tests.parsing import make_pdf, make_word, word_paragraph

WORD = make_word(word_paragraph("x"))
PDF = make_pdf(lambda canvas: canvas.drawString(70, 700, "x"))


def zipped(*names: str) -> bytes:
    """Return an archive with empty members, the same at every call: pytest names a case by its bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"<!DOCTYPE html><p>x", "page.pdf", "html"),
        (b"\n<!-- c --><html><p>x", "page.txt", "html"),
        (b"<p>x</p>", "part.htm", "html"),
        ("<html><p>x".encode("utf-16"), "page.html", "html"),
        (PDF, "letter.docx", "pdf"),
        (b"junk\n" + PDF, "letter.pdf", "pdf"),
        (WORD, "letter.doc", "word"),
        (WORD, "letter.pdf", "word"),
        (b"a,b\n1,2", "x.CSV", "csv"),
        (b"a\tb\n1\t2", "x.tsv", "csv"),
        (b"# a", "README", "markdown"),
        (b"words", "LICENSE", "text"),
        (b"words", "notes.unknown", "text"),
    ],
)
def test_the_content_decides_before_the_name(data: bytes, name: str, expected: str) -> None:
    """A file is read as what it is, whatever it is called."""
    assert sniff(data, name) == expected


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"", "a.md", "is empty"),
        (b" \n\t", "a.md", "is empty"),
        (b"just words", "a.pdf", "holds plain text"),
        (b"\0\1\2binary\0", "a.pdf", "is not a PDF"),
        (b"\0\1\2binary\0" * 9, "a.txt", "is a binary file; Ruma reads Markdown"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a.docx", "is a PNG picture; Ruma reads"),
        (b"RIFF\0\0\0\0WAVE<html>", "a.html", "sound or video"),
        (zipped("xl/workbook.xml"), "a.xlsx", "is an Excel file; Ruma reads Markdown, text, HTML, PDF, Word"),
        (zipped("ppt/slides/slide1.xml"), "a.pptx", "is a PowerPoint file"),
        (zipped("a.txt"), "a.docx", "is a ZIP archive"),
        (zipped("a.txt")[:20], "a.zip", "damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "WordDocument".encode("utf-16-le"), "a.docx", "old Word file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "a.docx", "password"),
        (b'{"a": 1}', "a.json", "is a JSON file"),
        (b"<?xml version='1.0'?><a/>", "a", "is an XML file"),
        (b"{\\rtf1 x}", "a.txt", "is an RTF file"),
    ],
)
def test_what_is_not_read_gets_a_sentence_of_its_own(data: bytes, name: str, words: str) -> None:
    """The reason names what the file is, and what could be read instead."""
    with pytest.raises(InputError, match=words) as caught:
        sniff(data, name)

    assert str(caught.value).endswith(".")
