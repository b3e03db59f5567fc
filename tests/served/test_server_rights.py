"""Visitors' rights and members' register through the API, as a program or the chat uses them."""

import io
import re
import zipfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.privacy.requests import close, months_after, receive_request, today
from ruma.server.app import create_app
from ruma.server.chores import do_once
from ruma.server.languages import read_words
from ruma.tenant.audit import list_audit
from ruma.tenant.conversing.consents import LEFT_SECONDS, PASSING_SECONDS, read_consent
from ruma.tenant.conversing.inbox import list_conversations
from ruma.tenant.conversing.requests import list_requests
from ruma.tenant.conversing.usage import count_usage
from ruma.tenant.erasing import erasure
from ruma.tenant.home import Home
from ruma.tenant.keeping.holds import set_hold
from ruma.tenant.tenant import Tenant
from tests.mailing import Mailbox, mail_server
from tests.serving import EMBEDDER, FLAGS, PASSWORD, QUESTION, make_tenant, sign_in, with_key

HERE = "http://127.0.0.1:8420"
API = "/t/acme/api"
Client = TestClient[Litestar]


def ask(client: Client, **sent: Any) -> Any:
    """Ask a question as the widget does, and return the answer."""
    return client.post(f"{API}/chat", json={"question": QUESTION, "channel": "widget", "language": "de", **sent}).json()


def own(client: Client, method: str, path: str, secret: str, body: Any = None) -> Any:
    """Use a conversation's secret."""
    return client.request(method, f"{API}/conversation{path}", json=body, headers={"X-Ruma-Conversation": secret})


def count(tenant: Tenant, table: str) -> int:
    """Return how many rows a table has."""
    with tenant.reading() as db:
        return int(db.execute(f"select count(*) from {table}").fetchone()[0])


def test_a_visitor_who_agrees_to_nothing_leaves_nothing(client: Client, tenant: Tenant) -> None:
    """The chat goes on within it, no member sees it, and once the visitor leaves there is no row of it."""
    done = ask(client)
    assert done["is_kept"] is False
    assert ask(client, question="And on Sundays?", conversation=done["conversation"])["conversation"]
    assert count(tenant, "message") == 4
    assert list_conversations(tenant).total == 0
    entries = len(list_audit(tenant))

    assert own(client, "DELETE", "", done["conversation"]).status_code == 204

    assert (count(tenant, "conversation"), count(tenant, "message"), count(tenant, "consent")) == (0, 0, 0)
    assert len(list_audit(tenant)) == entries
    assert own(client, "GET", "", done["conversation"]).status_code == 404


def test_a_visitor_who_stays_away_leaves_nothing_either(client: Client, tenant: Tenant) -> None:
    """Where the browser could not say that it left, the server ends the conversation by itself."""
    ask(client)
    with tenant.writing() as db:
        sql = "update conversation set last_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now', ?)"
        db.execute(sql, [f"-{PASSING_SECONDS + 5} seconds"])

    do_once(client.app.state.resources, HERE)

    assert count(tenant, "conversation") == 0


def test_an_erasure_that_a_reader_was_in_the_way_of_is_finished_within_the_minute(
    client: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its answer says: the receipt comes by itself, and is the server's own about what it remembers."""
    monkeypatch.setattr(erasure.finish_erasure, "__kwdefaults__", {"wait_seconds": 0.1})
    owner = sign_in(tenant)
    with tenant.reading() as db:
        db.execute("select count(*) from message").fetchone()
        number = client.delete("/t/acme/api/documents/1", headers=owner).headers["x-ruma-receipt"]
        receipt = f"/t/acme/api/erasures/{number}/receipt"
        assert client.get(receipt, headers=owner).status_code == 409
    do_once(client.app.state.resources, HERE)
    assert client.get(receipt, headers=owner).status_code == 409, "it may be one that is being finished just now"

    monkeypatch.setattr("ruma.server.chores.ERASING_SECONDS", 0)
    do_once(client.app.state.resources, HERE)

    checks = {one["what"]: one["text"] for one in client.get(receipt, headers=owner).json()["receipt"]["checks"]}
    assert "opened anew" not in checks["memory"]


def leave_earlier(tenant: Tenant, seconds: int) -> None:
    """Let who left have left so much earlier."""
    with tenant.writing() as db:
        sql = "update conversation set left_at = strftime('%Y-%m-%dT%H:%M:%SZ', left_at, ?)"
        db.execute(sql, [f"-{seconds} seconds"])


def test_a_visitor_who_left_may_come_back_for_some_minutes(client: Client, tenant: Tenant) -> None:
    """The mark is taken away by coming back; else the secret opens nothing after ten minutes, and it all goes."""
    secret = ask(client)["conversation"]
    assert own(client, "GET", "", secret).json()["is_kept"] is False
    for is_here in (False, True, False):
        assert own(client, "PUT", "/presence", secret, {"is_here": is_here}).status_code == 204
        leave_earlier(tenant, LEFT_SECONDS - 5)
        assert own(client, "GET", "", secret).status_code == 200
    leave_earlier(tenant, 10)

    assert own(client, "GET", "", secret).status_code == 404
    assert own(client, "PUT", "/presence", secret, {"is_here": True}).status_code == 404
    do_once(client.app.state.resources, HERE)
    assert (count(tenant, "conversation"), count(tenant, "message")) == (0, 0)


def test_what_is_chosen_before_the_first_message_is_stored_with_it(client: Client, tenant: Tenant) -> None:
    """Each choice has its text's version, its language and its time; members read it beside the conversation."""
    done = ask(client, keep=True, analytics=True)
    (info,) = list_conversations(tenant).conversations
    headers = with_key(tenant, "conversations")

    state = client.get(f"{API}/conversations/{info.id}/consent", headers=headers).json()

    assert (state["is_kept"], state["is_counted"], done["is_kept"]) == (True, True, True)
    assert [(one["purpose"], one["is_given"], one["text_version"], one["language"]) for one in state["choices"]] == [
        ("keep", True, "keep-1", "de"),
        ("analytics", True, "analytics-1", "de"),
    ]
    assert state["choices"][0]["words"].startswith("Diese Unterhaltung behalten")
    assert client.get(f"{API}/usage", headers=headers).json()["questions"] == 1


def test_programs_decide_for_themselves(client: Client, tenant: Tenant) -> None:
    """Without a choice a program's conversation is kept and counted; with one it is as the program says."""
    client.post(f"{API}/chat", json={"question": QUESTION})
    client.post(f"{API}/chat", json={"question": QUESTION, "analytics": False})
    client.post(f"{API}/chat", json={"question": QUESTION, "keep": False})

    headers = with_key(tenant, "conversations")
    assert client.get(f"{API}/conversations", headers=headers).json()["total"] == 2
    assert client.get(f"{API}/usage", headers=headers).json()["questions"] == 1


def test_a_business_may_keep_what_nobody_refuses(client: Client, tenant: Tenant) -> None:
    """Then a refusal is stored, and analytics is still off without a yes; only owners set it."""
    owner, editor = sign_in(tenant), sign_in(tenant, "editor")
    assert client.patch(f"{API}/consent", json={"keeping": "unless_refused"}, headers=editor).status_code == 403
    changed = client.patch(f"{API}/consent", json={"keeping": "unless_refused"}, headers=owner)
    assert changed.json()["keeping"] == "unless_refused"

    kept, refused = ask(client), ask(client, keep=False)

    assert (kept["is_kept"], refused["is_kept"]) == (True, False)
    (info,) = list_conversations(tenant).conversations
    assert read_consent(tenant, info.id).history == ()
    assert read_consent(tenant, info.id).is_counted is False
    data = own(client, "GET", "/data", refused["conversation"]).json()
    assert [(one["purpose"], one["is_given"]) for one in data["consent"]["choices"]] == [("keep", False)]


def test_the_words_to_agree_to_are_there_for_every_chat(client: Client) -> None:
    """Whoever builds a chat of their own shows the same words, in each language."""
    for language in read_words():
        rules = client.get(f"{API}/consent?language={language}").json()
        assert rules["keeping"] == "agreed"
        assert {one["name"] for one in rules["texts"]} == {"keep", "analytics", "person"}
        assert all(one["words"] for one in rules["texts"])


def test_a_visitor_sees_corrects_and_takes_along(client: Client, tenant: Tenant) -> None:
    """What is stored, how long, and a zip of all of it; a correction reaches the inbox."""
    secret = ask(client, keep=True)["conversation"]

    corrected = own(client, "PATCH", "/details", secret, {"name": " Ana ", "email": "ana@example.com"}).json()
    data = own(client, "GET", "/data", secret).json()
    export = own(client, "GET", "/export", secret)

    assert corrected == data
    assert (data["name"], data["email"], data["messages"]) == ("Ana", "ana@example.com", 2)
    assert data["kept_days"] > 0
    assert list_conversations(tenant, text="ana@example").total == 1
    assert "my-data.zip" in export.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(export.content)) as archive:
        names = archive.namelist()
        everything = b"".join(archive.read(name) for name in names)
    assert {"export.json", "index.html"} <= set(names)
    assert b"ana@example.com" in everything
    assert b"keep-1" in everything
    assert own(client, "PATCH", "/details", secret, {"email": "no address"}).status_code == 400


def test_consent_is_taken_back_with_effect(client: Client, tenant: Tenant) -> None:
    """Statistics lose it at once, the inbox too; what is then not kept goes when the chat is over."""
    secret = ask(client, keep=True, analytics=True)["conversation"]
    headers = with_key(tenant, "conversations")

    own(client, "PATCH", "/consent", secret, {"analytics": False, "language": "fr"})
    assert client.get(f"{API}/usage", headers=headers).json()["questions"] == 0
    assert client.get(f"{API}/conversations", headers=headers).json()["total"] == 1
    state = own(client, "PATCH", "/consent", secret, {"keep": False}).json()["consent"]

    assert (state["is_kept"], state["is_counted"]) == (False, False)
    assert client.get(f"{API}/conversations", headers=headers).json()["total"] == 0
    assert own(client, "PATCH", "/consent", secret, {"analytics": True}).json()["consent"]["is_counted"] is False
    again = own(client, "PATCH", "/consent", secret, {"keep": True, "analytics": True}).json()["consent"]
    assert (again["is_kept"], again["is_counted"]) == (True, True)
    assert client.get(f"{API}/usage", headers=headers).json()["questions"] == 1


def test_nobody_reaches_anothers_data(client: Client, tenant: Tenant) -> None:
    """Every way in asks for the secret; another's, a number and a part of it open nothing, and guesses are slowed."""
    secret = ask(client, keep=True)["conversation"]
    ways = [
        ("GET", "/data", None),
        ("GET", "/export", None),
        ("PATCH", "/details", {"name": "Eve"}),
        ("PATCH", "/consent", {"keep": False}),
        ("POST", "/requests", {"kind": "access"}),
        ("DELETE", "", None),
    ]

    for method, path, body in ways:
        assert own(client, method, path, secret[:-1], body).status_code == 404, path
        assert client.request(method, f"{API}/conversation{path}", json=body).status_code == 400, path
    statuses = {own(client, "GET", "/data", str(number)).status_code for number in range(30)}

    assert statuses == {404, 429}
    assert own(client, "GET", "/data", secret).json()["name"] == ""
    assert count(tenant, "rights_request") == 0


def test_asking_for_a_person_keeps_the_conversation_and_says_so(client: Client, tenant: Tenant) -> None:
    """The words of that dialog are what was agreed to."""
    secret = ask(client)["conversation"]

    sent = {"message": "Hello?", "channel": "widget", "language": "it"}
    client.post(f"{API}/conversation/person", json=sent, headers={"X-Ruma-Conversation": secret})
    client.post(f"{API}/conversation/person", json={**sent, "keep": True, "analytics": True})

    second, first = list_conversations(tenant).conversations
    noted = [read_consent(tenant, one.id).history for one in (first, second)]
    assert [[(one.choice.text_version, one.choice.language) for one in history] for history in noted] == [
        [("person-1", "it")],
        [("keep-1", "it"), ("analytics-1", "it")],
    ]


def test_a_request_has_a_date_and_its_steps(client: Client, tenant: Tenant) -> None:
    """It is due in a month, may take two more once, and is closed once, with who did what."""
    secret = ask(client, keep=True)["conversation"]
    owner = sign_in(tenant)
    taken = own(client, "POST", "/requests", secret, {"kind": "objection", "note": "No statistics."}).json()
    assert taken["due_on"] == months_after(today(), 1).isoformat()
    url = f"{API}/requests/{taken['id']}"

    extended = client.post(f"{url}/extension", json={"reason": "Many letters."}, headers=owner).json()
    twice = client.post(f"{url}/extension", json={"reason": "Even more."}, headers=owner)
    closed = client.post(f"{url}/closing", json={"outcome": "Done by hand."}, headers=owner).json()
    again = client.post(f"{url}/closing", json={"outcome": "Again."}, headers=owner)
    whole = client.get(url, headers=owner).json()

    assert extended["due_on"] == months_after(today(), 3).isoformat()
    assert (twice.status_code, again.status_code) == (409, 409)
    assert (closed["state"], closed["outcome"]) == ("done", "Done by hand.")
    assert [(step["what"], step["by"]) for step in whole["steps"]] == [
        ("received", "visitor"),
        ("extended", "member 1"),
        ("done", "member 1"),
    ]
    assert client.get(f"{API}/requests", headers=owner).json()["requests"] == []
    assert len(client.get(f"{API}/requests?closed=true", headers=owner).json()["requests"]) == 1
    actions = [entry.action for entry in list_audit(tenant)]
    assert actions[:3] == ["request.closed", "request.extended", "request.received"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"kind": "access"}, "contact"),
        ({"kind": "access", "contact": "x" * 201}, "longer"),
        ({"kind": "access", "contact": "a@example.com", "note": "x" * 4001}, "longer"),
        ({"kind": "access", "contact": "a@example.com", "received_on": "2999-01-01"}, "future"),
        ({"kind": "gossip", "contact": "a@example.com"}, ""),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(client: Client, tenant: Tenant, sent: Any, words: str) -> None:
    """One sentence says what is wrong, and nothing is entered."""
    refused = client.post(f"{API}/requests", json={"contact": "", **sent}, headers=sign_in(tenant))

    assert refused.status_code == 400
    assert words in refused.json()["error"]["message"]
    assert count(tenant, "rights_request") == 0


@pytest.mark.parametrize(
    ("day", "months", "due"),
    [
        ("2026-01-31", 1, "2026-02-28"),
        ("2028-01-31", 1, "2028-02-29"),
        ("2026-12-15", 1, "2027-01-15"),
        ("2026-11-30", 3, "2027-02-28"),
    ],
)
def test_a_month_is_a_month(day: str, months: int, due: str) -> None:
    """To the same day of the month, or to its last."""
    assert months_after(date.fromisoformat(day), months).isoformat() == due


def test_owners_get_a_mail_when_a_request_comes_and_before_it_is_due(tmp_path: Path) -> None:
    """To the owners, once each, without what was written and without the contact."""
    with mail_server() as mailbox:
        home = Home(load_settings({**FLAGS, "home": tmp_path / "home", **smtp(mailbox)}, {}))
        make_tenant(home)
        app = create_app(home, lambda: EMBEDDER, lambda _: None)
        with TestClient(app, base_url=HERE) as client, home.open("acme") as tenant:
            sign_in(tenant)
            sign_in(tenant, "editor")
            asked = {"kind": "access", "contact": "ana@example.com", "note": "SECRETWORD"}
            assert client.post(f"{API}/conversation/requests", json=asked).status_code == 200
            old = {**asked, "received_on": (today() - timedelta(days=25)).isoformat()}
            client.post(f"{API}/requests", json=old, headers=sign_in(tenant))
            for _ in range(2):
                do_once(client.app.state.resources, HERE)
        subjects = [str(mail["subject"]) for mail in mailbox.mails]
        texts = " ".join(mail.get_content() for mail in mailbox.mails)

    assert subjects == ["acme: a request about data"] * 2 + ["acme: a request about data is due soon"]
    assert mailbox.to == [["owner@acme.example"]] * 3
    assert "SECRETWORD" not in texts
    assert "ana@example.com" not in texts
    assert f"{HERE}/t/acme/data/requests" in texts


def smtp(mailbox: Mailbox) -> dict[str, Any]:
    """Return the settings of a home that sends its mail there."""
    return {
        "smtp_host": "127.0.0.1",
        "smtp_port": mailbox.port,
        "smtp_security": "none",
        "mail_from": "ruma@acme.example",
    }


def test_members_take_a_consent_to_statistics_back(client: Client, tenant: Tenant) -> None:
    """On the page and by the API, for a visitor who asked by mail; the conversation and what was agreed to stay."""
    owner = sign_in(tenant)
    for _ in "ab":
        ask(client, keep=True, analytics=True)
    page, api = (one.id for one in list_conversations(tenant).conversations)
    address = f"/t/acme/conversations/{page}"

    assert "Take it out of the statistics" in client.get(address, headers=owner).text
    for _ in "ab":
        done = client.post(f"{address}/uncount", data={}, headers={**owner, "Accept": "text/html"})
        assert done.status_code == 303
    assert "Take it out of the statistics" not in client.get(address, headers=owner).text
    state = client.post(f"{API}/conversations/{api}/consent/withdrawal", headers=owner).json()
    again = client.post(f"{API}/conversations/{api}/consent/withdrawal", headers=owner)

    assert (state["is_kept"], state["is_counted"], again.status_code) == (True, False, 409)
    assert [(one["purpose"], one["is_given"]) for one in state["choices"]][-1] == ("analytics", False)
    assert count_usage(tenant).conversations == 0
    assert list_conversations(tenant).total == 2


def test_a_long_register_is_read_by_the_page(client: Client, tenant: Tenant) -> None:
    """Open ones by their dates, then closed ones, the newest first; no page reads more than it shows."""
    owner = sign_in(tenant)
    numbers = [
        receive_request(tenant, kind="access", origin="operator", contact=f"{n}@x.example").id for n in range(53)
    ]
    for number in numbers[:2]:
        close(tenant, number, outcome="Done.")
    in_order = [*numbers[2:], numbers[1], numbers[0]]

    pages = [client.get(f"/t/acme/data/requests?show=all&page={n}", headers=owner).text for n in (1, 2)]
    some = client.get(f"{API}/requests?closed=true&offset=50&limit=2", headers=owner).json()

    shown = [[int(one) for one in re.findall(r"/data/requests/(\d+)", page)] for page in pages]
    assert shown == [in_order[:50], in_order[50:]]
    assert "1 to 50 of 53" in pages[0]
    assert "51 to 53 of 53" in pages[1]
    assert (some["total"], [one["id"] for one in some["requests"]]) == (53, in_order[50:52])
    assert list_requests(tenant).total == 51


def test_what_a_hold_refuses_a_visitor_comes_to_the_owners(client: Client, tenant: Tenant) -> None:
    """Deleting and taking back: each stands in the register once, with its date, and the visitor is told so."""
    secret = ask(client, keep=True)["conversation"]
    (info,) = list_conversations(tenant).conversations
    set_hold(tenant, "A complaint.", conversation_id=info.id)

    refused = [own(client, "DELETE", "", secret) for _ in range(2)]
    back = own(client, "PATCH", "/consent", secret, {"keep": False})

    due = months_after(today(), 1).isoformat()
    assert [one.status_code for one in (*refused, back)] == [409] * 3
    assert {one.json()["error"]["code"] for one in (*refused, back)} == {"held"}
    assert due in refused[0].json()["error"]["hint"]
    found = [
        (one.kind, one.origin, one.conversation_id, one.due_on, one.state) for one in list_requests(tenant).requests
    ]
    assert found == [("deletion", "visitor", info.id, due, "open"), ("withdrawal", "visitor", info.id, due, "open")]
    assert count(tenant, "conversation") == 1


def test_a_flood_of_requests_is_slowed(client: Client) -> None:
    """One network enters some, and then waits."""
    sent = {"kind": "access", "contact": "ana@example.com"}
    statuses = [client.post(f"{API}/conversation/requests", json=sent).status_code for _ in range(30)]

    assert statuses[:5] == [200] * 5
    assert 429 in statuses


def test_members_accept_each_version_of_the_terms_once(home: Home, tmp_path: Path) -> None:
    """Until then pages lead to the terms, the API refuses, and only reading them and signing out work."""
    file = tmp_path / "terms.txt"
    file.write_text("Be kind. <b>Always</b>.")
    settings = load_settings({**FLAGS, "home": home.settings.home, "terms": str(file)}, {})
    app = create_app(Home(settings), lambda: EMBEDDER, lambda _: None)
    with home.open("acme") as tenant, TestClient(app, base_url=HERE) as client:
        client.follow_redirects = False
        owner = {**sign_in(tenant), "Accept": "text/html"}
        key = with_key(tenant, "manage")

        refused = client.get("/t/acme/overview", headers=owner)
        inside = client.get("/t/acme/overview", headers={**owner, "HX-Request": "true"})
        api = client.get(f"{API}/sources", headers={**owner, "Accept": "application/json"})
        page = client.get("/t/acme/terms", headers=owner).text
        (version,) = [line.split('value="')[1].split('"')[0] for line in page.splitlines() if 'name="version"' in line]
        wrong = client.post("/t/acme/terms", data={"version": "other"}, headers=owner)
        still = client.get("/t/acme/overview", headers=owner).status_code
        client.post("/t/acme/terms", data={"version": version}, headers=owner)

        assert (refused.status_code, refused.headers["location"]) == (303, "/t/acme/terms")
        assert inside.headers["hx-redirect"] == "/t/acme/terms"
        assert (api.status_code, api.json()["error"]["code"]) == (403, "terms_needed")
        assert "Be kind. &lt;b&gt;Always&lt;/b&gt;." in page
        assert (wrong.status_code, still) == (303, 303)
        assert "/t/acme/account/data" in page
        editor = {**sign_in(tenant, "editor"), "Accept": "text/html"}
        assert client.get("/t/acme/account/data", headers=editor).content.startswith(b"PK")
        left = client.post("/t/acme/account/remove", data={"password": PASSWORD}, headers=editor)
        assert left.headers["location"] == "/t/acme/sign-in?done=left"
        assert client.get("/t/acme/overview", headers=owner).status_code == 200
        info = client.get(f"{API}/terms", headers=key).json()
        assert [(one["member_id"], one["version"]) for one in info["acceptances"]] == [(1, version)]
        file.write_text("Be kind, always.")
        assert client.get("/t/acme/overview", headers=owner).status_code == 303
        assert client.post("/t/acme/sign-out", headers=owner).status_code == 303
        with tenant.reading() as db:
            assert db.execute("select text from terms").fetchall() == [("Be kind. <b>Always</b>.",)]


@pytest.mark.parametrize("terms", ["/no/such/file", "http://plain.example.com/terms"])
def test_terms_that_cannot_be_read_let_nobody_pass(home: Home, terms: str) -> None:
    """A mistake in the setting is said, and is no way around the terms."""
    app = create_app(
        Home(load_settings({**FLAGS, "home": home.settings.home, "terms": terms}, {})), lambda: EMBEDDER, lambda _: None
    )
    with home.open("acme") as tenant, TestClient(app, base_url=HERE) as client:
        assert client.get(f"{API}/sources", headers=sign_in(tenant)).status_code == 400
