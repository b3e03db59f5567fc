"""What the server says of its work, on every route, also where it breaks: no secret, and no word of anybody's."""

import http.client
import json
import re
from pathlib import Path

import pytest

from ruma.config import load_settings
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.home import Home
from ruma.tenant.people.joining import invite, make_reset_link, make_setup_link
from tests.attack.test_f_routes import ROUTES
from tests.harness.residue import Needles, make_canaries
from tests.serving import FLAGS, Running, make_tenant, sign_in, with_key

WORDS = ("password", "question", "answer", "document", "name", "query", "browser", "website", "visitor secret")
ADDRESS = "127.77.133.201"
"""Where the requests come from; the log has the network, and never this."""


class Caller:
    """Sends a request to every route, with a mark in each place where a secret or somebody's words go."""

    def __init__(self, home: Home) -> None:
        """Make a tenant with all the secrets there are."""
        self.marks = dict(zip(WORDS, make_canaries(len(WORDS)), strict=True))
        make_tenant(home)
        with home.open("acme") as tenant:
            self.links = {
                "setup": make_setup_link(tenant),
                "invitation": invite(tenant, email="x@y.example", role="viewer"),
            }
            owner, key = sign_in(tenant), with_key(tenant, "chat", "read", "write", "conversations", "manage")
            self.links["reset"] = make_reset_link(tenant, "owner@acme.example")
            chat = begin_conversation()
            add_exchange(tenant, chat, "Hello?", "Yes.", mode="quote", is_declined=False, citations=[])
            self.marks |= self.links
            self.marks |= {"cookie": owner["Cookie"].partition("=")[2], "CSRF token": owner["X-Ruma-CSRF"]}
            self.marks |= {
                "API key": key["Authorization"].partition(" ")[2],
                "conversation": chat.secret,
                "address": ADDRESS,
            }
        told = {"X-Ruma-Conversation": chat.secret, "X-Ruma-Visitor": self.marks["visitor secret"]}
        told |= {"User-Agent": self.marks["browser"], "Referer": f"http://x.example/{self.marks['website']}"}
        self.callers = [owner | told, key | told, told]

    def call(self, port: int, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """Send a request to a route, and return the status and the body."""
        kind = path.split("/")[3] if "{secret}" in path else ""
        filled = path.replace("{name}", "acme").replace("{secret}", self.links.get(kind, ""))
        filled = re.sub(r"{\w+}", "1", filled)
        sent = {name: word for name, word in self.marks.items() if name in WORDS}
        sent |= {
            "email": f"{self.marks['name']}@x.example",
            "text": self.marks["document"],
            "secret": self.links["reset"],
        }
        body = json.dumps(sent) if method in ("POST", "PUT", "PATCH") else None
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(ADDRESS, 0))
        try:
            kind_of = {"Content-Type": "application/json"} if body else {}
            connection.request(method, f"{filled}?text={self.marks['query']}", body, headers | kind_of)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()


@pytest.mark.parametrize("level", ["debug", pytest.param("default", marks=pytest.mark.nightly)])
def test_k70_a_mistake_behind_any_route_is_told_without_what_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """Every route of a running server fails with all that came in its message: nobody is told, and no line has it.

    Password, cookie, CSRF token, API key, links to set up, join and reset, visitors' secrets, question, answer and
    document, browser and address: in nothing on either stream, and in no file. The same words, planted, are found.
    """
    if level == "debug":
        monkeypatch.setenv("TALKATIVE", "1")
    home = Home(load_settings({**FLAGS, "home": tmp_path / "home"}, {}))
    caller = Caller(home)
    failed, bodies = 0, []
    with Running(home.settings.home, module="tests.harness.failing") as server:
        for method, path, policy in ROUTES:
            for headers in caller.callers[:1] if policy.role else caller.callers[1:]:
                status, body = caller.call(server.port, method, path, headers)
                failed += status == 500
                bodies.append(body)
        _, errors = server.stop()
    said = "\n".join([*server.banner, errors, *map(json.dumps, server.requests)])
    needles = Needles(caller.marks.values())

    assert failed > 180
    assert said.count("RuntimeError") >= failed
    assert len(server.requests) >= len(ROUTES)
    assert needles.find([("log", said.encode()), ("answers", "\n".join(bodies).encode())]) == {}
    files = [(file.name, file.read_bytes()) for file in home.settings.home.rglob("*") if file.is_file()]
    assert needles.find(files) == {}
    planted = f"{said} {' '.join(caller.marks.values())}".encode()
    assert needles.find([("log", planted)]).keys() == set(caller.marks.values())
