"""Hands made-up files over and reads them, and says so after each: `python -m tests.harness.uploading TENANT STEP…`.

A step is `a`, the file a is handed over; `+`, the next one is read; or `-`, the oldest one that waits is discarded.
"""

import sys

from ruma.config import load_settings
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import store_document
from ruma.tenant.knowledge.sources import add_source
from ruma.tenant.knowledge.uploads import discard_upload, list_uploads, receive_upload, take_upload
from ruma.tenant.tenant import Tenant
from tests.making import EMBEDDER, make_document


def content_of(name: str) -> bytes:
    """Return what the file of that name holds."""
    return f"The file {name} says so. ".encode() * 300


def read_next(tenant: Tenant) -> None:
    """Store the next upload as a document, and note that it was read."""
    taken = take_upload(tenant)
    if taken is None:
        raise RuntimeError("nothing waits")
    with taken:
        name, text = taken.upload.name, taken.read().decode()
        pieces = [text[at : at + 500] for at in range(0, len(text), 500)]
        source = add_source(tenant, "upload", name)
        store_document(tenant, source.id, make_document(name, *pieces), embedder_id=EMBEDDER.id)
        taken.finish()


def main(tenant_name: str, *steps: str) -> None:
    """Take one step after the other."""
    with Home(load_settings()).open(tenant_name) as tenant:
        for step in steps:
            if step == "+":
                read_next(tenant)
            elif step == "-":
                discard_upload(tenant, list_uploads(tenant)[-1].id)
            else:
                blocks = [content_of(step)]
                receive_upload(tenant, step, blocks, kind="upload", added_by="", most_bytes=1_000_000)
            print(step, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
