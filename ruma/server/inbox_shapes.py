"""What the inbox's part of the API takes and gives."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from ruma.server.shapes import Said, said_of
from ruma.tenant.conversing.conversations import Channel
from ruma.tenant.conversing.inbox import ConversationDetails, ConversationInfo, Feedback
from ruma.tenant.conversing.usage import UnansweredQuestion, Usage
from ruma.tenant.tenant import Tenant


@dataclass(frozen=True)
class FeedbackGiven:
    """What a visitor thinks of an answer."""

    message_id: int
    """The number of the answer, as `done` gave it."""
    is_helpful: bool | None
    """Null takes back what was given before."""
    comment: str = ""


@dataclass(frozen=True)
class PersonWanted:
    """A visitor's wish to hear from a person."""

    message: str
    name: str = ""
    email: str = ""
    """Where the reply is sent as well; without it, it is found in the conversation alone."""
    channel: Literal["page", "widget", "api"] = "api"
    website: str = ""
    """The origin of the page that holds the widget."""
    language: str = ""
    """The language of that page."""
    keep: bool | None = None
    """As in a question, for a new conversation; but it is kept in any case: who answers must find it."""
    analytics: bool | None = None
    """As in a question, for a new conversation."""


@dataclass(frozen=True)
class PersonAsked:
    """That the team was asked, and the secret of the conversation in which the reply will be."""

    conversation: str
    message_id: int


@dataclass(frozen=True)
class ConversationSummary:
    """A conversation as the inbox lists it."""

    id: int
    opening: str
    """The visitor's first words, shortened."""
    channel: Channel
    website: str
    language: str
    started_at: str
    last_at: str
    visitor_name: str
    visitor_email: str
    questions: int
    declined: int
    """How many of the questions the documents did not answer."""
    helpful: int
    unhelpful: int
    wants_person: bool
    """Whether the visitor waits for a person."""
    answered_at: str | None
    """When a person wrote last."""
    is_read: bool
    is_closed: bool


@dataclass(frozen=True)
class ConversationList:
    """A page of the inbox, the newest first."""

    conversations: list[ConversationSummary]
    total: int
    page: int
    pages: int


@dataclass(frozen=True)
class FeedbackText:
    """What the visitor thought of an answer."""

    is_helpful: bool
    comment: str
    given_at: str


@dataclass(frozen=True)
class ConversationWhole:
    """A conversation with its messages, and what the visitor thought of them."""

    conversation: ConversationSummary
    messages: list[Said]
    feedback: Mapping[str, FeedbackText]
    """By the number of the message."""


@dataclass(frozen=True)
class ReplyText:
    """What a person answers."""

    text: str


@dataclass(frozen=True)
class ReplySent:
    """A reply that is in the conversation."""

    message_id: int
    is_mailed: bool
    """Whether it also goes to the visitor by mail."""


@dataclass(frozen=True)
class ConversationChange:
    """What is to change of a conversation; what is left out, or null, stays."""

    is_read: bool | None = None
    is_closed: bool | None = None
    visitor_name: str | None = None
    visitor_email: str | None = None


@dataclass(frozen=True)
class DayCount:
    """What was asked on one day, in UTC."""

    date: str
    questions: int
    declined: int


@dataclass(frozen=True)
class UsageCounts:
    """What visitors did in the last days."""

    conversations: int
    questions: int
    answered: int
    declined: int
    helpful: int
    unhelpful: int
    waiting: int
    """Conversations that wait for a person now."""
    days: list[DayCount]
    channels: Mapping[str, int]
    """How many questions came from where."""
    modes: Mapping[str, int]
    """How many were answered how; "" is those that were not."""


@dataclass(frozen=True)
class Unanswered:
    """A question that the documents do not answer."""

    text: str
    count: int
    """How often it was asked, in the same words."""
    last_at: str
    conversation_id: int
    message_id: int


@dataclass(frozen=True)
class UnansweredList:
    """The questions that were declined, the one asked last first."""

    questions: list[Unanswered]


@dataclass(frozen=True)
class ProfileText:
    """The business."""

    business_name: str
    website: str
    contact_email: str
    """The address that visitors may write to."""
    notify_email: str
    """Where mail goes when a visitor asks for a person; empty takes the owners' addresses."""


@dataclass(frozen=True)
class ProfileChange:
    """What is to change of the profile; what is left out, or null, stays."""

    business_name: str | None = None
    website: str | None = None
    contact_email: str | None = None
    notify_email: str | None = None


def summary_of(info: ConversationInfo) -> ConversationSummary:
    """Return a listed conversation as the API gives it."""
    return ConversationSummary(**asdict(info))


def feedback_of(feedback: Feedback) -> FeedbackText:
    """Return feedback as the API gives it."""
    return FeedbackText(**asdict(feedback))


def whole_of(tenant: Tenant, details: ConversationDetails) -> ConversationWhole:
    """Return a conversation as the API gives it to members."""
    return ConversationWhole(
        summary_of(details.info),
        [said_of(tenant, message) for message in details.conversation.messages],
        {str(number): feedback_of(given) for number, given in details.feedback.items()},
    )


def usage_of(usage: Usage) -> UsageCounts:
    """Return counts as the API gives them."""
    return UsageCounts(
        conversations=usage.conversations,
        questions=usage.questions,
        answered=usage.answered,
        declined=usage.declined,
        helpful=usage.helpful,
        unhelpful=usage.unhelpful,
        waiting=usage.waiting,
        days=[DayCount(**asdict(day)) for day in usage.days],
        channels=usage.channels,
        modes=usage.modes,
    )


def unanswered_of(question: UnansweredQuestion) -> Unanswered:
    """Return a declined question as the API gives it."""
    return Unanswered(**asdict(question))
