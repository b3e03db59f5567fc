"""Exports a tenant of 1,000 documents and 10,000 conversations, and asks a server while it does so.

    python -m tests.bench.bench_exporting [documents] [conversations]

Printed are the seconds and the memory of `ruma export`, and the median and the 95th percentile of answers with and
without an export being made by the server that answers. The embedder is the quick one of the tests: what is measured
is the export beside the server's own work.
"""

import http.client
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles

from ruma.config import load_settings
from ruma.tenant.home import Home
from ruma.tenant.tenant import Tenant
from tests.filling import fill_inbox
from tests.serving import FLAGS, Running, make_tenant, store, with_key

SENTENCES = 60
_ASKED = 300


def fill(tenant: Tenant, documents: int, conversations: int) -> None:
    """Store documents of ten sections of six sentences, about two printed pages each, and conversations."""
    for number in range(documents):
        sections = [
            (
                f"Part {part}",
                part,
                [f"Rule {number}.{part}.{line} says that parcels of size {line} cost £{line}." for line in range(6)],
            )
            for part in range(SENTENCES // 6)
        ]
        store(tenant, f"rules-{number}.md", f"Rules {number}", sections)
    fill_inbox(tenant, conversations)


def export_alone(home: Path, file: Path) -> tuple[float, float]:
    """Run `ruma export`, and return its seconds and its largest memory in MB."""
    started = time.monotonic()
    command = [sys.executable, "-m", "ruma", "export", str(file), "--home", str(home)]
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000


def call(server: Running, key: dict[str, str], method: str, path: str, body: object = None) -> dict[str, object]:
    """Return what the API answers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {**key, "Content-Type": "application/json"}
    connection.request(method, f"/t/acme/api/{path}", None if body is None else json.dumps(body), headers)
    answer: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def ask_until(server: Running, key: dict[str, str], export: int | None) -> list[float]:
    """Ask one question after the other, a number of them or until an export is done, and return the milliseconds."""
    took: list[float] = []
    while len(took) < _ASKED if export is None else True:
        started = time.monotonic()
        server.ask().read()
        took.append(1000 * (time.monotonic() - started))
        is_look = export is not None and len(took) % 20 == 0
        if is_look and call(server, key, "GET", f"exports/{export}")["state"] in ("done", "failed"):
            return took
    return took


def main() -> None:
    """Print the numbers."""
    documents, conversations = (int(word) for word in (sys.argv[1:] or ["1000", "10000"]))
    with tempfile.TemporaryDirectory() as folder:
        home = Home(load_settings({"home": folder, **FLAGS}, {}))
        make_tenant(home)
        with home.open("acme") as tenant:
            fill(tenant, documents, conversations)
            key = with_key(tenant, "manage")
        file = Path(folder) / "acme.zip"
        seconds, memory = export_alone(Path(folder), file)
        size = file.stat().st_size / 1e6
        print(f"{documents} documents, {conversations} conversations: {size:.1f} MB")
        print(f"ruma export: {seconds:.1f} s, {memory:.0f} MB of memory")
        with Running(Path(folder)) as server:
            ask_until(server, key, None)
            alone = ask_until(server, key, None)
            started = time.monotonic()
            number = int(str(call(server, key, "POST", "exports", {"kind": "tenant"})["id"]))
            beside = ask_until(server, key, number)
            seconds = time.monotonic() - started
        for name, took in (("alone", alone), (f"while an export is made ({seconds:.1f} s)", beside)):
            print(f"answers {name}: median {quantiles(took, n=20)[9]:.1f} ms, p95 {quantiles(took, n=20)[18]:.1f} ms")


if __name__ == "__main__":
    main()
