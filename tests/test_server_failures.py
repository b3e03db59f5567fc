import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.exceptions import HTTPException
from litestar.testing import TestClient

from ruma import errors
from ruma.config import Settings, load_settings
from ruma.server.access import PUBLIC
from ruma.server.app import create_app
from ruma.server.failures import REFUSALS, STATUS, describe_bug, describe_failure
from ruma.server.guarding import SECURITY_HEADERS
from ruma.tenant.home import Home
from tests.serving import EMBEDDER, FLAGS, PASSWORD, make_tenant, sign_in

HERE = "http://127.0.0.1:8420"
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")
PAGE = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a home with one tenant, for all tests of this file."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient[Litestar]]:
    """Return a client of a server of that home; nothing here changes it."""
    home = Home(load_settings({**FLAGS, "home": folder}, {}))
    make_tenant(home)
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
        yield client


def all_errors() -> list[type[errors.RumaError]]:
    """Return every class of the error tree."""
    found = [errors.RumaError]
    for kind in found:
        found += kind.__subclasses__()
    return found


def assert_one_shape(response: Any) -> None:
    """Every failure is {"error": {"code", "message", "hint"}}, with a code and a sentence."""
    body = response.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["code", "message", "hint"]
    assert all(isinstance(value, str) for value in body["error"].values())
    assert body["error"]["code"].replace("_", "").isalpha()
    assert body["error"]["message"].endswith(".")


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_of_its_own(kind: type[errors.RumaError]) -> None:
    """A new error in the tree needs a decision about its status and its code."""
    assert kind in STATUS
    status, problem = describe_failure(kind("It broke.", hint="Mend it."))
    assert (status, problem.code) == STATUS[kind]


def test_every_code_means_one_thing() -> None:
    """A program can tell the failures apart by their codes."""
    own = [code for _, code in STATUS.values()]
    refused = [code for code, _ in REFUSALS.values()]

    assert len(set(own)) == len(own)
    assert len(set(refused)) == len(refused)


def test_what_the_reader_can_mend_is_told() -> None:
    """An error of the request keeps its sentence and its hint."""
    status, problem = describe_failure(errors.NotReadyError("There are no documents yet.", hint="ruma ingest FOLDER"))

    assert status == 409
    assert (problem.message, problem.hint) == ("There are no documents yet.", "ruma ingest FOLDER")


def test_what_only_the_operator_can_mend_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A path of this machine is not shown to a visitor, and the operator still learns it."""
    status, problem = describe_failure(errors.DamagedError("/home/shop/tenants/acme/tenant.db is damaged."))

    assert status == 500
    assert "/home/shop" not in problem.message + problem.hint
    assert "/home/shop/tenants/acme/tenant.db is damaged" in caplog.text


def test_a_bug_is_told_by_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the reader nor the log sees a bug's message, since it may quote a document; its place is logged."""
    document = "very private words".upper()
    try:
        try:
            raise ValueError(document)
        except ValueError as exc:
            raise KeyError(document) from exc
    except KeyError as exc:
        status, problem = describe_failure(exc)

    assert (status, problem.code) == (500, "bug")
    assert "KeyError" in caplog.text
    assert "ValueError" in caplog.text
    assert Path(__file__).name in caplog.text
    assert document not in caplog.text + problem.message + problem.hint


def test_a_circle_of_causes_ends() -> None:
    """An exception that is its own cause's cause is described all the same."""
    first, second = ValueError(), KeyError()
    first.__context__, second.__context__ = second, first

    assert describe_bug(first).splitlines() == ["ValueError", "KeyError"]


def test_every_route_fails_in_one_shape(client: TestClient[Litestar]) -> None:
    """Walk all routes by all methods: every answer has the security headers, every failure the one shape."""
    values = {"name": "nobody"}
    walked = 0
    for route in client.app.routes:
        path = re.sub(r"{(\w+)}", lambda found: values.get(found[1], "7"), route.path_format)
        for method in METHODS:
            response = client.request(method, path, headers={"accept": "application/json"}, follow_redirects=False)
            walked += 1

            assert response.status_code < 500, (method, path)
            for name, value in SECURITY_HEADERS.items():
                assert response.headers[name] == value or name == "cache-control", (method, path, name)
            assert response.headers["cache-control"] == "no-store"
            if response.status_code >= 400 and method != "HEAD":
                assert_one_shape(response)
    assert walked >= 100


def test_a_field_that_nobody_knows_is_refused(client: TestClient[Litestar], folder: Path) -> None:
    """By every route that takes JSON, with its name and those that there are; clients of OpenAI's API may send more."""
    with Home(load_settings({**FLAGS, "home": folder}, {})).open("acme") as tenant:
        owner = sign_in(tenant)
    asked: dict[str, tuple[int, str]] = {}
    for route in client.app.routes:
        for handler in getattr(route, "route_handlers", []):
            if handler.parsed_data_field:
                path = re.sub(r"{(\w+)}", lambda found: "acme" if found[1] == "name" else "7", route.path_format)
                (method,) = handler.http_methods - {"OPTIONS"}
                answer = client.request(method, path, json={"nmae": "Ada"}, headers=owner)
                asked[f"{method} {path}"] = answer.status_code, answer.text

    others = {way: said for way, said in asked.items() if "/v1/" not in way}
    assert len(others) > 25
    assert {status for status, _ in others.values()} == {400}
    assert {way for way, (_, said) in others.items() if "There is no field 'nmae' here." not in said} == set()
    assert "Fields: name, role, is_disabled, password." in asked["PATCH /t/acme/api/members/7"][1]
    assert not any("nmae" in said for way, (_, said) in asked.items() if "/v1/" in way)


TOO_LONG = "many words " * 1_800
FORMS: list[tuple[str, dict[str, str], str]] = [
    ("account/name", {}, "name"),
    ("account/email", {"password": PASSWORD}, "email"),
    ("account/second-factor", {"code": "123456", "password": PASSWORD}, "secret"),
    ("people/invitations", {"role": "viewer"}, "email"),
    ("people/invitations", {"email": "b@example.com"}, "role"),
    ("people/keys", {"scope": "chat"}, "key_name"),
    ("settings", {}, "business_name"),
    ("settings", {}, "website"),
    ("settings", {}, "notify_email"),
    ("settings/consent", {}, "keeping"),
    ("pairs/new", {"answer": "Yes."}, "question"),
    ("pairs/new", {"question": "Why?"}, "answer"),
    ("sources/text", {"text": "Open at nine."}, "title"),
    ("ask", {}, "question"),
    ("data/requests", {"kind": "access", "note": "", "received_on": ""}, "contact"),
    ("data/requests", {"kind": "access", "contact": "Jo", "note": ""}, "received_on"),
    ("data/holds", {}, "reason"),
    ("data/days", {}, "conversations"),
    ("data/exports", {"kind": "tenant"}, "password"),
]
BODIES: list[tuple[str, str, dict[str, Any], str]] = [
    ("PATCH", "profile", {}, "business_name"),
    ("PATCH", "agent/settings", {}, "instructions"),
    ("PATCH", "agent/settings", {}, "accent"),
    ("PATCH", "members/1", {}, "name"),
    ("POST", "members/invitations", {"role": "viewer"}, "email"),
    ("POST", "keys", {"scopes": ["chat"]}, "name"),
    ("POST", "chat", {}, "question"),
    ("POST", "search", {}, "question"),
    ("POST", "pairs", {"answer": "Yes."}, "question"),
    ("POST", "sources/texts", {"text": "Open at nine."}, "title"),
    ("POST", "conversation/person", {}, "message"),
    ("POST", "conversation/person", {"message": "Please ring."}, "name"),
    ("POST", "conversation/requests", {"kind": "access", "contact": "jo@example.com"}, "note"),
    ("POST", "requests", {"kind": "access", "contact": "Jo"}, "note"),
    ("POST", "holds", {}, "reason"),
    ("POST", "exports", {"kind": "tenant"}, "password"),
    ("POST", "erasures/visitor", {}, "email"),
]


def test_what_is_too_long_is_said_in_a_short_sentence(client: TestClient[Litestar], folder: Path) -> None:
    """By each form and each body, without repeating all of it; nothing is cut to fit."""
    with Home(load_settings({**FLAGS, "home": folder}, {})).open("acme") as tenant:
        owner = sign_in(tenant)
    for path, others, field in FORMS:
        answer = client.post(f"/t/acme/{path}", data={**others, field: TOO_LONG}, headers={**owner, **PAGE})
        assert answer.status_code == 400, (path, field)
    for method, path, others, field in BODIES:
        answer = client.request(method, f"/t/acme/api/{path}", json={**others, field: TOO_LONG}, headers=owner)
        assert answer.status_code == 400, (path, field)
        assert_one_shape(answer)
        assert len(answer.json()["error"]["message"]) < 200, (path, field)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/HEALTH",
        "/health/%2e",
        "/health;x",
        "/%2e%2e/",
        "/schema",
        "/schema/openapi.json",
        "/docs",
        "/metrics",
        "/static/",
        "/static/chat.html",
        "/static/..%2fchat.html",
        "/static/%2e%2e%2fapp.py",
        "/t",
        "/t/acme/api",
        "/t/acme/api/",
        "/t/acme/api/chat/",
        "/t/acme/documents/x",
        "/t/acme/documents/-1",
        "/t/acme/documents/99999999999999999999999",
        "/t/acme/documents/1?start=x",
        "/t/acme/documents/1?start=-1",
        "/t/acme/api/documents/99999999999999999999999",
        "/t/acme/api/documents/0",
        "/t/acme/api/conversation/x",
        "/t/acme/api/conversation/%00",
        "/t/acme/api/conversation/%ff%fe",
        "/t/acme/documents/1?start=9&end=1e99",
    ],
)
def test_odd_addresses_fail_in_one_shape(client: TestClient[Litestar], path: str) -> None:
    """What is not there, or not a number, is refused as everything else is, and never with a crash."""
    response = client.get(path)

    assert 400 <= response.status_code < 500
    assert_one_shape(response)


@pytest.mark.parametrize(
    "name",
    [
        "%2e%2e",
        "%2e",
        "%2e%2e%2f",
        "..%2f..%2fx",
        "acme%00",
        "ACME",
        "acme.",
        "acme%20",
        " acme",
        "ac/me",
        "a\\b",
        "con",
        "~",
        "-rf",
        "$HOME",
        "x" * 300,
        "ac\u212be",
        "\u202eemca",
        "\U0001f600",
        "acme%0a",
        "a'b",
        "%ff",
    ],
)
def test_a_name_that_no_tenant_can_have_is_not_found(client: TestClient[Litestar], folder: Path, name: str) -> None:
    """A hostile name is answered like any that does not exist; no file is touched and no tenant is named."""
    before = sorted(folder.rglob("*"))
    for path in (f"/t/{name}/api/agent", f"/t/{name}/"):
        response = client.get(path)

        assert response.status_code == 404
        assert_one_shape(response)
        assert "acme" not in response.text
    assert [file for file in sorted(folder.rglob("*")) if file not in before] == []


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "bad_request"),
        (b"", {}, 400, "bad_request"),
        (b"[]", {}, 400, "bad_request"),
        (b"{}", {}, 400, "bad_request"),
        (b'{"question": 5}', {}, 400, "bad_request"),
        (b'{"question": "x", "mode": "sing"}', {}, 400, "bad_request"),
        (b'{"question": "x", "conversation": "unknown"}', {}, 404, "not_found"),
        (b'{"question": "\xff"}', {}, 400, "bad_request"),
        (b'{"question": ""}', {}, 400, "bad_request"),
        (b'{"question": "x"}', {"content-type": "text/plain"}, 415, "not_json"),
        (b'{"question": "x"}', {"content-type": "application/x-www-form-urlencoded"}, 415, "not_json"),
        (b'{"question": "x"}', {"content-type": "multipart/form-data; boundary=x"}, 415, "not_json"),
        (b'{"question": "x"}', {"origin": "https://evil.example"}, 403, "cross_site"),
        (b'{"question": "x"}', {"sec-fetch-site": "cross-site"}, 403, "cross_site"),
        (b'{"question": "x"}', {"host": "evil.example"}, 421, "wrong_host"),
        (b'{"question": "' + b"x" * 1_000_000 + b'"}', {}, 413, "too_large"),
        (b"[" * 100_000, {}, 400, "bad_request"),
    ],
)
def test_requests_that_cannot_be_understood(
    client: TestClient[Litestar], body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    """Each kind of bad request has its status and its code, whether Ruma or the framework notices."""
    sent = {"content-type": "application/json", **headers}
    for stream in ("application/json", "text/event-stream"):
        response = client.post("/t/acme/api/chat", content=body, headers={**sent, "accept": stream})

        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        assert_one_shape(response)


def test_an_endless_body_is_cut(client: TestClient[Litestar]) -> None:
    """A body that does not say its length is refused once it is too long."""

    def endless() -> Iterator[bytes]:
        yield b'{"question": "'
        for _ in range(300):
            yield b"x" * 10_000

    response = client.post("/t/acme/api/chat", content=endless(), headers={"content-type": "application/json"})

    assert response.status_code == 413
    assert_one_shape(response)


def test_a_person_gets_a_page(client: TestClient[Litestar]) -> None:
    """Who opens an address in a browser reads a page about the failure; the API stays JSON."""
    for path in ("/nothing", "/t/nobody/", "/t/acme/documents/99", "/t/<script>/"):
        response = client.get(path, headers=PAGE)

        assert response.status_code == 404
        assert response.headers["content-type"].startswith("text/html")
        assert "There is nothing at this address." in response.text or "is not there any more." in response.text
        assert "<script>" not in response.text
    assert_one_shape(client.get("/t/nobody/api/agent", headers=PAGE))


def test_a_method_that_is_not_allowed_says_which_are(client: TestClient[Litestar]) -> None:
    """405 keeps the header that it must have."""
    response = client.delete("/t/acme/api/agent")

    assert response.status_code == 405
    assert "GET" in response.headers["allow"]


def test_a_crash_is_a_500_without_words(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a handler is one line for the reader and its place in the log."""

    @get("/crash", policy=PUBLIC)
    async def crash() -> None:
        raise RuntimeError("private words".upper())

    app = create_app(Home(settings), lambda: EMBEDDER, lambda _: None)
    app.register(crash)
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as client, caplog.at_level(logging.DEBUG):
        response = client.get("/crash")

    assert response.status_code == 500
    assert_one_shape(response)
    assert "PRIVATE WORDS" not in response.text + caplog.text
    assert "RuntimeError" in caplog.text


def test_a_refusal_without_a_code_of_its_own_has_one() -> None:
    """Any other status that the framework may give still has the one shape."""
    status, problem = describe_failure(HTTPException(status_code=418, detail="I am a teapot"))

    assert (status, problem.code, problem.message) == (418, "refused", "I am a teapot.")
