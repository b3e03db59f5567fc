"""Makes the exports that were asked for while a server runs: one at a time, behind the chats, and removes old ones."""

import logging
import time
from collections.abc import Callable, Iterable

from ruma.config import Settings
from ruma.errors import NotFoundError, RumaError, StoreError
from ruma.privacy.exporting import write_export
from ruma.privacy.retention import remove_old_exports
from ruma.tenant.background import Background, Stopped, WaitingTenants
from ruma.tenant.copying.exports import Making, may_have_exports, sweep_exports, take_export
from ruma.tenant.tenant import Tenant

WORK_SECONDS, LONGEST_PAUSE = 0.01, 0.04
"""While somebody waits for an answer, so much is done between two pauses of so long at most: an export is slower
beside chats, and never stands still."""

_SWEEP_SECONDS = 3600
_LOG = logging.getLogger("ruma.jobs")


class ExportWorker:
    """A thread that makes exports. It survives whatever one does, and a tenant that goes away."""

    def __init__(
        self, settings: Settings, open_tenant: Callable[[str], Tenant], is_busy: Callable[[], bool] = lambda: False
    ) -> None:
        """Take the way to a tenant, and the question whether somebody waits for an answer."""
        self._settings, self._open_tenant = settings, open_tenant
        self._known: set[str] = set()
        self._waiting = WaitingTenants()
        self._thread = Background("ruma-exports", self._run, is_busy)

    def start(self, names: Iterable[str] = ()) -> None:
        """Begin, with the exports in the directories of these tenants from before."""
        folder = self._settings.tenants_folder
        for name in names:
            if may_have_exports(folder / name):
                self.notify(name)
        self._thread.start()

    def notify(self, name: str) -> None:
        """Say that a tenant has an export that waits."""
        self._known.add(name)
        self._waiting.add(name)

    def stop(self) -> None:
        """End, within about a second; the export in hand is made from its start next time."""
        self._waiting.close()
        self._thread.stop()

    def _run(self) -> None:
        while not self._waiting.is_closed:
            name = self._waiting.take(_SWEEP_SECONDS)
            if name is None:
                for known in tuple(self._known):
                    self._waiting.add(known)
                continue
            try:
                if self._look_after(name):
                    self._waiting.add(name)  # behind the others
            except Stopped:
                return
            except NotFoundError:
                self._known.discard(name)  # the tenant is gone, and its exports with it
            except Exception as exc:  # nobody else can be told; the next export of the tenant wakes us again
                _LOG.error("The exports of %s wait: %s", name, type(exc).__name__)

    def _look_after(self, name: str) -> bool:
        """Remove what is too old and make the tenant's next export; tell whether there was one."""
        tenant = self._open_tenant(name)
        remove_old_exports(tenant, self._settings)
        sweep_exports(tenant)
        making = take_export(tenant)
        if making is None:
            return False
        with making:
            try:
                self._make(making, tenant)
            except Stopped:
                making.put_back()
                raise
        return True

    def _make(self, making: Making, tenant: Tenant) -> None:
        try:
            write_export(tenant, making.export.scope, making, step=self._stepper(tenant))
            making.finish()
        except Stopped:
            raise
        except NotFoundError as exc:
            tenant.check_present()
            making.fail(str(exc))
        except StoreError as exc:
            # Where on the machine it happened is for the operator alone.
            _LOG.error("An export of %s could not be made: %s", tenant.name, exc)
            making.fail("The disk of this machine is full, or cannot be used at present.")
        except RumaError as exc:
            making.fail(str(exc))
        except Exception as exc:
            _LOG.error("An export of %s could not be made: %s", tenant.name, type(exc).__name__)
            making.fail("Something went wrong in Ruma itself.")

    def _stepper(self, tenant: Tenant) -> Callable[[], None]:
        """Return what is called between two pieces of work: it lets those who wait for an answer go first."""
        paused = time.monotonic()

        def step() -> None:
            nonlocal paused
            if self._thread.is_stopping:
                raise Stopped
            if time.monotonic() - paused < WORK_SECONDS:
                return
            tenant.check_present()
            self._thread.give_way(LONGEST_PAUSE)
            paused = time.monotonic()

        return step
