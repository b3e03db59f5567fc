"""`ruma keys`: show where tenants' keys are kept, rotate and move them, and take them to another machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruma.cli.options import HomeOption, JsonOption, TenantArgument, YesOption
from ruma.cli.output import (
    ask_hidden,
    ask_line,
    ask_secret,
    note,
    plural,
    print_json,
    print_pairs,
    print_table,
    print_text,
    show_box,
)
from ruma.cli.parts import Parts
from ruma.config import KEY_SOURCES, Settings
from ruma.errors import InputError, NotFoundError, WrongKeyError

if TYPE_CHECKING:
    from ruma.tenant.keys.rotation import NewKey

NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="NAME...", help="The tenants.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every tenant of the home.")]
SourceArgument = Annotated[str, typer.Option("--to", metavar="SOURCE", help="A key source: `ruma doctor` lists them.")]


def keys(ctx: typer.Context, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show where each tenant's key is kept, and what is weak about it.

    No key is read for it, and none is shown. The commands rotate the keys, move them, and take them along.
    """
    from ruma.tenant.keys.key_report import RECOVERY_COVERS, describe_keys

    if ctx.invoked_subcommand:
        if as_json or home:
            raise InputError("Options of a command stand after it.", hint=f"ruma keys {ctx.invoked_subcommand} --help")
        return
    with Parts(ctx, home=home) as parts:
        found = describe_keys(parts.home)
        if as_json:
            print_json([asdict(one) for one in found])
            return
        if not found:
            note("There is no tenant yet. The first `ruma ingest FOLDER` makes one.")
            return
        rows = [
            (
                one.name,
                one.place,
                one.sealed_by[:8],
                one.kept_since[:10],
                one.made_at[:10] if one.is_rotated else "never",
            )
            for one in found
        ]
        print_table(["tenant", "key kept in", "master key", "since", "rotated"], rows)
        for one in found:
            for warning in one.warnings:
                note(f"{one.name}: {warning}", style="yellow")
        note()
        note(RECOVERY_COVERS)


def rotate(
    ctx: typer.Context,
    names: NamesArgument = None,
    every: AllOption = False,
    reseal: Annotated[bool, typer.Option("--reseal", help="Also seal every file anew, with a new key.")] = False,
    recovery_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the new recovery keys into this new file as well.")
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Give tenants a new key, while the server runs.

    Shows their new recovery keys, once.
    The new recovery key is shown before it counts; from the end of the rotation on the old one opens only copies that
    were made before.
    With --json there is one line of JSON at each of these moments.
    """
    from ruma.tenant.keys.rotation import NewKey, reseal_files, rotate_key

    with Parts(ctx, home=home) as parts:
        chosen = _chosen(parts, names, every)
        if recovery_file and recovery_file.exists():
            raise InputError(f"There is a file {recovery_file} already.", hint="Choose another name.")
        _ask_to_rotate(chosen, yes)
        for name in chosen:
            for step in rotate_key(parts.home, name):
                if isinstance(step, NewKey):
                    if recovery_file:
                        _write_recovery(recovery_file, step)
                    _show_new_key(step, as_json)
                elif as_json:
                    _print_line({"state": "rotated", **asdict(step)})
                else:
                    note(f"The tenant {name} has a new key, kept in: {step.key_store}. The old one was destroyed.")
            if reseal:
                _show_resealing(name, reseal_files(parts.home, name))


def reseal(ctx: typer.Context, names: NamesArgument = None, every: AllOption = False, home: HomeOption = None) -> None:
    """Seal files anew whose own keys are older than the tenant's.

    Originals, uploads that wait and exports.
    Goes on where an interrupted run stopped.
    """
    from ruma.tenant.keys.rotation import reseal_files

    with Parts(ctx, home=home) as parts:
        for name in _chosen(parts, names, every):
            _show_resealing(name, reseal_files(parts.home, name))


def move(
    ctx: typer.Context,
    to: SourceArgument,
    names: NamesArgument = None,
    every: AllOption = False,
    home: HomeOption = None,
) -> None:
    """Keep tenants' keys in another key source.

    They are destroyed in the one where they were. The keys stay the same, and so do the recovery keys.
    """
    from ruma.tenant.keys.keys import choose_key_store
    from ruma.tenant.keys.rotation import move_key

    with Parts(ctx, home=home) as parts:
        chosen = _chosen(parts, names, every)
        store = choose_key_store(_settings_for(parts, to))
        for name in chosen:
            label = move_key(parts.home, name, store)
            note(f"The key of the tenant {name} is kept in: {label}.")


def rotate_master(
    ctx: typer.Context,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", help="Whose master key: machine, file, …", show_default="the one that is in use"
        ),
    ] = None,
    new_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file that holds the new master key, or the new passphrase.")
    ] = None,
    finish: Annotated[bool, typer.Option("--finish", help="The source gives the new one now: forget the old.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Seal the tenants' key files anew, with a new master key.

    The machine's is made by itself. Another source's is given with --new-key, and put there by whoever looks after it;
    until --finish both the old and the new one open everything.
    """
    from ruma.tenant.keys.master_rotation import MasterRotation, finish_master_rotation, rotate_master

    with Parts(ctx, home=home) as parts:
        origin = source or _only_origin(parts)
        with parts.home.locked():
            if finish:
                if not finish_master_rotation(parts.settings, origin):
                    raise InputError(
                        f"The key source {origin} still gives the old master key.",
                        hint="Put the new one there first. Until then both open everything.",
                    )
                done = MasterRotation(origin, 0, is_finished=True)
            else:
                done = rotate_master(parts.settings, origin, new_key_file=new_key)
        if as_json:
            print_json(done)
        elif done.is_finished:
            note("The new master key is in use, and the old one opens nothing any more.")
        else:
            files = "key file is" if done.resealed == 1 else "key files are"
            note(f"{done.resealed} {files} sealed with the new master key. The old one still opens them.")
            gives = f"Let the key source {origin} give the new master key,"
            what = "The new passphrase counts from now on:" if origin == "passphrase" else gives
            note(f"{what} restart the server, then:")
            note("ruma keys rotate-master --finish", indent=2)


def check_recovery(ctx: typer.Context, name: TenantArgument, home: HomeOption = None) -> None:
    """Tell whether a recovery key is the tenant's, and change nothing.

    Reads it from the terminal or from standard input, so that it stands in no command line.
    """
    with Parts(ctx, home=home) as parts:
        if not parts.home.is_recovery_key(name, ask_line(f"Recovery key of {name}")):
            raise WrongKeyError(
                f"This recovery key does not open the tenant {name}: it is another tenant's, or older than its key.",
                hint=f"Make a new one, while the key is there: ruma keys rotate {name}",
            )
        print_text(f"This is the recovery key of the tenant {name}.")


def pack(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not be there.")],
    names: Annotated[
        list[str] | None, typer.Option("--tenant", "-t", metavar="NAME", help="A tenant; without any, all.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Write tenants' keys into one file, to take them elsewhere.

    A passphrase seals it.
    Reads the passphrase from the terminal or from standard input. The keys stay where they are, too.
    """
    from ruma.tenant.keys.key_pack import pack_keys

    with Parts(ctx, home=home) as parts:
        chosen = names or parts.home.names()
        if not chosen:
            raise NotFoundError("There is no tenant whose key could be packed.")
        passphrase = ask_secret("Passphrase for the pack")
        pack_keys(parts.home, chosen, passphrase.encode(), file)
        note(f"The keys of {', '.join(chosen)} are in {file}. Whoever has it, its passphrase and a copy of the home")
        note("can read everything: remove it when the move is done.")


def unpack(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file that `ruma keys pack` wrote.")],
    to: Annotated[
        str | None, typer.Option("--to", metavar="SOURCE", help="A key source.", show_default="the one in the settings")
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Keep the keys of a packed file in this machine's key source.

    Reads the passphrase from the terminal or from standard input.
    """
    from ruma.tenant.keys.key_pack import unpack_keys
    from ruma.tenant.keys.keys import choose_key_store

    with Parts(ctx, home=home) as parts:
        store = choose_key_store(_settings_for(parts, to) if to else parts.settings)
        done = unpack_keys(parts.home, file, ask_hidden("Passphrase of the pack").encode(), store)
        if as_json:
            print_json(done)
        else:
            print_pairs({"kept_in": store.label, "tenants": ", ".join(done.placed) or "none"})
        if done.missing:
            raise InputError(
                f"The pack holds no key that opens {', '.join(done.missing)}.",
                hint="Give their recovery keys: ruma tenant recover NAME",
            )


def _chosen(parts: Parts, names: list[str] | None, every: bool) -> list[str]:
    if every == bool(names):
        raise InputError("Name the tenants, or say --all.", hint="ruma keys shows them.")
    chosen = parts.home.names() if every else list(dict.fromkeys(names or []))
    for name in chosen:
        parts.home.find(name)
    return chosen


def _settings_for(parts: Parts, source: str) -> Settings:
    if source not in KEY_SOURCES:
        raise InputError(f"There is no key source {source}.", hint=f"Choose one of: {', '.join(KEY_SOURCES)}.")
    return replace(parts.settings, key_source=source)


def _only_origin(parts: Parts) -> str:
    from ruma.tenant.keys.key_report import describe_keys, origin_of

    origins = sorted({origin_of(one.key_store) for one in describe_keys(parts.home)} - {""})
    if not origins:
        raise NotFoundError("No tenant's key is in a sealed file, so there is no master key.")
    if len(origins) > 1:
        raise InputError(
            f"The keys are sealed by several master keys: {', '.join(origins)}.", hint="Say which: --source NAME"
        )
    return origins[0]


def _ask_to_rotate(names: list[str], yes: bool) -> None:
    if yes or not sys.stdin.isatty():
        return
    note(
        f"This makes a new key for {', '.join(names)}. The recovery keys that you have now will open only older copies."
    )
    if ask_line("Type yes to go on") != "yes":
        raise InputError("Nothing was changed.")


def _show_new_key(new: NewKey, as_json: bool) -> None:
    if as_json:
        _print_line({"state": "new key", **asdict(new)})
        return
    show_box(
        f"New recovery key of {new.name}",
        [
            new.recovery_key,
            "It counts as soon as this command says that the tenant has a new key; until then the old one does.",
            "Keep both until then. It is shown this once and stored nowhere.",
        ],
    )


def _write_recovery(file: Path, new: NewKey) -> None:
    import os

    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(f"{new.name} {new.recovery_key}\n")
        opened.flush()
        os.fsync(handle)


def _show_resealing(name: str, steps: Iterator[int]) -> None:
    counts = list(steps)
    note(f"{plural(counts[0] - counts[-1], 'file')} of {name} sealed anew.")
    if counts[-1]:
        note(f"{counts[-1]} more in use at this moment: run `ruma keys reseal {name}` again.")


def _print_line(data: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(data, ensure_ascii=True) + "\n")
    sys.stdout.flush()
