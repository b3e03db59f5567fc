"""Parts that stand in for slow ones, and for Stripe, which no test reaches: real subclasses with a rule, no mocks."""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from ruma.errors import InputError, ModelError
from ruma.models.generator import Generator, Turn
from ruma.models.vectors import Embedder, Passage, PassageVectors, Vector, join_passage, unit


class HashEmbedder(Embedder):
    """Gives each word a direction of its own: texts that share words are near, and nothing is loaded."""

    engine = "hash"

    def __init__(self, dimension: int = 64, id: str = "hash@1", max_tokens: int = 256) -> None:
        """Give the vectors a length and the embedder an id."""
        self.id, self.dimension, self.max_tokens = id, dimension, max_tokens

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Return the span of each word."""
        return [match.span() for match in re.finditer(r"\w+", text)]

    def count_tokens(self, text: str) -> int:
        """Return how many words there are."""
        return len(self.token_spans(text))

    def embed_question(self, text: str) -> Vector:
        """Return the sum of the words' directions."""
        words = re.findall(r"\w+", text.casefold())
        return unit(np.sum([self._direction(word) for word in words] or [self._zeros()], axis=0))

    def embed_passages(self, passages: Sequence[Passage]) -> list[PassageVectors]:
        """Return the sums of the words' directions for passage, prefix and sentences."""
        for passage in passages:
            if self.count_tokens(join_passage(passage.prefix, passage.text)[0]) + 2 > self.max_tokens:
                raise ValueError("The passage has more tokens than the model reads.")
        return [
            PassageVectors(
                passage=self.embed_question(join_passage(one.prefix, one.text)[0]),
                prefix=self.embed_question(one.prefix),
                sentences=np.array(
                    [self.embed_question(one.text[start:end]) for start, end in one.sentences], np.float32
                ).reshape(-1, self.dimension),
            )
            for one in passages
        ]

    def _zeros(self) -> Vector:
        return np.zeros(self.dimension, np.float32)

    def _direction(self, word: str) -> Vector:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dimension).astype(np.float32)


def repeat_evidence(turns: Sequence[Turn]) -> str:
    """Answer with the first numbered evidence of the last turn, cited, or else with the turn itself."""
    found = re.search(r"^\[1\] (.+)$", turns[-1].text, re.MULTILINE)
    return f"{found[1]} [1]" if found else turns[-1].text


class EchoGenerator(Generator):
    """Answers by a rule, word by word, and remembers what it was asked and which answers were closed early."""

    name, context_tokens, is_grounded = "echo", 4096, True

    def __init__(self, rule: Callable[[Sequence[Turn]], str] = repeat_evidence, *, delay: float = 0.0) -> None:
        """Take the rule, and the seconds to wait before each word."""
        self.rule, self.delay = rule, delay
        self.asked: list[tuple[str, Sequence[Turn]]] = []
        self.closed: list[str] = []
        self.is_closed = False

    def count_tokens(self, turns: Sequence[Turn]) -> int:
        """Return how many words there are."""
        return sum(len(turn.text.split()) for turn in turns)

    def generate(self, turns: Sequence[Turn], *, tenant: str, max_tokens: int = 400) -> Iterator[str]:
        """Return the words of the answer; a conversation longer than the context is an InputError at once."""
        if self.count_tokens(turns) > self.context_tokens:
            raise InputError("The question and its evidence are too long for echo.")
        self.asked.append((tenant, turns))
        words = self._words(re.findall(r"\S+\s*", self.rule(turns))[:max_tokens])
        next(words)  # so that closing it is seen also before the first word
        return words

    def close(self) -> None:
        """Remember it."""
        self.is_closed = True

    def _words(self, words: list[str]) -> Iterator[str]:
        given = ""
        try:
            yield ""
            for word in words:
                time.sleep(self.delay)
                given += word
                yield word
        except GeneratorExit:
            self.closed.append(given)
            raise


class BrokenGenerator(EchoGenerator):
    """Stops after so many words, as a model does whose process died; None fails before the answer begins."""

    def __init__(self, after: int | None = 3) -> None:
        """Take the number of words."""
        super().__init__()
        self.after = after

    def generate(self, turns: Sequence[Turn], *, tenant: str, max_tokens: int = 400) -> Iterator[str]:
        """Return the first words of the answer, and an error."""
        if self.after is None:
            raise ModelError("The language model stopped before it could answer.")
        return self._break(super().generate(turns, tenant=tenant, max_tokens=self.after))

    def _break(self, words: Iterator[str]) -> Iterator[str]:
        yield from words
        raise ModelError("The language model stopped; the answer is incomplete.")


@dataclass
class StripeAsked:
    """One request that the stand-in for Stripe got."""

    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str]


class FakeStripe(ThreadingHTTPServer):
    """Answers on this machine as Stripe's API does to the few requests that are made of it, and signs events."""

    KEY, SECRET = "sk_test_4eC39HqLyjWDarjtT1zdp7dc", "whsec_c0ffeec0ffeec0ffeec0ffeec0ffeec0"
    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port, with no customer."""
        super().__init__(("127.0.0.1", 0), _StripeAnswers)
        self.asked: list[StripeAsked] = []
        self.customers: dict[str, str] = {}
        """The numbers of customers by the key that makes the same request give the same one."""
        self.paid: dict[str, list[dict[str, Any]]] = {}
        """What each customer pays for, the newest first."""
        self.failing: list[int | float] = []
        """What the next requests get: a status, or seconds of silence."""

    @property
    def url(self) -> str:
        """Return where it is asked."""
        return f"http://127.0.0.1:{self.server_port}"

    def settings(self, folder: Path) -> dict[str, str]:
        """Write the secrets into files and return the settings of a server that asks it."""
        for name, secret in (("key", self.KEY), ("webhook", self.SECRET)):
            (folder / f"stripe.{name}").write_text(f"{secret}\n")
        files = {f"stripe_{name}_file": str(folder / f"stripe.{name}") for name in ("key", "webhook")}
        return {**files, "stripe_api": self.url}

    def pay(self, customer: str, price: str, *, status: str = "active") -> None:
        """Have a customer pay a price, beside and newer than what it pays already."""
        paid = self.paid.setdefault(customer, [])
        number = len(paid) + 1
        items = {"data": [{"id": f"si_{number}", "price": {"id": price}}]}
        paid.insert(0, {"id": f"sub_{number}", "status": status, "customer": customer, "items": items})

    def event(
        self, kind: str, customer: str, *, tenant: str = "acme", number: str = "evt_1", at: float | None = None,
        secret: str = "",
    ) -> tuple[bytes, dict[str, str]]:  # fmt: skip
        """Return the body and the headers of an event as it is posted to a server."""
        about = {"object": "x", "customer": customer, "metadata": {"tenant": tenant}}
        body = json.dumps({"id": number, "type": kind, "data": {"object": about}}).encode()
        at = int(time.time() if at is None else at)
        signed = hmac.new((secret or self.SECRET).encode(), f"{at}.".encode() + body, "sha256").hexdigest()
        return body, {"Stripe-Signature": f"t={at},v1={signed},v0={'0' * 64}", "Content-Type": "application/json"}


class _StripeAnswers(BaseHTTPRequestHandler):
    """Answers one request of those that Ruma makes of Stripe."""

    server: FakeStripe

    def do_GET(self) -> None:
        """List what a customer pays for."""
        self._answer("")

    def do_POST(self) -> None:
        """Make a customer, or a page."""
        self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, body: str) -> None:
        path, _, query = self.path.partition("?")
        form = dict(parse_qsl(body or query))
        self.server.asked.append(StripeAsked(self.command, path, dict(self.headers.items()), form))
        failing = self.server.failing.pop(0) if self.server.failing else 0
        if isinstance(failing, float):
            time.sleep(failing)
            return
        status, answer = (failing, {"error": {"code": "api_error"}}) if failing else self._find(path, form)
        sent = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def _find(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        stripe = self.server
        if self.headers["Authorization"] != f"Bearer {stripe.KEY}":
            return 401, {"error": {"message": f"Invalid API Key provided: {self.headers['Authorization']}"}}
        if path == "/v1/customers":
            once = self.headers["Idempotency-Key"]
            return 200, {"id": stripe.customers.setdefault(once, f"cus_{len(stripe.customers) + 1}")}
        if form.get("customer") not in stripe.customers.values():
            message = f"No such customer: {form.get('customer')}"
            return 400, {"error": {"code": "resource_missing", "param": "customer", "message": message}}
        if path == "/v1/subscriptions":
            return 200, {"data": stripe.paid.get(form["customer"], [])}
        host = "checkout" if path == "/v1/checkout/sessions" else "billing"
        return 200, {"url": f"https://{host}.stripe.example/p/{len(stripe.asked)}"}
