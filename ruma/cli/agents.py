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


Name = Annotated[str | None, typer.Option(metavar="TEXT", help="What visitors call it.")]
Greeting = Annotated[str | None, typer.Option(metavar="TEXT", help="The first thing they read.")]
Instructions = Annotated[str | None, typer.Option(metavar="TEXT", help="How it should speak, where a model writes.")]
Decline = Annotated[str | None, typer.Option(metavar="TEXT", help="What it says when no document has the answer.")]
Mode = Annotated[str | None, typer.Option(metavar="MODE", help="auto, quote or write.")]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="Its language model; '' takes the operator's.")]
Questions = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="A question to begin with; give it several times for several."),
]
Tone = Annotated[str | None, typer.Option(metavar="TONE", help="friendly, formal or plain.")]
Language = Annotated[
    str | None, typer.Option(metavar="CODE", help="Such as en or de; '' takes the visitor's language.")
]
Strictness = Annotated[
    str | None, typer.Option(metavar="NAME", help="How sure it must be to answer: lenient, balanced or strict.")
]
Accent = Annotated[str | None, typer.Option(metavar="COLOUR", help="Of its buttons, as #rrggbb.")]
Theme = Annotated[str | None, typer.Option(metavar="NAME", help="auto, light or dark.")]
Position = Annotated[
    str | None, typer.Option(metavar="SIDE", help="Of the website on which its button stands: right or left.")
]
Websites = Annotated[
    list[str] | None,
    typer.Option(metavar="URL", help="A website that may show it; give it several times for several."),
]
Published = Annotated[
    bool | None,
    typer.Option("--published/--not-published", help="Open the chat page to everyone, or to members only."),
]
Keeping = Annotated[
    str | None,
    typer.Option(
        "--keeping", metavar="WHEN", help="Visitors' conversations to keep from now on: agreed or unless_refused."
    ),
]
Person = Annotated[bool | None, typer.Option("--person/--no-person", help="Whether visitors may ask for a person.")]


def show(ctx: typer.Context, as_json: JsonOption = False, tenant: TenantOption = None, home: HomeOption = None) -> None:
    """Show the agent's settings."""
    from ruma.tenant.agents import read_agent
    from ruma.tenant.conversing.consents import read_keeping

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        _print(read_agent(opened), read_keeping(opened), as_json)


def change(
    ctx: typer.Context,
    name: Name = None,
    greeting: Greeting = None,
    instructions: Instructions = None,
    decline: Decline = None,
    mode: Mode = None,
    model: Model = None,
    question: Questions = None,
    tone: Tone = None,
    language: Language = None,
    strictness: Strictness = None,
    accent: Accent = None,
    theme: Theme = None,
    position: Position = None,
    website: Websites = None,
    published: Published = None,
    person: Person = None,
    keeping: Keeping = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Change the settings that are given, and show all of them."""
    from ruma.models.catalogue import find_model
    from ruma.tenant.agents import change_agent, read_agent
    from ruma.tenant.conversing.consents import change_keeping, check_keeping, read_keeping

    given = {
        "name": name, "greeting": greeting, "instructions": instructions, "decline": decline,
        "mode": mode, "model": model, "strictness": strictness, "tone": tone, "language": language,
        "accent": accent, "theme": theme, "position": position,
        "questions": None if question is None else tuple(question),
        "websites": None if website is None else tuple(website),
        "is_published": published, "offers_person": person,
    }  # fmt: skip
    changes = {key: value for key, value in given.items() if value is not None}
    if not changes and keeping is None:
        raise InputError("There is nothing to change.", hint="`ruma agent set --help` lists the settings.")
    with Parts(ctx, home=home) as parts:
        if model:
            find_model(parts.settings, model)
        opened = parts.tenant(tenant)
        if keeping is not None:
            check_keeping(keeping)  # before anything is changed
        agent = change_agent(opened, **changes) if changes else read_agent(opened)
        if keeping is not None:
            change_keeping(opened, keeping)
        _print(agent, read_keeping(opened), as_json)


def _print(agent: "Agent", keeping: str, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(agent), "keeping": keeping})
        return
    switches = {name: "yes" if getattr(agent, name) else "no" for name in ("is_published", "offers_person")}
    lists = {"questions": " / ".join(agent.questions), "websites": " ".join(agent.websites)}
    print_pairs({**asdict(agent), **lists, **switches, "keeping": keeping})
