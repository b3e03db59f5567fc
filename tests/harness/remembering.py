"""Says which words any living object of a server holds: its variables, caches and waiting work, not its freed memory.

The server gets SIGUSR1 and looks by itself; what is looked for comes and goes through a file of its temporary folder.
"""

import gc
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ASKED, TOLD = "words-to-look-for", "words-that-are-held"
_WORDS_AT_LEAST = 12


def remembered(process: int, temporary: Path, words: list[str]) -> dict[str, list[str]]:
    """Return which words a server's objects hold, each with what holds it."""
    asked, told = temporary / ASKED, temporary / TOLD
    asked.write_text(json.dumps(words))
    os.kill(process, signal.SIGUSR1)
    end = time.monotonic() + 60
    while not told.exists():
        assert time.monotonic() < end, "the server does not say what it holds"
        time.sleep(0.02)
    found: dict[str, list[str]] = json.loads(told.read_text())
    asked.unlink()
    told.unlink()
    return found


def listen() -> None:
    """Let this process look through its objects when it gets SIGUSR1."""
    signal.signal(signal.SIGUSR1, lambda *_: _look())


def _look() -> None:
    folder = Path(tempfile.gettempdir())
    words = [word.encode() for word in json.loads((folder / ASKED).read_text())]
    gc.collect()
    found: dict[str, list[str]] = {}
    for holder, text in _texts():
        for word in words:
            if word in text and text is not word:
                found.setdefault(word.decode(), []).append(f"{type(holder).__name__}: {holder!r:.300}")
    (folder / "part").write_text(json.dumps(found))
    (folder / "part").rename(folder / TOLD)


def _texts() -> Iterator[tuple[Any, bytes]]:
    """Yield every text that an object holds, with that object."""
    here = sys._getframe(1)
    frames = [frame for frame in sys._current_frames().values() if frame is not sys._getframe()]
    waiting: list[Any] = [one for one in gc.get_objects() if one is not here]
    while frames:
        frame = frames.pop()
        if frame not in (here, sys._getframe()):
            waiting.append(dict(frame.f_locals))
        if frame.f_back:
            frames.append(frame.f_back)
    seen = {id(waiting), id(frames), id(here), id(here.f_locals)}
    while waiting:
        holder = waiting.pop()
        if id(holder) in seen:
            continue
        for one in gc.get_referents(holder):
            if isinstance(one, str) and len(one) >= _WORDS_AT_LEAST:
                yield holder, one.encode("utf-8", "replace")
            elif isinstance(one, bytes | bytearray) and len(one) >= _WORDS_AT_LEAST:
                yield holder, bytes(one)
            elif not gc.is_tracked(one) and isinstance(one, dict | tuple):
                waiting.append(one)
