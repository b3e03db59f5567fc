from ruma.tenant.conversing.conversations import add_exchange, begin_conversation
from ruma.tenant.conversing.inbox import ask_for_person, close_conversation, give_feedback
from ruma.tenant.conversing.usage import count_usage, list_unanswered
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.tenant import Tenant
from tests.filling import fill_inbox
from tests.making import EMBEDDER, make_document


def ask(tenant: Tenant, question: str, *, declined: bool = False, channel: str = "page") -> tuple[int, int, str]:
    """Store a conversation of one question; return its number, the answer's and its secret."""
    chat = begin_conversation(channel)  # type: ignore[arg-type]
    answer = add_exchange(tenant, chat, question, "So.", mode="write", is_declined=declined, citations=[])
    return chat.id or 0, answer, chat.secret


def test_usage_counts_what_visitors_did(tenant: Tenant) -> None:
    """Questions, those declined, feedback and who waits; not trials, the terminal or what lies before the first day."""
    _, answer, secret = ask(tenant, "One?")
    give_feedback(tenant, secret, answer, True)
    ask(tenant, "Two?", declined=True)
    for channel in ("trial", "terminal"):
        ask(tenant, "Three?", declined=True, channel=channel)
    ask_for_person(tenant, begin_conversation(), name="", email="", message="Hello?")
    old, _, _ = ask(tenant, "Old?")
    with tenant.writing() as db:
        db.execute("update conversation set last_at = '2020-01-01T00:00:00Z' where id = ?", [old])
        db.execute("update message set created_at = '2020-01-01T00:00:00Z' where conversation_id = ?", [old])

    usage = count_usage(tenant, 7)

    assert (usage.conversations, usage.questions, usage.answered, usage.declined) == (3, 2, 1, 1)
    assert (usage.helpful, usage.unhelpful, usage.waiting, usage.answered_share) == (1, 0, 1, 0.5)
    assert len(usage.days) == 7
    assert (usage.days[-1].questions, usage.days[-1].declined, usage.days[0].questions) == (2, 1, 0)


def test_usage_tells_where_and_how(tenant: Tenant) -> None:
    """Questions by where they were asked and how they were answered; what is not counted is in neither."""
    for number, channel in enumerate(("widget", "widget", "page", "trial", "terminal")):
        ask(tenant, f"{number}?", declined=number == 1, channel=channel)

    usage = count_usage(tenant)

    assert list(usage.channels.items()) == [("widget", 2), ("page", 1)]
    assert list(usage.modes.items()) == [("write", 2), ("", 1)]


def test_usage_of_nothing_has_no_share(tenant: Tenant) -> None:
    """Where nobody asked anything there is no share of answered questions, and every day is there with nothing."""
    usage = count_usage(tenant, 30)

    assert (usage.questions, usage.answered_share, len(usage.days)) == (0, None, 30)


def test_the_days_add_up(tenant: Tenant) -> None:
    """The days together hold every question of the time."""
    fill_inbox(tenant, 70, days=7)

    usage = count_usage(tenant, 8)

    assert sum(day.questions for day in usage.days) == usage.questions == 210


def test_declined_questions_are_listed_once(tenant: Tenant) -> None:
    """The same words count together whatever their capitals and marks, the newest first; no answered ones."""
    ask(tenant, "Do you sell rye bread?", declined=True)
    first, _, _ = ask(tenant, "Is there parking?", declined=True)
    last, message, _ = ask(tenant, "do you sell RYE bread", declined=True)
    ask(tenant, "Is it good?")
    ask(tenant, "Does the trial work?", declined=True, channel="trial")
    ask(tenant, "Does the terminal work?", declined=True, channel="terminal")

    unanswered = list_unanswered(tenant)

    assert [(one.text, one.count, one.conversation_id) for one in unanswered] == [
        ("do you sell RYE bread", 2, last),
        ("Is there parking?", 1, first),
    ]
    assert unanswered[0].message_id == message
    assert len(list_unanswered(tenant, 1)) == 1


def test_what_is_settled_is_not_unanswered(tenant: Tenant) -> None:
    """A question leaves the list when its conversation is closed or a question-and-answer pair answers it."""
    closed, _, _ = ask(tenant, "Is there parking?", declined=True)
    ask(tenant, "do you sell rye bread??", declined=True)
    close_conversation(tenant, closed)
    assert [one.text for one in list_unanswered(tenant)] == ["do you sell rye bread??"]

    source = add_source(tenant, "pair", "Questions and answers")
    pair = make_document("Do you sell rye bread?", "Yes, on Fridays. ")
    store_document(tenant, source.id, pair, embedder_id=EMBEDDER.id)

    assert list_unanswered(tenant) == []
