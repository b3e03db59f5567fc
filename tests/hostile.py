"""A web server that does everything a fetcher must survive, on loopback or in a network of its own.

A path is what it does: `/drip` sends a byte now and then, `/302?to=ADDRESS` leads on. What was asked is counted.
"""

import asyncio
import contextlib
import socket
import threading
import zlib
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlsplit

Page = tuple[int, Mapping[str, str], bytes]
"""A status, headers and a body."""


class HostileServer:
    """The server, in a thread; a pause of its own makes it as slow as a test can wait for."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, pause: float = 0.05) -> None:
        """Listen, on a free port unless one is given."""
        self.asked: list[str] = []
        """Every request line and header, in order."""
        self.pages: dict[str, Page | Callable[[dict[str, str]], Page]] = {}
        """What stands at a path, besides what the server does by itself; a function gets the request's headers."""
        self._pause = pause
        self._writers: set[asyncio.StreamWriter] = set()
        self._socket = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [line.split()[1] for line in self.asked if line.startswith(("GET ", "POST ")) and len(line.split()) == 3]

    def close(self) -> None:
        """End, whatever it is at."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._socket, limit=1 << 20))
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
            self.asked += head
            target = head[0].split()[1]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            await self._answer(target, headers, writer)
            await writer.drain()
        writer.close()
        self._writers.discard(writer)

    async def _answer(self, target: str, headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(target)
        found = self.pages.get(target) or self.pages.get(parts.path)
        if found is not None:
            writer.write(_whole(*(found(headers) if callable(found) else found)))
            return
        name, _, rest = parts.path.strip("/").partition("/")
        act = getattr(self, f"_{name.replace('.', '_')}", None)
        if name.isdecimal() and "to" in (query := parse_qs(parts.query)):
            writer.write(_whole(int(name), {"Location": query["to"][0]}, b""))
        elif act is not None:
            await act(writer, rest)
        else:
            writer.write(_whole(404, {}, b"There is nothing here."))

    async def _hop(self, writer: asyncio.StreamWriter, rest: str) -> None:
        left = int(rest)
        place = {"Location": f"/hop/{left - 1}"} if left else {}
        writer.write(_whole(302 if left else 200, place, b"Arrived."))

    async def _drip(self, writer: asyncio.StreamWriter, _: str) -> None:
        """Send a head that never ends, a byte at a time."""
        writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        await self._trickle(writer, b"a")

    async def _dripbody(self, writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        await self._trickle(writer, b"a")

    async def _silent(self, writer: asyncio.StreamWriter, _: str) -> None:
        await asyncio.sleep(60)

    async def _continue(self, writer: asyncio.StreamWriter, _: str) -> None:
        """Promise an answer again and again."""
        await self._flood(writer, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    async def _endless(self, writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        await self._flood(writer, b"word " * 10_000)

    async def _trailers(self, writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
        await self._flood(writer, b"X-More: and more\r\n" * 1000)

    async def _bighdr(self, writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Big: " + b"a" * 200_000 + b"\r\n\r\n")

    async def _manyhdr(self, writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await self._flood(writer, b"X-Many: " + b"a" * 60_000 + b"\r\n")

    async def _bomb_gz(self, writer: asyncio.StreamWriter, _: str) -> None:
        """Send 1 GB of zeros in 1 MB of gzip: one block again and again."""
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        block = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
        head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
        writer.write(_whole(200, {"Content-Encoding": "gzip"}, head + block * 1000))

    async def _packed(self, writer: asyncio.StreamWriter, rest: str) -> None:
        writer.write(_whole(200, {"Content-Encoding": rest}, b"whatever"))

    async def _short(self, writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")

    async def _garbage(self, writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(b"-ERR unknown command 'GET'\r\n")

    async def _calendar(self, writer: asyncio.StreamWriter, rest: str) -> None:
        """Show a month that links to the next one, for ever."""
        month = int(rest or 0)
        body = (
            f"<html><body><p>Month {month}: open every day.</p><a href='/calendar/{month + 1}'>next</a></body></html>"
        )
        writer.write(_whole(200, {"Content-Type": "text/html"}, body.encode()))

    async def _trickle(self, writer: asyncio.StreamWriter, byte: bytes) -> None:
        while True:
            writer.write(byte)
            await writer.drain()
            await asyncio.sleep(self._pause)

    async def _flood(self, writer: asyncio.StreamWriter, block: bytes) -> None:
        while True:
            writer.write(block)
            await writer.drain()


def _whole(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
