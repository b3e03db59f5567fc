import pytest

from ruma.chat.understanding import LONGEST_BASE, asks_number, understand

HOURS = "When are you open?"


@pytest.mark.parametrize(
    "follow_up",
    ["and on Sundays?", "What about Mondays?", "on Sundays?", "How much is it?", "why", "Does that include cakes?"],
)
def test_a_follow_up_is_read_with_the_question_before(follow_up: str) -> None:
    """It says too little alone, so it is searched together with what it goes back to."""
    assert understand(follow_up, [HOURS]).text == f"{HOURS} {follow_up}"


@pytest.mark.parametrize(
    "question",
    [
        "Do you deliver?",
        "What does a wedding cake cost?",
        "Is there parking?",
        "Are you open this weekend?",
        "And can I bring my old bread machine back to the shop in Marrowby after Christmas?",
        "Thanks!",
    ],
)
def test_a_question_that_says_what_it_is_about_stands_alone(question: str) -> None:
    """Another subject must not be searched with the words of the one before."""
    understood = understand(question, [HOURS])

    assert (understood.text, understood.earlier) == (question, "")


def test_without_earlier_questions_nothing_is_added() -> None:
    """The first question of a conversation is all there is."""
    assert understand("and on Sundays?", []).text == "and on Sundays?"


def test_follow_ups_go_back_to_the_last_question_that_stands_alone() -> None:
    """A second follow-up takes the place of the first: Mondays are not asked about together with Sundays."""
    understood = understand("and on Mondays?", ["Do you deliver?", HOURS, "and on Sundays?"])

    assert understood.text == f"{HOURS} and on Mondays?"


@pytest.mark.parametrize(
    ("earlier", "follow_up"),
    [
        ("Wann haben Sie geöffnet?", "und am Sonntag?"),
        ("Quels sont vos horaires ?", "et le dimanche ?"),
        ("¿Cuándo abren ustedes?", "¿y los domingos?"),
        ("Quando siete aperti?", "e la domenica?"),
        ("Quando é que vocês abrem?", "e aos domingos?"),
        ("Wanneer zijn jullie open?", "en op zondag?"),
    ],
)
def test_follow_ups_are_known_in_several_languages(earlier: str, follow_up: str) -> None:
    """The language is that of the conversation, since a follow-up is too short to tell."""
    assert understand(follow_up, [earlier]).text == f"{earlier} {follow_up}"


def test_german_articles_and_empty_words_are_no_pronouns() -> None:
    """ "das Brot" and "gibt es" say what they are about."""
    for question in ("Was kostet das Brot?", "Gibt es Parkplätze?", "Liefern Sie nach Marrowby?"):
        assert understand(question, ["Wann haben Sie geöffnet?"]).earlier == ""


def test_only_new_words_are_the_follow_up_s_own() -> None:
    """What both questions name is no test of whether the evidence fits the second."""
    assert understand("and cake prices?", ["What is the price of bread?"]).own_stems == {"cake"}


def test_a_very_long_question_before_is_shortened() -> None:
    """Two questions of an allowed length stay one of an allowed length."""
    assert len(understand("and on Sundays?", ["When, " + "please, " * 900 + "?"]).text) < LONGEST_BASE + 50


@pytest.mark.parametrize(
    ("question", "asks"),
    [
        ("How much is a loaf?", True),
        ("WHEN do you open?", True),
        ("Wie viele Zonen gibt es?", True),
        ("Combien ça coûte ?", True),
        ("Who owns the bakery?", False),
        ("Show me how", False),
    ],
)
def test_questions_for_numbers_are_known(question: str, asks: bool) -> None:
    """Amounts, dates and times are asked for with a few fixed words."""
    assert asks_number(question) is asks
