"""The sandbox on the wire: HTTP/1.1 with keep-alive, one thread for each connection."""

from __future__ import annotations

import errno
import socket
import socketserver
import threading
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

from myop_cdn.errors import ListenerError
from myop_cdn.sandbox.api import Answer, Api
from myop_cdn.sandbox.faults import Fault, Faults

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from myop_cdn.model import DocumentRef


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in and what became of it.

    target: path and query as sent. status: of the answer that was meant. ref: the document
    asked for, where the request named one. fault: how the answer was spoilt on purpose.
    """

    method: str
    target: str
    status: int
    ref: DocumentRef | None = None
    fault: Fault | None = None


class Sandbox:
    """A running API. Use it as a context manager; every member may be used from any thread.

    tree: the export folder. port: 0 picks a free one. api_key: the only key accepted; without
    it every key of the documented look is. latency: waited before each answer. fail_rate and
    seed: see `Faults`. on_request: called for each request, from the thread that answers it.

    Raises InputError where `tree` is not a folder, ListenerError where it can't listen there.
    """

    def __init__(
        self,
        tree: Path,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        api_key: str | None = None,
        latency: timedelta = timedelta(0),
        fail_rate: float = 0.0,
        seed: int = 0,
        on_request: Callable[[Request], None] | None = None,
    ) -> None:
        self.api = Api(tree, api_key)
        self.faults = Faults(fail_rate, seed)
        self.latency = latency
        self.closing = threading.Event()
        self._on_request = on_request
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        try:
            self._server = _Server((host, port), self)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            in_use = getattr(error, "errno", None) == errno.EADDRINUSE
            hint = (
                "something is already listening there; --port 0 picks a free port" if in_use else ""
            )
            raise ListenerError(f"can't listen on {host}:{port}: {reason}", hint) from None
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.05,), name="sandbox", daemon=True)
        self._thread.start()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def tree(self) -> Path:
        """The folder that is served."""
        return self.api.tree

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end: what MYOP_API_URL is set to."""
        host, port = self._server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{shown}:{port}"

    @property
    def requests(self) -> list[Request]:
        """What was asked so far, in the order of the answers: a copy."""
        with self._lock:
            return list(self._requests)

    def forget(self) -> None:
        """Empty `requests`; the faults to come stay as they are."""
        with self._lock:
            self._requests.clear()

    def record(self, request: Request) -> None:
        """Remember a request. Before its answer goes out, so that whoever got it finds it."""
        with self._lock:
            self._requests.append(request)
        if self._on_request is not None:
            self._on_request(request)

    def close(self) -> None:
        """Stop listening and cut what is open. May be called again."""
        if self.closing.is_set():
            return
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.cut_all()


class _Server(ThreadingHTTPServer):
    """Keeps its open connections, to cut them at the end: clients notice that it is gone."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own looks the host's name up, which takes seconds without a network.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "sandbox", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut_all(self) -> None:
        """End every open connection."""
        with self._lock:
            for connection in self._open:
                _cut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that leaves early is part of a rehearsal."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "myop-cdn-sandbox"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # else bytes that are no HTTP get an answer without head
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet where they fit
    timeout = 60  # seconds an idle connection is kept

    @property
    def sandbox(self) -> Sandbox:
        return cast("_Server", self.server).sandbox

    def do_GET(self) -> None:
        """Answer, or fail on purpose."""
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body nobody reads would be taken for a request
        seconds = self.sandbox.latency.total_seconds()
        if seconds and self.sandbox.closing.wait(seconds):
            self.close_connection = True
            return
        answer = self.sandbox.api.answer(self.path, self.headers.get("Authorization"))
        fault = self.sandbox.faults.draw(self.path)
        self._record(answer, fault)
        self._send(answer, fault)

    def _record(self, answer: Answer, fault: Fault | None) -> None:
        self.sandbox.record(Request(self.command, self.path, int(answer.status), answer.ref, fault))

    def _send(self, answer: Answer, fault: Fault | None) -> None:
        if fault == "closed":
            self._end()
            return
        busy = fault in ("busy", "busy-retry-now")
        if busy:
            answer = Answer.error(HTTPStatus.SERVICE_UNAVAILABLE, "busy, on purpose")
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer.body)))
        if fault == "busy-retry-now":
            self.send_header("Retry-After", "0")
        if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = fault == "cut"
        self.wfile.write(answer.body[: len(answer.body) // 2] if cut else answer.body)
        self.wfile.flush()
        if cut:
            self._end()

    def _end(self) -> None:
        self.close_connection = True
        _cut(self.connection)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Other methods, and bytes that are no HTTP, get JSON too, as everything here."""
        self.close_connection = True
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status, message = HTTPStatus.METHOD_NOT_ALLOWED, "only GET is supported here"
            self._record(Answer.error(status, message), None)
        self._send(Answer.error(status, message or status.phrase), None)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: `on_request` tells whoever wants to know."""


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
