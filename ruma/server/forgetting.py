"""Makes the running server forget what was erased: caches, mails that wait, and the memory of the model processes.

Also what another process erased, a command for example: the server looks every few seconds.

No object of the server holds anything of it then. What the objects of before have left in freed memory is overwritten
when that is used again; whole pages of it go back to the system at once, which empties them.
"""

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

from ruma.business.mail import Outbox
from ruma.chat.words import forget_words, stem
from ruma.errors import NotFoundError, StoreError
from ruma.models.generator import Generator
from ruma.tenant.erasing.erasures import last_erasure
from ruma.tenant.erasing.receipts import Check
from ruma.tenant.tenant import Tenant

LOOK_SECONDS = 2.0
PAUSE_SECONDS = 20.0
"""A model process is ended for an erasure at most so often: a visitor who erases again and again delays nobody more."""

_ENDED = "The process of the language model was ended, and its memory given back: nothing of it is remembered."
_ENDS = (
    f"The process of the language model ends within {PAUSE_SECONDS:.0f} seconds, or when the answers under way are "
    "written; nothing of it is remembered then."
)
_NONE = "No language model was running, so none remembers anything of it."


class Forgetter:
    """Ends model processes after erasures, and empties the caches of tenants."""

    def __init__(
        self, tenants: Callable[[], Sequence[Tenant]], generators: Callable[[], Sequence[Generator]], outbox: Outbox
    ) -> None:
        """Take the ways to what is open, and the mails that wait."""
        self._tenants, self._generators, self._outbox = tenants, generators, outbox
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()
        self._is_due = False
        self._ended_at = -PAUSE_SECONDS
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look for what other processes erase."""
        self._thread = threading.Thread(target=self._run, name="ruma-forgetting", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    def forget(self, tenant: Tenant) -> Check:
        """Forget what was erased in a tenant, now or, for a model process that is at work, soon; say which."""
        with suppress(NotFoundError, StoreError):
            self._seen[tenant.id] = last_erasure(tenant)
        running = [one for one in self._generators() if one.is_running]
        self._empty_caches(tenant)
        self._clear_memory()
        if not running:
            return Check("memory", 0, 0, _NONE)
        is_ended = not self._is_due and not any(one.is_running for one in running)
        return Check("memory", len(running), 0, _ENDED if is_ended else _ENDS)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            for tenant in self._tenants():
                with suppress(NotFoundError, StoreError):
                    last = last_erasure(tenant)
                    if self._seen.setdefault(tenant.id, last) != last:
                        self._seen[tenant.id] = last
                        self._empty_caches(tenant)
            self._clear_memory()

    def _empty_caches(self, tenant: Tenant) -> None:
        self._is_due = True
        tenant.forget()
        forget_words()
        for one in _request_caches():
            one.cache_clear()
        with suppress(NotFoundError, StoreError):
            self._outbox.forget(tenant)

    def _clear_memory(self) -> None:
        """End the model processes and give freed memory back, where that is due and was not done just before."""
        with self._lock:
            if not self._is_due or time.monotonic() - self._ended_at < PAUSE_SECONDS:
                return
            self._is_due, self._ended_at = False, time.monotonic()
            for generator in self._generators():
                generator.forget()
            gc.collect()  # what failed is held in circles, with all that it worked on
            with suppress(AttributeError):  # this C library has no such call
                ctypes.CDLL(None).malloc_trim(0)


def _request_caches() -> list[Any]:
    """Return the caches of the libraries that read requests: addresses, with what was searched for, and cookies."""
    # Looked for and not named: most of them are nothing that these libraries promise to have. Each time, since some of
    # their modules are loaded late. And not among all objects of the process: to hold one that another thread is just
    # giving back, for a moment only, corrupts its memory.
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(("litestar.", "urllib."))]
    holders = [holder for module in modules for holder in (module, *_classes_of(module))]
    held = [getattr(one, "__func__", one) for holder in holders for one in list(vars(holder).values())]
    return [*{id(one): one for one in held if type(one) is type(stem)}.values()]


def _classes_of(module: ModuleType) -> list[type]:
    return [one for one in list(vars(module).values()) if isinstance(one, type)]
