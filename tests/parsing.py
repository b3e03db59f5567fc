"""Reads a document in this process, for tests of what is read; how it is confined is tested elsewhere."""

import io
import zipfile
from collections.abc import Callable, Sequence

from ruma.ingest.parsed import ParsedDocument
from ruma.ingest.parser_process import read_document

WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_WORD_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml"


def read(content: str | bytes, name: str) -> ParsedDocument:
    """Return a document as it is read."""
    return read_document(content.encode() if isinstance(content, str) else content, name)


def blocks_of(document: ParsedDocument) -> list[tuple[str, str]]:
    """Return the kind and the text of each block."""
    return [(block.kind, document.text[block.start : block.end]) for block in document.blocks]


def sentences_of(document: ParsedDocument) -> list[str]:
    """Return the quotable pieces."""
    return [document.text[start:end] for start, end in document.sentences]


def make_pdf(draw: Callable[..., None], *, encrypt: object = None, title: str = "") -> bytes:
    """Return a PDF file that a function draws on a canvas, A4 wide."""
    from reportlab.pdfgen.canvas import Canvas

    stream = io.BytesIO()
    canvas = Canvas(stream, pagesize=(595, 842), encrypt=encrypt, pageCompression=0)
    canvas.setTitle(title)
    draw(canvas)
    canvas.save()
    return stream.getvalue()


def draw_lines(canvas: object, lines: Sequence[str], *, top: float = 780, size: float = 10, x: float = 70) -> None:
    """Draw lines of text below each other, each set for itself."""
    for number, line in enumerate(lines):
        canvas.setFont("Helvetica", size)  # type: ignore[attr-defined]
        canvas.drawString(x, top - number * size * 1.3, line)  # type: ignore[attr-defined]


def make_word(body: str, *, doctype: str = "", styles: str = "", members: Sequence[tuple[str, bytes]] = ()) -> bytes:
    """Return a Word file with this XML in its body, and with further members in the archive."""
    document = f'<?xml version="1.0"?>{doctype}<w:document {WORD}><w:body>{body}</w:body></w:document>'
    rels = f'<?xml version="1.0"?><Relationships xmlns="{_PACKAGE}/relationships">{{}}</Relationships>'
    parts = {
        "[Content_Types].xml": f'<?xml version="1.0"?><Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{_WORD_TYPE}.document.main+xml"/>'
        f'<Override PartName="/word/styles.xml" ContentType="{_WORD_TYPE}.styles+xml"/></Types>',
        "_rels/.rels": rels.format(
            f'<Relationship Id="r1" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/>'
        ),
        "word/_rels/document.xml.rels": rels.format(
            f'<Relationship Id="r1" Type="{_OFFICE}/styles" Target="styles.xml"/>'
        ),
        "word/document.xml": document,
        "word/styles.xml": f'<?xml version="1.0"?><w:styles {WORD}>{styles}</w:styles>',
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def word_paragraph(text: str, *, style: str = "") -> str:
    """Return the XML of a paragraph."""
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'
