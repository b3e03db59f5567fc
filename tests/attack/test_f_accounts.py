"""Sign-in under attack, against a whole server: planted sessions, revoked rights, guesses, and stolen links."""

import http.client
import json
import re
import socket
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from ruma.config import load_settings
from ruma.tenant.agents import change_agent
from ruma.tenant.audit import list_audit
from ruma.tenant.home import Home
from ruma.tenant.knowledge.uploads import list_uploads
from ruma.tenant.people.api_keys import make_api_key, revoke_api_key
from ruma.tenant.people.joining import make_reset_link
from ruma.tenant.people.members import (
    change_member,
    change_password,
    check_sign_in,
    create_member,
    find_member,
    remove_member,
)
from ruma.tenant.people.sessions import begin_session, csrf_of, list_sessions
from ruma.tenant.tenant import Tenant
from tests.serving import QUESTION, Running, make_tenant, renew_tenant

EMAIL, PASSWORD, OTHER = "anna@example.com", "harbour violin ticket 83", "lantern gravel opera 51"
COOKIE, DOOR, ACCOUNT = "__Host-ruma-acme", "/t/acme/sign-in", "/t/acme/account"
WORDS = " ".join(f"Sentence number {number} is written here [1]." for number in range(200))
CONVERSATION = "X-Ruma-Conversation"
SPOOFED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP")


@dataclass(frozen=True)
class Answer:
    """What a request got."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def cookie(self) -> str:
        """The session's secret that was set; empty where none was."""
        found = re.search(rf"{COOKIE}=([\w-]+)", self.headers.get("set-cookie", ""))
        return found[1] if found else ""


def send(
    server: Running,
    method: str,
    path: str,
    form: dict[str, str] | None = None,
    *,
    cookie: str = "",
    source: str = "127.0.0.1",
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send a request from an address of this machine, as a browser would, and return the answer."""
    sent = {"Accept": "text/html", "Connection": "close", **(headers or {})}
    if form is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    if cookie:
        sent["Cookie"] = f"{COOKIE}={cookie}"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30, source_address=(source, 0))
    try:
        connection.request(method, path, urlencode(form) if form is not None else None, sent)
        got = connection.getresponse()
        return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read().decode())
    finally:
        connection.close()


def sign_in(server: Running, password: str = PASSWORD, *, email: str = EMAIL, cookie: str = "", **more: str) -> Answer:
    """Sign in with a form."""
    spoofed = {name: more["spoof"] for name in SPOOFED} if "spoof" in more else {}
    form = {"email": email, "password": password}
    source = more.get("source", "127.0.0.1")
    return send(server, "POST", DOOR, form, cookie=cookie, source=source, headers=spoofed)


def is_let_in(server: Running, cookie: str) -> bool:
    """Tell whether a session's secret opens the account."""
    answer = send(server, "GET", ACCOUNT, cookie=cookie)
    assert answer.status in (200, 303)
    return answer.status == 200


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server that writes slowly."""
    with Running(tmp_path_factory.mktemp("home"), WORDS, "0.05") as running:
        yield running


@pytest.fixture
def home(running: Running) -> Home:
    """Return its home, with a new tenant: what was tried at the one before is forgotten."""
    return renew_tenant(running, mode="write")


@pytest.fixture
def tenant(home: Home) -> Iterator[Tenant]:
    """Return the tenant, opened beside the server as the command line does."""
    with home.open("acme") as tenant:
        create_member(tenant, email=EMAIL, name="Anna", role="owner", password=PASSWORD)
        create_member(tenant, email="owner@example.com", name="Olive", role="owner", password=PASSWORD)
        yield tenant


@pytest.fixture
def server(running: Running, tenant: Tenant) -> Running:
    """Return the server of the tenant."""
    return running


def test_f45_a_planted_session_is_never_taken_over(server: Running) -> None:
    """Whoever brings a cookie along signs in under another one, and what was planted opens nothing."""
    first = sign_in(server, cookie="FIXED")
    second = sign_in(server, cookie=first.cookie)

    assert (first.status, second.status) == (303, 303)
    assert len({first.cookie, second.cookie, "FIXED", ""}) == 4
    assert len(first.cookie) == 43  # 256 bits
    assert not is_let_in(server, "FIXED")
    assert not is_let_in(server, first.cookie)
    assert is_let_in(server, second.cookie)
    parts = {part.strip().lower() for part in second.headers["set-cookie"].split(";")[1:]}
    assert parts == {"path=/", "secure", "httponly", "samesite=lax"}


def test_f45_the_secret_is_new_wherever_rights_change(server: Running, tenant: Tenant) -> None:
    """Signing out, a new password and another role end what was there; two browsers are two sessions."""
    one, two = sign_in(server).cookie, sign_in(server).cookie
    anna = check_sign_in(tenant, EMAIL, PASSWORD)
    assert anna
    out = send(server, "POST", "/t/acme/sign-out", {}, cookie=one, headers={"X-Ruma-CSRF": csrf_of(tenant, one)})
    after_out = is_let_in(server, one), is_let_in(server, two)
    changed = send(
        server,
        "POST",
        f"{ACCOUNT}/password",
        {"password": PASSWORD, "new_password": OTHER},
        cookie=two,
        headers={"X-Ruma-CSRF": csrf_of(tenant, two)},
    )
    after_password = is_let_in(server, two), is_let_in(server, changed.cookie)
    change_member(tenant, anna.id, role="viewer")

    assert out.status == 303
    assert after_out == (False, True)
    assert after_password == (False, True)
    assert not is_let_in(server, changed.cookie)


def test_f45_a_change_needs_the_mark_of_its_own_session(server: Running, tenant: Tenant) -> None:
    """Without it, with another or the last session's, or with one that is no ASCII: nothing changes or breaks."""
    old, other = sign_in(server).cookie, sign_in(server).cookie
    mine = sign_in(server, cookie=old).cookie
    marks = [csrf_of(tenant, session) for session in (other, old)]

    for mark in ("", "x", *marks, "\xff\xfe", csrf_of(tenant, mine).upper()):
        answer = send(server, "POST", f"{ACCOUNT}/sessions/end", {}, cookie=mine, headers={"X-Ruma-CSRF": mark})
        assert answer.status == 403, mark
    assert is_let_in(server, mine)
    assert is_let_in(server, other)


def lines_of(server: Running, since: int, route: str, *statuses: int) -> list[dict[str, Any]]:
    """Return the lines of the request log for a route and these statuses, once there are as many of them or more."""
    until = time.monotonic() + 10
    while True:
        found = [one for one in server.requests[since:] if one["route"] == route and one["status"] in statuses]
        if len(found) >= len(statuses) or time.monotonic() > until:
            return found
        time.sleep(0.01)


@pytest.mark.parametrize("change", ["disable", "remove", "password", "role", "sign-out", "key"])
def test_f46_what_is_revoked_ends_at_once(server: Running, tenant: Tenant, change: str) -> None:
    """Cookies and keys are refused within a second, and an answer that is being written is cut.

    Each attempt has its line in the request log, the cut answer too, and the change its entry in the audit log.
    """
    anna = check_sign_in(tenant, EMAIL, PASSWORD)
    assert anna
    cookies = [sign_in(server).cookie for _ in range(2)]
    key, secret = make_api_key(tenant, "shop", ["chat", "read"], created_by="Anna")
    marked = {"Cookie": f"{COOKIE}={cookies[0]}", "X-Ruma-CSRF": csrf_of(tenant, cookies[0])}
    bearer = {"Authorization": f"Bearer {secret}"}
    stream = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    body = json.dumps({"question": QUESTION})
    stream.request("POST", "/t/acme/api/chat", body, headers | (bearer if change == "key" else marked))
    response = stream.getresponse()
    assert response.status == 200
    response.readline()

    if change == "disable":
        change_member(tenant, anna.id, is_disabled=True)
    elif change == "remove":
        remove_member(tenant, anna.id)
    elif change == "password":
        change_password(tenant, anna.id, OTHER)
    elif change == "role":
        change_member(tenant, anna.id, role="viewer")
    elif change == "sign-out":
        assert send(server, "POST", "/t/acme/sign-out", {}, headers=marked).status == 303
    else:
        revoke_api_key(tenant, key.id)
    revoked_at, since = time.monotonic(), len(server.requests)
    if change == "sign-out":  # ends this browser's session, and no other
        assert [is_let_in(server, cookie) for cookie in cookies] == [False, True]
    elif change == "key":
        assert send(server, "GET", "/t/acme/api/documents", headers=bearer).status == 401
    else:
        assert [is_let_in(server, cookie) for cookie in cookies] == [False, False]
    rest = response.read().decode()
    cut_after = time.monotonic() - revoked_at
    stream.close()

    assert "event: done" not in rest
    assert cut_after < 1
    refused = send(server, "GET", "/t/acme/api/documents", headers=bearer if change == "key" else {}, cookie=cookies[0])
    assert refused.status == 401
    logged = lines_of(server, since, "/t/{name}/api/documents", *[401] * (2 if change == "key" else 1))
    logged += lines_of(server, since, "/t/{name}/api/chat", 200)
    if change != "key":
        logged += lines_of(server, since, "/t/{name}/account", *[303] * (1 if change == "sign-out" else 2))
    assert len(logged) == {"key": 3, "sign-out": 3}.get(change, 4)
    assert {(line["tenant"], line["address"]) for line in logged} == {("acme", "127.0.0.0/24")}
    actions = {"disable": "member.disabled", "remove": "member.removed", "password": "password.changed"}
    actions |= {"role": "role.changed", "sign-out": "session.ended", "key": "api-key.revoked"}
    assert actions[change] in [entry.action for entry in list_audit(tenant)[:5]]


@pytest.mark.parametrize("change", ["disable", "key"])
def test_f46_an_open_upload_is_cut(server: Running, tenant: Tenant, change: str) -> None:
    """A body that stands still in the middle is refused within a second of the end of its sender's rights."""
    anna = check_sign_in(tenant, EMAIL, PASSWORD)
    assert anna
    key, secret = make_api_key(tenant, "shop", ["write"], created_by="Anna")
    cookie = begin_session(tenant, anna.id)
    marked = [f"Cookie: {COOKIE}={cookie}", f"X-Ruma-CSRF: {csrf_of(tenant, cookie)}"]
    head = [
        "PUT /t/acme/api/sources/uploads?name=a.md HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Content-Length: 1000000",
        *([f"Authorization: Bearer {secret}"] if change == "key" else marked),
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sending:
        sending.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + b"x" * 1000)
        until = time.monotonic() + 10
        while not (tenant.uploads_folder.exists() and list(tenant.uploads_folder.iterdir())):
            assert time.monotonic() < until, "it did not begin"
            time.sleep(0.02)

        if change == "key":
            revoke_api_key(tenant, key.id)
        else:
            change_member(tenant, anna.id, is_disabled=True)
        revoked_at, since = time.monotonic(), len(server.requests)
        answer = sending.recv(65536)
        cut_after = time.monotonic() - revoked_at

    assert answer.startswith(b"HTTP/1.1 401")
    assert cut_after < 1
    assert len(lines_of(server, since, "/t/{name}/api/sources/uploads", 401)) == 1
    assert list_uploads(tenant) == []
    assert list(tenant.uploads_folder.iterdir()) == []


def test_f46_a_widgets_answer_is_cut_with_its_website(server: Running, tenant: Tenant) -> None:
    """An answer that a visitor reads on a website ends within a second of the website's removal, others go on."""
    shop, other = "https://shop.example", "https://other.example"
    change_agent(tenant, websites=(shop, other), is_published=False)
    streams = []
    for website in (shop, other):
        stream = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        sent = {"question": QUESTION, "channel": "widget", "website": website}
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        stream.request("POST", "/t/acme/api/chat", json.dumps(sent), headers)
        response = stream.getresponse()
        assert response.status == 200
        response.readline()
        streams.append((stream, response))

    change_agent(tenant, websites=(other,))
    removed_at = time.monotonic()
    rest = streams[0][1].read().decode()
    cut_after = time.monotonic() - removed_at

    assert "event: done" not in rest
    assert "event: error" in rest
    assert cut_after < 1
    assert b"event: token" in b"".join(streams[1][1].readline() for _ in range(40))
    for stream, _ in streams:
        stream.close()


def test_f47_an_account_is_guessed_at_slowly_from_everywhere(tmp_path: Path) -> None:
    """From many networks, with made-up proxies' headers, fifty at once and over a restart: a few tries a minute."""
    home = Home(load_settings({"home": tmp_path / "home", "key_source": "machine"}, {}))
    make_tenant(home)
    with home.open("acme") as tenant:
        create_member(tenant, email=EMAIL, name="Anna", role="owner", password=PASSWORD)
    statuses: Counter[int] = Counter()

    def guess(number: int) -> None:
        source = f"127.{number % 200 + 1}.0.1"
        answer = sign_in(server, f"guess {number} is wrong", source=source, spoof=f"203.0.113.{number % 250}")
        statuses[answer.status] += 1

    with Running(home.settings.home) as server:
        started = time.monotonic()
        threads = [threading.Thread(target=guess, args=[number]) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number in range(50, 150):
            guess(number)
        seconds = time.monotonic() - started
    with Running(home.settings.home) as again:
        after = sign_in(again, source="127.99.0.1")

    assert set(statuses) == {401, 429}
    assert statuses[401] <= 5 + max(0, seconds).__trunc__()
    assert statuses[401] <= 12
    assert after.status == 429
    assert int(after.headers["retry-after"]) >= 1


def test_f47_a_network_guesses_slowly_at_whomever(server: Running) -> None:
    """One network that goes through many accounts is slowed down; spoofed addresses do not make it another one."""
    answers = [
        sign_in(
            server, email=f"member{number}@example.com", source=f"127.0.0.{number + 2}", spoof=f"203.0.113.{number}"
        )
        for number in range(60)
    ]

    tried = Counter(answer.status for answer in answers)
    assert tried[401] <= 20 + 6
    assert tried[429] >= 30


@pytest.mark.parametrize("path", ["api-key", "openai", "basic", "reset", "invitation", "setup", "step", "conversation"])
def test_f47_every_other_secret_is_guessed_at_slowly(server: Running, path: str) -> None:
    """API keys, basic auth, links, second steps and visitors' secrets: twenty wrong ones from a network, then waiting.

    Each guess says that it comes from another address, in every header that proxies use.
    """
    statuses: Counter[int] = Counter()
    for number in range(40):
        spoofed = {name: f"203.0.113.{number}" for name in SPOOFED} | {"Forwarded": f"for=203.0.113.{number}"}
        if path in ("api-key", "basic"):
            words = f"Bearer ruma_{number:043}" if path == "api-key" else f"Basic {number:08}"
            answer = send(server, "GET", "/t/acme/api/documents", headers={"Authorization": words, **spoofed})
        elif path == "openai":
            answer = send(server, "GET", "/t/acme/v1/models", headers={"Authorization": f"Bearer {number}", **spoofed})
        elif path == "conversation":
            answer = send(server, "GET", "/t/acme/api/conversation", headers={CONVERSATION: f"{number:043}", **spoofed})
        elif path == "step":
            form = {"step": f"{number:043}", "code": "000000"}
            answer = send(server, "POST", f"{DOOR}/code", form, headers=spoofed)
        else:
            answer = send(server, "GET", f"/t/acme/{path}/{number:043}", headers=spoofed)
        statuses[answer.status] += 1

    assert statuses[429] >= 15, statuses
    assert statuses[401] + statuses[404] <= 25, statuses


def test_f47_the_victim_is_delayed_and_not_locked_out(server: Running, tenant: Tenant) -> None:
    """Who has been here before is not even delayed by strangers; who has not gets in after the wait that is said."""
    known = sign_in(server)
    for number in range(100):
        refused = sign_in(server, "a wrong one 12345", source=f"127.{number + 1}.0.1")
        if int(refused.headers.get("retry-after", 0)) >= 4:
            break

    again = sign_in(server)
    elsewhere = sign_in(server, source="127.177.0.1")
    wait = int(elsewhere.headers["retry-after"])
    time.sleep(wait)
    later = sign_in(server, source="127.177.0.1")

    assert (known.status, again.status) == (303, 303)
    assert elsewhere.status == 429
    assert wait <= 60
    assert later.status == 303


@pytest.mark.nightly
@pytest.mark.usefixtures("real_passwords")
def test_f48_the_time_does_not_tell_who_is_a_member(tenant: Tenant) -> None:
    """Thirty tries of each, interleaved: the lower quartiles of their processor time differ by less than 10 %.

    Processor time of this thread, which hashes too: what else the machine does tells nobody anything. A member who
    is disabled, and one whose password is right but is not let in, take as long.
    """
    create_member(tenant, email="off@example.com", name="Off", role="viewer", password=PASSWORD)
    change_member(tenant, find_member(tenant, "off@example.com").id, is_disabled=True)
    tries = [(EMAIL, OTHER), ("nobody@example.com", OTHER), ("off@example.com", OTHER), ("off@example.com", PASSWORD)]
    times: list[list[float]] = [[] for _ in tries]
    check_sign_in(tenant, "nobody@example.com", OTHER)
    for _ in range(30):
        for (email, password), found in zip(tries, times, strict=True):
            started = time.thread_time()
            assert check_sign_in(tenant, email, password) is None
            found.append(time.thread_time() - started)

    quartiles = [statistics.quantiles(one, n=4)[0] for one in times]
    assert quartiles[0] > 0.005, "the hash is not the real one: this proves nothing"
    assert max(quartiles) < min(quartiles) * 1.1, quartiles


def test_f49_a_reset_link_works_once_and_is_written_nowhere(server: Running, home: Home, tenant: Tenant) -> None:
    """Of ten at once one sets the password; cut, in another case or older it is none; and no log has it."""
    session = sign_in(server).cookie
    old = make_reset_link(tenant, EMAIL)
    link = make_reset_link(tenant, EMAIL)
    wrong = [
        send(server, "GET", f"/t/acme/reset/{one}").status for one in (old, link[:-1], link.swapcase(), link + "x")
    ]
    shown = send(server, "GET", f"/t/acme/reset/{link}")
    statuses: Counter[int] = Counter()

    def use() -> None:
        statuses[send(server, "POST", f"/t/acme/reset/{link}", {"password": OTHER}).status] += 1

    threads = [threading.Thread(target=use) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = send(server, "GET", f"/t/acme/reset/{link}").status

    assert wrong == [404] * 4
    assert shown.status == 200
    assert shown.headers["referrer-policy"] == "no-referrer"
    assert shown.headers["cache-control"] == "no-store"
    assert link not in shown.body
    assert statuses[303] == 1
    assert set(statuses) <= {303, 404}
    assert after == 404
    assert not is_let_in(server, session)
    assert sign_in(server, OTHER).status == 303
    assert server.requests
    assert link not in json.dumps(server.requests) + server.errors
    files = [file for file in home.settings.home.rglob("*") if file.is_file()]
    assert not any(link.encode() in file.read_bytes() for file in files)


def test_f49_links_are_built_from_the_configured_origin(server: Running, tenant: Tenant) -> None:
    """Whatever Host, X-Forwarded-Host or Forwarded say when the link is made."""
    anna = check_sign_in(tenant, EMAIL, PASSWORD)
    assert anna
    cookie = begin_session(tenant, anna.id)
    marked = {"X-Ruma-CSRF": csrf_of(tenant, cookie)}
    form = {"email": "bob@example.com", "role": "viewer"}

    poisoned = send(
        server,
        "POST",
        "/t/acme/people/invitations",
        form,
        cookie=cookie,
        headers={**marked, "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"},
    )
    hosted = send(
        server, "POST", "/t/acme/people/invitations", form, cookie=cookie, headers={**marked, "Host": "evil.example"}
    )

    assert poisoned.status == 200
    place = f"http://127.0.0.1:{server.port}/t/acme/invitation/"
    assert place in poisoned.body
    assert "evil.example" not in poisoned.body
    assert hosted.status == 421
    assert len(list_sessions(tenant, anna.id)) == 1
    link = poisoned.body.partition(place)[2][:43]
    shown = send(server, "GET", f"/t/acme/invitation/{link}")
    joining = {"name": "Bob", "password": OTHER}
    joined = [send(server, "POST", f"/t/acme/invitation/{link}", joining).status for _ in range(2)]
    assert (shown.status, shown.headers["referrer-policy"], joined) == (200, "no-referrer", [303, 404])
    assert link not in json.dumps(server.requests) + server.errors
