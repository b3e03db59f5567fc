import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from ruma.config import Settings, load_settings
from ruma.server.app import create_app
from ruma.server.pages.chat import Part, split_answer
from ruma.server.shapes import Place, passage_url
from ruma.tenant.agents import change_agent
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import list_documents
from tests.payloads import MARKUP
from tests.serving import EMBEDDER, QUESTION, ScriptedGenerator, make_tenant, store

HERE = "http://127.0.0.1:8420"
PAGE = {"accept": "text/html"}
FORM = {"content-type": "application/x-www-form-urlencoded", **PAGE}
PRICE = "Delivery to Marrowby costs £2.50."
KNOWN_TAGS = """html head meta title link script body a header div span h1 h2 h3 h4 h5 p main section article form
    button footer label textarea input svg path rect template ol li blockquote pre code i nav mark
    details summary dialog dl dt dd fieldset legend select option"""

Client = TestClient[Litestar]


class Markup(HTMLParser):
    """Notes every tag and attribute of a page, and its words."""

    def __init__(self, page: str) -> None:
        """Read the page."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note the words."""
        self.words.append(data)

    @property
    def text(self) -> str:
        """The words of the page."""
        return " ".join(" ".join(self.words).split())


def assert_harmless(page: str) -> Markup:
    """A page has known tags, no script or style of its own, and addresses of this server alone."""
    found = Markup(page)
    for tag, attributes in found.tags:
        assert tag in KNOWN_TAGS.split(), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in ("style", "srcdoc", "formaction"), (tag, name)
            if name in ("href", "src", "action"):
                assert value, (tag, name)
                assert re.match(r"/(?!/)|#", value), (tag, name, value)
            if tag == "a" and attributes.get("target"):
                assert attributes["rel"] == "noopener noreferrer"
    assert not re.search(r"<script(?![^>]* src=)", page)
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home with three tenants: one that quotes, one that writes, one whose every word is hostile."""
    home = Home(
        load_settings(
            {"home": tmp_path_factory.mktemp("home"), "key_source": "machine", "visitor_questions": 100_000}, {}
        )
    )
    make_tenant(home)
    make_tenant(home, "writing", mode="write")
    home.create("hostile")
    with home.open("hostile") as tenant:
        for number, payload in enumerate(MARKUP):
            heading = f"Heading {payload}"
            store(tenant, f"{number}{payload}", f"Title {payload}", [(heading, 1, [f"Zebra{number} says {payload}."])])
        change_agent(
            tenant,
            name=f"Agent {MARKUP[0]}",
            greeting=" ".join(MARKUP),
            questions=tuple(MARKUP[:10]),
            decline=" ".join(MARKUP),
            is_published=True,
            mode="quote",
        )
    return home


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[Client]:
    """Return a client whose model writes hostile words, and cites."""
    generator = ScriptedGenerator(" ".join(MARKUP) + " [1]")
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: generator), base_url=HERE) as client:
        yield client


def ask(client: Client, question: str, tenant: str = "acme", **more: str) -> Any:
    """Send the form of the chat page."""
    return client.post(f"/t/{tenant}/ask", data={"question": question, **more}, headers=FORM)


def test_the_chat_page_greets(client: Client) -> None:
    """Name, greeting and suggested questions are on the page, and nothing on it is from elsewhere."""
    response = client.get("/t/acme/", headers=PAGE)

    page = assert_harmless(response.text)
    assert "Marrowby Bakery" in page.text
    assert "Hello!" in page.text
    assert QUESTION in [attributes.get("value") for tag, attributes in page.tags if tag == "button"]
    assert client.get("/t/acme").text == response.text


def test_a_tenant_without_documents_says_what_to_type(client: Client, home: Home) -> None:
    """The page of an agent with nothing to answer from shows the command, and no questions to click."""
    home.create("empty")
    with home.open("empty") as tenant:
        change_agent(tenant, questions=("Anything?",), is_published=True)

    page = client.get("/t/empty/", headers=PAGE).text

    assert "ruma ingest --tenant empty FOLDER" in page
    assert "Anything?" not in page


@pytest.mark.parametrize(("names", "status"), [([], 200), (["acme"], 307), (["acme", "other"], 404)])
def test_the_first_page_leads_on_and_lists_nobody(settings: Settings, names: list[str], status: int) -> None:
    """No tenant: what to type. One: its page. Several: the form of an address, and none of their names."""
    home = Home(settings)
    for name in names:
        home.create(name)
    with TestClient(create_app(home, lambda: EMBEDDER, lambda _: None), base_url=HERE) as client:
        response = client.get("/", headers=PAGE, follow_redirects=False)

    assert response.status_code == status
    if status == 307:
        assert response.headers["location"] == "/t/acme/"
    else:
        assert_harmless(response.text)
        assert "acme" not in response.text
        assert ("ruma ingest FOLDER" in response.text) is not bool(names)


def test_the_form_answers_without_scripts(client: Client) -> None:
    """Question, quote and a link to its place come back as a page; the next question goes on from there."""
    first = ask(client, QUESTION)
    page = assert_harmless(first.text)
    fields = [attributes for tag, attributes in page.tags if attributes.get("name") == "conversation"]
    second = ask(client, "Which satellites orbit Neptune?", conversation=fields[0]["value"] or "")

    assert first.status_code == 200
    assert QUESTION in page.text
    assert PRICE in page.text
    assert any("#cited" in (attributes.get("href") or "") for tag, attributes in page.tags if tag == "a")
    assert PRICE in second.text
    assert "I could not find this in the documents." in second.text


@pytest.mark.parametrize(("question", "status"), [("", 400), ("   ", 400)])
def test_a_question_that_fails_is_said_on_the_page(client: Client, question: str, status: int) -> None:
    """What is wrong with a question is told above the field, on the same page."""
    response = ask(client, question)

    page = assert_harmless(response.text)
    assert response.status_code == status
    assert ("div", {"class": "message problem", "role": "alert"}) in page.tags
    assert any(attributes.get("name") == "question" for _, attributes in page.tags)


def test_a_form_from_elsewhere_is_refused(client: Client) -> None:
    """Another site cannot ask in a visitor's name, and no other kind of body is read."""
    for headers, status in [
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "null"}, 403),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-type": "application/json"}, 415),
    ]:
        response = client.post("/t/acme/ask", content=b"question=x", headers={**FORM, **headers})

        assert response.status_code == status
        assert_harmless(response.text)


def test_a_form_of_many_fields_is_refused(client: Client) -> None:
    """A body made to be slow to read is a bad request."""
    response = client.post("/t/acme/ask", content=b"&".join([b"a=1"] * 100_000), headers=FORM)

    assert response.status_code == 400


@pytest.mark.parametrize("number", range(len(MARKUP)))
def test_hostile_words_of_documents_are_words(client: Client, home: Home, number: int) -> None:
    """Titles, headings, names and texts of documents stand on each page as they were written, and do nothing."""
    answer = ask(client, f"What does Zebra{number} say?", tenant="hostile")
    with home.open("hostile") as tenant:
        one = list_documents(tenant)[number]
        url = passage_url(tenant, one.id, 0, 40)
    document = client.get(url.partition("#")[0], headers=PAGE)

    assert_harmless(answer.text)
    shown = assert_harmless(document.text)
    assert " ".join(one.name.split()) in shown.text
    assert " ".join(one.title.split()) in shown.text


@pytest.mark.parametrize("payload", MARKUP)
def test_hostile_words_of_visitors_are_words(client: Client, payload: str) -> None:
    """A question is shown as it was typed, in the answer's page and in the field after a failure."""
    page = assert_harmless(ask(client, payload).text)

    assert " ".join(payload.split()) in page.text
    assert_harmless(ask(client, payload, conversation="unknown").text)


def test_hostile_words_of_a_model_are_words(client: Client) -> None:
    """Whatever the model writes is text: no element, no image, no link but the citation's own."""
    response = ask(client, QUESTION, tenant="writing")

    page = assert_harmless(response.text)
    for payload in MARKUP:
        assert " ".join(payload.split()) in page.text


def test_h58_what_is_streamed_is_what_is_kept(client: Client) -> None:
    """Token by token, at the end, when it is read again, and in the plain page: a hostile answer is the same text."""
    question = {"question": QUESTION}
    stream = client.post("/t/writing/api/chat", json=question, headers={"accept": "text/event-stream"}).text
    events = [part.split("\n", 1) for part in stream.strip().split("\n\n")]
    told = [(name.partition(": ")[2], json.loads(data.partition(": ")[2])) for name, data in events]
    done = told[-1][1]
    kept = client.get("/t/writing/api/conversation", headers={"x-ruma-conversation": done["conversation"]}).json()

    streamed = "".join(data["text"] for name, data in told if name == "token")
    assert len(told) > 50
    assert " ".join(streamed.split()) == " ".join(done["text"].split())
    assert kept["messages"][1]["text"] == done["text"]
    assert kept["messages"][1]["citations"] == done["citations"]
    assert (
        " ".join(done["text"].replace("[1]", " 1 ").split())
        in assert_harmless(ask(client, QUESTION, tenant="writing").text).text
    )


def test_hostile_words_of_the_agent_are_words(client: Client) -> None:
    """Name, greeting, questions and the sentence that declines are text too."""
    page = assert_harmless(client.get("/t/hostile/", headers=PAGE).text)
    declined = assert_harmless(ask(client, "Which satellites orbit Neptune?", tenant="hostile").text)

    for payload in MARKUP:
        assert " ".join(payload.split()) in page.text
        assert " ".join(payload.split()) in declined.text


def place(number: int, url: str | None = "/t/acme/documents/1?start=0&end=1#cited") -> Place:
    """Return a place of that number."""
    return Place(number, 1, "Delivery", "", None, 0, 1, "x", url)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One [1].", [[Part("One "), Part("1", place(1).url), Part(".")]]),
        ("[1][2]", [[Part("1", place(1).url), Part("2", place(2).url)]]),
        ("One [7].", [[Part("One "), Part("[7]"), Part(".")]]),
        ("Gone [3].", [[Part("Gone "), Part("[3]"), Part(".")]]),
        ("One.\n\n\nTwo\nlines.", [[Part("One.")], [Part("Two\nlines.")]]),
        ("[0001] [] [x] [1", [[Part("[0001] [] [x] [1")]]),
    ],
)
def test_marks_of_citations_are_found(text: str, parts: list[list[Part]]) -> None:
    """A mark becomes a link if its citation exists and its document does; everything else is text."""
    assert split_answer(text, [place(1), place(2), place(3, None)]) == parts


def test_files_of_pages_are_named_by_their_content(client: Client) -> None:
    """A page's files are loaded by an address that changes with them, so they may be kept; they are text only."""
    page = Markup(client.get("/t/acme/", headers=PAGE).text)
    urls = [attributes.get("href") or attributes.get("src") or "" for _, attributes in page.tags]
    files = [url for url in urls if url.startswith("/static/")]

    assert len(files) == 8
    for url in files:
        # A module is loaded once only if every import names it as the page does.
        imported = re.findall(r' from "\./([^"]+)"', client.get(url).text)
        assert {f"/static/{name}" for name in imported} <= set(files)
        response = client.get(url)
        assert re.search(r"\?v=[0-9a-f]{12}$", url)
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert re.match(r"text/(css|javascript)|image/svg\+xml", response.headers["content-type"])
        assert "http://" not in response.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in response.text
