"""Pieces of bytes become text that can be shown at once."""

import pytest

from ruma.models.answer_text import AnswerText

STOPS = ("### Instruction:", "<|user|>")


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_characters_are_never_broken(size: int) -> None:
    """However the bytes are cut, each piece is whole characters and all of them together are the text."""
    text = "Grüße, 你好 und 👩‍👩‍👧."
    data = text.encode()
    answer = AnswerText(())
    pieces = [answer.add(data[place : place + size]) for place in range(0, len(data), size)]

    assert "".join(pieces) + answer.end() == text
    assert "�" not in "".join(pieces)


def test_bytes_that_are_no_text_are_replaced() -> None:
    """Invalid bytes become the replacement character, and half a character at the end is dropped."""
    answer = AnswerText(())

    assert answer.add(b"a\xffb\xe4\xbd") == "a�b"
    assert answer.end() == ""


@pytest.mark.parametrize("size", [1, 2, 7])
def test_nothing_of_a_marker_is_shown(size: int) -> None:
    """An answer ends before a marker that is mere text, also when it comes in pieces."""
    answer = AnswerText(STOPS)
    data = b"We open at 8. ## no marker\n\n### Instruction:\nnext"
    shown = ""
    for place in range(0, len(data), size):
        shown += answer.add(data[place : place + size])
        if answer.is_ended:
            break
    shown += answer.end()

    assert answer.is_ended
    assert shown.rstrip() == "We open at 8. ## no marker"


def test_the_beginning_of_a_marker_that_does_not_go_on_is_shown() -> None:
    """What was held back comes when it turns out to be text, at the latest at the end."""
    answer = AnswerText(STOPS)

    assert answer.add(b"a <|us") == "a "
    assert answer.add(b"ual") == "<|usual"
    assert answer.add(b" ###") == " "
    assert answer.end() == "###"


def test_an_answer_begins_with_its_first_word() -> None:
    """Blank space that models write before the first word is not shown."""
    answer = AnswerText(())

    assert [answer.add(b"\n"), answer.add(b"  Yes"), answer.add(b" it is")] == ["", "Yes", " it is"]
