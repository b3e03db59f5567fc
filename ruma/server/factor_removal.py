"""A member's second factor is taken away by somebody else: the phone is lost."""

from ruma.business.mail import Outbox
from ruma.business.notices import factor_notice
from ruma.errors import InputError, SignInError
from ruma.server.access import Principal
from ruma.tenant.people.entry import confirm_password
from ruma.tenant.people.second_factor import remove_second_factor
from ruma.tenant.profile import read_profile
from ruma.tenant.tenant import Tenant


def remove_factor_of(tenant: Tenant, principal: Principal, outbox: Outbox, member_id: int, password: str) -> None:
    """Switch a member's second factor off, end their sessions, and tell them by mail where mail is set up.

    Args:
        tenant: Whose member it is.
        principal: Who does it: an owner, or an API key.
        outbox: What sends the mail.
        member_id: The member.
        password: The owner's own password, asked for once more: a window that was left open is not enough. A key has
            none.

    Raises:
        InputError: That is not the owner's password.
        TooManyError: Wrong passwords were tried too often.
        NotFoundError: There is no such member.
        NotReadyError: The member has no second factor.
    """
    if principal.member:
        try:
            confirm_password(tenant, principal.member, password, address=principal.address)
        except SignInError as exc:  # who asks is known, so this does not lead to the door
            raise InputError(str(exc)) from None
    member = remove_second_factor(tenant, member_id)
    notice = factor_notice(
        read_profile(tenant), tenant=tenant.name, member_id=member.id, to=member.email, remover=principal.name
    )
    outbox.post(notice, tenant)
