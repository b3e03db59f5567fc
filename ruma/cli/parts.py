"""The one place that wires a command's parts: settings, home, tenant, embedder, generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer

from ruma.cli.output import note, show_box, showing_steps
from ruma.config import Settings, load_settings
from ruma.connections import HomeLedger, note_refused
from ruma.errors import InputError, NotFoundError, NotReadyError
from ruma.offline import close_network, is_here, watch_process

if TYPE_CHECKING:
    from ruma.models.embedder import Embedder
    from ruma.models.generator import Generator
    from ruma.tenant.home import Created, Home
    from ruma.tenant.tenant import Tenant

OFFLINE = "ruma.offline"
"""Where `ruma --offline` is noted for the command that follows."""

FIRST_TENANT = "main"
"""The name of the tenant that the first ingest makes where none was named."""

_RECOVERY = """It opens the tenant's documents again if its key is ever lost: ruma tenant recover {name}
Print it or keep it in a password manager, away from this machine.
It is shown this once and stored nowhere.
With it and a copy of the directory, anyone can read everything."""


def open_embedder(settings: Settings) -> Embedder:
    """Return the embedder, compiled first where it is not: once a machine, shown step by step."""
    from ruma.models import embedder

    if not embedder.is_compiled(settings):
        with showing_steps("Preparing the embedding model:") as show:
            for step in embedder.compile_embedder(settings):
                show(step)
    return embedder.open_embedder(settings)


def open_generator(settings: Settings, name: str) -> Generator:
    """Return the language model of that name; its process starts with the first question."""
    from ruma.models import generator

    return generator.open_generator(settings, name)


def leave_open(_: Settings, *, closes: bool) -> None:
    """Keep the network as it is: for a caller whose process is not ours alone."""


def guard_network(settings: Settings, *, closes: bool) -> None:
    """Have this process reach others through the one door alone, and offline nobody at all.

    Args:
        settings: Whether it is offline.
        closes: Whether the kernel takes the network away now, where it is; a server first takes its port.
    """
    ledger = HomeLedger(settings.home)
    watch_process(offline=settings.offline, report=lambda host, port: note_refused(ledger, host, port))
    if settings.offline and closes:
        close_network(ports_here(settings))


def ports_here(settings: Settings) -> Sequence[int]:
    """Return the ports of this machine that are reached even offline: its own mail server's."""
    return [settings.smtp_port] if settings.smtp_host and is_here(settings.smtp_host) else []


@dataclass(frozen=True)
class Openers:
    """How the models are opened and the network is closed: what a caller of the app may replace, as its `obj`."""

    embedder: Callable[[Settings], Embedder] = open_embedder
    generator: Callable[[Settings, str], Generator] = open_generator
    network: Callable[..., None] = leave_open
    """Called with the settings before anything is opened; the program's own is `guard_network`."""


class Parts:
    """The parts of one command, opened when they are first asked for and closed together."""

    def __init__(self, ctx: typer.Context, *, closes_network: bool = True, **flags: Any) -> None:
        """Read the settings; *flags* are the command's own, those that are None count as not given.

        Offline, the network is closed here and now, unless *closes_network* leaves that to `close_network`.
        """
        if ctx.meta.get(OFFLINE):
            flags["offline"] = True
        self.settings = load_settings(flags)
        self._openers = ctx.find_object(Openers) or Openers()
        self._openers.network(self.settings, closes=closes_network)
        self._stack = ExitStack()

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def close_network(self) -> None:
        """Close the network now, where the settings say `offline`: what is open stays open."""
        self._openers.network(self.settings, closes=True)

    @cached_property
    def home(self) -> Home:
        """The home. From here on this process may hold keys, so its memory is kept to itself."""
        from ruma.cli.unfinished import remove_unfinished
        from ruma.tenant.home import Home
        from ruma.tenant.keys.keys import harden_process

        harden_process()
        remove_unfinished(self.settings.home)
        return Home(self.settings)

    @cached_property
    def embedder(self) -> Embedder:
        """The embedder."""
        return self._openers.embedder(self.settings)

    def tenant(self, name: str | None) -> Tenant:
        """Open the tenant of that name, or the only one.

        Raises:
            NotReadyError: There is no tenant yet.
            InputError: There are several, and none was named.
        """
        return self._stack.enter_context(self.home.open(name or self.only_tenant()))

    def only_tenant(self) -> str:
        """Return the name of the only tenant there is."""
        names = self.home.names()
        if not names:
            raise NotReadyError("There is no tenant yet.", hint="The first `ruma ingest FOLDER` makes one.")
        if len(names) > 1:
            raise InputError(
                f"There are several tenants: {', '.join(names)}.",
                hint="Say which one: with --tenant NAME, or the NAME alone after `ruma tenant`; or set RUMA_TENANT.",
            )
        return names[0]

    def tenant_or_first(self, name: str | None) -> Tenant:
        """Open a tenant as `tenant` does; where there is none at all, make it first.

        Only the very first is made unasked: later, a name that is not there is a slip of the pen.
        """
        if not self.home.names():
            show_created(self.home.create(name or FIRST_TENANT), self.settings)
        return self.tenant(name)

    def generator_of(self, tenant: Tenant, mode: str | None = None) -> Generator | None:
        """Return the language model of the tenant's agent; None where it is not needed, or there is none at all.

        In mode `auto` a model that is not there any more is said to be gone, and the answer is quoted.

        Raises:
            NotFoundError: The agent is to write with a model that is not there.
        """
        from ruma.tenant.agents import read_agent

        agent = read_agent(tenant)
        mode = mode or agent.mode
        if mode == "quote":
            return None
        try:
            generator = self.open_generator(agent.model)
        except NotFoundError as exc:
            if mode != "auto":
                raise
            note(f"{exc} So the answer is quoted. {exc.hint}")
            return None
        if generator is not None:
            self._stack.callback(generator.close)
        return generator

    def open_generator(self, name: str) -> Generator | None:
        """Return the language model of that name, "" being the operator's; None where there is none.

        Raises:
            NotFoundError: There is no model of that name.
        """
        from ruma.models.catalogue import default_model

        if not name:
            model = default_model(self.settings)
            if model is None:
                return None
            name = model.name
        return self._openers.generator(self.settings, name)


def show_created(created: Created, settings: Settings) -> None:
    """Say where a new tenant's key is kept, and show its recovery key, this once."""
    note(f"Made the tenant {created.name}. {describe_key_store(created.key_store, settings)}")
    show_box(
        f"Recovery key of {created.name}",
        [created.recovery_key, "", *_RECOVERY.format(name=created.name).splitlines()],
    )


def describe_key_store(label: str, settings: Settings) -> str:
    """Say in one plain line where a tenant's key is kept."""
    if label == "sealed files (machine)" and settings.key_source == "auto":
        return (
            f"This machine has no keyring, so its key is kept in a sealed file in {settings.keys_folder}: "
            "keep that folder out of backups of the tenants."
        )
    return f"Its key is kept in: {label}."
