"""`ruma search` and `ruma ask`: one question, one answer."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruma.cli.answers import describe_place, note_times, print_answer
from ruma.cli.options import HomeOption, JsonOption, ModeOption, TenantOption
from ruma.cli.output import note, print_json, print_text, shorten
from ruma.cli.parts import Parts

if TYPE_CHECKING:
    from ruma.chat.answering import Answer
    from ruma.chat.searching import FoundPassage

QuestionArgument = Annotated[str, typer.Argument(metavar="QUESTION", help="The question, or - for standard input.")]


def search(
    ctx: typer.Context,
    question: QuestionArgument,
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, max=100, help="Passages at most.")] = 5,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Find the passages nearest to a question, best first."""
    from ruma.chat import searching

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        found = searching.search(_read(question), opened, parts.embedder, limit=limit)
    if as_json:
        print_json([_passage(one) for one in found])
        return
    for number, passage in enumerate(found, 1):
        chunk = passage.chunk
        place = describe_place(chunk.document_name, chunk.heading, chunk.page)
        print_text(f"{number}. {place}  ({passage.score:.2f})", style="bold")
        print_text(shorten(chunk.text.removeprefix(chunk.heading), 300), indent=3)
    if not found:
        note("No passage was found.")


def ask(
    ctx: typer.Context,
    question: QuestionArgument,
    mode: ModeOption = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Answer a question from a tenant's documents, with citations."""
    from ruma.chat import answering

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        embedder, generator = parts.embedder, parts.generator_of(opened, mode)
        text = _read(question)
        started = time.monotonic()
        answer = answering.answer(text, tenant=opened, embedder=embedder, generator=generator, mode=mode)
        if as_json:
            print_json(_whole(answer, started))
            return
        print_answer(answer, model=generator.name if generator else "")
        note_times(answer, time.monotonic() - started)


def _read(question: str) -> str:
    return sys.stdin.read() if question == "-" else question


def _passage(found: "FoundPassage") -> dict[str, Any]:
    chunk = found.chunk
    return {
        "document_id": chunk.document_id,
        "document": chunk.document_name,
        "title": chunk.title,
        "source": chunk.source_location,
        "heading": chunk.heading,
        "page": chunk.page,
        "start": chunk.start,
        "text": chunk.text,
        "score": round(found.score, 4),
        "cosine": round(found.cosine, 4),
        "words": round(found.words, 4),
    }


def _whole(answer: "Answer", started: float) -> dict[str, Any]:
    """Return the answer as data, once it is complete."""
    for _ in answer.tokens:
        pass
    return {
        "question": answer.question,
        "understood": answer.understood,
        "mode": answer.mode,
        "is_declined": answer.is_declined,
        "text": answer.text,
        "citations": answer.cited,
        "evidence": answer.citations,
        "seconds": {
            **{step: round(seconds, 4) for step, seconds in answer.seconds.items()},
            "whole": round(time.monotonic() - started, 4),
        },
    }
