"""An HTTP server that answers as a script says: whatever an API may answer with, and worse."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

from myop_cdn.model import PREVIEW, DocumentRef

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Reply:
    """One answer.

    framing: `length`, `chunked`, or `close` (the connection's end is the body's end). sent: how
    many bytes of the body go out before the connection is cut; None for all. drips: the body
    goes out byte by byte.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    framing: str = "length"
    sent: int | None = None
    drips: bool = False


NOTHING = Reply(status=0)  # the connection is closed without an answer


class ApiServer:
    """Serves `files` as Myop's API would, but what `script` holds for a path comes first.

    script: for a path of the static format, the replies to come, the last of them for ever.
    asked: the paths in the order of the requests. tokens: the Authorization headers seen.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.script: dict[str, list[Reply]] = {}
        self.asked: list[str] = []
        self.targets: list[str] = []
        self.tokens: set[str | None] = set()
        self.cache_control: set[str | None] = set()
        self.connections = 0
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(self.asked)

    def forget(self) -> None:
        """Begin to count anew."""
        self.asked.clear()
        self.targets.clear()

    def reply(self, target: str, token: str | None) -> Reply:
        """What is answered to this request."""
        path = path_of(target)
        with self._lock:
            self.asked.append(path)
            self.targets.append(target)
            self.tokens.add(token)
            replies = self.script.get(path)
            if replies:
                return replies.pop(0) if len(replies) > 1 else replies[0]
        body = self.files.get(path)
        return Reply(b'{"error": "not found"}', 404) if body is None else Reply(body)


def path_of(target: str) -> str:
    """The path in the static format that a request names."""
    url = urlsplit(target)
    query = parse_qs(url.query)
    if url.path == "/export":
        return "manifest.json"
    if url.path != "/consume":
        return url.path
    environment = PREVIEW if query.get("preview") == ["true"] else query.get("env", [""])[0]
    return DocumentRef(query.get("id", [""])[0], environment).path


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        socket.socket.bind(self.socket, self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: object, client_address: object) -> None:
        self.api.connections += 1
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        api = self.server.api  # type: ignore[attr-defined]
        api.cache_control.add(self.headers.get("Cache-Control"))
        reply = api.reply(self.path, self.headers.get("Authorization"))
        if reply is NOTHING:
            self._cut()
            return
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.framing == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
        elif reply.framing == "length":
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        part = reply.body[: reply.sent]
        if reply.framing == "chunked":
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n" if part else b"")
            self.wfile.write(b"" if reply.sent is not None else b"0\r\n\r\n")
        elif reply.drips:
            for byte in part:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(0.001)
        else:
            self.wfile.write(part)
        self.wfile.flush()
        if reply.sent is not None or reply.framing == "close":
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""
