"""The parent's side of the model process: start it, pass its messages on, notice when it dies or hangs.

What comes from the process is not trusted: a message that makes no sense ends it.
"""

import contextlib
import itertools
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from typing import BinaryIO

from ruma.errors import ModelError
from ruma.models.messages import Channel, Message

POLL_SECONDS = 0.25
STOPPED: Message = {"event": "stopped"}
"""The last reply to every request that was open when the process ended."""

Replies = queue.SimpleQueue[Message]

_SIGNS = {"alive", "piece", "end"}
"""What only a model that gets on says; the other replies come even while a step never ends."""

_LAST = {"end", "counted", "refused"}
"""The replies after which a request is no longer open."""


class ModelProcess:
    """One life of the model process; when it is over, its owner starts another one."""

    def __init__(self, job: Message, file: BinaryIO, *, load_seconds: float, silence_seconds: float) -> None:
        """Start the process and let it do *job* with *file*, which is closed here; `wait_until_ready` tells more."""
        self._job, self._file = job, file
        self._load_seconds, self._silence_seconds = load_seconds, silence_seconds
        self._lock = threading.Lock()
        self._open: dict[int, tuple[Replies, str]] = {}
        self._ids = itertools.count(1)
        self._abandoned: deque[int] = deque()
        self._is_over = False
        self._facts: Message = {}
        self._reason = ""
        self._settled, self._closing = threading.Event(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        ours, self._theirs = socket.socketpair()
        self._channel = Channel(ours)
        # This thread lives as long as the process: "die with the parent" means the thread that started it.
        self._thread = threading.Thread(target=self._live, name="model process", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the process has ended."""
        return self._is_over

    @property
    def pid(self) -> int:
        """The number of the process, 0 before it was started."""
        return self._process.pid if self._process else 0

    @property
    def reason(self) -> str:
        """Why the process ended."""
        return self._reason

    def count_open(self, tenant: str | None = None) -> int:
        """Return how many requests wait for replies, of all tenants or of one."""
        with self._lock:
            return sum(tenant in {None, owner} for _, owner in self._open.values())

    def wait_until_ready(self) -> Message:
        """Return what the process found out about the model, once it is loaded.

        Raises:
            ModelError: It could not be loaded.
        """
        self._settled.wait()
        if not self._facts:
            raise ModelError(f"The language model {self._job['name']} cannot be loaded: {self._reason}.")
        return self._facts

    def ask(self, message: Message) -> tuple[int, Replies]:
        """Send a request; return its id and the queue of its replies, the last of which may be `STOPPED`."""
        replies: Replies = queue.SimpleQueue()
        number = next(self._ids)
        with self._lock:
            if self._is_over:
                replies.put(STOPPED)
                return number, replies
            self._open[number] = replies, str(message.get("tenant", ""))
        with contextlib.suppress(EOFError):  # then STOPPED is on its way
            self._channel.send({**message, "id": number})
        return number, replies

    def drop(self, number: int) -> None:
        """Cancel one request, if it is still open, and pass on no more of its replies."""
        with self._lock:
            is_open = self._open.pop(number, None) is not None
        if is_open:
            with contextlib.suppress(EOFError):
                self._channel.send({"do": "cancel", "id": number})

    def abandon(self, number: int) -> None:
        """Cancel one request within `POLL_SECONDS`, without a lock: the garbage collector calls at any moment."""
        self._abandoned.append(number)

    def close(self) -> None:
        """End the process and wait until it is gone."""
        self._closing.set()
        if self._process:
            self._process.kill()
        self._thread.join()

    def _live(self) -> None:
        try:
            self._process = self._spawn()
            self._reason = "it was closed" if self._closing.is_set() else self._load() or self._pass_on()
        except OSError as exc:
            self._reason = f"the model process cannot be started ({exc.strerror})"
        except EOFError:
            self._reason = "the model process ended"
        finally:
            self._end()

    def _spawn(self) -> subprocess.Popen[bytes]:
        # The process gets the open file and no path: it is the very file that was verified, and nothing else of
        # the disk has to be readable there.
        descriptors = [self._theirs.fileno(), self._file.fileno()]
        command = [sys.executable, "-I", "-m", "ruma.models.model_process", *map(str, descriptors)]
        quiet = subprocess.DEVNULL
        # A session of its own: Ctrl-C in the terminal stops the answer and not the model. An environment of
        # two names: no key of ours is in it.
        return subprocess.Popen(
            command,
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            pass_fds=descriptors,
            cwd="/",
            env={name: os.environ[name] for name in ("LANG", "PATH") if name in os.environ},
            start_new_session=True,
        )

    def _load(self) -> str:
        """Wait until the file is loaded, or return why it is not."""
        self._theirs.close()
        self._file.close()
        self._channel.send(self._job)
        end = time.monotonic() + self._load_seconds
        while (left := end - time.monotonic()) > 0:
            message = self._channel.receive(left)
            if message and message.get("event") == "failed":
                return _printable(message.get("reason"))
            if message and message.get("event") == "ready" and isinstance(message.get("context_tokens"), int):
                self._facts = message
                self._settled.set()
                return ""
        return f"it took more than {self._load_seconds:.0f} seconds"

    def _pass_on(self) -> str:
        """Pass replies to whoever waits for them, until the process must be ended; return why."""
        heard = time.monotonic()
        while True:
            message = self._channel.receive(POLL_SECONDS)
            while self._abandoned:
                self.drop(self._abandoned.popleft())
            if not self._open or (message and message.get("event") in _SIGNS):
                heard = time.monotonic()
            if time.monotonic() - heard > self._silence_seconds:
                return f"it gave no sign of life for {self._silence_seconds:.0f} seconds"
            if message and message.get("event") == "failed":
                return _printable(message.get("reason"))
            if message:
                self._hand_over(message)

    def _hand_over(self, message: Message) -> None:
        number = message.get("id")
        if not isinstance(number, int):
            return
        with self._lock:
            replies, _ = self._open.get(number, (None, ""))
            if message.get("event") in _LAST:
                self._open.pop(number, None)
        if replies:
            replies.put(message)

    def _end(self) -> None:
        if self._process:
            # It gets a moment to end by itself: a crash is told by its signal.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL_SECONDS)
            code = self._process.poll()
            self._process.kill()
            self._process.wait()
            if code is not None and code < 0 and not self._closing.is_set():
                self._reason = f"the model process ended with {signal.Signals(-code).name}"
        with self._lock:
            self._is_over = True
            waiting = list(self._open.values())
            self._open.clear()
        for replies, _ in waiting:
            replies.put(STOPPED)
        self._theirs.close()
        self._file.close()
        self._channel.close()
        self._settled.set()


def _printable(reason: object) -> str:
    return re.sub(r"[^\x20-\x7e]+", " ", str(reason))[:200].rstrip(". ")
