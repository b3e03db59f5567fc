"""The business itself."""

from dataclasses import asdict

from litestar import get, patch
from litestar.di import NamedDependency
from litestar.params import JSONBody

from ruma.privacy.policy import write_policy
from ruma.server.access import MANAGE, READ
from ruma.server.api.describing import answers_with
from ruma.server.guarding import require_json
from ruma.server.inbox_shapes import ProfileChange, ProfileText
from ruma.server.resources import Resources
from ruma.tenant.profile import change_profile, read_profile
from ruma.tenant.tenant import Tenant


@get("/profile", policy=READ, sync_to_thread=True, responses=answers_with(ProfileText, 400, 401, 403, 404))
def show_profile(tenant: NamedDependency[Tenant]) -> ProfileText:
    """Return the business's name, website and addresses."""
    return ProfileText(**asdict(read_profile(tenant)))


@patch(
    "/profile",
    policy=MANAGE,
    sync_to_thread=True,
    guards=[require_json],
    responses=answers_with(ProfileText, 400, 401, 403, 404),
)
def edit_profile(
    tenant: NamedDependency[Tenant], resources: NamedDependency[Resources], data: JSONBody[ProfileChange]
) -> ProfileText:
    """Change some of it."""
    changes = {name: value for name, value in asdict(data).items() if value is not None}
    profile = change_profile(tenant, **changes)
    write_policy(tenant, resources.home.settings)  # it names the business and its addresses
    return ProfileText(**asdict(profile))


ROUTES = (show_profile, edit_profile)
"""The routes of this module."""
