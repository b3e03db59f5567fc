"""Reads uploads into the index while a server runs: one at a time, of all tenants in turn, behind the chats.

Nothing is asked for again and again: who keeps an upload says so, and what was left from before is found once, at
the start.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from ruma.config import Settings
from ruma.errors import DamagedError, InputError, NotFoundError, RumaError, StoreError
from ruma.ingest.reading import Reader
from ruma.ingest.uploads import ingest_address, ingest_upload
from ruma.models.vectors import Embedder
from ruma.tenant.background import Background, Stopped, WaitingTenants
from ruma.tenant.knowledge.uploads import (
    ADDRESSES,
    FILES,
    Kind,
    Taken,
    count_uploads,
    has_waiting_files,
    sweep_uploads,
    take_upload,
)
from ruma.tenant.tenant import Tenant

LONGEST_PAUSE = 2.0
"""How many seconds one step waits for chats that are running: ingest is slow beside them, and never stands still."""

IDLE_SECONDS = 60.0
"""How long the parser process waits for another upload; starting one takes longer than reading most documents."""

_AGAIN_SECONDS = 0.2
_LOG = logging.getLogger("ruma.jobs")


class Unwanted(Exception):
    """What is being read was discarded meanwhile."""


class UploadWorker:
    """A thread that reads what was handed over. It survives whatever an upload does, and a tenant that goes away."""

    def __init__(
        self,
        settings: Settings,
        open_tenant: Callable[[str], Tenant],
        embedder: Callable[[], Embedder],
        is_busy: Callable[[], bool] = lambda: False,
        *,
        kinds: Sequence[Kind] = FILES,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """Take the ways to a tenant and to the embedder, and the question whether somebody waits for an answer.

        Args:
            settings: The settings in force.
            open_tenant: Opens a tenant by its name.
            embedder: Opens the embedder.
            is_busy: Whether somebody waits for an answer.
            kinds: What this worker reads. Websites take minutes, and nobody's file should wait for one.
            idle_seconds: How long the parser process waits for another upload.
        """
        self._kinds = kinds
        self._settings = settings
        self._open_tenant, self._embedder = open_tenant, embedder
        self._waiting = WaitingTenants()
        self._thread = Background("ruma-uploads", self._run, is_busy)
        self._reader: Reader | None = None
        self._idle_seconds = idle_seconds

    def start(self, names: Iterable[str] = ()) -> None:
        """Begin, with what waits in the directories of these tenants from before."""
        folder = self._settings.tenants_folder
        for name in names:
            if has_waiting_files(folder / name):
                self.notify(name)
        self._thread.start()

    def notify(self, name: str) -> None:
        """Say that a tenant has an upload that waits."""
        self._waiting.add(name)

    def stop(self) -> None:
        """End, within about a second; the upload in hand is read from its start next time."""
        self._waiting.close()
        self._thread.stop()

    def _run(self) -> None:
        try:
            self._read_all()
        finally:
            self._close_reader()

    def _read_all(self) -> None:
        while not self._waiting.is_closed:
            name = self._waiting.take(self._idle_seconds if self._reader else None)
            if name is None:
                self._close_reader()
                continue
            try:
                if self._read_one(name):
                    self.notify(name)  # behind the others: one tenant with many files keeps nobody waiting
            except Stopped:
                return
            except NotFoundError:
                continue  # the tenant is gone, and its uploads with it
            except Exception as exc:  # nobody else can be told; the next upload of the tenant wakes us again
                _LOG.error("The uploads of %s wait: %s", name, type(exc).__name__)

    def _read_one(self, name: str) -> bool:
        """Read the tenant's next upload; tell whether to come again for another one."""
        tenant = self._open_tenant(name)
        taken = take_upload(tenant, self._kinds)
        if taken is None:
            # One that is being sealed anew cannot be taken at this moment, and can in the next.
            is_left = any(count_uploads(tenant, self._kinds)[state] for state in ("waiting", "reading"))
            if is_left:
                self._thread.sleep(_AGAIN_SECONDS)
            return is_left
        with taken:
            try:
                self._ingest(taken, tenant)
            except Stopped:
                taken.put_back()
                raise
            except Unwanted:
                pass
        if taken.upload.kind in ADDRESSES:
            sweep_uploads(tenant)  # where it was discarded, its bytes were held until now
        return True

    def _ingest(self, taken: Taken, tenant: Tenant) -> None:
        try:
            self._read(taken, tenant)
        except (Stopped, Unwanted):
            raise
        except NotFoundError:
            tenant.check_present()
            taken.put_back()  # its source was removed while it was read: it makes one of its own next
        except DamagedError:
            taken.fail("was damaged before it could be read; add it again.")
        except StoreError as exc:
            # Where on the machine it happened is for the operator alone.
            _LOG.error("An upload of %s could not be stored: %s", tenant.name, exc)
            taken.fail("could not be stored: the disk of this machine is full, or cannot be used at present.")
        except RumaError as exc:
            taken.fail(f"could not be read: {exc} {exc.hint}".strip())
        except Exception as exc:
            _LOG.error("An upload of %s could not be read: %s", tenant.name, type(exc).__name__)
            taken.fail("could not be read: something went wrong in Ruma itself.")

    def _read(self, taken: Taken, tenant: Tenant) -> None:
        """Read an upload, and note what became of it."""
        reader = self._open_reader()
        embedder = self._embedder()
        is_address = taken.upload.kind in ADDRESSES

        def give_way() -> None:
            self._thread.give_way(LONGEST_PAUSE)
            if is_address and not taken.is_wanted():
                raise Unwanted

        if is_address:
            try:
                remark = ingest_address(taken, tenant, embedder, self._settings, give_way=give_way, reader=reader)
            except InputError as exc:
                taken.fail(str(exc))
            else:
                taken.finish(remark)
            return
        outcome = ingest_upload(taken, tenant, embedder, self._settings, give_way=give_way, reader=reader)
        if outcome.status == "failed":
            taken.fail(outcome.reason)
        else:
            taken.finish()

    def _open_reader(self) -> Reader:
        """Return the reader of the upload before; its process ends with this thread, which therefore starts it."""
        if self._reader is None or self._reader.is_closed:
            self._reader = Reader()
        return self._reader

    def _close_reader(self) -> None:
        if self._reader:
            self._reader.close()
            self._reader = None
