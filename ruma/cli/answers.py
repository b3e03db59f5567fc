"""Prints an answer as it comes: the evidence at once, then the text, then where each sentence is from."""

from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING

from ruma.cli.output import Flow, duration, note, one_line, print_text

if TYPE_CHECKING:
    from ruma.chat.answering import Answer, Citation


def print_answer(answer: "Answer", *, model: str = "") -> None:
    """Print an answer from its first evidence to its last citation.

    Stopped by Ctrl-C, the language model is stopped too, and KeyboardInterrupt goes on to the caller.
    """
    if answer.mode == "write" and not answer.is_declined and answer.citations:
        best = answer.citations[0]
        print_text(f"“{one_line(best.quote)}” [{best.number}]", indent=2)
        print_text()
        note(f"{model or 'The language model'} writes:", style="dim", indent=2)
    _stream(answer)
    cited = answer.cited
    if cited:
        print_text()
        print_citations(cited)


def print_citations(citations: "Iterable[Citation]") -> None:
    """Print where the sentences are from: document, heading and page, a line for each place."""
    places: dict[str, list[int]] = {}
    for citation in citations:
        place = describe_place(citation.document, citation.heading, citation.page)
        places.setdefault(place, []).append(citation.number)
    for place, numbers in places.items():
        print_text(f"{' '.join(f'[{number}]' for number in numbers)} {place}", style="dim", indent=2)


def print_quotes(citations: "Iterable[Citation]") -> None:
    """Print the places with the words that each holds."""
    for citation in citations:
        place = describe_place(citation.document, citation.heading, citation.page)
        print_text(f"[{citation.number}] {place}", indent=2)
        print_text(f"“{one_line(citation.quote)}”", style="dim", indent=6)


def describe_place(document: str, heading: str, page: int | None) -> str:
    """Return a place in one line: its document, heading and page."""
    name = " › ".join(one_line(part) for part in (document, heading) if part)
    return f"{name}, page {page}" if page else name


def note_times(answer: "Answer", total: float) -> None:
    """Say on standard error how long each step took that took any time."""
    steps = [f"{name} {duration(seconds)}" for name, seconds in answer.seconds.items() if seconds >= 0.001]
    note(" · ".join([*steps, f"whole answer {duration(total)}"]), style="dim", indent=2)


def _stream(answer: "Answer") -> None:
    flow = Flow(indent=2)
    with closing(answer.tokens) as tokens:
        try:
            for token in tokens:
                flow.write(token)
        finally:
            flow.end()
