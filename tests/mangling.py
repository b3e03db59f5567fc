"""A proxy before a server that changes what goes through it, as one that is set up badly does."""

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, list[tuple[str, str]], bytes]
Mangle = Callable[[str, Answer], Answer]
"""Returns what is handed on of the answer to a request for a path."""


def leave(path: str, answer: Answer) -> Answer:
    """Change nothing."""
    return answer


class ManglingProxy:
    """A proxy on loopback; *mangle* may be exchanged at any time."""

    def __init__(self, port: int) -> None:
        """Stand before the server at that port."""
        self.mangle: Mangle = leave
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.request(self.command, self.path, body, dict(self.headers))
                response = connection.getresponse()
                answer = (response.status, response.getheaders(), response.read())
                connection.close()
                status, headers, found = proxy.mangle(self.path.partition("?")[0], answer)
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
