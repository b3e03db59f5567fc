"""What `/openapi.json` shows as examples of the inbox's part of the API."""

from dataclasses import asdict
from typing import Any

from ruma.server.inbox_shapes import (
    ConversationList,
    ConversationSummary,
    ConversationWhole,
    DayCount,
    FeedbackText,
    PersonAsked,
    ProfileText,
    ReplySent,
    Unanswered,
    UnansweredList,
    UsageCounts,
)
from ruma.server.shapes import Said

_QUESTION = "Do you bake without gluten?"
_AT = "2026-03-02T09:20:11Z"
_SUMMARY = ConversationSummary(
    id=17,
    opening=_QUESTION,
    channel="widget",
    website="https://www.bakery.example",
    language="en",
    started_at=_AT,
    last_at="2026-03-02T09:24:40Z",
    visitor_name="Ana Costa",
    visitor_email="ana@example.com",
    questions=1,
    declined=1,
    helpful=0,
    unhelpful=1,
    wants_person=True,
    answered_at=None,
    is_read=False,
    is_closed=False,
)
_MESSAGES = [
    Said("visitor", _QUESTION, _AT, "", False, [], 81),
    Said("agent", "I could not find this in the documents.", _AT, "quote", True, [], 82),
    Said("visitor", "Please tell me: it is for a birthday.", "2026-03-02T09:24:40Z", "", False, [], 83),
]
_FEEDBACK = {"82": FeedbackText(False, "I need to know this.", "2026-03-02T09:21:02Z")}

EXAMPLES: dict[type, Any] = {
    PersonAsked: PersonAsked("fZ0m3xJ8q1Yt5VbKc7RwUe2LhNp9SgDa6iTo4XyBvE0", 83),
    ConversationList: ConversationList([_SUMMARY], 1, 1, 1),
    ConversationSummary: _SUMMARY,
    ConversationWhole: ConversationWhole(_SUMMARY, _MESSAGES, _FEEDBACK),
    ReplySent: ReplySent(84, True),
    UsageCounts: UsageCounts(
        41, 96, 83, 13, 22, 4, 1, [DayCount("2026-03-02", 12, 2)], {"widget": 96}, {"quote": 83, "": 13}
    ),
    UnansweredList: UnansweredList([Unanswered(_QUESTION, 3, _AT, 17, 82)]),
    ProfileText: ProfileText(
        "Marrowby Bakery", "https://www.bakery.example", "hello@bakery.example", "team@bakery.example"
    ),
}
"""An example of each answer."""

EXPORTED: dict[str, Any] = {**asdict(_SUMMARY), "messages": [{**asdict(_MESSAGES[0]), "feedback": None}]}
"""An example of an exported conversation."""

SENT: dict[str, Any] = {
    "/t/{name}/api/conversation/feedback": {"message_id": 82, "is_helpful": False, "comment": "I need to know this."},
    "/t/{name}/api/conversation/person": {
        "message": "Please tell me: it is for a birthday.",
        "name": "Ana Costa",
        "email": "ana@example.com",
    },
    "/t/{name}/api/conversations/{conversation_id}": {"is_closed": True},
    "/t/{name}/api/conversations/{conversation_id}/replies": {"text": "Yes, on Fridays. Shall we put one aside?"},
    "/t/{name}/api/profile": {"contact_email": "hello@bakery.example"},
}
"""An example of what each route takes."""
