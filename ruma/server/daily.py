"""What a running server does by itself: it keeps every tenant's plan, at its start and once a day."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from ruma.config import Settings
from ruma.errors import NotFoundError, RumaError
from ruma.privacy.retention import enforce, is_due
from ruma.tenant.background import Background, Stopped
from ruma.tenant.tenant import Tenant

START_SECONDS = 5.0
"""How long after its start the server begins: first it answers."""

LOOK_SECONDS = 3600.0
"""How often it looks which tenants' day is over, and notes how time goes on, should the machine lose it."""

LONGEST_PAUSE = 2.0
"""How many seconds each tenant's turn, and each write of a removal, waits for answers that are under way."""

_LOG = logging.getLogger("ruma.retention")


class DailyWorker:
    """A thread that enforces plans. What one tenant's data does to it keeps no other tenant's from being removed."""

    def __init__(
        self,
        settings: Settings,
        names: Callable[[], Iterable[str]],
        open_tenant: Callable[[str], Tenant],
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take the ways to the tenants, and the question whether somebody waits for an answer."""
        self._settings, self._names, self._open_tenant = settings, names, open_tenant
        self._thread = Background("ruma-retention", self._run, is_busy)

    def start(self) -> None:
        """Begin, with every tenant."""
        self._thread.start()

    def stop(self) -> None:
        """End; what was not removed yet is removed next time."""
        self._thread.stop()

    def _run(self) -> None:
        is_start = True
        self._thread.sleep(START_SECONDS)
        while not self._thread.is_stopping:
            with suppress(RumaError):  # a home that cannot be read at present
                for name in self._names():
                    if self._thread.is_stopping:
                        return
                    self._look_after(name, is_start=is_start)
            is_start = False
            self._thread.sleep(LOOK_SECONDS)

    def _look_after(self, name: str, *, is_start: bool) -> None:
        try:
            self._thread.give_way(LONGEST_PAUSE)
            # Opened for this alone: among a thousand tenants most are asleep.
            with self._open_tenant(name) as tenant:
                if is_due(tenant) or is_start:
                    done = enforce(tenant, self._settings, give_way=lambda: self._thread.give_way(LONGEST_PAUSE))
                    _report(name, done.belief.doubt, is_plan_known=done.is_plan_known)
        except Stopped:
            return
        except NotFoundError:
            return  # the tenant is gone, and everything with it
        except Exception as exc:  # nobody else can be told; it is tried again within the hour
            _LOG.error("The plan of %s could not be kept: %s", name, type(exc).__name__)


def _report(name: str, doubt: str, *, is_plan_known: bool) -> None:
    if doubt:
        _LOG.warning(
            "The clock is further %s than it can be: of %s nothing goes by it. See: ruma retention", doubt, name
        )
    if not is_plan_known:
        _LOG.warning("The plan of %s is not in ruma.toml any more; it is kept as it was. See: ruma plan list", name)
