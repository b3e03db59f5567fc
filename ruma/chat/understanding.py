"""Makes a question stand alone: a follow-up is read together with the question that it goes back to.

By rule, not by a model: it costs nothing, and what was understood can be shown. Only what visitors asked is
used, never what was answered: the evidence for a turn is found anew for every turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ruma.chat.languages import Language, guess_language
from ruma.chat.words import split_words

FEW = 4
"""Up to so many content words a remark that is no question of its own is read with the one before; with five
and more a question alone found as much or more in the customer-service dialogues that it was measured on."""

EARLIER = 6
"""Earlier questions that are looked back over."""


@dataclass(frozen=True)
class Understood:
    """A question as it is searched for."""

    text: str
    """The question, standing alone."""

    is_follow_up: bool
    """Whether earlier questions were added to it."""


def understand(question: str, earlier: Sequence[str]) -> Understood:
    """Return a question that stands alone.

    Args:
        question: What the visitor asks now.
        earlier: What the visitor asked before in this conversation, oldest first.
    """
    question = question.strip()
    asked = list(earlier[-EARLIER:])
    language = guess_language(split_words(" ".join([*asked, question])))
    if not asked or not leans_back(question, language):
        return Understood(question, is_follow_up=False)
    base = next((one for one in reversed(asked) if not leans_back(one, language)), asked[0])
    return Understood(f"{_as_sentence(base)} {question}", is_follow_up=True)


def leans_back(question: str, language: Language) -> bool:
    """Return whether a question needs the one before it: "and on Sundays?", "how much is it?", "yes"."""
    words = split_words(question)
    content = [word for word in words if word not in language.stop_words]
    if len(content) > FEW:
        return False
    line = " ".join(words) + " "
    if len(content) <= 1 or any(line.startswith(f"{opening} ") for opening in language.openings):
        return True
    if any(word in language.pronouns for word in words):
        return True
    return not question.rstrip().endswith("?") and words[0] not in language.question_words


def asks_number(question: str) -> bool:
    """Return whether a question asks for a number, a date or a time."""
    words = split_words(question)
    line = f" {' '.join(words)} "
    return any(f" {phrase} " in line for phrase in guess_language(words).number_questions)


def _as_sentence(text: str) -> str:
    text = text.strip()
    return text if text[-1:] in "?!.:" else f"{text}."
