import pytest

from ruma.ingest.parsed import Block, Kind
from ruma.ingest.sentences import LONGEST_WHOLE, find_sentences, guess_language


def split(text: str, *, kind: Kind = "paragraph", language: str = "en") -> list[str]:
    """Return the sentences of a text that is one block."""
    return [text[start:end] for start, end in find_sentences(text, [Block(0, len(text), kind)], language)]


def test_places_count_characters_not_bytes() -> None:
    """Accents, other scripts and emoji before a sentence do not move it."""
    assert split("Größe älter é. Ça va? 😀 Naïve 🥐 test. 这是第一句。第二句。") == [
        "Größe älter é.",
        "Ça va?",
        "😀 Naïve 🥐 test.",
        "这是第一句。",
        "第二句。",
    ]


def test_abbreviations_and_hours_end_no_sentence() -> None:
    """A person, a price, a clock time before a day and a list number go on."""
    assert split(
        "Dr. Smith pays $3.50. Open 9 a.m. to 5 p.m. Monday to Friday. We close at 5 p.m. Cakes go first."
    ) == [
        "Dr. Smith pays $3.50.",
        "Open 9 a.m. to 5 p.m. Monday to Friday.",
        "We close at 5 p.m.",
        "Cakes go first.",
    ]


def test_a_language_brings_its_abbreviations() -> None:
    """A German date is cut in an English text, and not in a German one."""
    text = "Am 3. Mai ist zu. Es kostet ca. 3 Euro."

    assert split(text, language="de") == ["Am 3. Mai ist zu.", "Es kostet ca. 3 Euro."]


@pytest.mark.parametrize(
    ("text", "declared", "expected"),
    [
        ("The shop is open on Sundays and you are welcome in it.", "", "en"),
        ("Die Bäckerei ist am Sonntag nicht offen, und das Café ist für Sie da.", "", "de"),
        ("Le pain est dans la boutique et les gâteaux sont pour vous.", "", "fr"),
        ("Bread", "", "en"),
        ("Bread", "de-AT", "de"),
    ],
)
def test_the_language_is_declared_or_guessed(text: str, declared: str, expected: str) -> None:
    """What the document says counts; else its small words do, and without enough of these it is English."""
    assert guess_language(text, declared) == expected


def test_items_and_rows_are_whole_unless_they_are_long() -> None:
    """A short item of two sentences is one quote; a long one is cut."""
    short, long = "We bake. We sell.", "This is a sentence of some length. " * 12

    assert split(short, kind="list item") == [short]
    assert len(long) > LONGEST_WHOLE
    assert len(split(long, kind="list item")) == 12


def test_kept_line_breaks_part_sentences() -> None:
    """An address is lines, and so is code, whose indents are no part of it."""
    assert split("Tallow Street 14\nMarrowby") == ["Tallow Street 14", "Marrowby"]
    assert split("if x:\n    y = 1\n\nz()", kind="code") == ["if x:", "y = 1", "z()"]


def test_a_question_is_not_quoted_instead_of_its_answer() -> None:
    """A paragraph that only asks stands above the next; without a next one it is text like any other."""
    text = "Do you deliver? Daily."
    question, answer = Block(0, 15, "paragraph"), Block(16, 22, "paragraph")

    assert find_sentences(text, [question, answer], "en") == [(16, 22)]
    assert find_sentences(text, [question], "en") == [(0, 15)]


def test_headings_are_never_quoted() -> None:
    """A heading says what is below it, and nothing by itself."""
    assert split("Opening hours", kind="heading") == []
