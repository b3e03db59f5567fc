"""The memory of the language model's process: what is erased is in none that is left, and was in the one before."""

import os
import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from litestar.testing import TestClient

from ruma.config import load_settings
from ruma.models.generator import LocalGenerator
from ruma.models.language_models import BUILT_IN, find_model, list_models
from ruma.server.app import create_app
from ruma.server.forgetting import _ENDED, _NONE
from ruma.tenant.home import Home
from tests.harness.residue import make_canaries
from tests.serving import EMBEDDER, FLAGS, QUESTION, make_tenant, sign_in, store

pytestmark = pytest.mark.skipif(
    not any(model.name == BUILT_IN for model in list_models(load_settings(environ={}))),
    reason="the extra [demo] with the built-in language model is not installed",
)
_REGION = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw")


def memory_of(process: int) -> bytes:
    """Return all that a process has written into its memory; root may read it, though the process forbids others to."""
    found = []
    try:
        with open(f"/proc/{process}/mem", "rb", buffering=0) as memory:
            for line in Path(f"/proc/{process}/maps").read_text().splitlines():
                if region := _REGION.match(line):
                    begin, end = (int(place, 16) for place in region.groups())
                    found.append(os.pread(memory.fileno(), end - begin, begin))
    except PermissionError:
        if "RUMA_NIGHTLY" in os.environ:
            raise
        pytest.skip("this user may not read the memory of a process that forbids it")
    return b"".join(found)


def token_ids(file: Path, text: str) -> bytes:
    """Return a text as the model's process holds it besides its letters: its tokens' numbers, 32 bits each."""
    from llama_cpp import Llama

    with closing(Llama(str(file), vocab_only=True, verbose=False)) as vocabulary:
        return np.array(vocabulary.tokenize(text.encode(), add_bos=False), np.int32).tobytes()


def test_c25_no_model_process_remembers_what_was_erased(tmp_path: Path) -> None:
    """A document's words are in the process that wrote from them, as letters and as tokens; it ends when they go."""
    mark = make_canaries(1)[0]
    home = Home(load_settings({"home": tmp_path / "home", **FLAGS}, {}))
    make_tenant(home)
    with home.open("acme") as tenant:
        section = ("Prices", None, [f"Delivery to Quillby costs {mark} pounds."])
        document = store(tenant, "quillby.md", "Quillby", [section])
        headers, key = sign_in(tenant), tenant.key.raw
    asked = {"mode": "write", "question": "What does delivery to Quillby cost?"}
    model = find_model(load_settings(environ={}), BUILT_IN)
    marks = [mark.encode(), token_ids(model.file, f" {mark}")]
    with (
        closing(LocalGenerator(model, threads=1, context_tokens=1024)) as generator,
        TestClient(create_app(home, lambda: EMBEDDER, lambda _: generator), base_url="http://127.0.0.1:8420") as client,
    ):
        told = client.post("/t/acme/api/chat", json=asked, headers=headers).json()
        first = generator.pid
        assert told["mode"] == "write", told
        before = memory_of(first)
        assert all(one in before for one in marks), "it never was there: the search after the erasure proves nothing"
        # Nor has it ever seen the key, in any spelling (test 21).
        about = b"".join(Path(f"/proc/{first}/{name}").read_bytes() for name in ("environ", "cmdline"))
        assert not any(form in seen for form in (key, key.hex().encode()) for seen in (before, about))

        erased = client.delete(f"/t/acme/api/documents/{document}", headers=headers)
        receipt = client.get(f"/t/acme/api/erasures/{erased.headers['x-ruma-receipt']}", headers=headers)
        other = {"mode": "write", "question": QUESTION}
        assert client.post("/t/acme/api/chat", json=other, headers=headers).json()["mode"] == "write"

        assert not Path(f"/proc/{first}").exists()
        assert generator.pid not in (0, first)
        after = memory_of(generator.pid)
        assert not any(one in after for one in marks)
        # The thread that looks for what other processes erase may have ended it a moment before.
        assert _ENDED in receipt.text or _NONE in receipt.text
