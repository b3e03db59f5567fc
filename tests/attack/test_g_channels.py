"""What one tenant does cannot be read off another one: not in a page, a number, a limit, a cache, a log or the line."""

import asyncio
import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.models.vectors import Vector
from ruma.server import daily
from ruma.server.addresses import PublicAddress
from ruma.server.app import create_app
from ruma.server.limits import Limit
from ruma.server.request_log import RequestLog
from ruma.server.seats import Seats
from ruma.tenant.home import Home
from tests.attack.test_f_routes import HERE, ROUTES
from tests.fakes import EchoGenerator, HashEmbedder
from tests.harness.residue import make_canaries
from tests.serving import FLAGS, QUESTION, make_tenant, sign_in, with_key

A, B = "loud-shop", "quiet-shop"
"""The tenant that does all sorts of things, and the one that looks for traces of it."""

A_ASKED, A_TEXT, A_TITLE, A_PERSON = A_WORDS = make_canaries(4)
CHANGING = re.compile(r'<time datetime="[^"]*"[^>]*>[^<]*</time>|"seconds":\{[^}]*\}|\d\d:\d\d')
"""What is another text a moment later, whoever did something meanwhile."""

CHANGED_BY_LOOKING = ("/export", "/original", "/account/data", "/account/second-factor", "/openapi.json")
"""Looking there is noted, or shows a secret that is made for it, or takes half a second."""

PLACES = [
    re.sub(r"{\w+}", "1", path.replace("{name}", B))
    for method, path, _ in ROUTES
    if method == "GET" and path.startswith("/t/") and "{secret}" not in path and not path.endswith(CHANGED_BY_LOOKING)
]
"""Every address of B that can be looked at, with the number of the first of each thing."""

SOME = [8, pytest.param(1, marks=pytest.mark.nightly)]
"""Every how many of them are looked at."""

TURNS = itertools.count()
Client = TestClient[Litestar]


class CountingEmbedder(HashEmbedder):
    """Remembers what it read."""

    def __init__(self, dimension: int) -> None:
        """Begin with nothing."""
        super().__init__(dimension)
        self.read: list[str] = []

    def embed_question(self, text: str) -> Vector:
        """Remember a text and embed it."""
        self.read.append(text)
        return super().embed_question(text)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home of two tenants with the same documents, agent and members."""
    home = Home(load_settings({**FLAGS, "home": tmp_path_factory.mktemp("home")}, {}))
    make_tenant(home, A, mode="write")
    make_tenant(home, B, mode="write")
    return home


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """Return the lines of the request log."""
    return []


@pytest.fixture(scope="module")
def embedder() -> CountingEmbedder:
    """Return the embedder of the server."""
    return CountingEmbedder(dimension=256)


@pytest.fixture(scope="module")
def generator() -> EchoGenerator:
    """Return the language model of the server."""
    return EchoGenerator()


@pytest.fixture(scope="module")
def app(home: Home, embedder: CountingEmbedder, generator: EchoGenerator) -> Litestar:
    """Return the server."""
    return create_app(home, lambda: embedder, lambda _: generator)


@pytest.fixture(scope="module")
def client(app: Litestar, lines: list[str]) -> Iterator[Client]:
    """Return a client of the server, whose every request is logged."""
    served: Any = RequestLog(app, PublicAddress(), lines.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daily, "START_SECONDS", 3600.0)  # what it does each day would change what is seen
        with TestClient(served, base_url=HERE) as client:
            client.follow_redirects = False
            yield client


@pytest.fixture(scope="module")
def owners(home: Home) -> dict[str, dict[str, str]]:
    """Return the headers of an owner of each tenant."""
    found = {}
    for name in (A, B):
        with home.open(name) as tenant:
            found[name] = sign_in(tenant, email="owner@shop.example")
    return found


def ask(client: Client, name: str, question: str = QUESTION, **more: Any) -> dict[str, Any]:
    """Ask as a visitor, and return the answer."""
    response = client.post(f"/t/{name}/api/chat", json={"question": question, **more})
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def be_busy(client: Client, headers: dict[str, str]) -> dict[str, Any]:
    """Do a little of everything at A: ask, add, invite, export, erase; return what it was told."""
    turn = next(TURNS)
    told = [ask(client, A, f"What of {A_ASKED}{number}?") for number in range(3)]
    client.post(
        f"/t/{A}/api/conversation/person",
        json={"name": A_PERSON, "email": f"{A_PERSON}@x.example", "message": A_ASKED},
        headers={"X-Ruma-Conversation": told[0]["conversation"]},
    )
    for path, sent in (
        ("sources/texts", {"title": A_TITLE, "text": f"It is about {A_TEXT}. " * 50}),
        ("pairs", {"question": f"What is {A_TITLE} {turn}?", "answer": A_TEXT}),
        ("keys", {"name": A_PERSON, "scopes": ["read"]}),
        ("members/invitations", {"email": f"{A_PERSON}@shop.example", "role": "viewer"}),
        ("requests", {"kind": "access", "contact": f"{A_PERSON}@x.example"}),
        ("erasures/visitor", {"email": f"{A_PERSON}@x.example"}),
    ):
        answer = client.post(f"/t/{A}/api/{path}", json=sent, headers=headers)
        assert answer.status_code < 300, (path, answer.text)
    assert client.post(f"/t/{A}/api/exports", json={}, headers=headers).status_code in (200, 409)  # one at a time
    for path, sent in (
        ("agent/settings", {"name": A_TITLE, "accent": "#aa3300"}),
        ("profile", {"business_name": A_TITLE}),
    ):
        assert client.patch(f"/t/{A}/api/{path}", json=sent, headers=headers).status_code == 200, path
    return told[0]


@pytest.fixture(scope="module")
def told(client: Client, owners: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return the first answer of A's, after it did a little of everything."""
    return be_busy(client, owners[A])


def look(client: Client, headers: dict[str, str], every: int) -> dict[str, tuple[int, str, str]]:
    """Return status, mark and text of what an owner of B can look at."""
    found = {}
    for place in PLACES[::every]:
        answer = client.get(place, headers=headers)
        found[place] = (answer.status_code, answer.headers.get("etag", ""), CHANGING.sub("", answer.text))
    return found


@pytest.mark.parametrize("every", SOME)
def test_g52_nothing_of_b_changes_with_what_a_does(
    client: Client, home: Home, owners: dict[str, dict[str, str]], every: int
) -> None:
    """Every page, list, count and mark is the same after A did a bit of everything, and the next number is the next."""
    first = ask(client, B)["message_id"]
    look(client, owners[B], every)  # what is new is read now, and the policy written
    before = look(client, owners[B], every)

    be_busy(client, owners[A])

    assert look(client, owners[B], every) == before
    assert ask(client, B)["message_id"] == first + 2
    assert sum(status == 200 for status, _, _ in before.values()) > len(before) / 2
    text = json.dumps(before)
    assert not [word for word in (A, *A_WORDS) if word in text]


def test_g52_numbers_count_what_their_tenant_did(client: Client, owners: dict[str, dict[str, str]]) -> None:
    """Whatever both make in turn: B's numbers follow one upon the other, with some of A's of each kind in between."""
    made: dict[str, list[int]] = {}
    for turn in range(2):
        be_busy(client, owners[A])
        for path, sent in (
            ("sources/texts", {"title": f"Title {turn}", "text": "Something."}),
            ("keys", {"name": f"key {turn}", "scopes": ["read"]}),
            ("requests", {"kind": "access", "contact": "x@x.example"}),
            ("holds", {"reason": "A case", "conversation_id": 1}),
        ):
            answer = client.post(f"/t/{B}/api/{path}", json=sent, headers=owners[B])
            assert answer.status_code < 300, (path, answer.text)
            found = re.search(r'"id": ?(\d+)', answer.text)
            assert found, (path, answer.text)
            made.setdefault(path, []).append(int(found[1]))

    assert {path: last - first for path, (first, last) in made.items()} == dict.fromkeys(made, 1)


@pytest.mark.parametrize("every", SOME)
def test_g52_no_mark_of_a_s_content_tells_b_anything(
    client: Client, owners: dict[str, dict[str, str]], told: dict[str, Any], every: int
) -> None:
    """Asked with A's marks, hashes and a wildcard, B gives what it gives without; only public files have marks."""
    marks = [client.get(f"/t/{A}/{file}").headers["etag"] for file in ("look.css", "widget.js")]
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in (A_TEXT, "original", "delivery.md")]
    tried = ", ".join([marks[0], f"W/{marks[1]}", *(f'"{one}"' for one in hashes), "*"])
    asked = {"If-None-Match": tried, "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT", "Range": "bytes=0-9"}

    plain = look(client, owners[B], every)
    conditional = look(client, {**owners[B], **asked}, every)

    assert conditional == plain
    assert {place.rpartition("/")[2] for place, (_, mark, _) in plain.items() if mark} <= {"look.css", "widget.js"}
    for file in ("look.css", "widget.js"):
        assert client.get(f"/t/{B}/{file}", headers={"If-None-Match": marks[0]}).status_code == 200
    own = client.get(f"/t/{B}/look.css").headers["etag"]
    assert own != marks[0]
    assert client.get(f"/t/{B}/look.css", headers={"If-None-Match": own}).status_code == 304


def test_g52_what_a_has_is_taken_from_b_like_anything_else(
    client: Client, owners: dict[str, dict[str, str]], told: dict[str, Any]
) -> None:
    """A text that A added already, and one that nobody has, are taken and answered alike."""
    texts = [f"It is about {A_TEXT}. " * 50, f"It is about {make_canaries(1)[0]}. " * 50]

    answers = []
    for text in texts:
        sent = {"title": A_TITLE, "text": text}
        answer = client.post(f"/t/{B}/api/sources/texts", json=sent, headers=owners[B])
        answers.append((answer.status_code, re.sub(r"\d+", "", answer.text)))

    assert answers[0] == answers[1]
    assert answers[0][0] < 300


def test_g52_a_question_of_a_is_no_shortcut_for_b(
    client: Client, embedder: CountingEmbedder, generator: EchoGenerator
) -> None:
    """What A asked is embedded, searched and written anew for B, from B's texts alone, as what nobody asked is."""
    work = []
    for asked_before, question in ((False, f"{QUESTION} Please!"), (True, f"Please: {QUESTION}")):
        if asked_before:
            for _ in range(2):
                ask(client, A, question)
        embedder.read.clear()
        written = len(generator.asked)
        answer = ask(client, B, question)
        read = sum("please" in text.lower() for text in list(embedder.read))
        work.append((read, len(generator.asked) - written, answer["text"], len(answer["citations"])))
        assert all(tag == generator.asked[-1][0] for tag, _ in generator.asked[written:])

    assert work[0] == work[1]
    assert work[0][0] > 0
    assert work[0][1] == 1
    assert len({tag for tag, _ in generator.asked}) == 2, "the model is not told the tenants apart"


def test_g52_a_s_allowances_are_its_own(client: Client, app: Litestar, monkeypatch: pytest.MonkeyPatch) -> None:
    """A's questions a minute are used up, and its doors guessed at until they make wait: B has all of its own left."""
    monkeypatch.setattr(app.state.limits, "_by_tenant", Limit(4))

    def guess(name: str, *, door: bool) -> int:
        if door:
            form = {"email": "owner@shop.example", "password": "a wrong one 12345"}
            return client.post(f"/t/{name}/sign-in", data=form, headers={"Accept": "text/html"}).status_code
        return client.get(f"/t/{name}/api/documents", headers={"Authorization": "Bearer ruma_x"}).status_code

    asked = {
        name: [client.post(f"/t/{name}/api/chat", json={"question": QUESTION}).status_code for _ in range(6)]
        for name in (A, B)
    }
    guesses = [[guess(A, door=door) for _ in range(count)][-1] for door, count in ((True, 7), (False, 22))]
    of_b = [guess(B, door=door) for door in (True, False)]

    assert asked == dict.fromkeys((A, B), [200] * 4 + [429] * 2)
    assert guesses == [429, 429]
    assert of_b == [401, 401]


@pytest.mark.parametrize("count", [1, 7, 300])
def test_g52_how_much_a_asks_moves_b_by_one_place(count: int) -> None:
    """Whether one or hundreds of A's wait: B is told the same place, and served second at the latest."""

    async def run() -> tuple[int, list[str]]:
        seats, order = Seats(1, most_waiting=1000, most_of_one=400), list[str]()

        async def take(name: str) -> None:
            await seats.take(name)
            order.append(name)

        await seats.take(A)
        tasks = [asyncio.create_task(take(A)) for _ in range(count)]
        await asyncio.sleep(0)
        place = seats.place_of(B)
        seats.check_room(B)
        tasks.append(asyncio.create_task(take(B)))
        for _ in range(2):
            await asyncio.sleep(0)
            seats.release()
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return place, order

    place, order = asyncio.run(run())
    assert place == 2
    assert order == [A, B]


def test_g52_neither_lines_nor_refusals_of_b_speak_of_a(
    client: Client, home: Home, owners: dict[str, dict[str, str]], lines: list[str], told: dict[str, Any]
) -> None:
    """With A's secrets, and with none that exists, B refuses in the same words; and its lines name B alone."""
    with home.open(A) as tenant:
        key, cookie = with_key(tenant, "read", "chat")["Authorization"], owners[A]["Cookie"].replace(A, B)
    lines.clear()
    refused = []
    for name, theirs, nobodys in (
        ("Authorization", key, key[:-4] + "zzzz"),
        ("Cookie", cookie, cookie[:-4] + "zzzz"),
        ("X-Ruma-Conversation", told["conversation"], told["conversation"][:-4] + "zzzz"),
    ):
        for path in (
            "api/documents",
            "api/conversation",
            "v1/models",
            "people",
            f"documents/{A_TITLE}",
            "api/exports/9",
        ):
            answers = [client.get(f"/t/{B}/{path}", headers={name: one}) for one in (theirs, nobodys)]
            shown = [(one.status_code, one.text, sorted(one.headers.items())) for one in answers]
            assert shown[0] == shown[1], path
            refused.append(answers[0])

    assert {answer.status_code for answer in refused} >= {401, 404}
    assert not any(answer.is_success for answer in refused)
    text = "".join(answer.text for answer in refused) + "".join(lines)
    assert not [word for word in (A, *A_WORDS, key, told["conversation"]) if word in text]
    assert {json.loads(line)["tenant"] for line in lines} <= {B, ""}
    assert len(lines) == 2 * len(refused)
