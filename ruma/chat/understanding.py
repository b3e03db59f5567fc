"""Makes a question stand alone: a follow-up is read together with the question that it goes back to.

By rule, not by a model: it costs nothing, and what was understood can be shown. Only what visitors asked is
used, never what was answered: the evidence for a turn is found anew for every turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ruma.chat.languages import Language, guess_language
from ruma.chat.words import is_question, split_words, stem, subject_words

FEW = 4
"""Up to so many content words a remark that is no question of its own is read with the one before; with five
and more a question alone found as much or more in the customer-service dialogues that it was measured on."""

SHORT = 2
"""Up to so many words nothing stands alone: "On Sundays?", "How much?", "Which one?"."""

LONGEST_BASE = 1_000
"""Characters of the question before that a follow-up takes along: together they must stay a question."""

EARLIER = 6
"""Earlier questions that are looked back over."""


@dataclass(frozen=True)
class Understood:
    """A question as it is searched for."""

    own: str
    """What was asked now."""

    earlier: str
    """The earlier question that it goes back to; empty where it stands alone."""

    @property
    def text(self) -> str:
        """The question, standing alone."""
        return f"{self.earlier} {self.own}".strip()

    @property
    def own_stems(self) -> frozenset[str]:
        """The stems of the subject words that the earlier question did not have."""
        return frozenset(map(stem, subject_words(self.own))) - frozenset(map(stem, subject_words(self.earlier)))


def understand(question: str, earlier: Sequence[str]) -> Understood:
    """Return a question that stands alone.

    Args:
        question: What the visitor asks now.
        earlier: What the visitor asked before in this conversation, oldest first.
    """
    question = question.strip()
    asked = [one for one in earlier[-EARLIER:] if one.strip()]
    language = guess_language(split_words(" ".join([*asked, question])))
    if not asked or not leans_back(question, language):
        return Understood(question, "")
    base = next((one for one in reversed(asked) if not leans_back(one, language)), asked[0])
    return Understood(question, _as_sentence(base[:LONGEST_BASE]))


def leans_back(question: str, language: Language) -> bool:
    """Return whether a question needs the one before it: "and on Sundays?", "how much is it?", "yes"."""
    words = split_words(question)
    content = [word for word in words if word not in language.stop_words]
    if len(content) > FEW or language.courtesies.issuperset(words):
        return False
    line = f"{' '.join(words)} "
    if any(line.startswith(f"{opening} ") for opening in language.openings):
        return True
    if not content or len(words) <= SHORT or any(word in language.pronouns for word in words):
        return True
    return not is_question(question) and words[0] not in language.question_words


def asks_number(question: str) -> bool:
    """Return whether a question asks for a number, a date or a time."""
    words = split_words(question)
    line = f" {' '.join(words)} "
    return any(f" {phrase} " in line for phrase in guess_language(words).number_questions)


def _as_sentence(text: str) -> str:
    text = text.strip()
    return text if text[-1:] in "?!.:" else f"{text}."
