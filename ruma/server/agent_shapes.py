"""What the API takes and gives of the agent's settings, of pairs, and in the shapes of OpenAI's API."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ruma.server.shapes import Place
from ruma.tenant.agents import Agent
from ruma.tenant.knowledge.pairs import Pair


@dataclass(frozen=True)
class AgentSettings:
    """How the agent speaks, answers and looks, and where visitors meet it."""

    name: str
    greeting: str
    instructions: str
    decline: str
    mode: str
    model: str
    questions: list[str]
    tone: str
    language: str
    strictness: str
    accent: str
    theme: str
    position: str
    websites: list[str]
    is_published: bool
    offers_person: bool


@dataclass(frozen=True)
class AgentChange:
    """What is to change of the agent; what is left out, or null, stays."""

    name: str | None = None
    greeting: str | None = None
    instructions: str | None = None
    decline: str | None = None
    mode: Literal["auto", "quote", "write"] | None = None
    model: str | None = None
    questions: list[str] | None = None
    tone: Literal["friendly", "formal", "plain"] | None = None
    language: str | None = None
    strictness: Literal["lenient", "balanced", "strict"] | None = None
    accent: str | None = None
    theme: Literal["auto", "light", "dark"] | None = None
    position: Literal["right", "left"] | None = None
    websites: list[str] | None = None
    is_published: bool | None = None
    offers_person: bool | None = None


@dataclass(frozen=True)
class PairText:
    """A question, and the answer that is given whole."""

    id: int
    question: str
    answer: str
    added_at: str


@dataclass(frozen=True)
class PairList:
    """A part of the pairs, the newest first."""

    pairs: list[PairText]
    total: int
    """How many were found in all."""


@dataclass(frozen=True)
class NewPair:
    """A question with its answer, to be answered so from now on."""

    question: str
    answer: str


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be named in a request."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "ruma"


@dataclass(frozen=True)
class ModelList:
    """The agent, and the embedding model."""

    data: list[ModelInfo]
    object: str = "list"


@dataclass(frozen=True)
class SentMessage:
    """A message of a chat: its text, or parts of which only the texts are read."""

    role: str
    content: str | list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class StreamOptions:
    """What a stream should hold besides the text."""

    include_usage: bool = False


@dataclass(frozen=True)
class CompletionRequest:
    """A chat, as clients of OpenAI's API send it. What is not named here is not looked at."""

    messages: list[SentMessage]
    """The last one is the question; the visitor's earlier ones are what it may go back to."""
    model: str = "agent"
    stream: bool = False
    stream_options: StreamOptions | None = None
    store: bool | None = None
    """Whether the exchange is kept as a conversation; without it nothing is."""
    n: int | None = None


@dataclass(frozen=True)
class AnswerMessage:
    """The agent's answer, with the places that support it."""

    content: str
    citations: list[Place]
    is_declined: bool
    mode: str
    conversation: str | None = None
    """The secret of the conversation that it was kept in."""
    role: str = "assistant"
    refusal: str | None = None


@dataclass(frozen=True)
class Choice:
    """The one answer there is."""

    message: AnswerMessage
    index: int = 0
    finish_reason: str = "stop"
    logprobs: None = None


@dataclass(frozen=True)
class Usage:
    """How many pieces question and answer have, as the embedding model counts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class Completion:
    """An answer in the shape of OpenAI's API."""

    id: str
    created: int
    choices: list[Choice]
    usage: Usage
    model: str = "agent"
    object: str = "chat.completion"


@dataclass(frozen=True)
class EmbeddingRequest:
    """Texts to be turned into vectors."""

    input: str | list[Any]
    """One text, or up to 256."""
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


@dataclass(frozen=True)
class Embedding:
    """The vector of a text: numbers, or their bytes (float32, little-endian) in base64."""

    index: int
    embedding: list[float] | str
    object: str = "embedding"


@dataclass(frozen=True)
class EmbeddingUsage:
    """How many pieces the texts have."""

    prompt_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class EmbeddingList:
    """The vectors of the texts, in their order."""

    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    object: str = "list"


def settings_of(agent: Agent) -> AgentSettings:
    """Return an agent as the API gives it."""
    values: dict[str, Any] = asdict(agent)
    return AgentSettings(**{**values, "questions": list(agent.questions), "websites": list(agent.websites)})


def pair_of(pair: Pair) -> PairText:
    """Return a pair as the API gives it."""
    return PairText(pair.id, pair.question, pair.answer, pair.added_at)


_PLACE = Place(
    1, 4, "Delivery", "", 1, 598, 617, "It costs £2.50.", "/t/bakery/documents/4?start=598&end=617&seal=9f2c#cited"
)
_ANSWER = AnswerMessage("It costs £2.50. [1]", [_PLACE], False, "quote")
_PAIR = PairText(31, "Do you bake for weddings?", "Yes, from three weeks ahead. Call us.", "2026-03-02T09:15:04Z")
_SETTINGS = settings_of(Agent(name="Marrowby Bakery", websites=("https://www.bakery.example",), is_published=True))

EXAMPLES: dict[type, Any] = {
    AgentSettings: _SETTINGS,
    PairText: _PAIR,
    PairList: PairList([_PAIR], 1),
    ModelList: ModelList([ModelInfo("agent"), ModelInfo("all-MiniLM-L6-v2@53aa51172d14")]),
    Completion: Completion("chatcmpl-5f0c", 1772442904, [Choice(_ANSWER)], Usage(7, 8, 15)),
    EmbeddingList: EmbeddingList([Embedding(0, [0.0312, -0.0871])], "all-MiniLM-L6-v2", EmbeddingUsage(4, 4)),
}
"""An example of each answer."""

SENT: dict[str, Any] = {
    "/t/{name}/api/agent/settings": {"greeting": "Good morning!", "websites": ["https://www.bakery.example"]},
    "/t/{name}/api/pairs": {"question": _PAIR.question, "answer": _PAIR.answer},
    "/t/{name}/v1/chat/completions": {
        "model": "agent",
        "messages": [{"role": "user", "content": "What does delivery to Marrowby cost?"}],
    },
    "/t/{name}/v1/embeddings": {"model": "all-MiniLM-L6-v2", "input": "fresh bread"},
}
"""An example of what each route takes."""
