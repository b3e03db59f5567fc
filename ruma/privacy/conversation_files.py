"""A conversation as a file that can be taken elsewhere: JSON, readable text, or a table."""

import csv
import io
import json
from dataclasses import asdict
from typing import Literal, get_args

from ruma.errors import InputError
from ruma.tenant.conversing.conversations import Message
from ruma.tenant.conversing.inbox import ConversationDetails
from ruma.tenant.profile import without_controls

Format = Literal["json", "text", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
ENDINGS: dict[Format, str] = {"json": "json", "text": "txt", "csv": "csv"}
MEDIA_TYPES: dict[Format, str] = {"json": "application/json", "text": "text/plain", "csv": "text/csv"}

_SPEAKERS = {"visitor": "Visitor", "agent": "Agent", "person": "Person"}
_COLUMNS = ("message", "time", "role", "author", "text", "declined", "helpful", "comment")


def export_conversation(details: ConversationDetails, form: str) -> bytes:
    """Return everything that is stored of a conversation, in one of the formats.

    Raises:
        InputError: There is no such format.
    """
    if form == "json":
        return _as_json(details).encode()
    if form == "text":
        return _as_text(details).encode()
    if form == "csv":
        return _as_csv(details).encode()
    raise InputError(f"A conversation cannot be exported as {form[:80]!r}.", hint=f"Formats: {', '.join(FORMATS)}.")


def neutral_cell(text: str) -> str:
    """Return a cell that a spreadsheet shows and does not calculate: a quote stands before what would be a formula."""
    is_formula = text.lstrip(" \n\r\t\0\ufeff").startswith(("=", "+", "-", "@"))
    return f"'{text}" if is_formula or text.startswith(("\t", "\r", "\n")) else text


def _as_json(details: ConversationDetails) -> str:
    messages = [
        {
            **asdict(message),
            "feedback": asdict(details.feedback[message.id]) if message.id in details.feedback else None,
        }
        for message in details.conversation.messages
    ]
    return json.dumps({**asdict(details.info), "messages": messages}, ensure_ascii=False, indent=2) + "\n"


def _as_text(details: ConversationDetails) -> str:
    info = details.info
    lines = [f"Conversation {info.id}", f"From {info.started_at} to {info.last_at}, asked on: {info.channel}"]
    if info.website:
        lines.append(f"Website: {info.website}")
    if info.visitor_name or info.visitor_email:
        lines.append(f"Visitor: {' '.join(filter(None, (info.visitor_name, info.visitor_email)))}")
    for message in details.conversation.messages:
        lines += ["", *_message_lines(message)]
        if given := details.feedback.get(message.id):
            lines.append(f"  Feedback: {'helpful' if given.is_helpful else 'not helpful'}. {given.comment}".rstrip())
    return without_controls("\n".join(lines) + "\n")


def _message_lines(message: Message) -> list[str]:
    who = _SPEAKERS[message.role] + (f" ({message.author})" if message.author else "")
    # Indented, so that nobody can write what looks like another message.
    lines = [f"{who}, {message.created_at}:", *(f"  {line}" for line in message.text.splitlines())]
    for citation in message.citations:
        place = ", ".join(filter(None, (citation.heading, f"page {citation.page}" if citation.page else "")))
        title = citation.title or "a document that is gone"
        lines.append(f"  [{citation.number}] {title}{f' ({place})' if place else ''}")
    return lines


def _as_csv(details: ConversationDetails) -> str:
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(_COLUMNS)
    for message in details.conversation.messages:
        given = details.feedback.get(message.id)
        row = [
            str(message.id),
            message.created_at,
            message.role,
            message.author,
            message.text,
            "yes" if message.is_declined else "no",
            "" if given is None else "yes" if given.is_helpful else "no",
            given.comment if given else "",
        ]
        table.writerow([neutral_cell(without_controls(cell)) for cell in row])
    return written.getvalue()
