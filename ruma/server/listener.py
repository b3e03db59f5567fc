"""Puts the server on an address of this machine, says where, and takes it down again without cutting answers short."""

import errno
import fcntl
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import TracebackType

from litestar.types import ASGIApp
from uvicorn import Config, Server

from ruma import __version__
from ruma.config import Settings
from ruma.errors import InputError, StoreError
from ruma.server.app import create_app
from ruma.server.failures import describe_bug
from ruma.server.guarding import is_loopback
from ruma.server.resources import OpenEmbedder, OpenGenerator
from ruma.tenant.home import Home

LAST_ANSWERS_SECONDS = 10
"""How long running answers may go on after the server was told to stop."""

LOCK_FILE = "server.lock"


def serve(
    settings: Settings,
    home: Home,
    open_embedder: OpenEmbedder,
    open_generator: OpenGenerator,
    announce: Callable[[list[str]], object],
) -> None:
    """Answer on the address that the settings name until Ctrl-C or SIGTERM, then return.

    Args:
        settings: Where to listen.
        home: Whose tenants to serve.
        open_embedder: Opens the embedder; called before anything is announced.
        open_generator: Opens the language model of a name ("" is the operator's); called at its first use.
        announce: Given the three lines that say where the server answers, once it does.

    Raises:
        InputError: The address is not one of this machine's own, or is in use.
        StoreError: Another server uses the home, or the home cannot be written.
    """
    check_host(settings.host)
    with closing(open_socket(settings.host, settings.port)) as listening:
        url = _url(settings.host, listening.getsockname()[1])
        with only_server(settings, url):
            # Opened here, so that what is wrong with it is an error of the command and not of the server.
            embedder = open_embedder()
            server = Server(_config(create_app(home, lambda: embedder, open_generator)))
            with _stopped_by_signals(server):
                announce(_banner(url, home))
                server.run(sockets=[listening])


def check_host(host: str) -> None:
    """Raise InputError for an address that others could reach: there are no accounts yet to keep them out."""
    if not is_loopback(host):
        raise InputError(
            f"Ruma answers only on this machine's own addresses, and {host} is not one of them.",
            hint="Use --host 127.0.0.1. From another machine, tunnel to it: ssh -L 8420:127.0.0.1:8420 SERVER",
        )


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address of this machine.

    Raises:
        InputError: The port is in use, or may not be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio would not know that it may switch Nagle's delay off: 40 ms for every response.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as exc:
        listening.close()
        reason = {
            errno.EADDRINUSE: "is in use by another program",
            errno.EACCES: "may be used only by the system's superuser",
        }.get(exc.errno or 0, f"cannot be used: {exc.strerror}")
        hint = f"Choose another one: ruma serve --port {port + 1 if 1024 <= port < 65535 else 8420}"
        raise InputError(f"The port {port} on {host} {reason}.", hint=hint) from exc
    return listening


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
        file.truncate()
        file.write(f"{url}, process {os.getpid()}\n")
        file.flush()
        yield
        file.truncate(0)


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


def _config(app: ASGIApp) -> Config:
    handler = logging.StreamHandler()
    handler.setFormatter(_Wordless("%(asctime)s %(levelname)s %(message)s"))
    for name in ("ruma", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
    return Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_ANSWERS_SECONDS,
    )


def _banner(url: str, home: Home) -> list[str]:
    names = home.names()
    page = f"{url}/t/{names[0]}/" if len(names) == 1 else f"{url}/t/NAME/"
    return [
        f"Ruma {__version__} answers at {page}",
        f"The API is described at {url}/openapi.json",
        "Only this machine can reach it. Ctrl-C stops it.",
    ]


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
