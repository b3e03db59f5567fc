"""The settings of the business: what it is called, where it is reached, and where its mail goes."""

from dataclasses import fields
from typing import Any

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency

from ruma.business.mail import send_mail
from ruma.business.notices import trial_notice
from ruma.config import FREE
from ruma.errors import InputError, MailError
from ruma.privacy.policy import write_policy
from ruma.server.access import MANAGE, Principal
from ruma.server.billing import describe_billing
from ruma.server.failures import Problem, describe_failure
from ruma.server.pages.shell import first, lead_to, read_form, show_member_page
from ruma.server.resources import Resources
from ruma.tenant.connections import TenantLedger
from ruma.tenant.conversing.consents import read_keeping
from ruma.tenant.profile import Profile, change_profile, clean_entry, read_profile
from ruma.tenant.tenant import Tenant


@get("/t/{name:str}/settings", policy=MANAGE, sync_to_thread=True, include_in_schema=False)
def show_settings(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[str]:
    """Show the page."""
    return settings_page(request, tenant, resources, read_profile(tenant))


@post("/t/{name:str}/settings", policy=MANAGE, include_in_schema=False)
async def save_settings(
    request: Request[Any, Any, Any], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> Response[Any]:
    """Change the profile. What is wrong stands beside its field, and nothing is changed then."""
    form = await read_form(request)
    sent = {field.name: first(form, field.name) for field in fields(Profile)}
    wrong = await sync_to_thread(_change, tenant, sent)
    await sync_to_thread(write_policy, tenant, resources.home.settings)
    if wrong:
        return await sync_to_thread(settings_page, request, tenant, resources, Profile(**sent), wrong)
    return lead_to(tenant, "settings", done="saved")


@post("/t/{name:str}/settings/mail", policy=MANAGE, include_in_schema=False)
async def try_mail(
    request: Request[Any, Any, Any],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
) -> Response[Any]:
    """Send a mail to the member who asks, and say whether the mail server took it."""
    try:
        await sync_to_thread(_try_mail, tenant, principal, resources)
    except MailError as exc:
        problem = Problem("mail_failed", str(exc), exc.hint)
        profile = await sync_to_thread(read_profile, tenant)
        return await sync_to_thread(settings_page, request, tenant, resources, profile, problem=problem, status=409)
    return lead_to(tenant, "settings", done="sent")


def _change(tenant: Tenant, sent: dict[str, str]) -> dict[str, Problem]:
    """Change the whole profile, or return what is wrong with which field."""
    wrong: dict[str, Problem] = {}
    for name, value in sent.items():
        try:
            clean_entry(name, value)
        except InputError as exc:
            _, wrong[name] = describe_failure(exc)
    if not wrong:
        change_profile(tenant, **sent)
    return wrong


def _try_mail(tenant: Tenant, principal: Principal, resources: Resources) -> None:
    to = principal.member.email if principal.member else read_profile(tenant).notify_email
    notice = trial_notice(read_profile(tenant), tenant=tenant.name, to=to)
    send_mail(resources.home.settings, notice, TenantLedger(tenant))


def settings_page(
    request: Request[Any, Any, Any],
    tenant: Tenant,
    resources: Resources,
    profile: Profile,
    wrong: dict[str, Problem] | None = None,
    problem: Problem | None = None,
    status: int = 200,
) -> Response[str]:
    """Return the page, with what is wrong in it, or what failed."""
    settings = resources.home.settings
    return show_member_page(
        "settings.html",
        request,
        tenant,
        current="settings",
        status=400 if wrong else status,
        problem=problem,
        profile=profile,
        wrong={name: f"{one.message} {one.hint}".strip() for name, one in (wrong or {}).items()},
        sends_mail=resources.outbox.is_set_up,
        mail_from=settings.mail_from,
        keeping=read_keeping(tenant),
        billing=describe_billing(tenant, settings) if settings.stripe_key_file else None,
        free_plan=FREE,
        is_offline=settings.offline,
    )


SETTINGS = (show_settings, save_settings, try_mail)
"""The routes of this module."""
