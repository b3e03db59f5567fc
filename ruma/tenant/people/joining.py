"""What one-time links are for: the first owner, a new member, a new password. A link is spent only with the deed."""

from ruma.errors import ConflictError
from ruma.tenant.people.links import make_link, peek_link, take_link
from ruma.tenant.people.members import (
    Member,
    count_owners,
    find_member,
    fold_email,
    has_owner,
    insert_member,
    list_members,
    prepare_member,
    read_row,
    store_password,
)
from ruma.tenant.people.passwords import check_password, hash_password
from ruma.tenant.people.second_factor import remove_second_factor
from ruma.tenant.tenant import Tenant


def make_setup_link(tenant: Tenant) -> str:
    """Return the secret of a link that makes the first owner.

    Raises:
        ConflictError: The tenant has an owner.
    """
    if has_owner(tenant):
        raise _has_owner(tenant)
    return make_link(tenant, "setup")


def set_up_owner(tenant: Tenant, secret: str, *, email: str, name: str, password: str) -> Member:
    """Make the first owner by a set-up link.

    Raises:
        NotFoundError: The link was used, or its time is over.
        InputError: The address, the name or the password cannot be used; the link still works.
        ConflictError: The tenant has an owner by now.
    """
    peek_link(tenant, "setup", secret)
    row = prepare_member(email=email, name=name, role="owner", password=password)
    with tenant.writing() as db:
        take_link(db, "setup", secret)
        if count_owners(db):
            raise _has_owner(tenant)
        return insert_member(db, row)


def invite(tenant: Tenant, *, email: str, role: str) -> str:
    """Return the secret of an invitation.

    Raises:
        InputError: The address or the role cannot be used.
        ConflictError: There is a member with that address.
    """
    email = fold_email(email)
    if any(member.email == email for member in list_members(tenant)):
        raise ConflictError(f"There is a member with the address {email} already.")
    return make_link(tenant, "invitation", email=email, role=role)


def accept_invitation(tenant: Tenant, secret: str, *, name: str, password: str) -> Member:
    """Make the member who was invited.

    Raises:
        NotFoundError: The invitation was used or withdrawn, or its time is over.
        InputError: The name or the password cannot be used; the invitation still works.
    """
    link = peek_link(tenant, "invitation", secret)
    row = prepare_member(email=link.email, name=name, role=link.role, password=password)
    with tenant.writing() as db:
        take_link(db, "invitation", secret)
        return insert_member(db, row)


def make_reset_link(tenant: Tenant, email: str, *, without_factor: bool = False) -> str:
    """Return the secret of a link that sets a member's password anew.

    Args:
        tenant: Whose member it is.
        email: The member's address.
        without_factor: Whether the second factor goes, too: the phone is lost. Then every session ends at once.

    Raises:
        NotFoundError: There is no member with that address.
        ConflictError: The member is disabled.
        NotReadyError: There is no second factor that could go.
    """
    member = find_member(tenant, email)
    if member.is_disabled:
        raise ConflictError(f"The member {member.email} is disabled.", hint="Enable the member first.")
    if without_factor:
        remove_second_factor(tenant, member.id)  # which voids links, so the new one comes after it
    return make_link(tenant, "reset", member_id=member.id)


def reset_password(tenant: Tenant, secret: str, password: str) -> Member:
    """Set a member's password by a link, and end the member's sessions.

    Raises:
        NotFoundError: The link was used, or its time is over.
        InputError: The password cannot be used; the link still works.
    """
    link = peek_link(tenant, "reset", secret)
    member = find_member(tenant, link.member_id or 0)
    check_password(password, email=member.email, name=member.name)
    kept = hash_password(password)
    with tenant.writing() as db:
        take_link(db, "reset", secret)
        store_password(db, member.id, kept)
        return read_row(db, member.id)


def _has_owner(tenant: Tenant) -> ConflictError:
    return ConflictError(
        f"The tenant {tenant.name} has an owner already.",
        hint="Owners invite further members; `ruma members reset EMAIL` lets one in who forgot the password.",
    )
