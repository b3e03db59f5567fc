"""How a conversation is written down for each family of models, as tokens and never as one text.

A model file carries a template of its own, a small program. It is never run: it only tells, by the markers that
occur in it, which of the formats below the model was trained on. Documents and questions are turned into tokens
apart from the markers, so that `<|im_start|>system` in a document stays harmless text.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

SHORTEST_FIXED = 16
"""A fixed beginning of fewer tokens is not worth keeping."""


class Vocabulary(Protocol):
    """The part of a model that turns text into tokens."""

    @property
    def first_token(self) -> int | None:
        """The token that every prompt must begin with, if there is one."""

    def tokenize(self, text: str, *, has_markers: bool) -> list[int]:
        """Return the tokens of *text*; markers in it become control tokens only where *has_markers*."""

    def is_control(self, token: int) -> bool:
        """Tell whether the token means something to the model that is not text."""

    def is_declared(self, token: int) -> bool:
        """Tell whether the file declares the token as a marker of its own."""


@dataclass(frozen=True)
class ChatFormat:
    """The markers of one family of models: what stands before and after each turn."""

    name: str
    signs: tuple[str, ...]
    """What the template of such a model contains."""

    user: tuple[str, str]
    assistant: tuple[str, str]
    system: tuple[str, str] | None = None
    """None: the family knows no system turn, and its text goes before the first user turn."""


FORMATS = (
    ChatFormat(
        "phi4",
        ("<|im_sep|>",),
        user=("<|im_start|>user<|im_sep|>", "<|im_end|>"),
        assistant=("<|im_start|>assistant<|im_sep|>", "<|im_end|>"),
        system=("<|im_start|>system<|im_sep|>", "<|im_end|>"),
    ),
    ChatFormat(
        "chatml",
        ("<|im_start|>",),
        user=("<|im_start|>user\n", "<|im_end|>\n"),
        assistant=("<|im_start|>assistant\n", "<|im_end|>\n"),
        system=("<|im_start|>system\n", "<|im_end|>\n"),
    ),
    ChatFormat(
        "llama3",
        ("<|start_header_id|>",),
        user=("<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"),
        assistant=("<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"),
        system=("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
    ),
    ChatFormat(
        "gemma",
        ("<start_of_turn>",),
        user=("<start_of_turn>user\n", "<end_of_turn>\n"),
        assistant=("<start_of_turn>model\n", "<end_of_turn>\n"),
    ),
    ChatFormat(
        "granite",
        ("<|start_of_role|>",),
        user=("<|start_of_role|>user<|end_of_role|>", "<|end_of_text|>\n"),
        assistant=("<|start_of_role|>assistant<|end_of_role|>", "<|end_of_text|>\n"),
        system=("<|start_of_role|>system<|end_of_role|>", "<|end_of_text|>\n"),
    ),
    ChatFormat(
        "mistral-system",
        ("[INST]", "[SYSTEM_PROMPT]"),
        user=("[INST]", "[/INST]"),
        assistant=("", "</s>"),
        system=("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    ),
    ChatFormat("mistral", ("[INST]",), user=("[INST]", "[/INST]"), assistant=("", "</s>")),
    ChatFormat(
        "phi3",
        ("<|user|>", "<|end|>"),
        user=("<|user|>\n", "<|end|>\n"),
        assistant=("<|assistant|>\n", "<|end|>\n"),
        system=("<|system|>\n", "<|end|>\n"),
    ),
    ChatFormat(
        "zephyr",
        ("<|user|>",),
        user=("<|user|>\n", "</s>\n"),
        assistant=("<|assistant|>\n", "</s>\n"),
        system=("<|system|>\n", "</s>\n"),
    ),
    ChatFormat(
        "command-r",
        ("<|START_OF_TURN_TOKEN|>",),
        user=("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
        assistant=("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
        system=("<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    ),
)

PLAIN = ChatFormat(
    "plain",
    (),
    user=("### Instruction:\n", "\n\n"),
    assistant=("### Response:\n", "\n\n"),
    system=("", "\n\n"),
)
"""For files whose template shows none of the markers above."""

NO_THINKING = "<think>\n\n</think>\n\n"
"""Put at the beginning of the answer where the template knows a switch for it: visitors wait for the answer."""

_MARKER = re.compile(r"<[^\s<>]+>|\[/?[A-Z_]+\]|### \w+:")


def choose_format(template: str, vocabulary: Vocabulary) -> ChatFormat:
    """Return the format that the model was trained on, as far as its template or its vocabulary tells."""
    for one in FORMATS:
        if template and all(sign in template for sign in one.signs):
            return one
    for one in FORMATS:
        tokens = [vocabulary.tokenize(sign, has_markers=True) for sign in one.signs]
        if not template and all(len(found) == 1 and vocabulary.is_declared(found[0]) for found in tokens):
            return one
    return PLAIN


@dataclass(frozen=True)
class Prompt:
    """The tokens of a conversation up to where the answer begins."""

    tokens: list[int]
    fixed: int
    """How many of the first tokens are the same for every question: the instructions of the agent."""


class PromptWriter:
    """Writes conversations down for one model."""

    def __init__(self, template: str, vocabulary: Vocabulary) -> None:
        """Choose the format and find out which of its markers this vocabulary has as tokens."""
        self.format = choose_format(template, vocabulary)
        self._vocabulary = vocabulary
        self._answer_opening = self.format.assistant[0]
        turns = [self.format.user, self.format.assistant, self.format.system or ("", "")]
        markers = set(_MARKER.findall(" ".join(part for turn in turns for part in turn)))
        self.stop_tokens, self.stop_texts = self._sort(markers)
        self._guarded = self.stop_tokens
        if "enable_thinking" in template and "</think>" in template:
            self._answer_opening += NO_THINKING
            self._guarded = self.stop_tokens | self._sort(_MARKER.findall(NO_THINKING))[0]
        texts = "|".join(re.escape(text) for text in self.stop_texts)
        self._imitation = re.compile(texts, re.IGNORECASE) if texts else None

    def write(self, turns: Sequence[tuple[str, str]]) -> Prompt:
        """Return the tokens of *turns* (role and text), followed by the opening of an answer."""
        first = self._vocabulary.first_token
        tokens = [] if first is None else [first]
        fixed, pending = 0, ""
        for place, (role, text) in enumerate(turns):
            markers = {"system": self.format.system, "user": self.format.user}.get(role, self.format.assistant)
            if markers is None:
                pending = text
                continue
            tokens += self._marker(markers[0])
            if pending:
                tokens += self._text(pending + "\n\n")
                fixed, pending = len(tokens), ""
            tokens += self._text(text) + self._marker(markers[1])
            if place == 0 and role == "system":
                fixed = len(tokens)
        tokens += self._marker(self._answer_opening)
        return Prompt(tokens, fixed if fixed >= SHORTEST_FIXED else 0)

    def _marker(self, text: str) -> list[int]:
        return self._vocabulary.tokenize(text, has_markers=True) if text else []

    def _text(self, text: str) -> list[int]:
        """Return the tokens of a text that others wrote: none of them is a marker, and none looks like one."""
        if self._imitation:
            text = self._imitation.sub(lambda found: found[0][0] + " " + found[0][1:], text)
        # A token that the file declares by itself can come out of plain text too, hence the filter.
        return [
            token
            for token in self._vocabulary.tokenize(text, has_markers=False)
            if token not in self._guarded and not self._vocabulary.is_control(token)
        ]

    def _sort(self, markers: Iterable[str]) -> tuple[frozenset[int], tuple[str, ...]]:
        """Return the markers that are tokens of this vocabulary, and those that are mere text to it."""
        tokens, texts = set(), []
        for marker in sorted(markers):
            found = self._vocabulary.tokenize(marker, has_markers=True)
            if len(found) == 1 and self._vocabulary.is_declared(found[0]):
                tokens.add(found[0])
            else:
                texts.append(marker)
        return frozenset(tokens), tuple(texts)
