import pytest

from ruma.chat.answering import answer
from ruma.config import Settings
from ruma.errors import ConflictError, InputError, NotFoundError, NotReadyError
from ruma.ingest.pairs import MOST_ANSWER, MOST_QUESTION, save_pair
from ruma.ingest.pipeline import ingest_sources
from ruma.privacy.erasing import erase_pair
from ruma.privacy.verifying import verify_in_tenant
from ruma.tenant.audit import list_audit
from ruma.tenant.conversing.conversations import begin_conversation, read_conversation
from ruma.tenant.knowledge.documents import find_documents, list_documents, read_document
from ruma.tenant.knowledge.pairs import find_pairs, load_pair_index, read_pair
from ruma.tenant.knowledge.sources import list_sources
from ruma.tenant.tenant import Tenant
from tests.fakes import HashEmbedder
from tests.harness.residue import find_residue, make_canaries
from tests.making import EMBEDDER
from tests.running import read_json, run

QUESTION = "Do you deliver on Sundays?"
ANSWER = "No, but on all other days.\n\n- In the town for 2.50 euros\n- To the villages for 5 euros"


def test_a_pair_is_kept_as_it_was_written(tenant: Tenant) -> None:
    """The question on one line, the answer with its paragraphs and lines."""
    number = save_pair(f"  {QUESTION}\n", f"\n{ANSWER}\n", tenant, EMBEDDER)

    pair = read_pair(tenant, number)

    assert (pair.question, pair.answer) == (QUESTION, ANSWER)
    assert [one.id for one in find_pairs(tenant).pairs] == [number]


def test_a_long_answer_is_whole(tenant: Tenant) -> None:
    """It is cut into chunks for the index, and given back in one piece."""
    answer_text = "\n\n".join(f"Sentence {number} says something about cakes and bread." for number in range(150))

    number = save_pair(QUESTION, answer_text, tenant, EMBEDDER)

    assert read_pair(tenant, number).answer == answer_text
    assert len(read_document(tenant, number).chunks) > 1


def test_a_pair_is_a_document_of_a_source_of_its_own(tenant: Tenant) -> None:
    """So search, citations and removal know it; the list of documents does not show it beside files."""
    number = save_pair(QUESTION, ANSWER, tenant, EMBEDDER)

    assert [(source.kind, source.documents) for source in list_sources(tenant)] == [("pair", 1)]
    assert [document.id for document in list_documents(tenant)] == [number]
    assert find_documents(tenant).total == 0


@pytest.mark.parametrize(
    ("question", "answer_text"),
    [
        ("", ANSWER),
        (QUESTION, " \n"),
        ("\u200b", ANSWER),
        ("x" * (MOST_QUESTION + 1), ANSWER),
        (QUESTION, "x" * (MOST_ANSWER + 1)),
    ],
    ids=["no question", "no answer", "nothing to see", "long question", "long answer"],
)
def test_half_a_pair_and_a_long_one_are_refused(tenant: Tenant, question: str, answer_text: str) -> None:
    """Nothing is stored of them."""
    with pytest.raises(InputError):
        save_pair(question, answer_text, tenant, EMBEDDER)

    assert find_pairs(tenant).total == 0


def test_a_question_has_one_answer(tenant: Tenant) -> None:
    """A second pair with the same question is refused, and the first one stays."""
    number = save_pair(QUESTION, ANSWER, tenant, EMBEDDER)

    with pytest.raises(ConflictError, match=str(number)):
        save_pair(QUESTION.upper(), "Yes.", tenant, EMBEDDER)

    assert read_pair(tenant, number).answer == ANSWER


@pytest.mark.parametrize("question", [QUESTION, "And on Mondays?"], ids=["same question", "another question"])
def test_a_changed_pair_takes_the_place_of_the_old_one(tenant: Tenant, question: str) -> None:
    """There is one pair afterwards, and it is answered with the new words."""
    number = save_pair(QUESTION, ANSWER, tenant, EMBEDDER)

    changed = save_pair(question, "Yes.", tenant, EMBEDDER, replaced=number)

    assert [(one.id, one.question, one.answer) for one in find_pairs(tenant).pairs] == [(changed, question, "Yes.")]
    assert load_pair_index(tenant).questions == (question,)
    noted = list_audit(tenant, thing="document", limit=2)
    assert [(one.action, one.subject) for one in noted] == [
        ("document.corrected", f"document {changed}"),
        ("document.added", f"document {number}"),
    ]
    assert noted[0].details["before"] == number
    with pytest.raises(NotFoundError):
        save_pair("Anything?", "Yes.", tenant, EMBEDDER, replaced=number)


def test_pairs_are_found_by_the_words_of_both_parts(tenant: Tenant) -> None:
    """All words must be there, the newest comes first, and a part of a long list can be had."""
    numbers = [save_pair(f"Question {place}?", f"Answer {place} with cake.", tenant, EMBEDDER) for place in range(5)]

    assert [one.id for one in find_pairs(tenant, "CAKE").pairs] == numbers[::-1]
    assert [one.id for one in find_pairs(tenant, "question 3 cake").pairs] == [numbers[3]]
    assert find_pairs(tenant, "100%").total == 0
    page = find_pairs(tenant, offset=1, limit=2)
    assert ([one.id for one in page.pairs], page.total) == (numbers[3:1:-1], 5)


def test_another_model_s_pairs_are_refused_and_made_anew(tenant: Tenant, settings: Settings) -> None:
    """Vectors of two models are never compared; indexing again keeps the pairs, which no file holds."""
    save_pair(QUESTION, ANSWER, tenant, EMBEDDER)
    other = HashEmbedder(dimension=32, id="other@1")
    with pytest.raises(NotReadyError):
        save_pair("Another?", "Yes.", tenant, other)
    with pytest.raises(NotReadyError):
        answer(QUESTION, tenant=tenant, embedder=other, generator=None)

    list(ingest_sources([], tenant, other, settings, reindex=True))

    assert [(one.question, one.answer) for one in find_pairs(tenant).pairs] == [(QUESTION, ANSWER)]
    assert load_pair_index(tenant).vectors.shape == (1, 32)
    assert answer(QUESTION, tenant=tenant, embedder=other, generator=None).mode == "pair"


@pytest.mark.parametrize("is_changed", [False, True], ids=["removed", "changed"])
def test_a_removed_pair_leaves_nothing(tenant: Tenant, is_changed: bool) -> None:
    """Question, answer and what visitors were told from it are in no decrypted page, and the source is gone too."""
    asked, told = make_canaries(2)
    number = save_pair(f"What is {asked}?", f"It is {told}.", tenant, EMBEDDER)
    conversation = begin_conversation()
    reply = answer(f"what is {asked}", tenant=tenant, embedder=EMBEDDER, generator=None, conversation=conversation)
    assert told in "".join(reply.tokens)
    assert conversation.id is not None
    assert told in read_conversation(tenant, conversation.id).messages[1].text
    assert set(find_residue(tenant.folder, tenant.key.raw, [asked, told])) == {asked, told}

    if is_changed:
        save_pair("Something else?", "Yes.", tenant, EMBEDDER, replaced=number)
    else:
        done = erase_pair(tenant, number)
        assert done.signed
        assert done.signed.receipt.is_complete
        assert verify_in_tenant(tenant, done.signed).outcome == "clean"
        assert list_sources(tenant) == []

    kept = read_conversation(tenant, conversation.id).messages[1]
    assert (kept.text, kept.citations[0].document_id) == ("", None)
    # The visitor's own words are the visitor's: they hold the canary of the question, and stay.
    assert told not in find_residue(tenant.folder, tenant.key.raw, [told])
    with pytest.raises(NotFoundError):
        erase_pair(tenant, number)


def test_a_pair_that_goes_while_it_is_told_is_not_kept(tenant: Tenant) -> None:
    """The answer that is stored afterwards holds none of its words."""
    number = save_pair(QUESTION, ANSWER, tenant, EMBEDDER)
    conversation = begin_conversation()
    reply = answer(QUESTION, tenant=tenant, embedder=EMBEDDER, generator=None, conversation=conversation)
    erase_pair(tenant, number)

    assert "".join(reply.tokens) == ANSWER

    assert conversation.id is not None
    assert read_conversation(tenant, conversation.id).messages[1].text == ""


def test_pairs_are_worked_with_on_the_command_line() -> None:
    """Add, list, replace and remove; what cannot be is said in one line."""
    run("tenant", "create", "acme")
    assert "ruma pairs add" in run("pairs", "list").stderr

    number = read_json("pairs", "add", QUESTION, ANSWER)["id"]
    assert QUESTION in run("pairs", "list").stdout
    assert run("pairs", "add", QUESTION, "Yes.").exit_code == 1
    changed = read_json("pairs", "add", QUESTION, "Yes.", "--replace", number)
    assert [one["answer"] for one in read_json("pairs", "list", "sundays")] == ["Yes."]
    assert read_json("pairs", "list", "mondays") == []
    assert run("pairs", "remove", changed["id"]).exit_code == 0
    assert run("pairs", "remove", changed["id"]).exit_code == 1
