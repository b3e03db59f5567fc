import gzip
import json
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.errors import InputError
from ruma.server.addresses import PublicAddress
from ruma.server.app import create_app
from ruma.server.languages import accepted_languages, choose_language, fill, read_words
from ruma.server.look import DARK, LIGHT, Colour, Surface, colours_on, contrast, read_colour, write_look
from ruma.tenant.agents import change_agent
from ruma.tenant.home import Home
from tests.payloads import MARKUP
from tests.serving import EMBEDDER, QUESTION, make_tenant

HERE = "http://127.0.0.1:8420"
SHOP, BLOG = "https://www.shop.example", "https://blog.example:8443"
LANGUAGES = ("de", "en", "es", "fr", "it", "nl", "pt")
HOSTILE = " ".join(MARKUP)

Client = TestClient[Litestar]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home of four tenants: on two websites, on none, with a hostile agent, and in German."""
    home = Home(load_settings({"home": tmp_path_factory.mktemp("home"), "key_source": "machine"}, {}))
    for name in ("acme", "closed", "hostile", "german"):
        make_tenant(home, name)
    for name, changes in {
        "acme": {"websites": (SHOP, BLOG)},
        "hostile": {"websites": (SHOP,), "name": HOSTILE, "greeting": HOSTILE},
        "german": {"websites": (SHOP,), "language": "de", "position": "left", "theme": "dark", "is_published": False},
    }.items():
        with home.open(name) as tenant:
            change_agent(tenant, **changes)  # type: ignore[arg-type]
    return home


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[Client]:
    """Return a client of the server."""
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
        yield client


def settings_of(script: str) -> dict[str, Any]:
    """Return what the server wrote into the script."""
    found = re.search(r"\}\)\((\{.*\})\);\s*$", script)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


def test_the_script_is_small(client: Client) -> None:
    """What a website loads before the chat is opened is one file of less than 5 kB; the issue allows 15."""
    sent = client.get("/t/acme/widget.js").content

    assert len(gzip.compress(sent)) < 5_000


def test_the_script_can_be_loaded_by_websites_and_kept_for_five_minutes(client: Client) -> None:
    """Its headers let another origin load it, let caches keep it, and it is not sent twice."""
    first = client.get("/t/acme/widget.js")
    again = client.get("/t/acme/widget.js", headers={"if-none-match": first.headers["etag"]})

    assert first.headers["content-type"].startswith("text/javascript")
    assert first.headers["cross-origin-resource-policy"] == "cross-origin"
    assert first.headers["cache-control"] == "public, max-age=300"
    assert "set-cookie" not in first.headers
    assert (again.status_code, again.content) == (304, b"")


def test_the_script_knows_what_the_tenant_set(client: Client) -> None:
    """It holds the allowed websites, the look and the button's words, and no more of the tenant's than that."""
    acme, german = (settings_of(client.get(f"/t/{name}/widget.js").text) for name in ("acme", "german"))

    assert acme["websites"] == [SHOP, BLOG]
    assert (acme["origin"], acme["address"]) == (HERE, f"{HERE}/t/acme")
    assert (german["position"], german["theme"], german["language"]) == ("left", "dark", "de")
    assert acme["title"]["de"] == "Chat mit Marrowby Bakery"
    assert acme["words"].keys() == set(LANGUAGES)
    assert acme.keys() == {
        *("__proto__", "origin", "address", "websites", "position", "theme", "colours", "language", "words", "title")
    }


def test_the_script_names_the_address_that_visitors_use(home: Home) -> None:
    """A server that is reached from outside names its one address, whatever a proxy says of the host."""
    public = PublicAddress(origin="https://agent.example.com", hosts=frozenset({"agent.example.com"}))
    app = create_app(home, lambda: EMBEDDER, lambda _: None, public=public)
    with TestClient(app, base_url=HERE) as client:
        assert settings_of(client.get("/t/acme/widget.js").text)["origin"] == "https://agent.example.com"
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url="http://127.0.0.1:9000") as client:
        assert settings_of(client.get("/t/acme/widget.js").text)["origin"] == "http://127.0.0.1:9000"


def test_a_hostile_name_stays_a_word_in_the_script(client: Client) -> None:
    """Whatever the agent is called, the script is the same script with other data."""
    plain, hostile = (client.get(f"/t/{name}/widget.js").text for name in ("acme", "hostile"))

    assert settings_of(hostile)["title"]["en"] == f"Chat with {HOSTILE}"
    assert plain.rpartition("})({")[0] == hostile.rpartition("})({")[0]


def test_only_allowed_websites_may_frame_the_chat(client: Client) -> None:
    """The frame names each allowed website exactly, and itself for the preview."""
    for name, framers in {"acme": f"'self' {SHOP} {BLOG}", "hostile": f"'self' {SHOP}"}.items():
        policy = client.get(f"/t/{name}/widget").headers["content-security-policy"]
        assert [part.strip() for part in policy.split(";") if "frame-ancestors" in part] == [
            f"frame-ancestors {framers}"
        ]
        assert "script-src 'self'" in policy.split("; ")
        assert "unsafe" not in policy


def test_the_frame_fits_into_an_isolated_website(client: Client) -> None:
    """The frame carries what Cross-Origin-Embedder-Policy asks of it, and may use no device."""
    headers = client.get("/t/acme/widget").headers

    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert "microphone=()" in headers["permissions-policy"]
    assert headers["cache-control"] == "no-store"


def test_an_agent_without_websites_has_no_frame(client: Client) -> None:
    """By default no website may show the agent, and there is nothing to frame."""
    assert client.get("/t/closed/widget").status_code == 404
    assert settings_of(client.get("/t/closed/widget.js").text)["websites"] == []


def test_the_preview_holds_nothing_of_the_tenant(client: Client) -> None:
    """It may be opened by anyone, so it shows a plain agent until a member's page tells it more."""
    preview = client.get("/t/german/widget?preview=1")

    assert preview.status_code == 200
    assert "Marrowby Bakery" not in preview.text
    assert QUESTION not in preview.text
    assert "data-preview" in preview.text
    assert "frame-ancestors 'self';" in preview.headers["content-security-policy"] + ";"


@pytest.mark.parametrize(
    ("address", "accepted", "language"),
    [
        ("/t/acme/widget", "", "en"),
        ("/t/acme/widget?lang=fr-CA", "de", "fr"),
        ("/t/acme/widget", "sv, nl;q=0.8, de;q=0.9", "de"),
        ("/t/acme/widget?lang=xx", "", "en"),
        ("/t/german/widget?lang=pl", "", "de"),
        ("/t/german/widget?lang=it", "", "it"),
        ("/t/acme/", "es-MX,es;q=0.9", "es"),
    ],
)
def test_the_chat_speaks_the_visitors_language(client: Client, address: str, accepted: str, language: str) -> None:
    """The website's language comes first, then the browser's, then the agent's, then English."""
    page = client.get(address, headers={"accept-language": accepted}).text

    assert f'<html lang="{language}">' in page
    assert read_words()[language]["ask"] in page.replace("&#39;", "'")


def test_hostile_languages_are_none() -> None:
    """A header or a parameter that is no language counts for nothing."""
    for payload in (*MARKUP, "../../etc/passwd", "de\n", "q=1", ";;;,,,", "*", "x" * 5000):
        assert choose_language(payload, *accepted_languages(payload)) in ("en", "de")
    assert accepted_languages("de;q=0, fr;q=0.5, en;q=x") == ["en", "fr"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_all_words(language: str) -> None:
    """No word is missing, empty or left in English by mistake, and each has the same places to fill."""
    english, words = read_words()["en"], read_words()[language]

    assert set(read_words()) == set(LANGUAGES)
    assert words.keys() == english.keys()
    for name, text in words.items():
        assert text.strip() == text != "", name
        assert re.findall(r"\{\w+\}", text) == re.findall(r"\{\w+\}", english[name]), name
    same = [name for name in words if words[name] == english[name]]
    assert language == "en" or len(same) < 8, same


def test_braces_in_values_mean_nothing() -> None:
    """An agent that is called like a place to fill is called so."""
    assert fill("{name} says {count}", {"name": "{count}", "count": 1}) == "{count} says 1"


def text_on(surface: Surface) -> Colour:
    """Return the colour of words in ruma.css."""
    return read_colour("#1e1d1b" if surface is LIGHT else "#edebe6")


@pytest.mark.parametrize("surface", [LIGHT, DARK], ids=["light", "dark"])
def test_words_can_be_read_with_any_accent(surface: Surface) -> None:
    """Whatever colour a business takes, words have a contrast of 4.5 to 1 wherever the style sheet puts them."""
    for red, green, blue in product(range(0, 256, 51), repeat=3):
        accent = (red / 255, green / 255, blue / 255)
        found = {name: read_colour(text) for name, text in colours_on(surface, accent).items()}
        grounds = (surface.page, surface.raised, surface.sunken, found["tint"])
        for words in ("accent", "accent-strong"):
            assert min(contrast(found[words], ground) for ground in grounds) >= 4.5, (accent, words)
        for words, ground in (("on-accent", "accent"), ("on-fill", "fill"), ("on-fill", "fill-strong")):
            assert contrast(found[words], found[ground]) >= 4.5, (accent, words, ground)
        assert contrast(text_on(surface), found["tint"]) >= 4.5, accent


def test_the_look_is_a_style_sheet_of_colours(client: Client) -> None:
    """It sets the colours and which of light and dark is shown; an accent that can be seen stays as it is."""
    german = client.get("/t/german/look.css?v=1")
    trial = client.get("/t/acme/look.css?accent=ffcc00&theme=light")

    assert german.headers["content-type"].startswith("text/css")
    assert "color-scheme: dark;" in german.text
    assert "color-scheme: light;" in trial.text
    assert "--fill: light-dark(#ffcc00, #ffcc00);" in trial.text
    assert client.get("/t/acme/look.css").text == write_look("#0d6b5b", "auto")
    assert client.get("/t/acme/look.css?accent=ffcc00}*{display:none}&theme=light").status_code == 400


@pytest.mark.parametrize("text", ["", "red", "#fff", "#gggggg", "#0d6b5b;}", "url(x)"])
def test_what_is_no_colour_is_refused(text: str) -> None:
    """A colour is six digits; nothing else reaches a style sheet."""
    with pytest.raises(InputError, match="no colour"):
        read_colour(text)
