"""`ruma agent`: how a tenant's agent speaks and answers."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantOption
from ruma.cli.output import print_json, print_pairs
from ruma.cli.parts import Parts
from ruma.errors import InputError

if TYPE_CHECKING:
    from ruma.tenant.agents import Agent


def show(ctx: typer.Context, as_json: JsonOption = False, tenant: TenantOption = None, home: HomeOption = None) -> None:
    """Show the agent's settings."""
    from ruma.tenant.agents import read_agent

    with Parts(ctx, home=home) as parts:
        _print(read_agent(parts.tenant(tenant)), as_json)


def change(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="What visitors call it.")] = None,
    greeting: Annotated[str | None, typer.Option(metavar="TEXT", help="The first thing they read.")] = None,
    instructions: Annotated[
        str | None, typer.Option(metavar="TEXT", help="How it should speak, where a model writes.")
    ] = None,
    decline: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What it says when no document has the answer.")
    ] = None,
    mode: Annotated[str | None, typer.Option(metavar="MODE", help="auto, quote or write.")] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Its language model; '' takes the operator's.")
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A question to begin with; give it several times for several."),
    ] = None,
    tone: Annotated[str | None, typer.Option(metavar="TONE", help="friendly, formal or plain.")] = None,
    language: Annotated[
        str | None, typer.Option(metavar="CODE", help="Such as en or de; '' takes the visitor's language.")
    ] = None,
    strictness: Annotated[
        str | None, typer.Option(metavar="NAME", help="How sure it must be to answer: lenient, balanced or strict.")
    ] = None,
    accent: Annotated[str | None, typer.Option(metavar="COLOUR", help="Of its buttons, as #rrggbb.")] = None,
    theme: Annotated[str | None, typer.Option(metavar="NAME", help="auto, light or dark.")] = None,
    position: Annotated[
        str | None, typer.Option(metavar="SIDE", help="Of the website on which its button stands: right or left.")
    ] = None,
    website: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A website that may show it; give it several times for several."),
    ] = None,
    published: Annotated[
        bool | None,
        typer.Option("--published/--not-published", help="Open the chat page to everyone, or to members only."),
    ] = None,
    person: Annotated[
        bool | None, typer.Option("--person/--no-person", help="Whether visitors may ask for a person.")
    ] = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Change the settings that are given, and show all of them."""
    from ruma.models.catalogue import find_model
    from ruma.tenant.agents import change_agent

    given = {
        "name": name,
        "greeting": greeting,
        "instructions": instructions,
        "decline": decline,
        "mode": mode,
        "model": model,
        "questions": tuple(question) if question is not None else None,
        "tone": tone,
        "language": language,
        "strictness": strictness,
        "accent": accent,
        "theme": theme,
        "position": position,
        "websites": tuple(website) if website is not None else None,
        "is_published": published,
        "offers_person": person,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    if not changes:
        raise InputError("There is nothing to change.", hint="`ruma agent set --help` lists the settings.")
    with Parts(ctx, home=home) as parts:
        if model:
            find_model(parts.settings, model)
        _print(change_agent(parts.tenant(tenant), **changes), as_json)


def _print(agent: "Agent", as_json: bool) -> None:
    if as_json:
        print_json(agent)
        return
    switches = {name: "yes" if getattr(agent, name) else "no" for name in ("is_published", "offers_person")}
    lists = {"questions": " / ".join(agent.questions), "websites": " ".join(agent.websites)}
    print_pairs({**asdict(agent), **lists, **switches})
