"""`ruma demo`: the whole way from documents to cited answers, in a home that is thrown away."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, which
from typing import TYPE_CHECKING

import typer

from ruma.cli.answers import note_times, print_answer
from ruma.cli.output import note, print_text
from ruma.cli.parts import Parts
from ruma.cli.sources import follow, print_summary
from ruma.config import load_settings
from ruma.errors import NotFoundError

if TYPE_CHECKING:
    from ruma.models.generator import Generator
    from ruma.tenant.conversing.conversations import OpenConversation
    from ruma.tenant.tenant import Tenant


@dataclass(frozen=True)
class Question:
    """One question of the demo, and what to look at in its answer."""

    text: str
    remark: str
    is_follow_up: bool = False
    is_written: bool = False


QUESTIONS = (
    Question("How much is delivery in Marrowby?", "Quoted word for word, with the place that each line is from."),
    Question("And to Pennyfold?", "Understood from the one before; tables are read row by row.", is_follow_up=True),
    Question("How long is the warranty on the bread machine?", "From a PDF, so the place has a page."),
    Question("Can you recommend a good dentist?", "No document says anything about it, and so it says."),
    Question("Can I give back a tool that I have not used?", "Quoted from a web page.", is_written=True),
)
_HONEST = (
    "Written by {name}, a very small language model that comes along to show this mode offline. "
    "It is not fit to be trusted, so Ruma quotes with it unless it is told otherwise; a better one is added "
    "with `ruma models add FILE.gguf`."
)
_GO_ON = (
    ("ingest FOLDER", "read Markdown, HTML, PDF, Word, CSV and text"),
    ("chat", "ask them, here"),
    ("serve", "ask them in the browser, at http://127.0.0.1:8420"),
    ("doctor", "check this machine"),
    ("--help", "everything else"),
)


def demo(ctx: typer.Context) -> None:
    """Show Ruma on a made-up bakery's documents.

    Reads them, answers five questions with citations and times, and leaves nothing behind.
    """
    folder = find_example()
    with throw_away_home() as home, Parts(ctx, home=home, key_source="machine", model="") as parts:
        print_text("Ruma answers from a business's own documents, on this machine alone.", style="bold")
        print_text(
            "The business is made up: Ovenwold Bakery in Marrowby, with 14 documents. "
            "Everything lies in a throw-away home that is removed at the end."
        )
        print_text("\n1. Reading the documents\n", style="bold")
        parts.home.create("bakery")
        tenant = parts.tenant("bakery")
        embedder = parts.embedder
        _ingest(folder, tenant, parts)
        print_text("\n2. Asking", style="bold")
        embedder.embed_question("warm up")
        _ask_all(tenant, parts)
    print_text("\n3. Go on with your own documents\n", style="bold")
    name = own_name()
    for words, what in _GO_ON:
        print_text(f"{name} {words:<15} {what}", indent=2)


def find_example() -> Path:
    """Return the folder of the example's documents, in the installed package or in the checkout.

    Raises:
        NotFoundError: It is in neither.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "examples" / "bakery", package.parent / "examples" / "bakery"):
        if folder.is_dir():
            return folder
    raise NotFoundError(
        "The example documents are not there.", hint="`pip install --force-reinstall ruma` brings them back."
    )


def own_name() -> str:
    """Return how this command is called from here: by its name where the shell finds it, else by its path."""
    found = which("ruma")
    called = Path(sys.argv[0])
    if found is None and called.name == "ruma":
        return os.path.relpath(called)
    return "ruma"


@contextmanager
def throw_away_home() -> Iterator[Path]:
    """Give a home that is removed however the command ends, with the compiled embedder where there is one.

    A copy, not the user's own folder: the demo writes nothing outside its home.
    """
    from ruma.models.compiled import embedders_folder

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    compiled = embedders_folder(load_settings())
    with tempfile.TemporaryDirectory(prefix="ruma-demo-") as folder:
        home = Path(folder)
        if compiled.is_dir():
            copytree(compiled, embedders_folder(load_settings({"home": home})))
        yield home


def _ingest(folder: Path, tenant: "Tenant", parts: Parts) -> None:
    from ruma.ingest.pipeline import ingest_sources

    started = time.monotonic()
    done = follow(ingest_sources([str(folder)], tenant, parts.embedder, parts.settings))
    print_summary(done, time.monotonic() - started)


def _ask_all(tenant: "Tenant", parts: Parts) -> None:
    from ruma.tenant.conversing.conversations import begin_conversation

    writer = _writer(parts)
    conversation = begin_conversation("terminal")
    try:
        for question in QUESTIONS:
            if not question.is_follow_up:
                conversation = begin_conversation("terminal")
            _ask(question, conversation, writer, tenant, parts)
    finally:
        if writer is not None:
            writer.close()


def _ask(
    question: Question, conversation: "OpenConversation", writer: "Generator | None", tenant: "Tenant", parts: Parts
) -> None:
    from ruma.chat import answering

    print_text(f"\n> {question.text}\n", style="bold")
    is_written = question.is_written and writer is not None
    started = time.monotonic()
    answer = answering.answer(
        question.text,
        tenant=tenant,
        embedder=parts.embedder,
        generator=writer if is_written else None,
        conversation=conversation,
        mode="write" if is_written else "quote",
    )
    print_answer(answer, model=writer.name if writer else "")
    note_times(answer, time.monotonic() - started)
    remark = _HONEST.format(name=writer.name) if is_written and writer else question.remark
    if remark:
        note(f"({remark})", style="dim", indent=2)


def _writer(parts: Parts) -> "Generator | None":
    """Return the small language model that the extra `demo` installs, if it is there."""
    from ruma.models.catalogue import list_models

    for model in list_models(parts.settings):
        if model.origin == "installed package":
            return parts.open_generator(model.name)
    return None
