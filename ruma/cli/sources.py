"""`ruma ingest` and `ruma sources`: what a tenant learns from."""

import os
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ruma.cli.erasing import ReceiptOption, show_kept
from ruma.cli.options import HomeOption, JsonOption, KeySourceOption, TenantOption
from ruma.cli.output import (
    duration,
    note,
    plural,
    print_json,
    print_table,
    print_text,
    showing_progress,
    size,
)
from ruma.cli.parts import Parts
from ruma.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ruma.ingest.pipeline import Outcome

STATUSES = ("added", "changed", "unchanged", "removed", "failed")
SourceArgument = Annotated[str, typer.Argument(metavar="SOURCE", help="Its number, or its location.")]


def ingest(
    ctx: typer.Context,
    locations: Annotated[
        list[str], typer.Argument(metavar="SOURCE", help="Files, folders, web addresses, or - for standard input.")
    ],
    site: Annotated[
        bool, typer.Option("--site", help="Read the whole website of a web address, not the one page.")
    ] = False,
    max_site_pages: Annotated[
        int | None,
        typer.Option(
            "--pages", metavar="NUMBER", min=1, help="How many pages of a website at most.", show_default="500"
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What to call the text from standard input.")] = None,
    remove_missing: Annotated[
        bool, typer.Option("--remove-missing", help="Remove documents that are gone from their folder or the web.")
    ] = False,
    reindex: Annotated[
        bool, typer.Option("--reindex", help="Read everything again, also what has not changed.")
    ] = False,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    key_source: KeySourceOption = None,
    home: HomeOption = None,
) -> None:
    """Read documents into a tenant's index.

    What has not changed is skipped. Stopping half-way is safe: the same command goes on from there. While a server uses
    the home, it lets the server's answers go first.
    """
    from ruma.ingest.addresses import is_web_address
    from ruma.ingest.pipeline import ingest_sources
    from ruma.ingest.webpages import check_location
    from ruma.server.listening import find_running
    from ruma.tenant.background import NICENESS

    started = time.monotonic()
    # Before a tenant is made and a model prepared for it.
    for location in locations:
        if location != "-" and not is_web_address(location) and not Path(location).exists():
            raise InputError(f"There is no file or folder {location}.")
    if site and not any(map(is_web_address, locations)):
        raise InputError("Only a web address has a whole website.", hint="It begins with https://")
    with Parts(ctx, home=home, key_source=key_source, max_site_pages=max_site_pages) as parts:
        for location in filter(is_web_address, locations):
            check_location(location, parts.settings)
        if find_running(parts.settings.home):
            os.nice(NICENESS)  # handed down to the threads of the model and to the parser process, which come later
        opened = parts.tenant_or_first(tenant)
        outcomes = ingest_sources(
            locations,
            opened,
            parts.embedder,
            parts.settings,
            standard_input=sys.stdin.buffer.read() if "-" in locations else None,
            text_name=name or "",
            remove_missing=remove_missing,
            reindex=reindex,
            whole_sites=site,
        )
        done = follow(outcomes)
        seconds = time.monotonic() - started
        if as_json:
            print_json({"tenant": opened.name, "seconds": round(seconds, 2), "documents": [_data(one) for one in done]})
        else:
            print_summary(done, seconds)
    if any(outcome.status == "failed" for outcome in done):
        raise typer.Exit(1)


def follow(outcomes: "Iterator[Outcome]") -> "list[Outcome]":
    """Return the outcomes, having shown them as a bar; what is finished stays when Ctrl-C ends it."""
    done: list[Outcome] = []
    try:
        with closing(outcomes), showing_progress() as show:  # type: ignore[type-var]
            for outcome in outcomes:
                done.append(outcome)
                show(outcome.done, outcome.total, outcome.name)
    except KeyboardInterrupt:
        note("Stopped. What is finished is kept, and the same command goes on from there.")
        raise
    return done


def print_summary(done: "list[Outcome]", seconds: float) -> None:
    """Print a table of what was done, then why for each document that failed."""
    if not done:
        note("There is no document to read there.")
        return
    sources = dict.fromkeys(outcome.source for outcome in done)
    counts: Counter[tuple[str, str]] = Counter((outcome.source, outcome.status) for outcome in done)
    chunks: Counter[str] = Counter()
    for outcome in done:
        chunks[outcome.source] += outcome.chunks
    shown = [status for status in STATUSES if status != "removed" or any(counts[one, status] for one in sources)]
    print_table(
        ["source", *shown, "chunks"],
        [(source, *(counts[source, status] for status in shown), chunks[source]) for source in sources],
    )
    for outcome in done:
        if outcome.status == "failed":
            print_text(f"Failed: {outcome.name or outcome.source} {outcome.reason}")
    note(f"{plural(len(done), 'document')} in {duration(seconds)}.", style="dim")


def _data(outcome: "Outcome") -> dict[str, object]:
    return {
        "source": outcome.source,
        "name": outcome.name,
        "status": outcome.status,
        "reason": outcome.reason,
        "chunks": outcome.chunks,
    }


def list_sources(
    ctx: typer.Context, as_json: JsonOption = False, tenant: TenantOption = None, home: HomeOption = None
) -> None:
    """List what a tenant has learned from."""
    from ruma.tenant.knowledge import sources

    with Parts(ctx, home=home) as parts:
        found = sources.list_sources(parts.tenant(tenant))
        if as_json:
            print_json(found)
        elif found:
            print_table(
                ["number", "kind", "location", "documents", "chunks", "size", "added on"],
                [
                    (one.id, one.kind, one.location, one.documents, one.chunks, size(one.size_bytes), one.added_at[:10])
                    for one in found
                ],
            )
        else:
            note("There is no source yet. Add one: ruma ingest FOLDER")


def show_source(
    ctx: typer.Context,
    source: SourceArgument,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Show a source with its documents."""
    from ruma.ingest.sniffing import MEDIA_NAMES
    from ruma.tenant.knowledge.documents import list_documents
    from ruma.tenant.knowledge.sources import find_source

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        found = find_source(opened, source)
        documents = list_documents(opened, found.id)
        if as_json:
            print_json({"source": found, "documents": documents})
            return
        print_table(
            ["number", "document", "title", "kind", "chunks", "size", "added on"],
            [
                (
                    one.id,
                    one.name,
                    one.title,
                    MEDIA_NAMES.get(one.media_type, one.media_type),
                    one.chunks,
                    size(one.size_bytes),
                    one.added_at[:10],
                )
                for one in documents
            ],
        )
        note(f"{found.kind} {found.location}: {plural(found.documents, 'document')}.", style="dim")


def remove_source(
    ctx: typer.Context,
    source: SourceArgument,
    receipt: ReceiptOption = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Erase a source, its documents and all that was made of them."""
    from ruma.privacy.erasing import erase_source
    from ruma.tenant.knowledge.sources import find_source

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        found = find_source(opened, source)
        kept = erase_source(opened, found.id)
        if kept is not None:
            show_kept(kept, receipt, as_json)
        else:
            note(f"Removed {found.location}. It had no document, so there is no receipt.")


DocumentArgument = Annotated[int, typer.Argument(metavar="DOCUMENT", help="A document's number.")]


def show_text(
    ctx: typer.Context, document: DocumentArgument, tenant: TenantOption = None, home: HomeOption = None
) -> None:
    """Print the text of a document as it was read."""
    from ruma.tenant.knowledge.documents import read_document

    with Parts(ctx, home=home) as parts:
        print_text(read_document(parts.tenant(tenant), document).text)


def correct(
    ctx: typer.Context,
    document: DocumentArgument,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The whole new text, or - for standard input.")],
    replace_original: Annotated[
        bool, typer.Option("--replace-original", help="Store the text in the place of the original file, too.")
    ] = False,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Replace the text of a document by a corrected one.

    The agent answers from it at once. Begin with: ruma sources text DOCUMENT > corrected.txt
    """
    from ruma.ingest.correcting import correct_document

    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"The text cannot be read from {file}: {exc}.", hint="It must be UTF-8.") from exc
    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        made = correct_document(opened, document, text, parts.embedder, replace_original=replace_original)
        if as_json:
            print_json(made)
            return
        print_text(
            f"Corrected. The document has the number {made.document_id} now, and {plural(made.chunks, 'chunk')}."
        )
        if not replace_original:
            note("Its original file was kept as it was. With --replace-original the text takes its place.")
