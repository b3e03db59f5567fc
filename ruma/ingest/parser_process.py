"""The process that reads documents: it holds no key, has no network, and opens no file.

A server imports the parsers once and forks a child for each document. The child gets the document as an
anonymous memory file and one end of a pipe for what it found; limits are its own, so a hostile file costs
one failed document. Only `ruma.ingest.reading` starts it.
"""

import ctypes
import encodings
import gc
import importlib
import json
import logging
import os
import pkgutil
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, NoReturn

from ruma.errors import InputError
from ruma.ingest.parsed import ParsedDocument, clean_line

CPU_SECONDS = 60
"""Processor time for one document, and as much again for every `CPU_MB` megabytes of it."""

CPU_MB = 4

MEMORY_BYTES = 1 << 30
"""Address space of the process that reads a document."""

OPEN_FILES = 64

STATUS = struct.Struct("<i")

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_LONGEST_REQUEST = 16_384
_DEEPEST = 3_000
_LATER_IMPORTS = (
    "heapq", "lxml.etree", "lxml.html", "docx", "docx.opc.exceptions", "pypdf", "pypdf.errors", "pypdf.filters",
    "pypdf.xmp", "pypdf._codecs._codecs", "ruma.ingest.formats.links", "ruma.ingest.formats.pdf",
    "ruma.ingest.formats.word",
)  # fmt: skip
"""What the libraries import only when they meet a file that needs it."""

_NOT_HERE = ("mbcs", "oem")
_SAMPLES = {"a.md": b"# A\n\n- b", "a.html": b"<!doctype html><p>a</p>", "a.csv": b"a,b\n1,2", "a.txt": b"a"}


def serve(channel_descriptor: int, memory_bytes: int = MEMORY_BYTES, cpu_seconds: int = CPU_SECONDS) -> None:
    """Read documents until the other end of the channel closes.

    A request is JSON {"name", "want", "charset"} with two descriptors: the document and the pipe for the answer.
    The reply on the channel is the child's wait status.
    """
    is_fully_confined = confine(memory_bytes)
    _import_parsers()
    channel = socket.socket(fileno=channel_descriptor)
    channel.sendall(b"\x01" if is_fully_confined else b"\x00")
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, _LONGEST_REQUEST, 2)
        if not message:
            return
        document, answer = descriptors
        child = os.fork()
        if child == 0:
            channel.close()
            request = json.loads(message)
            _read_one(request, document, answer, cpu_seconds)
        os.close(document)
        os.close(answer)
        channel.sendall(STATUS.pack(os.waitpid(child, 0)[1]))


def cpu_limit(cpu_seconds: int, size: int) -> int:
    """Return the processor time for a document of this size."""
    return cpu_seconds * (1 + size // (CPU_MB * 1_000_000))


def confine(memory_bytes: int = MEMORY_BYTES) -> bool:
    """Give up what reading needs none of: files, network, privileges, more memory. The parsers come later.

    Returns:
        Whether the process has its own user and network namespace; some systems forbid them.
    """
    limits = (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    )
    for what, amount in limits:
        resource.setrlimit(what, (amount, amount))
    libc = ctypes.CDLL(None, use_errno=True)
    _die_with_parent(libc)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    return bool(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)


def _die_with_parent(libc: ctypes.CDLL) -> None:
    parent = os.getppid()
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _import_parsers() -> None:
    """Load all that reading may need now, since a child can open no file, and so import nothing."""
    sys.modules["PIL"] = None  # type: ignore[assignment]  # pictures are never decoded
    for name in _LATER_IMPORTS:
        importlib.import_module(name)
    for encoding in pkgutil.iter_modules(encodings.__path__):
        if encoding.name not in _NOT_HERE:
            importlib.import_module(f"encodings.{encoding.name}")
    logging.disable(logging.CRITICAL)
    for name, sample in _SAMPLES.items():
        read_document(sample, name)
    _read_wanted("sitemap", b"<urlset><url><loc>a</loc></url></urlset>", "")
    sys.setrecursionlimit(_DEEPEST)
    gc.collect()
    gc.freeze()


def _read_one(request: dict[str, str], document: int, answer: int, cpu_seconds: int) -> NoReturn:
    """Read one document, or what is wanted of it, write what was found to the pipe, and end."""
    _die_with_parent(ctypes.CDLL(None))
    size = os.fstat(document).st_size
    seconds = cpu_limit(cpu_seconds, size)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    try:
        result = _read_wanted(request["want"], _take(document, size), request["name"], request["charset"])
    except InputError as exc:
        result = {"failed": str(exc)}
    except MemoryError:
        result = {"failed": f"needs more than {MEMORY_BYTES >> 30} GB of memory to read."}
    except RecursionError:
        result = {"failed": "is nested too deeply to read."}
    except Exception as exc:  # what a parser raises at a damaged file is not known beforehand
        result = {"failed": f"cannot be read; it may be damaged ({type(exc).__name__})."}
    encoded = json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    del result
    view = memoryview(encoded)
    while view:
        view = view[os.write(answer, view) :]
    os._exit(0)


def _read_wanted(want: str, data: bytes, name: str, charset: str = "") -> dict[str, Any]:
    from ruma.ingest.formats.links import find_links, read_sitemap

    if want == "links":
        return find_links(data)
    return read_sitemap(data) if want == "sitemap" else _as_json(read_document(data, name, charset))


def _take(descriptor: int, size: int) -> bytes:
    parts = []
    at = 0
    while at < size and (part := os.pread(descriptor, size - at, at)):
        parts.append(part)
        at += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_document(data: bytes, name: str, charset: str = "") -> ParsedDocument:
    """Return the text and structure of a document; its name only breaks ties between formats.

    *charset* is the encoding that a web server named for it.

    Raises:
        InputError: It cannot be read; the message continues the sentence that begins with its name.
    """
    from dataclasses import replace

    from ruma.ingest.decoding import as_utf8
    from ruma.ingest.formats import csv, html, markdown, pdf, text, word
    from ruma.ingest.sentences import find_sentences, guess_language
    from ruma.ingest.sniffing import sniff

    readers: dict[str, Callable[[bytes], ParsedDocument]] = {
        "csv": csv.read,
        "html": html.read,
        "markdown": markdown.read,
        "pdf": pdf.read,
        "text": text.read,
        "word": word.read,
    }
    data = as_utf8(data, charset) if charset else data
    parsed = readers[sniff(data, name)](data)
    if not any(map(str.isalnum, parsed.text)):
        raise InputError("has no text that can be found.")
    language = guess_language(parsed.text, parsed.language)
    sentences = tuple(find_sentences(parsed.text, parsed.blocks, language))
    return replace(parsed, title=parsed.title or name_title(name), sentences=sentences, language=language)


def name_title(name: str) -> str:
    """Return a title made of a file's name: "price-list_2024.csv" gives "Price list 2024"."""
    path = PurePosixPath(name)
    stem = path.parent.name if path.stem.lower() == "index" and path.parent.name else path.stem
    words = clean_line(stem.replace("_", " ").replace("-", " "))
    return words[:1].upper() + words[1:] if words else clean_line(name)


def _as_json(parsed: ParsedDocument) -> dict[str, Any]:
    paths: dict[tuple[str, ...], int] = {}
    blocks = [
        (block.start, block.end, block.kind, paths.setdefault(block.headings, len(paths)), block.page)
        for block in parsed.blocks
    ]
    return {
        "title": parsed.title,
        "text": parsed.text,
        "blocks": blocks,
        "paths": list(paths),
        "sentences": parsed.sentences,
        "media_type": parsed.media_type,
        "language": parsed.language,
    }
