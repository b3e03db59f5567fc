"""Many chats at once, most of them one tenant's: all get their own words, and none waits for all of them."""

import http.client
import json
import statistics
import threading
from pathlib import Path

import pytest

from ruma.config import load_settings
from ruma.tenant.home import Home
from tests.serving import FLAGS, Running, make_tenant, store

BUSY = "t0"
SIZES = [(8, 60, 3), pytest.param(20, 150, 3, marks=pytest.mark.nightly)]
"""How many tenants, and how many chats at once of the busy one and of each other: 81 in every run, 207 at night."""


def ask(port: int, tenant: str, word: str) -> tuple[int, str]:
    """Return the status and the text of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    sent = json.dumps({"question": f"What is the {word} of this shop?"})
    connection.request("POST", f"/t/{tenant}/api/chat", sent, {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body.get("text", "")


@pytest.mark.parametrize(("tenants", "of_busy", "of_others"), SIZES)
def test_j68_a_busy_tenant_delays_itself(tmp_path: Path, tenants: int, of_busy: int, of_others: int) -> None:
    """Each answer carries its own tenant's word, none fails, and the quiet tenants are mostly served before it."""
    home = Home(load_settings({**FLAGS, "home": tmp_path}, {}))
    words = {f"t{number}": f"canary{number}" for number in range(tenants)}
    for name, word in words.items():
        make_tenant(home, name)
        with home.open(name) as tenant:
            store(tenant, "word.md", "Word", [("", None, [f"The {word} of this shop is {word * 2}."])])
    found: list[tuple[str, int, str]] = []
    with Running(tmp_path) as server:
        for name in words:
            ask(server.port, name, words[name])
        names = [BUSY] * of_busy + [name for name in words if name != BUSY] * of_others
        threads = [
            threading.Thread(target=lambda name=name: found.append((name, *ask(server.port, name, words[name]))))
            for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(found) == len(names)
    for name, status, text in found:
        assert status == 200
        assert words[name] * 2 in text
        assert not any(word * 2 in text for other, word in words.items() if other != name)
    order = [name == BUSY for name, *_ in found]
    quiet = statistics.median(place for place, is_busy in enumerate(order) if not is_busy)
    assert quiet < statistics.median(place for place, is_busy in enumerate(order) if is_busy)
