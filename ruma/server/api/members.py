"""Members and invitations, for owners and keys that manage; what gives an account away is for owners in person."""

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from ruma.business.notices import invitation_notice
from ruma.privacy.erasing import erase_member
from ruma.server.access import MANAGE, OWNER, Principal
from ruma.server.addresses import PublicAddress
from ruma.server.api.describing import answers_with, fails_with
from ruma.server.api.documents import receipt_header
from ruma.server.guarding import require_json
from ruma.server.hashing import in_password_thread
from ruma.server.member_changes import change_account, invite_person, make_reset_of, remove_factor_of
from ruma.server.member_shapes import (
    Confirmation,
    MemberChange,
    MemberInfo,
    MemberList,
    NewInvitation,
    OneTimeLink,
    Withdrawal,
    invitation_of,
    member_of,
)
from ruma.server.resources import Resources
from ruma.server.shapes import Number
from ruma.tenant.people.links import list_invitations, withdraw_invitation
from ruma.tenant.people.members import list_members
from ruma.tenant.profile import read_profile
from ruma.tenant.tenant import Tenant


@get("/members", policy=MANAGE, sync_to_thread=True, responses=answers_with(MemberList, 400, 401, 403, 404))
def show_members(tenant: NamedDependency[Tenant]) -> MemberList:
    """List the members and the open invitations."""
    return MemberList(
        [member_of(one) for one in list_members(tenant)], [invitation_of(one) for one in list_invitations(tenant)]
    )


@patch(
    "/members/{member_id:int}",
    policy=MANAGE,
    repeats=False,
    guards=[require_json],
    responses=answers_with(MemberInfo, 400, 401, 403, 404, 409, 429),
)
async def edit_member(
    data: JSONBody[MemberChange],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    member_id: Number,
) -> MemberInfo:
    """Change a member's name, role or access. Who makes an owner is an owner, and gives their own password."""
    return member_of(await in_password_thread(change_account, tenant, principal, member_id, **asdict(data)))


@delete("/members/{member_id:int}", policy=MANAGE, sync_to_thread=True, responses=fails_with(400, 401, 403, 404, 409))
def drop_member(
    tenant: NamedDependency[Tenant],
    resources: NamedDependency[Resources],
    member_id: Number,
    keys_to: Annotated[int | None, QueryParameter(ge=1, le=2**63 - 1)] = None,
) -> Response[None]:
    """Erase a member. API keys that the member made end, or go to the member `keys_to`.

    The header `X-Ruma-Receipt` has the erasure's number.
    """
    forget = partial(resources.forget, tenant)
    return receipt_header(erase_member(tenant, member_id, keys_to=keys_to, forget=forget))


@post(
    "/members/{member_id:int}/reset",
    policy=OWNER,
    repeats=False,
    status_code=200,
    guards=[require_json],
    responses=answers_with(OneTimeLink, 400, 401, 403, 404, 409, 429),
)
async def make_member_reset(
    request: Request[Any, Any, Any],
    data: JSONBody[Confirmation],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    member_id: Number,
) -> OneTimeLink:
    """Make a link with which a member sets a new password. For owners in person."""
    public: PublicAddress = request.app.state.public
    _, secret = await in_password_thread(make_reset_of, tenant, principal, member_id, data.password)
    return OneTimeLink(public.link(tenant.name, "reset", secret), is_mailed=False)


@post(
    "/members/{member_id:int}/second-factor/remove",
    policy=OWNER,
    repeats=False,
    status_code=204,
    guards=[require_json],
    responses=fails_with(400, 401, 403, 404, 409, 429),
)
async def drop_second_factor(
    data: JSONBody[Confirmation],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
    member_id: Number,
) -> None:
    """Switch a member's second factor off; sessions end, and a mail tells them. For owners in person."""
    await in_password_thread(remove_factor_of, tenant, principal, resources.outbox, member_id, data.password)


@post(
    "/members/invitations",
    policy=MANAGE,
    repeats=False,
    status_code=200,
    guards=[require_json],
    responses=answers_with(OneTimeLink, 400, 401, 403, 404, 409, 429),
)
async def add_invitation(
    request: Request[Any, Any, Any],
    data: JSONBody[NewInvitation],
    tenant: NamedDependency[Tenant],
    principal: NamedDependency[Principal],
    resources: NamedDependency[Resources],
) -> OneTimeLink:
    """Invite a person; an older invitation of the same address is void. Who invites an owner gives their password."""
    public: PublicAddress = request.app.state.public
    secret = await in_password_thread(invite_person, tenant, principal, **asdict(data))
    notice = invitation_notice(
        read_profile(tenant),
        origin=public.origin,
        tenant=tenant.name,
        to=data.email,
        inviter=principal.name,
        secret=secret,
    )
    is_mailed = await sync_to_thread(resources.outbox.post, notice, tenant)
    return OneTimeLink(public.link(tenant.name, "invitation", secret), is_mailed)


@post(
    "/members/invitations/withdraw",
    policy=MANAGE,
    status_code=204,
    sync_to_thread=True,
    guards=[require_json],
    responses=fails_with(400, 401, 403, 404),
)
def drop_invitation(
    data: JSONBody[Withdrawal], tenant: NamedDependency[Tenant], resources: NamedDependency[Resources]
) -> None:
    """Void the open invitation of an address; its mail is not sent any more."""
    withdraw_invitation(tenant, data.email)
    resources.outbox.forget(tenant)


ROUTES = (
    show_members,
    edit_member,
    drop_member,
    make_member_reset,
    drop_second_factor,
    add_invitation,
    drop_invitation,
)
"""The routes of this module."""
