"""`ruma erase` and `ruma verify-erasure`: erase what somebody wants gone, and prove it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantOption, YesOption
from ruma.cli.output import ask_line, note, print_content, print_json, print_table, print_text
from ruma.cli.parts import Parts
from ruma.errors import InputError, StoreError

if TYPE_CHECKING:
    from ruma.privacy.verifying import Verdict
    from ruma.tenant.erasing.receipts import Kept, SignedReceipt

ReceiptOption = Annotated[
    Path | None,
    typer.Option(
        "--receipt",
        metavar="FILE",
        help="Write the signed receipt to this file as well, and a page that a person reads beside it (.html).",
    ),
]


def document(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As `ruma sources show` lists it.")],
    yes: YesOption = False,
    receipt: ReceiptOption = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Erase a document and everything that came from it.

    Its text, passages, vectors, words, sealed original and uploads go, and the answers that were written from it.
    """
    from ruma.privacy.erasing import erase_document
    from ruma.tenant.knowledge.documents import read_document

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        name = read_document(opened, number).name
        _confirm(f"This erases the document {name} and all that came from it.", str(number), yes)
        show_kept(erase_document(opened, number), receipt, as_json)


def conversation(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The conversation's number.")],
    yes: YesOption = False,
    receipt: ReceiptOption = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Erase a conversation with everything that was said in it."""
    from ruma.privacy.erasing import erase_conversation
    from ruma.tenant.conversing.conversations import read_conversation

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        found = read_conversation(opened, number)
        _confirm(f"This erases conversation {number} with its {len(found.messages)} messages.", str(number), yes)
        show_kept(erase_conversation(opened, number), receipt, as_json)


def visitor(
    ctx: typer.Context,
    who: Annotated[
        list[str], typer.Argument(metavar="WHO", help="An e-mail address, or numbers of conversations, or words.")
    ],
    find: Annotated[
        bool, typer.Option("--find", help="Only list where these words were said, to choose conversations from.")
    ] = False,
    yes: YesOption = False,
    receipt: ReceiptOption = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Erase a visitor: every conversation with an address, or some.

    Whoever left no address is found by what was said: --find lists the places, and you name the numbers.
    """
    from ruma.privacy.erasing import erase_visitor
    from ruma.tenant.conversing.visitors import find_visitor, mentions, parse_visitor

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        if find:
            found = mentions(opened, " ".join(who))
            if as_json:
                print_json(found)
            elif found:
                rows = [(one.conversation_id, one.place, one.at[:10], one.excerpt) for one in found]
                print_table(["conversation", "in", "on", "what was found"], rows)
            else:
                note("These words were not found in any conversation.")
            return
        visitors = [parse_visitor(one) for one in who]
        numbers = sorted({number for one in visitors for number in find_visitor(opened, one)})
        listed = ", ".join(map(str, numbers))
        many = "conversation" if len(numbers) == 1 else f"{len(numbers)} conversations"
        _confirm(f"This erases the {many} {listed}.", who[0], yes)
        show_kept(erase_visitor(opened, *visitors), receipt, as_json)


def member(
    ctx: typer.Context,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The member's e-mail address.")],
    keys_to: Annotated[
        str | None,
        typer.Option(metavar="EMAIL", help="The member who takes over the API keys; without one they end."),
    ] = None,
    yes: YesOption = False,
    receipt: ReceiptOption = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Erase a member: the account, and the name at what is left.

    What the member wrote stays the business's. API keys that the member made end with the account, unless --keys-to
    hands them over.
    """
    from ruma.privacy.erasing import erase_member
    from ruma.tenant.people.members import find_member

    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        found = find_member(opened, email)
        heir = find_member(opened, keys_to).id if keys_to else None
        keys = f"API keys that were made by this member go to {keys_to}." if keys_to else "Their API keys end."
        _confirm(f"This erases the member {found.name} ({found.email}). {keys}", email, yes)
        show_kept(erase_member(opened, found.id, keys_to=heir), receipt, as_json)


def list_receipts(
    ctx: typer.Context, as_json: JsonOption = False, tenant: TenantOption = None, home: HomeOption = None
) -> None:
    """List what was erased in a tenant."""
    from ruma.privacy.verifying import describe_erased
    from ruma.tenant.erasing import receipts

    with Parts(ctx, home=home) as parts:
        kept = receipts.list_receipts(parts.tenant(tenant))
        if as_json:
            print_json(kept)
            return
        rows = [
            (
                one.id,
                one.asked_at[:16].replace("T", " "),
                describe_erased(one.signed.receipt) if one.signed else "not finished yet",
                ("complete" if one.signed.receipt.is_complete else "NOT COMPLETE") if one.signed else "",
            )
            for one in kept
        ]
        if rows:
            print_table(["receipt", "on", "erased", "checks"], rows)
        else:
            note("Nothing was erased yet.")


def show_receipt(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="The receipt's number in `ruma erase list`.")],
    receipt: ReceiptOption = None,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Show a receipt again, or write it to a file."""
    from ruma.tenant.erasing.receipts import find_receipt

    with Parts(ctx, home=home) as parts:
        show_kept(find_receipt(parts.tenant(tenant), number), receipt, as_json)


def verify_erasure(
    ctx: typer.Context,
    receipt: Annotated[Path, typer.Argument(metavar="RECEIPT", help="The receipt, a JSON file.")],
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the receipt as a page that a person reads.")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Check a receipt, and that nothing of what was erased is left.

    Decrypts every page of the tenant's database and log; of a deleted tenant, searches the home and the key sources.
    Exits with 1 where anything is found, or where the signature or the tenant is another.
    """
    from ruma.privacy.receipt_pages import receipt_page
    from ruma.privacy.verifying import verify_erasure as verify
    from ruma.tenant.erasing.receipts import LARGEST, read_receipt

    try:
        if receipt.stat().st_size > LARGEST:
            raise InputError(f"{receipt} is too large for a receipt.")
        signed = read_receipt(receipt.read_text(encoding="utf-8", errors="replace"))
    except OSError as exc:
        raise InputError(f"{receipt} cannot be read: {exc.strerror}.") from exc
    with Parts(ctx, home=home) as parts:
        verdict = verify(parts.home, signed)
    if page:
        _write(page, receipt_page(signed))
    _print_verdict(verdict, as_json)


def show_signed(signed: "SignedReceipt") -> None:
    """Print a receipt for a person."""
    from ruma.privacy.receipt_pages import describe_actor
    from ruma.privacy.verifying import describe_erased

    receipt = signed.receipt
    print_text(f"Erased {describe_erased(receipt)} on {receipt.done_at}, by {describe_actor(receipt)}.")
    for check in receipt.checks:
        print_text(f"- {check.text}", indent=2)
    print_text("Not covered:")
    for one in receipt.not_covered:
        dates = f" Made on: {', '.join(one.dates)}." if one.dates else ""
        print_text(f"- {one.text}{dates}", indent=2)


def write_receipt(signed: "SignedReceipt", path: Path) -> None:
    """Write a receipt as JSON, and beside it the page that a person reads.

    Raises:
        StoreError: It cannot be written.
    """
    from ruma.privacy.receipt_pages import receipt_page

    _write(path, signed.to_json())
    _write(path.with_suffix(".html"), receipt_page(signed))
    note(f"The signed receipt is in {path}, and a page of it in {path.with_suffix('.html')}.")


def show_kept(kept: "Kept", path: Path | None, as_json: bool) -> None:
    """Print a receipt, and write it where asked.

    Raises:
        StoreError: There is none yet, or it cannot be written.
    """
    if kept.signed is None:
        raise StoreError(
            "It is deleted, but another process still reads the old state: there is no receipt yet.",
            hint=f"The next command writes it: ruma erase show {kept.id}",
        )
    if path:
        write_receipt(kept.signed, path)
    if as_json:
        print_content(kept.signed.to_json())
    else:
        show_signed(kept.signed)
    if not kept.signed.receipt.is_complete:
        note("The erasure is NOT complete: see the checks.")
        raise typer.Exit(1)


def _print_verdict(verdict: "Verdict", as_json: bool) -> None:
    if as_json:
        print_json(verdict)
    else:
        print_text(verdict.text)
        for one in verdict.notes:
            print_text(one)
    if not verdict.is_clean:
        raise typer.Exit(1)


def _confirm(warning: str, typed: str, yes: bool) -> None:
    if yes:
        return
    note(f"{warning} It cannot be undone.")
    if ask_line(f"Type {typed} to go on, or run it with --yes") != typed:
        raise InputError("That is something else. Nothing was erased.")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise StoreError(f"{path} cannot be written: {exc.strerror}.") from exc


COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "document": (document, "ruma erase document 4"),
    "conversation": (conversation, "ruma erase conversation 12"),
    "visitor": (visitor, "ruma erase visitor ada@example.com --receipt ada.json"),
    "member": (member, "ruma erase member bo@example.com --keys-to ada@example.com"),
    "list": (list_receipts, "ruma erase list"),
    "show": (show_receipt, "ruma erase show 3 --receipt receipt.json"),
}
