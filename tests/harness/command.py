"""The command `ruma` with an embedder that loads nothing: `python -m tests.harness.command …`."""

from ruma.cli.main import app
from ruma.cli.parts import Openers
from tests.fakes import HashEmbedder

if __name__ == "__main__":
    app(prog_name="ruma", obj=Openers(embedder=lambda _: HashEmbedder()))
