"""Everything that reaches the terminal: data on standard output, everything else on standard error.

The only module that prints text from documents, visitors or models, so the only one that must clean it.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruma.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

WIDEST = 100
"""Columns that text is wrapped to at most: longer lines are hard to read."""

_UNLIMITED = 100_000
_BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_CONTROL = {code: None for code in (*range(0x20), *range(0x7F, 0xA0), *_BIDI) if chr(code) not in "\n\t"} | {
    code: "\n" for code in (0x0B, 0x0C, 0x85, 0x2028, 0x2029)
}
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """Return text that a terminal can only show: no escape sequence, carriage return or other control in it.

    Character by character, so that a sequence which arrives in several pieces of a stream is caught as well:
    without its escape character it is harmless text. What cannot be encoded becomes a question mark.
    """
    return text.translate(_CONTROL).encode("utf-8", "replace").decode("utf-8")


def one_line(text: str) -> str:
    """Return clean text without line ends and repeated blanks, for a cell or a name."""
    return " ".join(clean(text).split())


def shorten(text: str, longest: int) -> str:
    """Return one clean line of at most that many characters, cut at a word where there is one."""
    line = one_line(text)
    if len(line) <= longest:
        return line
    cut = line[: longest - 1]
    return (cut.rpartition(" ")[0] or cut) + "…"


def print_json(value: Any) -> None:
    """Print data as one JSON value, readable and with nothing in it that a terminal would act on."""
    text = json.dumps(_plain(value), ensure_ascii=False, indent=2)
    sys.stdout.write(_UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")
    sys.stdout.flush()


def print_content(content: str) -> None:
    """Print what a file would hold: to the letter where a program reads it, cleaned where a terminal shows it."""
    sys.stdout.write(clean(content) if sys.stdout.isatty() else content)
    sys.stdout.flush()


def print_text(text: str = "", *, style: str = "", indent: int = 0) -> None:
    """Print text as data, wrapped where a person reads it and never where a program does."""
    _print(_console(is_error=False), text, style, indent)


def note(text: str = "", *, style: str = "", indent: int = 0) -> None:
    """Tell the person at the terminal something that is not data: on standard error."""
    _print(_console(is_error=True), text, style, indent)


def print_pairs(pairs: Mapping[str, object]) -> None:
    """Print names with their values, a line each."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        table.add_row(Text(one_line(name.replace("_", " ")), style="bold"), Text(_cell(value)))
    _console(is_error=False).print(table)


def print_row(*cells: str, widths: Sequence[int], style: str = "") -> None:
    """Print one row of a table that comes row by row; the last cell is as wide as there is room."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for width in widths:
        table.add_column(min_width=width, no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(*(Text(one_line(cell), style=style) for cell in cells))
    _console(is_error=False).print(table)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headings; numbers are put to the right."""
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        is_number = bool(cells) and all(isinstance(row[index], int | float) for row in cells)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(_cell(value)) for value in row))
    _console(is_error=False).print(table)


def show_box(title: str, lines: Sequence[str]) -> None:
    """Show something that must not be overlooked, in a box on standard error."""
    from rich.panel import Panel
    from rich.text import Text

    console = _console(is_error=True)
    text = Text("\n".join(clean(line) for line in lines))
    width = min(max(map(len, lines)) + 6, console.width)
    console.print(Panel(text, title=Text(one_line(title)), padding=(1, 2), width=width))


@contextmanager
def showing_steps(title: str) -> Iterator[Callable[[str], None]]:
    """Give a function that shows a long task's next step: in one changing line, or in a line each for a log."""
    from rich.text import Text

    console = _console(is_error=True)
    if not console.is_terminal:
        note(title)
        yield lambda step: note(step, indent=2)
        return
    with console.status(Text(one_line(title))) as status:
        yield lambda step: status.update(Text(one_line(f"{title} {step}")))


@contextmanager
def showing_progress() -> Iterator[Callable[[int, int, str], None]]:
    """Give a function (done, total, name) that moves a bar with rate and time left; silent in a log."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "", style="dim")

    console = _console(is_error=True)
    bar = BarColumn(bar_width=24)
    name_column = TextColumn("{task.fields[name]}", markup=False, style="dim")
    columns = (bar, MofNCompleteColumn(), Rate(), TimeRemainingColumn(compact=True), name_column)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None, name="")
        yield lambda done, total, name: progress.update(task, completed=done, total=total, name=shorten(name, 40))


def ask_line(prompt: str) -> str:
    """Ask on standard error and return the line that was typed, or sent to standard input.

    Raises:
        InputError: There was nothing to read.
    """
    sys.stderr.write(f"{clean(prompt)}: ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        note()
        raise InputError(f"Nothing was given for: {prompt}.")
    return line.strip()


def ask_hidden(prompt: str) -> str:
    """Ask for a secret that exists already, without showing it; where no person types, take one line of standard input.

    Raises:
        InputError: There was nothing to read.
    """
    if sys.stdin.isatty():
        return getpass(f"{clean(prompt)}: ", stream=sys.stderr)
    return ask_line(prompt)


def ask_secret(prompt: str) -> str:
    """Ask for a new secret twice, without showing it; where no person types, take one line of standard input.

    Raises:
        InputError: There was nothing to read, or the two differ.
    """
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        if not line:
            raise InputError(f"Nothing was given for: {prompt}.", hint="Send it as one line to standard input.")
        return line.rstrip("\r\n")
    secret = getpass(f"{clean(prompt)}: ", stream=sys.stderr)
    if getpass("Once more: ", stream=sys.stderr) != secret:
        raise InputError("The two differ. Nothing was done.")
    return secret


def is_watched() -> bool:
    """Tell whether a person reads standard output."""
    return sys.stdout.isatty()


def size(number: float) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("bytes", "KB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" or number >= 10 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def duration(seconds: float) -> str:
    """Return a time as people write it."""
    if seconds < 0.001:
        return "under 1 ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: 1 document, 2 documents."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class Flow:
    """Writes a stream of text to standard output as it comes, wrapped at words where a person reads it."""

    def __init__(self, indent: int = 0) -> None:
        """Begin at the start of a line."""
        self._indent = indent
        self._width = _console(is_error=False).width if is_watched() else _UNLIMITED
        self._column = 0
        self._word = ""

    def write(self, text: str) -> None:
        """Write a piece; a word is kept back until it is known where it ends."""
        for char in clean(text):
            if char.isspace():
                self._put_word()
                self._put_space(char)
            else:
                self._word += char
        sys.stdout.flush()

    def end(self) -> None:
        """Write what was kept back, and end the line."""
        self._put_word()
        sys.stdout.write("\n" if self._column else "")
        sys.stdout.flush()
        self._column = 0

    def _put_word(self) -> None:
        from rich.cells import cell_len

        if not self._word:
            return
        width = cell_len(self._word)
        if self._column > self._indent and self._column + width > self._width:
            sys.stdout.write("\n")
            self._column = 0
        if not self._column:
            sys.stdout.write(" " * self._indent)
            self._column = self._indent
        sys.stdout.write(self._word)
        self._column += width
        self._word = ""

    def _put_space(self, char: str) -> None:
        if char == "\n":
            sys.stdout.write("\n")
            self._column = 0
        elif self._indent < self._column < self._width:
            sys.stdout.write(" ")
            self._column += 1


def _print(console: "Console", text: str, style: str, indent: int) -> None:
    from rich.text import Text

    content = Text(clean(text), style=style)
    lines = content.wrap(console, console.width - indent) if console.is_terminal else content.split(allow_blank=True)
    for line in lines:
        line.rstrip()
        console.print(Text(" " * indent).append_text(line) if line else "", soft_wrap=True)


def _console(*, is_error: bool) -> "Console":
    from rich.console import Console

    console = Console(stderr=is_error, highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        console.width = min(console.width, WIDEST)
    elif not os.environ.get("COLUMNS"):
        # What is read by a program, or kept in a log, is not folded at an arbitrary column.
        console.width = WIDEST if is_error else _UNLIMITED
    return console


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else one_line(str(value))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
