"""Stores made-up documents in a tenant and says so after each: `python -m tests.harness.storing TENANT STEP…`.

The shortest way to the write path: no parser process, no embedding. A step is `a`, the document a; `a=2`, another
text of it; or `-a`, its removal.
"""

import sys

from ruma.config import load_settings
from ruma.tenant.home import Home
from ruma.tenant.knowledge.documents import NewDocument, list_documents, remove_documents, store_document
from ruma.tenant.knowledge.sources import add_source
from tests.making import EMBEDDER, make_document


def make_step(step: str) -> NewDocument:
    """Return the document that a step stores."""
    name, _, version = step.partition("=")
    return make_document(name, *(f"The document {name}{version} says {number} of it. " for number in range(5)))


def states_after(steps: "list[str]", start: "dict[str, str] | None" = None) -> "list[dict[str, str]]":
    """Return the documents with their hashes before the first step and after each."""
    states = [dict(start or {})]
    for step in steps:
        state = dict(states[-1])
        if step.startswith("-"):
            state.pop(step[1:], None)
        else:
            document = make_step(step)
            state[document.name] = document.content_hash
        states.append(state)
    return states


def main(tenant_name: str, *steps: str) -> None:
    """Take one step after the other."""
    with Home(load_settings()).open(tenant_name) as tenant:
        source = add_source(tenant, "folder", "/made/up")
        for step in steps:
            if step.startswith("-"):
                remove_documents(tenant, [one.id for one in list_documents(tenant) if one.name == step[1:]])
            else:
                store_document(tenant, source.id, make_step(step), embedder_id=EMBEDDER.id)
            print(step, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
