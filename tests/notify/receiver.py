"""A receiver of notices: it keeps what it gets, and answers as it is told to."""

from __future__ import annotations

import json
import queue
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Got(NamedTuple):
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class NoticeReceiver:
    """Listens on a port of its own. statuses: of the answers to come, then 200 for ever.

    hold: set to answer; requests wait for it where it is cleared.
    """

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.got: queue.Queue[Got] = queue.Queue()
        self.hold = threading.Event()
        self.hold.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.put(Got(self.path, dict(self.headers), body))
                receiver.hold.wait(60)
                status = receiver.statuses.pop(0) if receiver.statuses else 200
                with suppress(OSError):
                    self.send_response_only(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/secret-path?key=hidden"

    def __enter__(self) -> NoticeReceiver:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()

    def all(self) -> list[Got]:
        """All that has come so far."""
        return [self.got.get_nowait() for _ in range(self.got.qsize())]
