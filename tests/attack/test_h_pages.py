"""Every address that can be opened, opened by an owner whose tenant is full of hostile words."""

import re
import zipfile
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.privacy.exporting import write_export
from ruma.server.app import create_app
from ruma.tenant.copying.contents import Scope
from ruma.tenant.home import Home
from tests.attack.test_f_routes import HERE, ROUTES, check_headers, rows
from tests.harness.hostile_words import HOSTILE, OWNER, exchange_words, fill_everything
from tests.payloads import MARKUP
from tests.serving import EMBEDDER, FLAGS, sign_in
from tests.test_server_pages import KNOWN_TAGS, Markup

CONVERSATION = "X-Ruma-Conversation"
BROWSER = {"Accept": "text/html", "Accept-Language": MARKUP[0], "User-Agent": MARKUP[0], "X-Request-Id": MARKUP[0]}
OURS = f"{KNOWN_TAGS} aside br circle iframe meter q strong style table tbody td text th thead time tr ul".split()
SHOWING = {"", "/conversations", "/conversations/{conversation_id}", "/sources", "/people", "/data/requests", "/pairs"}
"""Pages that surely show such words."""

OTHERWISE = {
    "/", "/static/{name}", "/sign-in", "/terms", "/reset/{secret}", "/setup/{secret}", "/api/mentions",
    "/api/visitor/conversations/{conversation_id}", "/api/visitor/data", "/api/visitor/export",
}  # fmt: skip
"""Addresses that lead elsewhere, or want another secret than an owner's."""

NOT_SENT = re.compile(r"^#|sign-out|/sessions/|/policy/check")
"""Forms that end the session, and one whose answer takes seconds and repeats nothing."""


@dataclass(frozen=True)
class Looked:
    """What an owner got who opened every address, and the tenant's rows before and after."""

    pages: dict[str, httpx.Response]
    exchanged: set[str]
    """The columns that hold hostile words."""

    before: dict[str, list[Any]]
    after: dict[str, list[Any]]
    answers: dict[str, httpx.Response]
    """What came back from the forms of these pages, sent with hostile words in all their fields."""

    export: BinaryIO
    """An export of all of it."""


def send_forms(
    client: TestClient[Litestar], headers: dict[str, str], pages: dict[str, httpx.Response]
) -> dict[str, httpx.Response]:
    """Send hostile words to every address that a form of these pages goes to, but for the way out."""
    answers: dict[str, httpx.Response] = {}
    for response in pages.values():
        tags = Markup(response.text).tags if "html" in response.headers.get("content-type", "") else []
        names = {attributes["name"] for _, attributes in tags if attributes.get("name")}
        sent = {name: HOSTILE for name in names}
        places = {attributes.get("action") for tag, attributes in tags if tag == "form"}
        places |= {attributes.get("hx-post") for _, attributes in tags}
        for place in sorted(one for one in places - answers.keys() if one and not NOT_SENT.search(one)):
            answers[place] = client.post(place, data=sent, headers=headers)
    return answers


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Looked:
    """Return what an owner got from every address that can be opened, each with the number of something."""
    home = Home(load_settings({"home": tmp_path_factory.mktemp("home"), **FLAGS}, {}))
    home.create("acme")
    pages = {}
    with home.open("acme") as tenant:
        values = fill_everything(tenant)
        exchanged = exchange_words(tenant)
        headers = {**sign_in(tenant, "owner", email=OWNER), CONVERSATION: values["conversation"], **BROWSER}
        with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
            client.follow_redirects = False
            client.event_hooks["response"] = [check_headers]
            before = rows(tenant)
            for method, path, _ in ROUTES:
                if method == "GET" and not path.endswith("openapi.json"):  # long, and nobody's words
                    filled = re.sub(r"{(\w+)}", lambda found: values.get(found[1], "1"), path)
                    pages[path] = client.get(filled, headers=headers)
            after = rows(tenant)
            answers = send_forms(client, headers, pages)
        export = BytesIO()
        write_export(tenant, Scope(), export)
    return Looked(pages, exchanged, before, after, answers, export)


def test_h57_hostile_words_are_words_on_every_page(looked: Looked) -> None:
    """Whatever is stored, and whatever a browser says of itself: no page has an element, an attribute or an address
    from it, and the words are there to be read.
    """
    assert len(looked.exchanged) >= 15, looked.exchanged
    shown = set()
    for path, response in looked.pages.items():
        if "html" in response.headers.get("content-type", "") and check_words(path, response.text):
            shown.add(path.removeprefix("/t/{name}"))
    assert shown >= SHOWING, SHOWING - shown


def test_h57_hostile_words_are_words_when_a_form_is_refused(looked: Looked) -> None:
    """What was typed stands in its field again, and is named where it was wrong: as words."""
    assert len(looked.answers) > 45
    refused = {path: one for path, one in looked.answers.items() if one.status_code >= 400}
    assert {one.status_code for one in refused.values()} <= {400, 404, 405, 409, 429}
    pages = [path for path, one in refused.items() if "html" in one.headers.get("content-type", "")]
    assert len(pages) == len(refused)
    assert sum(check_words(path, refused[path].text) for path in pages) > 8


def test_h58_hostile_words_are_words_in_an_export(looked: Looked) -> None:
    """Its pages are opened from a disk, where no policy of ours protects the reader."""
    with zipfile.ZipFile(looked.export) as archive:
        pages = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".html")}
        styled = {name for name, page in pages.items() if "content-security-policy" in page.lower()}

    assert len(pages) > 5
    assert styled == set(pages)
    assert sum(check_words(name, page, is_offline=True) for name, page in pages.items()) >= 4


def check_words(path: str, text: str, *, is_offline: bool = False) -> bool:
    """Check that no word of a page is markup, and tell whether there are hostile ones."""
    page = Markup(text)
    assert [tag for tag, _ in page.tags].count("style") == is_offline, path  # a page from a disk has its own in itself
    for tag, attributes in page.tags:
        assert tag in OURS, (path, tag)
        assert tag != "iframe" or path.endswith("/agent"), path
        for name, value in attributes.items():
            assert not name.startswith("on"), (path, tag, name)
            assert name not in ("style", "srcdoc", "formaction"), (path, tag, name)
            if name in ("href", "src", "action", "hx-get", "hx-post", "hx-delete", "hx-patch", "hx-put"):
                own = r"[\w./-]+(#.*)?$" if is_offline else r"/(?!/)|[#?]|$"
                assert re.match(own, value or ""), (path, tag, name, value)
    assert not re.search(r"<script(?![^>]* src=\"/static/)", text), path
    return MARKUP[0] in page.text


def test_k72_looking_changes_nothing(looked: Looked) -> None:
    """Opening addresses writes down that data was taken along or read, what the policy says, and nothing else."""
    changed = {table for table in looked.before if looked.before[table] != looked.after[table]}
    assert changed == {"audit", "conversation", "policy_version", "sqlite_sequence"}
    noted = {row[5] for row in looked.after["audit"][len(looked.before["audit"]) :]}
    assert noted == {
        "audit.exported",
        "conversation.exported",
        "export.made",
        "original.downloaded",
        "export.fetched",
        "policy.changed",
    }
    for before, after in zip(looked.before["conversation"], looked.after["conversation"], strict=True):
        assert sum(one != other for one, other in zip(before, after, strict=True)) <= 1  # that a member has read it


def test_k73_every_address_was_looked_at(looked: Looked) -> None:
    """Nearly all of them give what they are for, so that the headers were looked at on that: see `check_headers`."""
    assert len(looked.pages) > 85
    found = {path for path, response in looked.pages.items() if response.status_code == 200}
    assert {path.removeprefix("/t/{name}") for path in looked.pages.keys() - found} <= OTHERWISE
