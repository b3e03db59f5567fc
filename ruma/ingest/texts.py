"""Texts that are stored already, made into chunks again: corrected by a person, or for another model's vectors."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ruma.errors import InputError
from ruma.ingest.formats.text import ITEM
from ruma.ingest.pairs import prepare_pair
from ruma.ingest.parsed import ParsedDocument, TextBuilder, clean
from ruma.ingest.sentences import find_sentences, guess_language
from ruma.ingest.splitting import SEPARATOR, split
from ruma.models.vectors import Embedder, Passage
from ruma.tenant.knowledge.documents import NewChunk

Place = tuple[int, int, str, int | None]
"""Where a chunk lies in the old text, the headings above it, and its page."""

_MARK = re.compile(r"(#{1,6}) +(?=\S)")


def parse_again(title: str, text: str, media_type: str, old_text: str, places: Sequence[Place]) -> ParsedDocument:
    """Return the structure of a text that was stored, or of one that a person made of it.

    A line that was a heading is one still, and so is a line that begins with one to six # and a space. A paragraph
    that was there before keeps its page; a new one is on the page of the one before.

    Raises:
        InputError: It is longer than a document may be.
    """
    levels = {
        heading: level for _, _, path, _ in places for level, heading in enumerate(path.split(SEPARATOR), 1) if heading
    }
    builder, at = TextBuilder(), 0
    for paragraph in re.split(r"\n[ \t]*(?:\n[ \t]*)+", clean(text).strip("\n")):
        found = old_text.find(paragraph, at)
        if found < 0:
            found = old_text.find(paragraph)
        if found >= 0:
            at = found
            builder.page = next((page for start, end, _, page in places if start <= found < end), builder.page)
        _add_paragraph(builder, paragraph, levels, title)
        builder.end_group()
    parsed = builder.finish(title, media_type=media_type)
    language = guess_language(f"{title} {parsed.text[:20_000]}", "")
    sentences = tuple(find_sentences(parsed.text, parsed.blocks, language))
    return ParsedDocument(parsed.title, parsed.text, parsed.blocks, sentences, media_type, language)


def embed_text(parsed: ParsedDocument, embedder: Embedder) -> list[NewChunk]:
    """Return a text's chunks with this embedder's vectors."""
    chunks = split(parsed, embedder)
    made = embedder.embed_passages([chunk.passage for chunk in chunks])
    return [
        NewChunk(
            chunk.start,
            chunk.end,
            chunk.text,
            chunk.heading,
            chunk.page,
            chunk.sentences,
            vectors.passage,
            vectors.prefix,
            vectors.sentences,
        )
        for chunk, vectors in zip(chunks, made, strict=True)
    ]


def embed_again(row: Mapping[str, Any], kind: str, embedder: Embedder) -> list[NewChunk]:
    """Return the chunks of a document of an export with this embedder's vectors, over the very same text.

    Args:
        row: The document as an export has it.
        kind: The kind of its source.
        embedder: What makes the vectors.

    Raises:
        InputError: A chunk is longer than the embedder reads, and the text cannot be cut anew.
    """
    try:
        places = [(one["start"], one["end"], one["heading"], one["page"]) for one in row["chunks"]]
        text = "".join(one["text"] for one in row["chunks"])
        if kind == "pair":
            made = list(prepare_pair(row["name"], text, embedder).chunks)
        else:
            made = embed_text(parse_again(row["title"], text, row["media_type"], text, places), embedder)
        # What visitors were told is stored as places in the text: so it must stay the same to the letter.
        if "".join(chunk.text for chunk in made) == text:
            return made
        return _embed_as_cut(row, embedder)
    except (KeyError, TypeError, ValueError) as exc:
        raise InputError(f"The document {str(row.get('name'))[:80]!r} cannot be indexed with this model.") from exc


def _embed_as_cut(row: Mapping[str, Any], embedder: Embedder) -> list[NewChunk]:
    spans = [tuple((start, end) for start, end in one["sentences"]) for one in row["chunks"]]
    passages = [
        Passage(SEPARATOR.join(filter(None, (row["title"], one["heading"]))), one["text"], where)
        for one, where in zip(row["chunks"], spans, strict=True)
    ]
    made = embedder.embed_passages(passages)
    return [
        NewChunk(
            one["start"],
            one["end"],
            one["text"],
            one["heading"],
            one["page"],
            where,
            vectors.passage,
            vectors.prefix,
            vectors.sentences,
        )
        for one, where, vectors in zip(row["chunks"], spans, made, strict=True)
    ]


def _add_paragraph(builder: TextBuilder, paragraph: str, levels: Mapping[str, int], title: str) -> None:
    """Add the lines between two empty ones: a heading, or items and lines that stand as they were written."""
    lines = [line for line in paragraph.split("\n") if line.strip()]
    for line in lines:
        words = line.strip()
        mark = _MARK.match(words)
        item = ITEM.match(line)
        if mark:
            builder.heading(len(mark[1]), words[mark.end() :])
        elif len(lines) == 1 and words in levels:
            builder.heading(levels[words], words)
        elif len(lines) == 1 and words == title and builder.is_empty:
            builder.heading(1, words)
        elif item:
            indent = len(line) - len(line.lstrip())
            builder.item(line[item.end() :], marker=f"{item[1]} ", depth=indent // 2)
        else:
            builder.paragraph(line, is_tight=True)
