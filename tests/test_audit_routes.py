"""Every route that changes something, used as it should be: each leaves an entry in the audit log, or says why not.

The routes are read from the application: a new one fails here until the walk uses it.
"""

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pyotp
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.server.app import create_app
from ruma.tenant.audit import list_audit
from ruma.tenant.conversing.visitor_links import make_visitor_link
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents
from ruma.tenant.knowledge.pairs import all_pairs
from ruma.tenant.knowledge.sources import list_sources
from ruma.tenant.knowledge.uploads import list_uploads
from ruma.tenant.people.api_keys import list_api_keys
from ruma.tenant.people.links import make_link
from ruma.tenant.people.members import create_member, find_member
from ruma.tenant.people.second_factor import enable_second_factor
from ruma.tenant.tenant import Tenant
from tests.attack.test_f_routes import ROUTES
from tests.fakes import FakeStripe
from tests.mailing import mail_server
from tests.serving import EMBEDDER, FLAGS, PASSWORD, QUESTION, make_tenant, sign_in

HERE = "http://127.0.0.1:8420"
NEW_PASSWORD = "nine loaves under the elm"
API = "/t/{name}/api"
ASKS = "A question changes nothing but its conversation, which is its own record."
NOTED_NOWHERE = {
    ("POST", f"{API}/chat"): ASKS,
    ("POST", f"{API}/search"): ASKS,
    ("POST", "/t/{name}/ask"): ASKS,
    ("POST", "/t/{name}/v1/chat/completions"): ASKS,
    ("POST", "/t/{name}/v1/embeddings"): ASKS,
    (
        "POST",
        f"{API}/conversation/feedback",
    ): "An opinion stands beside its answer, with its time.",
    ("PUT", f"{API}/conversation/presence"): "Of what is not kept, nothing is written down.",
    ("POST", "/t/{name}/conversations/{conversation_id}/unread"): "A mark of who read what, as opening it makes one.",
    ("POST", f"{API}/erasures/{{erasure_id}}/verify"): "It looks and changes nothing.",
    ("POST", "/t/{name}/data/erasures/{erasure_id}/verify"): "It looks and changes nothing.",
    ("POST", "/t/{name}/settings/mail"): "A mail to oneself to try it: the ledger of connections has it.",
}
"""What leaves no entry, and why."""


class Walk:
    """Uses routes, and looks after each what was noted."""

    def __init__(self, client: TestClient[Litestar], tenant: Tenant, stripe: FakeStripe) -> None:
        """Begin with nothing used."""
        self.client, self.tenant, self.stripe = client, tenant, stripe
        self.used: set[tuple[str, str]] = set()
        self.wrong: list[str] = []

    def newest(self) -> int:
        """Return the number of the newest entry."""
        return list_audit(self.tenant, limit=1)[0].id

    def __call__(self, method: str, path: str, who: dict[str, str] | None = None, **sent: Any) -> Any:
        """Use a route with what its path needs (`n`) and what it takes, and note what is wrong with it."""
        numbers = iter(sent.pop("n", []))
        address = re.sub(r"{(\w+)}", lambda one: "acme" if one[1] == "name" else str(next(numbers)), path)
        before = self.newest()
        if "data" in sent:
            who = {**(who or {}), "Accept": "text/html"}
        answer = self.client.request(method, address, headers=who or {}, **sent)
        after = self.newest()
        self.used.add((method, path))
        said = f"{method} {path} {answer.status_code}"
        if answer.status_code >= 400:
            self.wrong.append(f"{said}: {answer.text[:300]}")
        elif (after != before) == ((method, path) in NOTED_NOWHERE):
            self.wrong.append(f"{said}: {'noted something' if after != before else 'noted nothing'}")
        return answer


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """Return what uses the routes of a server that can send mail."""
    terms = tmp_path_factory.mktemp("terms") / "terms.txt"
    with mail_server() as mailbox, FakeStripe() as stripe:
        threading.Thread(target=stripe.serve_forever, args=[0.02], daemon=True).start()
        mail = {"smtp_host": "127.0.0.1", "smtp_port": mailbox.port, "smtp_security": "none"}
        flags = {
            **FLAGS,
            **mail,
            **stripe.settings(tmp_path_factory.mktemp("stripe")),
            "mail_from": "a@b.example",
            "home": tmp_path_factory.mktemp("home"),
            "terms": str(terms),
        }
        terms.write_text("Be kind.")
        home = Home(load_settings(flags, {}))
        make_tenant(home)
        (home.settings.home / "ruma.toml").write_text('[plans.year]\nstripe_price = "price_1year"\n')
        app = create_app(home, lambda: EMBEDDER, lambda _: None)
        with TestClient(app, base_url=HERE) as client, home.open("acme") as tenant:
            client.follow_redirects = False
            yield Walk(client, tenant, stripe)
            stripe.shutdown()


def talk(walk: Walk, email: str) -> tuple[str, int]:
    """Have a conversation that is kept; return its secret and its number."""
    asked = {"question": QUESTION, "channel": "widget", "keep": True, "analytics": True, "language": "en"}
    done = walk("POST", f"{API}/chat", json=asked).json()
    own = {"X-Ruma-Conversation": done["conversation"]}
    walk("PATCH", f"{API}/conversation/details", own, json={"name": "Ana", "email": email})
    return done["conversation"], walk.client.get("/t/acme/api/conversation/data", headers=own).json()["id"]


def walk_visitors(walk: Walk) -> None:
    """Do what visitors do: ask, judge, choose, correct, ask for a person, request and delete."""
    walk("POST", "/t/{name}/ask", data={"question": QUESTION})
    secret, _ = talk(walk, "ana@example.com")
    own = {"X-Ruma-Conversation": secret}
    message = walk.client.get("/t/acme/api/conversation", headers=own).json()["messages"][1]["id"]
    walk("PUT", f"{API}/conversation/presence", own, json={"is_here": False})
    walk("POST", f"{API}/conversation/feedback", own, json={"message_id": message, "is_helpful": True})
    walk("PATCH", f"{API}/conversation/consent", own, json={"keep": True, "analytics": True})
    walk("POST", f"{API}/conversation/person", own, json={"message": "Please ring.", "channel": "widget"})
    walk("POST", f"{API}/conversation/requests", own, json={"kind": "access"})
    walk("DELETE", f"{API}/conversation", own)
    numbers = [talk(walk, "bo@example.com")[1] for _ in "ab"]
    walk("POST", f"{API}/visitor/link", json={"email": "bo@example.com"})
    made = make_visitor_link(walk.tenant, "bo@example.com")
    assert made
    opened = walk("POST", f"{API}/visitor/link/opening", json={"secret": made.secret}).json()
    visit = {"X-Ruma-Visitor": opened["secret"]}
    details = {"name": "Bo", "email": "bo@example.com"}
    walk("PATCH", f"{API}/visitor/conversations/{{conversation_id}}/details", visit, n=numbers[:1], json=details)
    walk("DELETE", f"{API}/visitor/conversations/{{conversation_id}}", visit, n=numbers[:1])
    walk("DELETE", f"{API}/visitor/data", visit)


def walk_doors(walk: Walk) -> dict[str, str]:
    """Join, accept the terms, sign in and out in each way, and change one's own account; return an owner's headers."""
    tenant = walk.tenant
    code = make_link(tenant, "setup")
    form = {"name": "Al", "email": "al@acme.example", "password": PASSWORD}
    walk("POST", "/t/{name}/setup/{secret}", n=[code], data=form)
    owner = sign_in(tenant)
    walk("POST", "/t/{name}/terms", owner, data={"version": version(walk, owner)})
    code = make_link(tenant, "invitation", email="jo@acme.example", role="owner")
    walk("POST", "/t/{name}/invitation/{secret}", n=[code], data={"name": "Jo", "password": PASSWORD})
    walk("POST", "/t/{name}/reset", data={"email": "jo@acme.example"})
    code = make_link(tenant, "reset", member_id=find_member(tenant, "jo@acme.example").id)
    walk("POST", "/t/{name}/reset/{secret}", n=[code], data={"password": NEW_PASSWORD})
    walk("POST", "/t/{name}/sign-in", data={"email": "jo@acme.example", "password": NEW_PASSWORD})
    jo = sign_in(tenant, "owner", email="jo@acme.example")
    walk("POST", "/t/{name}/terms", jo, data={"version": version(walk, jo)})
    walk("POST", "/t/{name}/account/name", jo, data={"name": "Jo B."})
    walk("POST", "/t/{name}/account/email", jo, data={"email": "jb@acme.example", "password": NEW_PASSWORD})
    factor = pyotp.random_base32()
    sent = {"secret": factor, "code": pyotp.TOTP(factor).now(), "password": NEW_PASSWORD}
    walk("POST", "/t/{name}/account/second-factor", jo, data=sent)
    step = make_link(tenant, "second-step", member_id=find_member(tenant, "jb@acme.example").id)
    code = pyotp.TOTP(factor).at(time.time() + 30)
    walk("POST", "/t/{name}/sign-in/code", data={"step": step, "code": code})
    sent = {"do": "off", "password": NEW_PASSWORD}
    walk("POST", "/t/{name}/account/second-factor/change", jo, data=sent)
    sign_in(tenant, "owner", email="jb@acme.example")  # another browser, to be signed out from here
    page = walk.client.get("/t/acme/account", headers=jo).text
    session = re.findall(r"account/sessions/(\d+)/end", page)[0]
    walk("POST", "/t/{name}/account/sessions/{session_id}/end", jo, n=[session], data={})
    walk("POST", "/t/{name}/account/sessions/end", jo, data={})
    sent = {"password": NEW_PASSWORD, "new_password": PASSWORD}
    walk("POST", "/t/{name}/account/password", sign_in(tenant, "owner", email="jb@acme.example"), data=sent)
    walk("POST", "/t/{name}/sign-out", sign_in(tenant, "owner", email="jb@acme.example"), data={})
    create_member(tenant, email="ed@acme.example", name="Ed", role="editor", password=PASSWORD)
    leaving = sign_in(tenant, "editor", email="ed@acme.example")  # without having accepted the terms
    walk("POST", "/t/{name}/account/remove", leaving, data={"password": PASSWORD})
    return sign_in(tenant)


def version(walk: Walk, who: dict[str, str]) -> str:
    """Return the version of the terms that a member is asked to accept."""
    page = walk.client.get("/t/acme/terms", headers={**who, "Accept": "text/html"}).text
    return re.findall(r'name="version" value="([^"]*)"', page)[0]


def walk_documents(walk: Walk, owner: dict[str, str]) -> None:
    """Add, correct, retry and remove what the agent answers from, by pages and API."""
    tenant = walk.tenant
    walk("POST", f"{API}/sources/texts", owner, json={"title": "Summer", "text": "In August we open at nine."})
    walk("POST", "/t/{name}/sources/text", owner, data={"title": "Winter", "text": "In May we open at ten."})
    # Both are refused when they are read: they are of this machine.
    walk("POST", f"{API}/sources/addresses", owner, json={"address": "http://localhost/a"})
    walk("POST", "/t/{name}/sources/address", owner, data={"address": "localhost", "what": "site"})
    walk("PUT", f"{API}/sources/uploads", owner, params={"name": "a.txt"}, content=b"Bread costs four euros.")
    walk("POST", f"{API}/sources/uploads", owner, files={"file": ("b.pdf", b"no pdf at all")})
    wait_until_read(walk)
    failed = [one.id for one in list_uploads(tenant) if one.state == "failed"]
    walk("POST", f"{API}/sources/uploads/{{upload_id}}/retry", owner, n=failed)
    wait_until_read(walk)
    walk("POST", "/t/{name}/sources/retry", owner, data={"upload": failed[0]})
    wait_until_read(walk)
    walk("DELETE", f"{API}/sources/uploads/{{upload_id}}", owner, n=failed)
    walk("POST", f"{API}/sources/uploads", owner, files={"file": ("c.pdf", b"no pdf either")})
    wait_until_read(walk)
    failed = [one.id for one in list_uploads(tenant) if one.state == "failed"]
    walk("POST", "/t/{name}/sources/discard", owner, data={"upload": failed[0]})
    ids = {one.name: one.id for one in list_documents(tenant)}
    text = {"text": "In August we open at eight."}
    walk("PUT", f"{API}/documents/{{document_id}}/text", owner, n=[ids["Summer"]], json=text)
    walk("POST", "/t/{name}/sources/{document_id}/text", owner, n=[ids["Winter"]], data=text)
    ids = {one.name: one.id for one in list_documents(tenant)}
    walk("DELETE", f"{API}/documents/{{document_id}}", owner, n=[ids["Summer"]])
    walk("POST", "/t/{name}/sources/remove", owner, data={"document": ids["Winter"]})
    source = next(one.id for one in list_sources(tenant) if one.location == "a.txt")
    walk("DELETE", f"{API}/sources/{{source_id}}", owner, n=[source])
    walk("PUT", f"{API}/sources/uploads", owner, params={"name": "d.txt"}, content=b"The oven is hot from four on.")
    wait_until_read(walk)
    source = next(one.id for one in list_sources(tenant) if one.location == "d.txt")
    walk("POST", "/t/{name}/sources/remove-source", owner, data={"source": source})
    walk("POST", f"{API}/pairs", owner, json={"question": "Do you deliver?", "answer": "Yes."})
    pair = all_pairs(tenant)[0].id
    walk("PUT", f"{API}/pairs/{{pair_id}}", owner, n=[pair], json={"question": "Do you deliver?", "answer": "No."})
    walk("DELETE", f"{API}/pairs/{{pair_id}}", owner, n=[all_pairs(tenant)[0].id])
    walk("POST", "/t/{name}/pairs/new", owner, data={"question": "Do you bake?", "answer": "Yes."})
    form = {"question": "Do you bake?", "answer": "Daily."}
    walk("POST", "/t/{name}/pairs/{pair_id}", owner, n=[all_pairs(tenant)[0].id], data=form)
    walk("POST", "/t/{name}/pairs/{pair_id}/remove", owner, n=[all_pairs(tenant)[0].id], data={})


def wait_until_read(walk: Walk) -> None:
    """Wait until every upload was read, or has failed."""
    until = time.monotonic() + 60
    while [one for one in list_uploads(walk.tenant) if one.state in ("waiting", "reading")]:
        assert time.monotonic() < until
        time.sleep(0.05)


def walk_inbox(walk: Walk, owner: dict[str, str]) -> None:
    """Do what is done about conversations, by pages and API."""
    numbers = [talk(walk, f"v{number}@example.com")[1] for number in range(5)]
    one = f"{API}/conversations/{{conversation_id}}"
    walk("PATCH", one, owner, n=numbers[:1], json={"is_closed": True})
    walk("POST", f"{one}/replies", owner, n=numbers[:1], json={"text": "Yes."})
    walk("POST", f"{one}/consent/withdrawal", owner, n=numbers[:1])
    walk("DELETE", one, owner, n=numbers[:1])
    page = "/t/{name}/conversations/{conversation_id}"
    for what, form in (
        ("close", {}), ("open", {}), ("unread", {}), ("reply", {"text": "Yes."}), ("uncount", {}),
        ("details", {"visitor_name": "Vi", "visitor_email": "vi@example.com"}), ("delete", {}),
    ):  # fmt: skip
        walk("POST", f"{page}/{what}", owner, n=numbers[1:2], data=form)
    walk("POST", f"{API}/erasures/visitor", owner, json={"conversations": [numbers[2]]})
    walk("POST", f"{API}/erasures/{{erasure_id}}/verify", owner, n=[1])
    walk("POST", "/t/{name}/data/erasures", owner, data={"conversation": [str(numbers[3])]})
    walk("POST", "/t/{name}/data/erasures/{erasure_id}/verify", owner, n=[1], data={})
    hold = walk("POST", f"{API}/holds", owner, json={"reason": "A case.", "conversation_id": numbers[4]}).json()["id"]
    walk("POST", f"{API}/holds/{{hold_id}}/end", owner, n=[hold])
    walk("POST", "/t/{name}/data/holds", owner, data={"reason": "A case.", "conversation": str(numbers[4])})
    walk("POST", "/t/{name}/data/holds/{hold_id}/end", owner, n=[hold + 1], data={})


def walk_privacy(walk: Walk, owner: dict[str, str]) -> None:
    """Do what is done about requests, exports, days and the policy, by pages and API."""
    asked = {"kind": "access", "contact": "jo@example.com"}
    numbers = [walk("POST", f"{API}/requests", owner, json=asked).json()["id"] for _ in "ab"]
    walk("POST", f"{API}/requests/{{request_id}}/extension", owner, n=numbers[:1], json={"reason": "Much."})
    walk("POST", f"{API}/requests/{{request_id}}/closing", owner, n=numbers[:1], json={"outcome": "Sent."})
    walk("POST", "/t/{name}/data/requests", owner, data={**asked, "received_on": ""})
    walk("POST", "/t/{name}/data/requests/{request_id}/extend", owner, n=numbers[1:], data={"reason": "Much."})
    walk("POST", "/t/{name}/data/requests/{request_id}/close", owner, n=numbers[1:], data={"outcome": "Sent."})
    walk("PATCH", f"{API}/retention", owner, json={"conversations": 90})
    walk("POST", "/t/{name}/data/days", owner, data={"conversations": "80"})
    export = walk("POST", f"{API}/exports", owner, json={"kind": "tenant"}).json()["id"]
    walk("DELETE", f"{API}/exports/{{export_id}}", owner, n=[export])
    walk("POST", "/t/{name}/data/exports", owner, data={"kind": "tenant"})
    walk("POST", "/t/{name}/data/exports/{export_id}/remove", owner, n=[export + 1], data={})
    walk("POST", f"{API}/privacy/check", owner)
    walk("POST", "/t/{name}/data/policy/check", owner, data={})


def walk_settings(walk: Walk, owner: dict[str, str]) -> None:
    """Change the agent, the profile, members and keys, by pages and API."""
    tenant = walk.tenant
    walk("POST", f"{API}/search", owner, json={"question": QUESTION})
    asked = {"model": "agent", "messages": [{"role": "user", "content": QUESTION}]}
    walk("POST", "/t/{name}/v1/chat/completions", owner, json=asked)
    walk("POST", "/t/{name}/v1/embeddings", owner, json={"model": EMBEDDER.id, "input": "bread"})
    walk("PATCH", f"{API}/agent/settings", owner, json={"greeting": "Good morning!"})
    shown = walk.client.get("/t/acme/api/agent/settings", headers=owner).json()
    form = {name: value for name, value in shown.items() if isinstance(value, str)}
    walk("POST", "/t/{name}/agent", owner, data={**form, "name": "Crumb", "is_published": "yes"})
    walk("PATCH", f"{API}/profile", owner, json={"contact_email": "hello@acme.example"})
    walk("POST", "/t/{name}/settings", owner, data={"business_name": "Acme"})
    walk("PATCH", f"{API}/consent", owner, json={"keeping": "unless_refused"})
    walk("POST", "/t/{name}/settings/consent", owner, data={"keeping": "agreed"})
    walk("POST", "/t/{name}/settings/mail", owner, data={})
    walk("POST", f"{API}/keys", owner, json={"name": "shop", "scopes": ["chat"]})
    walk("POST", "/t/{name}/people/keys", owner, data={"key_name": "web", "scope": ["chat"]})
    keys = [one.id for one in list_api_keys(tenant)]
    walk("DELETE", f"{API}/keys/{{key_id}}", owner, n=keys[:1])
    walk("POST", "/t/{name}/people/keys/{key_id}/revoke", owner, n=keys[1:2], data={})
    walk("POST", f"{API}/members/invitations", owner, json={"email": "x@acme.example", "role": "viewer"})
    walk("POST", f"{API}/members/invitations/withdraw", owner, json={"email": "x@acme.example"})
    walk("POST", "/t/{name}/people/invitations", owner, data={"email": "y@acme.example", "role": "viewer"})
    walk("POST", "/t/{name}/people/invitations/withdraw", owner, data={"email": "y@acme.example"})
    sign_in(tenant, "viewer"), sign_in(tenant, "editor")
    ids = [find_member(tenant, f"{role}@acme.example").id for role in ("viewer", "editor")]
    walk("PATCH", f"{API}/members/{{member_id}}", owner, n=ids[:1], json={"role": "editor"})
    walk("POST", f"{API}/members/{{member_id}}/reset", owner, n=ids[:1], json={"password": PASSWORD})
    one = "/t/{name}/people/{member_id}"
    for path, sent in ((f"{API}/members/{{member_id}}/second-factor/remove", "json"), (f"{one}/second-factor", "data")):
        factor = pyotp.random_base32()
        enable_second_factor(tenant, ids[0], factor, pyotp.TOTP(factor).now())
        walk("POST", path, owner, n=ids[:1], **{sent: {"password": PASSWORD}})
    walk("DELETE", f"{API}/members/{{member_id}}", owner, n=ids[:1])
    steps: list[tuple[str, dict[str, str]]] = [
        ("role", {"role": "viewer"}),
        ("reset", {"password": PASSWORD}),
        ("access", {"disabled": "yes"}),
        ("remove", {}),
    ]
    for what, fields in steps:
        walk("POST", f"{one}/{what}", owner, n=ids[1:], data=fields)


def walk_billing(walk: Walk, owner: dict[str, str]) -> None:
    """Choose a plan and look at the bills, by pages and API, and hear that it is paid."""
    walk("POST", f"{API}/billing/checkout", owner, json={"plan": "year"})
    walk("POST", f"{API}/billing/portal", owner)
    walk("POST", "/t/{name}/settings/plan", owner, data={"plan": "year"})
    walk("POST", "/t/{name}/settings/billing", owner, data={})
    walk.stripe.pay("cus_1", "price_1year")
    body, headers = walk.stripe.event("customer.subscription.updated", "cus_1")
    walk("POST", "/billing/stripe", headers, content=body)


def test_every_change_is_noted_and_no_question(walk: Walk) -> None:
    """Each route that may change something is used once at least; what is noted nowhere is on the list above."""
    walk_visitors(walk)
    owner = walk_doors(walk)
    walk_documents(walk, owner)
    walk_inbox(walk, owner)
    walk_privacy(walk, owner)
    walk_settings(walk, owner)
    walk_billing(walk, owner)

    assert not walk.wrong, "\n".join(walk.wrong)
    assert walk.used == {(method, path) for method, path, _ in ROUTES if method not in ("GET", "HEAD")}
    assert NOTED_NOWHERE.keys() <= walk.used
