"""What happened: counts over the last days, and the questions that the documents did not answer."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ruma.tenant.conversing.inbox import count_waiting
from ruma.tenant.tenant import Tenant

_LOOKED_AT = 1000
"""The newest declined answers that are grouped: older ones have been seen."""

_OF_VISITORS = "channel not in ('trial', 'terminal') and is_kept = 1 and is_counted = 1"
"""Not what members try on their page, and not what the operator asks in the terminal."""


@dataclass(frozen=True)
class Day:
    """What was asked on one day, in UTC."""

    date: str
    questions: int
    declined: int


@dataclass(frozen=True)
class Usage:
    """What visitors did in the last days: those who let their conversations be counted.

    What members try on their page and the operator in a terminal is not in it.
    """

    conversations: int
    questions: int
    declined: int
    """Questions that the documents did not answer."""
    helpful: int
    unhelpful: int
    waiting: int
    """Conversations that wait for a person now, however old."""
    days: tuple[Day, ...]
    """Each day, the oldest first."""
    channels: Mapping[str, int]
    """How many questions came from where: `page`, `widget`, `api`; the most first."""
    modes: Mapping[str, int]
    """How many were answered how: `quote`, `write`, `pair`, or "" for those that were declined; the most first."""

    @property
    def answered(self) -> int:
        """Questions that the documents answered."""
        return self.questions - self.declined

    @property
    def answered_share(self) -> float | None:
        """The share of the questions that were answered; None where none was asked."""
        return self.answered / self.questions if self.questions else None


@dataclass(frozen=True)
class UnansweredQuestion:
    """A question that the documents do not answer."""

    text: str
    """As it was asked last."""
    count: int
    """How often it was asked, in the same words."""
    last_at: str
    conversation_id: int
    message_id: int
    """The answer that declined."""


def count_usage(tenant: Tenant, days: int = 7) -> Usage:
    """Return what happened today and in the days before it, as many in all as asked for."""
    today = datetime.now(UTC).date()
    dates = [(today - timedelta(days=back)).isoformat() for back in reversed(range(days))]
    with tenant.reading() as db:
        asked = db.execute(
            f"""select substr(message.created_at, 1, 10), count(*), sum(is_declined)
               from message join conversation on conversation.id = conversation_id
               where message.created_at >= ? and role = 'agent' and {_OF_VISITORS} group by 1""",
            [dates[0]],
        ).fetchall()
        conversations, helpful, unhelpful = db.execute(
            f"""select count(*), coalesce(sum(helpful), 0), coalesce(sum(unhelpful), 0)
               from conversation where last_at >= ? and {_OF_VISITORS}""",
            [dates[0]],
        ).fetchone()
        kinds = db.execute(
            f"""select channel, iif(is_declined, '', mode), count(*)
               from message join conversation on conversation.id = conversation_id
               where message.created_at >= ? and role = 'agent' and {_OF_VISITORS}
               group by 1, 2 order by 3 desc, 1, 2""",
            [dates[0]],
        ).fetchall()
    channels, modes = Counter[str](), Counter[str]()
    for channel, mode, number in kinds:
        channels[channel] += number
        modes[mode] += number
    found = {row[0]: Day(*row) for row in asked}
    shown = tuple(found.get(date, Day(date, 0, 0)) for date in dates)
    return Usage(
        conversations=conversations,
        questions=sum(day.questions for day in shown),
        declined=sum(day.declined for day in shown),
        helpful=helpful,
        unhelpful=unhelpful,
        waiting=count_waiting(tenant),
        days=shown,
        channels=dict(channels.most_common()),
        modes=dict(modes.most_common()),
    )


def list_unanswered(tenant: Tenant, limit: int = 10) -> list[UnansweredQuestion]:
    """Return the questions that were declined, the one asked last first, each once whatever its capitals and marks.

    Left out are those that members or the operator tried, those in conversations that are closed, and those that a
    question-and-answer pair answers by now.
    """
    with tenant.reading() as db:
        rows = db.execute(
            f"""select answer.id, answer.conversation_id, answer.created_at, (
                   select text from message where conversation_id = answer.conversation_id
                   and id < answer.id and role = 'visitor' order by id desc limit 1)
               from (select id, conversation_id, created_at from message where is_declined = 1
                     order by created_at desc, id desc limit ?) as answer
               join conversation on conversation.id = answer.conversation_id
               where {_OF_VISITORS} and is_closed = 0
               order by answer.created_at desc, answer.id desc""",
            [_LOOKED_AT],
        ).fetchall()
        pairs = db.execute(
            "select title from document join source on source.id = source_id where source.kind = 'pair'"
        ).fetchall()
    answered = {_words(title) for (title,) in pairs}
    found: dict[tuple[str, ...], UnansweredQuestion] = {}
    for message_id, conversation_id, at, text in rows:
        words = _words(text or "")
        if not words or words in answered:
            continue
        known = found.get(words)
        if known is None:
            found[words] = UnansweredQuestion(" ".join(text.split()), 1, at, conversation_id, message_id)
        else:
            found[words] = UnansweredQuestion(
                known.text, known.count + 1, known.last_at, known.conversation_id, known.message_id
            )
    return list(found.values())[:limit]


def _words(text: str) -> tuple[str, ...]:
    return tuple("".join(one if one.isalnum() else " " for one in text.casefold()).split())
