"""A visitor's rights over their own conversation: to see, take along and correct what is stored, and to take back.

The conversation's secret is the proof of whose it is, here as everywhere.
"""

from typing import Annotated, Any

from litestar import Request, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from ruma.privacy.consent import choose
from ruma.privacy.exporting import export_visitor
from ruma.privacy.requests import receive_request
from ruma.server.access import MANAGE, VISITOR, Principal
from ruma.server.api.conversation import ConversationSecret, OptionalSecret
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.api.documents import DOWNLOAD_HEADERS, attachment
from ruma.server.asking import resume_own
from ruma.server.chores import post_request_notices
from ruma.server.guarding import require_json
from ruma.server.languages import choose_language
from ruma.server.limits import Limits
from ruma.server.refusing import entering_refusals
from ruma.server.resources import Resources
from ruma.server.rights_shapes import (
    Choices,
    ConsentRules,
    ConsentRulesChange,
    OwnData,
    OwnDetails,
    OwnRequest,
    RequestTaken,
    own_data_of,
    rules_of,
)
from ruma.tenant.conversing.consents import change_consent, change_keeping, read_consent, read_keeping
from ruma.tenant.conversing.corrections import correct_visitor_details
from ruma.tenant.conversing.inbox import read_for_visitor
from ruma.tenant.keeping.plans import read_plan
from ruma.tenant.people.attempts import count_attempt
from ruma.tenant.tenant import Tenant


@get("/consent", policy=VISITOR, sync_to_thread=True, responses=answers_with(ConsentRules, 400, 401, 404))
def show_consent_rules(
    tenant: NamedDependency[Tenant], language: Annotated[str, QueryParameter(max_length=40)] = ""
) -> ConsentRules:
    """Say when visitors' conversations are kept, with the words to show before a visitor agrees to something."""
    return rules_of(read_keeping(tenant), choose_language(language))


@patch(
    "/consent",
    policy=MANAGE,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(ConsentRules, 400, 401, 403, 404),
)
def change_consent_rules(tenant: NamedDependency[Tenant], data: JSONBody[ConsentRulesChange]) -> ConsentRules:
    """Set when visitors' conversations are kept; it holds for those that begin from now on."""
    return rules_of(change_keeping(tenant, data.keeping), choose_language(""))


@get("/conversation/data", policy=VISITOR, sync_to_thread=True, responses=answers_with(OwnData, 400, 401, 404, 429))
def show_own_data(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    secret: ConversationSecret,
) -> OwnData:
    """Return what is stored of the conversation that the secret opens, and for how long."""
    return read_own_data(tenant, resources, resume_own(tenant, principal, secret).id or 0)


@get("/conversation/export", policy=VISITOR, sync_to_thread=True, responses=fails_with(400, 401, 404, 429))
def export_own_data(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    limits: NamedDependency[Limits],
    secret: ConversationSecret,
) -> Response[bytes]:
    """Return everything that is stored of the conversation as a zip of JSON and pages that can be read offline."""
    limits.take_question(tenant, principal, visitor=secret)
    number = resume_own(tenant, principal, secret).id or 0
    headers = {**DOWNLOAD_HEADERS, "content-disposition": attachment("my-data.zip")}
    return Response(export_visitor(tenant, [number]), headers=headers, media_type="application/octet-stream")


@patch(
    "/conversation/details",
    policy=VISITOR,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(OwnData, 400, 401, 404, 429),
)
def correct_own_details(
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    limits: NamedDependency[Limits],
    secret: ConversationSecret,
    data: JSONBody[OwnDetails],
) -> OwnData:
    """Correct the name and the address that were left in the conversation."""
    limits.take_question(tenant, principal, visitor=secret)
    number = resume_own(tenant, principal, secret).id or 0
    correct_visitor_details(tenant, number, name=data.name, email=data.email)
    return read_own_data(tenant, resources, number)


@patch(
    "/conversation/consent",
    policy=VISITOR,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(OwnData, 400, 401, 404, 409, 429),
)
def change_own_consent(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    limits: NamedDependency[Limits],
    secret: ConversationSecret,
    data: JSONBody[Choices],
) -> OwnData:
    """Agree to something, or take it back, with effect on all that was said before.

    What is not kept any more leaves the inbox at once, and is deleted when the chat is over.
    """
    limits.take_question(tenant, principal, visitor=secret)
    number = resume_own(tenant, principal, secret).id or 0
    before = read_consent(tenant, number)
    keep = before.is_kept if data.keep is None else data.keep
    count = keep and (before.is_counted if data.analytics is None else data.analytics)
    language = choose_language(data.language)
    changed = [choose("keep", keep, language)] if keep != before.is_kept else []
    changed += [choose("analytics", count, language)] if count != before.is_counted else []
    with entering_refusals(request, tenant, "withdrawal", number):
        change_consent(tenant, number, is_kept=keep, is_counted=count, choices=changed)
    return read_own_data(tenant, resources, number)


@post(
    "/conversation/requests",
    policy=VISITOR,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(RequestTaken, 400, 401, 404, 429),
    repeats=False,
)
def ask_about_own_data(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    limits: NamedDependency[Limits],
    data: JSONBody[OwnRequest],
    secret: OptionalSecret = None,
) -> RequestTaken:
    """Ask for something about one's data that a person must look at: it gets a date in the register.

    Without the conversation's header it needs a contact.
    """
    limits.take_question(tenant, principal, visitor=secret or "")
    number = resume_own(tenant, principal, secret).id if secret else None
    count_attempt(tenant, "request", address=principal.address)
    taken = receive_request(
        tenant, kind=data.kind, origin="visitor", contact=data.contact, note=data.note, conversation_id=number
    )
    post_request_notices(tenant, resources.outbox, request.app.state.public.origin, [taken])
    return RequestTaken(taken.id, taken.due_on)


def read_own_data(tenant: Tenant, resources: Resources, number: int) -> OwnData:
    """Return what is stored of a conversation, and for how long."""
    with tenant.one_state():
        days = read_plan(tenant, resources.home.settings).conversations
        return own_data_of(read_for_visitor(tenant, number), read_consent(tenant, number), days)


ROUTES = (
    show_consent_rules,
    change_consent_rules,
    show_own_data,
    export_own_data,
    correct_own_details,
    change_own_consent,
    ask_about_own_data,
)
"""The routes of this module."""
