"""`ruma pairs`: questions that the business answers in its own words."""

from typing import Annotated

import typer

from ruma.cli.erasing import ReceiptOption, show_kept
from ruma.cli.options import HomeOption, JsonOption, TenantOption
from ruma.cli.output import note, one_line, print_json, print_table, print_text, shorten
from ruma.cli.parts import Parts

PairArgument = Annotated[int, typer.Argument(metavar="NUMBER", help="Its number, as `ruma pairs list` shows it.")]


def list_pairs(
    ctx: typer.Context,
    words: Annotated[str, typer.Argument(metavar="[WORDS]", help="Only those that hold these words.")] = "",
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """List the questions that are answered in the business's own words."""
    from ruma.tenant.knowledge.pairs import find_pairs

    with Parts(ctx, home=home) as parts:
        found = find_pairs(parts.tenant(tenant), words, limit=-1).pairs
    if as_json:
        print_json(found)
    elif found:
        rows = [(one.id, shorten(one.question, 60), shorten(one_line(one.answer), 60)) for one in found]
        print_table(["number", "question", "answer"], rows)
    else:
        note("There is none. Add one: ruma pairs add QUESTION ANSWER")


def add(
    ctx: typer.Context,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="The question, as a customer would ask it.")],
    answer: Annotated[str, typer.Argument(metavar="ANSWER", help="The answer, given whole and word for word.")],
    replaced: Annotated[
        int | None, typer.Option("--replace", metavar="NUMBER", help="The pair that it takes the place of.")
    ] = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Answer a question in the business's own words from now on."""
    from ruma.ingest.pairs import save_pair
    from ruma.tenant.knowledge.pairs import read_pair

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        stored = read_pair(opened, save_pair(question, answer, opened, parts.embedder, replaced=replaced))
    if as_json:
        print_json(stored)
    else:
        print_text(f"Number {stored.id}: {stored.question}")


def remove(
    ctx: typer.Context,
    pair: PairArgument,
    receipt: ReceiptOption = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Erase a question with its answer, also where visitors got it."""
    from ruma.privacy.erasing import erase_pair

    with Parts(ctx, home=home) as parts:
        show_kept(erase_pair(parts.tenant(tenant), pair), receipt, as_json)
