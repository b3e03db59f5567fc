"""What the API takes and gives about consents, visitors' own data, requests and terms."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

from ruma.privacy.consent import TEXT_NAMES, consent_text, old_text
from ruma.privacy.receipt_pages import receipt_page
from ruma.server.erasure_shapes import ERASED, ErasureInfo, erasure_of
from ruma.tenant.conversing.consents import LEFT_SECONDS, PASSING_SECONDS, ConsentState, Keeping, NotedChoice, Purpose
from ruma.tenant.conversing.conversations import Channel
from ruma.tenant.conversing.inbox import ConversationDetails
from ruma.tenant.conversing.requests import RequestKind, RequestState, RequestStep, RightsRequest
from ruma.tenant.erasing.receipts import Kept


@dataclass(frozen=True)
class ShownText:
    """Words that a visitor agrees to."""

    name: Literal["keep", "analytics", "person"]
    version: str
    words: str


@dataclass(frozen=True)
class ConsentRules:
    """When visitors' conversations are kept, and the words that a chat must show before anybody agrees."""

    keeping: Keeping
    """`agreed`: those whose visitors agree; `unless_refused`: all but those whose visitors refuse."""
    texts: list[ShownText]


@dataclass(frozen=True)
class ConsentRulesChange:
    """What is to change."""

    keeping: Literal["agreed", "unless_refused"]


@dataclass(frozen=True)
class ChoiceMade:
    """What a visitor agreed to or took back, when, and the words that were shown."""

    purpose: Purpose
    is_given: bool
    text_version: str
    language: str
    words: str
    at: str


@dataclass(frozen=True)
class ConsentInfo:
    """What holds for a conversation, and every choice that was made, the oldest first."""

    is_kept: bool
    is_counted: bool
    choices: list[ChoiceMade]


@dataclass(frozen=True)
class Choices:
    """What a visitor chooses; what is left out, or null, stays."""

    keep: bool | None = None
    """Whether the conversation stays when the chat is over."""
    analytics: bool | None = None
    """Whether it is in the statistics; only what is kept can be."""
    language: str = ""
    """The language of the words that were shown."""


@dataclass(frozen=True)
class OwnData:
    """What is stored of a visitor's conversation, and for how long."""

    id: int
    channel: Channel
    website: str
    language: str
    started_at: str
    last_at: str
    messages: int
    opinions: int
    """How many answers the visitor judged."""
    name: str
    email: str
    consent: ConsentInfo
    kept_days: int
    """For how many days after its last message it is kept, if it is."""
    passing_minutes: int
    """After how many minutes without a message it is deleted, if it is not kept."""
    left_minutes: int
    """How many minutes after its visitor left it is deleted, if it is not kept."""


@dataclass(frozen=True)
class Presence:
    """Whether a visitor is in the chat."""

    is_here: bool


@dataclass(frozen=True)
class OwnDetails:
    """How a visitor is called and reached; empty removes it."""

    name: str = ""
    email: str = ""


@dataclass(frozen=True)
class OwnRequest:
    """What a visitor asks about their data and a person must answer."""

    kind: RequestKind
    contact: str = ""
    """Where the answer goes; without it, it can only be written into the conversation."""
    note: str = ""


@dataclass(frozen=True)
class RequestTaken:
    """That a request is in the register, and by which day it is answered."""

    id: int
    due_on: str


@dataclass(frozen=True)
class LinkWanted:
    """The address that a visitor left in conversations, and the language of the mail."""

    email: str
    language: str = ""


@dataclass(frozen=True)
class LinkPosted:
    """That a link is on its way if conversations have the address. Whether they do, is not said."""

    minutes: int
    """For how long the link can be opened, once."""


@dataclass(frozen=True)
class LinkOpened:
    """The secret of a link, which stands behind the # of its address."""

    secret: str


@dataclass(frozen=True)
class VisitBegun:
    """What the header `X-Ruma-Visitor` must have to reach all that has the address that was proven."""

    secret: str
    email: str
    minutes: int


@dataclass(frozen=True)
class VisitorRequest:
    """A request about data that came with the same address."""

    id: int
    kind: RequestKind
    received_on: str
    due_on: str
    state: RequestState


@dataclass(frozen=True)
class VisitorData:
    """What is stored with an address that its owner has proven."""

    email: str
    conversations: list[OwnData]
    requests: list[VisitorRequest]


@dataclass(frozen=True)
class VisitorErasure:
    """What was erased, and the receipt to keep: `receipt` is what is signed, `page` is what a person reads."""

    erasure: ErasureInfo
    receipt: str
    """Empty while the erasure is not finished; the business has it then."""
    page: str


@dataclass(frozen=True)
class NewRequest:
    """A request that came by mail, by telephone or by post."""

    kind: RequestKind
    contact: str
    note: str = ""
    received_on: date | None = None
    """The day that it came; without it, today."""


@dataclass(frozen=True)
class RequestInfo:
    """A request of the register. Dates are days, as 2026-03-31."""

    id: int
    kind: RequestKind
    origin: Literal["visitor", "member", "operator"]
    contact: str
    note: str
    conversation_id: int | None
    received_on: str
    due_on: str
    extended_because: str
    state: RequestState
    closed_at: str | None
    outcome: str


@dataclass(frozen=True)
class RequestList:
    """The open requests by their dates, then the closed ones where they are asked for."""

    requests: list[RequestInfo]
    total: int
    """How many there are, whatever `offset` and `limit` left out."""


@dataclass(frozen=True)
class StepInfo:
    """Something that was done about a request."""

    at: str
    by: str
    """A member or a key by number, as `member 3`; or `visitor`, `operator`."""
    what: str
    note: str


@dataclass(frozen=True)
class RequestWhole:
    """A request and what was done about it."""

    request: RequestInfo
    steps: list[StepInfo]


@dataclass(frozen=True)
class RequestExtension:
    """Why a request takes longer than a month."""

    reason: str


@dataclass(frozen=True)
class RequestClosing:
    """What was done about a request, or why it was refused."""

    outcome: str
    is_refused: bool = False


@dataclass(frozen=True)
class TermsAccepted:
    """That a member accepted a version of the terms."""

    member_id: int
    version: str
    accepted_at: str


@dataclass(frozen=True)
class TermsInfo:
    """The terms of use in force, and who accepted which version."""

    version: str
    """Empty where the operator asks for none."""
    text: str
    url: str
    acceptances: list[TermsAccepted]


def rules_of(keeping: Keeping, language: str) -> ConsentRules:
    """Return the rules and the words of a language."""
    return ConsentRules(keeping, [ShownText(**asdict(consent_text(name, language))) for name in TEXT_NAMES])


def consent_of(state: ConsentState) -> ConsentInfo:
    """Return what holds for a conversation as the API gives it."""
    return ConsentInfo(state.is_kept, state.is_counted, [_made(one) for one in state.history])


def own_data_of(details: ConversationDetails, state: ConsentState, kept_days: int) -> OwnData:
    """Return what is stored of a conversation as its visitor sees it."""
    info = details.info
    return OwnData(
        id=info.id,
        channel=info.channel,
        website=info.website,
        language=info.language,
        started_at=info.started_at,
        last_at=info.last_at,
        messages=len(details.conversation.messages),
        opinions=len(details.feedback),
        name=info.visitor_name,
        email=info.visitor_email,
        consent=consent_of(state),
        kept_days=kept_days,
        passing_minutes=PASSING_SECONDS // 60,
        left_minutes=LEFT_SECONDS // 60,
    )


def visitor_erasure_of(kept: Kept) -> VisitorErasure:
    """Return what was erased as its visitor gets it."""
    if kept.signed is None:
        return VisitorErasure(erasure_of(kept), "", "")
    return VisitorErasure(erasure_of(kept), kept.signed.to_json(), receipt_page(kept.signed))


def request_of(found: RightsRequest) -> RequestInfo:
    """Return a request as the API gives it."""
    return RequestInfo(**asdict(found))


def request_whole_of(found: RightsRequest, steps: Sequence[RequestStep]) -> RequestWhole:
    """Return a request with its steps as the API gives it."""
    return RequestWhole(request_of(found), [StepInfo(**asdict(step)) for step in steps])


def _made(noted: NotedChoice) -> ChoiceMade:
    choice = noted.choice
    words = old_text(choice.text_version, choice.language)
    return ChoiceMade(choice.purpose, choice.is_given, choice.text_version, choice.language, words, noted.at)


_AT = "2026-03-02T09:20:11Z"
_CHOICE = ChoiceMade("keep", True, "keep-1", "en", consent_text("keep").words, _AT)
_CONSENT = ConsentInfo(True, False, [_CHOICE])
_REQUEST = RequestInfo(
    4, "deletion", "visitor", "ana@example.com", "Please delete what I wrote in February.", 17,
    "2026-03-02", "2026-04-02", "", "open", None, "",
)  # fmt: skip
_STEPS = [StepInfo(_AT, "visitor", "received", "")]

_OWN = OwnData(
    17, "widget", "https://www.bakery.example", "en", _AT, "2026-03-02T09:24:40Z", 3, 1,
    "Ana Costa", "ana@example.com", _CONSENT, 365, PASSING_SECONDS // 60,
    LEFT_SECONDS // 60,
)  # fmt: skip
_VISIT = "Zk1XvW0m8b2u1n4c7d5s9Qe3rTyHgJkLpOiUfVbNmAs"

EXAMPLES: dict[type, Any] = {
    ConsentRules: rules_of("agreed", "en"),
    ConsentInfo: _CONSENT,
    OwnData: _OWN,
    LinkPosted: LinkPosted(30),
    VisitBegun: VisitBegun(_VISIT, "ana@example.com", 30),
    VisitorData: VisitorData(
        "ana@example.com", [_OWN], [VisitorRequest(4, "deletion", "2026-03-02", "2026-04-02", "open")]
    ),
    VisitorErasure: VisitorErasure(ERASED, '{"receipt": …, "signature": …}', "<!doctype html>…"),
    RequestTaken: RequestTaken(4, "2026-04-02"),
    RequestInfo: _REQUEST,
    RequestList: RequestList([_REQUEST], 1),
    RequestWhole: RequestWhole(_REQUEST, _STEPS),
    TermsInfo: TermsInfo("2026-03", "", "https://ask.example.com/terms", [TermsAccepted(1, "2026-03", _AT)]),
}  # fmt: skip
"""An example of each answer."""

SENT: dict[str, Any] = {
    "/t/{name}/api/consent": {"keeping": "unless_refused"},
    "/t/{name}/api/conversation/consent": {"keep": True, "analytics": False, "language": "en"},
    "/t/{name}/api/conversation/presence": {"is_here": False},
    "/t/{name}/api/conversation/details": {"name": "Ana Costa", "email": "ana@example.com"},
    "/t/{name}/api/conversation/requests": {"kind": "objection", "contact": "ana@example.com", "note": "None of it."},
    "/t/{name}/api/visitor/link": {"email": "ana@example.com", "language": "en"},
    "/t/{name}/api/visitor/link/opening": {"secret": _VISIT},
    "/t/{name}/api/visitor/conversations/{conversation_id}/details": {"name": "Ana Costa", "email": "ana@example.com"},
    "/t/{name}/api/requests": {
        "kind": "access", "contact": "ana@example.com", "note": "By letter.", "received_on": "2026-03-02",
    },
    "/t/{name}/api/requests/{request_id}/extension": {"reason": "It is about six years of letters."},
    "/t/{name}/api/requests/{request_id}/closing": {"outcome": "Sent the export to ana@example.com."},
}  # fmt: skip
"""An example of what each route takes."""
