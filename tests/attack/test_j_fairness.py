"""Many chats at once, most of them one tenant's: all get their own words, and none waits for all of them."""

import http.client
import json
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ruma.config import load_settings
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents
from ruma.tenant.knowledge.uploads import count_uploads
from tests.parsing import draw_lines, make_pdf
from tests.serving import FLAGS, Running, make_tenant, store, with_key

BUSY = "t0"
TENANTS = [5, pytest.param(20, marks=pytest.mark.nightly)]
SIZES = {5: (60, 32, 2), 20: (150, 150, 3)}
"""How many chats at once of the busy one, quoted and written, and of each other, by the tenants.

60 and 8 in every run, 150 and 57 at night: so that a line forms, there must be more than a quick server answers before
all have come.
"""

WORD_SECONDS = "0.1"
IN_LINE = 58
"""So many of one tenant's fit in: 8 that are written, and 50 that wait."""

PAGES = [(5, 40), pytest.param(5, 1000, marks=pytest.mark.nightly)]


@dataclass(frozen=True)
class Answer:
    """What a question got, and after how many seconds."""

    tenant: str
    status: int
    text: str
    retry_after: int
    seconds: float


def ask(port: int, tenant: str, word: str, mode: str) -> Answer:
    """Ask for what only this tenant's document says."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = json.dumps({"question": f"What is the {word} of this shop?", "mode": mode})
    connection.request("POST", f"/t/{tenant}/api/chat", sent, {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    text = body.get("text") or body["error"]["message"]
    wait = int(response.headers.get("Retry-After", 0))
    return Answer(tenant, response.status, text, wait, time.monotonic() - begun)


@dataclass(frozen=True)
class Street:
    """A server of several shops, each with a word of its own, whose model takes the same time for each answer."""

    server: Running
    home: Home
    words: dict[str, str]

    def ask(self, tenant: str, mode: str = "write") -> Answer:
        """Ask a shop for its word."""
        return ask(self.server.port, tenant, self.words[tenant], mode)

    @property
    def others(self) -> list[str]:
        """All shops but the busy one."""
        return [name for name in self.words if name != BUSY]


@pytest.fixture(scope="module")
def street(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Return a server of so many shops."""
    folder = tmp_path_factory.mktemp("street")
    home = Home(load_settings({**FLAGS, "home": folder}, {}))
    words = {f"t{number}": f"canary{number}" for number in range(request.param)}
    for name, word in words.items():
        make_tenant(home, name, mode="write")
        with home.open(name) as tenant:
            store(tenant, "word.md", "Word", [("", None, [f"The {word} of this shop is {word * 2}."])])
    with Running(folder, "echo", WORD_SECONDS) as server:
        made = Street(server, home, words)
        for name in words:
            made.ask(name, "quote")
        yield made


def at_once(calls: Iterable[Callable[[], object]]) -> None:
    """Do all of them in threads, and wait."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def check_words(found: list[Answer], words: dict[str, str]) -> None:
    """Check that every answer carries its own tenant's word, and no other's."""
    for answer in found:
        assert answer.status == 200
        told = set(re.findall(r"canary\d+(?=canary)", answer.text))
        assert told == {words[answer.tenant]}, answer


def p95(found: list[Answer]) -> float:
    """Return how long all but the slowest twentieth took at most."""
    return sorted(answer.seconds for answer in found)[int(len(found) * 0.95) - 1]


@pytest.mark.parametrize("street", TENANTS, indirect=True)
def test_j68_a_busy_tenant_delays_itself(street: Street) -> None:
    """All at once: each answer carries its own tenant's word, none fails, and the others are mostly served first.

    With so many others that they fill the line by themselves, 19 of 20 of them wait at most three times as long as
    when they ask at once without the busy one.
    """
    of_busy, _, of_others = SIZES[len(street.words)]
    without, found = list[Answer](), list[Answer]()
    others = street.others * of_others
    if len(others) > IN_LINE / 2:
        at_once([lambda name=name: without.append(street.ask(name, "quote")) for name in others])
    names = [BUSY] * of_busy + others
    at_once([lambda name=name: found.append(street.ask(name, "quote")) for name in names])

    assert len(found) == len(names)
    check_words([*without, *found], street.words)
    order = [answer.tenant == BUSY for answer in found]
    quiet = statistics.median(place for place, is_busy in enumerate(order) if not is_busy)
    assert quiet < statistics.median(place for place, is_busy in enumerate(order) if is_busy)
    assert not without or p95([one for one in found if one.tenant != BUSY]) <= 3 * p95(without)


@pytest.mark.parametrize("street", TENANTS, indirect=True)
def test_j68_a_long_line_of_one_is_hardly_seen_by_the_others(street: Street) -> None:
    """While one tenant's questions fill the model's line, 19 of 20 of the others' take at most 3 times their solo time.

    The others come three at a time for as long as the line is there. Who of the busy one's does not fit in is told how
    many come first, and comes again until there is room.
    """
    _, of_busy, of_others = SIZES[len(street.words)]
    others = street.others * of_others
    of_line, refused, found = list[Answer](), list[Answer](), list[Answer]()

    def insist() -> None:
        while (answer := street.ask(BUSY)).status == 429:
            refused.append(answer)
            time.sleep(0.5)
        of_line.append(answer)

    solo = [street.ask(name) for name in others[:2]]
    flood = threading.Thread(target=at_once, args=[[insist] * of_busy])
    flood.start()
    while not of_line:
        time.sleep(0.01)
    for at in range(0, len(others), 3):
        if not flood.is_alive():
            break
        at_once([lambda name=name: found.append(street.ask(name)) for name in others[at : at + 3]])
    flood.join()

    assert len(found) >= len(others) / 2, "the line was too short: this proves nothing"
    check_words([*solo, *of_line, *found], street.words)
    assert len(of_line) == of_busy
    assert p95(found) <= 3 * statistics.median(answer.seconds for answer in solo), (p95(found), solo)
    assert bool(refused) == (of_busy > IN_LINE)
    for answer in refused:
        place = re.search(r"is busy: (\d+) questions would be answered before", answer.text)
        assert place
        assert int(place[1]) > 50
        assert (answer.status, answer.retry_after) == (429, 10)


def send_pdf(port: int, pages: int, headers: dict[str, str]) -> None:
    """Hand a long document over to the busy tenant."""

    def draw(canvas: Any) -> None:
        for number in range(pages):
            draw_lines(canvas, [f"Line {line} of page {number} is about rye and the weather." for line in range(30)])
            canvas.showPage()

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("PUT", f"/t/{BUSY}/api/sources/uploads?name=long.pdf", make_pdf(draw), headers)
    assert connection.getresponse().status < 300
    connection.close()


@pytest.mark.parametrize(("street", "pages"), PAGES, indirect=["street"])
def test_j68_reading_a_long_document_gives_way_to_chats(street: Street, pages: int) -> None:
    """While a document is read, 19 of 20 of another tenant's chats take at most 3 times solo; then it is there."""
    found = list[Answer]()
    solo = [street.ask("t1") for _ in range(3)]
    with street.home.open(BUSY) as busy:
        send_pdf(street.server.port, pages, with_key(busy, "write"))
        while count_uploads(busy)["waiting"] + count_uploads(busy)["reading"]:
            found.append(street.ask("t1"))

        assert "long.pdf" in [one.name for one in list_documents(busy)]

    check_words(found, street.words)
    assert len(found) >= min(pages / 50, 10)
    assert p95(found) <= 3 * statistics.median(answer.seconds for answer in solo), (p95(found), solo)
