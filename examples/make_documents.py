"""Write the PDF and Word documents of the example bakery from `texts/`: `python examples/make_documents.py`.

The files it writes are kept in the repository, so that the demo needs neither reportlab nor a word processor.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from docx import Document
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    Flowable,
    PageBreak,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)
from reportlab.platypus.doctemplate import BaseDocTemplate

TEXTS = Path(__file__).parent / "texts"
BAKERY = Path(__file__).parent / "bakery"
FORMATS = {"warranty": "pdf", "courses": "pdf", "celebration-cakes": "docx", "catering": "docx"}
LOOK = getSampleStyleSheet()
BODY = ParagraphStyle("body", parent=LOOK["BodyText"], fontSize=10.5, leading=15, spaceAfter=6)


def read_blocks(name: str) -> list[str]:
    """Return the blocks of a text: a heading, `---` for a new page, a table or a paragraph each."""
    return (TEXTS / f"{name}.md").read_text(encoding="utf-8").strip().split("\n\n")


def read_table(block: str) -> list[list[str]]:
    """Return the cells of a block whose lines look like `| a | b |`."""
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in block.splitlines()]


def write_pdf(path: Path, blocks: Sequence[str]) -> None:
    """Write the blocks as a PDF with page numbers; the same blocks always make the same bytes."""
    title = blocks[0].lstrip("# ")

    def number(canvas: Canvas, template: BaseDocTemplate) -> None:
        canvas.setFont("Helvetica", 8)
        canvas.drawCentredString(A4[0] / 2, 12 * mm, f"page {template.page}")

    page = SimpleDocTemplate(str(path), pagesize=A4, title=title, author="Ovenwold Bakery", invariant=1)
    page.build([flowable for block in blocks for flowable in _as_pdf(block)], number, number)


def _as_pdf(block: str) -> list[Flowable]:
    if block == "---":
        return [PageBreak()]
    if block.startswith("#"):
        marks, _, text = block.partition(" ")
        return [Paragraph(text, LOOK[f"Heading{len(marks)}"])]
    if block.startswith("|"):
        look = TableStyle([("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.grey), ("FONTSIZE", (0, 0), (-1, -1), 9.5)])
        return [Table(read_table(block), hAlign="LEFT", style=look), Spacer(1, 10)]
    return [Paragraph(block, BODY)]


def write_word(path: Path, blocks: Sequence[str]) -> None:
    """Write the blocks as a Word document."""
    document = Document()
    document.core_properties.title = blocks[0].lstrip("# ")
    document.core_properties.author = "Ovenwold Bakery"
    document.core_properties.created = document.core_properties.modified = datetime(2026, 3, 3, tzinfo=UTC)
    for block in blocks:
        if block.startswith("#"):
            marks, _, text = block.partition(" ")
            document.add_heading(text, level=len(marks))
        elif block.startswith("|"):
            rows = read_table(block)
            table = document.add_table(rows=0, cols=len(rows[0]), style="Table Grid")
            for row in rows:
                for cell, text in zip(table.add_row().cells, row, strict=True):
                    cell.text = text
        else:
            document.add_paragraph(" ".join(block.splitlines()))
    document.save(str(path))


if __name__ == "__main__":
    for name, extension in FORMATS.items():
        write = write_pdf if extension == "pdf" else write_word
        write(BAKERY / f"{name}.{extension}", read_blocks(name))
