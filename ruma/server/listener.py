"""Puts the server on an address of this machine, says where, and takes it down again without cutting answers short."""

import fcntl
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from uvicorn import Server

from ruma import __version__
from ruma.config import Settings
from ruma.errors import RumaError, StoreError
from ruma.privacy.policy import write_policy
from ruma.server.addresses import PublicAddress, is_loopback, public_address
from ruma.server.app import create_app
from ruma.server.deadlines import Deadlines, GuardedServer, configure
from ruma.server.failures import describe_bug
from ruma.server.gate import Gate
from ruma.server.listening import LOCK_FILE, open_listening
from ruma.server.request_log import LineWriter, RequestLog
from ruma.server.resources import OpenEmbedder, OpenGenerator
from ruma.server.tls import open_tls
from ruma.tenant.database import check_cipher
from ruma.tenant.home import Home
from ruma.tenant.people.joining import make_setup_link
from ruma.tenant.people.members import has_owner

LAST_ANSWERS_SECONDS = 10
"""How long running answers may go on after the server was told to stop."""

MOST_CONNECTIONS = 1000
"""How many connections are served at once, where the system lets a process hold twice as many files open."""

PER_ADDRESS = 40
"""How many of them one address may have: some browsers behind one router, and no flood."""

MOST_FILES = 8192

MOST_SETUP_LINKS = 3
"""For so many tenants without an owner a link is printed."""

SWITCH_SECONDS = 0.001
"""How long one thread may keep the others waiting: with Python's own 5 ms, each answer to a lone question waits a fifth
longer for the threads that serve it, and a busy server answers less."""


def serve(
    settings: Settings,
    home: Home,
    open_embedder: OpenEmbedder,
    open_generator: OpenGenerator,
    announce: Callable[[list[str]], object],
    *,
    shows_links: bool = True,
    listening: socket.socket | None = None,
) -> None:
    """Answer on the address that the settings name until Ctrl-C or SIGTERM, then return.

    Args:
        settings: Where to listen, and how it is reached.
        home: Whose tenants to serve.
        open_embedder: Opens the embedder; called before anything is announced.
        open_generator: Opens the language model of a name ("" is the operator's); called at its first use.
        announce: Given the three lines that say where the server answers, once it does; and a moment later, from
            another thread, how tenants without an owner get one.
        shows_links: Whether that is said with a link that makes one: to a person, and not into a journal that keeps it.
        listening: The socket to answer on, of `open_listening`, where it had to be opened before.

    Raises:
        InputError: The address would be reached by others without TLS, is not one of this machine's own, or is in
            use; or the certificate cannot be used.
        StoreError: Another server uses the home, or the home cannot be written.
        NotEncryptedError: The SQLite library in use has no cipher.
    """
    check_cipher()
    sys.setswitchinterval(SWITCH_SECONDS)
    wake_in_turn()
    tls = open_tls(Path(settings.tls_cert), Path(settings.tls_key)) if settings.tls_cert else None
    with closing(listening or open_listening(settings)) as listening:
        settings = replace(settings, port=listening.getsockname()[1])
        public = public_address(settings, settings.port)
        with only_server(settings, public.origin), closing(LineWriter()) as lines:
            # Opened here, so that what is wrong with it is an error of the command and not of the server.
            embedder = open_embedder()
            app = create_app(home, lambda: embedder, open_generator, public=public)
            prepare_log()
            server = GuardedServer(
                configure(
                    RequestLog(app, public, lines.write),
                    deadlines=Deadlines(),
                    gate=open_gate(settings, public),
                    tls=tls,
                    last_seconds=LAST_ANSWERS_SECONDS,
                )
            )
            with _stopped_by_signals(server):
                announce(_banner(settings, public, home))
                # Opening many tenants takes long, and nobody should wait for it.
                threading.Thread(
                    target=invite_owners,
                    args=(home, public, announce),
                    kwargs={"shows_links": shows_links},
                    name="set-up links",
                    daemon=True,
                ).start()
                server.run(sockets=[listening])


def wake_in_turn() -> None:
    """Let a thread that wakes wait for its turn on a processor, where the system has that.

    Else it pushes aside the thread that woke it, which holds the interpreter's lock that it wants: with two hundred
    questions at once that took a tenth of the processor.
    """
    if hasattr(os, "SCHED_BATCH"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def invite_owners(
    home: Home, public: PublicAddress, announce: Callable[[list[str]], object], *, shows_links: bool = True
) -> None:
    """Announce for each tenant that nobody can manage a set-up link, or how to get one; for many, how many they are."""
    ownerless = []
    for name in home.names():
        with suppress(RumaError), home.open(name) as tenant:
            # The settings may have changed since the last start, and with them what the privacy policy says.
            write_policy(tenant, home.settings)
            if not has_owner(tenant):
                ownerless.append(name)
    if len(ownerless) > MOST_SETUP_LINKS:
        announce([f"{len(ownerless)} tenants have no owner yet. A link for one: ruma members link --tenant NAME"])
        return
    lines = []
    for name in ownerless:
        if not shows_links:
            lines.append(f"{name} has no owner yet. A link that makes one: ruma members link --tenant {name}")
            continue
        with suppress(RumaError), home.open(name) as tenant:
            link = public.link(name, "setup", make_setup_link(tenant))
            lines += [f"{name} has no owner yet. Set it up within 24 hours:", link]
    if lines:
        announce(lines)


def open_gate(settings: Settings, public: PublicAddress) -> Gate:
    """Return what counts the connections, within what the system lets a process open.

    Where only this machine listens to itself, an address is everyone, and has no share of its own.
    """
    most_files = raise_file_limit()
    is_alone = is_loopback(settings.host)
    return Gate(
        most=min(MOST_CONNECTIONS, most_files // 2),
        per_address=None if is_alone else PER_ADDRESS,
        public=public,
        only_proxies=not (is_alone or settings.tls_cert),
    )


def raise_file_limit() -> int:
    """Let this process hold as many files open as it may, up to MOST_FILES, and return how many that is.

    Most systems begin with 1024 for the sake of very old programs; a hundred tenants and their visitors need more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft


@contextmanager
def only_server(settings: Settings, url: str) -> Iterator[None]:
    """Hold the home for one server; the lock goes with the process, however that ends.

    Raises:
        StoreError: Another server holds it, or the home cannot be written.
    """
    path = settings.home / LOCK_FILE
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StoreError(f"{path} cannot be written: {exc.strerror}.") from exc
    with os.fdopen(handle, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            other = file.read(200).strip() or "its address is not known"
            raise StoreError(
                f"Another server uses the home {settings.home} already ({other}).",
                hint="Use that one, stop it, or give this one another home with --home FOLDER.",
            ) from exc
        os.ftruncate(handle, 0)
        with suppress(OSError):  # on a full disk it serves all the same, and commands beside it are not told where
            os.write(handle, f"{url}, process {os.getpid()}\n".encode())
        yield
        os.ftruncate(handle, 0)


@contextmanager
def _stopped_by_signals(server: Server) -> Iterator[None]:
    # uvicorn listens to signals too, but only while it runs, and when it is done it raises the one that stopped it
    # once more: that would make a failure of what is none. Here both find a handler that asks it to stop.
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, server.handle_exit) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


class _Wordless(logging.Formatter):
    """Formats what went wrong without the exception's message: that could hold words of a conversation."""

    def formatException(
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        """Return the types and the places of an exception."""
        return describe_bug(ei[1]) if ei[1] else ""


def prepare_log() -> None:
    """Have the log of this program, and what its server cannot keep to itself, written to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Wordless("%(asctime)s %(levelname)s %(message)s"))
    # What uvicorn warns of is what clients send, and there is no end to that.
    for name, level in (("ruma", logging.WARNING), ("uvicorn", logging.ERROR), ("asyncio", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def _banner(settings: Settings, public: PublicAddress, home: Home) -> list[str]:
    names = home.names()
    page = f"{public.origin}/t/{names[0]}/" if len(names) == 1 else f"{public.origin}/t/NAME/"
    where = f"It listens on {settings.host}, port {settings.port}"
    if public.trusted_proxies:
        reach = f"{where}, where its proxy reaches it."
    elif is_loopback(settings.host):
        reach = f"{where}, which only this machine can reach."
    else:
        reach = f"{where}."
    return [
        f"Ruma {__version__} answers at {page}",
        f"The API is described at {page}api/openapi.json",
        f"{reach} Ctrl-C stops it.",
    ]
