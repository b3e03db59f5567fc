"""What the server and the model process say to each other: one JSON object a line, over a socket pair.

JSON and never pickle: a hostile model file may take over the process at the other end, and must gain nothing by it.
"""

import json
import select
import socket
import threading
from typing import Any

MAX_LINE_BYTES = 16 << 20

Message = dict[str, Any]


class Channel:
    """One end of the socket pair; any thread may send, one thread receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        self._received = bytearray()

    def send(self, *messages: Message) -> None:
        """Send whole messages, in order.

        Raises:
            EOFError: The other end is gone.
        """
        data = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
        try:
            with self._sending:
                self._socket.sendall(data)
        except OSError as exc:
            raise EOFError("the other end is gone") from exc

    def receive(self, timeout: float | None = None) -> Message | None:
        """Return the next message, or None when none came within *timeout* seconds.

        Raises:
            EOFError: The other end is gone, or speaks something else.
        """
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > MAX_LINE_BYTES:
                raise EOFError("a message is too long")
            if not select.select([self._socket], [], [], timeout)[0]:
                return None
            self._received += self._read()
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return _parse(line)

    def close(self) -> None:
        """Close this end; the other one sees the end of the stream."""
        self._socket.close()

    def _read(self) -> bytes:
        try:
            data = self._socket.recv(1 << 16)
        except OSError as exc:
            raise EOFError("the other end is gone") from exc
        if not data:
            raise EOFError("the other end is gone")
        return data


def _parse(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise EOFError("the other end does not speak JSON") from exc
    if not isinstance(message, dict):
        raise EOFError("the other end sent something that is no message")
    return message
