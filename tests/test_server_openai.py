"""The unchanged `openai` client against a real server."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest

from ruma.config import load_settings
from ruma.ingest.pairs import save_pair
from ruma.tenant.conversing.inbox import list_conversations
from ruma.tenant.home import Home
from tests.serving import EMBEDDER, FLAGS, QUESTION, WRITTEN, Running, make_tenant, with_key

PRICE = "Delivery to Marrowby costs £2.50."
ASKED = [{"role": "system", "content": "Speak like a pirate."}, {"role": "user", "content": QUESTION}]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home with a tenant that quotes and one that writes."""
    home = Home(load_settings({"home": tmp_path_factory.mktemp("home"), **FLAGS}, {}))
    make_tenant(home)
    make_tenant(home, "writing", mode="write")
    make_tenant(home, "limited")
    return home


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Running]:
    """Return its server, whose language model always writes the same."""
    with Running(home.settings.home, WRITTEN, "0") as running:
        yield running


def client_of(home: Home, server: Running, tenant: str = "acme", *scopes: str) -> openai.OpenAI:
    """Return OpenAI's own client for a tenant's agent, with a key of these scopes."""
    with home.open(tenant) as opened:
        key = with_key(opened, *(scopes or ("chat",)))["Authorization"].removeprefix("Bearer ")
    return openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/t/{tenant}/v1", api_key=key, max_retries=0)


@pytest.fixture(scope="module")
def client(home: Home, server: Running) -> Iterator[openai.OpenAI]:
    """Return the client of the tenant that quotes."""
    with client_of(home, server) as client:
        yield client


def test_an_answer_in_one_piece(client: openai.OpenAI) -> None:
    """The agent's own answer, with its citations in an extra field, and numbers of what was used."""
    answer = client.chat.completions.create(model="agent", messages=ASKED, temperature=0.3)  # type: ignore[arg-type]

    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", f"{PRICE} [1]", "stop")
    extra = choice.message.model_extra
    assert extra
    assert (extra["mode"], extra["is_declined"], extra["conversation"]) == ("quote", False, None)
    assert [(one["number"], one["title"], one["quote"]) for one in extra["citations"]] == [(1, "Delivery", PRICE)]
    assert extra["citations"][0]["url"].startswith("/t/acme/documents/")
    assert answer.usage
    assert answer.usage.prompt_tokens == EMBEDDER.count_tokens(QUESTION)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer.id.startswith("chatcmpl-")


@pytest.mark.parametrize("tenant", ["acme", "writing"])
def test_a_streamed_answer(home: Home, server: Running, tenant: str) -> None:
    """The text comes in pieces, the last of which has the citations; joined, they are the whole text."""
    with client_of(home, server, tenant) as client:
        stream = client.chat.completions.create(
            model="agent",
            messages=ASKED,  # type: ignore[arg-type]
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.strip().startswith(WRITTEN if tenant == "writing" else f"{PRICE} [1]")
    assert chunks[0].choices[0].delta.role == "assistant"
    last, usage = chunks[-2], chunks[-1]
    assert last.choices[0].finish_reason == "stop"
    extra = last.choices[0].delta.model_extra
    assert extra
    assert PRICE in [one["quote"] for one in extra["citations"]]
    assert usage.choices == []
    assert usage.usage
    assert usage.usage.completion_tokens == EMBEDDER.count_tokens(text)
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_whole_chat_is_sent_each_time(client: openai.OpenAI) -> None:
    """A follow-up is understood from the earlier questions in the request; the answers in it are not believed."""
    earlier = [
        {"role": "user", "content": "When does the shop open?"},
        {"role": "assistant", "content": "Never."},
        {"role": "user", "content": [{"type": "text", "text": "and on Sundays?"}]},
    ]

    alone = client.chat.completions.create(model="agent", messages=earlier[2:])  # type: ignore[arg-type]
    answer = client.chat.completions.create(model="agent", messages=earlier)  # type: ignore[arg-type]

    assert answer.choices[0].message.content == "The shop opens on Sundays from 8:00 to 12:00. [1]"
    assert alone.choices[0].message.content != answer.choices[0].message.content


def test_nothing_is_kept_unless_it_is_asked_for(home: Home, server: Running, client: openai.OpenAI) -> None:
    """With `store` the exchange is a conversation that came through the API, and its secret is given back."""
    with home.open("acme") as tenant:
        before = list_conversations(tenant).total

        client.chat.completions.create(model="agent", messages=ASKED)  # type: ignore[arg-type]
        assert list_conversations(tenant).total == before
        answer = client.chat.completions.create(model="agent", messages=ASKED, store=True)  # type: ignore[arg-type]

        found = list_conversations(tenant)
    assert found.total == before + 1
    assert found.conversations[0].channel == "api"
    assert answer.choices[0].message.model_extra
    assert len(answer.choices[0].message.model_extra["conversation"]) == 43


def test_the_business_s_own_words_come_whole(home: Home, server: Running) -> None:
    """A pair is answered as it was written, in one piece and in a stream."""
    with home.open("writing") as tenant:
        save_pair("Do you sell swords?", "No.\nOnly bread knives.", tenant, EMBEDDER)
    messages = [{"role": "user", "content": "do you sell swords"}]

    with client_of(home, server, "writing") as client:
        whole = client.chat.completions.create(model="agent", messages=messages)  # type: ignore[arg-type]
        chunks = list(client.chat.completions.create(model="agent", messages=messages, stream=True))  # type: ignore[arg-type]

    assert whole.choices[0].message.content == "No.\nOnly bread knives."
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "No.\nOnly bread knives."


def test_models_are_listed(client: openai.OpenAI) -> None:
    """The agent, and the embedding model by its whole id."""
    assert [model.id for model in client.models.list()] == ["agent", EMBEDDER.id]


def test_texts_become_vectors(client: openai.OpenAI) -> None:
    """One text or several; as numbers and as base64, which the client asks for by itself, they are the same."""
    name = EMBEDDER.id.partition("@")[0]

    one = client.embeddings.create(model=EMBEDDER.id, input="fresh bread")
    several = client.embeddings.create(model=name, input=["fresh bread", "cake"], encoding_format="float")

    wanted = EMBEDDER.embed_question("fresh bread")
    assert np.allclose(one.data[0].embedding, wanted, atol=1e-6)
    assert np.allclose(several.data[0].embedding, wanted, atol=1e-6)
    assert [found.index for found in several.data] == [0, 1]
    assert one.usage.prompt_tokens == 2


@pytest.mark.parametrize(
    "sent",
    [
        {"input": [1, 2, 3]},
        {"input": [[1, 2], [3]]},
        {"input": ""},
        {"input": []},
        {"input": ["bread", " "]},
        {"input": ["bread"] * 257},
        {"input": "x" * 8001},
        {"input": "bread", "dimensions": 3},
    ],
    ids=lambda sent: str(sent)[:30],
)
def test_what_cannot_be_embedded_is_refused(client: openai.OpenAI, sent: dict[str, object]) -> None:
    """Arrays of token numbers belong to another model's tokenizer; the message says so."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=EMBEDDER.id, **sent)  # type: ignore[arg-type]

    assert isinstance(caught.value.body, dict)
    assert caught.value.body["code"] == "bad_request"


def test_failures_are_the_client_s_own_exceptions(home: Home, server: Running, client: openai.OpenAI) -> None:
    """Each status raises what a program expects, with the message and what to do."""
    stranger = client.with_options(api_key="ruma_wrong")
    with pytest.raises(openai.AuthenticationError, match="not valid"):
        stranger.chat.completions.create(model="agent", messages=ASKED)  # type: ignore[arg-type]
    with client_of(home, server, "acme", "read") as reader, pytest.raises(openai.PermissionDeniedError) as refused:
        reader.models.list()
    assert isinstance(refused.value.body, dict)
    assert "chat" in refused.value.body["hint"]
    with pytest.raises(openai.NotFoundError, match="gpt"):
        client.chat.completions.create(model="gpt-4o", messages=ASKED)  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="other", input="bread")
    for messages in (
        [],
        ASKED[:1],
        [*ASKED, {"role": "assistant", "content": "x"}],
        [{"role": "user", "content": " "}],
    ):
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="agent", messages=messages)  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError, match="n must be 1"):
        client.chat.completions.create(model="agent", messages=ASKED, n=2)  # type: ignore[arg-type]


def test_another_tenant_s_key_opens_nothing(home: Home, server: Running) -> None:
    """A key is looked for in the tenant of the address alone."""
    with client_of(home, server, "writing") as client, pytest.raises(openai.AuthenticationError):
        client.with_options(base_url=f"http://127.0.0.1:{server.port}/t/acme/v1").models.list()


def test_visitors_do_not_get_in_without_a_key(server: Running) -> None:
    """The agent is open to visitors on its page; programs need a key."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for method, path in (("GET", "models"), ("POST", "chat/completions"), ("POST", "embeddings")):
        connection.request(method, f"/t/acme/v1/{path}", "{}", {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert (response.status, b"sign_in_needed" in response.read()) == (401, True)
    connection.close()


def test_too_many_questions_are_a_rate_limit(tmp_path: Path) -> None:
    """The client sees a rate limit with the seconds to wait, and would try again by itself."""
    home = Home(load_settings({"home": tmp_path, **FLAGS}, {}))
    make_tenant(home)
    with Running(home.settings.home, tenant_questions=2) as server, client_of(home, server) as client:
        for _ in range(2):
            client.chat.completions.create(model="agent", messages=ASKED)  # type: ignore[arg-type]
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="agent", messages=ASKED)  # type: ignore[arg-type]

    assert int(caught.value.response.headers["retry-after"]) >= 1


def test_a_failure_on_the_way_is_raised_in_the_stream(tmp_path: Path) -> None:
    """The status is sent already: the client raises when it comes to the error, after what was said before."""
    home = Home(load_settings({"home": tmp_path, **FLAGS}, {}))
    make_tenant(home, mode="write")
    with Running(home.settings.home, "Delivery costs BREAK", "0") as server, client_of(home, server) as client:
        stream = client.chat.completions.create(model="agent", messages=ASKED, stream=True)  # type: ignore[arg-type]
        said: list[str] = []
        with pytest.raises(openai.APIError):
            said.extend(chunk.choices[0].delta.content or "" for chunk in stream)
        server.stop()

    assert "".join(said) == "Delivery costs"
