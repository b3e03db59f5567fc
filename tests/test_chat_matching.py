import pytest

from ruma.chat.answering import Answer, answer
from ruma.chat.matching import match_pair
from ruma.chat.understanding import understand
from ruma.ingest.pairs import save_pair
from ruma.models.embedder import Embedder
from ruma.privacy.erasing import erase_pair
from ruma.tenant.conversing.conversations import OpenConversation, begin_conversation, read_conversation
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.tenant import Tenant
from tests.fakes import EchoGenerator
from tests.making import EMBEDDER, make_document

DELIVERY, DELIVERY_ANSWER = "Do you deliver to the villages?", "Yes.\nEvery Monday [sic], for 5 euros."
HOURS = "On Sundays the shop is open from 8:00 to 12:00."


def ask(tenant: Tenant, question: str, conversation: OpenConversation | None = None, **more: object) -> Answer:
    """Return an answer whose tokens have ended."""
    reply = answer(
        question,
        tenant=tenant,
        embedder=EMBEDDER,
        **{"generator": None, "conversation": conversation, **more},  # type: ignore[arg-type]
    )
    assert "".join(reply.tokens).strip() == reply.text
    return reply


@pytest.fixture
def shop(tenant: Tenant) -> Tenant:
    """Return a tenant with a document, and a pair."""
    source = add_source(tenant, "folder", "/documents")
    store_document(tenant, source.id, make_document("hours.md", HOURS, title="Opening hours"), embedder_id=EMBEDDER.id)
    save_pair(DELIVERY, DELIVERY_ANSWER, tenant, EMBEDDER)
    return tenant


@pytest.mark.parametrize(
    "question", [DELIVERY, "do you deliver to the villages", "Do you deliver to all the villages?"]
)
@pytest.mark.parametrize("mode", ["quote", "write", "auto"])
def test_the_business_s_own_words_go_before_all_else(shop: Tenant, question: str, mode: str) -> None:
    """The whole answer, letter for letter, with a citation to the pair; no model is asked."""
    generator = EchoGenerator()

    reply = ask(shop, question, mode=mode, generator=generator)

    assert (reply.mode, reply.text, reply.is_declined) == ("pair", DELIVERY_ANSWER, False)
    (cited,) = reply.cited
    assert (cited.title, cited.quote, cited.start, cited.end) == (DELIVERY, DELIVERY_ANSWER, 0, len(DELIVERY_ANSWER))
    assert reply.support >= reply.needed
    assert set(reply.seconds) == {"understand", "match"}
    assert generator.asked == []


@pytest.mark.parametrize("question", ["When is the shop open on Sundays?", "Who won the world cup?", "villages"])
def test_another_question_is_looked_up(shop: Tenant, question: str) -> None:
    """It is quoted or declined, and never answered with the pair."""
    reply = ask(shop, question)

    assert reply.mode == "quote"
    assert reply.text != DELIVERY_ANSWER


def test_a_number_in_the_question_must_be_the_same(shop: Tenant) -> None:
    """Zone 1 is not zone 2, however near the two questions are."""
    save_pair("What does delivery to zone 1 of the town cost?", "2 euros.", shop, EMBEDDER)

    assert ask(shop, "What does delivery to zone 1 of the town cost?").text == "2 euros."
    assert ask(shop, "What does delivery to zone 2 of the town cost?").mode == "quote"


@pytest.mark.parametrize(
    ("pair", "asked", "is_same"),
    [
        ("Do you deliver on Sundays?", "Are you open on Sundays?", False),
        ("Is the restaurant open for lunch?", "Is the restaurant open for breakfast?", False),
        ("Can I check in late?", "Can I check out late?", False),
        ("Do you deliver on Sundays?", "Is there delivery on Sundays?", True),
        ("Is the restaurant open for lunch?", "Can I have lunch in the restaurant?", True),
        ("Can I check in late?", "Can we check in late?", True),
    ],
)
def test_a_word_put_in_the_place_of_another_makes_another_question(
    tenant: Tenant, embedder: Embedder, pair: str, asked: str, is_same: bool
) -> None:
    """To the real embedder all of these are nearer than most rephrasings; one word decides, be it a stop word."""
    save_pair(pair, "As the owner says.", tenant, embedder)

    assert (match_pair(understand(asked, []), tenant, embedder) is not None) is is_same


def test_a_follow_up_is_not_answered_with_the_same_pair_again(shop: Tenant) -> None:
    """Read together with the question before, it would be near enough to it."""
    conversation = begin_conversation()
    assert ask(shop, DELIVERY, conversation).mode == "pair"

    for follow_up in ("and on Sundays?", "how much is it?", "why?", "and to the villages?"):
        assert ask(shop, follow_up, conversation).mode == "quote"


def test_a_short_question_is_matched_word_for_word_in_a_conversation(shop: Tenant) -> None:
    """What a visitor picks from the suggestions is answered, whatever was asked before."""
    save_pair("Gift cards?", "At the counter.", shop, EMBEDDER)
    conversation = begin_conversation()
    ask(shop, DELIVERY, conversation)

    assert ask(shop, "gift cards", conversation).text == "At the counter."


def test_a_caller_without_a_conversation_gives_the_earlier_questions(shop: Tenant) -> None:
    """They are read as a conversation's own would be."""
    alone = ask(shop, "and on Sundays?")
    after = ask(shop, "and on Sundays?", earlier=["When is the shop open?"])

    assert alone.understood == "and on Sundays?"
    assert after.understood == "When is the shop open? and on Sundays?"
    assert after.cited[0].quote == HOURS


def test_the_answer_is_kept_with_its_citation(shop: Tenant) -> None:
    """The conversation shows it later as it was given."""
    conversation = begin_conversation()
    ask(shop, DELIVERY, conversation)
    assert conversation.id is not None

    _, message = read_conversation(shop, conversation.id).messages

    assert (message.mode, message.text) == ("pair", DELIVERY_ANSWER)
    assert [(one.title, one.quote) for one in message.citations] == [(DELIVERY, DELIVERY_ANSWER)]


def test_a_removed_pair_answers_nothing_from_the_next_question_on(shop: Tenant) -> None:
    """No copy of the questions outlives a change of the index."""
    number = ask(shop, DELIVERY).cited[0].document_id

    erase_pair(shop, number)

    assert ask(shop, DELIVERY).mode == "quote"


@pytest.mark.parametrize(
    ("question", "is_matched"),
    [
        ("Can I get my order delivered to the villages?", True),
        ("do you bring orders out to the villages around", True),
        ("What do you sell in the villages?", False),
        ("Do you deliver newspapers to the moon?", False),
        ("When was the village church built?", False),
    ],
)
def test_rephrased_questions_are_matched_by_meaning(
    tenant: Tenant, embedder: Embedder, question: str, is_matched: bool
) -> None:
    """With the real embedder other words for the same are matched, and near ones that ask something else are not."""
    save_pair("Do you deliver orders to the villages?", "Yes.", tenant, embedder)

    reply = answer(question, tenant=tenant, embedder=embedder, generator=None)

    assert (reply.mode == "pair") == is_matched
