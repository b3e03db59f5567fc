"""The command `ruma` with all that any library would say of what it does: `python -m tests.harness.debugging …`.

The product has no such setting. Somebody who looks for a mistake makes one, and what a library then says of a request
must not be what somebody wrote.
"""

import logging

from ruma.server import listener


def prepare_talkative_log() -> None:
    """Let every logger write everything, in the form that the server's log has."""
    listener_log()
    handler = logging.getLogger("ruma").handlers[0]
    root = logging.getLogger()
    root.handlers = [handler]
    for name in (None, "ruma", "uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(logging.DEBUG)


if __name__ == "__main__":
    from ruma.cli.main import app
    from ruma.cli.parts import Openers, guard_network
    from tests.harness.remembering import listen
    from tests.serving import EMBEDDER

    listen()
    listener_log, listener.prepare_log = listener.prepare_log, prepare_talkative_log
    app(prog_name="ruma", obj=Openers(embedder=lambda _: EMBEDDER, network=guard_network))
