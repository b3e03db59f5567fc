"""`ruma export` and `ruma import`: taking data elsewhere, and bringing it back."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruma.cli.options import HomeOption, JsonOption, KeySourceOption, TenantOption
from ruma.cli.output import ask_secret, note, plural, print_json, print_text, size
from ruma.cli.parts import Parts, show_created
from ruma.errors import InputError, StoreError

if TYPE_CHECKING:
    from ruma.privacy.archive import Sink
    from ruma.tenant.copying.contents import Scope
    from ruma.tenant.tenant import Tenant

PasswordFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A file whose first line is the password of the export.")
]
AskPassword = Annotated[bool, typer.Option("--ask-password", help="Ask for a password that the export opens with.")]


def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The zip to write. With a password: a file of age.")],
    visitor: Annotated[
        str | None, typer.Option(metavar="REF", help="Only a visitor: a conversation's number or an e-mail address.")
    ] = None,
    member: Annotated[
        str | None, typer.Option(metavar="WHO", help="Only a member: a number or an e-mail address.")
    ] = None,
    password_file: PasswordFile = None,
    ask_password: AskPassword = False,
    as_json: JsonOption = False,
    tenant: TenantOption = None,
    home: HomeOption = None,
) -> None:
    """Write what is stored of a tenant, member or visitor into a zip.

    It holds JSON, pages for a browser, and the original files. The file is readable by its owner alone; without a
    password whoever gets it can read it. With one it is in the format age, and the name should end in .zip.age.
    """
    from ruma.privacy.exporting import write_export
    from ruma.tenant.copying.contents import note_taken

    if visitor is not None and member is not None:
        raise InputError("An export is of a visitor or of a member.", hint="Leave out --visitor or --member.")
    _check_free(file)
    password = _read_password(password_file, ask_password, is_new=True)
    with Parts(ctx, home=home) as parts:
        opened = parts.tenant(tenant)
        scope = _scope(opened, visitor, member)
        about = _write(parts.settings.home, file, password, lambda sink: write_export(opened, scope, sink))
        note_taken(opened, scope)
        if as_json:
            print_json({"file": file, "size_bytes": file.stat().st_size, **about})
            return
        counts = about["counts"]
        amounts = [plural(counts[name], name[:-1]) for name in ("documents", "conversations") if counts.get(name)]
        print_text(f"Wrote {file} ({size(file.stat().st_size)}){': ' if amounts else ''}{', '.join(amounts)}.")
        for one in about["originals"]:
            if one["problem"]:
                note(f"{one['name']} {one['problem']}.")
        if not password:
            note("Whoever has this file can read it. With --ask-password it opens with a password alone.")


def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An export of a whole tenant.")],
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", "-t", metavar="NAME", help="What to call it here.", show_default="as it was called"),
    ] = None,
    password_file: PasswordFile = None,
    ask_password: AskPassword = False,
    as_json: JsonOption = False,
    key_source: KeySourceOption = None,
    home: HomeOption = None,
) -> None:
    """Make a new tenant from an export.

    It answers as the old one did. Members come disabled and without passwords, API keys not at all.
    """
    from ruma.ingest.texts import embed_again
    from ruma.privacy.importing import import_export
    from ruma.tenant.home import Created

    password = _read_password(password_file, ask_password, is_new=False)
    with Parts(ctx, home=home, key_source=key_source) as parts:
        embedder = parts.embedder
        imported = import_export(
            parts.home,
            file,
            tenant,
            embedder_id=embedder.id,
            dimension=embedder.dimension,
            rebuild=lambda row, kind: embed_again(row, kind, embedder),
            password=password,
        )
        if as_json:
            print_json(imported)
            return
        show_created(Created(imported.name, imported.id, imported.recovery_key, imported.key_store), parts.settings)
        counts = imported.counts
        amounts = [plural(counts.get(f"{noun}s", 0), noun) for noun in ("document", "conversation")]
        print_text(f"Imported into {imported.name}: {', '.join(amounts)}.")
        if imported.is_embedded_anew:
            note("Another model had made the export's vectors; they were made anew.")
        for name in imported.without_original:
            note(f"The export lacks the original of {name}: its text stands for it.")
        if imported.members:
            note("Members came along, disabled and without passwords. For each that you know:")
            for email in imported.members:
                note(f"ruma members enable {email} && ruma members reset {email}", indent=2)


def _scope(tenant: Tenant, visitor: str | None, member: str | None) -> Scope:
    from ruma.tenant.conversing.visitors import find_visitor, parse_visitor
    from ruma.tenant.copying.contents import Scope
    from ruma.tenant.people.members import find_member

    if visitor is not None:
        return Scope("visitor", conversations=tuple(find_visitor(tenant, parse_visitor(visitor))))
    if member is not None:
        who: int | str = int(member) if member.isdecimal() and len(member) < 19 else member
        return Scope("member", member_id=find_member(tenant, who).id)
    return Scope()


def _check_free(file: Path) -> None:
    if file.exists() or file.is_symlink():
        raise InputError(f"There is a file {file} already.", hint="Remove it first, or name another.")
    if not file.parent.is_dir():
        raise InputError(f"There is no folder {file.parent}.")


def _read_password(file: Path | None, ask: bool, *, is_new: bool) -> str:
    from ruma.tenant.people.passwords import check_password

    if file is None and not ask:
        return ""
    if file is not None:
        try:
            password = file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as exc:
            raise InputError(f"The password cannot be read from {file}: {exc}.") from exc
    else:
        password = ask_secret("Password of the export")
    if not password:
        raise InputError("The password is empty.")
    if is_new:
        check_password(password)
    return password


def _write(home: Path, file: Path, password: str, fill: Any) -> dict[str, Any]:
    """Write a file of the operator's whole or not at all, for its owner alone; *fill* is told where to write to."""
    from ruma.cli.unfinished import noted, part_of
    from ruma.tenant.private_files import sync_folder

    part = part_of(file)
    try:
        for left in file.parent.glob(f".{glob.escape(file.name)}.*.part"):  # of one that was killed
            left.unlink()
        unnamed = _open_unnamed(file.parent)
        if unnamed is not None:
            # A link, unlike a rename, refuses to replace. What has no name is reached by its descriptor, which
            # Python follows only where it is told of a folder, here of none that matters.
            descriptor = unnamed
            about = _fill(
                descriptor, password, fill, lambda: os.link(f"/proc/self/fd/{descriptor}", file, src_dir_fd=descriptor)
            )
        else:
            with noted(home, part):
                try:
                    descriptor = os.open(
                        part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
                    )
                    about = _fill(descriptor, password, fill, lambda: os.link(part, file))
                finally:
                    part.unlink(missing_ok=True)
        sync_folder(file.parent)
    except OSError as exc:
        raise StoreError(f"The file {file} cannot be written: {exc.strerror}.", hint="Nothing is left of it.") from exc
    return about


def _fill(descriptor: int, password: str, fill: Any, name: Callable[[], None]) -> dict[str, Any]:
    """Fill an open file, make it durable and give it its name."""
    from ruma.tenant.keys.envelopes import EnvelopeWriter, make_envelope

    with os.fdopen(descriptor, "wb") as raw:
        os.fchmod(descriptor, 0o600)
        sink: Sink = raw
        envelope = EnvelopeWriter(make_envelope(password), raw.write) if password else None
        about: dict[str, Any] = fill(envelope or sink)
        if envelope:
            envelope.finish()
        raw.flush()
        os.fsync(descriptor)
        name()
    return about


def _open_unnamed(folder: Path) -> int | None:
    """Open a file without a name, which is gone with its process, also a killed one; None where there are no such."""
    unnamed = getattr(os, "O_TMPFILE", 0) if os.path.isdir("/proc/self/fd") else 0
    if unnamed:
        # Not every file system knows such files; what else is wrong is said when the name is opened.
        with suppress(OSError):
            return os.open(folder, os.O_WRONLY | unnamed | os.O_CLOEXEC, 0o600)
    return None
