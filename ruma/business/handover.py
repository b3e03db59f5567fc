"""Between a visitor and a person of the business: asking for one, and being answered by one."""

from collections.abc import Sequence
from dataclasses import dataclass

from ruma.business.mail import Outbox
from ruma.business.notices import handover_notices, reply_notice
from ruma.errors import ForbiddenError
from ruma.tenant.agents import read_agent
from ruma.tenant.conversing.consents import Choice
from ruma.tenant.conversing.conversations import OpenConversation
from ruma.tenant.conversing.inbox import ask_for_person, count_waiting, read_for_member, reply
from ruma.tenant.people.members import list_members
from ruma.tenant.profile import read_profile
from ruma.tenant.tenant import Tenant

MOST_WAITING = 25
"""Beyond so many conversations that wait, no mail tells of a further one: it would be somebody's flood."""


@dataclass(frozen=True)
class Replied:
    """A reply that was stored."""

    message_id: int
    is_mailed: bool
    """Whether it also goes to the visitor by mail."""


def hand_over(
    tenant: Tenant,
    conversation: OpenConversation,
    outbox: Outbox,
    *,
    origin: str,
    name: str,
    email: str,
    message: str,
    choices: Sequence[Choice] = (),
) -> int:
    """Ask for a person and tell the team by mail; return the number of the visitor's message.

    Raises:
        ForbiddenError: The agent offers no person.
        InputError: There is no message, or something in it is too long, or the address is none.
        NotFoundError: The conversation is not there any more.
    """
    if not read_agent(tenant).offers_person:
        raise ForbiddenError("This agent has no person to ask for.")
    number = ask_for_person(tenant, conversation, name=name, email=email, message=message, choices=choices)
    if outbox.is_set_up and count_waiting(tenant) <= MOST_WAITING:
        owners = [member.email for member in list_members(tenant) if member.role == "owner" and not member.is_disabled]
        asked = read_for_member(tenant, conversation.id or 0)
        for mail in handover_notices(
            read_profile(tenant),
            owners,
            origin=origin,
            tenant=tenant.name,
            conversation_id=asked.info.id,
            name=asked.info.visitor_name,
            email=asked.info.visitor_email,
            message=asked.conversation.messages[-1].text,
        ):
            outbox.post(mail, tenant)
    return number


def answer_visitor(tenant: Tenant, conversation_id: int, outbox: Outbox, *, author: str, text: str) -> Replied:
    """Reply as a person: in the conversation, and by mail where the visitor left an address.

    Raises:
        InputError: The text is empty or too long.
        NotFoundError: The conversation is not there any more.
    """
    number = reply(tenant, conversation_id, author=author, text=text)
    details = read_for_member(tenant, conversation_id)
    to = details.info.visitor_email
    is_mailed = bool(to) and outbox.post(
        reply_notice(
            read_profile(tenant),
            tenant=tenant.name,
            conversation_id=conversation_id,
            to=to,
            author=author,
            text=details.conversation.messages[-1].text,
            language=details.info.language,
        ),
        tenant,
    )
    return Replied(number, is_mailed)
