"""`ruma backup` and `ruma restore`: make, list, check, thin out and restore backups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ruma.cli.options import HomeOption, JsonOption, KeySourceOption, YesOption
from ruma.cli.output import ask_line, note, plural, print_json, print_table, print_text, show_box, size
from ruma.cli.parts import Parts, describe_key_store
from ruma.errors import InputError, NotFoundError, RumaError

if TYPE_CHECKING:
    from ruma.privacy.backing_up import Keep
    from ruma.privacy.restoring import Restored
    from ruma.tenant.copying.backup_folder import BackupFolder, Snapshot
    from ruma.tenant.keys.keys import Key

FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of backups, on any disk or share.")]
BackedUpOption = Annotated[
    str | None, typer.Option("--tenant", "-t", metavar="NAME", help="The tenant.", show_default="all of them")
]
OneBackedUpOption = Annotated[
    str | None, typer.Option("--tenant", "-t", metavar="NAME", help="The tenant. Needed only where there are several.")
]
AtOption = Annotated[
    str,
    typer.Option(
        "--at", metavar="DATE", help="The newest that was made until then: 2026-11-25, or a time.", show_default="now"
    ),
]
SecretOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A file that holds the secret; without, it is asked for.")
]
KeepDaysOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="Keep none longer than N days.", show_default="no end")
]
KeepDailyOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="Keep one of each of the last N days.", show_default="all")
]
KeepWeeklyOption = Annotated[int, typer.Option(min=0, metavar="N", help="Keep one of each of the last N weeks.")]
KeepMonthlyOption = Annotated[int, typer.Option(min=0, metavar="N", help="Keep one of each of the last N months.")]

_SECRET = """It alone opens the backups in {folder}.
Print it or keep it in a password manager, away from this machine and from the backups.
It is shown this once and stored nowhere. Without it no backup can be restored.
This machine needs none of it to write backups."""


def init(ctx: typer.Context, folder: FolderArgument, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Make a folder of backups, and show its secret, once."""
    from ruma.tenant.copying.backup_folder import init_folder

    with Parts(ctx, home=home) as parts:
        made, secret = init_folder(parts.home.settings, folder.absolute())
        if as_json:
            print_json({"folder": made.folder, "id": made.id, "secret": secret.recovery_text()})
            return
        lines = [secret.recovery_text(), "", *_SECRET.format(folder=made.folder).splitlines()]
        show_box("Secret of the backups", lines)
        note(f"To make the first: ruma backup make {folder}")


def join(ctx: typer.Context, folder: FolderArgument, secret_file: SecretOption = None, home: HomeOption = None) -> None:
    """Let this home write to a folder of backups that another one made."""
    from ruma.tenant.copying.backup_folder import join_folder

    with Parts(ctx, home=home) as parts:
        join_folder(parts.home.settings, folder.absolute(), _read_secret(secret_file))
        note(f"Backups of this home can be written to {folder}.")


def make(
    ctx: typer.Context,
    folder: FolderArgument,
    tenant: BackedUpOption = None,
    keep_days: KeepDaysOption = 0,
    keep_daily: KeepDailyOption = 0,
    keep_weekly: KeepWeeklyOption = 0,
    keep_monthly: KeepMonthlyOption = 0,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Back up a tenant, or all, while they are in use.

    Only what no backup before holds is written, sealed so that the folder's secret alone opens it, and read back.
    With one of the options --keep, old backups are removed afterwards, as `ruma backup prune` does.
    """
    from ruma.privacy.backing_up import Keep, back_up
    from ruma.tenant.copying.backup_folder import open_folder

    made, problems = [], []
    with Parts(ctx, home=home) as parts:
        names = [tenant] if tenant not in (None, "all") else parts.home.names()
        if not names:
            raise NotFoundError("There is no tenant to back up.")
        target = open_folder(parts.home.settings, folder.absolute())
        with target.locked():
            for name in names:
                try:
                    with parts.home.open(str(name)) as opened:
                        result = back_up(opened, target)
                except RumaError as exc:  # the other tenants' backups are made all the same
                    if len(names) == 1:
                        raise
                    problems.append(f"{name} was not backed up: {exc} {exc.hint}".rstrip())
                    continue
                made.append(result.snapshot)
                problems += [f"The original {one} of {name} cannot be read: `ruma doctor`" for one in result.damaged]
            _prune(parts, target, Keep(keep_days, keep_daily, keep_weekly, keep_monthly), only_tenant=tenant)
    if as_json:
        print_json({"backups": [_plain(one) for one in made], "problems": problems})
    else:
        for one in made:
            print_text(
                f"{one.tenant}: {size(one.content_bytes)} backed up, {size(one.new_bytes)} of it new ({one.name})"
            )
        for problem in problems:
            note(problem)
    if problems:
        raise typer.Exit(1)


def list_snapshots(
    ctx: typer.Context,
    folder: FolderArgument,
    tenant: BackedUpOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List the backups in a folder; their secret is not needed.

    What is in them cannot be seen without it: only whose they are, when they were made and how large they are.
    """
    from ruma.tenant.copying.backup_folder import open_folder

    with Parts(ctx, home=home) as parts:
        found = open_folder(parts.home.settings, folder.absolute()).snapshots()
        found = [one for one in found if tenant in (None, "all", one.tenant)]
        if as_json:
            print_json([_plain(one) for one in found])
        elif found:
            print_table(
                ["backup", "tenant", "made at", "holds", "takes", "of it new"],
                [
                    (
                        one.name,
                        one.tenant,
                        one.made_at,
                        size(one.content_bytes),
                        size(one.stored_bytes),
                        size(one.new_bytes),
                    )
                    for one in found
                ],
            )
        else:
            note(f"There is no backup in {folder} yet. To make one: ruma backup make {folder}")


def verify(
    ctx: typer.Context,
    folder: FolderArgument,
    tenant: BackedUpOption = None,
    at: AtOption = "",
    secret_file: SecretOption = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Try to restore the newest backups, and compare what comes out.

    They are restored into an encrypted directory of the home that is taken away again; its key is kept nowhere.
    """
    from ruma.privacy.restoring import choose_snapshot, try_restore

    with Parts(ctx, home=home) as parts, _opened(folder, secret_file) as target:
        snapshots = target.snapshots()
        names = sorted({one.tenant for one in snapshots}) if tenant in (None, "all") else [str(tenant)]
        if not names:
            raise NotFoundError(f"There is no backup in {folder} yet.")
        results = []
        for name in names:
            snapshot = choose_snapshot(snapshots, name, at)
            counts = try_restore(parts.home, target, snapshot)
            results.append({"backup": snapshot.name, "made_at": snapshot.made_at, "counts": counts})
            if not as_json:
                print_text(
                    f"{snapshot.name} of {snapshot.made_at} can be restored: {plural(counts.documents, 'document')}, "
                    f"{plural(counts.rows, 'row')}, all compared."
                )
                if counts.damaged:
                    note(f"{plural(counts.damaged, 'original')} could not be read when it was made, and are not in it.")
        if as_json:
            print_json(results)


def prune(
    ctx: typer.Context,
    folder: FolderArgument,
    keep_days: KeepDaysOption = 0,
    keep_daily: KeepDailyOption = 0,
    keep_weekly: KeepWeeklyOption = 0,
    keep_monthly: KeepMonthlyOption = 0,
    home: HomeOption = None,
) -> None:
    """Remove old backups, and the files that no other one needs.

    The newest backup of each tenant of this home stays, whatever its age.
    """
    from ruma.privacy.backing_up import Keep
    from ruma.tenant.copying.backup_folder import open_folder

    keep = Keep(keep_days, keep_daily, keep_weekly, keep_monthly)
    if keep == Keep():
        raise InputError("Nothing says which backups to keep.", hint="For example: --keep-daily 7 --keep-weekly 4")
    with Parts(ctx, home=home) as parts:
        target = open_folder(parts.home.settings, folder.absolute())
        with target.locked():
            if not _prune(parts, target, keep):
                note("No backup had to go.")


def remove(
    ctx: typer.Context,
    folder: FolderArgument,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="BACKUP…", help="Backups, as the list names them.")
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", "-t", metavar="NAME", help="All backups of this tenant.")
    ] = None,
    yes: YesOption = False,
    home: HomeOption = None,
) -> None:
    """Remove backups for good: those named, or all of a tenant."""
    from ruma.tenant.copying.backup_folder import open_folder

    with Parts(ctx, home=home) as parts:
        target = open_folder(parts.home.settings, folder.absolute())
        with target.locked():
            there = target.snapshots()
            unknown = set(names or ()) - {one.name for one in there}
            chosen = [one for one in there if one.name in (names or ()) or (tenant and one.tenant == tenant)]
            if unknown or not chosen:
                what = ", ".join(sorted(unknown)) or tenant or "that was named"
                raise NotFoundError(
                    f"There is no backup {what}.", hint=f"To see what there is: ruma backup list {folder}"
                )
            if not yes and ask_line(f"Type yes to remove {plural(len(chosen), 'backup')} for good") != "yes":
                raise InputError("Nothing was removed.")
            _remove(parts, target, chosen)


def restore(
    ctx: typer.Context,
    folder: FolderArgument,
    tenant: OneBackedUpOption = None,
    new_name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Its name here.", show_default="the same")
    ] = None,
    at: AtOption = "",
    secret_file: SecretOption = None,
    reapplies: Annotated[
        bool,
        typer.Option("--reapply-erasures/--no-reapply-erasures", help="Erase again what was erased after the backup."),
    ] = True,
    as_json: JsonOption = False,
    key_source: KeySourceOption = None,
    home: HomeOption = None,
) -> None:
    """Restore a tenant from its newest backup, or from an older one.

    It becomes a tenant with a key of its own; one that is there is never overwritten. What was erased after the
    backup is erased again, as far as the tenant itself, where it is still there, and its newest backup know of it.
    """
    from ruma.privacy.restoring import choose_snapshot
    from ruma.privacy.restoring import restore as restore_tenant

    with Parts(ctx, home=home, key_source=key_source) as parts, _opened(folder, secret_file) as target:
        snapshot = choose_snapshot(target.snapshots(), tenant, at)
        restored = restore_tenant(parts.home, target, snapshot, new_name or snapshot.tenant, reapplies=reapplies)
        if as_json:
            print_json({"backup": snapshot.name, "made_at": snapshot.made_at, "restored": _plain_restored(restored)})
            return
        counts = restored.counts
        note(
            f"Restored the tenant {restored.name} as it was at {snapshot.made_at}: "
            f"{plural(counts.documents, 'document')}, {plural(counts.rows, 'row')}, all compared."
        )
        note(describe_key_store(restored.key_store, parts.settings))
        show_box(
            f"Recovery key of {restored.name}",
            [restored.recovery_key, "", "It is a new one, shown this once: keep it in place of the old one."],
        )
        if counts.damaged:
            note(f"{plural(counts.damaged, 'original')} could not be read when the backup was made: `ruma doctor`")
        _say_erasures(restored)


def _say_erasures(restored: Restored) -> None:
    for one in restored.reapplied:
        note(f"Erased again what was erased at {one.asked_at} (receipt {one.number}): {plural(one.again, one.kind)}.")
        if one.problem:
            note(f"Not all of it: {one.problem}", style="bold")
    if restored.later_erasures and not restored.reapplied:
        note(f"{plural(len(restored.later_erasures), 'erasure')} came after the backup: what they erased is back.")
        for receipt in restored.later_erasures:
            note(f"- receipt {receipt.number} of {receipt.asked_at}: {receipt.kind}", indent=2)


def _plain_restored(restored: Restored) -> dict[str, object]:
    later = [{"number": one.number, "kind": one.kind, "asked_at": one.asked_at} for one in restored.later_erasures]
    kept = {
        name: getattr(restored, name) for name in ("name", "id", "key_store", "recovery_key", "counts", "reapplied")
    }
    return {**kept, "later_erasures": later}


@contextmanager
def _opened(folder: Path, secret_file: Path | None) -> Iterator[BackupFolder]:
    from ruma.tenant.copying.backup_folder import open_with_secret

    yield open_with_secret(folder.absolute(), _read_secret(secret_file))


def _read_secret(file: Path | None) -> Key:
    from ruma.tenant.keys.keys import Key as Secret

    if file is None:
        return Secret.from_recovery_text(ask_line("Secret of the backups"))
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as exc:
        raise InputError(f"{file} cannot be read.") from exc
    return Secret.from_recovery_text(text)


def _prune(parts: Parts, target: BackupFolder, keep: Keep, *, only_tenant: str | None = None) -> bool:
    """Remove the backups that need not be kept, and tell whether there was one."""
    from ruma.privacy.backing_up import choose_removed
    from ruma.tenant.clock import now

    there = [one for one in target.snapshots() if only_tenant in (None, "all", one.tenant)]
    living = {one.id for one in parts.home.tenants()}
    removed = choose_removed(there, keep, living=living, today=now())
    if removed:
        _remove(parts, target, removed)
    return bool(removed)


def _remove(parts: Parts, target: BackupFolder, removed: list[Snapshot]) -> None:
    """Remove backups, and let the tenants know of it that are there."""
    from ruma.tenant.copying.backups import keep_backups

    freed = target.remove([one.name for one in removed])
    left = [one.name for one in target.snapshots()]
    for name in parts.home.names():
        try:
            with parts.home.open(name) as tenant:
                keep_backups(tenant, target.id, left)
        except RumaError as exc:  # it learns of it with its next backup
            note(f"{name} was not told: {exc}")
    note(f"Removed {plural(len(removed), 'backup')}, which frees {size(freed)}.")


def _plain(snapshot: Snapshot) -> dict[str, object]:
    return {
        "name": snapshot.name,
        "tenant": snapshot.tenant,
        "tenant_id": snapshot.tenant_id,
        "made_at": snapshot.made_at,
        "files": len(snapshot.files),
        "content_bytes": snapshot.content_bytes,
        "stored_bytes": snapshot.stored_bytes,
        "new_bytes": snapshot.new_bytes,
    }
