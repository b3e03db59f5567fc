"""The server of `tests.serving`, with a mistake behind every route: `python -m tests.harness.failing HOME …`.

Whoever may come in gets an exception whose message, and that of its cause, hold all that came with the request. With
TALKATIVE in the environment every logger of every library writes everything.
"""

import os
from typing import Any

from ruma.server import app, listener
from tests import serving
from tests.harness import debugging


async def fail(request: Any, handler: Any) -> None:
    """Check who comes, as the server does, and fail with what came."""
    await let_in(request, handler)
    came = [str(request.url), *map(str, request.headers.items()), (await request.body()).decode("latin-1")]
    try:
        raise ValueError("; ".join(came))
    except ValueError as exc:
        raise RuntimeError(f"It was {came!r}") from exc


def main() -> None:
    """Serve."""
    global let_in
    let_in, app.check_access = app.check_access, fail
    if "TALKATIVE" in os.environ:
        debugging.listener_log, listener.prepare_log = listener.prepare_log, debugging.prepare_talkative_log
    serving.main()


if __name__ == "__main__":
    main()
