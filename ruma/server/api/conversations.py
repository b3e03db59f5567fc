"""The inbox: visitors' conversations, for members and for programs that help them."""

from datetime import date
from functools import partial
from typing import Annotated

from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, QueryParameter

from ruma.business.handover import answer_visitor
from ruma.privacy.conversation_files import ENDINGS, MEDIA_TYPES, Format, export_conversation
from ruma.privacy.erasing import erase_conversation
from ruma.server.access import INBOX, INBOX_READ, Principal
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.api.documents import DOWNLOAD_HEADERS, attachment, receipt_header
from ruma.server.guarding import require_json
from ruma.server.inbox_shapes import (
    ConversationChange,
    ConversationList,
    ConversationSummary,
    ConversationWhole,
    ReplySent,
    ReplyText,
    UnansweredList,
    UsageCounts,
    summary_of,
    unanswered_of,
    usage_of,
    whole_of,
)
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.audit import note_now
from ruma.tenant.conversing.conversations import Channel
from ruma.tenant.conversing.corrections import correct_visitor_details
from ruma.tenant.conversing.inbox import (
    MOST_A_PAGE,
    PAGE,
    State,
    close_conversation,
    list_conversations,
    mark_read,
    read_for_member,
    reopen_conversation,
)
from ruma.tenant.conversing.usage import count_usage, list_unanswered
from ruma.tenant.tenant import Tenant

Page = Annotated[int, QueryParameter(ge=1, le=1_000_000)]


@get(
    "/conversations",
    policy=INBOX_READ,
    sync_to_thread=True,
    responses=answers_with(ConversationList, 400, 401, 403, 404),
)
def show_conversations(
    tenant: NamedDependency[Tenant],
    text: Annotated[str, QueryParameter(max_length=500)] = "",
    since: FromQuery[date | None] = None,
    until: FromQuery[date | None] = None,
    states: Annotated[list[State] | None, QueryParameter(name="state", max_items=8)] = None,
    channel: FromQuery[Channel | None] = None,
    page: Page = 1,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_A_PAGE)] = PAGE,
) -> ConversationList:
    """List the conversations to which all of this applies, the newest first.

    `text` is words that one of the messages holds, or a part of the visitor's name or address. Members' trials are
    listed only where `channel` asks for them.
    """
    found = list_conversations(
        tenant, text=text, since=since, until=until, states=states or (), channel=channel, page=page, limit=limit
    )
    return ConversationList([summary_of(one) for one in found.conversations], found.total, found.page, found.pages)


@get(
    "/conversations/{conversation_id:int}",
    policy=INBOX_READ,
    sync_to_thread=True,
    responses=answers_with(ConversationWhole, 400, 401, 403, 404),
)
def show_conversation(tenant: NamedDependency[Tenant], conversation_id: Number) -> ConversationWhole:
    """Return a conversation with its messages and the visitor's feedback. It is not marked as read by that."""
    return whole_of(tenant, read_for_member(tenant, conversation_id))


@patch(
    "/conversations/{conversation_id:int}",
    policy=INBOX,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(ConversationSummary, 400, 401, 403, 404),
)
def change_conversation(
    tenant: NamedDependency[Tenant], conversation_id: Number, data: JSONBody[ConversationChange]
) -> ConversationSummary:
    """Mark a conversation as read or unread, close it, open it again, or correct the visitor's name and address."""
    if data.visitor_name is not None or data.visitor_email is not None:
        correct_visitor_details(tenant, conversation_id, name=data.visitor_name, email=data.visitor_email)
    if data.is_closed is not None:
        (close_conversation if data.is_closed else reopen_conversation)(tenant, conversation_id)
    if data.is_read is not None:
        mark_read(tenant, conversation_id, is_read=data.is_read)
    return summary_of(read_for_member(tenant, conversation_id).info)


@post(
    "/conversations/{conversation_id:int}/replies",
    policy=INBOX,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(ReplySent, 400, 401, 403, 404),
)
def send_reply(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    conversation_id: Number,
    data: JSONBody[ReplyText],
) -> ReplySent:
    """Answer the visitor as a person: it appears where the visitor asked, and goes by mail where that is set up."""
    sent = answer_visitor(tenant, conversation_id, resources.outbox, author=principal.name, text=data.text)
    return ReplySent(sent.message_id, sent.is_mailed)


@delete(
    "/conversations/{conversation_id:int}",
    policy=INBOX,
    sync_to_thread=True,
    responses=fails_with(400, 401, 403, 404),
)
def remove_conversation(
    tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], conversation_id: Number
) -> Response[None]:
    """Erase a conversation with all that was said in it. The header `X-Ruma-Receipt` has the erasure's number."""
    return receipt_header(erase_conversation(tenant, conversation_id, forget=partial(resources.forget, tenant)))


@get(
    "/conversations/{conversation_id:int}/export",
    policy=INBOX_READ,
    sync_to_thread=True,
    responses=fails_with(400, 401, 403, 404),
)
def export(
    tenant: NamedDependency[Tenant],
    conversation_id: Number,
    form: Annotated[Format, QueryParameter(name="format")] = "json",
) -> Response[bytes]:
    """Return everything that is stored of a conversation as a file: `json`, `text` or `csv`."""
    content = export_conversation(read_for_member(tenant, conversation_id), form)
    note_now(tenant, "conversation.exported", f"conversation {conversation_id}", format=form)
    name = attachment(f"conversation-{conversation_id}.{ENDINGS[form]}")
    headers = {**DOWNLOAD_HEADERS, "content-type": f"{MEDIA_TYPES[form]}; charset=utf-8", "content-disposition": name}
    return Response(content, headers=headers, media_type=MEDIA_TYPES[form])


@get("/usage", policy=INBOX_READ, sync_to_thread=True, responses=answers_with(UsageCounts, 400, 401, 403, 404))
def show_usage(tenant: NamedDependency[Tenant], days: Annotated[int, QueryParameter(ge=1, le=366)] = 7) -> UsageCounts:
    """Return what visitors did today and in the days before."""
    return usage_of(count_usage(tenant, days))


@get("/unanswered", policy=INBOX_READ, sync_to_thread=True, responses=answers_with(UnansweredList, 400, 401, 403, 404))
def show_unanswered(
    tenant: NamedDependency[Tenant], limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20
) -> UnansweredList:
    """List the questions that the documents did not answer, each once, the one asked last first."""
    return UnansweredList([unanswered_of(one) for one in list_unanswered(tenant, limit)])


ROUTES = (
    show_conversations,
    show_conversation,
    change_conversation,
    send_reply,
    remove_conversation,
    export,
    show_usage,
    show_unanswered,
)
"""The routes of this module."""
