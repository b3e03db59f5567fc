"""A clock that jumps under a running server and under commands: nothing comes to life again, and nothing lives on."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import pytest

from ruma.config import Settings, write_setting
from ruma.tenant.conversing.conversations import (
    add_exchange,
    begin_conversation,
    read_conversation,
    resume_conversation,
)
from ruma.tenant.conversing.inbox import ask_for_person
from ruma.tenant.conversing.visitor_links import make_visitor_link
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents
from ruma.tenant.people.links import make_link
from ruma.tenant.people.members import create_member
from tests.backing import make_backed_up
from tests.harness.clock import SetClock
from tests.harness.oracle import check_tenant
from tests.harness.process import ruma
from tests.harness.serving import Answer, Server
from tests.running import run
from tests.serving import PASSWORD, make_tenant

DAY = 86400
JUMPS = {
    "back by two hours": -2 * 3600,
    "ahead by 400 days": 400 * DAY,
    "to 1970": 60 - time.time(),
    "to 2038": datetime(2038, 1, 20, tzinfo=UTC).timestamp() - time.time(),
}
EMAIL, VISITOR = "ada@example.com", "jo@example.com"
FORM = {"Content_Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


class ClockedServer(Server):
    """A server whose clock a test sets, and what its visitors and members do."""

    def __init__(self, folder: Path) -> None:
        """Compile the clock, and take a folder for all of it."""
        super().__init__(folder)
        self.clock = SetClock(folder)
        self.networks = 0

    def environ(self) -> dict[str, str]:
        """Return the environment of a process under that clock."""
        return {**super().environ(), **self.clock.environ}

    def sign_in(self) -> str:
        """Sign in at the door, and return the cookie."""
        form = urlencode({"email": EMAIL, "password": PASSWORD})
        answer = self.send("POST", "/t/acme/sign-in", form, source="127.0.0.2", **FORM)
        assert answer.status == 303, answer.body
        (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
        return f"{cookie.key}={cookie.value}"

    def is_in(self, cookie: str) -> bool:
        """Tell whether somebody with this cookie sees the members' pages."""
        return self.send("GET", "/t/acme/overview", Cookie=cookie, Accept="text/html").status == 200

    def try_reset(self, secret: str) -> int:
        """Open a link to a new password, and return the status."""
        return self.send("GET", f"/t/acme/reset/{secret}", source="127.0.0.3", Accept="text/html").status

    def try_visitor_link(self, secret: str) -> int:
        """Open the link of a visitor's mail, and return the status."""
        return self.send("POST", "/t/acme/api/visitor/link/opening", {"secret": secret}, source="127.0.0.4").status

    def ask(self, question: str, *, source: str = "", conversation: str | None = None) -> Answer:
        """Ask a question; from a network that has not asked before, where none is said."""
        self.networks += not source
        source = source or f"127.1.{self.networks}.1"
        body = {"question": question, **({"conversation": conversation} if conversation else {})}
        return self.send("POST", "/t/acme/api/chat", body, source=source)

    def is_limited_through(self, clock: float) -> bool:
        """Ask until that is too much, set the clock, and tell whether it is still too much."""
        while self.ask("zebra", source="127.0.0.5").status == 200:
            pass
        self.clock.move(clock)
        return self.ask("zebra", source="127.0.0.5").status == 429


@pytest.fixture
def server(tmp_path: Path) -> ClockedServer:
    """Return a server that is not started, with a tenant that has a document, a member and a visitor."""
    server = ClockedServer(tmp_path)
    home = Home(Settings(home=server.home, key_source="machine"))
    make_tenant(home)
    write_setting(server.home, "visitor_questions", "6")
    with home.open("acme") as tenant:
        create_member(tenant, email=EMAIL, name="Ada", role="owner", password=PASSWORD)
        chat = begin_conversation("page")
        add_exchange(tenant, chat, "Hm?", "No.", mode="write", is_declined=False, citations=[])
        ask_for_person(tenant, chat, name="Jo", email=VISITOR, message="Hm.")
    # As each server does soon after it starts: from then on no date alone makes anything old.
    assert run("retention", "--home", server.home).exit_code == 0
    return server


@pytest.mark.parametrize(
    "jumps", [["ahead by 400 days"], pytest.param(list(JUMPS), marks=pytest.mark.nightly, id="all")]
)
def test_a10_a_clock_that_jumps_under_a_server(server: ClockedServer, jumps: Sequence[str]) -> None:
    """What was over while the clock was wrong stays over, and what was begun then is void; who had to wait waits."""
    home = Home(Settings(home=server.home))
    server.start()
    try:
        conversation = server.ask("zebra 0").json()["conversation"]
        asked = ["zebra 0"]
        for jump in jumps:
            with home.open("acme") as tenant:
                reset = make_link(tenant, "reset", member_id=1)
                unseen = make_link(tenant, "second-step", member_id=1)
                link = make_visitor_link(tenant, VISITOR)
            assert link
            before = server.sign_in()
            assert server.is_in(before), jump

            assert server.is_limited_through(JUMPS[jump]), jump
            assert not server.is_in(before), jump
            assert (server.try_reset(reset), server.try_visitor_link(link.secret)) == (404, 404), jump
            meanwhile = server.sign_in()
            assert server.is_in(meanwhile), jump
            asked.append(f"zebra {jump}")
            assert server.ask(asked[-1], conversation=conversation).status == 200, jump

            assert server.is_limited_through(0), jump
            assert not server.is_in(before), f"resurrected: {jump}"
            assert not server.is_in(meanwhile), f"immortal: {jump}"
            assert (server.try_reset(reset), server.try_visitor_link(link.secret)) == (404, 404), jump
            assert server.ask("zebra").status == 200, jump
            assert unseen
        assert server.is_in(server.sign_in())
        assert "Traceback" not in server.log.read_text()
    finally:
        server.stop()

    with home.open("acme") as tenant:
        number = resume_conversation(tenant, conversation).id or 0
        said = [one.text for one in read_conversation(tenant, number).messages if one.role == "visitor"]
    assert said == asked


@pytest.mark.nightly
def test_a10_a_clock_that_jumps_between_commands(tmp_path: Path) -> None:
    """Documents and backups are in the order in which they were made, whatever the clock said."""
    made, clock = make_backed_up(tmp_path, documents=1, conversations=1), SetClock(tmp_path)
    folder, secret = tmp_path / "documents", tmp_path / "secret"
    folder.mkdir()
    secret.write_text(made.secret.recovery_text())
    secret.chmod(0o600)

    def command(*words: object) -> str:
        done = ruma(*words, home=made.settings.home, timeout=100, **clock.environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for number, jump in enumerate([0, *JUMPS.values(), 0]):
        clock.move(jump)
        (folder / "changing.md").write_text(f"It is version{number} now.\n")
        (folder / f"new{number}.md").write_text(f"This is new{number}.\n")
        command("ingest", folder)
        command("backup", "make", made.folder)
        with made.home.open("acme") as tenant:
            documents = list_documents(tenant)
        assert {f"new{one}.md" for one in range(number + 1)} <= {one.name for one in documents}
        added = [one.name for one in sorted(documents, key=lambda one: one.id) if one.name.startswith("new")]
        assert added == [f"new{one}.md" for one in range(number + 1)]
    names = [one.name for one in made.reading().snapshots()]
    command("restore", made.folder, "--as", "again", "--secret-file", secret)

    assert names == sorted(names)
    assert [int(name[:6]) for name in names] == list(range(1, len(names) + 1))
    assert "version5" in command("search", "version5", "-t", "again", "--json")
    assert check_tenant(made.settings.home, "again") == check_tenant(made.settings.home, "acme")
