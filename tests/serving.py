"""A server with a filled tenant and models that are quick: in this process, or as `python -m tests.serving HOME`."""

import atexit
import http.client
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ruma.chat.answering import answer  # noqa: F401 - loaded here, so that no test waits for it
from ruma.config import Settings, load_settings, write_setting
from ruma.errors import NotFoundError
from ruma.models.generator import Generator, Turn
from ruma.models.vectors import Passage
from ruma.server.listener import serve
from ruma.tenant.agents import change_agent
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import NewChunk, NewDocument, store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.people.api_keys import make_api_key
from ruma.tenant.people.members import create_member, find_member
from ruma.tenant.people.sessions import begin_session, csrf_of
from ruma.tenant.tenant import Tenant
from tests.fakes import EchoGenerator, HashEmbedder
from tests.harness.forking import Forked

EMBEDDER = HashEmbedder(dimension=256)
FLAGS = {"key_source": "machine", "visitor_questions": 100_000}
"""Settings of a home for tests: no keyring, and as many questions as a test asks."""
ASK = {"Content-Type": "application/json", "Accept": "text/event-stream", "Connection": "close"}
QUESTION = "What does delivery to Marrowby cost?"
WRITTEN = "Delivery in Marrowby costs £2.50 [1]."

DELIVERY = [
    ("Delivery", None, ["Our van brings bread to your door from Tuesday to Saturday."]),
    ("Delivery \u203a Prices", 1, ["Delivery to Marrowby costs £2.50.", "It is free from £20."]),
    ("Delivery \u203a Times", 2, ["The van leaves at 7:00.", "There is no delivery on Sundays or Mondays."]),
]


def store(tenant: Tenant, name: str, title: str, sections: Sequence[tuple[str, int | None, list[str]]]) -> int:
    """Store a document of sections, each a heading, a page and its sentences; return its id."""
    chunks: list[NewChunk] = []
    at = 0
    for heading, page, sentences in sections:
        head = heading.rpartition(" \u203a ")[2] + "\n\n" if heading else ""
        text = head + " ".join(sentences) + "\n\n"
        spans, place = [], len(head)
        for sentence in sentences:
            spans.append((place, place + len(sentence)))
            place += len(sentence) + 1
        made = EMBEDDER.embed_passages([Passage(heading or title, text, spans)])[0]
        chunks.append(
            NewChunk(at, at + len(text), text, heading, page, tuple(spans), made.passage, made.prefix, made.sentences)
        )
        at += len(text)
    document = NewDocument(
        name=name,
        title=title,
        media_type="text/markdown",
        content_hash=name,
        reader="1",
        size_bytes=at,
        chunks=chunks,
        original=b"original",
    )
    source = add_source(tenant, "folder", "/shop")
    return store_document(tenant, source.id, document, embedder_id=EMBEDDER.id)


def make_tenant(home: Home, name: str = "acme", *, mode: str = "quote") -> None:
    """Make a tenant with two documents and an agent."""
    if name == "acme" and home.settings.key_source == "machine" and not home.settings.tenants_folder.exists():
        shutil.copytree(_made_home(mode), home.settings.home, dirs_exist_ok=True)
    else:
        _make(home, name, mode)


@cache
def _made_home(mode: str) -> Path:
    """Return the folder of a home with that tenant, to be copied: that takes a tenth of the time of making one."""
    folder = Path(tempfile.mkdtemp(prefix="ruma-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _make(Home(Settings(home=folder / "home", key_source="machine")), "acme", mode)
    return folder / "home"


def _make(home: Home, name: str, mode: str) -> None:
    home.create(name)
    with home.open(name) as tenant:
        store(tenant, "delivery.md", "Delivery", DELIVERY)
        store(tenant, "hours.md", "Opening hours", [("", None, ["The shop opens on Sundays from 8:00 to 12:00."])])
        change_agent(
            tenant, name="Marrowby Bakery", greeting="Hello!", questions=(QUESTION,), mode=mode, is_published=True
        )


def renew_tenant(home: "Home | Running", *, mode: str = "quote") -> Home:
    """Return the home, or the one of a running server, after its tenant acme was made, or deleted and made anew.

    Every test has a tenant that nobody touched, without the time that another server would take to start.
    """
    if isinstance(home, Running):
        home = Home(load_settings({"home": home.home, **FLAGS}, {}))
    if "acme" in home.names():
        home.delete("acme")
    make_tenant(home, mode=mode)
    return home


PASSWORD = "seven loaves under the oak"


def sign_in(tenant: Tenant, role: str = "owner", *, email: str = "") -> dict[str, str]:
    """Make a member of that role where there is none, and return the headers of a new session of theirs."""
    email = email or f"{role}@{tenant.name}.example"
    try:
        member = find_member(tenant, email)
    except NotFoundError:
        member = create_member(tenant, email=email, name=f"The {role}", role=role, password=PASSWORD)
    secret = begin_session(tenant, member.id)
    return {"Cookie": f"__Host-ruma-{tenant.name}={secret}", "X-Ruma-CSRF": csrf_of(tenant, secret)}


def with_key(tenant: Tenant, *scopes: str) -> dict[str, str]:
    """Return the headers of a new API key with these scopes."""
    _, secret = make_api_key(tenant, "test", scopes, created_by="a test")
    return {"Authorization": f"Bearer {secret}"}


class Script(Iterator[str]):
    """Gives words with a pause before each, until it is closed, from whichever thread."""

    def __init__(self, words: Sequence[str], pause: float, journal: Path | None) -> None:
        """Take the words; the journal gets a line when it is closed."""
        self._words, self._pause, self._journal = list(words), pause, journal
        self._closed = threading.Event()

    def __next__(self) -> str:
        """Return the next word, after the pause."""
        if self._closed.wait(self._pause) or not self._words:
            raise StopIteration
        word = self._words.pop(0)
        if word.strip() == "BREAK":
            raise RuntimeError(f"cannot write {self._words}")
        return word

    def close(self) -> None:
        """Say so in the journal, once."""
        if self._journal and not self._closed.is_set():
            with self._journal.open("a") as file:
                file.write(json.dumps({"closed": time.time(), "left": len(self._words)}) + "\n")
        self._closed.set()


class ScriptedGenerator(Generator):
    """Writes the same words whatever is asked."""

    name = "scripted"
    is_grounded = True

    def __init__(self, text: str = WRITTEN, pause: float = 0.0, journal: Path | None = None) -> None:
        """Take the words, the seconds before each, and a file that is told of every closing."""
        self._text, self._pause, self._journal = text, pause, journal

    @property
    def context_tokens(self) -> int:
        """Return a length that is never reached."""
        return 100_000

    def count_tokens(self, turns: Sequence[Turn]) -> int:
        """Return how many words there are."""
        return sum(len(turn.text.split()) for turn in turns)

    def generate(self, turns: Sequence[Turn], *, tenant: str, max_tokens: int = 400) -> Script:
        """Return the words."""
        return Script([f"{word} " for word in self._text.split(" ")], self._pause, self._journal)

    def close(self) -> None:
        """Hold nothing that could be given back."""


class Running:
    """A server in a process of its own."""

    def __init__(self, home: Path, *args: str, module: str = "tests.serving", **settings: str) -> None:
        """Start it with these settings in its file and read its banner; *module* serves as this one does."""
        self.home = home
        for name, value in settings.items():
            write_setting(home, name, value)
        (says, stdout), (complains, stderr) = os.pipe(), os.pipe()
        self.process = Forked(
            [module, str(home), *args],
            env=os.environ,
            cwd=Path(__file__).parents[1],
            stdout=stdout,
            stderr=stderr,
        )
        os.close(stdout)
        os.close(stderr)
        self._said, self._complained = os.fdopen(says, encoding="utf-8"), os.fdopen(complains, encoding="utf-8")
        self.requests: list[dict[str, Any]] = []
        self.errors = ""
        """What it said on standard error so far, besides a line for each request."""
        # Read all the time, or a server that writes a line a request would fill the pipe.
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        self.banner = [self._said.readline().strip() for _ in range(3)]
        found = re.search(r", port (\d+)", self.banner[2])
        if not found:
            raise RuntimeError(self.stop()[1])
        self.port = int(found[1])

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._end()

    def _end(self) -> None:
        self.process.wait(timeout=20)
        self._reader.join(timeout=5)
        self._said.close()
        self._complained.close()

    def _read_errors(self) -> None:
        for line in self._complained:
            if line.startswith('{"time"'):
                self.requests.append(json.loads(line))
            else:
                self.errors += line

    def ask(self, tenant: str = "acme") -> http.client.HTTPResponse:
        """Ask a question and return the stream of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", f"/t/{tenant}/api/chat", json.dumps({"question": QUESTION}), ASK)
        return connection.getresponse()

    def journal(self) -> list[dict[str, float]]:
        """Return what the fake model wrote down."""
        file = self.home / "journal"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def stop(self, kind: int = signal.SIGTERM) -> tuple[int, str]:
        """Stop it and return how it ended and what it said on standard error, besides a line for each request."""
        self.process.send_signal(kind)
        self._end()
        return self.process.wait(), self.errors


def main() -> None:
    """Serve HOME on a free port: its tenants, or a new one; further arguments are a text to write and a pause.

    In place of a text, `echo` has the model repeat the first evidence, with the pause before each word.
    """
    folder, *rest = sys.argv[1:]
    flags = {**FLAGS, "home": folder, "port": 0}
    settings: Settings = load_settings(flags, {})
    home = Home(settings)
    if not home.names():
        _make(home, "acme", "write" if rest else "quote")
    generator: Generator | None = None
    if rest and rest[0] == "echo":
        generator = EchoGenerator(delay=float(rest[1]))
    elif rest:
        generator = ScriptedGenerator(rest[0], float(rest[1]), Path(folder) / "journal")
    serve(settings, home, lambda: EMBEDDER, lambda _: generator, lambda lines: print("\n".join(lines), flush=True))


if __name__ == "__main__":
    main()
