"""The example programs, run as a developer would run them against a real server."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ruma.config import load_settings
from ruma.tenant.home import Home
from tests.serving import FLAGS, QUESTION, Running, make_tenant, with_key

EXAMPLES = Path(__file__).parents[1] / "examples"
PRICE = "Delivery to Marrowby costs £2.50."


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return an environment with the address and the key of a tenant on a running server."""
    home = Home(load_settings({"home": tmp_path_factory.mktemp("home"), **FLAGS}, {}))
    make_tenant(home)
    with home.open("acme") as tenant:
        key = with_key(tenant, "chat")["Authorization"].removeprefix("Bearer ")
    with Running(home.settings.home) as server:
        yield {
            "PATH": os.environ["PATH"],
            "PYTHONUTF8": "1",
            "RUMA_URL": f"http://127.0.0.1:{server.port}/t/acme",
            "RUMA_KEY": key,
        }


def run(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program with this environment and nothing else of ours."""
    return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, cwd=EXAMPLES, check=False)


def command(name: str) -> list[str]:
    """Return how an example is run; one whose program this machine lacks is skipped."""
    program = {"py": sys.executable, "sh": "sh", "mjs": "node"}[name.partition(".")[2]]
    for needed in [program] + (["curl"] if program == "sh" else []):
        if not shutil.which(needed):
            pytest.skip(f"{needed} is not installed")
    return [program, name]


@pytest.mark.parametrize("name", ["ask.py", "ask.mjs"])
def test_the_answer_is_shown_with_its_sources(environ: dict[str, str], name: str) -> None:
    """The whole text, then each citation with its document and its words."""
    done = run(environ, *command(name), QUESTION)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{PRICE} [1]\n[1] Delivery: {PRICE}\n"


def test_curl_gets_one_object(environ: dict[str, str]) -> None:
    """Text and citations are in it."""
    done = run(environ, *command("ask.sh"), json.dumps({"question": QUESTION}))

    assert done.returncode == 0
    assert json.loads(done.stdout)["text"] == f"{PRICE} [1]"


@pytest.mark.parametrize("name", ["ask.py", "ask.mjs", "ask.sh"])
def test_a_wrong_key_is_said(environ: dict[str, str], name: str) -> None:
    """The program ends with an error that says what is wrong."""
    done = run({**environ, "RUMA_KEY": "ruma_wrong"}, *command(name), json.dumps({"question": QUESTION}))

    assert done.returncode != 0
    assert "not valid" in done.stdout + done.stderr
