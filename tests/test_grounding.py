"""The grounding check tells a model that keeps to the evidence from one that does not."""

from collections.abc import Sequence

import pytest

from ruma.chat.evidence import Citation
from ruma.chat.prompt import build_prompt
from ruma.models.generator import Turn
from ruma.models.grounding import (
    DECLINE,
    ITEMS,
    Item,
    build_turns,
    check_grounding,
    find_problem,
    share_passed,
)
from ruma.models.language_models import PASS_SHARE
from tests.fakes import EchoGenerator

QUESTIONS = {item.question: item for item in ITEMS}


def item_of(turns: Sequence[Turn]) -> Item:
    """Return the item that a conversation asks."""
    return QUESTIONS[turns[-1].text.rpartition("Question: ")[2]]


def answer_well(turns: Sequence[Turn]) -> str:
    """Answer with the sentence that has the answer, cited, or decline."""
    item = item_of(turns)
    if not item.expected:
        return DECLINE
    words = [one.split("|")[0] for one in item.expected]
    return f"It is {' '.join(words)} [{item.source}]."


def copy_all(turns: Sequence[Turn]) -> str:
    """Answer with all of the evidence, as small models do."""
    return turns[-1].text


def guess(turns: Sequence[Turn]) -> str:
    """Answer everything with confidence and a citation that exists."""
    return "Yes, of course, at 18:00 [1]."


def decline(turns: Sequence[Turn]) -> str:
    """Answer nothing."""
    return DECLINE


def test_a_model_that_answers_cites_and_declines_passes() -> None:
    """A right answer with its source, and declining where there is none, is all that is asked."""
    outcomes = check_grounding(EchoGenerator(answer_well))

    assert [outcome.problem for outcome in outcomes] == [""] * len(ITEMS)
    assert share_passed(outcomes) == 1


@pytest.mark.parametrize("rule", [copy_all, guess, decline])
def test_no_single_trick_passes(rule: object) -> None:
    """Copying everything, guessing and declining everything all stay under the share that is needed."""
    share = share_passed(check_grounding(EchoGenerator(rule)))  # type: ignore[arg-type]

    assert share < PASS_SHARE


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("On Saturdays we close at 13:00 [2].", ""),
        ("At 1 pm [2].", ""),
        ("At 13:00.", "it cites [] and not [2]"),
        ("At 13:00 [1].", "it cites [1] and not [2]"),
        ("At 13:00 [2][7].", "it cites [2, 7] and not [2]"),
        ("At 13:00 or 18:00 [2].", "it says '18:00'"),
        ("At 113:00 [2].", "it does not say '13:00'"),
        (DECLINE, "it found no answer where there is one"),
        ("", "it does not say '13:00'"),
    ],
)
def test_what_is_wrong_with_an_answer_is_named(answer: str, problem: str) -> None:
    """The fact must be there, its neighbours not, and the one right source cited."""
    assert find_problem(ITEMS[0], answer) == problem


def test_every_item_can_be_passed_and_has_its_answer_in_its_source() -> None:
    """The evidence that is to be cited holds one of the expected words, and the questions differ."""
    for item in ITEMS:
        for words in item.expected:
            source = item.evidence[item.source - 1].casefold()
            assert any(one.casefold() in source for one in words.split("|")), item.question
    assert len(QUESTIONS) == len(ITEMS) >= 12
    assert sum(not item.expected for item in ITEMS) >= 4


def test_the_check_asks_as_an_agent_asks() -> None:
    """The model is checked with the very prompt that it will answer."""
    item = ITEMS[0]
    evidence = [
        Citation(number, 1, "hours.md", "", "", None, 0, len(text), text)
        for number, text in enumerate(item.evidence, 1)
    ]

    assert list(build_turns(item.evidence, item.question)) == build_prompt(
        name="the assistant", instructions="", decline=DECLINE, evidence=evidence, question=item.question
    )
