"""The routes of the API, gathered. What is not here is not there."""

from litestar import Router

from ruma.server.api import (
    agent,
    api_keys,
    chat,
    conversation,
    conversations,
    data_key,
    documents,
    exports,
    members,
    openai,
    pairs,
    profile,
    sources,
)
from ruma.server.repeating import KeepsResponses, repeat_response


def tenant_api() -> Router:
    """Return the routes under `/t/NAME/api`."""
    return Router(
        "/t/{name:str}/api",
        before_request=repeat_response,
        middleware=[KeepsResponses()],
        route_handlers=[
            agent.show_agent,
            agent.show_agent_settings,
            agent.edit_agent,
            chat.chat,
            chat.search_passages,
            conversation.show_own_conversation,
            conversation.delete_own_conversation,
            conversation.give_own_feedback,
            conversation.ask_person,
            conversations.show_conversations,
            conversations.show_conversation,
            conversations.change_conversation,
            conversations.send_reply,
            conversations.remove_conversation,
            conversations.export,
            conversations.show_usage,
            conversations.show_unanswered,
            documents.show_documents,
            documents.show_document,
            documents.download_original,
            documents.remove_document,
            documents.correct_text,
            *exports.EXPORTS,
            data_key.show_data_key,
            members.show_members,
            members.edit_member,
            members.drop_member,
            members.make_member_reset,
            members.add_invitation,
            members.drop_invitation,
            api_keys.show_keys,
            api_keys.add_key,
            api_keys.drop_key,
            profile.show_profile,
            profile.edit_profile,
            pairs.show_pairs,
            pairs.show_pair,
            pairs.add_pair,
            pairs.change_pair,
            pairs.remove_one_pair,
            sources.show_sources,
            sources.remove_one_source,
            sources.add_text,
            sources.add_file,
            sources.add_files,
            sources.show_uploads,
            sources.show_upload,
            sources.try_again,
            sources.remove_upload,
        ],
    )


def openai_api() -> Router:
    """Return the routes under `/t/NAME/v1`, for programs that speak OpenAI's API."""
    return Router("/t/{name:str}/v1", route_handlers=[openai.show_models, openai.complete, openai.embed])
