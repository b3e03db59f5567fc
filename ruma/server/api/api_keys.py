"""API keys, for owners and keys that manage."""

from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from ruma.server.access import MANAGE, Principal
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.guarding import require_json
from ruma.server.member_shapes import KeyList, MadeKey, NewKey, key_of
from ruma.server.shapes import Number
from ruma.tenant.people.api_keys import list_api_keys, make_api_key, revoke_api_key
from ruma.tenant.tenant import Tenant


@get("/keys", policy=MANAGE, sync_to_thread=True, responses=answers_with(KeyList, 400, 401, 403, 404))
def show_keys(tenant: NamedDependency[Tenant]) -> KeyList:
    """List the API keys, without their secrets."""
    return KeyList([key_of(one) for one in list_api_keys(tenant)])


@post(
    "/keys",
    policy=MANAGE,
    repeats=False,
    status_code=200,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(MadeKey, 400, 401, 403, 404),
)
def add_key(data: JSONBody[NewKey], tenant: NamedDependency[Tenant], principal: NamedDependency[Principal]) -> MadeKey:
    """Make a key and give it, this once."""
    key, secret = make_api_key(tenant, data.name, data.scopes, created_by=principal.name)
    return MadeKey(secret, key_of(key))


@delete("/keys/{key_id:int}", policy=MANAGE, sync_to_thread=True, responses=fails_with(400, 401, 403, 404))
def drop_key(tenant: NamedDependency[Tenant], key_id: Number) -> None:
    """Let a key in no more, from its next request on."""
    revoke_api_key(tenant, key_id)


ROUTES = (show_keys, add_key, drop_key)
"""The routes of this module."""
