"""`ruma tenant`: make, list, show, change, delete and recover tenants."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from ruma.cli.erasing import ReceiptOption, show_signed, write_receipt
from ruma.cli.options import HomeOption, JsonOption, KeySourceOption, TenantArgument, YesOption
from ruma.cli.output import ask_line, ask_secret, note, print_content, print_json, print_pairs, print_table, size
from ruma.cli.parts import Parts, show_created
from ruma.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from ruma.tenant.home import Created


def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and hyphens.")],
    owner: Annotated[
        str | None, typer.Option(metavar="EMAIL", help="The first owner, whose password is asked for.")
    ] = None,
    owner_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The first owner's name.", show_default="from the address")
    ] = None,
    as_json: JsonOption = False,
    key_source: KeySourceOption = None,
    home: HomeOption = None,
) -> None:
    """Make a tenant, and show its recovery key, once.

    A tenant is an encrypted directory with a key of its own, which is kept elsewhere.
    Without --owner, `ruma serve` and `ruma members link` give a link for the first owner.
    """
    if owner_name and not owner:
        raise InputError("An owner's name needs the address as well.", hint="Add --owner EMAIL.")
    with Parts(ctx, home=home, key_source=key_source) as parts:
        person = _ask_owner(owner, owner_name) if owner else None
        created = parts.home.create(name)
        if person:
            from ruma.tenant.people.members import create_member

            create_member(parts.tenant(created.name), role="owner", **person)
        if as_json:
            print_json(created)
        else:
            show_created(created, parts.settings)
            _confirm_recovery(created)


def list_tenants(ctx: typer.Context, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List the tenants."""
    with Parts(ctx, home=home) as parts:
        tenants = parts.home.tenants()
        if as_json:
            print_json(tenants)
        elif tenants:
            print_table(
                ["tenant", "size", "made on", "key kept in"],
                [(one.name, size(one.size_bytes), one.created_at[:10], one.key_store) for one in tenants],
            )
        else:
            note("There is no tenant yet. The first `ruma ingest FOLDER` makes one.")


def show(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", envvar="RUMA_TENANT", show_envvar=False, help="The tenant, if there are several."
        ),
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show what a tenant has, and where its key is kept."""
    from dataclasses import asdict

    from ruma.tenant.agents import read_agent
    from ruma.tenant.knowledge import index, sources
    from ruma.tenant.profile import read_profile

    with Parts(ctx, home=home) as parts:
        tenant = parts.tenant(name)
        info = next((one for one in parts.home.tenants() if one.name == tenant.name), None)
        if info is None:
            raise NotFoundError(f"The tenant {tenant.name} is not there any more.")
        found = sources.list_sources(tenant)
        data = {
            "name": tenant.name,
            "id": tenant.id,
            "directory": tenant.folder,
            "made_on": info.created_at,
            "key_kept_in": info.key_store,
            "size_bytes": info.size_bytes,
            "sources": len(found),
            "documents": sum(source.documents for source in found),
            "chunks": index.count_chunks(tenant),
            "agent": read_agent(tenant).name,
            **asdict(read_profile(tenant)),
        }
        if as_json:
            print_json(data)
        else:
            del data["size_bytes"]
            print_pairs({**data, "size": size(info.size_bytes)})


def change(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", envvar="RUMA_TENANT", show_envvar=False, help="The tenant, if there are several."
        ),
    ] = None,
    business: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the business is called.", show_default=False)
    ] = None,
    website: Annotated[
        str | None, typer.Option(metavar="URL", help="The business's own website.", show_default=False)
    ] = None,
    contact: Annotated[
        str | None,
        typer.Option(metavar="EMAIL", help="Where visitors may write to; the policy says it.", show_default=False),
    ] = None,
    notices: Annotated[
        str | None,
        typer.Option(
            metavar="EMAIL", help="Where mail goes when a visitor asks for a person.", show_default="the owners"
        ),
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Change the business's name, website and addresses.

    What is not given stays; '' removes an entry. The privacy policy is written anew.
    """
    from dataclasses import asdict

    from ruma.privacy.policy import write_policy
    from ruma.tenant.profile import change_profile

    given = {"business_name": business, "website": website, "contact_email": contact, "notify_email": notices}
    changes = {entry: value for entry, value in given.items() if value is not None}
    if not changes:
        raise InputError("There is nothing to change.", hint="`ruma tenant set --help` lists what can be.")
    with Parts(ctx, home=home) as parts:
        tenant = parts.tenant(name)
        profile = change_profile(tenant, **changes)
        write_policy(tenant, parts.settings)
        if as_json:
            print_json(profile)
        else:
            print_pairs(asdict(profile))


def delete(
    ctx: typer.Context,
    name: TenantArgument,
    yes: YesOption = False,
    receipt: ReceiptOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Delete a tenant for good, and write a signed receipt.

    Destroys its key, removes its directory, and looks through the home for anything that is left.
    """
    from ruma.privacy.erasing import erase_tenant

    with Parts(ctx, home=home) as parts:
        info = next((one for one in parts.home.tenants() if one.name == name), None)
        if not yes and info is not None:
            _ask_for_name(name, size(info.size_bytes))
        deleted = erase_tenant(parts.home, name)
        if receipt:
            write_receipt(deleted.signed, receipt)
        if as_json:
            print_content(deleted.signed.to_json())
        else:
            show_signed(deleted.signed)
            note(f"The signed receipt is in {deleted.path}.")
        if not deleted.signed.receipt.is_complete:
            raise typer.Exit(1)


def recover(
    ctx: typer.Context, name: TenantArgument, key_source: KeySourceOption = None, home: HomeOption = None
) -> None:
    """Give a tenant its lost key back.

    Reads the recovery key from the terminal or from standard input, so that it stands in no command line.
    """
    with Parts(ctx, home=home, key_source=key_source) as parts:
        label = parts.home.recover(name, ask_line(f"Recovery key of {name}"))
        note(f"The tenant {name} has its key again. It is kept in: {label}.")


def _confirm_recovery(created: Created) -> None:
    """Let a person at a terminal show that the recovery key is written down; a script is asked nothing."""
    if not sys.stdin.isatty():
        return
    end = created.recovery_key.rpartition("-")[2]
    with suppress(InputError):  # the terminal was closed: the tenant is made all the same
        while typed := ask_line("Type its last five characters when you have it, or only Enter"):
            if typed.upper() == end:
                note("That is right.")
                return
            note("It does not end so. Compare what you wrote down.")
    note(f"Check later what you wrote down: ruma keys check-recovery {created.name}")


def _ask_owner(email: str, name: str | None) -> dict[str, str]:
    """Return the first owner's address, name and password, all of them checked before anything is made."""
    from ruma.tenant.people.members import check_member_name, fold_email
    from ruma.tenant.people.passwords import check_password

    email = fold_email(email)
    name = check_member_name(name or email.partition("@")[0])
    password = ask_secret(f"Password for {email}")
    check_password(password, email=email, name=name)
    return {"email": email, "name": name, "password": password}


def _ask_for_name(name: str, amount: str) -> None:
    note(f"This deletes everything of the tenant {name} ({amount}) and destroys its key. It cannot be undone.")
    if ask_line("Type its name to go on, or run it with --yes") != name:
        raise InputError("That is another name. Nothing was deleted.")
