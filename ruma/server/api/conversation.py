"""A visitor's own conversation. Its secret, which only the visitor's browser holds, is the right to it.

It comes in a header and never in an address, which browsers and servers write down.
"""

from typing import Annotated

from litestar import delete, get
from litestar.di import NamedDependency
from litestar.params import HeaderParameter

from ruma.server.access import VISITOR
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.shapes import ConversationText, conversation_of
from ruma.tenant.conversations import delete_conversation, read_conversation, resume_conversation
from ruma.tenant.tenant import Tenant

ConversationSecret = Annotated[str, HeaderParameter(name="X-Ruma-Conversation", max_length=100)]


@get("/conversation", policy=VISITOR, sync_to_thread=True, responses=answers_with(ConversationText, 400, 401, 404))
def show_own_conversation(tenant: NamedDependency[Tenant], secret: ConversationSecret) -> ConversationText:
    """Return the conversation that the secret opens."""
    found = resume_conversation(tenant, secret)
    return conversation_of(tenant, read_conversation(tenant, found.id or 0))


@delete("/conversation", policy=VISITOR, sync_to_thread=True, responses=fails_with(400, 401, 404))
def delete_own_conversation(tenant: NamedDependency[Tenant], secret: ConversationSecret) -> None:
    """Delete the conversation that the secret opens, with everything that was said in it."""
    delete_conversation(tenant, resume_conversation(tenant, secret).id or 0)
