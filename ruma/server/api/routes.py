"""The routes of the API, gathered. What is not here is not there."""

from litestar import Router

from ruma.server.api import (
    agent,
    api_keys,
    billing,
    chat,
    conversation,
    conversations,
    data_key,
    documents,
    erasures,
    exports,
    members,
    openai,
    own_data,
    pairs,
    privacy,
    profile,
    retention,
    rights,
    sources,
    visitor,
)
from ruma.server.repeating import KeepsResponses, repeat_response


def tenant_api() -> Router:
    """Return the routes under `/t/NAME/api`."""
    return Router(
        "/t/{name:str}/api",
        before_request=repeat_response,
        middleware=[KeepsResponses()],
        route_handlers=[
            *agent.ROUTES,
            *chat.ROUTES,
            *conversation.ROUTES,
            *own_data.ROUTES,
            *visitor.ROUTES,
            *rights.ROUTES,
            *conversations.ROUTES,
            *documents.ROUTES,
            *exports.ROUTES,
            *data_key.ROUTES,
            *erasures.ROUTES,
            *members.ROUTES,
            *api_keys.ROUTES,
            *privacy.ROUTES,
            *profile.ROUTES,
            *retention.ROUTES,
            *billing.ROUTES,
            *pairs.ROUTES,
            *sources.ROUTES,
        ],
    )


def openai_api() -> Router:
    """Return the routes under `/t/NAME/v1`, for programs that speak OpenAI's API."""
    return Router("/t/{name:str}/v1", route_handlers=openai.ROUTES)
