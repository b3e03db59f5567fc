"""What a location on the command line holds: files, a folder's files by its ignore rules, or a text.

Names are data: no name is opened but the ones that were found here, and none leaves its folder.
"""

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ruma.errors import InputError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

    from ruma.ingest.reading import Reader
    from ruma.tenant.knowledge.documents import StoredState

Kind = Literal["file", "folder", "text", "upload", "page", "site"]

STANDARD_INPUT = "-"
IGNORE_FILES = (".gitignore", ".rumaignore")
"""Read in every folder, the later ones win; their patterns are those of git."""

ALWAYS_IGNORED = (
    "node_modules/", "__pycache__/", "*.css", "*.js", "*.mjs", "*.map", "*.woff", "*.woff2", "*.ttf", "*.ico",
)  # fmt: skip
"""What only a browser reads; a `!pattern` in `.rumaignore` brings it back. Hidden files are never read."""

_MOST_RULES = 1_000_000
_DEEPEST = 64


@dataclass(frozen=True)
class Item:
    """One document to be: its name in the source, and its file or its bytes, or why it has neither."""

    name: str
    path: str = ""
    data: bytes | None = None
    problem: str = ""
    load: Callable[[], bytes] | None = None
    """Gives the bytes when their turn comes, so that those of a long line need not lie in memory."""

    title: str = ""
    """What the document is called, whatever its text says; its name is then no file's name."""

    file_name: str = ""
    """A name that says what it is, where its own name is no file's."""

    charset: str = ""
    """The encoding that its web server names; what the document says of itself may be another."""

    etag: str = ""
    last_modified: str = ""
    """How its web server names this version of it."""

    is_unchanged: bool = False
    """Its web server says that it is as it was stored."""


@dataclass
class Listing:
    """What was found at a location."""

    kind: Kind
    location: str
    """As it is recorded: an absolute path, or the name of a text."""

    items: list[Item] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Folders in it that could not be listed, by name: nothing is known of the documents in these."""
    note: str = ""
    """Why not all of it was read, when all were given; it continues the sentence that begins with the location."""

    @property
    def count(self) -> int:
        """How many documents are known to be there."""
        return len(self.items)

    def each(self, reader: "Reader", states: "Mapping[str, StoredState]") -> Iterator[Item]:
        """Give the documents one after another.

        Args:
            reader: Finds links in those that were fetched.
            states: The stored documents that need not be read again where they are unchanged, by name.
        """
        yield from self.items

    def is_gone(self, name: str) -> bool:
        """Tell, when all were given, whether a stored document is there no more; what is not known is not gone."""
        unread = tuple(f"{folder}/" if folder else "" for folder in self.unread)
        present = {item.name for item in self.items}
        return self.kind == "folder" and name not in present and not (unread and name.startswith(unread))

    def stop(self) -> None:
        """Give no more, soon; from any thread."""


@dataclass(frozen=True)
class _Walk:
    """What stays the same while a folder is walked."""

    real_root: str
    own: str
    listing: Listing


@dataclass(frozen=True)
class _Rules:
    """The ignore rules of one folder."""

    folder: str
    spec: "GitIgnoreSpec"


def find_items(
    location: str, *, standard_input: bytes | None = None, text_name: str = "", home: Path | None = None
) -> Listing:
    """Return the documents at a location: a file, a folder with all that is in it, or "-" for a text.

    Args:
        home: The folder of Ruma's own files, which are never read: keys and other tenants' data are there.

    Raises:
        InputError: There is nothing at the location, or it is no file and no folder.
    """
    own = os.path.realpath(home) if home else ""
    if location == STANDARD_INPUT:
        name = clean_name(text_name or "standard input")
        return Listing("text", name, [Item(name, data=standard_input or b"")])
    path = os.path.abspath(location)
    shown = clean_name(path)
    try:
        if own and _is_below(os.path.realpath(path), own):
            raise InputError(f"{shown} is in Ruma's own folder, which holds keys and other tenants' data.")
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            listing = Listing("folder", shown)
            os.listdir(path)
            _walk(path, listing, own)
            return listing
    except ValueError:
        raise InputError(f"There is no file or folder {location!r}.") from None
    except FileNotFoundError:
        raise InputError(f"There is no file or folder {shown}.") from None
    except OSError as exc:
        raise InputError(f"{shown} cannot be read: {exc.strerror}.") from exc
    if not stat.S_ISREG(mode):
        raise InputError(f"{shown} is {_describe(mode)}, not a file or a folder.")
    return Listing("file", shown, [Item(clean_name(os.path.basename(path)), path)])


def clean_name(name: str) -> str:
    """Return a file's name as it is stored: composed accents, and every byte a letter."""
    try:
        name.encode()
    except UnicodeEncodeError:
        # A name of the time before UTF-8.
        name = os.fsencode(name).decode("cp1252", "backslashreplace")
    return unicodedata.normalize("NFC", name)


def _walk(root: str, listing: Listing, own: str) -> None:
    walk = _Walk(os.path.realpath(root), own, listing)
    names: set[str] = set()
    for path, name, problem in _entries(root, "", [_always_ignored()], walk):
        unique, number = name, 2
        while unique in names:  # two names that differ only in how their accents are written
            unique, number = f"{name} ({number})", number + 1
        names.add(unique)
        listing.items.append(Item(unique, path, problem=problem))


def _entries(folder: str, inside: str, rules: Sequence[_Rules], walk: _Walk) -> Iterator[tuple[str, str, str]]:
    """Give (path, name, problem) for each file in a folder and below, in the order of their names."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as exc:
        walk.listing.unread.append(clean_name(inside))
        yield folder, clean_name(inside), f"is a folder that cannot be read: {exc.strerror}."
        return
    rules = [*rules, *_read_rules(folder, inside, entries)]
    for entry in entries:
        name = f"{inside}/{entry.name}" if inside else entry.name
        is_folder = entry.is_dir()
        if entry.name.startswith(".") or _is_ignored(name + "/" * is_folder, rules):
            continue
        if is_folder and walk.own and os.path.realpath(entry.path) == walk.own:
            continue
        if entry.is_symlink() and not _is_inside(entry.path, walk.real_root, folder):
            yield entry.path, clean_name(name), "is a link out of the folder; ingest what it leads to by itself."
        elif not is_folder:
            yield entry.path, clean_name(name), _problem(entry)
        elif name.count("/") < _DEEPEST:
            yield from _entries(entry.path, name, rules, walk)


def _problem(entry: "os.DirEntry[str]") -> str:
    try:
        mode = entry.stat().st_mode
    except OSError as exc:
        return f"cannot be read: {exc.strerror}."
    return "" if stat.S_ISREG(mode) else f"is {_describe(mode)}, not a file."


def _is_inside(path: str, real_root: str, folder: str) -> bool:
    """Tell whether a link leads to a place in the same source, and not to a folder that it lies in."""
    target = os.path.realpath(path)
    return _is_below(target, real_root) and not _is_below(os.path.realpath(folder), target)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _read_rules(folder: str, inside: str, entries: Sequence["os.DirEntry[str]"]) -> Iterator[_Rules]:
    from pathspec import GitIgnoreSpec

    present = {entry.name for entry in entries if entry.is_file()}
    for name in IGNORE_FILES:
        if name in present:
            try:
                with open(os.path.join(folder, name), "rb") as file:
                    lines = file.read(_MOST_RULES).decode("utf-8", "replace").splitlines()
                yield _Rules(inside, GitIgnoreSpec.from_lines(lines))
            except (OSError, ValueError) as exc:
                raise InputError(f"The ignore rules in {clean_name(folder)}/{name} cannot be read: {exc}.") from exc


def _always_ignored() -> _Rules:
    from pathspec import GitIgnoreSpec

    return _Rules("", GitIgnoreSpec.from_lines(ALWAYS_IGNORED))


def _is_ignored(name: str, rules: Sequence[_Rules]) -> bool:
    for rule in reversed(rules):
        inside = name[len(rule.folder) + 1 :] if rule.folder else name
        decided = rule.spec.check_file(inside).include
        if decided is not None:
            return bool(decided)
    return False


def _describe(mode: int) -> str:
    for is_kind, words in (
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISDIR, "a folder"),
    ):
        if is_kind(mode):
            return words
    return "something else"


def read_item(item: Item, most_bytes: int) -> bytes:
    """Return the bytes of a document, all of one moment.

    Raises:
        InputError: It cannot be read; the message continues the sentence that begins with its name.
    """
    if item.problem:
        raise InputError(item.problem)
    given = item.load() if item.load else item.data
    if given is not None:
        if len(given) > most_bytes:
            raise InputError(_too_large(len(given), most_bytes))
        return given
    for _ in range(2):
        if (data := _read_unchanged(item.path, most_bytes)) is not None:
            return data
    raise InputError("was changed while it was read; try again when nothing writes to it.")


def _read_unchanged(path: str, most_bytes: int) -> bytes | None:
    """Return a file's bytes, or nothing if it was written to meanwhile."""
    try:
        # Not to wait for a pipe that took the file's place since it was listed.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        raise InputError("is not there any more.") from None
    except OSError as exc:
        raise InputError(f"cannot be read: {exc.strerror}.") from exc
    try:
        with open(descriptor, "rb", buffering=0) as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise InputError(f"is {_describe(before.st_mode)}, not a file.")
            if before.st_size > most_bytes:
                raise InputError(_too_large(before.st_size, most_bytes))
            data = file.read(most_bytes + 1)
            while data and len(data) <= most_bytes and (more := file.read(most_bytes + 1 - len(data))):
                data += more
            after = os.fstat(descriptor)
    except OSError as exc:
        raise InputError(f"cannot be read: {exc.strerror}.") from exc
    is_same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return data if is_same and len(data) == after.st_size else None


def _too_large(size: int, most_bytes: int) -> str:
    return (
        f"has {-(-size // 1_000_000):,} MB; the setting max_file_mb allows {most_bytes // 1_000_000:,}, "
        "so raise it or split the file."
    )
