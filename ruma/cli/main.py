"""The command `ruma`: every command with its example, on one page.

Exit codes: 0 done · 1 a problem that the message names, or a document that failed · 2 the command line cannot
be understood · 130 stopped with Ctrl-C.
"""

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ruma import __version__
from ruma.cli import (
    agents,
    api_keys,
    audit,
    backups,
    billing,
    chatting,
    conversations,
    demonstration,
    diagnosis,
    erasing,
    exporting,
    installation,
    keys,
    ledger,
    members,
    model_files,
    pairs,
    policy,
    questions,
    requests,
    retention,
    serving,
    sources,
    tenants,
    widget,
)
from ruma.cli.output import clean
from ruma.cli.parts import OFFLINE, Openers, guard_network
from ruma.errors import RumaError

_PANELS = _START, _USE, _SET_UP, _PRIVACY, _CARE = (
    "Start",
    "Documents and questions",
    "Set up",
    "Privacy",
    "Run and look after",
)


class ShowErrors(TyperGroup):
    """Print a RumaError as one line; let every other exception crash loudly."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command: whoever types it has the machine."""
        from ruma.tenant.audit import act_as

        act_as("operator")
        try:
            return super().invoke(ctx)
        except RumaError as exc:
            typer.echo(clean(f"Error: {exc}" + (f"\n{exc.hint}" if exc.hint else "")), err=True)
            raise typer.Exit(1) from exc
        except OSError as exc:
            # What Ruma stores it writes elsewhere, and says so itself: this is where its output goes.
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries again when it ends
            with suppress(OSError):
                typer.echo(
                    "Error: The output cannot be written: the disk that it goes to is full.\n"
                    "What the command did is done; only what it had to say is missing.",
                    err=True,
                )
            raise typer.Exit(1) from exc

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """List the commands by what they are for."""
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in _PANELS}
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None) or _CARE
            panels[panel].append((name, command.get_short_help_str(70)))
        widest = max(len(name) for name in self.commands)
        for panel, rows in panels.items():
            if not rows:
                continue
            with formatter.section(panel):
                formatter.write_dl([(name.ljust(widest), text) for name, text in rows])


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"ruma {__version__}")
        raise typer.Exit


# Plain help: rich would take most of the time of `ruma --help`. Plain tracebacks: they print no local values,
# which could be a tenant's.
app = typer.Typer(
    cls=ShowErrors,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    epilog="Begin with: ruma demo",
)


@app.callback()
def ruma(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Let nothing leave this machine, or RUMA_OFFLINE=1.")
    ] = False,
) -> None:
    """Answer customers from a business's own documents, on its own machine."""
    ctx.meta[OFFLINE] = offline


def _add(panel: str, command: Callable[..., None], example: str, name: str | None = None) -> None:
    app.command(name, rich_help_panel=panel, short_help=_summary(command), epilog=f"Example: {example}")(command)


def _add_group(
    panel: str,
    name: str,
    help: str,
    commands: dict[str, tuple[Callable[..., None], str]],
    *,
    alone: Callable[..., None] | None = None,
) -> None:
    """Add commands of one kind; *alone* is what the kind's name does without any of them."""
    group = typer.Typer(rich_markup_mode=None, no_args_is_help=alone is None)
    if alone:
        group.callback(invoke_without_command=True)(alone)
    for command_name, (command, example) in commands.items():
        group.command(command_name, short_help=_summary(command), epilog=f"Example: {example}")(command)
    app.add_typer(group, name=name, help=help, short_help=help, rich_help_panel=panel)


def _summary(command: Callable[..., None]) -> str:
    # Given whole, since typer would cut it in the reference that it writes.
    return (command.__doc__ or "").partition("\n")[0]


_add(_START, demonstration.demo, "ruma demo")
_add(_START, installation.init, "ruma init acme")
_add(_USE, sources.ingest, "ruma ingest ./documents")
_add_group(
    _USE,
    "sources",
    "List, show, correct and remove what a tenant learned from.",
    {
        "list": (sources.list_sources, "ruma sources list"),
        "show": (sources.show_source, "ruma sources show 1"),
        "text": (sources.show_text, "ruma sources text 4"),
        "correct": (sources.correct, "ruma sources correct 4 corrected.txt"),
        "remove": (sources.remove_source, "ruma sources remove 1"),
    },
)
_add_group(
    _USE,
    "pairs",
    "List, add and remove answers in the business's own words.",
    {
        "list": (pairs.list_pairs, "ruma pairs list"),
        "add": (pairs.add, 'ruma pairs add "Do you deliver?" "Yes, in the town, for 2.50 euros."'),
        "remove": (pairs.remove, "ruma pairs remove 7"),
    },
)
_add(_USE, questions.search, 'ruma search "delivery on Sundays"')
_add(_USE, questions.ask, 'ruma ask "Do you deliver on Sundays?"')
_add(_USE, chatting.chat, "ruma chat")
_add_group(
    _USE,
    "conversations",
    "List, show, correct, export and delete what visitors asked.",
    {
        "list": (conversations.list_conversations, "ruma conversations list --state unanswered"),
        "show": (conversations.show, "ruma conversations show 12"),
        "correct": (conversations.correct, "ruma conversations correct 12 --email ana@example.com"),
        "withdraw": (conversations.withdraw, "ruma conversations withdraw 12"),
        "close": (conversations.close, "ruma conversations close 12"),
        "reopen": (conversations.reopen, "ruma conversations reopen 12"),
        "export": (conversations.export, "ruma conversations export 12 --format csv"),
        "delete": (erasing.conversation, "ruma conversations delete 12"),
    },
)
_add(_USE, conversations.usage, "ruma usage --days 30")
_add_group(
    _SET_UP,
    "tenant",
    "Make, list, show, change, delete and recover tenants.",
    {
        "create": (tenants.create, "ruma tenant create acme --owner ada@example.com"),
        "list": (tenants.list_tenants, "ruma tenant list"),
        "show": (tenants.show, "ruma tenant show acme"),
        "set": (tenants.change, 'ruma tenant set acme --business "Marrowby Bakery" --contact hello@bakery.example'),
        "delete": (tenants.delete, "ruma tenant delete acme"),
        "recover": (tenants.recover, "ruma tenant recover acme"),
    },
)
_add_group(
    _SET_UP,
    "members",
    "List, invite, change and remove who signs in for a tenant.",
    {
        "list": (members.list_members, "ruma members list"),
        "link": (members.link, "ruma members link"),
        "invite": (members.invite, "ruma members invite ada@example.com --role editor"),
        "reset": (members.reset, "ruma members reset ada@example.com"),
        "role": (members.change_role, "ruma members role ada@example.com owner"),
        "correct": (members.correct, 'ruma members correct ada@example.com --name "Ada Lovelace"'),
        "sessions": (members.sessions, "ruma members sessions ada@example.com"),
        "sign-out": (members.sign_out, "ruma members sign-out ada@example.com"),
        "disable": (members.disable, "ruma members disable ada@example.com"),
        "enable": (members.enable, "ruma members enable ada@example.com"),
        "remove": (members.remove, "ruma members remove ada@example.com"),
    },
)
_add_group(
    _SET_UP,
    "api-keys",
    "Make, list and revoke what lets programs in.",
    {
        "create": (api_keys.create, "ruma api-keys create shop --scope chat"),
        "list": (api_keys.list_keys, "ruma api-keys list"),
        "revoke": (api_keys.revoke, "ruma api-keys revoke 1"),
    },
)
_add_group(
    _SET_UP,
    "agent",
    "Show and set how a tenant's agent speaks and answers.",
    {
        "show": (agents.show, "ruma agent show"),
        "set": (agents.change, 'ruma agent set --name "Crumb" --mode quote'),
    },
)
_add_group(
    _SET_UP,
    "widget",
    "Put the agent on a website.",
    {
        "line": (widget.line, "ruma widget line --address https://agent.example.com"),
        "check": (widget.check, "ruma widget check https://www.example.com"),
    },
)
_add_group(
    _PRIVACY,
    "requests",
    "The register of requests about data: list, add and close them.",
    {
        "list": (requests.list_requests, "ruma requests list"),
        "show": (requests.show, "ruma requests show 4"),
        "add": (requests.add, "ruma requests add deletion ana@example.com"),
        "extend": (requests.extend, 'ruma requests extend 4 "It is about six years of letters."'),
        "close": (requests.close, 'ruma requests close 4 "Deleted conversation 17."'),
    },
)
_add_group(
    _SET_UP,
    "models",
    "List, add, choose and remove language models.",
    {
        "list": (model_files.list_models, "ruma models list"),
        "add": (model_files.add, "ruma models add ./qwen2.5-3b-instruct-q4_k_m.gguf"),
        "use": (model_files.use, "ruma models use qwen2.5-3b-instruct-q4_k_m"),
        "remove": (model_files.remove, "ruma models remove qwen2.5-3b-instruct-q4_k_m"),
    },
)
_add_group(
    _PRIVACY,
    "keys",
    "Show, rotate and move tenants' keys, and take them along.",
    {
        "rotate": (keys.rotate, "ruma keys rotate acme"),
        "reseal": (keys.reseal, "ruma keys reseal acme"),
        "move": (keys.move, "ruma keys move acme --to keyring"),
        "rotate-master": (keys.rotate_master, "ruma keys rotate-master"),
        "check-recovery": (keys.check_recovery, "ruma keys check-recovery acme"),
        "pack": (keys.pack, "ruma keys pack keys.ruma"),
        "unpack": (keys.unpack, "ruma keys unpack keys.ruma --to keyring"),
    },
    alone=keys.keys,
)
_add_group(
    _PRIVACY,
    "backup",
    "Make, list, check and remove encrypted backups.",
    {
        "init": (backups.init, "ruma backup init /mnt/backup"),
        "make": (backups.make, "ruma backup make /mnt/backup --keep-daily 7 --keep-weekly 4"),
        "list": (backups.list_snapshots, "ruma backup list /mnt/backup"),
        "verify": (backups.verify, "ruma backup verify /mnt/backup"),
        "prune": (backups.prune, "ruma backup prune /mnt/backup --keep-days 90"),
        "remove": (backups.remove, "ruma backup remove /mnt/backup --tenant acme"),
        "join": (backups.join, "ruma backup join /mnt/backup"),
    },
)
_add(_PRIVACY, backups.restore, "ruma restore /mnt/backup --as acme-2")
_add(_PRIVACY, exporting.export, "ruma export acme.zip")
_add(_PRIVACY, exporting.import_, "ruma import acme.zip", "import")
_add(_PRIVACY, policy.policy, "ruma policy --check")
_add(_PRIVACY, ledger.ledger, "ruma ledger")
_add_group(_PRIVACY, "erase", "Erase a document, conversation, visitor or member, and prove it.", erasing.COMMANDS)
_add(_PRIVACY, erasing.verify_erasure, "ruma verify-erasure receipt.json")
_add(_PRIVACY, retention.retention, "ruma retention --dry-run")
_add_group(
    _PRIVACY,
    "plan",
    "List plans, and give tenants one: how long data is kept.",
    {
        "list": (retention.list_plans, "ruma plan list"),
        "set": (retention.set_plan, "ruma plan set acme standard"),
    },
)
_add_group(
    _SET_UP,
    "billing",
    "Show who pays for which plan, and ask Stripe again.",
    {"refresh": (billing.refresh, "ruma billing refresh --tenant acme")},
    alone=billing.show,
)
_add_group(
    _PRIVACY,
    "hold",
    "Set, list and end legal holds: what must be kept.",
    {
        "set": (retention.set_hold, 'ruma hold set "Case 4711, asked for by the court" --conversation 12'),
        "list": (retention.list_holds, "ruma hold list"),
        "end": (retention.end_hold, "ruma hold end 1"),
    },
)
_add_group(
    _PRIVACY,
    "audit",
    "List, check and export who did what.",
    {
        "list": (audit.list_entries, "ruma audit list --thing member"),
        "verify": (audit.verify, "ruma audit verify"),
        "export": (audit.export, "ruma audit export --csv"),
    },
)
_add(_CARE, serving.serve, "ruma serve")
_add(_CARE, diagnosis.doctor, "ruma doctor")
_add(_CARE, installation.config, "ruma config")


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows less than Unicode shows question marks instead of ending the command.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(prog_name="ruma", obj=Openers(network=guard_network))
