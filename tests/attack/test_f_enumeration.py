"""Nobody outside learns who is a member, who has a conversation or which link there was: not by a word, not by time."""

import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.server.app import create_app
from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.conversing.inbox import ask_for_person
from ruma.tenant.home import Home
from ruma.tenant.people import attempts
from ruma.tenant.people.joining import accept_invitation, invite, make_reset_link, make_setup_link, set_up_owner
from ruma.tenant.people.links import withdraw_invitation
from ruma.tenant.people.members import change_member, change_password, create_member, find_member, remove_member
from tests.attack.test_f_guesses import Clock
from tests.serving import EMBEDDER, FLAGS, make_tenant

PASSWORD, OTHER = "harbour violin ticket 83", "lantern gravel opera 51"
MEMBER, DISABLED, VISITOR, NOBODY = (f"{name}@example.com" for name in ("member", "off_on", "talker", "nobody"))
"""All of one length."""

PAGE = {"Accept": "text/html"}
SAMPLES = 400
Client = TestClient[Litestar]
Ask = Callable[[Client, str], Any]


@dataclass
class Timed:
    """An application around the server that notes what a response took until its last byte."""

    app: Litestar
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        begun = time.perf_counter(), time.process_time()

        async def send_noted(message: Any) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.processor.append(time.process_time() - begun[1])
                self.seconds.append(time.perf_counter() - begun[0])

        await self.app({**scope, "client": ("203.0.113.9", 4711)}, receive, send_noted)


@pytest.fixture(scope="module")
def links() -> dict[str, list[str]]:
    """Return secrets of links that were real once, by their kind, and one that never was."""
    return {}


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory, links: dict[str, list[str]]) -> Timed:
    """Return a server that could send mail, with a member, one who is disabled, and a visitor."""
    mail = {"smtp_host": "127.0.0.1", "smtp_port": "9", "mail_from": "shop@example.com", "smtp_security": "none"}
    home = Home(load_settings({**FLAGS, **mail, "home": tmp_path_factory.mktemp("home")}, {}))
    make_tenant(home)
    with home.open("acme") as tenant:
        first = make_setup_link(tenant)
        set_up_owner(tenant, first, email="owner@example.com", name="Olive", password=PASSWORD)
        for email in (MEMBER, DISABLED, "gone@example.com"):
            create_member(tenant, email=email, name="One", role="viewer", password=PASSWORD)
        links["reset"] = [make_reset_link(tenant, "gone@example.com"), make_reset_link(tenant, MEMBER)]
        links["reset"].append("x" * 43)
        make_reset_link(tenant, MEMBER)  # the one before ends with it
        change_member(tenant, find_member(tenant, DISABLED).id, is_disabled=True)
        remove_member(tenant, find_member(tenant, "gone@example.com").id)
        accepted = invite(tenant, email="new@example.com", role="viewer")
        accept_invitation(tenant, accepted, name="New", password=PASSWORD)
        withdrawn = invite(tenant, email="other@example.com", role="viewer")
        withdraw_invitation(tenant, "other@example.com")
        links["invitation"] = [accepted, withdrawn, "x" * 43]
        links["setup"] = [first, "x" * 43]
        chat = begin_conversation()
        add_exchange(tenant, chat, "Hello?", "Yes.", mode="quote", is_declined=False, citations=[])
        ask_for_person(tenant, chat, name="One", email=VISITOR, message="Please call.")
    return Timed(create_app(home, lambda: EMBEDDER, lambda _: None))


@pytest.fixture(scope="module")
def client(timed: Timed) -> Iterator[Client]:
    """Return a client of the server; no mail leaves it."""
    served: Any = timed
    with TestClient(served, base_url="http://127.0.0.1:8420") as client:
        client.follow_redirects = False
        timed.app.state.resources.outbox.post = lambda *_: None
        yield client


@pytest.fixture
def clock(client: Client, timed: Timed, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock by which tries wait, of which there were none yet."""
    clock, tenant = Clock(), timed.app.state.resources.tenant("acme")
    monkeypatch.setattr(attempts, "time", clock)
    with tenant.writing() as db:
        db.execute("delete from attempt")
    tenant.attempts = None
    return clock


def sign_in(client: Client, email: str, password: str = OTHER) -> Any:
    """Try to sign in."""
    return client.post("/t/acme/sign-in", data={"email": email, "password": password}, headers=PAGE)


def ask_reset(client: Client, email: str) -> Any:
    """Ask for a link to a new password."""
    return client.post("/t/acme/reset", data={"email": email}, headers=PAGE)


def ask_visitor_link(client: Client, email: str) -> Any:
    """Ask for a link to what is stored of a visitor."""
    return client.post("/t/acme/api/visitor/link", json={"email": email})


def open_link(kind: str) -> Ask:
    """Return what opens a link of a kind."""
    return lambda client, secret: client.get(f"/t/acme/{kind}/{secret}", headers=PAGE)


def use_link(kind: str) -> Ask:
    """Return what uses a link of a kind."""
    form = {"name": "Somebody", "email": "somebody@example.com", "password": OTHER}
    return lambda client, secret: client.post(f"/t/acme/{kind}/{secret}", data=form, headers=PAGE)


ASKED: dict[str, tuple[Ask, tuple[str, ...]]] = {
    "sign-in": (sign_in, (MEMBER, DISABLED, NOBODY)),
    "sign-in with the right password of a disabled one": (
        lambda client, email: sign_in(client, email, PASSWORD),
        (DISABLED, NOBODY),
    ),
    "reset": (ask_reset, (MEMBER, DISABLED, NOBODY)),
    "visitor's link": (ask_visitor_link, (VISITOR, NOBODY)),
}


def shown(answer: Any, asked: str) -> tuple[int, str, list[tuple[str, str]], dict[str, str]]:
    """Return all that is told: status, words, headers and cookies, without what was sent and the date."""
    told = re.sub(re.escape(asked), "X", answer.text)
    headers = sorted((name, value) for name, value in answer.headers.multi_items() if name != "date")
    return answer.status_code, told, headers, dict(answer.cookies)


@pytest.mark.parametrize("name", ASKED)
def test_f48_who_is_there_and_who_is_not_is_told_alike(client: Client, clock: Clock, name: str) -> None:
    """Status, words, headers and cookies are the same for a member, a disabled one, a visitor and nobody."""
    ask, addresses = ASKED[name]
    told = []
    for address in addresses:
        clock.seconds += 3600
        told.append(shown(ask(client, address), address))

    assert told[0][0] in (200, 401)
    assert all(one == told[0] for one in told)


@pytest.mark.parametrize("kind", ["setup", "invitation", "reset"])
def test_f48_a_link_that_was_is_told_like_one_that_never_was(
    client: Client, clock: Clock, links: dict[str, list[str]], kind: str
) -> None:
    """Used, withdrawn, replaced, its member removed, or made up: opened and used, all are answered alike."""
    for use in (open_link(kind), use_link(kind)):
        told = []
        for secret in links[kind]:
            clock.seconds += 3600
            told.append(shown(use(client, secret), secret))
        assert told[0][0] == 404
        assert all(one == told[0] for one in told)


TIMED: dict[str, Callable[[dict[str, list[str]]], tuple[Ask, str, str]]] = {
    "sign-in": lambda links: (sign_in, MEMBER, NOBODY),
    "sign-in of a disabled member": lambda links: (sign_in, DISABLED, NOBODY),
    "the right password of a disabled member": lambda links: (
        lambda client, email: sign_in(client, email, PASSWORD),
        DISABLED,
        NOBODY,
    ),
    "reset": lambda links: (ask_reset, MEMBER, NOBODY),
    "visitor's link": lambda links: (ask_visitor_link, VISITOR, NOBODY),
    "invitation": lambda links: (open_link("invitation"), links["invitation"][1], links["invitation"][-1]),
    "reset link": lambda links: (open_link("reset"), links["reset"][1], links["reset"][-1]),
}


@pytest.mark.nightly
@pytest.mark.usefixtures("real_passwords")
@pytest.mark.parametrize("name", TIMED)
def test_f48_no_time_tells_who_is_there(
    client: Client, timed: Timed, clock: Clock, links: dict[str, list[str]], name: str
) -> None:
    """400 answers for who is there and 400 for nobody, in random order: no difference by Mann and Whitney's test.

    Processor time and the clock on the wall, both up to the last byte of the response. The first is the finer one:
    whatever else the machine does is not in it, so a few microseconds would show. The second has what the first
    leaves out, waiting for the disk, and stays sound on a busy machine: as the order is random, what disturbs it
    disturbs both alike, and makes the test blunter but never wrong. By chance p is under 0.01 once in a hundred
    times, so what is found is measured once more before it counts.
    """
    from scipy.stats import mannwhitneyu  # half a second, and not of an ordinary run

    ask, there, nobody = TIMED[name](links)

    def compare() -> dict[str, float]:
        order = [there, nobody] * SAMPLES
        random.Random(time.time_ns()).shuffle(order)
        timed.seconds.clear()
        timed.processor.clear()
        for asked in order:
            clock.seconds += 120
            assert ask(client, asked).status_code in (200, 401, 404)
        found = {}
        for measure, values in (("processor", timed.processor), ("wall", timed.seconds)):
            taken = {who: [value for asked, value in zip(order, values, strict=True) if asked == who] for who in order}
            found[measure] = float(mannwhitneyu(taken[there], taken[nobody]).pvalue)
        print(name, found)
        return found

    tenant = timed.app.state.resources.tenant("acme")
    for email in (MEMBER, DISABLED):  # their hashes are quick ones until now
        change_password(tenant, find_member(tenant, email).id, PASSWORD)
    for asked in (there, nobody):
        ask(client, asked)
    if min(compare().values()) <= 0.01:
        assert min(compare().values()) > 0.01
