"""The example business is whole, and belongs to nobody."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruma.ingest.reading import Reader

EXAMPLES = Path(__file__).parents[1] / "examples"
DOCUMENTS = sorted((EXAMPLES / "bakery").iterdir())


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """Return one reader for all documents."""
    with Reader() as reader:
        yield reader


def words(text: str) -> list[str]:
    """Return the words and numbers of a text, sorted: formats differ in punctuation and order."""
    return sorted(re.findall(r"[\w£%@.-]*\w", text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_document_is_read_and_belongs_to_nobody(document: Path, reader: Reader) -> None:
    """Each document has a title and text, and its addresses and numbers are reserved for examples and fiction."""
    found = reader.read(document.read_bytes(), document.name)

    assert found.title
    assert len(found.text) > 1000
    assert all(address.endswith(".example") for address in re.findall(r"\w+@[\w.]*\w", found.text))
    assert all(number.startswith("01632 960") for number in re.findall(r"\b0\d{4} \d{6}\b", found.text))
    assert "http" not in found.text


@pytest.mark.parametrize("name", ["warranty.pdf", "courses.pdf", "celebration-cakes.docx", "catering.docx"])
def test_made_documents_say_what_their_texts_say(name: str, reader: Reader) -> None:
    """PDF and Word files are up to date: `python examples/make_documents.py` was run after the last change."""
    made = reader.read((EXAMPLES / "bakery" / name).read_bytes(), name)
    text = (EXAMPLES / "texts" / Path(name).with_suffix(".md").name).read_text(encoding="utf-8")

    missing = set(words(text)) - set(words(made.text))

    assert missing == set()


def test_the_formats_are_all_there() -> None:
    """About a dozen documents in Markdown, HTML, PDF, Word and CSV, each named in the examples' README."""
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")

    assert {path.suffix for path in DOCUMENTS} == {".md", ".html", ".pdf", ".docx", ".csv"}
    assert all(f"`{path.name}`" in readme for path in DOCUMENTS)
    assert sum(path.stat().st_size for path in DOCUMENTS) < 200_000
