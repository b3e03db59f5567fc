import random
from itertools import pairwise

import pytest

from ruma.ingest.parsed import Block, ParsedDocument
from ruma.ingest.splitting import MOST_CHARACTERS, PREFIX_TOKENS, Chunk, split
from ruma.models.vectors import join_passage
from tests.fakes import HashEmbedder
from tests.parsing import read

EMBEDDER = HashEmbedder()


def split_text(text: str, name: str = "a.md", *, embedder: HashEmbedder = EMBEDDER) -> list[Chunk]:
    """Return the chunks of a Markdown text, after checking what holds for all."""
    return check(read(text, name), embedder)


def check(document: ParsedDocument, embedder: HashEmbedder = EMBEDDER) -> list[Chunk]:
    """Return a document's chunks: they tile the text, fit the embedder, and hold each sentence in its place."""
    chunks = split(document, embedder)
    assert "".join(chunk.text for chunk in chunks) == document.text
    assert [chunk.end for chunk in chunks[:-1]] == [chunk.start for chunk in chunks[1:]]
    for chunk in chunks:
        passage = chunk.passage
        assert embedder.count_tokens(join_passage(passage.prefix, passage.text)[0]) + 2 <= embedder.max_tokens
        assert all(chunk.body <= start < end <= len(chunk.text) for start, end in chunk.sentences)
        assert all(before[1] <= after[0] for before, after in pairwise(chunk.sentences))
        assert [passage.text[a:b] for a, b in passage.sentences] == [chunk.text[a:b] for a, b in chunk.sentences]
    joined = "".join(document.text[start:end] for start, end in document.sentences)
    assert "".join(chunk.text[start:end] for chunk in chunks for start, end in chunk.sentences) == joined
    return chunks


def test_a_heading_begins_a_chunk_and_goes_before_its_text() -> None:
    """The path of headings is shown and embedded, the title once; the heading's line itself is not embedded twice."""
    first, second, third = split_text(
        "# Shop\n\nHello.\n\n## Delivery\n\n### Prices\n\nFree from £20.\n\n## Hours\n\nNine.\n"
    )

    assert (first.heading, first.prefix, first.text) == ("", "Shop", "Shop\n\nHello.\n\n")
    assert second.text == "Delivery\n\nPrices\n\nFree from £20.\n\n"
    assert (second.heading, second.prefix) == ("Delivery \u203a Prices", "Shop \u203a Delivery \u203a Prices")
    assert second.passage.text == "Free from £20.\n\n"
    assert third.heading == "Hours"


def test_a_list_stays_with_its_lead_in() -> None:
    """What an item means is often said in the line before the list; a question stays with its answer."""
    before = "word " * 120
    text = f"{before}\n\nWe are open:\n\n- Monday {'and on ' * 70}\n- Tuesday\n"

    first, second = split_text(text)

    assert first.text == before.strip() + "\n\n"
    assert second.text.startswith("We are open:")
    assert "Tuesday" in second.text


def test_chunks_of_one_section_are_of_much_the_same_size() -> None:
    """No small rest is left at the end of a section that is a little too long."""
    sizes = [EMBEDDER.count_tokens(chunk.text) for chunk in split_text("\n\n".join(["word " * 50] * 6))]

    assert sizes == [150, 150]


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    """A sentence is whole as long as it fits."""
    chunks = split_text("This is one of many sentences in a row. " * 60)

    assert len(chunks) > 1
    assert all(chunk.text.strip().endswith(".") for chunk in chunks)


def test_a_long_sentence_is_cut_between_words() -> None:
    """Only what has no other place to cut is cut by tokens; its parts can be quoted."""
    chunks = split_text("bread and cake " * 300)

    assert len(chunks) > 2
    assert all(chunk.sentences for chunk in chunks)
    assert all(chunk.text.split()[0] in ("bread", "and", "cake") for chunk in chunks)


def test_a_long_sentence_is_rather_cut_between_clauses() -> None:
    """A part that ends with a comma reads better than one that ends anywhere."""
    chunks = split_text("one two three four five six seven, " * 100)

    assert all(chunk.text.endswith(("seven, ", "seven,")) for chunk in chunks)


def test_an_endless_word_is_cut_too() -> None:
    """A tokenizer may take it for one token; a chunk has a limit in characters all the same."""
    chunks = split_text("x" * 30_000, "a.txt")

    assert max(len(chunk.text) for chunk in chunks) <= MOST_CHARACTERS


def test_a_page_begins_a_chunk() -> None:
    """A citation's page is where its text is, and no chunk is on two."""
    document = ParsedDocument(
        "T",
        "One here.\nTwo there.\n",
        (Block(0, 9, "paragraph", (), 1), Block(10, 20, "paragraph", (), 2)),
        ((0, 9), (10, 20)),
    )

    assert [(chunk.page, chunk.text) for chunk in check(document)] == [(1, "One here.\n"), (2, "Two there.\n")]


def test_a_list_marker_belongs_to_its_item() -> None:
    """A chunk that begins with an item begins with its marker, which is not embedded."""
    chunks = split_text("\n".join(f"- {'word ' * 90}{number}" for number in range(6)))

    assert all(chunk.text.startswith("- word") for chunk in chunks)
    assert all(chunk.passage.text.startswith("word") for chunk in chunks)


def test_long_titles_and_headings_are_shortened_before_the_text() -> None:
    """The prefix keeps title and nearest heading, never more than its share."""
    deep = "".join(f"{'#' * level} {'heading ' * 20}{level}\n\n" for level in range(1, 6))

    (chunk,) = split_text(f"---\ntitle: {'title ' * 30}\n---\n{deep}Text.\n")

    assert EMBEDDER.count_tokens(chunk.prefix) <= PREFIX_TOKENS
    assert chunk.prefix.startswith("title")
    assert "heading" in chunk.prefix


def test_headings_alone_are_a_chunk() -> None:
    """A document that ends with a heading, or is nothing else, loses nothing."""
    assert [chunk.passage.text for chunk in split_text("# One\n\n## Two\n")] == ["One\n\nTwo"]


@pytest.mark.parametrize("max_tokens", [64, 128, 256])
def test_random_documents_always_tile(max_tokens: int) -> None:
    """Whatever the structure, no text is lost and no chunk is too long."""
    chance = random.Random(max_tokens)
    words = ["bread", "Käse", "cake.", "pie,", "1.50", "shop?", "now!", "x" * 50, "😀", "und;"]
    for _ in range(30):
        lines = []
        for _ in range(chance.randint(1, 40)):
            start = chance.choice(["", "", "", "# ", "### ", "- ", "  - ", "1. ", "> ", "| "])
            lines.append(start + " ".join(chance.choices(words, k=chance.choice([1, 5, 30, 200]))))
            lines += [""] * chance.randint(0, 1)
        split_text("\n".join(["word", *lines]), embedder=HashEmbedder(max_tokens=max_tokens))
