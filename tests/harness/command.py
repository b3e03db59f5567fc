"""The command `ruma` with an embedder that loads nothing: `python -m tests.harness.command …`."""

from typing import TYPE_CHECKING

from ruma.cli.main import app
from ruma.cli.parts import Openers, guard_network
from ruma.config import Settings

if TYPE_CHECKING:
    from ruma.models.embedder import Embedder


def open_fake(_: Settings) -> "Embedder":
    """Return the embedder; loaded only for the commands that embed, as the real one is."""
    from tests.fakes import HashEmbedder

    return HashEmbedder()


if __name__ == "__main__":
    app(prog_name="ruma", obj=Openers(embedder=open_fake, network=guard_network))
