"""A visitor's own conversation. Its secret, which only the visitor's browser holds, is the right to it.

It comes in a header and never in an address, which browsers and servers write down.
"""

from functools import partial
from typing import Annotated, Any

from litestar import Request, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, JSONBody

from ruma.business.handover import hand_over
from ruma.privacy.consent import choose
from ruma.privacy.erasing import erase_conversation
from ruma.server.access import VISITOR, Principal
from ruma.server.addresses import PublicAddress
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.api.documents import receipt_header
from ruma.server.asking import open_conversation, resume_own
from ruma.server.guarding import require_json
from ruma.server.inbox_shapes import FeedbackGiven, PersonAsked, PersonWanted
from ruma.server.languages import choose_language
from ruma.server.limits import Limits
from ruma.server.refusing import entering_refusals
from ruma.server.resources import Resources
from ruma.server.rights_shapes import Presence
from ruma.server.shapes import ConversationText, conversation_of
from ruma.tenant.agents import read_agent
from ruma.tenant.conversing.consents import end_passing, note_presence
from ruma.tenant.conversing.conversations import read_conversation
from ruma.tenant.conversing.inbox import give_feedback, read_feedback
from ruma.tenant.tenant import Tenant

ConversationSecret = Annotated[str, HeaderParameter(name="X-Ruma-Conversation", max_length=100)]
OptionalSecret = Annotated[str | None, HeaderParameter(name="X-Ruma-Conversation", max_length=100)]


@get("/conversation", policy=VISITOR, sync_to_thread=True, responses=answers_with(ConversationText, 400, 401, 404, 429))
def show_own_conversation(
    tenant: NamedDependency[Tenant], principal: NamedDependency[Principal], secret: ConversationSecret
) -> ConversationText:
    """Return the conversation that the secret opens, with what a person replied."""
    own = resume_own(tenant, principal, secret)
    number = own.id or 0
    thumbs = {message_id: given.is_helpful for message_id, given in read_feedback(tenant, number).items()}
    return conversation_of(tenant, read_conversation(tenant, number), thumbs, is_kept=own.is_kept)


@delete("/conversation", policy=VISITOR, sync_to_thread=True, responses=fails_with(400, 401, 404, 409, 429))
def delete_own_conversation(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    secret: ConversationSecret,
) -> Response[None]:
    """Erase the conversation that the secret opens, with everything that was said in it.

    The header `X-Ruma-Receipt` has the erasure's number, which the business finds its receipt by. One that is not kept
    leaves neither a receipt nor an entry in the audit log. What a legal hold refuses (`held`) goes into the register of
    requests, where a person answers it.
    """
    conversation = resume_own(tenant, principal, secret)
    if not conversation.is_kept and end_passing(tenant, conversation.id):
        return Response(None, status_code=204)
    number = conversation.id or 0
    with entering_refusals(request, tenant, "deletion", number):
        return receipt_header(erase_conversation(tenant, number, forget=partial(resources.forget, tenant)))


@put(
    "/conversation/presence",
    policy=VISITOR,
    status_code=204,
    sync_to_thread=True,
    guards=[require_json],
    responses=fails_with(400, 401, 404, 429),
)
def note_own_presence(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    secret: ConversationSecret,
    data: JSONBody[Presence],
) -> None:
    """Say that one leaves a conversation that is not kept, or is there again.

    Ten minutes after it was left it is gone, unless its secret comes back before. Of one that is kept nothing is noted.
    """
    note_presence(tenant, resume_own(tenant, principal, secret).id or 0, is_here=data.is_here)


@post(
    "/conversation/feedback",
    policy=VISITOR,
    status_code=204,
    sync_to_thread=True,
    guards=[require_json],
    responses=fails_with(400, 401, 404, 429),
)
def give_own_feedback(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    limits: NamedDependency[Limits],
    secret: ConversationSecret,
    data: JSONBody[FeedbackGiven],
) -> None:
    """Say whether an answer of one's own conversation helped, and why; or take it back."""
    limits.take_question(tenant, principal, visitor=secret)
    resume_own(tenant, principal, secret)
    give_feedback(tenant, secret, data.message_id, data.is_helpful, data.comment)


@post(
    "/conversation/person",
    policy=VISITOR,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(PersonAsked, 400, 401, 403, 404, 429),
    repeats=False,
)
def ask_person(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    limits: NamedDependency[Limits],
    data: JSONBody[PersonWanted],
    secret: OptionalSecret = None,
) -> PersonAsked:
    """Ask for a person, in one's own conversation or, without its header, in a new one whose secret is returned."""
    limits.take_question(tenant, principal, visitor=secret or "")
    conversation = (
        resume_own(tenant, principal, secret)
        if secret
        else open_conversation(
            tenant, read_agent(tenant), principal, data.channel, data.website, data.language, data.keep, data.analytics
        )
    )
    is_told = data.channel in ("page", "widget") and not conversation.is_kept
    public: PublicAddress = request.app.state.public
    number = hand_over(
        tenant,
        conversation,
        resources.outbox,
        origin=public.origin,
        name=data.name,
        email=data.email,
        message=data.message,
        choices=[choose("keep", True, choose_language(data.language), text="person")] if is_told else (),
    )
    return PersonAsked(conversation.secret, number)


ROUTES = (show_own_conversation, delete_own_conversation, note_own_presence, give_own_feedback, ask_person)
"""The routes of this module."""
