import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from litestar import Request
from litestar.exceptions import InternalServerException

from ruma.errors import NotFoundError, TooManyError
from ruma.server import uploading
from ruma.server.access import Principal
from ruma.server.uploading import (
    MOST_AT_ONCE,
    BrokenOffException,
    Intake,
    StoppedComingException,
    receive_body,
    receive_form,
)
from ruma.tenant.knowledge.uploads import list_uploads
from ruma.tenant.tenant import Tenant

FORM = b"multipart/form-data; boundary=b"
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.md"\r\n\r\nBread'


class Sent(Request[Any, Any, Any]):
    """A request whose body comes in as a test says: its blocks, with pauses in seconds and errors between them."""

    def __init__(self, *blocks: bytes | float | Exception) -> None:
        """Take the blocks."""
        super().__init__({"type": "http", "headers": [(b"content-type", FORM)]})  # type: ignore[typeddict-item]
        self._blocks = blocks

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Give the blocks."""
        for block in self._blocks:
            if isinstance(block, Exception):
                raise block
            if isinstance(block, float):
                await asyncio.sleep(block)
            else:
                yield block


def receive(tenant: Tenant, sent: Sent) -> Any:
    """Receive a body."""
    return asyncio.run(receive_body(sent, tenant, Principal("visitor"), "a.md", most_bytes=1000))


def receive_files(tenant: Tenant, sent: Sent) -> Any:
    """Receive a form."""
    return asyncio.run(receive_form(sent, tenant, Principal("visitor"), most_bytes=1000))


def nothing_kept(tenant: Tenant) -> bool:
    """Tell whether neither a row nor a file is there."""
    return not list_uploads(tenant) and not list(tenant.uploads_folder.iterdir())


def test_a_body_that_comes_in_pieces_is_kept(tenant: Tenant) -> None:
    """Empty pieces and short pauses do no harm."""
    upload = receive(tenant, Sent(b"Bread", b"", 0.01, b" is fresh."))

    assert (upload.size_bytes, upload.name) == (15, "a.md")


@pytest.mark.parametrize("way", [receive, receive_files])
def test_a_body_that_stands_still_is_given_up(tenant: Tenant, monkeypatch: pytest.MonkeyPatch, way: Any) -> None:
    """After the deadline of a block the place is free again, and nothing is kept."""
    monkeypatch.setattr(uploading, "BLOCK_SECONDS", 0.05)

    with pytest.raises(StoppedComingException, match="stopped coming"):
        way(tenant, Sent(HEAD, 5.0, b"more"))

    assert nothing_kept(tenant)


def test_a_body_that_drips_is_given_up(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block in time is not enough: a byte now and then would hold a place for days."""
    monkeypatch.setattr(uploading, "FIRST_SECONDS", 0.1)

    with pytest.raises(StoppedComingException, match="too slowly"):
        receive(tenant, Sent(*[b"x", 0.02] * 100))

    assert nothing_kept(tenant)


@pytest.mark.parametrize("way", [receive, receive_files])
def test_a_sender_that_leaves_leaves_nothing(tenant: Tenant, way: Any) -> None:
    """When the connection ends in the middle it is the sender's doing and no bug of ours, and nothing is kept."""
    with pytest.raises(BrokenOffException):
        way(tenant, Sent(HEAD, InternalServerException("client disconnected prematurely")))

    assert nothing_kept(tenant)


def test_a_tenant_that_goes_ends_its_uploads(tenant: Tenant) -> None:
    """A tenant that is removed meanwhile takes no more bytes in."""
    import shutil

    class Removing(Sent):
        async def stream(self) -> AsyncGenerator[bytes, None]:
            yield b"Bread"
            shutil.rmtree(tenant.folder)
            yield b" is fresh."

    with pytest.raises(NotFoundError):
        receive(tenant, Removing())

    assert not tenant.folder.exists()


def test_so_many_at_once(tenant: Tenant) -> None:
    """A tenant has so many places, which are free again however a request ends; others' are not touched."""
    intake = Intake()
    held = [intake.place(tenant) for _ in range(MOST_AT_ONCE)]
    for place in held:
        place.__enter__()

    with pytest.raises(TooManyError) as caught, intake.place(tenant):
        pass
    held[0].__exit__(ValueError, ValueError(), None)
    with intake.place(tenant):
        pass

    assert caught.value.retry_seconds == 2.0
