"""An HTTP proxy that counts what passes and answers in the server's place when told to."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)


@dataclass(frozen=True)
class Seen:
    """One request that arrived: `number` counts from 1."""

    number: int
    method: str
    path: str
    query: str


@dataclass(frozen=True)
class Answer:
    """What is answered in the server's place."""

    status: int
    body: bytes = b""
    type: str = "application/xml"
    headers: dict[str, str] = field(default_factory=dict)


CUT = Answer(0)  # the upload reaches the server by half, then the connection breaks


class Proxy:
    """Forwards to `upstream` ("http://host:port"); `meddle` may answer a request itself.

    `forwarded` has the requests that reached the server, `arrived` all of them.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.arrived: list[Seen] = []
        self.forwarded: list[Seen] = []
        self.meddle: Callable[[Seen], Answer | None] = lambda _: None
        self.without_etag = ""  # the end of a key whose ETag the server does not tell
        self._lock = threading.Lock()

    def __enter__(self) -> Proxy:
        proxy = self
        target = urlsplit(self.upstream).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                if self.headers.get("Expect", "").lower() == "100-continue":
                    pass  # http.server has already said to go on
                body = self.rfile.read(length)
                answer = proxy.note(self.command, self.path)
                if answer is CUT:
                    self.cut(body)
                    return
                if answer is not None:
                    self.say(
                        answer.status, {"Content-Type": answer.type, **answer.headers}, answer.body
                    )
                    return
                connection = http.client.HTTPConnection(target, timeout=60)
                try:
                    self.pass_on(connection, body)
                    reply = connection.getresponse()
                    self.say(reply.status, *self.told(dict(reply.getheaders()), reply.read()))
                finally:
                    connection.close()

            def told(self, headers: dict[str, str], data: bytes) -> tuple[dict[str, str], bytes]:
                hidden = proxy.without_etag
                if not hidden:
                    return headers, data
                if unquote(urlsplit(self.path).path).endswith(hidden) and self.command == "HEAD":
                    headers = {k: v for k, v in headers.items() if k.lower() != "etag"}
                entry = re.compile(rb"(<Key>[^<]*%b</Key>.*?<ETag>)[^<]*" % hidden.encode(), re.S)
                return headers, entry.sub(rb"\1", data)

            def pass_on(self, connection: http.client.HTTPConnection, body: bytes) -> None:
                connection.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        connection.putheader(name, value)
                connection.endheaders(body or None)

            def cut(self, body: bytes) -> None:
                connection = http.client.HTTPConnection(target, timeout=60)
                self.pass_on(connection, body[: len(body) // 2])
                connection.close()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            def say(self, status: int, headers: dict[str, str], data: bytes) -> None:
                self.send_response_only(status)
                skip = {"connection", "transfer-encoding"}
                if self.command != "HEAD":
                    skip.add("content-length")
                for name, value in headers.items():
                    if name.lower() not in skip:
                        self.send_header(name, value)
                if self.command != "HEAD" and status not in (204, 304):
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = handle_any  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def note(self, method: str, target: str) -> Answer | None:
        """Count a request, and the answer that is given in the server's place."""
        parts = urlsplit(target)
        with self._lock:
            seen = Seen(len(self.arrived) + 1, method, unquote(parts.path), parts.query)
            self.arrived.append(seen)
            answer = self.meddle(seen)
            if answer is None:
                self.forwarded.append(seen)
        return answer

    def counted(self) -> Counter[str]:
        """How many requests of each method reached the server; a listing counts as LIST."""
        return Counter("LIST" if "list-type" in one.query else one.method for one in self.forwarded)

    def forget(self) -> None:
        """Begin to count anew."""
        self.arrived.clear()
        self.forwarded.clear()
