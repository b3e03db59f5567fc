import pytest

from ruma.chat.citations import MarkFilter, check_text, cited_numbers
from ruma.chat.evidence import Citation


def cite(number: int, quote: str, heading: str = "") -> Citation:
    """Return a citation of which only the words matter."""
    return Citation(number, 1, "a.md", "Shop", heading, None, 0, len(quote), quote)


EVIDENCE = (
    cite(1, "We deliver within 5 km for 4.50 euros.", "Delivery"),
    cite(2, "The shop opens at 7:00 from Monday to Friday."),
)


def filtered(text: str, size: int) -> str:
    """Return a text that came in pieces of a size, as it is shown."""
    marks = MarkFilter({1, 2})
    return "".join(marks.feed(text[at : at + size]) for at in range(0, len(text), size)) + marks.end()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("It opens at 7 [2].", "It opens at 7 [2]."),
        ("It opens at 7 [3].", "It opens at 7."),
        ("It opens [1, 9][2] daily [12].", "It opens [1][2] daily."),
        ("It opens [2][99]", "It opens [2]"),
        ("Prices [in euros] and [", "Prices [in euros] and ["),
        ("A list: [1; 2] end [ 2 ]", "A list: [1][2] end [2]"),
        ("Never [" + "1" * 40 + "]", "Never [" + "1" * 40 + "]"),
    ],
)
def test_marks_of_no_evidence_are_dropped_however_the_text_is_cut(written: str, shown: str, size: int) -> None:
    """A mark may come in several pieces; what is no mark is left as it is."""
    assert filtered(written, size).rstrip() == shown


def test_text_is_not_held_back_longer_than_a_mark_may_be() -> None:
    """A bracket that never closes does not stop the stream."""
    marks = MarkFilter({1})

    assert marks.feed("Words [1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9") != "Words"


@pytest.mark.parametrize(
    ("text", "numbers", "is_supported"),
    [
        ("We deliver within 5 km [1].", (1,), True),
        ("We deliver within 5 km.", (1,), True),
        ("We deliver within 50 km [1].", (1,), False),
        ("We deliver within 5 km [2].", (2,), False),
        ("Delivery costs 4.50 euros. [1]", (1,), True),
        ("The moon is made of cheese.", (), False),
        ("The moon is made of cheese [1].", (1,), False),
    ],
)
def test_a_sentence_is_compared_with_what_it_cites(text: str, numbers: tuple[int, ...], is_supported: bool) -> None:
    """Its numbers must all be there and most of its words; without a mark, the evidence that fits best counts."""
    (sentence,) = check_text(text, EVIDENCE)

    assert (sentence.citations, sentence.is_supported) == (numbers, is_supported)


def test_each_sentence_is_checked_alone() -> None:
    """One sentence that nothing supports does not hide among those that something does."""
    checked = check_text("The shop opens at 7:00 [2]. We bake on Mars.\nWe deliver within 5 km [1].", EVIDENCE)

    assert [sentence.is_supported for sentence in checked] == [True, False, True]
    assert cited_numbers(checked) == {1, 2}
    assert checked[0].text == "The shop opens at 7:00."


def test_pieces_without_a_word_of_their_own_are_not_sentences() -> None:
    """Bullets, and polite phrases of stop words alone, claim nothing."""
    assert check_text("- \n***\nYes.", EVIDENCE) == ()
