"""What the server keeps open between requests: tenants, the embedder, the language models."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ruma.business.mail import Outbox
from ruma.errors import InputError, NotFoundError
from ruma.ingest.jobs import UploadWorker
from ruma.models.embedder import Embedder
from ruma.models.generator import Generator
from ruma.privacy.export_jobs import ExportWorker
from ruma.server.daily import DailyWorker
from ruma.server.forgetting import Forgetter
from ruma.tenant.erasing.receipts import Check
from ruma.tenant.home import Home
from ruma.tenant.knowledge.uploads import ADDRESSES
from ruma.tenant.names import check_name
from ruma.tenant.tenant import Tenant

NOTHING_HERE = "There is nothing at this address."
OpenEmbedder = Callable[[], Embedder]
OpenGenerator = Callable[[str], Generator | None]
"""Opens the language model of that name ("" is the operator's), or gives None where answers are quoted."""


class Resources:
    """Opens each thing once and hands it to whichever thread asks."""

    def __init__(self, home: Home, open_embedder: OpenEmbedder, open_generator: OpenGenerator) -> None:
        self.home = home
        self.outbox = Outbox(home.settings)
        """The mails that wait to be sent."""
        self._open_embedder = open_embedder
        self._open_generator = open_generator
        self._embedder: Embedder | None = None
        self._generators: dict[str, Generator | None] = {}
        self._tenants: dict[str, Tenant] = {}
        # One lock each: opening a model takes seconds, and no other tenant's page should wait for that.
        self._embedder_lock, self._generator_lock, self._tenant_lock = (threading.Lock() for _ in range(3))
        self._answering = 0
        self._answering_lock = threading.Lock()
        self._forgetter = Forgetter(self._open_tenants, self._open_generators, self.outbox)
        self.uploads = UploadWorker(home.settings, self.tenant, self.embedder, lambda: self._answering > 0)
        self.addresses = UploadWorker(
            home.settings, self.tenant, self.embedder, lambda: self._answering > 0, kinds=ADDRESSES
        )
        self.exports = ExportWorker(home.settings, self.tenant, lambda: self._answering > 0)
        self.daily = DailyWorker(home.settings, home.names, home.open, lambda: self._answering > 0)

    def read_soon(self, tenant: Tenant) -> None:
        """Have what a tenant handed over read, in the background."""
        self.uploads.notify(tenant.name)
        self.addresses.notify(tenant.name)

    def forget(self, tenant: Tenant) -> Check:
        """Forget what was erased in a tenant, and say how; caches at once, the memory of model processes soon."""
        return self._forgetter.forget(tenant)

    def start_forgetting(self) -> None:
        """Begin to forget also what other processes erase."""
        self._forgetter.start()

    def warm(self) -> None:
        """Open the embedder and use it once, so that the first visitor waits for nothing."""
        self.embedder().embed_question("When are you open?")

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Note that somebody waits for an answer: reading uploads gives way to it."""
        with self._answering_lock:
            self._answering += 1
        try:
            yield
        finally:
            with self._answering_lock:
                self._answering -= 1

    @property
    def largest_upload(self) -> int:
        """How many bytes a file may have."""
        return self.home.settings.max_file_mb * 1_000_000

    def embedder(self) -> Embedder:
        """Return the embedder."""
        with self._embedder_lock:
            if self._embedder is None:
                self._embedder = self._open_embedder()
            return self._embedder

    def generator(self, name: str) -> Generator | None:
        """Return the language model of that name; None where there is none to write with."""
        with self._generator_lock:
            if name not in self._generators:
                self._generators[name] = self._open_generator(name)
            return self._generators[name]

    def tenant(self, name: str) -> Tenant:
        """Return the open tenant of that name.

        A tenant whose directory was removed is forgotten; one that was made anew under its name is opened anew.

        Raises:
            NotFoundError: There is no such tenant, or there can be none of that name. Which others there are is
                not said.
        """
        with self._tenant_lock:
            if name in self._tenants:
                tenant = self._tenants[name]
                with suppress(NotFoundError):
                    tenant.check_present()
                    return tenant
                tenant.close()
                del self._tenants[name]
            try:
                check_name(name)
            except InputError as exc:
                raise NotFoundError(NOTHING_HERE) from exc
            try:
                tenant = self.home.open(name)
            except NotFoundError as exc:
                raise NotFoundError(NOTHING_HERE) from exc
            self._tenants[name] = tenant
            return tenant

    def _open_tenants(self) -> list[Tenant]:
        with self._tenant_lock:
            return list(self._tenants.values())

    def _open_generators(self) -> list[Generator]:
        with self._generator_lock:
            return [one for one in self._generators.values() if one is not None]

    def close(self) -> None:
        """Close everything that was opened."""
        self.daily.stop()
        self._forgetter.stop()
        self.uploads.stop()
        self.addresses.stop()
        self.exports.stop()
        self.outbox.close()
        for generator in self._generators.values():
            if generator is not None:
                generator.close()
        for tenant in list(self._tenants.values()):  # a chore under way may open one meanwhile
            tenant.close()
        self._generators.clear()
        self._tenants.clear()
