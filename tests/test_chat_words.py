import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ruma.chat.languages import LANGUAGES, guess_language
from ruma.chat.words import MAX_TERMS, content_words, fold, group_by_stem, is_question, mark_stems, split_words, stem


def test_words_are_folded_as_the_full_text_index_folds_them() -> None:
    """Small letters without accents, parted at everything that is no letter and no digit."""
    assert split_words("Crème_brûlée: 4,50 €, Größe-XL") == ["creme", "brulee", "4", "50", "große", "xl"]
    assert fold("ÉCLAIR") == "eclair"


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What does the delivery cost?", ["delivery", "cost"]),
        ("Was kostet die Lieferung am Sonntag?", ["kostet", "lieferung", "sonntag"]),
        ("Die at the bakery", ["die", "bakery"]),
        ("¿Cuánto cuesta la entrega?", ["cuesta", "entrega"]),
        ("Combien coûte la livraison ?", ["coute", "livraison"]),
    ],
)
def test_stop_words_are_those_of_the_question_s_language(question: str, words: list[str]) -> None:
    """A word that is empty in one language may be the subject in another."""
    assert content_words(question) == words


def test_a_question_of_stop_words_alone_is_searched_by_them() -> None:
    """Nothing to search for would find nothing, whatever the documents say."""
    assert content_words("Who are you?") == ["who", "are", "you"]


def test_a_very_long_question_is_searched_by_its_first_words() -> None:
    """The number of words that reach the index is bounded, and each is there once."""
    words = content_words(" ".join(f"thing{number} thing{number}" for number in range(5000)))

    assert words == [f"thing{number}" for number in range(MAX_TERMS)]


def test_words_of_one_stem_are_one() -> None:
    """Weights are given to stems, so that "price" and "prices" do not count twice."""
    assert group_by_stem(["price", "delivery", "prices"]) == {"price": "price", "deliveri": "delivery"}


def test_stems_are_marked_in_other_forms_of_a_word() -> None:
    """A text holds a stem in whatever form, and not in a word that merely begins alike."""
    marks = mark_stems(["We delivered PRICES.", "A priceless deli."], ["deliv", "price"])

    assert marks.tolist() == [[True, True], [False, False]]


def test_a_stem_is_found_in_every_word_that_has_it() -> None:
    """Also where the stem ends in other letters than the word, and at the edges of a text."""
    roots = ["a", "e", "ey", "ski", "b", "cred", "respons", "agr", "fizz", "hop", "activ", "vi", "commun", "bak"]
    ends = ["", "s", "ies", "ed", "eed", "ing", "y", "ility", "ibility", "ational", "ization", "ousness", "ement", "le"]
    words = [root + one + two for root in roots for one in ends for two in ("", "s", "ed", "ing", "ly")]

    found = mark_stems(words, [stem(word) for word in words])

    assert found.tolist() == [[stem(one) == stem(other) for other in words] for one in words]
    texts = ["bakery", "(BAKERIES)", "un_bakery", "unbakery", "a\0bakery", "", "a Bäkery."]
    assert mark_stems(texts, ["bakeri"])[:, 0].tolist() == [True, True, True, False, True, False, True]
    assert mark_stems(["x"], []).shape == (1, 0)


@pytest.mark.parametrize(("text", "asks"), [("Open on Sundays?", True), ('He asked: "Why?"', True), ("Yes.", False)])
def test_a_question_is_known_by_its_end(text: str, asks: bool) -> None:
    """Quotes and brackets after the mark do not hide it."""
    assert is_question(text) is asks


def test_english_is_guessed_where_nothing_speaks_for_another_language() -> None:
    """One ambiguous word, or none, changes nothing for the language that the embedder knows best."""
    assert guess_language(["in"]) is LANGUAGES["en"]
    assert guess_language([]) is LANGUAGES["en"]
    assert guess_language(["und", "am", "sonntag"]) is LANGUAGES["de"]


def test_the_words_of_the_languages_are_folded() -> None:
    """An entry with an accent or a capital would never be met."""
    for language in LANGUAGES.values():
        single = language.stop_words | language.pronouns | language.question_words | language.courtesies
        for entry in (*single, *language.openings, *language.number_questions):
            assert " ".join(split_words(entry)) == entry


def test_stems_do_not_depend_on_who_else_stems() -> None:
    """Threads that stem at the same time get the stems that one alone gets."""
    words = [f"{start}{middle}{end}" for start in "abcdefgh" for middle in ("relation", "hopeful", "rational", "operat")
             for end in ("ness", "ities", "ingly", "ization", "ed")]  # fmt: skip
    stem.cache_clear()
    alone = [stem(word) for word in words]

    stem.cache_clear()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda turn: [stem(word) for word in words[turn:] + words[:turn]], range(0, 160, 40)))
    finally:
        sys.setswitchinterval(interval)

    assert [sorted(one) for one in found] == [sorted(alone)] * 4
