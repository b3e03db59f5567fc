"""What an owner does to the accounts of members, from a page or through the API.

What gives somebody an owner's account or another member's takes the owner's own password, each time: a window that was
left open is not enough, and neither is an API key, or every key that manages would be as strong as an owner.
"""

from ruma.business.mail import Outbox
from ruma.business.notices import factor_notice
from ruma.errors import ForbiddenError, InputError, SignInError
from ruma.server.access import Principal
from ruma.tenant.people.entry import confirm_password
from ruma.tenant.people.joining import invite, make_reset_link
from ruma.tenant.people.members import Member, change_member, find_member
from ruma.tenant.people.second_factor import remove_second_factor
from ruma.tenant.profile import read_profile
from ruma.tenant.tenant import Tenant


def change_account(
    tenant: Tenant,
    principal: Principal,
    member_id: int,
    password: str,
    *,
    name: str | None = None,
    role: str | None = None,
    is_disabled: bool | None = None,
) -> Member:
    """Change what is given of a member, and return the member as it is then.

    Whoever makes somebody an owner who was none, or lets a disabled owner in again, gives their own password.

    Raises:
        ForbiddenError: It takes a password, and an API key has none.
        InputError: The password is not the owner's own, or the name or the role cannot be used.
        TooManyError: Wrong passwords were tried too often.
        NotFoundError: There is no such member.
        ConflictError: Nobody would be left who can manage the tenant.
    """
    before = find_member(tenant, member_id)
    is_owner, was_owner = (role or before.role) == "owner", before.role == "owner" and not before.is_disabled
    if is_owner and not was_owner:
        confirm_owner(tenant, principal, password)
    return change_member(tenant, member_id, name=name, role=role, is_disabled=is_disabled)


def invite_person(tenant: Tenant, principal: Principal, password: str, *, email: str, role: str) -> str:
    """Return the secret of an invitation. Whoever invites an owner gives their own password.

    Raises:
        ForbiddenError: It takes a password, and an API key has none.
        InputError: The password is not the owner's own, or the address or the role cannot be used.
        TooManyError: Wrong passwords were tried too often.
        ConflictError: There is a member with that address.
    """
    if role == "owner":
        confirm_owner(tenant, principal, password)
    return invite(tenant, email=email, role=role)


def make_reset_of(tenant: Tenant, principal: Principal, member_id: int, password: str) -> tuple[Member, str]:
    """Return a member, and the secret of a link that sets the member's password anew.

    Raises:
        ForbiddenError: An API key asks.
        InputError: The password is not the owner's own.
        TooManyError: Wrong passwords were tried too often.
        NotFoundError: There is no such member.
        ConflictError: The member is disabled.
    """
    confirm_owner(tenant, principal, password)
    member = find_member(tenant, member_id)
    return member, make_reset_link(tenant, member.email)


def remove_factor_of(tenant: Tenant, principal: Principal, outbox: Outbox, member_id: int, password: str) -> None:
    """Switch a member's second factor off, end their sessions, and tell them by mail where mail is set up.

    Raises:
        ForbiddenError: An API key asks.
        InputError: The password is not the owner's own.
        TooManyError: Wrong passwords were tried too often.
        NotFoundError: There is no such member.
        NotReadyError: The member has no second factor.
    """
    confirm_owner(tenant, principal, password)
    member = remove_second_factor(tenant, member_id)
    notice = factor_notice(
        read_profile(tenant), tenant=tenant.name, member_id=member.id, to=member.email, remover=principal.name
    )
    outbox.post(notice, tenant)


def confirm_owner(tenant: Tenant, principal: Principal, password: str) -> None:
    """Make sure that it is an owner in person who asks, by the owner's own password.

    Raises:
        ForbiddenError: An API key asks.
        InputError: There is no password, or another one.
        TooManyError: Wrong passwords were tried too often.
    """
    if principal.member is None:
        raise ForbiddenError(
            "No API key may give anybody an owner's account or another member's.",
            hint="An owner may, on the page Members and keys, and so may `ruma members` on the machine itself.",
        )
    if not password:
        raise InputError("This takes your own password.", hint="It gives somebody an account that is not theirs yet.")
    try:
        confirm_password(tenant, principal.member, password, address=principal.address)
    except SignInError as exc:  # who asks is known, so this does not lead to the door
        raise InputError(str(exc)) from None
