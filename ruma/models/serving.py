"""What the model process does once it is confined: load the file, say so, and write answers until the parent goes."""

import os
import queue
import threading
import time
from collections.abc import Iterator

from ruma.models.batching import KEPT_PROMPTS, Batcher, Entry, Request
from ruma.models.chat_formats import PromptWriter
from ruma.models.llama import LlamaContext, LlamaFile, LoadError
from ruma.models.messages import Channel, Message

CONTEXT_BYTES = 1 << 30
"""The most memory for what the running conversations hold."""

SHORTEST_ANSWER = 16
IDLE_SECONDS = 300.0
"""After so long without a question, the instructions that were kept for the next one are overwritten."""

_TRIAL_PROMPT, _TRIAL_STEP, _TRIAL_ANSWER = 128, 64, 12


def serve(channel: Channel, descriptor: int, job: Message) -> None:
    """Load the open file and write answers as *job* says, until the parent goes.

    Raises:
        EOFError: The parent is gone.
    """
    try:
        file = LlamaFile(descriptor)
        facts = _measure(file, job) if job["is_trial"] else {"has_flash_attention": job["has_flash_attention"]}
        context = _open_context(file, job, has_flash_attention=facts["has_flash_attention"])
    except LoadError as exc:
        channel.send({"event": "failed", "reason": str(exc)})
        return
    writer = PromptWriter(file.template, file)
    batcher = Batcher(
        file,
        context,
        seats=job["seats"],
        threads=job["threads"],
        stop_tokens=writer.stop_tokens,
        stop_texts=writer.stop_texts,
    )
    longest = min(context.cells, file.trained_tokens, job["context_tokens"])
    inbox: queue.SimpleQueue[Request | int] = queue.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(channel, writer, longest, inbox), daemon=True)
    listener.start()
    channel.send({"event": "ready", "context_tokens": longest, "format": writer.format.name, **facts})
    while True:
        for item in _arrived(inbox, batcher):
            batcher.add(item) if isinstance(item, Request) else batcher.cancel(item)
        channel.send(*batcher.step())


def _listen(channel: Channel, writer: PromptWriter, longest: int, inbox: "queue.SimpleQueue[Request | int]") -> None:
    """Answer at once what needs no model, so that a question that is too long need not wait for its turn."""
    try:
        while message := channel.receive():
            if message["do"] == "cancel":
                inbox.put(message["id"])
                continue
            prompt = writer.write([(role, text) for role, text in message["turns"]])
            count = len(prompt.tokens)
            if message["do"] == "count":
                channel.send({"event": "counted", "id": message["id"], "tokens": count})
                continue
            room = longest - count
            if room < min(SHORTEST_ANSWER, message["max_tokens"]):
                channel.send({"event": "refused", "id": message["id"], "tokens": count})
                continue
            channel.send({"event": "accepted", "id": message["id"], "tokens": count})
            answer = max(1, min(message["max_tokens"], room))
            inbox.put(Request(message["id"], message["tenant"], prompt.tokens, prompt.fixed, answer))
    finally:
        # The parent is gone, or what it says makes no sense: the model may be in the middle of a step.
        os._exit(0)


def _arrived(inbox: "queue.SimpleQueue[Request | int]", batcher: Batcher) -> Iterator[Request | int]:
    """Yield what came in; wait for something while there is nothing to write."""
    has_waited = False
    while True:
        try:
            if not batcher.is_idle:
                yield inbox.get_nowait()
            else:
                yield inbox.get(timeout=None if has_waited else IDLE_SECONDS)
        except queue.Empty:
            if not batcher.is_idle:
                return
            batcher.wipe()
            has_waited = True


def _open_context(file: LlamaFile, job: Message, *, has_flash_attention: bool) -> LlamaContext:
    """Return a context as large as the model and the memory allow."""
    wanted = 2 * min(file.trained_tokens, job["context_tokens"])
    cells = max(min(wanted, CONTEXT_BYTES // file.cell_bytes) // 256 * 256, 512)
    return LlamaContext(
        file,
        cells=cells,
        sequences=job["seats"] + KEPT_PROMPTS,
        has_flash_attention=has_flash_attention,
    )


def _measure(file: LlamaFile, job: Message) -> Message:
    """Return how fast the model reads and writes, in the better setting of flash attention."""
    best: Message = {}
    for has_flash_attention in (True, False):
        context = _open_context(file, job, has_flash_attention=has_flash_attention)
        try:
            speeds = [_time(file, context, threads) for threads in {1, job["threads"]}]
        finally:
            context.close()
        reads, writes = (max(values) for values in zip(*speeds, strict=True))
        # An answer is some 400 tokens read and 100 written.
        seconds = 400 / reads + 100 / writes
        if not best or seconds < best["seconds"]:
            best = {"has_flash_attention": has_flash_attention, "reads": reads, "writes": writes}
            best["seconds"] = seconds
    return best


def _time(file: LlamaFile, context: LlamaContext, threads: int) -> tuple[float, float]:
    """Return the tokens that are read and written in a second."""
    tokens = [(7 * place + 1) % file.tokens for place in range(_TRIAL_PROMPT + _TRIAL_ANSWER)]
    entries = [Entry(token, place, 0, place >= _TRIAL_PROMPT) for place, token in enumerate(tokens)]
    context.forget(0)
    began = time.monotonic()
    for place in range(0, _TRIAL_PROMPT, _TRIAL_STEP):
        context.decode(entries[place : place + _TRIAL_STEP], threads)
    read = time.monotonic()
    for entry in entries[_TRIAL_PROMPT:]:
        context.decode([entry], threads)
    written = time.monotonic()
    return _TRIAL_PROMPT / (read - began), _TRIAL_ANSWER / (written - read)
