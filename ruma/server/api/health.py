"""Whether the server runs."""

from litestar import get

from ruma import __version__
from ruma.server.access import PUBLIC
from ruma.server.api.describing import answers_with
from ruma.server.shapes import Health


@get("/health", policy=PUBLIC, responses=answers_with(Health))
async def show_health() -> Health:
    """Say that the server runs."""
    return Health(ok=True, version=__version__)
