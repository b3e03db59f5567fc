"""`ruma chat`: a conversation in the terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from ruma.cli.answers import note_times, print_answer, print_quotes
from ruma.cli.options import HomeOption, ModeOption, TenantOption
from ruma.cli.output import note, print_text
from ruma.cli.parts import Parts
from ruma.errors import RumaError

if TYPE_CHECKING:
    from ruma.chat.answering import Citation
    from ruma.models.embedder import Embedder
    from ruma.models.generator import Generator
    from ruma.tenant.tenant import Tenant

HELP = """/sources  show where the last answer is from, with the quoted words
/new      begin a new conversation
/help     show this
Ctrl-C    stop the answer
Ctrl-D    leave"""


def chat(ctx: typer.Context, mode: ModeOption = None, tenant: TenantOption = None, home: HomeOption = None) -> None:
    """Ask several questions in one conversation.

    Ctrl-C stops the answer and not the program, Ctrl-D leaves. /help lists what else can be typed.
    """
    from ruma.tenant.agents import read_agent

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        agent = read_agent(opened)
        talk = Talk(opened, parts.embedder, parts.generator_of(opened, mode), mode)
        print_text(f"{agent.name}: {agent.greeting}")
        for question in agent.questions:
            print_text(f"- {question}", indent=2)
        note("/help lists the commands, Ctrl-D leaves.", style="dim")
        for line in typed_lines():
            # A second Ctrl-C, while the first one's answer is being put away, is not meant for the program either.
            with suppress(KeyboardInterrupt):
                talk.take(line)


class Talk:
    """One conversation after another, with one tenant's agent."""

    def __init__(self, tenant: "Tenant", embedder: "Embedder", generator: "Generator | None", mode: str | None) -> None:
        """Begin the first conversation."""
        self._tenant, self._embedder, self._generator, self._mode = tenant, embedder, generator, mode
        self._cited: tuple[Citation, ...] = ()
        self._start()

    def take(self, line: str) -> None:
        """Do what a typed line says: a command, or a question to answer."""
        match line.strip():
            case "":
                pass
            case "/help":
                note(HELP)
            case "/new":
                self._start()
                note("A new conversation begins.")
            case "/sources":
                self._show_sources()
            case command if command.startswith("/"):
                note(f"There is no command {command}. /help lists them.")
            case question:
                self._answer(question)

    def _start(self) -> None:
        from ruma.tenant.conversing.conversations import begin_conversation

        self._conversation = begin_conversation("terminal")
        self._cited = ()

    def _show_sources(self) -> None:
        if self._cited:
            print_quotes(self._cited)
        else:
            note("The last answer has no sources.")

    def _answer(self, question: str) -> None:
        """Answer, and go on whatever happens: a conversation does not end with one failed answer."""
        from ruma.chat import answering

        started = time.monotonic()
        print_text()
        try:
            answer = answering.answer(
                question,
                tenant=self._tenant,
                embedder=self._embedder,
                generator=self._generator,
                conversation=self._conversation,
                mode=self._mode,
            )
            print_answer(answer, model=self._generator.name if self._generator else "")
        except KeyboardInterrupt:
            note("(stopped; this answer is not kept)", style="dim", indent=2)
        except RumaError as exc:
            note(f"Error: {exc}" + (f" {exc.hint}" if exc.hint else ""))
        else:
            self._cited = answer.cited
            note_times(answer, time.monotonic() - started)
        print_text()


def typed_lines() -> Iterator[str]:
    """Yield what is typed, line by line, until Ctrl-D; with line editing where there is a terminal.

    What was typed can be recalled while the conversation lasts and is written nowhere.
    """
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    import readline

    readline.set_auto_history(True)
    while True:
        try:
            yield input("> ")
        except EOFError:
            note()
            return
        except KeyboardInterrupt:
            note("\nCtrl-D leaves.", style="dim")
