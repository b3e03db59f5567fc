"""The doors for people: what is asked for, and how often it may be tried, are decided here together."""

from collections.abc import Iterator
from contextlib import contextmanager

from ruma.errors import NotFoundError, SignInError
from ruma.tenant.people.attempts import guard_attempt, note_wrong_secret
from ruma.tenant.people.links import peek_link, use_link
from ruma.tenant.people.members import Member, check_sign_in, find_member, is_password_of, simplify_email
from ruma.tenant.people.second_factor import check_code
from ruma.tenant.tenant import Tenant


def enter_by_password(tenant: Tenant, email: str, password: str, *, address: str) -> Member:
    """Return the member whose address and password these are. Whether a code is asked for as well is on the member.

    Raises:
        SignInError: They are nobody's, or the member is disabled: which of these is not said, and takes no time.
        TooManyError: It was tried too often from there, or at that account.
    """
    with guard_attempt(tenant, "sign-in", account=simplify_email(email), address=address):
        member = check_sign_in(tenant, email, password)
        if member is None:
            raise SignInError("The e-mail address or the password is not right.")
    return member


def enter_by_code(tenant: Tenant, step: str, code: str, *, address: str) -> Member:
    """Return the member who gave the password a moment ago, for which *step* stands, and now gives the right code.

    Raises:
        NotFoundError: The step was used, or five minutes are over.
        SignInError: The code is not right; the step can be tried again.
        TooManyError: It was tried too often.
    """
    with guarding_link(tenant, address):
        member_id = peek_link(tenant, "second-step", step).member_id or 0
    with guard_attempt(tenant, "second-step", account=str(member_id), address=address):
        if not check_code(tenant, member_id, code):
            raise SignInError("This code is not right.", hint="Use the newest one, or a recovery code.")
        use_link(tenant, "second-step", step)
    return find_member(tenant, member_id)


def confirm_password(tenant: Tenant, member: Member, password: str, *, address: str) -> None:
    """Check the password of a member who is signed in, before something that matters.

    Raises:
        SignInError: It is another one.
        TooManyError: It was tried too often.
    """
    with guard_attempt(tenant, "sign-in", account=member.email, address=address):
        if not is_password_of(tenant, member.id, password):
            raise SignInError("This is not your password.")


@contextmanager
def guarding_link(tenant: Tenant, address: str) -> Iterator[None]:
    """Count a one-time link that is none, and slow down where there are many.

    Raises:
        TooManyError: There were many such links from that network.
    """
    try:
        yield
    except NotFoundError:
        note_wrong_secret(tenant, "link", address=address)
        raise
