"""`ruma conversations` and `ruma usage`: what visitors asked, corrected and taken along, and how much it was."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantOption
from ruma.cli.output import note, plural, print_content, print_json, print_pairs, print_table, print_text
from ruma.cli.parts import Parts
from ruma.errors import InputError, StoreError

if TYPE_CHECKING:
    from ruma.tenant.conversing.inbox import ConversationInfo, State

NumberArgument = Annotated[
    int, typer.Argument(metavar="NUMBER", min=1, help="The conversation's number in `ruma conversations list`.")
]


def list_conversations(
    ctx: typer.Context,
    text: Annotated[
        str, typer.Option(metavar="WORDS", help="Words that were said, or a part of the visitor's name or address.")
    ] = "",
    since: Annotated[
        datetime | None, typer.Option(metavar="DAY", formats=["%Y-%m-%d"], help="The first day.", show_default=False)
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(metavar="DAY", formats=["%Y-%m-%d"], help="The last day.", show_default=False)
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATE",
            help="waiting, unread, open, closed, answered, unanswered, helpful or unhelpful; again for several.",
        ),
    ] = None,
    page: Annotated[int, typer.Option(metavar="N", min=1, max=1_000_000, help="Which page of the list.")] = 1,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """List visitors' conversations, the newest first.

    Those that are not kept are not listed: nobody but their visitor sees them.
    """
    from ruma.tenant.conversing.inbox import STATES
    from ruma.tenant.conversing.inbox import list_conversations as find_conversations

    known: dict[str, State] = {name: name for name in STATES}
    if unknown := [one for one in state or () if one not in known]:
        raise InputError(f"Conversations have no state {unknown[0]!r}.", hint=f"States: {', '.join(STATES)}.")
    with Parts(ctx, home=home) as parts:
        found = find_conversations(
            parts.tenant(tenant),
            text=text,
            since=since.date() if since else None,
            until=until.date() if until else None,
            states=[known[one] for one in state or ()],
            page=page,
        )
        if as_json:
            print_json(found)
        elif found.conversations:
            rows = [
                (str(one.id), one.last_at[:16].replace("T", " "), _visitor(one), _state(one), one.opening)
                for one in found.conversations
            ]
            print_table(["number", "last message", "visitor", "state", "begins with"], rows)
            if found.pages > 1:
                note(f"Page {found.page} of {found.pages}, {plural(found.total, 'conversation')} in all.")
        else:
            note("There is no such conversation.")


def show(
    ctx: typer.Context,
    number: NumberArgument,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Show a conversation, and what its visitor agreed to.

    It is not marked as read by that.
    """
    from ruma.privacy.conversation_files import export_conversation
    from ruma.tenant.conversing.consents import read_consent
    from ruma.tenant.conversing.inbox import read_for_member

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        details, consent = read_for_member(opened, number), read_consent(opened, number)
        if as_json:
            print_json({"conversation": details, "consent": consent})
            return
        print_content(export_conversation(details, "text").decode() + "\n")
        print_text(f"In the statistics: {'yes' if consent.is_counted else 'no'}.")
        for one in consent.history:
            chosen = "agreed to" if one.choice.is_given else "took back"
            words = f"text {one.choice.text_version} in {one.choice.language}"
            print_text(f"{one.at}: {chosen} {one.choice.purpose} ({words}).")


def correct(
    ctx: typer.Context,
    number: NumberArgument,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The visitor's name; '' removes it.", show_default=False)
    ] = None,
    email: Annotated[
        str | None, typer.Option(metavar="EMAIL", help="The visitor's address; '' removes it.", show_default=False)
    ] = None,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Correct the visitor's name and address."""
    from ruma.tenant.conversing.corrections import correct_visitor_details
    from ruma.tenant.conversing.inbox import read_for_member

    if name is None and email is None:
        raise InputError("There is nothing to correct.", hint="Give --name, --email, or both.")
    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        read_for_member(opened, number)  # of one that is not kept, members know nothing
        correct_visitor_details(opened, number, name=name, email=email)
        info = read_for_member(opened, number).info
        note(f"Conversation {number}: name {info.visitor_name or 'none'}, address {info.visitor_email or 'none'}.")


def withdraw(ctx: typer.Context, number: NumberArgument, tenant: TenantOption = None, home: HomeOption = None) -> None:
    """Take a visitor's consent to statistics back.

    For a visitor who asked for it by mail, by telephone or by post. Who does not want to be kept at all is erased.
    """
    from ruma.tenant.conversing.consents import stop_counting

    with Parts(ctx, home=home) as parts:
        stop_counting(parts.tenant(tenant), number)
        note(f"Conversation {number} is in no statistics any more.")


def close(ctx: typer.Context, number: NumberArgument, tenant: TenantOption = None, home: HomeOption = None) -> None:
    """Mark a conversation as done."""
    from ruma.tenant.conversing.inbox import close_conversation

    with Parts(ctx, home=home) as parts:
        close_conversation(parts.tenant(tenant), number)
        note(f"Conversation {number} is closed.")


def reopen(ctx: typer.Context, number: NumberArgument, tenant: TenantOption = None, home: HomeOption = None) -> None:
    """Take back that a conversation is done."""
    from ruma.tenant.conversing.inbox import reopen_conversation

    with Parts(ctx, home=home) as parts:
        reopen_conversation(parts.tenant(tenant), number)
        note(f"Conversation {number} is open again.")


def export(
    ctx: typer.Context,
    number: NumberArgument,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A new file.", show_default="standard output")
    ] = None,
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="text, json or csv.")] = "text",
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Print a conversation, or write it into a file.

    `ruma export FILE --visitor NUMBER` makes a zip of all that is stored of it instead.
    """
    from ruma.privacy.conversation_files import export_conversation
    from ruma.tenant.audit import note_now
    from ruma.tenant.conversing.inbox import read_for_member

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        content = export_conversation(read_for_member(opened, number), form)
        note_now(opened, "conversation.exported", f"conversation {number}", format=form)
        if file is None:
            print_content(content.decode())
            return
        try:
            with file.open("xb") as written:
                written.write(content)
        except FileExistsError as exc:
            raise InputError(f"{file} is there already.", hint="Name a new file.") from exc
        except OSError as exc:
            raise StoreError(f"{file} cannot be written: {exc.strerror}.") from exc
        note(f"Conversation {number} is in {file}.")


def usage(
    ctx: typer.Context,
    days: Annotated[int, typer.Option(metavar="N", min=1, max=366, help="How many days, today being the last.")] = 7,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Count what visitors asked, by day, and list what was not answered.

    Counted are the conversations whose visitors agreed to it. The numbers are this machine's alone.
    """
    from ruma.tenant.conversing.usage import count_usage, list_unanswered

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        found, unanswered = count_usage(opened, days), list_unanswered(opened)
        if as_json:
            print_json({"usage": found, "unanswered": unanswered})
            return
        print_pairs(
            {
                "conversations": found.conversations,
                "questions": found.questions,
                "answered": found.answered,
                "declined": found.declined,
                "helpful": found.helpful,
                "unhelpful": found.unhelpful,
                "waiting for a person": found.waiting,
            }
        )
        print_text()
        if found.questions:
            print_table(["asked on", "questions"], list(found.channels.items()))
            print_text()
            print_table(["answered by", "questions"], [(mode or "declined", n) for mode, n in found.modes.items()])
            print_text()
        print_table(["day", "questions", "declined"], [(one.date, one.questions, one.declined) for one in found.days])
        if unanswered:
            print_text()
            rows = [(one.count, str(one.conversation_id), one.text) for one in unanswered]
            print_table(["asked", "conversation", "not answered"], rows)


def _visitor(info: "ConversationInfo") -> str:
    return info.visitor_name or info.visitor_email or "-"


def _state(info: "ConversationInfo") -> str:
    if info.wants_person:
        return "WAITING"
    return "closed" if info.is_closed else "open" if info.is_read else "unread"
