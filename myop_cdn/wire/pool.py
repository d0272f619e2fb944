"""Kept-alive connections to one host, taken and given back by many threads."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from myop_cdn.wire.answer import Reader
from myop_cdn.wire.errors import (
    Broken,
    NoConnection,
    TimedOut,
    Unanswered,
    Unresolved,
    Untrusted,
    WireError,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from myop_cdn.wire.answer import Answer

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0  # of silence
TOTAL_SECONDS = 300.0  # for a request and its whole answer: drops of it are no silence
MAX_BODY_BYTES = 64 * 2**20  # of an answer
_RECEIVE = 64 * 1024
_SMALL = 16 * 1024


@dataclass(frozen=True, slots=True)
class Origin:
    """Whom to ask. host: a name or an address, an IPv6 one without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """As the Host header has it: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        own = 443 if self.scheme == "https" else 80
        return host if self.port == own else f"{host}:{self.port}"


class Pool:
    """Connections to `origin`, made when needed, kept until closed. Safe between threads.

    context: makes the TLS context, called once, for an https origin only. read_seconds: of
    silence, max_body_bytes: of an answer. clock: counts seconds.
    """

    def __init__(
        self,
        origin: Origin,
        context: Callable[[], ssl.SSLContext] | None = None,
        read_seconds: float = READ_SECONDS,
        max_body_bytes: int = MAX_BODY_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.origin = origin
        self._make_context = context
        self._context: ssl.SSLContext | None = None
        self._read_seconds = read_seconds
        self._max_body_bytes = max_body_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        seconds: float = TOTAL_SECONDS,
    ) -> Answer:
        """The answer to one request. `headers` has neither Host nor Content-Length. seconds: how
        long it may take to its last byte.

        Made again once, at once, where a kept connection turns out to have been closed by the
        other side meanwhile: so for requests only that may be made twice. Raises WireError;
        ValueError for what can't be written into a request.
        """
        head = self._head(method, target, headers, body)
        deadline = self._clock() + seconds
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            try:
                return self._exchange(kept, method, head, body, deadline)
            except _Closed:
                pass
        try:
            return self._exchange(self._connect(), method, head, body, deadline)
        except _Closed:
            raise Broken("closed without an answer") from None

    def close(self) -> None:
        """Close the connections that nobody uses at the moment."""
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.close()

    def _head(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.origin.netloc}"]
        lines.extend(f"{name}: {value}" for name, value in headers.items())
        if body or method in ("PUT", "POST"):
            lines.append(f"Content-Length: {len(body)}")
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
            raise ValueError("a line break in a header")
        return text.encode("latin-1") + b"\r\n\r\n"

    def _exchange(
        self, sock: socket.socket, method: str, head: bytes, body: bytes, deadline: float
    ) -> Answer:
        began = False
        hurries = False

        def more() -> bytes:
            nonlocal began, hurries
            left = deadline - self._clock()
            if left <= 0:
                raise TimeoutError
            if left < self._read_seconds:
                hurries = True
                sock.settimeout(left)  # a system call, so not before every read
            data = sock.recv(_RECEIVE)
            began = began or bool(data)
            return data

        try:
            _send(sock, head, body)
            answer = Reader(more, self._max_body_bytes).read(method)
        except TimeoutError:
            sock.close()
            raise TimedOut("no answer in time") from None
        except (OSError, Broken) as error:
            sock.close()
            if not began:
                raise _Closed from None
            raise error if isinstance(error, Broken) else Broken(str(error)) from None
        except BaseException:
            sock.close()
            raise
        if answer.lasting:
            if hurries:
                sock.settimeout(self._read_seconds)
            with self._lock:
                self._idle.append(sock)
        else:
            sock.close()
        return answer

    def _connect(self) -> socket.socket:
        origin = self.origin
        try:
            sock = socket.create_connection((origin.host, origin.port), CONNECT_SECONDS)
        except (socket.gaierror, UnicodeError) as error:  # the latter for what can be no name
            raise Unresolved(str(error)) from None
        except TimeoutError:
            raise Unanswered("no connection in time") from None
        except OSError as error:
            raise NoConnection(str(error)) from None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if origin.scheme == "https":
            sock = self._secured(sock)
        sock.settimeout(self._read_seconds)
        return sock

    def _secured(self, sock: socket.socket) -> ssl.SSLSocket:
        import ssl

        with self._lock:
            if self._context is None:
                make = self._make_context or ssl.create_default_context
                try:
                    self._context = make()
                except BaseException:
                    sock.close()
                    raise
        try:
            return self._context.wrap_socket(sock, server_hostname=self.origin.host)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            # Whoever stands before the service is busy or going down: that says nothing of trust.
            sock.close()
            raise NoConnection(str(error)) from None
        except ssl.SSLError as error:
            sock.close()
            raise Untrusted(str(error)) from None
        except TimeoutError:
            sock.close()
            raise Unanswered("no TLS handshake in time") from None
        except OSError as error:
            sock.close()
            raise NoConnection(str(error)) from None


def _send(sock: socket.socket, head: bytes, body: bytes) -> None:
    try:
        # One piece where it is small: one packet, one system call.
        if len(body) < _SMALL:
            sock.sendall(head + body)
        else:
            sock.sendall(head)
            sock.sendall(body)
    except (BrokenPipeError, ConnectionResetError):
        pass  # a server that refuses before it has read all: its answer says why


class _Closed(WireError):
    """The connection ended before a byte of the answer came."""
