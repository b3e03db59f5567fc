"""What is kept and for how long, and what must be kept: the first place of the section Privacy."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from ruma.server.access import MANAGE
from ruma.server.pages.shell import show_member_page
from ruma.server.resources import Resources
from ruma.tenant.key_report import describe_key
from ruma.tenant.plans import read_plan
from ruma.tenant.tenant import Tenant


@get("/t/{name:str}/data", policy=MANAGE, sync_to_thread=True, include_in_schema=False)
def show_kept(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[str]:
    """Show the plan, and where the key is kept."""
    settings = resources.home.settings
    plan, key = read_plan(tenant, settings), describe_key(settings, tenant.folder, tenant.manifest)
    return show_member_page("data_kept.html", request, tenant, current="data", tab="kept", plan=plan, key=key)


DATA = (show_kept,)
"""The routes of this module."""
