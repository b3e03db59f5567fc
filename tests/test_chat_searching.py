import numpy as np
import pytest

from ruma.chat.searching import (
    COVERAGE_WEIGHT,
    HEADING_WEIGHT,
    MAX_QUESTION,
    WORDS_WEIGHT,
    find,
    search,
    weigh_words,
)
from ruma.config import Settings
from ruma.errors import InputError, NotReadyError
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import remove_documents, store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.tenant import Tenant
from tests.fakes import HashEmbedder
from tests.making import EMBEDDER, make_document

SYNTAX = [
    '" OR 1=1 --',
    "NEAR(bread cake, 2) AND NOT *",
    "text: bread title:cake ^bread",
    'bread" OR "',
    "bread* -cake + {bread}",
    "'; drop table chunk; --",
    "\0bread\0",
    "???",
    "\ud800 bread",
]


def add(tenant: Tenant, name: str, *texts: str, title: str = "") -> int:
    """Store a document of one chunk a text and return its id."""
    source = add_source(tenant, "folder", "/documents")
    return store_document(tenant, source.id, make_document(name, *texts, title=title), embedder_id=EMBEDDER.id)


def found(tenant: Tenant, question: str) -> list[str]:
    """Return the texts of the passages found, best first."""
    return [passage.chunk.text for passage in search(question, tenant, EMBEDDER)]


@pytest.fixture
def bakery(tenant: Tenant) -> Tenant:
    """Return a tenant with a few documents."""
    add(tenant, "bread.md", "Rye bread costs four euros.", "Spelt bread is baked on Fridays.")
    add(tenant, "cake.md", "A wedding cake is ordered eight weeks ahead.", title="Cakes")
    add(tenant, "hours.md", "The shop is open from seven to six.", title="Opening hours")
    return tenant


def test_the_passage_with_the_question_s_words_and_meaning_comes_first(bakery: Tenant) -> None:
    """Each passage has what it was ordered by, and they are ordered by it."""
    passages = search("When is spelt bread baked?", bakery, EMBEDDER)

    assert passages[0].chunk.text == "Spelt bread is baked on Fridays."
    assert [one.score for one in passages] == sorted((one.score for one in passages), reverse=True)
    assert passages[0].words > 0
    assert passages[0].cosine == pytest.approx(
        float(passages[0].chunk.vector @ EMBEDDER.embed_question("When is spelt bread baked?")), abs=1e-5
    )


def test_the_limit_holds(bakery: Tenant) -> None:
    """No more passages are given than were asked for."""
    assert len(search("bread cake shop", bakery, EMBEDDER, limit=2)) == 2


def test_a_title_finds_what_the_text_does_not_say(bakery: Tenant) -> None:
    """What stands above a passage belongs to it."""
    assert found(bakery, "opening hours")[0] == "The shop is open from seven to six."


def test_a_score_is_made_of_the_parts_that_are_documented(tenant: Tenant) -> None:
    """Cosine, heading, words and coverage; where there is no heading the whole passage stands in for it."""
    add(tenant, "ovens.md", "Ovens cleaned daily.", title="")
    add(tenant, "other.md", "Something else.")
    findings = find("ovens cleaned daily", tenant, EMBEDDER)
    (best, _) = findings.passages

    assert not best.chunk.prefix_vector.any()
    assert best.cosine == pytest.approx(1, abs=0.01)
    parts = 1 + HEADING_WEIGHT + WORDS_WEIGHT * best.words / float(findings.weights.sum()) + COVERAGE_WEIGHT
    assert best.score == pytest.approx(parts, abs=0.02)


def test_all_words_in_one_sentence_beat_the_same_words_apart(tenant: Tenant) -> None:
    """Half of the words twice is not the whole once."""
    add(tenant, "a.md", "Rye is a grain and bread is not.", "Seven days make a week.", "Sunday bakers sleep.")
    add(tenant, "b.md", "Rye bread on Sunday.")

    assert found(tenant, "rye bread Sunday")[0] == "Rye bread on Sunday."


@pytest.mark.parametrize("question", SYNTAX)
def test_a_question_is_words_and_never_syntax(bakery: Tenant, question: str) -> None:
    """Whatever a visitor types is searched for, and nothing of it is carried out."""
    passages = search(question, bakery, EMBEDDER)

    assert len(passages) == 4
    if "bread" in question and "cake" not in question:
        assert "bread" in passages[0].chunk.text


def test_ten_thousand_different_words_are_a_question(bakery: Tenant) -> None:
    """The longest question allowed costs no more than a long one."""
    question = " ".join(f"w{number}" for number in range(10_000))[:MAX_QUESTION]

    assert len(search(question, bakery, EMBEDDER)) == 4


@pytest.mark.parametrize("question", ["", " \n\t ", "x" * 100_000])
def test_an_empty_and_an_endless_question_are_refused(bakery: Tenant, question: str) -> None:
    """The person who asked is told, instead of an answer to a part of it."""
    with pytest.raises(InputError, match="question"):
        search(question, bakery, EMBEDDER)


def test_without_documents_the_way_to_add_some_is_said(tenant: Tenant) -> None:
    """An empty index is no failed search."""
    with pytest.raises(NotReadyError, match="no documents") as caught:
        search("bread", tenant, EMBEDDER)

    assert "ruma ingest" in caught.value.hint


def test_vectors_of_another_model_are_not_compared(bakery: Tenant) -> None:
    """The numbers of two models mean different things, also where they have the same length."""
    with pytest.raises(NotReadyError):
        search("bread", bakery, HashEmbedder(id="hash@2"))


def test_what_was_removed_is_not_found(bakery: Tenant) -> None:
    """Neither by words nor by meaning, from the next question on."""
    document_id = add(bakery, "secret.md", "The canary sings at noon.")
    assert found(bakery, "When does the canary sing?")[0] == "The canary sings at noon."

    remove_documents(bakery, [document_id])

    assert not any("canary" in text for text in found(bakery, "When does the canary sing?"))


def test_another_tenant_s_documents_are_never_found(bakery: Tenant, settings: Settings) -> None:
    """A search knows one tenant, whatever the question says."""
    home = Home(settings)
    home.create("other")
    with home.open("other") as other:
        add(other, "canary.md", "The canary sings at noon.")

        assert not any("canary" in text for text in found(bakery, 'canary tenant:"other" ../other/canary.md'))


def test_rare_words_weigh_more_and_none_weighs_nothing(bakery: Tenant) -> None:
    """Also among four chunks a word that most of them hold still counts."""
    rare, common = weigh_words(bakery, ["wedding", "bread"])
    add(bakery, "more.md", "Bread.", "Bread again.", "More bread.")
    everywhere = weigh_words(bakery, ["bread"])[0]

    assert rare > common > everywhere > 0


def test_findings_are_sized_as_they_say(bakery: Tenant) -> None:
    """A weight for each stem, a mark for each sentence and stem, a cosine for each sentence."""
    findings = find("rye breads and a bread", bakery, EMBEDDER)

    assert findings.stems == ("rye", "bread")
    assert findings.weights.shape == (2,)
    assert findings.passages[0].marks.shape == (1, 2)
    assert findings.passages[0].sentence_cosines.shape == (1,)
    assert np.all(findings.passages[0].marks)
