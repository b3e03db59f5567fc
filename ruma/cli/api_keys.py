"""`ruma api-keys`: what lets programs in."""

from typing import Annotated

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantOption
from ruma.cli.output import note, print_json, print_table, print_text
from ruma.cli.parts import Parts


def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SCOPE",
            help="chat, read, write, conversations or manage; give it several times for several.",
            show_default="chat",
        ),
    ] = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Make a key and print it, this once.

    Programs send it as `Authorization: Bearer KEY`. chat: ask; read and write: sources, agent and answers;
    conversations: what visitors asked; manage: members, keys and settings.
    """
    from ruma.tenant.people.api_keys import make_api_key

    with Parts(ctx, home=home) as parts:
        key, secret = make_api_key(parts.tenant(tenant), name, scope or ["chat"], created_by="operator")
        if as_json:
            print_json({"id": key.id, "name": key.name, "scopes": key.scopes, "key": secret})
            return
        print_text(secret)
        note(f"Key {key.id}, {key.name}: {', '.join(key.scopes)}. It is shown this once and stored nowhere.")


def list_keys(
    ctx: typer.Context, as_json: JsonOption = False, tenant: TenantOption = None, home: HomeOption = None
) -> None:
    """List the keys, without their secrets."""
    from ruma.tenant.people.api_keys import list_api_keys

    with Parts(ctx, home=home) as parts:
        keys = list_api_keys(parts.tenant(tenant))
        if as_json:
            print_json(keys)
        elif keys:
            print_table(
                ["id", "name", "begins with", "scopes", "made by", "made on", "last used"],
                [
                    (
                        one.id,
                        one.name,
                        one.beginning,
                        ", ".join(one.scopes),
                        one.created_by,
                        one.created_at[:10],
                        (one.last_used_at or "never")[:10],
                    )
                    for one in keys
                ],
            )
        else:
            note("There is no key yet. `ruma api-keys create NAME` makes one.")


def revoke(
    ctx: typer.Context,
    key_id: Annotated[int, typer.Argument(metavar="ID", help="The key's number in the list.")],
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Let a key in no more, from its next request on."""
    from ruma.tenant.people.api_keys import revoke_api_key

    with Parts(ctx, home=home) as parts:
        revoke_api_key(parts.tenant(tenant), key_id)
        note(f"The key {key_id} lets nobody in any more.")
