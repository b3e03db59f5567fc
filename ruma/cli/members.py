"""`ruma members`: who signs in for a tenant, and the one-time links that let people in."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantOption, YesOption
from ruma.cli.output import ask_line, clean, note, print_json, print_table
from ruma.cli.parts import Parts
from ruma.config import Settings
from ruma.errors import InputError

if TYPE_CHECKING:
    from ruma.tenant.people.links import Purpose
    from ruma.tenant.people.members import Member

EmailArgument = Annotated[str, typer.Argument(metavar="EMAIL", help="The member's e-mail address.")]


def list_members(
    ctx: typer.Context, as_json: JsonOption = False, tenant: TenantOption = None, home: HomeOption = None
) -> None:
    """List the members, and who is invited."""
    from ruma.tenant.people.links import list_invitations
    from ruma.tenant.people.members import list_members as find_members

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        members, invited = find_members(opened), list_invitations(opened)
        if as_json:
            print_json(members)
            return
        rows = [(one.name, one.email, one.role, _state(one), (one.last_seen_at or "never")[:10]) for one in members] + [
            ("", one.email, one.role, "invited", "") for one in invited
        ]
        if rows:
            print_table(["name", "e-mail", "role", "state", "last seen"], rows)
        else:
            note("Nobody can sign in yet. `ruma members link` makes a link for the first owner.")


def link(ctx: typer.Context, as_json: JsonOption = False, tenant: TenantOption = None, home: HomeOption = None) -> None:
    """Print a one-time link that makes the first owner.

    It works for 24 hours, and voids the one before. `ruma serve` prints one as well, at a terminal.
    """
    from ruma.tenant.people.joining import make_setup_link

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        _print_link(parts.settings, opened.name, "setup", make_setup_link(opened), "24 hours", as_json)


def invite(
    ctx: typer.Context,
    email: EmailArgument,
    role: Annotated[str, typer.Option(metavar="ROLE", help="owner, editor or viewer.")] = "editor",
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Print a one-time link with which a person joins.

    It works for 24 hours, and voids an older one for the same address. Hand it over yourself: nothing is mailed.
    """
    from ruma.tenant.people.joining import invite as make_invitation

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        secret = make_invitation(opened, email=email, role=role)
        _print_link(parts.settings, opened.name, "invitation", secret, "24 hours", as_json)


def reset(
    ctx: typer.Context,
    email: EmailArgument,
    second_factor: Annotated[
        bool, typer.Option("--second-factor", help="Also switch the second factor off: the phone is lost.")
    ] = False,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Print a one-time link with which a member sets a new password.

    It works for 30 minutes. The old password works until it is used. With --second-factor the member is signed out
    everywhere at once.
    """
    from ruma.tenant.people.joining import make_reset_link

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        secret = make_reset_link(opened, email, without_factor=second_factor)
        if second_factor:
            note("The second factor is switched off, and the member is signed out everywhere.")
        _print_link(parts.settings, opened.name, "reset", secret, "30 minutes", as_json)


def change_role(
    ctx: typer.Context,
    email: EmailArgument,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="owner, editor or viewer.")],
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Give a member another role, which ends the member's sessions.

    Owners manage members and keys, editors change what the agent knows and says, viewers read.
    """
    _change(ctx, email, tenant, home, role=role)


def disable(ctx: typer.Context, email: EmailArgument, tenant: TenantOption = None, home: HomeOption = None) -> None:
    """Let a member in no more, and end the member's sessions."""
    _change(ctx, email, tenant, home, is_disabled=True)


def enable(ctx: typer.Context, email: EmailArgument, tenant: TenantOption = None, home: HomeOption = None) -> None:
    """Let a disabled member in again."""
    _change(ctx, email, tenant, home, is_disabled=False)


def correct(
    ctx: typer.Context,
    email: EmailArgument,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The right name.", show_default=False)] = None,
    address: Annotated[
        str | None, typer.Option("--email", metavar="EMAIL", help="The right address.", show_default=False)
    ] = None,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Correct a member's name and e-mail address.

    Links that were sent to the old address open nothing any more.
    """
    from ruma.tenant.conversing.corrections import correct_email
    from ruma.tenant.people.members import change_member, check_member_name, find_member

    if name is None and address is None:
        raise InputError("There is nothing to correct.", hint="Give --name, --email, or both.")
    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        member = find_member(opened, email)
        if name is not None:
            check_member_name(name)  # before anything is changed
        if address is not None:
            member = correct_email(opened, member.id, address)
        if name is not None:
            member = change_member(opened, member.id, name=name)
        note(f"{member.name} ({member.email}): {member.role}, {_state(member)}.")


def sessions(
    ctx: typer.Context,
    email: EmailArgument,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """List where a member is signed in."""
    from ruma.tenant.people.members import find_member
    from ruma.tenant.people.sessions import list_sessions

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        found = list_sessions(opened, find_member(opened, email).id)
        if as_json:
            print_json(found)
        elif found:
            rows = [(str(one.id), one.browser, one.address, _time(one.started_at), _time(one.seen_at)) for one in found]
            print_table(["session", "browser", "from", "since", "last used"], rows)
        else:
            note(f"{email} is not signed in.")


def sign_out(
    ctx: typer.Context,
    email: EmailArgument,
    session: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, help="Only this one of them.", show_default="all of them")
    ] = None,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """End a member's sessions, all of them or one.

    Without --session, links that were sent to the member open nothing any more, either.
    """
    from ruma.tenant.people.members import find_member
    from ruma.tenant.people.sessions import end_all_sessions, end_session

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        member = find_member(opened, email)
        if session is None:
            end_all_sessions(opened, member.id)
            note(f"{member.name} is signed out everywhere.")
        else:
            end_session(opened, member.id, session)
            note(f"Session {session} of {member.name} has ended.")


def remove(
    ctx: typer.Context,
    email: EmailArgument,
    yes: YesOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Remove a member for good, or withdraw an invitation.

    API keys that the member made end. `ruma erase member` does the same, and can hand them over.
    """
    from ruma.privacy.erasing import erase_member
    from ruma.tenant.people.links import list_invitations, withdraw_invitation
    from ruma.tenant.people.members import find_member, fold_email

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        if fold_email(email) in {one.email for one in list_invitations(opened)}:
            withdraw_invitation(opened, email)
            note(f"Withdrew the invitation of {email}.")
            return
        member = find_member(opened, email)
        if not yes:
            note(f"This removes the member {member.name} ({member.email}, {member.role}).")
            if ask_line("Type the address to go on, or run it with --yes").lower() != member.email:
                raise InputError("That is another address. Nobody was removed.")
        kept = erase_member(opened, member.id)
        note(f"Removed the member {member.name}. The receipt: ruma erase show {kept.id}")


def _change(
    ctx: typer.Context,
    email: str,
    tenant: str | None,
    home: HomeOption,
    *,
    role: str | None = None,
    is_disabled: bool | None = None,
) -> None:
    from ruma.tenant.people.members import change_member, find_member

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        member = change_member(opened, find_member(opened, email).id, role=role, is_disabled=is_disabled)
        note(f"{member.name} ({member.email}): {member.role}, {_state(member)}.")


def _print_link(
    settings: Settings, tenant_name: str, purpose: "Purpose", secret: str, life: str, as_json: bool
) -> None:
    from ruma.server.addresses import PublicAddress, public_address
    from ruma.server.listening import find_running

    # A running server knows best where it is: it may have been started with other options than the settings hold.
    running = find_running(settings.home)
    public = PublicAddress(origin=running) if running else public_address(settings, settings.port)
    address = public.link(tenant_name, purpose, secret)
    if as_json:
        print_json({"link": address})
        return
    typer.echo(clean(address))  # unwrapped: a link must stay whole
    note(f"It works once, for {life}. Whoever has it can use it, so hand it to nobody else.")


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def _state(member: "Member") -> str:
    state = "disabled" if member.is_disabled else "active"
    return f"{state}, second factor" if member.has_second_factor else state
