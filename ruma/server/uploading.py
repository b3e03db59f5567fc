"""Files that come in with a request: from the socket straight into the sealing writer.

The framework's own readers of forms write files to the disk in plaintext, so none of them is ever used. A body is
read only after the route's policy has let the sender in.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from typing import Any

from litestar import Request
from litestar.concurrency import sync_to_thread
from litestar.exceptions import HTTPException, InternalServerException
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from ruma.config import Settings
from ruma.errors import InputError, TooLargeError, TooManyError
from ruma.ingest.addresses import LONGEST
from ruma.ingest.webpages import check_location
from ruma.server.access import CHECK_SECONDS, Principal
from ruma.tenant.knowledge.uploads import (
    LONGEST_NAME,
    Kind,
    Receiving,
    Upload,
    begin_upload,
    find_unread,
    receive_upload,
)
from ruma.tenant.tenant import Tenant

BLOCK_SECONDS = 30.0
"""How long a body may stand still."""

FIRST_SECONDS = 60.0
SLOWEST_BYTES = 1_000
"""After the first minute a body comes in at this many bytes a second, or is given up: a dripping one holds a place."""

MOST_AT_ONCE = 6
"""How many requests with files of one tenant come in at the same time."""

MOST_FILES = 20
_MOST_PARTS = 50
_MOST_FIELD_BYTES = 64_000
_MOST_OVERHEAD = 200_000
_LONGEST_TYPE = 300


class StoppedComingException(HTTPException):
    """The body stopped coming in, or came too slowly."""

    status_code = 408


class BrokenOffException(HTTPException):
    """The sender went away in the middle."""

    status_code = 400


class NotMultipartException(HTTPException):
    """The body is not the form with files that its header says."""

    status_code = 415


class Intake:
    """Lets so many requests with files of a tenant in at the same time."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        """Set how many."""
        self._most = most
        self._running: Counter[str] = Counter()

    @contextmanager
    def place(self, tenant: Tenant) -> Iterator[None]:
        """Take a place for the time of a request; used by the event loop alone.

        Raises:
            TooManyError: All of them are taken.
        """
        if self._running[tenant.id] >= self._most:
            raise TooManyError(
                f"{self._most} uploads come in already.", hint="Wait until one is done.", retry_seconds=2.0
            )
        self._running[tenant.id] += 1
        try:
            yield
        finally:
            self._running[tenant.id] -= 1
            if not self._running[tenant.id]:
                del self._running[tenant.id]


async def receive_body(
    request: Request[Any, Any, Any], tenant: Tenant, principal: Principal, name: str, *, most_bytes: int
) -> Upload:
    """Keep a body as an upload of that name, sealed as it comes in.

    Raises:
        TooLargeError: It is larger than allowed.
        HTTPException: It stopped coming in, or broke off. Nothing of it is kept.
    """
    _check_announced(request, most_bytes)
    receiving = await sync_to_thread(_begin, tenant, principal, name, most_bytes)
    try:
        async with aclosing(_blocks(request, tenant, principal)) as blocks:
            async for block in blocks:
                await sync_to_thread(receiving.write, block)
        return await sync_to_thread(receiving.finish)
    finally:
        receiving.abandon()


async def receive_form(
    request: Request[Any, Any, Any], tenant: Tenant, principal: Principal, *, most_bytes: int
) -> list[Upload]:
    """Keep every file of a form (multipart/form-data) as an upload: all of them, or none.

    Raises:
        InputError: There is no file, or there are too many.
        TooLargeError: One is larger than allowed.
        NotMultipartException: The body is no such form.
        HTTPException: It stopped coming in, or broke off.
    """
    parser = _parser(request)
    with ExitStack() as stack:
        form = _Form(tenant, principal, most_bytes, stack)
        async with aclosing(_blocks(request, tenant, principal)) as blocks:
            async for block in blocks:
                await sync_to_thread(_feed, parser, form, block)
        try:
            parser.close()
        except MultipartError as exc:
            raise NotMultipartException("The form is cut short.") from exc
        return await sync_to_thread(form.finish)


def keep_text(tenant: Tenant, principal: Principal, title: str, text: str, *, most_bytes: int) -> Upload:
    """Keep a text as an upload, to be read as a document of that title.

    Raises:
        InputError: The title or the text is empty, or the title is too long.
        TooLargeError: It is larger than allowed.
    """
    if not title.strip():
        raise InputError("The text needs a title.")
    if len(title) > LONGEST_NAME:
        raise InputError(f"The title can have at most {LONGEST_NAME} characters.")
    if not text.strip():
        raise InputError("The text is empty.")
    data = text.encode("utf-8", "replace")
    return receive_upload(tenant, title, [data], kind="text", added_by=principal.name, most_bytes=most_bytes)


def keep_address(tenant: Tenant, principal: Principal, settings: Settings, address: str, *, is_site: bool) -> Upload:
    """Keep the address of a web page, or of a website, to be read; one that waits already is not kept twice.

    Raises:
        InputError: It is no address of a web page, it is of a private network, or Ruma is offline.
    """
    address = address.strip()
    # People leave out what every browser adds.
    name = str(check_location(address if "://" in address else f"https://{address}", settings))
    kind: Kind = "site" if is_site else "page"
    return find_unread(tenant, kind, name) or receive_upload(
        tenant, name, [name.encode()], kind=kind, added_by=principal.name, most_bytes=LONGEST
    )


class _Form:
    """Takes the parts of a form as the parser finds them."""

    def __init__(self, tenant: Tenant, principal: Principal, most_bytes: int, stack: ExitStack) -> None:
        self._tenant, self._principal, self._most_bytes = tenant, principal, most_bytes
        self._stack = stack
        self._files: list[Receiving] = []
        self._file: Receiving | None = None
        self._field_bytes = 0

    def begin_part(self, part: MultipartSegment) -> None:
        """A part begins: a file where it has a file's name, else a field, which is not looked at."""
        if not part.filename:
            self._file = None
            return
        if len(self._files) == MOST_FILES:
            raise InputError(f"The form has more than {MOST_FILES} files.", hint="Send them in several requests.")
        self._file = _begin(self._tenant, self._principal, part.filename, self._most_bytes)
        self._files.append(self._stack.enter_context(self._file))

    def write(self, data: bytes) -> None:
        """The part goes on."""
        if self._file is not None:
            self._file.write(data)
            return
        self._field_bytes += len(data)
        if self._field_bytes > _MOST_FIELD_BYTES:
            raise InputError("The form has long fields that are no files.")

    def finish(self) -> list[Upload]:
        """Keep the files."""
        if not self._files:
            raise InputError("There is no file in the form.", hint="Send it as the field `file`, with its name.")
        return [file.finish() for file in self._files]


def _begin(tenant: Tenant, principal: Principal, name: str, most_bytes: int) -> Receiving:
    return begin_upload(tenant, name, kind="upload", added_by=principal.name, most_bytes=most_bytes)


def _feed(parser: PushMultipartParser, form: _Form, block: bytes) -> None:
    try:
        for event in parser.parse(block):
            if isinstance(event, MultipartSegment):
                form.begin_part(event)
            elif event is not None:
                form.write(event)
    except MultipartError as exc:
        raise NotMultipartException(f"The form cannot be read: {exc}.") from exc


def _parser(request: Request[Any, Any, Any]) -> PushMultipartParser:
    header = request.headers.get("content-type", "")
    kind, options = parse_options_header(header) if len(header) <= _LONGEST_TYPE else ("", {})
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise NotMultipartException("The body must be multipart/form-data with a boundary.")
    try:
        return PushMultipartParser(options["boundary"], max_segment_count=_MOST_PARTS, strict=True)
    except MultipartError as exc:
        raise NotMultipartException(f"The form cannot be read: {exc}.") from exc


def _check_announced(request: Request[Any, Any, Any], most_bytes: int) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) < 20 and int(announced) > most_bytes + _MOST_OVERHEAD:
        raise TooLargeError(
            f"The file has {math.ceil(int(announced) / 1_000_000):,} MB; {most_bytes // 1_000_000:,} MB is the most "
            "that is taken.",
            hint="Split it, or ask the operator to raise the setting max_file_mb.",
        )


async def _blocks(request: Request[Any, Any, Any], tenant: Tenant, principal: Principal) -> AsyncGenerator[bytes, None]:
    """Give the body as it comes in, as long as it does and as long as the sender is let in."""
    check = principal.watch(tenant)
    started, count = time.monotonic(), 0
    async with aclosing(request.stream()) as stream:
        while True:
            try:
                block = await _next_block(stream, check)
            except InternalServerException as exc:
                raise BrokenOffException("The request broke off.") from exc
            if block is None:
                return
            count += len(block)
            seconds = time.monotonic() - started
            if seconds > FIRST_SECONDS and count < SLOWEST_BYTES * seconds:
                raise StoppedComingException("The body came in too slowly.")
            await sync_to_thread(check)
            if block:
                yield block


async def _next_block(stream: AsyncGenerator[bytes, None], check: Callable[[], None]) -> bytes | None:
    """Return the next part of a body, and None at its end; look meanwhile whether its sender may still send."""
    coming = asyncio.ensure_future(anext(stream, None))
    until = time.monotonic() + BLOCK_SECONDS
    try:
        while time.monotonic() < until:
            await asyncio.wait({coming}, timeout=min(CHECK_SECONDS, BLOCK_SECONDS))
            if coming.done():
                return coming.result()
            await sync_to_thread(check)
        raise StoppedComingException("The body stopped coming in.")
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
