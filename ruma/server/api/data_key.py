"""Where the tenant's key is kept. Never the key."""

from litestar import get
from litestar.di import NamedDependency

from ruma.server.access import MANAGE
from ruma.server.api.describing import answers_with
from ruma.server.resources import Resources
from ruma.server.shapes import KeyPlace
from ruma.tenant.keys.key_report import describe_key
from ruma.tenant.tenant import Tenant


@get("/data-key", policy=MANAGE, sync_to_thread=True, responses=answers_with(KeyPlace, 400, 401, 403, 404))
def show_data_key(tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]) -> KeyPlace:
    """Say where the key of the tenant's data is kept, since when, and when it was rotated last."""
    found = describe_key(resources.home.settings, tenant.folder, tenant.manifest)
    return KeyPlace(
        kept_in=found.place,
        kept_since=found.kept_since,
        made_at=found.made_at,
        is_rotated=found.is_rotated,
    )


ROUTES = (show_data_key,)
"""The routes of this module."""
