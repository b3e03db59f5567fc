"""Makes the exports that wait, as a server does, and says so: `python -m tests.harness.exporting TENANT`."""

import sys
import time
from pathlib import Path

from ruma.config import load_settings
from ruma.privacy.export_jobs import ExportWorker
from ruma.tenant.copying.exports import Export, list_exports
from ruma.tenant.home import Home


def make_exports(home: Path, name: str) -> list[Export]:
    """Let a worker make what waits, or was interrupted, and return all exports as they are then."""
    settings = load_settings({"home": home}, {})
    with Home(settings).open(name) as tenant:
        worker = ExportWorker(settings, lambda _: tenant)
        worker.start([name])
        try:
            end = time.monotonic() + 30
            while {one.state for one in list_exports(tenant)} & {"waiting", "making"}:
                if time.monotonic() > end:
                    raise RuntimeError("an export is never made")
                time.sleep(0.01)
        finally:
            worker.stop()
        return list_exports(tenant)


if __name__ == "__main__":
    print(make_exports(load_settings().home, sys.argv[1])[0].state, flush=True)
